package play_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/play"
)

func do(t *testing.T, b *play.Bins, method, target, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	b.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body)))
	return w
}

func received(t *testing.T, b *play.Bins, bin string) []play.Request {
	t.Helper()
	var answer struct{ Data []play.Request }
	if err := json.Unmarshal(do(t, b, http.MethodGet, "/play/"+bin, "").Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Data
}

func TestBinKeepsWhatItReceivesNewestFirst(t *testing.T) {
	var b play.Bins
	do(t, &b, http.MethodPost, "/play/one", `{"a":1}`)
	if w := do(t, &b, http.MethodPost, "/play/one?status=503", `{"a":2}`); w.Code != 503 {
		t.Errorf("status = %d, want the one asked for", w.Code)
	}
	got := received(t, &b, "one")
	if len(got) != 2 || got[0].Body != `{"a":2}` || got[0].Status != 503 || got[1].Body != `{"a":1}` {
		t.Errorf("bin holds %+v", got)
	}
	if len(received(t, &b, "two")) != 0 {
		t.Error("another bin holds something")
	}
	do(t, &b, http.MethodDelete, "/play/one", "")
	if len(received(t, &b, "one")) != 0 {
		t.Error("the bin is not empty after DELETE")
	}
}

func TestBinsAreBounded(t *testing.T) {
	var b play.Bins
	for range 150 {
		do(t, &b, http.MethodPost, "/play/full", "x")
	}
	if n := len(received(t, &b, "full")); n != 100 {
		t.Errorf("a bin holds %d requests, want 100", n)
	}
	if w := do(t, &b, http.MethodPost, "/play/big", strings.Repeat("x", 300<<10)); w.Code != http.StatusBadRequest {
		t.Errorf("a body over the bound answers %d", w.Code)
	}
	for i := range 100 {
		do(t, &b, http.MethodPost, "/play/bin-"+strings.Repeat("x", i%60)+"-"+string(rune('a'+i%26)), "x")
	}
	if w := do(t, &b, http.MethodPost, "/play/../etc", ""); w.Code != http.StatusNotFound {
		t.Errorf("a bad name answers %d", w.Code)
	}
}
