package storetest

import (
	"time"

	"github.com/posthorn/posthorn"
)

func cleanupTests() group {
	return group{"Cleanup", []test{
		{"RemovesWhatIsOld", cleanupRemoves},
		{"BehindTheFuture", cleanupBehindTheFuture},
		{"KeepsWhatPendingNeeds", cleanupKeepsPending},
		{"KeepsWhatReplaysNeed", cleanupKeepsReplayed},
		{"RemovesWhatWasPending", cleanupRemovesLater},
		{"FreesKeys", cleanupKeys},
		{"RemovesStats", cleanupStats},
		{"InSteps", cleanupSteps},
		{"RestInSteps", cleanupRest},
		{"NothingToDo", cleanupNothing},
		{"Prepare", cleanupPrepare},
	}}
}

// retention is kept by these cases; old is past it even where whole days go at once.
const (
	retention = 72 * time.Hour
	old       = 5 * 24 * time.Hour
)

// cleanup runs all steps.
func (f *Fixture) cleanup(batch int) (steps int) {
	f.T.Helper()
	f.must(f.Store.Prepare(f.Context()))
	for {
		report, err := f.Store.Cleanup(f.Context(), posthorn.Retention{Logs: retention, Batch: batch})
		f.must(err)
		steps++
		if report.Done {
			return steps
		}
		if steps > 500 {
			f.T.Fatal("the cleanup does not end")
		}
	}
}

func (f *Fixture) wantGone(event posthorn.EventID, deliveries ...posthorn.DeliveryID) {
	f.T.Helper()
	_, err := f.Store.GetEvent(f.Context(), f.Tenant, event)
	f.wantKind(err, posthorn.NotFound, "get the old event")
	for _, id := range deliveries {
		_, err := f.Store.GetDelivery(f.Context(), f.Tenant, id)
		f.wantKind(err, posthorn.NotFound, "get an old delivery")
		_, err = f.Store.ListAttempts(f.Context(), f.Tenant, id)
		f.wantKind(err, posthorn.NotFound, "list an old delivery's attempts")
	}
}

func cleanupRemoves(f *Fixture) {
	sub := f.Subscribe()
	var succeeded, exhausted, cancelled posthorn.DeliveryID
	var unmatched posthorn.EventID
	f.Aged(old, func() {
		succeeded, exhausted = f.Deliver(sub), f.Exhaust(sub)
		cancelled = f.arrange(sub, posthorn.Cancelled)
		unmatched, _ = f.Publish()
	})
	events := []posthorn.EventID{
		f.Delivery(succeeded).EventID, f.Delivery(exhausted).EventID, f.Delivery(cancelled).EventID, unmatched,
	}
	young := f.Deliver(sub)
	waiting := f.PublishOne(sub)
	f.cleanup(100)
	f.wantGone(events[0], succeeded)
	f.wantGone(events[1], exhausted)
	f.wantGone(events[2], cancelled)
	f.wantGone(events[3])
	f.wantState(young, posthorn.Delivered, posthorn.ReasonNone)
	f.wantOutcomes(young, posthorn.Succeeded)
	f.ClaimOne(waiting)
	wantSet(f, "deliveries left", f.deliveries(posthorn.DeliveryFilter{}), young, waiting)
	equal(f, "events left", len(f.events(posthorn.EventFilter{})), 2)
	f.Subscription(sub)
}

// cleanupBehindTheFuture has an event that came while the clock was ahead: what came after it goes in its time.
func cleanupBehindTheFuture(f *Fixture) {
	sub := f.Subscribe()
	f.setClock(2 * old)
	f.Deliver(sub)
	f.setClock(-2 * old)
	f.withdrawAll(usual(100)) // follows the clock back
	var gone posthorn.DeliveryID
	f.Aged(old, func() { gone = f.Deliver(sub) })
	event := f.Delivery(gone).EventID
	f.cleanup(100)
	f.wantGone(event, gone)
}

func cleanupKeepsPending(f *Fixture) {
	sub := f.Subscribe()
	var event posthorn.EventID
	var id posthorn.DeliveryID
	f.Aged(old, func() {
		var ids []posthorn.DeliveryID
		event, ids = f.PublishEvent(f.NewEvent(func(e *posthorn.Event) { e.Payload = []byte("kept") }), sub)
		id = ids[0]
		f.Record(f.Failure(f.ClaimOne(id), time.Minute))
		f.SetStatus(sub, posthorn.StatusPaused)
	})
	before := f.Delivery(id)
	f.cleanup(100)
	f.cleanup(100)
	e, err := f.Store.GetEvent(f.Context(), f.Tenant, event)
	f.must(err)
	equal(f, "payload", string(e.Payload), "kept")
	equal(f, "delivery", *f.Delivery(id), *before)
	f.wantOutcomes(id, posthorn.HTTPError)
	f.wantEventStatus(event, posthorn.EventPending)
	f.SetStatus(sub, posthorn.StatusActive)
	c := f.ClaimOne(id)
	equal(f, "claimed payload", string(c.Event.Payload), "kept")
	equal(f, "number", c.Number, 2)
	f.Record(f.Success(c))
	f.wantOutcomes(id, posthorn.HTTPError, posthorn.Succeeded)
}

