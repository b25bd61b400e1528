package storetest

import (
	"time"

	"github.com/posthorn/posthorn"
)

func withdrawTests() group {
	return group{"Withdraw", []test{
		{"Deleted", withdrawDeleted},
		{"DeletedClaimed", withdrawDeletedClaimed},
		{"HeldTooLong", withdrawHeld},
		{"HeldByDisabling", withdrawDisabled},
		{"HeldAfterTheNotice", withdrawTold},
		{"Window", withdrawWindow},
		{"WindowRunsThroughThrottle", withdrawWindowThrottled},
		{"WindowStandsStillWhileHeld", withdrawWindowHeld},
		{"WindowBeginsWithDeliverAt", withdrawWindowDeferred},
		{"WindowSparesManualRetries", withdrawWindowManual},
		{"WindowSparesWhatIsInFlight", withdrawWindowClaimed},
		{"WindowOfTheSubscription", withdrawOwnWindow},
		{"ForTwoReasons", withdrawTwoReasons},
		{"Expired", withdrawExpired},
		{"InSteps", withdrawSteps},
		{"Skipped", withdrawSkipped},
		{"AnnouncedBefore", withdrawAnnounced},
		{"NothingToDo", withdrawNothing},
	}}
}

// usual is a withdrawal by the product's defaults.
func usual(batch int) posthorn.Withdrawal {
	return posthorn.Withdrawal{Hold: 30 * 24 * time.Hour, Window: retention, Batch: batch}
}

// withdrawAll runs all steps.
func (f *Fixture) withdrawAll(w posthorn.Withdrawal) (ended map[posthorn.Reason]int, updates []posthorn.Update) {
	f.T.Helper()
	ended = map[posthorn.Reason]int{}
	for steps := 1; ; steps++ {
		report, err := f.Store.WithdrawDeliveries(f.Context(), w)
		f.must(err)
		for reason, n := range report.Ended {
			ended[reason] += n
		}
		updates = append(updates, report.Updates...)
		if report.Done {
			return ended, updates
		}
		if steps > 500 {
			f.T.Fatal("withdrawing does not end")
		}
	}
}

// wantEnded withdraws all and fails unless that many ended for one reason and none for another.
func (f *Fixture) wantEnded(reason posthorn.Reason, n int) []posthorn.Update {
	f.T.Helper()
	ended, updates := f.withdrawAll(usual(100))
	sum := 0
	for _, n := range ended {
		sum += n
	}
	if ended[reason] != n || sum != n {
		f.T.Fatalf("ended %v, want %d for %q", ended, n, reason)
	}
	equal(f, "updates", len(updates), n)
	return updates
}

// withdrawTwoReasons: a delivery with a lost claim ends once though two reasons find it, past both windows or deleted and expired.
func withdrawTwoReasons(f *Fixture) {
	sub := f.Subscribe(func(s *posthorn.Subscription) { s.Retry.Window = 3600 })
	f.Aged(retention+time.Hour, func() { f.ClaimOne(f.PublishOne(sub)) })
	f.wantEnded(posthorn.ReasonWindow, 1)
	e := f.NewEvent(func(e *posthorn.Event) { e.ExpiresAt = f.Store.Now().Add(time.Hour) })
	_, ids := f.PublishEvent(e, sub)
	f.ClaimOne(ids[0])
	f.must(f.Store.DeleteSubscription(f.Context(), f.Tenant, sub))
	f.Elapse(2 * time.Hour)
	_, updates := f.withdrawAll(usual(100))
	equal(f, "updates", len(updates), 1)
}

func withdrawDeleted(f *Fixture) {
	sub, other := f.Subscribe(), f.Subscribe()
	event, ids := f.Publish(sub, other)
	exhausted := f.Exhaust(sub)
	f.must(f.Store.DeleteSubscription(f.Context(), f.Tenant, sub))
	u := f.wantEnded(posthorn.ReasonSubscriptionDeleted, 1)[0]
	equal(f, "update's delivery", u.DeliveryID, ids[0])
	equal(f, "update's event", u.EventID, event)
	equal(f, "update's subscription", u.SubscriptionID, sub)
	equal(f, "update's tenant", u.TenantID, f.Tenant)
	equal(f, "update's state", u.State, posthorn.Cancelled)
	equal(f, "update's reason", u.Reason, posthorn.ReasonSubscriptionDeleted)
	f.wantIn("update", u.At, 0)
	f.wantState(ids[0], posthorn.Cancelled, posthorn.ReasonSubscriptionDeleted)
	f.wantState(exhausted, posthorn.Exhausted, posthorn.ReasonAttempts)
	f.ClaimOne(ids[1])
}

