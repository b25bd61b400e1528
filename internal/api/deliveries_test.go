package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

func TestDeliveryAndAttempts(t *testing.T) {
	s := open(t, nil)
	s.subscribe(s.admin, nil)
	event := s.publish(s.admin, "a.b")
	s.work(func(_ *posthorn.Claimed, r *posthorn.Result) {
		r.On, r.Delay = posthorn.OnFailure, time.Hour
		a := r.Attempt
		a.Outcome, a.StatusCode, a.Error, a.Detail = posthorn.HTTPError, 503, "http_503", "the receiver answered 503"
		a.Body, a.BodyTruncated = []byte("caf\xc3\xa9 \xc3"), true
		a.Response = posthorn.Headers{"X-Bad": {"\xff"}}
	})
	d := s.deliveries(s.admin, event)[0]
	path := "/deliveries/" + d.ID.String()
	var read delivery
	s.call(http.MethodGet, path, s.admin, nil).want(http.StatusOK).into(&read)
	if jsonText(read) != jsonText(d) || d.Status != posthorn.Pending || d.Attempts != 1 || *d.LastStatusCode != 503 || d.NextAttemptAt == nil || d.InFlight {
		t.Errorf("read %s, listed %s", jsonText(read), jsonText(d))
	}
	var attempts list[attempt]
	s.call(http.MethodGet, path+"/attempts", s.admin, nil).want(http.StatusOK).into(&attempts)
	a := attempts.Data[0]
	if a.Number != 1 || *a.Error != "http_503" || *a.Response.Body != "café " || !a.Response.BodyTruncated || a.Response.BodyBase64 != nil ||
		*a.Timings.DNS != 1 || a.Timings.Connect != nil || a.Timings.Total != 12 || a.Request.Headers["Webhook-Id"][0] != event {
		t.Errorf("attempt %s", jsonText(a))
	}
}

func TestAsText(t *testing.T) {
	tests := []struct {
		body string
		cut  bool
		want string
		ok   bool
	}{
		{"", false, "", true},
		{"plain", false, "plain", true},
		{"a\xc3", true, "a", true},
		{"a\xf0\x9f\x98", true, "a", true},
		{"a\xc3", false, "", false},
		{"\xff\xfe\x00", true, "", false},
	}
	for _, test := range tests {
		if got, ok := asText([]byte(test.body), test.cut); got != test.want || ok != test.ok {
			t.Errorf("%q is %q, %v", test.body, got, ok)
		}
	}
}

func TestRetryAndCancel(t *testing.T) {
	s := open(t, nil)
	s.subscribe(s.admin, nil)
	event := s.publish(s.admin, "a.b")
	s.work(failing(time.Hour))
	path := "/deliveries/" + s.deliveries(s.admin, event)[0].ID.String()
	var d delivery
	s.call(http.MethodPost, path+"/retry", s.admin, nil).want(http.StatusAccepted).into(&d)
	if d.Status != posthorn.Pending || !strings.Contains(d.Explanation, "asked for by hand") {
		t.Errorf("retried: %s", jsonText(d))
	}
	s.call(http.MethodPost, path+"/cancel", s.admin, nil).want(http.StatusOK).into(&d)
	if d.Status != posthorn.Cancelled || *d.Reason != posthorn.ReasonRequested || d.CompletedAt == nil || d.NextAttemptAt != nil {
		t.Errorf("cancelled: %s", jsonText(d))
	}
	s.call(http.MethodPost, path+"/cancel", s.admin, nil).want(http.StatusConflict)
	s.call(http.MethodPost, path+"/retry", s.admin, nil).want(http.StatusAccepted)
	if s.work(nil) != 1 {
		t.Error("the revived delivery is not due")
	}
	s.call(http.MethodPost, path+"/retry", s.admin, nil).want(http.StatusConflict)
	s.call(http.MethodPost, "/deliveries/nonsense/retry", s.admin, nil).want(http.StatusNotFound)
}

