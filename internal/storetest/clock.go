package storetest

import (
	"time"

	"github.com/posthorn/posthorn"
)

func clockTests() group {
	return group{"Clock", []test{
		{"SetBack", func(f *Fixture) {
			clockSetBack(f, func() {
				f.setClock(-time.Hour)
				f.withdrawAll(usual(100))
			})
		}},
		{"SetBackBeforeTheStart", func(f *Fixture) {
			clockSetBack(f, func() {
				f.setClock(-time.Hour)
				f.reopen()
			})
		}},
		{"SetBackBetweenAttempts", clockSetBackBetweenAttempts},
		{"SetForth", clockSetForth},
	}}
}

// setClock sets the store's clock.
func (f *Fixture) setClock(d time.Duration) {
	f.T.Helper()
	f.harness.Step(f.T, f.Store, d)
}

// publishFor publishes an event that is to be delivered after a wait.
func (f *Fixture) publishFor(wait time.Duration, sub posthorn.SubscriptionID) posthorn.DeliveryID {
	f.T.Helper()
	_, made := f.PublishEvent(f.NewEvent(func(e *posthorn.Event) { e.DeliverAt = f.Store.Now().Add(wait) }), sub)
	return made[0]
}

// clockSetBack has the clock set back by an hour: what is due stays due, what waits keeps its wait, no lease and no pause is
// longer than one may be, a time that a producer named is that time, and the duty to see to all this is not a dead node's.
func clockSetBack(f *Fixture, back func()) {
	sub := f.Subscribe()
	tried := f.publishFor(2*time.Hour, sub)
	f.retry(tried)
	byHand := f.Failure(f.ClaimOne(tried), 0)
	byHand.KeepDue, byHand.Spends = true, false
	f.Record(byHand)
	failed := f.PublishOne(sub)
	f.Record(f.Failure(f.ClaimOne(failed), 10*time.Minute))
	retried := f.PublishOne(sub)
	f.Record(f.Failure(f.ClaimOne(retried), 10*time.Minute))
	f.retry(retried)
	later := f.publishFor(2*time.Hour, sub)
	asked := f.publishFor(2*time.Hour, sub)
	f.retry(asked)
	broken := f.Subscribe()
	behind := f.PublishOne(broken)
	claimed := f.PublishOne(f.Subscribe())
	claims := f.Claim()
	wantSet(f, "claimed before", claimedIDs(claims), retried, behind, claimed, asked)
	for _, c := range claims {
		if c.DeliveryID != claimed {
			f.must(f.Store.ReleaseClaims(f.Context(), []posthorn.Claim{c.Claim}))
		}
	}
	f.Change(broken, posthorn.LaneChange{OpenFor: posthorn.LongestBreak})
	due := f.PublishOne(sub)
	dead := posthorn.NodeID{UUID: f.ID()}
	equal(f, "a duty", f.lease("janitor", dead, time.Minute), true)

	back()
	equal(f, "the dead node's duty", f.lease("janitor", f.Node, time.Minute), true)
	f.wantIn("due_at of the failed", f.Delivery(failed).DueAt, 10*time.Minute)
	f.wantIn("due_at of the one with a time", f.Delivery(later).DueAt, 3*time.Hour)
	f.wantIn("due_at of the one with a time that was tried by hand", f.Delivery(tried).DueAt, 3*time.Hour)
	if left := f.Delivery(claimed).ClaimedUntil.Sub(f.Store.Now()); left > posthorn.Lease+time.Second {
		f.T.Fatalf("a lease ends in %s", left)
	}
	f.Elapse(afterLease)
	wantSet(f, "claimed at once", claimedIDs(f.Claim()), retried, claimed, due, asked)
	f.Elapse(10 * time.Minute)
	wantSet(f, "claimed later", claimedIDs(f.Claim()), failed, behind, retried, claimed, due, asked)
}

// clockSetBackBetweenAttempts has attempts that are older than their delivery: they are listed like others.
func clockSetBackBetweenAttempts(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	f.Record(f.Failure(f.ClaimOne(id), time.Second))
	f.setClock(-48 * time.Hour)
	f.withdrawAll(usual(100))
	f.Elapse(time.Minute)
	f.Record(f.Success(f.ClaimOne(id)))
	attempts := f.Attempts(id)
	equal(f, "attempts", len(attempts), 2)
	equal(f, "the last", attempts[1].Outcome, posthorn.Succeeded)
}

// clockSetForth has the clock set forth: leases end early, and their late results move nothing.
func clockSetForth(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	first := f.ClaimOne(id)
	f.setClock(time.Hour)
	f.withdrawAll(usual(100))
	second := f.ClaimOne(id)
	equal(f, "number", second.Number, 2)
	report := f.RecordBatch(posthorn.RecordBatch{Node: f.Node, Results: []posthorn.Result{f.Failure(first, time.Hour)}})
	equal(f, "moved", report.Results[0].Moved, false)
	f.Record(f.Success(second))
	f.wantState(id, posthorn.Delivered, posthorn.ReasonNone)
}
