package telemetry

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

// TestLastCleanup: a cleanup that had to leave something is not what the alert waits for.
func TestLastCleanup(t *testing.T) {
	m := NewMetrics("v1")
	shown := func() float64 {
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		found := regexp.MustCompile(`(?m)^posthorn_cleanup_last_success_timestamp_seconds (\S+)$`).FindStringSubmatch(w.Body.String())
		if found == nil {
			t.Fatal("the series is not exported")
		}
		at, err := strconv.ParseFloat(found[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	m.Cleaned(posthorn.CleanupReport{Behind: true}, time.Second)
	if at := shown(); at != 0 {
		t.Errorf("%f after a cleanup that left something, want 0", at)
	}
	before := time.Now().Unix()
	m.Cleaned(posthorn.CleanupReport{Done: true}, time.Second)
	if at := shown(); at < float64(before) || at > float64(time.Now().Unix()+1) {
		t.Errorf("%f after a cleanup, want now, %d", at, before)
	}
}
