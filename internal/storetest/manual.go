package storetest

import (
	"time"

	"github.com/posthorn/posthorn"
)

func manualTests() group {
	return group{"Manual", []test{
		{"EveryTransition", manualTransitions},
		{"RetryOfAnEnded", manualRetryEnded},
		{"FailedRetryOfAnEnded", manualRetryEndedFails},
		{"RetryOfAPending", manualRetryPending},
		{"FailedRetryOfAPendingKeepsDue", manualRetryPendingFails},
		{"RetryTwice", manualRetryTwice},
		{"RetryWhileClaimed", manualRetryClaimed},
		{"RetryOfADeletedSubscription", manualRetryDeleted},
		{"RetryPassesThrottleAndBreaker", manualRetryPasses},
		{"RetryWaitsForAPause", manualRetryWaits},
		{"RetryIsNotHiddenByMany", manualRetryHidden},
		{"RetryReleasedIsStillManual", manualRetryReleased},
		{"RetryAfterALostLease", manualRetryLost},
		{"RetryLostTooOften", manualRetryLostTooOften},
		{"RetryLostTooOftenIsDue", manualRetryLostDue},
		{"RetryWritesTheLostLease", manualRetryWritesLost},
		{"InterruptedIsStillManual", manualAgain},
		{"RetryOfAnExpired", manualRetryExpired},
		{"CancelWaiting", manualCancel},
		{"CancelClaimed", manualCancelClaimed},
		{"BulkRetry", manualBulkRetry},
		{"BulkCancel", manualBulkCancel},
		{"BulkDryRun", manualBulkDryRun},
		{"BulkInSteps", manualBulkSteps},
		{"ForeignNotFound", manualForeign},
	}}
}

// arrange makes a delivery in a state.
func (f *Fixture) arrange(sub posthorn.SubscriptionID, state posthorn.State) posthorn.DeliveryID {
	f.T.Helper()
	switch state {
	case posthorn.Delivered:
		return f.Deliver(sub)
	case posthorn.Exhausted:
		return f.Exhaust(sub)
	case posthorn.Cancelled:
		id := f.PublishOne(sub)
		_, err := f.Store.CancelDelivery(f.Context(), f.Tenant, id)
		f.must(err)
		return id
	}
	return f.PublishOne(sub)
}

// manualRetryHidden has many retries that wait the longest, for a pause: one that may go, into a throttled lane, is found all the same.
func manualRetryHidden(f *Fixture) {
	paused, throttled := f.Subscribe(), f.Subscribe()
	batch := make([]posthorn.Acceptance, 600)
	for i := range batch {
		batch[i] = f.Acceptance(f.NewEvent(), paused)
	}
	f.Accept(batch...)
	for _, on := range []posthorn.Trigger{posthorn.OnCancel, posthorn.OnRetry} {
		_, changed, _ := f.bulk(posthorn.BulkChange{Filter: posthorn.DeliveryFilter{SubscriptionID: paused}, On: on, Limit: 1000})
		equal(f, "changed by "+string(on), changed, len(batch))
	}
	f.SetStatus(paused, posthorn.StatusPaused)
	f.Elapse(time.Minute)
	failed := f.Exhaust(throttled)
	f.Change(throttled, posthorn.LaneChange{Throttle: time.Hour})
	_, err := f.Store.RetryDelivery(f.Context(), f.Tenant, failed)
	f.must(err)
	for range 3 {
		if claims := f.Claim(); len(claims) > 0 {
			wantSet(f, "claimed", claimedIDs(claims), failed)
			return
		}
	}
	f.T.Error("the retry is not found")
}

