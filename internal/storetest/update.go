package storetest

import (
	"slices"
	"time"

	"github.com/posthorn/posthorn"
)

func updateTests() group {
	return group{"Update", []test{
		{"TellsWhatHappened", updateTells},
		{"TellsEveryKind", updateKinds},
		{"ResumesWithoutGaps", updateResumes},
		{"Since", updateSince},
		{"LateResult", updateLate},
		{"OfTenant", updateTenant},
		{"TellsOfUnwanted", updateUnwanted},
	}}
}

func (f *Fixture) updates(since time.Time, limit int) ([]posthorn.Update, bool) {
	f.T.Helper()
	list, more, err := f.Store.Updates(f.Context(), f.Tenant, since, limit)
	f.must(err)
	if len(list) > limit {
		f.T.Fatalf("%d updates, at most %d were asked for", len(list), limit)
	}
	for i := range list {
		if i > 0 && list[i].At.Before(list[i-1].At) {
			f.T.Fatal("updates are not in the order of time")
		}
		equal(f, "tenant", list[i].TenantID, f.Tenant)
	}
	return list, more
}

func updateTells(f *Fixture) {
	sub := f.Subscribe()
	event, ids := f.Publish(sub)
	f.Elapse(time.Minute)
	r := f.Failure(f.ClaimOne(ids[0]), 10*time.Minute)
	r.Attempt.Error = "status"
	f.Record(r)
	list, more := f.updates(f.Store.Now().Add(-time.Hour), 100)
	equal(f, "more", more, false)
	equal(f, "updates", len(list), 2)
	for _, u := range list {
		equal(f, "delivery", u.DeliveryID, ids[0])
		equal(f, "event", u.EventID, event)
		equal(f, "subscription", u.SubscriptionID, sub)
		equal(f, "type", u.EventType, "invoice.paid")
		equal(f, "state", u.State, posthorn.Pending)
		f.wantIn("due_at", u.DueAt, 10*time.Minute)
	}
	created, attempted := list[0], list[1]
	equal(f, "attempt of the creation", created.Attempt, posthorn.AttemptID{})
	f.wantIn("creation", created.At, -time.Minute)
	f.wantIn("attempt", attempted.At, 0)
	equal(f, "attempt id", attempted.Attempt, r.Claim.Attempt)
	equal(f, "number", attempted.Number, 1)
	equal(f, "attempts", attempted.Attempts, 1)
	equal(f, "outcome", attempted.Outcome, posthorn.HTTPError)
	equal(f, "status code", attempted.StatusCode, 503)
	equal(f, "duration", attempted.Duration, 7*time.Millisecond)
	equal(f, "error", attempted.Error, "status")
}

// updateKinds makes one of everything; each delivery must be told of after it has moved.
func updateKinds(f *Fixture) {
	sub, gone := f.Subscribe(), f.Subscribe()
	f.PublishOne(gone)
	cancelled := f.PublishOne(sub)
	withdrawn := f.deliveries(posthorn.DeliveryFilter{SubscriptionID: gone})[0]
	exhausted := f.Exhaust(sub)
	f.Elapse(10 * time.Minute)
	want := map[posthorn.DeliveryID]posthorn.State{
		cancelled: posthorn.Cancelled, withdrawn: posthorn.Cancelled, exhausted: posthorn.Pending,
	}
	_, err := f.Store.CancelDelivery(f.Context(), f.Tenant, cancelled)
	f.must(err)
	f.must(f.Store.DeleteSubscription(f.Context(), f.Tenant, gone))
	f.withdrawAll(usual(100))
	f.retry(exhausted)
	list, _ := f.updates(f.Store.Now().Add(-time.Minute), 100)
	for id, state := range want {
		if !slices.ContainsFunc(list, func(u posthorn.Update) bool { return u.DeliveryID == id && u.State == state }) {
			f.T.Fatalf("the move to %s of a delivery was not told", state)
		}
	}
	f.Record(f.Success(f.ClaimOne(exhausted)))
	list, _ = f.updates(f.Store.Now().Add(-time.Minute), 100)
	if !slices.ContainsFunc(list, func(u posthorn.Update) bool { return u.DeliveryID == exhausted && u.Outcome == posthorn.Succeeded }) {
		f.T.Fatal("the success was not told")
	}
}

