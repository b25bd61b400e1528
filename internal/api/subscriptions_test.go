package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/auth"
	"github.com/posthorn/posthorn/internal/signing"
)

func TestSubscriptionLifecycle(t *testing.T) {
	s := open(t, nil)
	made := s.call(http.MethodPost, "/subscriptions", s.admin, map[string]any{
		"url": "https://example.com/hook", "event_types": []string{"order.*", "a.b", "a.b"}, "headers": map[string]string{"X-Token": "hush"},
		"retry": map[string]any{"schedule": []float64{5, 60}}, "timeout_seconds": 2.5, "rate_limit": map[string]any{"limit": 10, "per": "minute"},
		"max_in_flight": 3, "ordering": "fifo", "metadata": map[string]string{"team": "billing"}, "description": "<b>ünïcode</b>",
	}).want(http.StatusCreated)
	if made.header.Get("Location") != "/subscriptions/"+made.object()["id"].(string) {
		t.Errorf("Location: %s", made.header.Get("Location"))
	}
	secret := made.object()["secret"].(string)
	if _, err := signing.ParseSecret(secret); err != nil {
		t.Errorf("the secret: %v", err)
	}
	path := "/subscriptions/" + made.object()["id"].(string)
	read := s.call(http.MethodGet, path, s.admin, nil).want(http.StatusOK)
	want := made.object()
	delete(want, "secret")
	got := read.object()
	delete(got, "lane")
	if a, b := jsonText(want), jsonText(got); a != b {
		t.Errorf("created %s\nread %s", a, b)
	}
	for name, value := range map[string]string{
		"event_types": `["a.b","order.*"]`, "headers": `{"X-Token":"••••••"}`, "retry": `{"schedule":[5,60]}`, "timeout_seconds": "2.5",
		"rate_limit": `{"limit":10,"per":"minute"}`, "status": `"active"`, "disabled_reason": "null", "description": `"<b>ünïcode</b>"`,
	} {
		if is := jsonText(got[name]); is != value {
			t.Errorf("%s is %s, want %s", name, is, value)
		}
	}
	for _, place := range []string{path, "/subscriptions"} {
		if body := s.call(http.MethodGet, place, s.admin, nil).body; strings.Contains(string(body), "hush") || strings.Contains(string(body), "whsec_") {
			t.Errorf("%s shows a secret: %s", place, body)
		}
	}
	s.call(http.MethodDelete, path, s.admin, nil).want(http.StatusNoContent)
	s.call(http.MethodGet, path, s.admin, nil).want(http.StatusNotFound)
	s.call(http.MethodDelete, path, s.admin, nil).want(http.StatusNotFound)
}

// jsonText is a value as JSON text.
func jsonText(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
	return strings.TrimSpace(b.String())
}

func TestPutResetsWhatIsLeftOut(t *testing.T) {
	s := open(t, nil)
	id := s.subscribe(s.admin, map[string]any{
		"headers": map[string]string{"X-A": "one", "X-B": "two"}, "description": "d", "timeout_seconds": 3, "status": "paused",
	})
	path := "/subscriptions/" + id
	secret := s.call(http.MethodGet, path+"/secret", s.admin, nil).object()["secret"]
	got := s.call(http.MethodPut, path, s.admin, map[string]any{
		"url": "https://example.com/other", "headers": map[string]string{"x-a": posthorn.Mask, "X-C": "three"},
	}).want(http.StatusOK).object()
	if got["description"] != "" || got["timeout_seconds"] != 15.0 || got["status"] != "paused" || jsonText(got["headers"]) != `{"X-C":"••••••","x-a":"••••••"}` {
		t.Errorf("after PUT %s", jsonText(got))
	}
	if s.call(http.MethodGet, path+"/secret", s.admin, nil).object()["secret"] != secret {
		t.Error("PUT changed the secret")
	}
	stored, err := s.store.GetSubscription(t.Context(), s.home.ID, parse[posthorn.SubscriptionID](t, id))
	must(t, err)
	if !maps.Equal(stored.Headers, map[string]string{"x-a": "one", "X-C": "three"}) {
		t.Errorf("stored headers %v", stored.Headers)
	}
	s.call(http.MethodPut, path, s.admin, map[string]any{"url": "https://example.com", "headers": map[string]string{"X-New": posthorn.Mask}}).wantFaults("body.headers.X-New")
}

