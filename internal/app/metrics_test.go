package app

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestMetricsToken(t *testing.T) {
	page := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	tests := []struct {
		name, token, header string
		status              int
	}{
		{"NoneNeeded", "", "", http.StatusOK},
		{"Missing", "0123456789abcdef", "", http.StatusUnauthorized},
		{"Wrong", "0123456789abcdef", "Bearer 0123456789abcdeF", http.StatusUnauthorized},
		{"OtherScheme", "0123456789abcdef", "Basic 0123456789abcdef", http.StatusUnauthorized},
		{"Right", "0123456789abcdef", "Bearer 0123456789abcdef", http.StatusOK},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, w := httptest.NewRequest(http.MethodGet, "/metrics", nil), httptest.NewRecorder()
			if test.header != "" {
				r.Header.Set("Authorization", test.header)
			}
			withToken(test.token, page).ServeHTTP(w, r)
			if w.Code != test.status {
				t.Errorf("answered %d, want %d", w.Code, test.status)
			}
		})
	}
}