// manualTransitions walks the whole table and everything that is not in it.
func manualTransitions(f *Fixture) {
	triggers := []posthorn.Trigger{
		posthorn.OnSuccess, posthorn.OnFailure, posthorn.OnExhaust, posthorn.OnRetry, posthorn.OnCancel, posthorn.OnWithdraw,
	}
	for _, from := range []posthorn.State{posthorn.Pending, posthorn.Delivered, posthorn.Exhausted, posthorn.Cancelled} {
		for _, on := range triggers {
			sub := f.Subscribe()
			id := f.arrange(sub, from)
			equal(f, "arranged state", f.Delivery(id).State, from)
			want, allowed := from.Next(on)
			switch on {
			case posthorn.OnRetry, posthorn.OnCancel:
				change, refusal := f.Store.RetryDelivery, posthorn.HasSucceeded()
				if on == posthorn.OnCancel {
					change, refusal = f.Store.CancelDelivery, posthorn.HasEnded("delivery")
				}
				d, err := change(f.Context(), f.Tenant, id)
				if !allowed {
					f.wantRefusal(err, refusal, string(from)+" on "+string(on))
				} else {
					f.must(err)
					equal(f, "answered state", d.State, want)
				}
			case posthorn.OnWithdraw:
				f.must(f.Store.DeleteSubscription(f.Context(), f.Tenant, sub))
				f.withdrawAll(posthorn.Withdrawal{})
			default:
				f.conclude(id, on, allowed)
			}
			if got := f.Delivery(id).State; got != want {
				f.T.Fatalf("%s on %q is %s, want %s", from, on, got, want)
			}
			if want == posthorn.Pending {
				_, err := f.Store.CancelDelivery(f.Context(), f.Tenant, id)
				f.must(err)
			}
		}
	}
}

// conclude claims a delivery and records a result; one that may not be claimed gets a result without a claim.
func (f *Fixture) conclude(id posthorn.DeliveryID, on posthorn.Trigger, allowed bool) {
	f.T.Helper()
	c := posthorn.Claimed{Delivery: *f.Delivery(id)}
	c.Claim = posthorn.Claim{DeliveryID: id, Attempt: posthorn.AttemptID{UUID: f.ID()}, Number: 1}
	if allowed {
		c = f.ClaimOne(id)
	}
	r := f.Failure(c, time.Hour)
	r.On = on
	if on == posthorn.OnExhaust {
		r.Reason = posthorn.ReasonAttempts
	}
	report := f.RecordBatch(posthorn.RecordBatch{Node: f.Node, Results: []posthorn.Result{r}})
	equal(f, "moved", report.Results[0].Moved, allowed)
}

func (f *Fixture) retry(id posthorn.DeliveryID) *posthorn.Delivery {
	f.T.Helper()
	d, err := f.Store.RetryDelivery(f.Context(), f.Tenant, id)
	f.must(err)
	return d
}

func manualRetryEnded(f *Fixture) {
	for _, from := range []posthorn.State{posthorn.Exhausted, posthorn.Cancelled} {
		id := f.arrange(f.Subscribe(), from)
		before := f.Delivery(id)
		f.Elapse(time.Hour)
		d := f.retry(id)
		equal(f, "manual", d.Manual, posthorn.ManualAfterEnd)
		d = f.wantState(id, posthorn.Pending, posthorn.ReasonNone)
		equal(f, "manual", d.Manual, posthorn.ManualAfterEnd)
		f.wantIn("due_at", d.DueAt, 0)
		c := f.ClaimOne(id)
		equal(f, "number", c.Number, before.Attempts+1)
		equal(f, "claim's manual", c.Delivery.Manual, posthorn.ManualAfterEnd)
		f.Record(f.Success(c))
		f.wantState(id, posthorn.Delivered, posthorn.ReasonNone)
		attempts := f.Attempts(id)
		equal(f, "attempt is manual", attempts[len(attempts)-1].Manual, true)
		equal(f, "manual after the retry", f.Delivery(id).Manual, posthorn.NotManual)
	}
}

func manualRetryEndedFails(f *Fixture) {
	id := f.arrange(f.Subscribe(), posthorn.Exhausted)
	spent := f.Delivery(id).Spent
	f.retry(id)
	r := f.Exhaustion(f.ClaimOne(id))
	r.Reason, r.Spends = posthorn.ReasonManual, false
	f.Record(r)
	d := f.wantState(id, posthorn.Exhausted, posthorn.ReasonManual)
	equal(f, "spent", d.Spent, spent)
	equal(f, "attempts", d.Attempts, 2)
}