// parse reads an id.
func parse[T any, P interface {
	*T
	textID
}](t *testing.T, text string) T {
	t.Helper()
	var id T
	must(t, P(&id).UnmarshalText([]byte(text)))
	return id
}

func TestWhatWasReadCanBePut(t *testing.T) {
	s := open(t, nil)
	path := "/subscriptions/" + s.subscribe(s.admin, map[string]any{"headers": map[string]string{"X-A": "one"}})
	read := s.call(http.MethodGet, path, s.admin, nil).object()
	read["description"] = "changed"
	again := s.call(http.MethodPut, path, s.admin, read).want(http.StatusOK).object()
	if again["description"] != "changed" {
		t.Error("the change is lost")
	}
	s.call(http.MethodPut, path, s.admin, read).wantFaults("body.updated_at")
	again["id"] = "sub_01m8547nx0e1qbsjvyf4n6x9ff"
	s.call(http.MethodPut, path, s.admin, again).wantFaults("body.id")
}

func TestPatchMerges(t *testing.T) {
	s := open(t, nil)
	path := "/subscriptions/" + s.subscribe(s.admin, map[string]any{
		"headers": map[string]string{"X-A": "one", "X-B": "two"}, "metadata": map[string]string{"a": "1", "b": "2"},
		"rate_limit": map[string]any{"limit": 1, "per": "second"}, "description": "d",
	})
	tests := []struct {
		name, patch string
		want        map[string]string
	}{
		{"Nothing", `{}`, map[string]string{"description": `"d"`, "metadata": `{"a":"1","b":"2"}`}},
		{"Field", `{"description":"e"}`, map[string]string{"description": `"e"`, "rate_limit": `{"limit":1,"per":"second"}`}},
		{"MergeMap", `{"metadata":{"a":null,"c":"3"}}`, map[string]string{"metadata": `{"b":"2","c":"3"}`}},
		{"MergeHeaders", `{"headers":{"X-A":null}}`, map[string]string{"headers": `{"X-B":"••••••"}`}},
		{"HeaderInOtherCase", `{"headers":{"x-b":"new","X-c":"3"}}`, map[string]string{"headers": `{"X-B":"••••••","X-c":"••••••"}`}},
		{"RemoveInOtherCase", `{"headers":{"x-C":null,"x-nothing":null}}`, map[string]string{"headers": `{"X-B":"••••••"}`}},
		{"RenameHeader", `{"headers":{"X-B":null,"x-b":"new"}}`, map[string]string{"headers": `{"x-b":"••••••"}`}},
		{"NullHeaders", `{"headers":null}`, map[string]string{"headers": `{}`}},
		{"Null", `{"rate_limit":null,"description":null}`, map[string]string{"rate_limit": "null", "description": `""`}},
		{"ReplaceList", `{"event_types":["a.b"]}`, map[string]string{"event_types": `["a.b"]`}},
		{"NullList", `{"event_types":null}`, map[string]string{"event_types": `[]`}},
		{"OtherRetry", `{"retry":{"initial":1,"multiplier":2,"maximum":60,"attempts":5}}`, map[string]string{"retry": `{"attempts":5,"initial":1,"maximum":60,"multiplier":2}`}},
		{"SameRetry", `{"retry":{"attempts":6}}`, map[string]string{"retry": `{"attempts":6,"initial":1,"maximum":60,"multiplier":2}`}},
		{"BackToSchedule", `{"retry":{"schedule":[1]}}`, map[string]string{"retry": `{"schedule":[1]}`}},
		{"NoRetry", `{"retry":{"schedule":[]}}`, map[string]string{"retry": `{"schedule":[]}`}},
		{"Pause", `{"status":"paused"}`, map[string]string{"status": `"paused"`}},
		{"NullStatus", `{"status":null,"secret":null}`, map[string]string{"status": `"paused"`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := s.callWith(http.MethodPatch, path, s.admin, test.patch, http.Header{"Content-Type": {mergePatchType}}).want(http.StatusOK).object()
			for name, want := range test.want {
				if is := jsonText(got[name]); is != want {
					t.Errorf("%s is %s, want %s", name, is, want)
				}
			}
		})
	}
	s.call(http.MethodPatch, path, s.admin, `{"headers":{"A":"1","a":"2"}}`).want(http.StatusUnprocessableEntity)
	for patch, places := range map[string][]string{
		`{"url":null}`:                            {"body.url"},
		`{"URL":"https://x"}`:                     {"body.URL"},
		`{"nothing":null}`:                        {"body.nothing"},
		`{"headers":{"A":"1","A":"2"}}`:           {"body.headers.A"},
		`{"timeout_seconds":"3"}`:                 {"body.timeout_seconds"},
		`{"url":1,"ordering":"lifo"}`:             {"body.ordering", "body.url"},
		`{"retry":{"schedule":[1],"attempts":3}}`: {"body.retry"},
	} {
		s.call(http.MethodPatch, path, s.admin, patch).wantFaults(places...)
	}
	s.call(http.MethodPatch, path, s.admin, `[]`).want(http.StatusBadRequest)
	s.call(http.MethodPatch, path, s.admin, `null`).want(http.StatusBadRequest)
}

