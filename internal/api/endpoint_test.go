package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/posthorn/posthorn"
)

// TestAuthRoundTrip reads what was written, masked, and puts it back: nothing changes and nothing is shown.
func TestAuthRoundTrip(t *testing.T) {
	for name, auth := range map[string]map[string]any{
		"Bearer": {"type": "bearer", "token": "canary-1"},
		"Basic":  {"type": "basic", "username": "acme", "password": "canary-1"},
		"APIKey": {"type": "api_key", "header": "X-Key", "value": "canary-1"},
		"OAuth2": {
			"type": "oauth2_client_credentials", "token_url": "https://example.com/token", "client_id": "c", "client_secret": "canary-1",
			"scopes": []string{"a"}, "params": map[string]string{"resource": "canary-2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, nil)
			id := s.subscribe(s.admin, map[string]any{"auth": auth, "signature": map[string]any{"profile": "github"}, "ordering": "fifo", "on_failure": "skip"})
			path := "/subscriptions/" + id
			stored := func() posthorn.Auth {
				is, err := s.store.GetSubscription(t.Context(), s.home.ID, parse[posthorn.SubscriptionID](t, id))
				must(t, err)
				return *is.Auth
			}
			before := jsonText(stored())
			read := s.call(http.MethodGet, path, s.admin, nil).want(http.StatusOK)
			if strings.Contains(string(read.body), "canary") {
				t.Errorf("read back: %s", read.body)
			}
			is := read.object()
			again := s.call(http.MethodPut, path, s.admin, is).want(http.StatusOK).object()
			for _, field := range []string{"auth", "tls", "signature", "on_failure"} {
				if jsonText(again[field]) != jsonText(is[field]) {
					t.Errorf("%s was %s and is %s", field, jsonText(is[field]), jsonText(again[field]))
				}
			}
			s.call(http.MethodPatch, path, s.admin, map[string]any{"description": "x"}).want(http.StatusOK)
			if after := jsonText(stored()); after != before || !strings.Contains(after, "canary") {
				t.Error("what was put back masked is not what it was")
			}
			// Another type replaces; its secret has to be told.
			s.call(http.MethodPatch, path, s.admin, map[string]any{"auth": map[string]any{"type": "bearer", "token": "other"}}).want(http.StatusOK)
			reset := s.call(http.MethodPut, path, s.admin, map[string]any{"url": "https://example.com"}).want(http.StatusOK).object()
			if reset["auth"] != nil || jsonText(reset["signature"]) != `{"profile":"standard"}` || reset["on_failure"] != "block" {
				t.Errorf("after a PUT without them: %s", jsonText(reset))
			}
			s.call(http.MethodPatch, path, s.admin, map[string]any{"auth": map[string]any{"type": "bearer", "token": posthorn.Mask}}).wantFaults("body.auth.token")
		})
	}
}

// TestRefusedTokenURLs wants a token URL to be judged as a subscription's URL is, and the answer to name no secret.
func TestRefusedTokenURLs(t *testing.T) {
	for name, url := range map[string]string{
		"Private": "https://10.0.0.1/token", "Loopback": "https://[::1]/token", "Metadata": "https://169.254.169.254/token",
		"OtherScheme": "ftp://example.com/token",
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, nil)
			path := "/subscriptions/" + s.subscribe(s.admin, nil)
			auth := map[string]any{"type": "oauth2_client_credentials", "token_url": url, "client_id": "c", "client_secret": "canary-1"}
			for _, a := range []answered{
				s.call(http.MethodPost, "/subscriptions", s.admin, map[string]any{"url": "https://example.com", "auth": auth}),
				s.call(http.MethodPatch, path, s.admin, map[string]any{"auth": auth}),
			} {
				a.wantFaults("body.auth.token_url")
				if strings.Contains(string(a.body), "canary") {
					t.Errorf("the answer names the secret: %s", a.body)
				}
			}
			if is := s.call(http.MethodGet, path, s.admin, nil).object(); is["auth"] != nil {
				t.Errorf("a refused authentication was stored: %s", jsonText(is["auth"]))
			}
		})
	}
}
