package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/posthorn/posthorn"
)

func TestFilterIsCheckedWhenWritten(t *testing.T) {
	s := open(t, nil)
	for _, c := range []struct{ name, filter, fault string }{
		{"EndsEarly", "payload.amount >", "line 1, column 17: the expression ends too early"},
		{"NotABoolean", "payload.amount + 1.0", "must be true or false"},
		{"TooLong", strings.Repeat(" ", 4096) + "true", "must be at most 4096 characters"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := s.call(http.MethodPost, "/subscriptions", s.admin, map[string]any{"url": "https://example.com/hook", "filter": c.filter})
			got.wantFaults("body.filter")
			if !strings.Contains(string(got.body), c.fault) {
				t.Errorf("answered %s, want %q", got.body, c.fault)
			}
		})
	}
}

func TestFilterIsWrittenAndRead(t *testing.T) {
	s := open(t, nil)
	path := "/subscriptions/" + s.subscribe(s.admin, map[string]any{"filter": "payload.amount > 100"})
	is := func(a answered, want any) {
		t.Helper()
		if got := a.want(http.StatusOK).object()["filter"]; got != want {
			t.Errorf("the filter is %v, want %v", got, want)
		}
	}
	is(s.call(http.MethodGet, path, s.admin, nil), "payload.amount > 100")
	is(s.call(http.MethodPatch, path, s.admin, `{"description":"d"}`), "payload.amount > 100")
	is(s.call(http.MethodPatch, path, s.admin, `{"filter":"type == 'a'"}`), "type == 'a'")
	s.call(http.MethodPatch, path, s.admin, `{"filter":"type =="}`).wantFaults("body.filter")
	is(s.call(http.MethodPatch, path, s.admin, `{"filter":null}`), nil)
	is(s.call(http.MethodPut, path, s.admin, `{"url":"https://example.com/hook","filter":"payload.ok"}`), "payload.ok")
	is(s.call(http.MethodPut, path, s.admin, `{"url":"https://example.com/hook","filter":null}`), nil)
	s.call(http.MethodPatch, path, s.admin, `{"filter":"payload.ok"}`).want(http.StatusOK)
	is(s.call(http.MethodPut, path, s.admin, `{"url":"https://example.com/hook"}`), nil)
}