func TestSubscriptionFaults(t *testing.T) {
	s := open(t, nil)
	present := s.subscribe(s.admin, nil)
	tests := []struct {
		name   string
		fields map[string]any
		want   []string
	}{
		{
			"All",
			map[string]any{"url": "ftp://x", "event_types": []string{"ok", "b@d"}, "timeout_seconds": 61, "max_in_flight": 0, "ordering": "x"},
			[]string{"body.event_types[1]", "body.max_in_flight", "body.ordering", "body.timeout_seconds", "body.url"},
		},
		{"Retry", map[string]any{"retry": map[string]any{"schedule": []float64{1, 1e9}}}, []string{"body.retry.schedule[1]"}},
		{"RetryNever", map[string]any{"retry": map[string]any{"initial": 1, "multiplier": 0, "maximum": 1, "attempts": 0}}, []string{"body.retry.attempts", "body.retry.multiplier"}},
		{"RetryZeros", map[string]any{"retry": map[string]any{"initial": 0, "multiplier": 0, "maximum": 5, "attempts": 1}}, []string{"body.retry.initial", "body.retry.multiplier"}},
		{"RetryBoth", map[string]any{"retry": map[string]any{"schedule": []float64{1}, "attempts": 0}}, []string{"body.retry"}},
		{"RetryWindow", map[string]any{"retry": map[string]any{"window_seconds": 0}}, []string{"body.retry.window_seconds"}},
		{"RetryNull", map[string]any{"retry": map[string]any{"attempts": nil}}, []string{"body.retry.attempts"}},
		{"Empty", map[string]any{"status": "", "ordering": "", "on_failure": "", "auth": map[string]any{"type": ""}}, []string{"body.auth.type", "body.on_failure", "body.ordering", "body.status"}},
		{"RetryTooLong", map[string]any{"retry": map[string]any{"schedule": []float64{600000}}}, []string{"body.retry"}},
		{"RetryField", map[string]any{"retry": map[string]any{"shedule": []float64{1}}}, []string{"body.retry.shedule"}},
		{"RateLimit", map[string]any{"rate_limit": map[string]any{"limit": 0, "per": "hour"}}, []string{"body.rate_limit.limit", "body.rate_limit.per"}},
		{"Private", map[string]any{"url": "https://10.0.0.1/"}, []string{"body.url"}},
		{"Status", map[string]any{"status": "disabled"}, []string{"body.status"}},
		{"Secret", map[string]any{"secret": "whsec_short"}, []string{"body.secret"}},
		{"ReadOnly", map[string]any{"id": "sub_01m8547nx0e1qbsjvyf4n6x9ff"}, []string{"body.id"}},
		{"Metadata", map[string]any{"metadata": map[string]string{"": "x"}}, []string{"body.metadata"}},
		{
			"Headers",
			map[string]any{"headers": map[string]string{
				"Host": "x", "webhook-id": "x", "bad name": "x", "worse name": "x", "X-A": "\x01", strings.Repeat("X", 33): "\x01",
			}},
			[]string{"body.headers", "body.headers.Host", "body.headers.X-A", "body.headers.webhook-id"},
		},
		{
			"FormAndValues",
			map[string]any{
				"url": "ftp://x", "description": 1, "event_types": []any{"b@d", 1}, "secret": "whsec_short", "uri": "x", "max_in_flight": 0,
				"retry": map[string]any{"attempts": "5"},
			},
			[]string{"body.description", "body.event_types[0]", "body.event_types[1]", "body.max_in_flight", "body.retry.attempts", "body.secret", "body.uri", "body.url"},
		},
		{"NUL", map[string]any{"description": "a\x00b"}, []string{"body.description"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			body := map[string]any{"url": "https://example.com/"}
			maps.Copy(body, test.fields)
			s.call(http.MethodPost, "/subscriptions", s.admin, body).wantFaults(test.want...)
			s.call(http.MethodPut, "/subscriptions/"+present, s.admin, body).wantFaults(test.want...)
		})
	}
}

