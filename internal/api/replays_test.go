package api

import (
	"net/http"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

func TestReplays(t *testing.T) {
	s := open(t, nil)
	id := s.subscribe(s.admin, nil)
	for range 3 {
		s.publish(s.admin, "a.b")
	}
	s.work(func(_ *posthorn.Claimed, r *posthorn.Result) {
		r.On, r.Reason = posthorn.OnExhaust, posthorn.ReasonAttempts
		r.Attempt.Outcome, r.Attempt.StatusCode = posthorn.HTTPError, 500
	})
	filter := map[string]any{"failed_since": time.Now().Add(-time.Hour), "subscription_id": id}
	var count replayCount
	s.call(http.MethodPost, "/replays", s.admin, map[string]any{"filter": filter, "dry_run": true}).want(http.StatusOK).into(&count)
	if l := s.logged("?action=replay.create"); len(l) > 0 {
		t.Errorf("a dry run is logged: %v", l)
	}
	if want := (replayCount{DryRun: true, Matched: 3, Deliveries: 3, Complete: true}); count != want {
		t.Errorf("dry run: %s", jsonText(count))
	}
	answer := s.call(http.MethodPost, "/replays", s.admin, map[string]any{"filter": filter, "rate_limit": map[string]any{"limit": 5000, "per": "second"}}).want(http.StatusAccepted)
	var made, read replay
	answer.into(&made)
	path := "/replays/" + made.ID.String()
	if answer.header.Get("Location") != path || made.Status != posthorn.ReplayPending || *made.Total != 3 || made.To != posthorn.ToOriginal ||
		made.Filter.SubscriptionID.String() != id || made.Filter.Status != nil || made.Filter.FailedSince.IsZero() || made.RateLimit.Limit != 5000 {
		t.Errorf("made: %s at %s", jsonText(made), answer.header.Get("Location"))
	}
	s.call(http.MethodGet, path, s.foreign, nil).want(http.StatusNotFound)
	s.call(http.MethodPost, path+"/cancel", s.foreign, nil).want(http.StatusNotFound)
	s.replays.Start()
	defer s.replays.Stop()
	for end := time.Now().Add(10 * time.Second); read.Status != posthorn.ReplayCompleted && time.Now().Before(end); <-time.After(time.Millisecond) {
		s.call(http.MethodGet, path, s.admin, nil).want(http.StatusOK).into(&read)
	}
	if read.Created != 3 || read.Matched != 3 || read.Skipped != 0 || read.CompletedAt == nil || read.StartedAt == nil {
		t.Errorf("read: %s", jsonText(read))
	}
	var deliveries list[delivery]
	s.call(http.MethodGet, "/deliveries?replay_id="+made.ID.String(), s.admin, nil).want(http.StatusOK).into(&deliveries)
	if len(deliveries.Data) != 3 || *deliveries.Data[0].ReplayID != made.ID {
		t.Errorf("deliveries: %s", jsonText(deliveries))
	}
	s.call(http.MethodPost, path+"/cancel", s.admin, nil).want(http.StatusConflict)
	var listed list[replay]
	s.call(http.MethodGet, "/replays?limit=1", s.admin, nil).want(http.StatusOK).into(&listed)
	if len(listed.Data) != 1 || listed.Data[0].ID != made.ID {
		t.Errorf("listed: %s", jsonText(listed))
	}
}

func TestReplayIsCancelled(t *testing.T) {
	s := open(t, nil)
	var made, cancelled replay
	s.call(http.MethodPost, "/replays", s.admin, `{"to":"matching","filter":{"event_type":["a.*"]}}`).want(http.StatusAccepted).into(&made)
	s.call(http.MethodPost, "/replays/"+made.ID.String()+"/cancel", s.admin, nil).want(http.StatusOK).into(&cancelled)
	if cancelled.Status != posthorn.ReplayCancelled || cancelled.CompletedAt == nil {
		t.Errorf("cancelled: %s", jsonText(cancelled))
	}
	for range posthorn.MaxActiveReplays {
		s.call(http.MethodPost, "/replays", s.admin, `{"filter":{"event_type":["a.*"]}}`).want(http.StatusAccepted)
	}
	s.call(http.MethodPost, "/replays", s.admin, `{"filter":{"event_type":["a.*"]}}`).want(http.StatusConflict)
}

func TestReplaysRefused(t *testing.T) {
	s := open(t, nil)
	for name, test := range map[string]struct {
		body   string
		faults []string
	}{
		"NoFilter":      {`{}`, []string{"body.filter"}},
		"Everything":    {`{"filter":{}}`, []string{"body.filter"}},
		"Pending":       {`{"filter":{"status":["pending"]}}`, []string{"body.filter.status"}},
		"BadType":       {`{"filter":{"event_type":["a..b"]}}`, []string{"body.filter.event_type"}},
		"BadRange":      {`{"filter":{"since":"2026-01-02T00:00:00Z","until":"2026-01-01T00:00:00Z"}}`, []string{"body.filter.until"}},
		"FailedAndSo":   {`{"filter":{"status":["exhausted"],"failed_since":"2026-01-02T00:00:00Z"}}`, []string{"body.filter.failed_since"}},
		"BadTarget":     {`{"to":"all","filter":{"event_type":["a"]}}`, []string{"body.to"}},
		"OnlyOfMatched": {`{"filter":{"event_type":["a"]},"subscription_ids":["sub_01m8547nx0e1qbsjvyf4n6x9ff"]}`, []string{"body.subscription_ids"}},
		"BadRate":       {`{"filter":{"event_type":["a"]},"rate_limit":{"limit":0,"per":"hour"}}`, []string{"body.rate_limit.limit", "body.rate_limit.per"}},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			s.call(http.MethodPost, "/replays", s.admin, test.body).wantFaults(test.faults...)
		})
	}
}

func TestResumeWithoutTheBacklog(t *testing.T) {
	s := open(t, nil)
	id := s.subscribe(s.admin, map[string]any{"status": "paused"})
	event := s.publish(s.admin, "a.b")
	path := "/subscriptions/" + id + "/resume"
	s.call(http.MethodPost, path, s.admin, `{"backlog":"burn"}`).wantFaults("body.backlog")
	s.call(http.MethodPost, path, s.admin, `{"backlog":"skip"}`).want(http.StatusOK)
	report, err := s.store.WithdrawDeliveries(t.Context(), posthorn.Withdrawal{Hold: time.Hour, Window: time.Hour, Batch: 10})
	if err != nil || report.Ended[posthorn.ReasonSkipped] != 1 {
		t.Errorf("withdrawn: %v, %v", report.Ended, err)
	}
	if d := s.deliveries(s.admin, event)[0]; *d.Reason != posthorn.ReasonSkipped || d.Explanation != "Cancelled because its subscription was resumed without what it had held. A manual retry revives it." {
		t.Errorf("delivery: %s", jsonText(d))
	}
	s.call(http.MethodPost, path, s.admin, nil).want(http.StatusOK)
}