// updateResumes reads with a small limit, each time from the last moment told of.
func updateResumes(f *Fixture) {
	sub := f.Subscribe()
	type happened struct {
		delivery posthorn.DeliveryID
		attempt  bool
	}
	want := map[happened]bool{}
	begin := f.Store.Now()
	var elapsed time.Duration
	pass := func(d time.Duration) {
		elapsed += d
		f.Elapse(d)
	}
	for range 12 {
		id := f.PublishOne(sub)
		want[happened{id, false}] = true
		pass(20 * time.Second)
		f.Record(f.Success(f.ClaimOne(id)))
		want[happened{id, true}] = true
		pass(20 * time.Second)
	}
	// Where Elapse moves stored times back, they begin before the beginning.
	since := begin.Add(-elapsed - time.Minute)
	for steps := 0; ; steps++ {
		list, more := f.updates(since, 5)
		for _, u := range list {
			delete(want, happened{u.DeliveryID, !u.Attempt.IsZero()})
		}
		if !more {
			break
		}
		if steps > 50 || len(list) == 0 {
			f.T.Fatal("resuming does not end")
		}
		since = list[len(list)-1].At
	}
	if len(want) > 0 {
		f.T.Fatalf("%d of 24 things that happened were not told", len(want))
	}
}

func updateSince(f *Fixture) {
	sub := f.Subscribe()
	f.Deliver(sub)
	f.Elapse(time.Hour)
	f.Deliver(sub)
	list, _ := f.updates(f.Store.Now().Add(-30*time.Minute), 100)
	attempts := 0
	for _, u := range list {
		if !u.Attempt.IsZero() {
			attempts++
		}
	}
	equal(f, "attempts of the last half hour", attempts, 1)
	list, more := f.updates(f.Store.Now().Add(time.Minute), 100)
	equal(f, "updates of the future", len(list), 0)
	equal(f, "more", more, false)
}

// updateLate has a result come in for an interrupted attempt: whoever watches the delivery wants to know.
func updateLate(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	first := f.ClaimOne(id)
	f.Elapse(afterLease)
	f.ClaimOne(id)
	f.Elapse(10 * time.Second)
	f.RecordBatch(posthorn.RecordBatch{Node: f.Node, Results: []posthorn.Result{f.Success(first)}})
	list, _ := f.updates(f.Store.Now().Add(-slack), 100)
	if !slices.ContainsFunc(list, func(u posthorn.Update) bool { return u.Attempt == first.Attempt && u.Outcome == posthorn.Succeeded }) {
		f.T.Fatal("the late result was not told")
	}
}

func updateTenant(f *Fixture) {
	other := f.As(f.NewTenant("other"))
	other.Deliver(other.Subscribe())
	other.arrange(other.Subscribe(), posthorn.Cancelled)
	list, _ := f.updates(f.Store.Now().Add(-time.Hour), 100)
	equal(f, "another tenant's updates", len(list), 0)
}

// updateUnwanted publishes what no subscription wants: it is told of by its event alone.
func updateUnwanted(f *Fixture) {
	since := f.Store.Now().Add(-time.Minute)
	f.PublishOne(f.Subscribe())
	event, _ := f.Publish()
	f.As(f.NewTenant("other")).Publish()
	list, _ := f.updates(since, 100)
	equal(f, "updates", len(list), 2)
	for _, u := range list {
		if u.DeliveryID.IsZero() {
			equal(f, "event", u.EventID, event)
			equal(f, "type", u.EventType, "invoice.paid")
			f.wantIn("at", u.At, 0)
		}
	}
	for range 5 {
		f.Publish()
	}
	_, more := f.updates(since, 4)
	equal(f, "more", more, true)
}
