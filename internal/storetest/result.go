package storetest

import (
	"time"

	"github.com/posthorn/posthorn"
)

// Attempt makes the attempt of a claim as an engine would report it.
func (f *Fixture) Attempt(c posthorn.Claimed, outcome posthorn.Outcome) *posthorn.Attempt {
	a := &posthorn.Attempt{
		ID:             c.Attempt,
		TenantID:       c.Delivery.TenantID,
		DeliveryID:     c.DeliveryID,
		EventID:        c.Delivery.EventID,
		SubscriptionID: c.Delivery.SubscriptionID,
		Number:         c.Number,
		Manual:         c.Delivery.Manual != posthorn.NotManual,
		StartedAt:      f.Store.Now(),
		Outcome:        outcome,
		Timing:         posthorn.Timing{FirstByte: 6 * time.Millisecond, Total: 7 * time.Millisecond},
		Node:           f.Node,
	}
	switch outcome {
	case posthorn.Succeeded:
		a.StatusCode = 200
	case posthorn.HTTPError:
		a.StatusCode = 503
	}
	return a
}

// Success is the result of a claim that was delivered.
func (f *Fixture) Success(c posthorn.Claimed) posthorn.Result {
	return posthorn.Result{Claim: c.Claim, Attempt: f.Attempt(c, posthorn.Succeeded), On: posthorn.OnSuccess, Spends: true}
}

// Failure is the result of a claim that failed and is due again after delay.
func (f *Fixture) Failure(c posthorn.Claimed, delay time.Duration) posthorn.Result {
	return posthorn.Result{
		Claim: c.Claim, Attempt: f.Attempt(c, posthorn.HTTPError), On: posthorn.OnFailure, Delay: delay, Spends: true,
	}
}

// Exhaustion is the result of a claim that failed for the last time.
func (f *Fixture) Exhaustion(c posthorn.Claimed) posthorn.Result {
	return posthorn.Result{
		Claim: c.Claim, Attempt: f.Attempt(c, posthorn.HTTPError), On: posthorn.OnExhaust,
		Reason: posthorn.ReasonAttempts, Spends: true,
	}
}

// Record records results that must all move their deliveries.
func (f *Fixture) Record(results ...posthorn.Result) []posthorn.Recorded {
	f.T.Helper()
	report := f.RecordBatch(posthorn.RecordBatch{Node: f.Node, Results: results})
	for i, r := range report.Results {
		if !r.Moved {
			f.T.Fatalf("result %d of %d did not move its delivery", i, len(results))
		}
	}
	return report.Results
}

// RecordBatch records a batch.
func (f *Fixture) RecordBatch(batch posthorn.RecordBatch) posthorn.RecordReport {
	f.T.Helper()
	report, err := f.Store.RecordAttempts(f.Context(), batch)
	f.must(err)
	if len(report.Results) != len(batch.Results) {
		f.T.Fatalf("%d answers to %d results", len(report.Results), len(batch.Results))
	}
	return report
}

// Change records changes of lanes alone.
func (f *Fixture) Change(subscription posthorn.SubscriptionID, change posthorn.LaneChange) posthorn.RecordReport {
	f.T.Helper()
	change.SubscriptionID, change.TenantID = subscription, f.Tenant
	return f.RecordBatch(posthorn.RecordBatch{Node: f.Node, Lanes: []posthorn.LaneChange{change}})
}

// Deliver publishes one event to a subscription and delivers it.
func (f *Fixture) Deliver(subscription posthorn.SubscriptionID) posthorn.DeliveryID {
	f.T.Helper()
	accepted := f.Offer(f.NewEvent(), subscription)
	if len(accepted.Claimed) != 1 {
		f.T.Fatalf("%d deliveries born claimed, want 1", len(accepted.Claimed))
	}
	f.Record(f.Success(accepted.Claimed[0]))
	return accepted.Claimed[0].DeliveryID
}

// Exhaust publishes one event to a subscription and fails it for good.
func (f *Fixture) Exhaust(subscription posthorn.SubscriptionID) posthorn.DeliveryID {
	f.T.Helper()
	accepted := f.Offer(f.NewEvent(), subscription)
	if len(accepted.Claimed) != 1 {
		f.T.Fatalf("%d deliveries born claimed, want 1", len(accepted.Claimed))
	}
	f.Record(f.Exhaustion(accepted.Claimed[0]))
	return accepted.Claimed[0].DeliveryID
}

// SetStatus changes a subscription's status.
func (f *Fixture) SetStatus(subscription posthorn.SubscriptionID, status posthorn.Status) {
	f.T.Helper()
	_, err := f.Store.UpdateSubscription(f.Context(), f.Tenant, subscription, func(s *posthorn.Subscription) error {
		s.Status = status
		return nil
	})
	f.must(err)
}
