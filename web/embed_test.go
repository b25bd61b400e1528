package web

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/fstest"
)

func built(t *testing.T) *Handler {
	t.Helper()
	h, ok := open(fstest.MapFS{
		".keep":             {},
		"index.html":        {Data: []byte("<!doctype html>")},
		"favicon.svg":       {Data: []byte("<svg/>")},
		"assets/a1b2.js":    {Data: []byte("plain")},
		"assets/a1b2.js.gz": {Data: []byte("zipped")},
	})
	if !ok {
		t.Fatal("a built dashboard was reported absent")
	}
	return h
}

func TestHandler(t *testing.T) {
	h := built(t)
	const forever, revalidate = "public, max-age=31536000, immutable", "no-cache"
	tests := map[string]struct {
		method, path, accept, encoding string
		status                         int
		body, cache, contentEncoding   string
	}{
		"Root":           {"GET", "/", "", "", 200, "<!doctype html>", revalidate, ""},
		"DeepLink":       {"GET", "/ui/deliveries/dlv_1", "", "gzip", 200, "<!doctype html>", revalidate, ""},
		"Prefix":         {"GET", "/ui", "", "", 200, "<!doctype html>", revalidate, ""},
		"Asset":          {"GET", "/assets/a1b2.js", "", "", 200, "plain", forever, ""},
		"Zipped":         {"GET", "/assets/a1b2.js", "", "br, gzip;q=0.8", 200, "zipped", forever, "gzip"},
		"ZipRefused":     {"GET", "/assets/a1b2.js", "", "gzip;q=0.0", 200, "plain", forever, ""},
		"ZippedByName":   {"GET", "/assets/a1b2.js.gz", "", "", 404, "404 page not found\n", "", ""},
		"OldAsset":       {"GET", "/assets/gone.js", "*/*", "", 404, "404 page not found\n", "", ""},
		"UnknownPage":    {"GET", "/nowhere", "text/html,*/*", "", 200, "<!doctype html>", revalidate, ""},
		"UnknownNotHTML": {"GET", "/nowhere", "application/json", "", 404, "404 page not found\n", "", ""},
		"Head":           {"HEAD", "/favicon.svg", "", "", 200, "", revalidate, ""},
		"Post":           {"POST", "/", "", "", 405, "The dashboard's files can only be read.\n", "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, tt.path, nil)
			r.Header.Set("Accept", tt.accept)
			r.Header.Set("Accept-Encoding", tt.encoding)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			got := []any{w.Code, w.Body.String(), w.Header().Get("Cache-Control"), w.Header().Get("Content-Encoding")}
			want := []any{tt.status, tt.body, tt.cache, tt.contentEncoding}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("got %q, want %q", got[i], want[i])
				}
			}
		})
	}
}

func TestHandlerHeaders(t *testing.T) {
	h := built(t)
	get := func(path, etag, encoding string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("If-None-Match", etag)
		r.Header.Set("Accept-Encoding", encoding)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	plain, zipped := get("/assets/a1b2.js", "", ""), get("/assets/a1b2.js", "", "gzip")
	if plain.Header().Get("ETag") == zipped.Header().Get("ETag") {
		t.Error("both encodings share one ETag")
	}
	if w := get("/assets/a1b2.js", zipped.Header().Get("ETag"), "gzip"); w.Code != http.StatusNotModified {
		t.Errorf("a known ETag got %d, want 304", w.Code)
	}
	if got := zipped.Header().Get("Vary"); got != "Accept-Encoding" {
		t.Errorf("Vary is %q", got)
	}
	w := get("/", "", "")
	for name, want := range map[string]string{
		"Content-Security-Policy": Policy,
		"X-Frame-Options":         "DENY",
		"X-Content-Type-Options":  "nosniff",
		"Referrer-Policy":         "no-referrer",
		"Content-Type":            "text/html; charset=utf-8",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestAbsent(t *testing.T) {
	if _, ok := open(fstest.MapFS{".keep": {}}); ok {
		t.Error("an empty dist was reported as a built dashboard")
	}
}

func TestServes(t *testing.T) {
	h := built(t)
	for path, want := range map[string]bool{
		"/": true, "/ui": true, "/ui/events": true, "/favicon.svg": true, "/assets/a1b2.js": true,
		"/events": false, "/uix": false, "/assets/none.js": false,
	} {
		if got := h.Serves(path); got != want {
			t.Errorf("Serves(%q) is %v, want %v", path, got, want)
		}
	}
}
