package api

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

// everyKind has a field of each kind that bodies are read into.
type everyKind struct {
	Name   string            `json:"name" required:"true"`
	Types  []string          `json:"types"`
	Map    map[string]string `json:"map"`
	Whole  int               `json:"whole"`
	Number float64           `json:"number"`
	Flag   bool              `json:"flag"`
	Inner  struct {
		A int   `json:"a"`
		B []int `json:"b"`
	} `json:"inner"`
	At     time.Time  `json:"at"`
	Maybe  *rateLimit `json:"maybe" null:"ok"`
	Secret secretText `json:"secret"`
}

// faults is an error as "kind location: message" lines, for comparing.
func faults(err error) string {
	if err == nil {
		return "none"
	}
	p := problemOf(err)
	if len(p.Errors) == 0 {
		return fmt.Sprint(p.Status, " ", p.Detail)
	}
	lines := []string{fmt.Sprint(p.Status)}
	for _, e := range p.Errors {
		lines = append(lines, e.Location+" "+e.Message)
	}
	return strings.Join(lines, "\n")
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"Empty", ``, "400 the body is empty; send a JSON object"},
		{"Blank", " \n", "400 the body is empty; send a JSON object"},
		{"Null", `null`, "400 the body must be a JSON object"},
		{"Number", `123`, "400 the body must be a JSON object"},
		{"Array", `[]`, "400 the body must be a JSON object"},
		{"String", `"x"`, "400 the body must be a JSON object"},
		{"Truncated", `{"name":"x`, "400 the body is not valid JSON (RFC 8259), from byte 10 on"},
		{"TrailingComma", `{"name":"x",}`, "400 the body is not valid JSON (RFC 8259), from byte 11 on"},
		{"NaN", `{"number":NaN}`, "400 the body is not valid JSON (RFC 8259), from byte 10 on"},
		{"ByteOrderMark", "\ufeff{}", "400 the body is not valid JSON (RFC 8259), from byte 0 on"},
		{"Second", `{"name":"x"}{}`, "400 something follows the JSON object; send one object alone"},
		{"Garbage", `{"name":"x"} x`, "400 something follows the JSON object; send one object alone"},
		{"InvalidUTF8", "{\"name\":\"\xff\"}", "400 the body is not valid JSON (RFC 8259), from byte 9 on"},
		{"LoneSurrogate", `{"name":"\ud800"}`, "400 the body is not valid JSON (RFC 8259), from byte 9 on"},
		{"Twice", `{"name":"x","name":"y"}`, "422\nbody.name stands twice in its object"},
		{"TwiceWithin", `{"name":"x","inner":{"a":1,"a":2}}`, "422\nbody.inner.a stands twice in its object"},
		{"TwiceEscaped", `{"name":"x","n\u0061me":"y"}`, "422\nbody.name stands twice in its object"},
		{"Missing", `{}`, "422\nbody.name is required"},
		{"OtherCase", `{"Name":"x"}`, "422\nbody.Name is not a field here; names are case-sensitive, and it is spelt name\nbody.name is required"},
		{"Unknown", `{"name":"x","nom":1}`, "422\nbody.nom is not a field here; known are name, types, map, whole, number, flag, inner, at, maybe, secret"},
		{"UnknownWithin", `{"name":"x","inner":{"c":1}}`, "422\nbody.inner.c is not a field here; known are a, b"},
		{"NullName", `{"name":null}`, "422\nbody.name must be a string, not null"},
		{"NullWithin", `{"name":"x","types":["a",null]}`, "422\nbody.types[1] must be a string, not null"},
		{"NullInMap", `{"name":"x","map":{"k":null}}`, "422\nbody.map.k must be a string, not null"},
		{"Kinds", `{"name":1,"types":"a","map":[],"whole":1.5,"number":"1","flag":0,"inner":7,"at":"yesterday","maybe":-1}`, strings.Join([]string{
			"422", "body.at must be a time like 2026-01-31T09:30:00Z (RFC 3339)", "body.flag must be true or false", "body.inner must be an object",
			"body.map must be an object", "body.maybe must be an object", "body.name must be a string", "body.number must be a number",
			"body.types must be an array", "body.whole must be a whole number",
		}, "\n")},
		{"TooBig", `{"name":"x","whole":99999999999999999999}`, "422\nbody.whole must be a whole number"},
		{"Huge", `{"name":"x","number":1e999}`, "422\nbody.number must be a number"},
		{"NUL", `{"name":"a\u0000b"}`, "422\nbody.name must not contain NUL characters"},
		{"NULWithin", `{"name":"x","map":{"k":"\u0000"}}`, "422\nbody.map.k must not contain NUL characters"},
		{"Place", `{"name":"x","inner":{"b":[1,"2"]}}`, "422\nbody.inner.b[1] must be a whole number"},
		{"EmptySecret", `{"name":"x","secret":""}`, "422\nbody.secret a secret is whsec_ and the base64 of 24 to 64 bytes, or whsk_ and the base64 of an Ed25519 key"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var into everyKind
			if got := faults(decode([]byte(test.body), &into)); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func TestDecodeReads(t *testing.T) {
	body := ` {"name":"päth \ud83d\ude00","types":["a","b"],"map":{"k":"v"},"whole":-3,"number":2.5,"flag":true,
		"inner":{"a":1,"b":[2]},"at":"2026-01-31T09:30:00+01:00","maybe":null,"secret":"s"} `
	var got everyKind
	if err := decode([]byte(body), &got); err != nil {
		t.Fatal(faults(err))
	}
	if got.Name != "päth 😀" || !slices.Equal(got.Types, []string{"a", "b"}) || !maps.Equal(got.Map, map[string]string{"k": "v"}) ||
		got.Whole != -3 || got.Number != 2.5 || !got.Flag || got.Inner.A != 1 || got.Inner.B[0] != 2 || got.Maybe != nil ||
		!got.At.Equal(time.Date(2026, 1, 31, 8, 30, 0, 0, time.UTC)) {
		t.Errorf("read %+v", got)
	}
}

func TestDecodeNeverEchoes(t *testing.T) {
	const canary = "whsec_canarycanarycanary"
	for _, body := range []string{
		`{"name":["` + canary + `"]}`, `{"whole":"` + canary + `"}`, `{"at":"` + canary + `"}`, `{"maybe":"` + canary + `"}`,
		`{"inner":"` + canary + `"}`, `"` + canary + `"`, `{"name":"` + canary, `{"secret":{"a":"` + canary + `"}}`,
	} {
		var into everyKind
		if text := faults(decode([]byte(body), &into)); strings.Contains(text, "canary") {
			t.Errorf("%s is answered with the value: %s", body, text)
		}
	}
}

func TestShownNames(t *testing.T) {
	for name, want := range map[string]string{
		"evnt_types": "evnt_types", "X-Token.2": "X-Token.2", "": "(a name of 0 bytes)", "a b": "(a name of 3 bytes)", "9a": "(a name of 2 bytes)",
		"\x00": "(a name of 1 bytes)", "\u2603": "(a name of 3 bytes)", strings.Repeat("x", 33): "(a name of 33 bytes)",
		"whsec_canary": "(a name of 12 bytes)", "phk_canary": "(a name of 10 bytes)",
	} {
		if got := shown(name); got != want {
			t.Errorf("%q is shown as %q, want %q", name, got, want)
		}
	}
}

func TestNesting(t *testing.T) {
	for text, want := range map[string]int{`{}`: 1, `[[{"a":"[[["}]]`: 3, `"\"[["`: 0, `{"a":"\\"}`: 1, `[],[]`: 1, `[{"a":"x\"`: 2, `["\\\"[["]`: 1, `["\\\\",[]]`: 2} {
		if got := nesting([]byte(text)); got != want {
			t.Errorf("%s nests %d deep, want %d", text, got, want)
		}
	}
}

// FuzzDecode reads any body: no panic, an error a client may see, and nothing that is not UTF-8 or holds NUL.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{}`, `{"url":"https://example.com","event_types":["a.*"],"retry":{"schedule":[1]}}`, `{"url":null}`, `[`, `{"headers":{"A":"b"}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var in subscriptionInput
		err := decode(body, &in)
		if err == nil {
			return
		}
		if p := problemOf(err); p.Status != 400 && p.Status != 422 {
			t.Errorf("answered %d: %v", p.Status, err)
		}
	})
}