func withdrawDeletedClaimed(f *Fixture) {
	sub := f.Subscribe()
	id := f.PublishOne(sub)
	c := f.ClaimOne(id)
	f.must(f.Store.DeleteSubscription(f.Context(), f.Tenant, sub))
	f.wantEnded(posthorn.ReasonSubscriptionDeleted, 1)
	d := f.wantState(id, posthorn.Cancelled, posthorn.ReasonSubscriptionDeleted)
	equal(f, "claim", d.Claim, posthorn.AttemptID{})
	equal(f, "attempt id", f.wantOutcomes(id, posthorn.Interrupted)[0].ID, c.Attempt)
	report := f.RecordBatch(posthorn.RecordBatch{Node: f.Node, Results: []posthorn.Result{f.Success(c)}})
	equal(f, "moved", report.Results[0].Moved, false)
	f.wantState(id, posthorn.Cancelled, posthorn.ReasonSubscriptionDeleted)
}

func withdrawHeld(f *Fixture) {
	const day = 24 * time.Hour
	sub := f.Subscribe()
	var before, during posthorn.DeliveryID
	f.Aged(day, func() { before = f.PublishOne(sub) })
	f.SetStatus(sub, posthorn.StatusPaused)
	f.Aged(20*day, func() { during = f.PublishOne(sub) })
	f.Aged(9*day, func() {})
	f.wantEnded(posthorn.ReasonHeldTooLong, 0)
	// The hold counts, not the time before it.
	f.Elapse(2 * day)
	f.wantEnded(posthorn.ReasonHeldTooLong, 2)
	f.wantState(before, posthorn.Cancelled, posthorn.ReasonHeldTooLong)
	f.wantState(during, posthorn.Cancelled, posthorn.ReasonHeldTooLong)
	var late posthorn.DeliveryID
	f.Aged(29*day, func() { late = f.PublishOne(sub) })
	f.wantEnded(posthorn.ReasonHeldTooLong, 0)
	f.Elapse(2 * day)
	f.wantEnded(posthorn.ReasonHeldTooLong, 1)
	f.wantState(late, posthorn.Cancelled, posthorn.ReasonHeldTooLong)
}

func withdrawDisabled(f *Fixture) {
	sub := f.Subscribe()
	var id posthorn.DeliveryID
	f.Aged(31*24*time.Hour, func() {
		id = f.PublishOne(sub)
		f.Change(sub, posthorn.LaneChange{Failed: true, Disable: posthorn.DisabledFailing})
	})
	f.wantEnded(posthorn.ReasonHeldTooLong, 1)
	f.wantState(id, posthorn.Cancelled, posthorn.ReasonHeldTooLong)
}

// withdrawTold has holds that are over and of which nobody was told, as where no upkeep ran: they end the notice after that.
func withdrawTold(f *Fixture) {
	const day = 24 * time.Hour
	asked := usual(100)
	asked.Notice = day
	want := func(n int) {
		f.T.Helper()
		ended, updates := f.withdrawAll(asked)
		if ended[posthorn.ReasonHeldTooLong] != n || len(updates) != n {
			f.T.Fatalf("ended %v, want %d", ended, n)
		}
	}
	sub, empty := f.Subscribe(), f.Subscribe()
	// Told of an earlier hold, or that it fails.
	f.Change(sub, posthorn.LaneChange{Warned: true})
	f.Elapse(time.Minute)
	f.SetStatus(sub, posthorn.StatusPaused)
	f.SetStatus(empty, posthorn.StatusPaused)
	var id, late posthorn.DeliveryID
	f.Aged(40*day, func() { id = f.PublishOne(sub) })
	want(0)
	f.Change(sub, posthorn.LaneChange{Warned: true})
	f.Elapse(day - time.Minute)
	want(0)
	f.Elapse(2 * time.Minute)
	want(1)
	f.wantState(id, posthorn.Cancelled, posthorn.ReasonHeldTooLong)
	// One that held nothing is told of what comes later.
	f.Aged(29*day+time.Hour, func() { late = f.PublishOne(empty) })
	found, err := f.Store.ExpiringBacklogs(f.Context(), asked.Hold, asked.Notice, 10)
	f.must(err)
	equal(f, "found to be told of", len(found) == 1 && found[0].SubscriptionID == empty, true)
	f.Change(empty, posthorn.LaneChange{Warned: true})
	f.Elapse(day - time.Minute)
	want(0)
	f.Elapse(2 * time.Minute)
	want(1)
	f.wantState(late, posthorn.Cancelled, posthorn.ReasonHeldTooLong)
}

