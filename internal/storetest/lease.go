package storetest

import (
	"slices"
	"time"

	"github.com/posthorn/posthorn"
)

// afterLease is when a lease has surely run out.
const afterLease = posthorn.Lease + 2*slack

func leaseTests() group {
	return group{"Lease", []test{
		{"LostLeaseIsInterrupted", leaseLost},
		{"LateResultFillsItsRow", leaseLateResult},
		{"LateResultAfterTheEnd", leaseLateAfterEnd},
		{"BornClaimedIsLost", leaseBornClaimedLost},
		{"Renewed", leaseRenewed},
		{"RenewTellsTheLost", leaseRenewLost},
		{"ReleaseGivesTheNumberBack", leaseReleased},
		{"ReleasePassesLostOver", leaseReleaseLost},
		{"InterruptionsCostBudget", leaseInterruptionsCost},
		{"InterruptionsEnd", leaseInterruptionsEnd},
		{"InterruptionsInARow", leaseInterruptionsInARow},
	}}
}

func leaseLost(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	first := f.ClaimOne(id)
	f.Elapse(posthorn.Lease - 2*slack)
	f.ClaimNone()
	f.Elapse(4 * slack)
	second := f.ClaimOne(id)
	equal(f, "number", second.Number, 2)
	if second.Attempt == first.Attempt {
		f.T.Fatal("two claims have one token")
	}
	equal(f, "interruptions", second.Delivery.Interruptions, 1)
	equal(f, "spent", second.Delivery.Spent, 0)
	row := f.wantOutcomes(id, posthorn.Interrupted)[0]
	equal(f, "attempt id", row.ID, first.Attempt)
	equal(f, "attempt's delivery", row.DeliveryID, id)
	equal(f, "attempt's event", row.EventID, first.Event.ID)
	equal(f, "attempt's subscription", row.SubscriptionID, first.Delivery.SubscriptionID)
	equal(f, "attempt's tenant", row.TenantID, f.Tenant)
	equal(f, "attempt's node", row.Node, f.Node)
	equal(f, "our fault", row.OurFault, true)
	equal(f, "error", row.Error, posthorn.ClaimLost)
	equal(f, "detail", row.Detail, posthorn.ClaimLostDetail)
	equal(f, "last outcome", f.Delivery(id).LastOutcome, posthorn.Interrupted)
	equal(f, "last error", f.Delivery(id).LastError, posthorn.ClaimLost)
	f.Record(f.Success(second))
	f.wantOutcomes(id, posthorn.Interrupted, posthorn.Succeeded)
}

func leaseLateResult(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	first := f.ClaimOne(id)
	f.Elapse(afterLease)
	second := f.ClaimOne(id)

	late := f.Failure(first, time.Hour)
	late.Attempt.Detail = "the receiver answered 503"
	report := f.RecordBatch(posthorn.RecordBatch{Node: f.Node, Results: []posthorn.Result{late}})
	equal(f, "moved", report.Results[0].Moved, false)
	equal(f, "state", report.Results[0].State, posthorn.Pending)
	rows := f.wantOutcomes(id, posthorn.HTTPError)
	equal(f, "detail", rows[0].Detail, "the receiver answered 503")
	d := f.Delivery(id)
	equal(f, "claim", d.Claim, second.Attempt)
	equal(f, "spent", d.Spent, 0)
	f.wantIn("due_at", d.DueAt, -afterLease)

	// Filled in once: a second late result changes nothing.
	again := f.Success(first)
	equal(f, "moved", f.RecordBatch(posthorn.RecordBatch{Node: f.Node, Results: []posthorn.Result{again}}).Results[0].Moved, false)
	f.wantOutcomes(id, posthorn.HTTPError)

	f.Record(f.Success(second))
	f.wantOutcomes(id, posthorn.HTTPError, posthorn.Succeeded)
}

func leaseLateAfterEnd(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	first := f.ClaimOne(id)
	f.Elapse(afterLease)
	f.Record(f.Exhaustion(f.ClaimOne(id)))
	report := f.RecordBatch(posthorn.RecordBatch{Node: f.Node, Results: []posthorn.Result{f.Success(first)}})
	equal(f, "moved", report.Results[0].Moved, false)
	equal(f, "state", report.Results[0].State, posthorn.Exhausted)
	f.wantState(id, posthorn.Exhausted, posthorn.ReasonAttempts)
	f.wantOutcomes(id, posthorn.Succeeded, posthorn.HTTPError)
}

func leaseBornClaimedLost(f *Fixture) {
	accepted := f.Offer(f.NewEvent(), f.Subscribe())
	f.Elapse(afterLease)
	c := f.ClaimOne(accepted.Claimed[0].DeliveryID)
	equal(f, "number", c.Number, 2)
	row := f.wantOutcomes(c.DeliveryID, posthorn.Interrupted)[0]
	equal(f, "attempt id", row.ID, accepted.Claimed[0].Attempt)
}

func leaseRenewed(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	c := f.ClaimOne(id)
	for range 3 {
		f.Elapse(posthorn.Lease / 2)
		lost, err := f.Store.RenewClaims(f.Context(), []posthorn.Claim{c.Claim})
		f.must(err)
		equal(f, "lost claims", len(lost), 0)
		f.wantIn("claimed_until", f.Delivery(id).ClaimedUntil, posthorn.Lease)
	}
	f.ClaimNone()
	f.Record(f.Success(c))
	f.wantOutcomes(id, posthorn.Succeeded)
}