func TestPauseAndResume(t *testing.T) {
	s := open(t, nil)
	path := "/subscriptions/" + s.subscribe(s.admin, nil)
	event := s.publish(s.admin, "a.b")
	for range 2 {
		got := s.call(http.MethodPost, path+"/pause", s.admin, nil).want(http.StatusOK).object()
		lane := got["lane"].(map[string]any)
		if got["status"] != "paused" || lane["held_since"] == nil || lane["backlog"] != 1.0 || lane["capped"] != false {
			t.Errorf("paused: %s", jsonText(got))
		}
	}
	if d := s.deliveries(s.admin, event)[0]; !strings.HasPrefix(d.Explanation, "Held since ") || s.work(nil) != 0 {
		t.Errorf("while paused: %s", d.Explanation)
	}
	s.call(http.MethodPost, path+"/test", s.admin, nil).want(http.StatusConflict)
	if got := s.call(http.MethodPost, path+"/resume", s.admin, nil).want(http.StatusOK).object(); got["status"] != "active" {
		t.Errorf("resumed: %s", jsonText(got))
	}
	if s.work(nil) != 1 {
		t.Error("what was held is not due")
	}
}

func TestPauseOfADisabled(t *testing.T) {
	s := open(t, nil)
	id := s.subscribe(s.admin, nil)
	path := "/subscriptions/" + id
	disable(t, s, id)
	paused := map[string]any{"status": "paused"}
	asked := s.call(http.MethodPost, path+"/pause", s.admin, nil).want(http.StatusConflict).object()
	if patched := s.call(http.MethodPatch, path, s.admin, paused).want(http.StatusConflict).object(); patched["detail"] != asked["detail"] {
		t.Errorf("PATCH says %q, /pause %q", patched["detail"], asked["detail"])
	}
	s.call(http.MethodPut, path, s.admin, map[string]any{"url": "https://example.com", "status": "paused"}).want(http.StatusConflict)
	got := s.call(http.MethodPatch, path, s.admin, map[string]any{"description": "x"}).want(http.StatusOK).object()
	if got["status"] != "disabled" || got["disabled_reason"] != posthorn.DisabledGone {
		t.Errorf("another change: %s", jsonText(got))
	}
	if got = s.call(http.MethodPatch, path, s.admin, map[string]any{"status": "active"}).want(http.StatusOK).object(); got["status"] != "active" {
		t.Errorf("resumed: %s", jsonText(got))
	}
}