func TestKindsAreAnswered(t *testing.T) {
	for k := posthorn.Internal; k <= posthorn.Stale; k++ {
		if _, ok := answers[k]; !ok {
			t.Errorf("kind %d has no status", k)
		}
	}
	secret := errors.New("SELECT * FROM secrets at 10.0.0.1")
	p := problemOf(fmt.Errorf("list: %w", secret))
	if p.Status != 500 || strings.Contains(p.Detail, "SELECT") || !errors.Is(p.cause, secret) {
		t.Errorf("an internal error is answered %+v", p)
	}
	p = problemOf(&posthorn.Error{Kind: posthorn.Unavailable, Message: "busy", RetryAfter: 1500 * time.Millisecond, Err: secret})
	if p.Status != 503 || p.headers.Get("Retry-After") != "2" || strings.Contains(p.Detail, "SELECT") {
		t.Errorf("unavailable is answered %+v", p)
	}
}

// The document's maxLength counts characters, so the code does.
func TestTextsAreCountedInCharacters(t *testing.T) {
	s := open(t, nil)
	texts := []struct {
		name, path, place string
		most              int
		body              func(text string) map[string]any
	}{
		{"Description", "/subscriptions", "body.description", 1024, func(text string) map[string]any {
			return map[string]any{"url": "https://example.com", "description": text}
		}},
		{"Username", "/subscriptions", "body.auth.username", 255, func(text string) map[string]any {
			return map[string]any{"url": "https://example.com", "auth": map[string]any{"type": "basic", "username": text, "password": "p"}}
		}},
		{"Password", "/subscriptions", "body.auth.password", 4096, func(text string) map[string]any {
			return map[string]any{"url": "https://example.com", "auth": map[string]any{"type": "basic", "username": "u", "password": text}}
		}},
		{"Template", "/sources", "body.event_type", 512, func(text string) map[string]any {
			return map[string]any{"name": "n", "provider": "github", "secret": "it-is-a-secret-of-github", "event_type": text}
		}},
		{"Source", "/sources", "body.name", 128, func(text string) map[string]any {
			return map[string]any{"name": text, "provider": "github", "secret": "it-is-a-secret-of-github"}
		}},
		{"EventType", "/event-types", "body.description", 4096, func(text string) map[string]any {
			return map[string]any{"name": "a.b", "description": text}
		}},
		{"Key", "/keys", "body.name", 128, func(text string) map[string]any {
			return map[string]any{"name": text, "scopes": []string{"read"}}
		}},
		{"Tenant", "/tenants", "body.name", 128, func(text string) map[string]any { return map[string]any{"name": text} }},
	}
	for _, test := range texts {
		t.Run(test.name, func(t *testing.T) {
			s.call(http.MethodPost, test.path, s.admin, test.body(strings.Repeat("é", test.most))).want(http.StatusCreated)
			s.call(http.MethodPost, test.path, s.admin, test.body(strings.Repeat("é", test.most+1))).wantFaults(test.place)
		})
	}
}