func withdrawWindow(f *Fixture) {
	sub := f.Subscribe()
	var id posthorn.DeliveryID
	f.Aged(71*time.Hour, func() { id = f.PublishOne(sub) })
	f.wantEnded(posthorn.ReasonWindow, 0)
	f.Elapse(2 * time.Hour)
	u := f.wantEnded(posthorn.ReasonWindow, 1)[0]
	equal(f, "update's state", u.State, posthorn.Exhausted)
	d := f.wantState(id, posthorn.Exhausted, posthorn.ReasonWindow)
	f.wantIn("completed_at", d.CompletedAt, 0)
	equal(f, "exhausted counted", f.stats(posthorn.StatsFilter{Since: f.Store.Now().Add(-time.Hour), Step: time.Hour}).Exhausted, int64(1))
	f.ClaimNone()
}

func withdrawWindowThrottled(f *Fixture) {
	sub := f.Subscribe()
	var id posthorn.DeliveryID
	f.Aged(73*time.Hour, func() {
		id = f.PublishOne(sub)
		f.Change(sub, posthorn.LaneChange{Throttle: 1000 * time.Hour, OpenFor: 1000 * time.Hour})
	})
	f.wantEnded(posthorn.ReasonWindow, 1)
	f.wantState(id, posthorn.Exhausted, posthorn.ReasonWindow)
}

func withdrawWindowHeld(f *Fixture) {
	sub := f.Subscribe()
	var id posthorn.DeliveryID
	f.Aged(10*time.Hour, func() { id = f.PublishOne(sub) })
	f.SetStatus(sub, posthorn.StatusPaused)
	f.Elapse(200 * time.Hour)
	f.wantEnded(posthorn.ReasonWindow, 0)
	f.SetStatus(sub, posthorn.StatusActive)
	f.Elapse(61 * time.Hour)
	f.wantEnded(posthorn.ReasonWindow, 0)
	f.Elapse(2 * time.Hour)
	f.wantEnded(posthorn.ReasonWindow, 1)
	f.wantState(id, posthorn.Exhausted, posthorn.ReasonWindow)
}

func withdrawWindowDeferred(f *Fixture) {
	sub := f.Subscribe()
	var ids []posthorn.DeliveryID
	f.Aged(73*time.Hour, func() {
		_, ids = f.PublishEvent(f.NewEvent(func(e *posthorn.Event) { e.DeliverAt = f.Store.Now().Add(60 * time.Hour) }), sub)
	})
	f.wantEnded(posthorn.ReasonWindow, 0)
	f.Elapse(58 * time.Hour)
	f.wantEnded(posthorn.ReasonWindow, 0)
	f.Elapse(2 * time.Hour)
	f.wantEnded(posthorn.ReasonWindow, 1)
	f.wantState(ids[0], posthorn.Exhausted, posthorn.ReasonWindow)
}

func withdrawWindowManual(f *Fixture) {
	sub := f.Subscribe()
	var ended, pending posthorn.DeliveryID
	f.Aged(80*time.Hour, func() {
		ended = f.Exhaust(sub)
		pending = f.PublishOne(sub)
	})
	f.retry(ended)
	f.retry(pending)
	f.wantEnded(posthorn.ReasonWindow, 0)
	wantSet(f, "claimed", claimedIDs(f.Claim()), ended, pending)
}