func TestSecrets(t *testing.T) {
	s := open(t, nil)
	given := signing.GenerateHMAC().Secret().Reveal()
	path := "/subscriptions/" + s.subscribe(s.admin, map[string]any{"secret": given})
	read := func() secretView {
		var v secretView
		s.call(http.MethodGet, path+"/secret", s.admin, nil).want(http.StatusOK).into(&v)
		return v
	}
	if v := read(); v.Secret != given || len(v.Previous) != 0 || v.PublicKey != nil {
		t.Errorf("after creation %+v", v)
	}
	var rotated secretView
	s.call(http.MethodPost, path+"/secret/rotate", s.admin, `{"overlap_seconds":60}`).want(http.StatusOK).into(&rotated)
	if v := read(); v.Secret == given || len(v.Previous) != 1 || v.Previous[0].Secret != given || jsonText(v) != jsonText(rotated) {
		t.Errorf("after rotation %+v", v)
	}
	if left := time.Until(rotated.Previous[0].ExpiresAt); left < 50*time.Second || left > time.Minute {
		t.Errorf("the old secret signs for %s", left)
	}
	s.call(http.MethodPost, path+"/secret/rotate", s.admin, map[string]any{"secret": rotated.Secret}).wantFaults("body.secret")
	s.call(http.MethodPost, path+"/secret/rotate", s.admin, `{"overlap_seconds":604801}`).wantFaults("body.overlap_seconds")
	s.call(http.MethodPost, path+"/secret/rotate", s.admin, `{"overlap_seconds":-1}`).wantFaults("body.overlap_seconds")

	asymmetric := signing.GenerateEd25519()
	s.call(http.MethodPatch, path, s.admin, map[string]any{"secret": asymmetric.Secret().Reveal()}).want(http.StatusOK)
	if v := read(); v.Secret != asymmetric.Secret().Reveal() || v.PublicKey == nil || *v.PublicKey != asymmetric.Public() || len(v.Previous) != 2 {
		t.Errorf("after PATCH %+v", v)
	}
	s.call(http.MethodPut, path, s.admin, map[string]any{"url": "https://example.com", "secret": asymmetric.Secret().Reveal()}).want(http.StatusOK)
	if v := read(); len(v.Previous) != 2 {
		t.Errorf("the present secret in a PUT rotated: %+v", v)
	}
	s.call(http.MethodPost, path+"/secret/rotate", s.admin, `{}`).want(http.StatusOK)
	if v := read(); v.PublicKey == nil {
		t.Error("rotating an asymmetric key made a shared secret")
	}
	s.call(http.MethodPost, path+"/secret/rotate", s.admin, `{}`).want(http.StatusOK)
	s.call(http.MethodPost, path+"/secret/rotate", s.admin, `{}`).want(http.StatusConflict)
	another := signing.GenerateHMAC().Secret().Reveal()
	s.call(http.MethodPut, path, s.admin, map[string]any{"url": "https://example.com", "secret": another}).want(http.StatusConflict)
	s.call(http.MethodPatch, path, s.admin, map[string]any{"secret": another}).want(http.StatusConflict)
	if v := read(); len(v.Previous) != maxSecrets-1 {
		t.Errorf("%d secrets sign besides the newest, want %d", len(v.Previous), maxSecrets-1)
	}
	s.call(http.MethodPost, path+"/secret/rotate", s.admin, `{"overlap_seconds":0}`).want(http.StatusOK)
	if v := read(); len(v.Previous) != 0 {
		t.Errorf("without overlap %+v", v)
	}
	reader := s.addKey(s.home, nil, posthorn.ScopeRead)
	s.call(http.MethodGet, path+"/secret", reader, nil).want(http.StatusForbidden)
}

func TestSubscriptionList(t *testing.T) {
	s := open(t, nil)
	var ids []string
	for _, url := range []string{"https://example.com/a", "https://example.com/b", "https://example.com/c"} {
		ids = append(ids, s.subscribe(s.admin, map[string]any{"url": url, "description": "for " + url}))
	}
	slices.Reverse(ids)
	if got := s.pages("/subscriptions", s.admin, 2); !slices.Equal(got, ids) {
		t.Errorf("listed %v, want %v", got, ids)
	}
	if got := s.pages("/subscriptions?q=COM/b", s.admin, 2); !slices.Equal(got, ids[1:2]) {
		t.Errorf("found %v", got)
	}
	s.call(http.MethodPost, "/subscriptions/"+ids[0]+"/pause", s.admin, nil).want(http.StatusOK)
	if got := s.pages("/subscriptions?status=paused", s.admin, 2); !slices.Equal(got, ids[:1]) {
		t.Errorf("paused are %v", got)
	}
	s.call(http.MethodGet, "/subscriptions?status=broken", s.admin, nil).wantFaults("query.status")
}