func manualRetryPending(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	f.Record(f.Failure(f.ClaimOne(id), time.Hour))
	f.ClaimNone()
	d := f.retry(id)
	equal(f, "manual", d.Manual, posthorn.ManualWhilePending)
	f.wantIn("due_at", d.DueAt, time.Hour)
	c := f.ClaimOne(id)
	equal(f, "claim's manual", c.Delivery.Manual, posthorn.ManualWhilePending)
	f.Record(f.Success(c))
	f.wantState(id, posthorn.Delivered, posthorn.ReasonNone)
}

func manualRetryPendingFails(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	f.Record(f.Failure(f.ClaimOne(id), time.Hour))
	f.Elapse(10 * time.Minute)
	f.retry(id)
	r := f.Failure(f.ClaimOne(id), 0)
	r.KeepDue, r.Spends = true, false
	f.wantIn("answered due_at", f.Record(r)[0].DueAt, 50*time.Minute)
	d := f.wantState(id, posthorn.Pending, posthorn.ReasonNone)
	f.wantIn("due_at", d.DueAt, 50*time.Minute)
	equal(f, "manual", d.Manual, posthorn.NotManual)
	equal(f, "spent", d.Spent, 1)
	f.ClaimNone()
	f.Elapse(51 * time.Minute)
	equal(f, "claim's manual", f.ClaimOne(id).Delivery.Manual, posthorn.NotManual)
}

func manualRetryTwice(f *Fixture) {
	id := f.arrange(f.Subscribe(), posthorn.Exhausted)
	f.retry(id)
	// It is pending now, but a failure still has to exhaust it.
	f.retry(id)
	equal(f, "manual", f.ClaimOne(id).Delivery.Manual, posthorn.ManualAfterEnd)
}

func manualRetryClaimed(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	c := f.ClaimOne(id)
	_, err := f.Store.RetryDelivery(f.Context(), f.Tenant, id)
	f.wantRefusal(err, posthorn.BeingSent(), "retry a claimed delivery")
	f.Record(f.Success(c))
}

func manualRetryDeleted(f *Fixture) {
	sub := f.Subscribe()
	id := f.arrange(sub, posthorn.Exhausted)
	f.must(f.Store.DeleteSubscription(f.Context(), f.Tenant, sub))
	_, err := f.Store.RetryDelivery(f.Context(), f.Tenant, id)
	f.wantRefusal(err, posthorn.Unsubscribed(), "retry with the subscription deleted")
	f.wantState(id, posthorn.Exhausted, posthorn.ReasonAttempts)
}

func manualRetryPasses(f *Fixture) {
	for _, change := range []posthorn.LaneChange{{Throttle: time.Hour}, {OpenFor: time.Hour}} {
		sub := f.Subscribe()
		id, waiting := f.PublishOne(sub), f.PublishOne(sub)
		f.Change(sub, change)
		f.ClaimNone()
		f.retry(id)
		f.Record(f.Success(f.ClaimOne(id)))
		f.ClaimNone()
		f.wantState(waiting, posthorn.Pending, posthorn.ReasonNone)
	}
}

func manualRetryWaits(f *Fixture) {
	sub := f.Subscribe()
	id := f.arrange(sub, posthorn.Exhausted)
	f.SetStatus(sub, posthorn.StatusPaused)
	f.retry(id)
	f.ClaimNone()
	f.SetStatus(sub, posthorn.StatusActive)
	f.ClaimOne(id)
}

func manualRetryReleased(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	f.Record(f.Failure(f.ClaimOne(id), time.Hour))
	f.retry(id)
	f.must(f.Store.ReleaseClaims(f.Context(), []posthorn.Claim{f.ClaimOne(id).Claim}))
	c := f.ClaimOne(id)
	equal(f, "manual", c.Delivery.Manual, posthorn.ManualWhilePending)
	equal(f, "number", c.Number, 2)
	f.wantIn("due_at", f.Delivery(id).DueAt, time.Hour)
}