func withdrawWindowClaimed(f *Fixture) {
	sub := f.Subscribe()
	var id posthorn.DeliveryID
	f.Aged(retention+posthorn.InFlight/2, func() { id = f.PublishOne(sub) })
	c := f.ClaimOne(id)
	f.wantEnded(posthorn.ReasonWindow, 0)
	f.Record(f.Success(c))
	f.Aged(retention+posthorn.InFlight/2, func() { id = f.PublishOne(sub) })
	f.ClaimOne(id)
	f.Elapse(afterLease)
	f.wantEnded(posthorn.ReasonWindow, 1)
	f.wantOutcomes(id, posthorn.Interrupted)
	// Held by a node that cannot send it.
	f.Aged(retention+2*posthorn.InFlight, func() { id = f.PublishOne(sub) })
	f.ClaimOne(id)
	f.wantEnded(posthorn.ReasonWindow, 1)
}

func withdrawOwnWindow(f *Fixture) {
	own := func(seconds float64) func(*posthorn.Subscription) {
		return func(s *posthorn.Subscription) { s.Retry.Window = seconds }
	}
	short, long, edited := f.Subscribe(own(3600)), f.Subscribe(own(1e6)), f.Subscribe()
	var ids []posthorn.DeliveryID
	f.Aged(50*time.Minute, func() { _, ids = f.Publish(short, long, edited) })
	f.Change(short, posthorn.LaneChange{Throttle: 1000 * time.Hour})
	f.wantEnded(posthorn.ReasonWindow, 0)
	f.Elapse(11 * time.Minute)
	equal(f, "ended", f.wantEnded(posthorn.ReasonWindow, 1)[0].DeliveryID, ids[0])
	f.wantState(ids[0], posthorn.Exhausted, posthorn.ReasonWindow)
	_, err := f.Store.UpdateSubscription(f.Context(), f.Tenant, edited, func(s *posthorn.Subscription) error {
		s.Retry.Window = 60
		return nil
	})
	f.must(err)
	equal(f, "ended after the edit", f.wantEnded(posthorn.ReasonWindow, 1)[0].DeliveryID, ids[2])
	// The operator's is the longest there is.
	f.Elapse(72 * time.Hour)
	equal(f, "ended by the operator's", f.wantEnded(posthorn.ReasonWindow, 1)[0].DeliveryID, ids[1])
}

func withdrawExpired(f *Fixture) {
	active, paused := f.Subscribe(), f.Subscribe()
	e := f.NewEvent(func(e *posthorn.Event) { e.ExpiresAt = f.Store.Now().Add(time.Hour) })
	_, ids := f.PublishEvent(e, active, paused)
	f.SetStatus(paused, posthorn.StatusPaused)
	f.Elapse(30 * time.Minute)
	f.wantEnded(posthorn.ReasonExpired, 0)
	f.Elapse(31 * time.Minute)
	f.wantEnded(posthorn.ReasonExpired, 2)
	for _, id := range ids {
		f.wantState(id, posthorn.Cancelled, posthorn.ReasonExpired)
	}
}

func withdrawSteps(f *Fixture) {
	sub := f.Subscribe()
	for range 25 {
		f.PublishOne(sub)
	}
	f.must(f.Store.DeleteSubscription(f.Context(), f.Tenant, sub))
	report, err := f.Store.WithdrawDeliveries(f.Context(), usual(10))
	f.must(err)
	equal(f, "done after one step", report.Done, false)
	if n := report.Ended[posthorn.ReasonSubscriptionDeleted]; n == 0 || n > 10 {
		f.T.Fatalf("a step of 10 ended %d", n)
	}
	f.withdrawAll(usual(10))
	equal(f, "cancelled", len(f.deliveries(posthorn.DeliveryFilter{States: []posthorn.State{posthorn.Cancelled}})), 25)
}

func withdrawNothing(f *Fixture) {
	report, err := f.Store.WithdrawDeliveries(f.Context(), usual(100))
	f.must(err)
	equal(f, "done", report.Done, true)
	f.PublishOne(f.Subscribe())
	f.wantEnded(posthorn.ReasonWindow, 0)
}

