package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

// serve is a client of a server made up by a test.
func serve(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	c, err := New(Settings{URL: s.URL + "/", Key: "phk_test"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSettings(t *testing.T) {
	for _, c := range []struct {
		s    Settings
		want string
	}{
		{Settings{"http://localhost:8000", "k"}, ""},
		{Settings{"https://example.com/posthorn/", "k"}, ""},
		{Settings{"localhost:8000", "k"}, "POSTHORN_URL"},
		{Settings{"", "k"}, "POSTHORN_URL"},
		{Settings{"http://localhost:8000", ""}, "POSTHORN_API_KEY"},
	} {
		_, err := New(c.s)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("New(%+v) = %v, want something about %q", c.s, err, c.want)
		}
	}
}

func TestProblems(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   string
		final  bool
	}{
		{"Invalid", 422, `{"status":422,"detail":"no","errors":[{"location":"body.url","message":"must be https"}]}`, "422: no\n  body.url: must be https", true},
		{"Internal", 500, `{"status":500,"detail":"ours","request_id":"req_1"}`, "500: ours (request req_1)", false},
		{"Busy", 429, `{"status":429,"detail":"wait"}`, "429: wait", false},
		{"Foreign", 502, `<html>`, "502: the answer does not come from Posthorn", false},
		{"Redirect", 302, ``, "302: the answer does not come from Posthorn", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "http://127.0.0.1:1/")
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			})
			_, err := cl.Events(t.Context(), nil, 1)
			p, ok := errors.AsType[*Problem](err)
			if !ok || !strings.HasPrefix(err.Error(), c.want) || p.Final() != c.final || p.RetryAfter != 7*time.Second {
				t.Errorf("%v (final %v, retry after %v), want %q", err, p.Final(), p.RetryAfter, c.want)
			}
		})
	}
}

func TestListsArePaged(t *testing.T) {
	var asked []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer phk_test" {
			t.Errorf("Authorization %q", r.Header.Get("Authorization"))
		}
		asked = append(asked, r.URL.RawQuery)
		next := `"more"`
		if r.URL.Query().Get("cursor") != "" {
			next = "null"
		}
		fmt.Fprintf(w, `{"data":[{"type":"a"},{"type":"b"}],"next_cursor":%s}`, next)
	})
	all, err := c.Events(t.Context(), url.Values{"type": {"a.*"}}, 0)
	if err != nil || len(all) != 4 {
		t.Errorf("%d events, %v", len(all), err)
	}
	some, err := c.Events(t.Context(), nil, 2)
	if err != nil || len(some) != 2 {
		t.Errorf("%d events, %v", len(some), err)
	}
	if want := []string{"limit=200&type=a.%2A", "cursor=more&limit=200&type=a.%2A", "limit=2"}; !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

// TestSubscriptionsAreWhole compares what is written of a subscription with the API's document: a PUT resets what it leaves
// out, so a field that this client does not know would be lost by every apply.
func TestSubscriptionsAreWhole(t *testing.T) {
	text, err := os.ReadFile("../../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	type schema struct{ Properties map[string]any }
	var doc struct {
		Components struct{ Schemas map[string]schema }
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	for name, fields := range map[string]map[string]bool{
		"SubscriptionInput": jsonFields(reflect.TypeFor[SubscriptionInput]()),
		"RetryPolicy":       jsonFields(reflect.TypeFor[posthorn.RetryPolicy]()),
		"RateLimit":         jsonFields(reflect.TypeFor[posthorn.RateLimit]()),
	} {
		if len(doc.Components.Schemas[name].Properties) == 0 {
			t.Errorf("the document has no %s", name)
		}
		for field := range doc.Components.Schemas[name].Properties {
			if !fields[field] {
				t.Errorf("%s.%s is not written by this client", name, field)
			}
		}
	}
}

func jsonFields(of reflect.Type) map[string]bool {
	fields := map[string]bool{}
	for _, f := range reflect.VisibleFields(of) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields[name] = true
	}
	return fields
}

// TestWatchResumes cuts the stream and has the server repeat, as it does after a Last-Event-ID.
func TestWatchResumes(t *testing.T) {
	var mu sync.Mutex
	var resumed []string
	event := func(w http.ResponseWriter, number int) {
		id := posthorn.AttemptID{UUID: posthorn.UUID{15: byte(number)}}
		fmt.Fprintf(w, "event: attempt\nid: t%d\ndata: {\"id\":%q,\ndata: \"number\":%d}\n\n", number, id, number)
	}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		resumed = append(resumed, r.Header.Get("Last-Event-ID"))
		n := len(resumed)
		mu.Unlock()
		switch n {
		case 1:
			fmt.Fprint(w, ": hello\nretry: 2000\nid: t0\n\n")
			event(w, 1)
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3:
			event(w, 1)
			event(w, 2)
			fmt.Fprint(w, "event: reset\nid: t9\ndata: {}\n\nevent: unheard\ndata: {}\n\n")
		default:
			event(w, 3)
		}
	})
	var heard []string
	var changes []bool
	done := errors.New("done")
	err := c.Watch(t.Context(), Watch{Changed: func(err error) { changes = append(changes, err != nil) }}, func(l Live) error {
		switch {
		case l.Reset:
			heard = append(heard, "reset")
		case l.Attempt != nil:
			heard = append(heard, fmt.Sprint(l.Attempt.Number))
			if l.Attempt.Number == 3 {
				return done
			}
		}
		return nil
	})
	if !errors.Is(err, done) || !slices.Equal(heard, []string{"1", "2", "reset", "3"}) {
		t.Errorf("heard %q, %v", heard, err)
	}
	if want := []string{"", "t1", "t1", "t9"}; !slices.Equal(resumed, want) {
		t.Errorf("resumed from %q, want %q", resumed, want)
	}
	if want := []bool{true, false, true, false}; !slices.Equal(changes, want) {
		t.Errorf("lost and back: %v, want %v", changes, want)
	}
}

func TestWatchEnds(t *testing.T) {
	refused := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	if err := refused.Watch(t.Context(), Watch{}, func(Live) error { return nil }); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("refused: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	open := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	})
	if err := open.Watch(ctx, Watch{}, func(Live) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestSeen(t *testing.T) {
	s := NewSeen(2)
	for i, c := range []struct {
		key string
		new bool
	}{{"a", true}, {"a", false}, {"b", true}, {"c", true}, {"c", false}, {"a", true}, {"b", true}} {
		if s.Add(c.key) != c.new {
			t.Errorf("%d: Add(%s) is not %v", i, c.key, c.new)
		}
	}
	now := time.Now()
	for i, c := range []struct {
		at  time.Duration
		new bool
	}{{0, true}, {0, false}, {-1, false}, {1, true}} {
		if s.Later("d", now.Add(c.at)) != c.new {
			t.Errorf("%d: Later(%v) is not %v", i, c.at, c.new)
		}
	}
}
