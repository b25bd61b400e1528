package posthorn_test

import (
	"strings"
	"testing"

	"github.com/posthorn/posthorn"
)

// FuzzParseID holds that an id has one spelling only: what is read is written the same.
func FuzzParseID(f *testing.F) {
	for _, seed := range []string{"evt_06f1kz9qj4v3g7c8n2m5x0y1za", "evt_", "sub_06f1kz9qj4v3g7c8n2m5x0y1za", "evt_06F1KZ9QJ4V3G7C8N2M5X0Y1ZA", "evt_zzzzzzzzzzzzzzzzzzzzzzzzzz"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var id posthorn.EventID
		if err := id.UnmarshalText([]byte(text)); err == nil && id.String() != text {
			t.Fatalf("%q is read as %s", text, id)
		}
	})
}

// FuzzPattern holds that a pattern which is accepted matches what begins as it does, and never an operational event by *.
func FuzzPattern(f *testing.F) {
	for _, seed := range []string{"*", "a", "a.*", "a.b.*", "posthorn.*", "*.a", "a..b", "a*", "A-1_x.y.*", strings.Repeat("a", 129)} {
		f.Add(seed, "a.b")
	}
	f.Fuzz(func(t *testing.T, pattern, eventType string) {
		if posthorn.CheckPattern(pattern) != "" || posthorn.CheckType(eventType) != "" {
			return
		}
		stem, open := strings.CutSuffix(pattern, ".*")
		want := pattern == eventType || open && strings.HasPrefix(eventType, stem+".") ||
			pattern == "*" && !strings.HasPrefix(eventType, posthorn.OperationalPrefix)
		if got := posthorn.MatchesType([]string{pattern}, eventType); got != want {
			t.Fatalf("%q wants %q: %v, want %v", pattern, eventType, got, want)
		}
	})
}