func withdrawSkipped(f *Fixture) {
	sub, drained := f.Subscribe(), f.Subscribe()
	resume := func(id posthorn.SubscriptionID, skip bool) {
		s, err := f.Store.UpdateSubscription(f.Context(), f.Tenant, id, func(s *posthorn.Subscription) error {
			s.Status, s.SkipHeld = posthorn.StatusActive, skip
			return nil
		})
		f.must(err)
		equal(f, "asked to skip afterwards", s.SkipHeld, false)
	}
	resume(sub, true)
	f.wantUnset("skipped_at of one that held nothing", f.Lane(sub).SkippedAt)
	f.SetStatus(sub, posthorn.StatusPaused)
	f.SetStatus(drained, posthorn.StatusPaused)
	f.Elapse(time.Minute)
	held, claimed, other := f.PublishOne(sub), f.PublishOne(sub), f.PublishOne(drained)
	f.Elapse(time.Minute)
	resume(sub, true)
	resume(drained, false)
	f.wantIn("skipped_at", f.Lane(sub).SkippedAt, 0)
	f.wantUnset("skipped_at of one that drains", f.Lane(drained).SkippedAt)
	f.Elapse(time.Minute)
	fresh := f.PublishOne(sub)
	// Until it is withdrawn it can be claimed; the claim's lane tells the worker.
	batch := f.ClaimBatch()
	equal(f, "claims", len(batch.Claims), 4)
	skips := map[posthorn.DeliveryID]bool{}
	for _, c := range batch.Claims {
		for i := range batch.Lanes {
			if l := &batch.Lanes[i]; l.SubscriptionID == c.Delivery.SubscriptionID && l.Skips(&c.Delivery) {
				skips[c.DeliveryID] = true
			}
		}
	}
	equal(f, "skips the held ones", skips[held] && skips[claimed] && len(skips) == 2, true)
	for _, c := range batch.Claims {
		if c.DeliveryID != claimed {
			f.must(f.Store.ReleaseClaims(f.Context(), []posthorn.Claim{c.Claim}))
		}
	}
	f.wantEnded(posthorn.ReasonSkipped, 2)
	f.wantState(held, posthorn.Cancelled, posthorn.ReasonSkipped)
	f.wantState(claimed, posthorn.Cancelled, posthorn.ReasonSkipped)
	f.wantState(other, posthorn.Pending, posthorn.ReasonNone)
	f.wantState(fresh, posthorn.Pending, posthorn.ReasonNone)
	_, err := f.Store.RetryDelivery(f.Context(), f.Tenant, held)
	f.must(err)
	f.wantEnded(posthorn.ReasonSkipped, 0)
	f.wantState(held, posthorn.Pending, posthorn.ReasonNone)
}

func withdrawAnnounced(f *Fixture) {
	const day = 24 * time.Hour
	find := func() []posthorn.ExpiringBacklog {
		f.T.Helper()
		found, err := f.Store.ExpiringBacklogs(f.Context(), 30*day, day, 10)
		f.must(err)
		return found
	}
	sub, idle, active := f.Subscribe(), f.Subscribe(), f.Subscribe()
	f.SetStatus(sub, posthorn.StatusPaused)
	f.SetStatus(idle, posthorn.StatusPaused)
	f.Aged(28*day, func() {
		f.PublishOne(sub)
		f.PublishOne(sub)
		f.PublishOne(active)
	})
	equal(f, "two days before", len(find()), 0)
	f.Aged(day+time.Hour, func() { f.PublishOne(idle) })
	found := find()
	equal(f, "a day before", len(found), 1)
	b := found[0]
	equal(f, "subscription", b.SubscriptionID, sub)
	equal(f, "tenant", b.TenantID, f.Tenant)
	equal(f, "deliveries", b.Deliveries, 2)
	// Nobody was told a day before the 30 days end, so they end a day from now.
	f.wantIn("expires_at", b.ExpiresAt, day)
	equal(f, "held_since", b.HeldSince, f.Lane(sub).HeldSince)
	f.Change(sub, posthorn.LaneChange{Warned: true})
	equal(f, "once told", len(find()), 0)
	// Another hold is another matter.
	f.SetStatus(sub, posthorn.StatusActive)
	f.Elapse(time.Minute)
	f.SetStatus(sub, posthorn.StatusPaused)
	equal(f, "at the beginning of another hold", len(find()), 0)
	f.Elapse(29*day + time.Hour)
	equal(f, "at the end of another hold", len(find()), 2)
}