func TestFilterTrial(t *testing.T) {
	s := open(t, nil)
	path := "/subscriptions/" + s.subscribe(s.admin, map[string]any{"filter": "payload.amount > 100"}) + "/filter/test"
	for _, c := range []struct{ name, body, want string }{
		{"Matches", `{"type":"a","payload":{"amount":101}}`, `{"matches":true,"error":null}`},
		{"DoesNot", `{"type":"a","payload":{"amount":100}}`, `{"matches":false,"error":null}`},
		{"Fails", `{"type":"a","payload":{}}`, `{"matches":false,"error":"no such key: amount"}`},
		{"NullPayload", `{"type":"a","payload":null,"filter":"payload == null"}`, `{"matches":true,"error":null}`},
		{"Another", `{"type":"a","payload":1,"headers":{"X-A":"b"},"filter":"headers['x-a'] == 'b' && type == 'a'"}`, `{"matches":true,"error":null}`},
		{"None", `{"type":"a","payload":1,"filter":""}`, `{"matches":true,"error":null}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := strings.TrimSpace(string(s.call(http.MethodPost, path, s.admin, c.body).want(http.StatusOK).body)); got != c.want {
				t.Errorf("answered %s, want %s", got, c.want)
			}
		})
	}
	s.call(http.MethodPost, path, s.admin, `{"filter":"payload ==","type":"a b","extra":1}`).wantFaults("body.extra", "body.payload")
	s.call(http.MethodPost, path, s.admin, `{"filter":"payload ==","type":"a b","payload":1}`).wantFaults("body.type")
	s.call(http.MethodPost, path, s.admin, `{"filter":"payload ==","type":"a","payload":1}`).wantFaults("body.filter")
	s.call(http.MethodPost, path, s.foreign, `{"type":"a","payload":1}`).want(http.StatusNotFound)
}

func TestRetryEndsEarly(t *testing.T) {
	s := open(t, nil)
	path := "/subscriptions/" + s.subscribe(s.admin, map[string]any{
		"retry": map[string]any{"schedule": []float64{5}, "final_statuses": []int{404, 400, 404}, "window_seconds": 60},
	})
	for _, c := range []struct{ name, patch, want string }{
		{"Nothing", `{}`, `{"final_statuses":[400,404],"schedule":[5],"window_seconds":60}`},
		{"TheEndsAlone", `{"retry":{"final_statuses":[410]}}`, `{"final_statuses":[410],"schedule":[5],"window_seconds":60}`},
		{
			"TheFormAlone", `{"retry":{"initial":1,"multiplier":2,"maximum":9,"attempts":3}}`,
			`{"attempts":3,"final_statuses":[410],"initial":1,"maximum":9,"multiplier":2,"window_seconds":60}`,
		},
		{"NoEnds", `{"retry":{"schedule":[7],"final_statuses":null,"window_seconds":null}}`, `{"schedule":[7]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := jsonText(s.call(http.MethodPatch, path, s.admin, c.patch).want(http.StatusOK).object()["retry"]); got != c.want {
				t.Errorf("retry is %s, want %s", got, c.want)
			}
		})
	}
	s.call(http.MethodPatch, path, s.admin, `{"retry":{"final_statuses":[200,404],"window_seconds":259201}}`).
		wantFaults("body.retry.final_statuses[0]", "body.retry.window_seconds")
	s.call(http.MethodPatch, path, s.admin, `{"retry":{"schedule":[600000],"window_seconds":3600}}`).want(http.StatusOK)
}

// TestAnnouncements wants Posthorn's own events where a subscription asks for them, and nothing stored where none does.
func TestAnnouncements(t *testing.T) {
	s := open(t, func(o *Options) { o.Announcer = o.Publisher.(Announcer) })
	id := s.subscribe(s.admin, nil)
	rotate := func() {
		s.call(http.MethodPost, "/subscriptions/"+id+"/secret/rotate", s.admin, `{}`).want(http.StatusOK)
	}
	events := func() (types []string) {
		var l list[event]
		s.call(http.MethodGet, "/events", s.admin, nil).want(http.StatusOK).into(&l)
		for _, e := range l.Data {
			types = append(types, e.Type)
		}
		return types
	}
	rotate()
	if got := events(); len(got) != 0 {
		t.Fatalf("stored what nobody asked for: %v", got)
	}
	s.subscribe(s.admin, map[string]any{"event_types": []string{"posthorn.*"}})
	rotate()
	s.call(http.MethodPost, "/subscriptions/"+id+"/pause", s.admin, nil).want(http.StatusOK)
	s.call(http.MethodPost, "/subscriptions/"+id+"/resume", s.admin, nil).want(http.StatusOK)
	disable(t, s, id)
	s.call(http.MethodPatch, "/subscriptions/"+id, s.admin, `{"status":"active","description":"back"}`).want(http.StatusOK)
	if got, want := events(), []string{"posthorn.subscription.enabled", "posthorn.secret.rotated"}; jsonText(got) != jsonText(want) {
		t.Errorf("announced %v, want %v", got, want)
	}
}

// disable does what the engine does on a 410.
func disable(t *testing.T, s *site, id string) {
	t.Helper()
	parsed, err := pathID[posthorn.SubscriptionID]("subscription", id)
	must(t, err)
	_, err = s.store.UpdateSubscription(t.Context(), s.home.ID, parsed, func(sub *posthorn.Subscription) error {
		sub.Status, sub.DisabledReason = posthorn.StatusDisabled, posthorn.DisabledGone
		return nil
	})
	must(t, err)
}