func TestDeliveryFilters(t *testing.T) {
	s := open(t, nil)
	id := s.subscribe(s.admin, nil)
	var deliveries []string
	for i, work := range []func(*posthorn.Claimed, *posthorn.Result){nil, failing(time.Hour), nil} {
		event := s.publish(s.admin, "a.n"+string(rune('0'+i)))
		s.work(work)
		deliveries = append(deliveries, s.deliveries(s.admin, event)[0].ID.String())
	}
	slices.Reverse(deliveries)
	ok, failed := []string{deliveries[0], deliveries[2]}, deliveries[1:2]
	for query, want := range map[string][]string{
		"":                            deliveries,
		"?status=succeeded":           ok,
		"?status=pending,exhausted":   failed,
		"?outcome=http_error":         failed,
		"?status_code=503":            failed,
		"?subscription_id=" + id:      deliveries,
		"?event_type=a.n1":            failed,
		"?event_type=a.*":             deliveries,
		"?until=2020-01-01T00:00:00Z": nil,
	} {
		if got := s.pages("/deliveries"+query, s.admin, 2); !slices.Equal(got, want) {
			t.Errorf("%s lists %v, want %v", query, got, want)
		}
	}
	for query, place := range map[string]string{
		"status=pending,": "query.status", "status=Pending": "query.status", "outcome=ok": "query.outcome", "status_code=99": "query.status_code",
		"status_code=%2B200": "query.status_code", "event_id=x": "query.event_id", "replay_id=x": "query.replay_id", "event_type=*.a": "query.event_type",
	} {
		s.call(http.MethodGet, "/deliveries?"+query, s.admin, nil).wantFaults(place)
	}
}

func TestBulk(t *testing.T) {
	s := open(t, nil)
	s.subscribe(s.admin, nil)
	for range 5 {
		s.publish(s.admin, "a.b")
	}
	s.work(failing(time.Hour))
	bulk := func(body string) bulkReport {
		t.Helper()
		var r bulkReport
		s.call(http.MethodPost, "/deliveries/bulk", s.admin, body).want(http.StatusOK).into(&r)
		return r
	}
	if r := bulk(`{"action":"cancel","filter":{"status":["pending"]},"dry_run":true}`); r.Matched != 5 || r.Changed != 0 || !r.DryRun {
		t.Errorf("dry run %+v", r)
	}
	if r := bulk(`{"action":"retry","filter":{"outcome":"http_error","event_type":["a.*"]}}`); r.Changed != 5 || r.NextCursor != nil {
		t.Errorf("retry %+v", r)
	}
	if r := bulk(`{"action":"cancel","filter":{"status_code":503}}`); r.Changed != 5 {
		t.Errorf("cancel %+v", r)
	}
	if r := bulk(`{"action":"cancel","filter":{"status":["pending"]}}`); r.Matched != 0 {
		t.Errorf("again %+v", r)
	}
	for body, places := range map[string][]string{
		`{"action":"delete","filter":{"status":["pending"]}}`:          {"body.action"},
		`{"action":"retry","filter":{}}`:                               {"body.filter"},
		`{"action":"retry"}`:                                           {"body.filter"},
		`{"action":"retry","filter":{"status":["x"],"status_code":7}}`: {"body.filter.status", "body.filter.status_code"},
		`{"action":"retry","filter":{"subscription_id":"x"}}`:          {"body.filter.subscription_id"},
		`{"action":"retry","filter":{"since":"x"}}`:                    {"body.filter.since"},
		// Each of these would be as if it were not there, and find everything else.
		`{"action":"retry","filter":{"status":["pending"],"subscription_id":""}}`:           {"body.filter.subscription_id"},
		`{"action":"retry","filter":{"status":["pending"],"event_id":"","replay_id":""}}`:   {"body.filter.event_id"},
		`{"action":"retry","filter":{"status":["pending"],"status_code":0}}`:                {"body.filter.status_code"},
		`{"action":"retry","filter":{"status":["pending"],"since":"0001-01-01T00:00:00Z"}}`: {"body.filter.since"},
		`{"action":"retry","filter":{"until":"9999-12-31T23:59:59-05:00"}}`:                 {"body.filter.until"},
		`{"action":"retry","filter":{"status":["pending"]},"cursor":"x"}`:                   {"body.cursor"},
	} {
		s.call(http.MethodPost, "/deliveries/bulk", s.admin, body).wantFaults(places...)
	}
}
