package api

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
)

// TestRefusedURLs registers every disguise of a private address, by POST, PUT and PATCH: all are refused at the field,
// and no answer names the address behind it. What egress itself makes of them is its own tests' business.
func TestRefusedURLs(t *testing.T) {
	s := open(t, nil)
	text, err := os.ReadFile("../egress/testdata/ssrf.json")
	must(t, err)
	var corpus struct {
		Refuse []struct {
			ID, URL string
			Decodes string `json:"decodes_to"`
		}
		Accept []struct {
			ID, URL string
			Gen     json.RawMessage `json:"url_gen"`
		}
	}
	must(t, json.Unmarshal(text, &corpus))
	path := "/subscriptions/" + s.subscribe(s.admin, nil)
	for _, c := range corpus.Refuse {
		body := map[string]any{"url": c.URL}
		for _, a := range []answered{
			s.call(http.MethodPost, "/subscriptions", s.admin, body), s.call(http.MethodPut, path, s.admin, body), s.call(http.MethodPatch, path, s.admin, body),
		} {
			if a.status != http.StatusUnprocessableEntity || !strings.Contains(string(a.body), `"body.url"`) {
				t.Errorf("%s %s is answered %d %s", c.ID, c.URL, a.status, a.body)
			}
			if len(c.Decodes) > 6 && !strings.Contains(c.URL, c.Decodes) && strings.Contains(string(a.body), c.Decodes) {
				t.Errorf("%s: the answer names %s: %s", c.ID, c.Decodes, a.body)
			}
		}
	}
	for _, c := range corpus.Accept {
		if c.Gen != nil {
			c.URL = string(generate(t, c.Gen))
		}
		if a := s.call(http.MethodPost, "/subscriptions", s.admin, map[string]any{"url": c.URL}); a.status != http.StatusCreated {
			t.Errorf("%s %s is answered %d %s", c.ID, c.URL, a.status, a.body)
		}
	}
	if got := s.call(http.MethodGet, path, s.admin, nil).object(); got["url"] != "https://example.com/hook" {
		t.Errorf("a refused URL was stored: %s", got["url"])
	}
}