func cleanupKeepsReplayed(f *Fixture) {
	sub := f.Subscribe()
	var event posthorn.EventID
	f.Aged(old, func() { event = f.Delivery(f.Deliver(sub)).EventID })
	f.SetStatus(sub, posthorn.StatusPaused)
	made := f.replay(event, sub)
	f.cleanup(100)
	e, err := f.Store.GetEvent(f.Context(), f.Tenant, event)
	f.must(err)
	equal(f, "event", e.ID, event)
	f.SetStatus(sub, posthorn.StatusActive)
	equal(f, "claimed event", f.ClaimOne(made[0].ID).Event.ID, event)
}

func cleanupRemovesLater(f *Fixture) {
	sub := f.Subscribe()
	var event posthorn.EventID
	var ids []posthorn.DeliveryID
	f.Aged(old, func() { event, ids = f.Publish(sub) })
	f.cleanup(100)
	f.Record(f.Success(f.ClaimOne(ids[0])))
	f.Elapse(old)
	f.cleanup(100)
	f.wantGone(event, ids[0])
}

func cleanupKeys(f *Fixture) {
	sub := f.Subscribe()
	var first posthorn.EventID
	f.Aged(old, func() { first, _ = f.PublishEvent(f.keyed("k")) })
	young, _ := f.PublishEvent(f.keyed("young"), sub)
	f.cleanup(100)
	again := f.keyed("k", func(e *posthorn.Event) { e.Payload = []byte("other") })
	answer := f.acceptOne(f.Acceptance(again))
	f.must(answer.Err)
	equal(f, "duplicate of a forgotten key", answer.Duplicate, false)
	f.wantGone(first)
	answer = f.acceptOne(f.Acceptance(f.keyed("young")))
	f.must(answer.Err)
	equal(f, "duplicate of a kept key", answer.Duplicate, true)
	equal(f, "its event", answer.EventID, young)
}

func cleanupStats(f *Fixture) {
	sub := f.Subscribe()
	f.Aged(old, func() { f.Deliver(sub) })
	f.Deliver(sub)
	f.cleanup(100)
	equal(f, "attempts counted", f.stats(posthorn.StatsFilter{Since: f.Store.Now().Add(-2 * old), Step: time.Hour}).Attempts, int64(1))
}

func cleanupSteps(f *Fixture) {
	sub := f.Subscribe()
	f.Aged(old, func() {
		var subs []posthorn.SubscriptionID
		for range 30 {
			subs = append(subs, f.Subscribe())
		}
		var batch []posthorn.Acceptance
		for range 20 {
			batch = append(batch, f.Acceptance(f.NewEvent(), sub))
		}
		batch = append(batch, f.Acceptance(f.NewEvent(), subs...))
		for range 20 {
			batch = append(batch, f.Acceptance(f.NewEvent(), sub))
		}
		f.Accept(batch...)
		var results []posthorn.Result
		for _, c := range f.Claim() {
			results = append(results, f.Success(c))
		}
		f.Record(results...)
	})
	young := f.Deliver(sub)
	f.cleanup(7)
	wantSet(f, "deliveries left", f.deliveries(posthorn.DeliveryFilter{}), young)
	equal(f, "events left", len(f.events(posthorn.EventFilter{})), 1)
}

// cleanupRest has more of what belongs to no event than goes in one step.
func cleanupRest(f *Fixture) {
	var subs []posthorn.SubscriptionID
	var replays []posthorn.ReplayID
	f.Aged(old, func() {
		for range 5 {
			subs = append(subs, f.Subscribe())
			f.must(f.Store.DeleteSubscription(f.Context(), f.Tenant, subs[len(subs)-1]))
			r, err := f.Store.CancelReplay(f.Context(), f.Tenant, f.NewReplay().ID)
			f.must(err)
			replays = append(replays, r.ID)
		}
	})
	f.cleanup(2)
	left, err := f.Store.FindSubscriptions(f.Context(), f.Tenant, subs)
	f.must(err)
	equal(f, "tombstones left", len(left), 0)
	for _, id := range replays {
		_, err := f.Store.GetReplay(f.Context(), f.Tenant, id)
		f.wantKind(err, posthorn.NotFound, "get an old replay")
	}
}

func cleanupNothing(f *Fixture) {
	equal(f, "steps over an empty store", f.cleanup(100), 1)
	id := f.Deliver(f.Subscribe())
	f.cleanup(100)
	f.wantState(id, posthorn.Delivered, posthorn.ReasonNone)
}

func cleanupPrepare(f *Fixture) {
	f.must(f.Store.Prepare(f.Context()))
	f.must(f.Store.Prepare(f.Context()))
	f.Deliver(f.Subscribe())
}