func manualRetryLost(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	f.Record(f.Failure(f.ClaimOne(id), time.Hour))
	f.retry(id)
	f.ClaimOne(id)
	f.Elapse(afterLease)
	// Our own fault: the person still gets the retry asked for.
	c := f.ClaimOne(id)
	equal(f, "manual", c.Delivery.Manual, posthorn.ManualWhilePending)
	equal(f, "number", c.Number, 3)
	f.wantOutcomes(id, posthorn.HTTPError, posthorn.Interrupted)
}

// loseAll claims a delivery as often as interruptions are free and once more, and loses each claim.
func (f *Fixture) loseAll(id posthorn.DeliveryID) {
	f.T.Helper()
	for range posthorn.FreeInterruptions + 1 {
		f.ClaimOne(id)
		f.Elapse(afterLease)
	}
}

// manualRetryLostTooOften: a retry by hand is outside the budget, so interruptions beyond the free ones are a retry that failed.
func manualRetryLostTooOften(f *Fixture) {
	sub := f.Subscribe(func(s *posthorn.Subscription) { s.Retry = posthorn.RetryPolicy{Schedule: []float64{60}} })
	waiting := f.PublishOne(sub)
	f.Record(f.Failure(f.ClaimOne(waiting), time.Hour))
	f.retry(waiting)
	f.loseAll(waiting)
	f.ClaimNone()
	d := f.wantState(waiting, posthorn.Pending, posthorn.ReasonNone)
	equal(f, "manual", d.Manual, posthorn.NotManual)
	equal(f, "spent", d.Spent, 1)
	equal(f, "attempts", d.Attempts, posthorn.FreeInterruptions+2)
	equal(f, "claim", d.Claim, posthorn.AttemptID{})
	f.wantIn("due_at", d.DueAt, time.Hour-(posthorn.FreeInterruptions+1)*afterLease)

	ended := f.Exhaust(sub)
	spent := f.Delivery(ended).Spent
	f.retry(ended)
	f.loseAll(ended)
	f.ClaimNone()
	d = f.wantState(ended, posthorn.Exhausted, posthorn.ReasonManual)
	equal(f, "spent of the ended", d.Spent, spent)
	equal(f, "manual of the ended", d.Manual, posthorn.NotManual)
	f.Elapse(time.Hour)
	equal(f, "claim's manual", f.ClaimOne(waiting).Delivery.Manual, posthorn.NotManual)
}

// manualRetryLostDue: what is due when its retry ended that way is given as all others are, and so not past a throttle.
func manualRetryLostDue(f *Fixture) {
	sub := f.Subscribe()
	id := f.PublishOne(sub)
	f.Change(sub, posthorn.LaneChange{Throttle: time.Hour})
	f.retry(id)
	f.loseAll(id)
	f.ClaimNone()
	f.wantState(id, posthorn.Pending, posthorn.ReasonNone)
	f.ClaimNone()
	f.Elapse(time.Hour)
	c := f.ClaimOne(id)
	equal(f, "manual", c.Delivery.Manual, posthorn.NotManual)
	equal(f, "spent", c.Delivery.Spent, 0)
}

// manualRetryWritesLost: what an automatic attempt lost is not the retry's, which a person gets however often that was.
func manualRetryWritesLost(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	for range posthorn.FreeInterruptions {
		f.ClaimOne(id)
		f.Elapse(afterLease)
	}
	lost := f.ClaimOne(id)
	f.Elapse(afterLease)
	d := f.retry(id)
	equal(f, "claim", d.Claim, posthorn.AttemptID{})
	attempts := f.Attempts(id)
	equal(f, "attempts", len(attempts), posthorn.FreeInterruptions+1)
	last := attempts[len(attempts)-1]
	equal(f, "lost attempt", last.ID, lost.Attempt)
	equal(f, "its outcome", last.Outcome, posthorn.Interrupted)
	equal(f, "it is manual", last.Manual, false)
	c := f.ClaimOne(id)
	equal(f, "claim's manual", c.Delivery.Manual, posthorn.ManualWhilePending)
	equal(f, "number", c.Number, posthorn.FreeInterruptions+2)
	f.Record(f.Success(c))
	f.wantState(id, posthorn.Delivered, posthorn.ReasonNone)
}