func leaseRenewLost(f *Fixture) {
	sub := f.Subscribe()
	for range 3 {
		f.PublishOne(sub)
	}
	claims := f.Claim()
	f.Record(f.Success(claims[1]))
	f.Elapse(afterLease)
	reclaimed := f.ClaimBatch(func(r *posthorn.ClaimRequest) { r.Limit = 1 }).Claims
	equal(f, "reclaimed", len(reclaimed), 1)
	// The oldest is claimed again, the second has ended, the third was never taken by anyone else; one is unknown.
	unknown := posthorn.Claim{DeliveryID: posthorn.DeliveryID{UUID: f.ID()}, Attempt: posthorn.AttemptID{UUID: f.ID()}, Number: 1}
	lost, err := f.Store.RenewClaims(f.Context(), []posthorn.Claim{
		claims[0].Claim, claims[1].Claim, claims[2].Claim, reclaimed[0].Claim, unknown,
	})
	f.must(err)
	if slices.Contains(lost, reclaimed[0].Claim) {
		f.T.Fatal("a held claim was reported lost")
	}
	for name, c := range map[string]posthorn.Claim{
		"reclaimed": lostOf(claims, reclaimed[0].DeliveryID), "ended": claims[1].Claim, "unknown": unknown,
	} {
		if !slices.Contains(lost, c) {
			f.T.Fatalf("the %s claim was not reported lost", name)
		}
	}
}

// lostOf is the claim of a delivery among claims.
func lostOf(claims []posthorn.Claimed, id posthorn.DeliveryID) posthorn.Claim {
	i := slices.IndexFunc(claims, func(c posthorn.Claimed) bool { return c.DeliveryID == id })
	return claims[i].Claim
}

func leaseReleased(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	f.Record(f.Failure(f.ClaimOne(id), time.Minute))
	f.Elapse(2 * time.Minute)
	c := f.ClaimOne(id)
	equal(f, "number", c.Number, 2)
	f.must(f.Store.ReleaseClaims(f.Context(), []posthorn.Claim{c.Claim}))
	d := f.Delivery(id)
	equal(f, "attempts", d.Attempts, 1)
	equal(f, "claim", d.Claim, posthorn.AttemptID{})
	equal(f, "claimed by", d.ClaimedBy, posthorn.NodeID{})
	f.wantUnset("claimed_until", d.ClaimedUntil)
	f.wantIn("due_at", d.DueAt, -time.Minute)
	again := f.ClaimOne(id)
	equal(f, "number", again.Number, 2)
	f.Record(f.Success(again))
	f.wantOutcomes(id, posthorn.HTTPError, posthorn.Succeeded)
}

func leaseReleaseLost(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	first := f.ClaimOne(id)
	f.Elapse(afterLease)
	second := f.ClaimOne(id)
	f.must(f.Store.ReleaseClaims(f.Context(), []posthorn.Claim{first.Claim}))
	d := f.Delivery(id)
	equal(f, "claim", d.Claim, second.Attempt)
	equal(f, "attempts", d.Attempts, 2)
}

func leaseInterruptionsCost(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	for n := 1; n <= posthorn.FreeInterruptions+3; n++ {
		c := f.ClaimOne(id)
		equal(f, "number", c.Number, n)
		equal(f, "interruptions", c.Delivery.Interruptions, n-1)
		equal(f, "spent", c.Delivery.Spent, max(0, n-1-posthorn.FreeInterruptions))
		f.Elapse(afterLease)
	}
}

func leaseInterruptionsEnd(f *Fixture) {
	sub := f.Subscribe(func(s *posthorn.Subscription) { s.Retry = posthorn.RetryPolicy{Schedule: []float64{60}} })
	id := f.PublishOne(sub)
	claims := 0
	var ended []posthorn.Update
	for range posthorn.FreeInterruptions + 10 {
		batch := f.ClaimBatch()
		claims += len(batch.Claims)
		ended = append(ended, batch.Ended...)
		f.Elapse(afterLease)
	}
	// Five are free and two cost the policy's budget: a delivery that brings its node down each time must end too.
	equal(f, "claims", claims, posthorn.FreeInterruptions+2)
	f.wantState(id, posthorn.Exhausted, posthorn.ReasonAttempts)
	equal(f, "attempts", len(f.Attempts(id)), claims)
	equal(f, "ends told", len(ended), 1)
	u := ended[0]
	equal(f, "delivery told", u.DeliveryID, id)
	equal(f, "event told", u.EventType, "invoice.paid")
	equal(f, "state told", u.State, posthorn.Exhausted)
	equal(f, "reason told", u.Reason, posthorn.ReasonAttempts)
	equal(f, "attempts told", u.Attempts, claims)
}

func leaseInterruptionsInARow(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	for range 3 {
		f.ClaimOne(id)
		f.Elapse(afterLease)
	}
	c := f.ClaimOne(id)
	equal(f, "interruptions", c.Delivery.Interruptions, 3)
	f.Record(f.Failure(c, time.Minute))
	equal(f, "interruptions after an answer", f.Delivery(id).Interruptions, 0)
	f.Elapse(2 * time.Minute)

	// A node that stops in the middle says so itself.
	stopped := f.Failure(f.ClaimOne(id), 0)
	stopped.Attempt.Outcome, stopped.Attempt.StatusCode, stopped.Attempt.OurFault = posthorn.Interrupted, 0, true
	stopped.Spends = false
	f.Record(stopped)
	d := f.Delivery(id)
	equal(f, "interruptions after a stop", d.Interruptions, 1)
	equal(f, "spent", d.Spent, 1)
}