// pages reads a whole list in pages of a size and gives the ids.
func (s *site) pages(path, key string, size int) []string {
	s.t.Helper()
	sign := "?"
	if strings.Contains(path, "?") {
		sign = "&"
	}
	var ids []string
	for cursor := ""; ; {
		var l list[struct{ ID string }]
		s.call(http.MethodGet, path+sign+"limit="+string(rune('0'+size))+cursor, key, nil).want(http.StatusOK).into(&l)
		for _, row := range l.Data {
			ids = append(ids, row.ID)
		}
		if len(l.Data) > size {
			s.t.Fatalf("%d rows on a page of %d", len(l.Data), size)
		}
		if l.NextCursor == nil {
			return ids
		}
		cursor = "&cursor=" + *l.NextCursor
	}
}

func TestCursorsAreBound(t *testing.T) {
	s := open(t, nil)
	for range 3 {
		s.subscribe(s.admin, nil)
		s.subscribe(s.foreign, nil)
	}
	cursor := s.call(http.MethodGet, "/subscriptions?limit=1", s.admin, nil).object()["next_cursor"].(string)
	s.call(http.MethodGet, "/subscriptions?limit=2&cursor="+cursor, s.admin, nil).want(http.StatusOK)
	s.call(http.MethodGet, "/subscriptions?q=&cursor="+cursor, s.admin, nil).want(http.StatusOK)
	s.call(http.MethodGet, "/subscriptions?cursor="+cursor, s.foreign, nil).wantFaults("query.cursor")
	s.call(http.MethodGet, "/subscriptions?q=x&cursor="+cursor, s.admin, nil).wantFaults("query.cursor")
	s.call(http.MethodGet, "/events?cursor="+cursor, s.admin, nil).wantFaults("query.cursor")
	flipped := strings.ToLower(cursor[:8]) + strings.ToUpper(cursor[8:])
	for _, bad := range []string{cursor[:31], cursor + "A", cursor + "=", flipped, "garbage", strings.Repeat("a", 1000), "%20" + cursor} {
		s.call(http.MethodGet, "/subscriptions?cursor="+bad, s.admin, nil).wantFaults("query.cursor")
	}
	for _, bad := range []string{"0", "201", "-1", "%2B1", "1.0", "1e1", "%201", "0x10", "１０", "abc", "99999999999999999999"} {
		s.call(http.MethodGet, "/subscriptions?limit="+bad, s.admin, nil).wantFaults("query.limit")
	}
	for _, good := range []string{"1", "200", "010"} {
		s.call(http.MethodGet, "/subscriptions?limit="+good, s.admin, nil).want(http.StatusOK)
	}
}

func TestTest(t *testing.T) {
	s := open(t, nil)
	id := s.subscribe(s.admin, nil)
	s.subscribe(s.admin, nil)
	s.workAlong(nil)
	var got testResult
	s.call(http.MethodPost, "/subscriptions/"+id+"/test", s.admin, nil).want(http.StatusOK).into(&got)
	if got.Attempt == nil || got.Attempt.Outcome != posthorn.Succeeded || got.Delivery.Status != posthorn.Delivered ||
		got.Delivery.SubscriptionID.String() != id || got.Delivery.EventType != posthorn.TestEventType {
		t.Errorf("tested: %s", jsonText(got))
	}
	if n := len(s.deliveries(s.admin, got.EventID.String())); n != 1 {
		t.Errorf("the test went to %d subscriptions", n)
	}
}

// FuzzCursor reads any cursor: only what was written for the list is read, and as what it was.
func FuzzCursor(f *testing.F) {
	c := &call{path: "/events", identity: &auth.Identity{Tenant: &posthorn.Tenant{}}, request: &http.Request{URL: &url.URL{RawQuery: "type=a"}}}
	f.Add(writeCursor(c, posthorn.NewUUID(time.Unix(1, 0))))
	f.Add("")
	f.Add(strings.Repeat("A", cursorLength))
	f.Fuzz(func(t *testing.T, text string) {
		id, err := readCursor(c, "query.cursor", text)
		if err == nil && text != "" && writeCursor(c, id) != text {
			t.Errorf("%q was read and is not what is written", text)
		}
	})
}