// manualRetryExpired: what would be sent is past its time, so a retry would only be cancelled again.
func manualRetryExpired(f *Fixture) {
	sub := f.Subscribe()
	end := f.Store.Now().Add(time.Hour)
	expiring := func(e *posthorn.Event) { e.ExpiresAt = end }
	event, ids := f.PublishEvent(f.NewEvent(expiring), sub)
	f.Record(f.Exhaustion(f.ClaimOne(ids[0])))
	f.retry(ids[0])
	f.Record(f.Exhaustion(f.ClaimOne(ids[0])))
	_, waiting := f.PublishEvent(f.NewEvent(expiring), sub)
	ids = append(ids, waiting...)
	f.Elapse(61 * time.Minute)
	stored, err := f.Store.GetEvent(f.Context(), f.Tenant, event)
	f.must(err)
	refused := func() {
		for _, id := range ids {
			_, err := f.Store.RetryDelivery(f.Context(), f.Tenant, id)
			f.wantRefusal(err, posthorn.Expired(stored.ExpiresAt), "retry what has expired")
		}
		matched, changed, _ := f.bulk(posthorn.BulkChange{On: posthorn.OnRetry, Limit: 100})
		equal(f, "matched", matched, 0)
		equal(f, "changed", changed, 0)
	}
	refused()
	f.wantEnded(posthorn.ReasonExpired, 1)
	refused()
}

func manualCancel(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	d, err := f.Store.CancelDelivery(f.Context(), f.Tenant, id)
	f.must(err)
	equal(f, "state", d.State, posthorn.Cancelled)
	equal(f, "reason", d.Reason, posthorn.ReasonRequested)
	f.wantState(id, posthorn.Cancelled, posthorn.ReasonRequested)
	f.wantOutcomes(id)
	f.ClaimNone()
}

func manualCancelClaimed(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	c := f.ClaimOne(id)
	_, err := f.Store.CancelDelivery(f.Context(), f.Tenant, id)
	f.must(err)
	d := f.wantState(id, posthorn.Cancelled, posthorn.ReasonRequested)
	equal(f, "claim", d.Claim, posthorn.AttemptID{})
	equal(f, "attempt id", f.wantOutcomes(id, posthorn.Interrupted)[0].ID, c.Attempt)
	lost, err := f.Store.RenewClaims(f.Context(), []posthorn.Claim{c.Claim})
	f.must(err)
	equal(f, "lost claims", len(lost), 1)
	report := f.RecordBatch(posthorn.RecordBatch{Node: f.Node, Results: []posthorn.Result{f.Success(c)}})
	equal(f, "moved", report.Results[0].Moved, false)
	f.wantState(id, posthorn.Cancelled, posthorn.ReasonRequested)
	f.wantOutcomes(id, posthorn.Succeeded)
}

func manualForeign(f *Fixture) {
	sub := f.Subscribe()
	id, ended := f.PublishOne(sub), f.Exhaust(sub)
	other := f.As(f.NewTenant("other"))
	_, err := f.Store.CancelDelivery(f.Context(), other.Tenant, id)
	f.wantKind(err, posthorn.NotFound, "cancel another tenant's")
	_, err = f.Store.RetryDelivery(f.Context(), other.Tenant, ended)
	f.wantKind(err, posthorn.NotFound, "retry another tenant's")
	for _, filter := range []posthorn.DeliveryFilter{{}, {SubscriptionID: sub}, {States: []posthorn.State{posthorn.Exhausted}}} {
		matched, _, _ := other.bulk(posthorn.BulkChange{Filter: filter, On: posthorn.OnRetry, Limit: 100})
		equal(f, "matched of another tenant's", matched, 0)
	}
}
