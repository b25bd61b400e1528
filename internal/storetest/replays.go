package storetest

import (
	"sync"
	"time"

	"github.com/posthorn/posthorn"
)

func replayJobTests() group {
	return group{"Replays", []test{
		{"Kept", replaysKept},
		{"Listed", replaysListed},
		{"ActiveBounded", replaysBounded},
		{"Cancelled", replaysCancelled},
		{"CopiesInSteps", replaysCopy},
		{"FindsByFilter", replaysFilter},
		{"FindsTheLatestAlone", replaysLatest},
		{"FindsNothingOfItsOwn", replaysOwn},
		{"FindsWhatFailedSince", replaysSince},
		{"FindsEvents", replaysEvents},
		{"FindsEventsOfDeliveries", replaysDelivered},
		{"LeavesOutWhatIsGone", replaysLeaveOut},
		{"FencedByTheCursor", replaysFenced},
		{"TwoAtOnceMakeOne", replaysConcurrent},
		{"OrderedLane", replaysOrdered},
		{"Backlog", replaysBacklog},
		{"RemovedAfterRetention", replaysRemoved},
	}}
}

// NewReplay stores a replay to the original subscriptions, altered as given.
func (f *Fixture) NewReplay(change ...func(*posthorn.Replay)) *posthorn.Replay {
	f.T.Helper()
	r := &posthorn.Replay{
		ID: posthorn.ReplayID{UUID: f.ID()}, TenantID: f.Tenant,
		ReplayPlan: posthorn.ReplayPlan{
			To: posthorn.ToOriginal, RateLimit: posthorn.RateLimit{Limit: 100, Per: "second"},
			Filter: posthorn.DeliveryFilter{States: []posthorn.State{posthorn.Exhausted}},
		},
	}
	for _, c := range change {
		c(r)
	}
	f.must(f.Store.CreateReplay(f.Context(), r))
	return r
}

// sources reads what a replay finds, at most limit.
func (f *Fixture) sources(r *posthorn.Replay, limit int) posthorn.ReplaySources {
	f.T.Helper()
	found, err := f.Store.ReplaySources(f.Context(), r, limit)
	f.must(err)
	return found
}

// step makes again what was found, to the subscriptions it was for.
func (f *Fixture) step(r *posthorn.Replay, found posthorn.ReplaySources) posthorn.ReplayStep {
	step := posthorn.ReplayStep{
		ID: r.ID, TenantID: r.TenantID, From: r.Cursor, To: found.Cursor, Examined: found.Examined, Matched: found.Matched,
		Skipped: posthorn.ReplaySkips{Superseded: found.Superseded}, State: posthorn.ReplayRunning,
	}
	for _, d := range found.Deliveries {
		step.Copies = append(step.Copies, posthorn.ReplayCopy{
			Match: f.matches(d.SubscriptionID)[0], EventID: d.EventID, Seen: d.ID,
		})
	}
	if found.Done {
		step.State = posthorn.ReplayCompleted
	}
	return step
}

// runReplay does all steps of a replay and gives it as it ended.
func (f *Fixture) runReplay(r *posthorn.Replay, limit int) *posthorn.Replay {
	f.T.Helper()
	for steps := 0; !r.State.Ended(); steps++ {
		if steps > 100 {
			f.T.Fatal("the replay does not end")
		}
		after, err := f.Store.StepReplay(f.Context(), f.step(r, f.sources(r, limit)))
		f.must(err)
		r = after
	}
	return r
}

// made are the deliveries of a replay, newest first.
func (f *Fixture) made(r *posthorn.Replay) []posthorn.Delivery {
	f.T.Helper()
	list, _, err := f.Store.ListDeliveries(f.Context(), f.Tenant, posthorn.DeliveryFilter{Replay: r.ID}, posthorn.Page{Limit: 200})
	f.must(err)
	return list
}

func replaysKept(f *Fixture) {
	sub := f.Subscribe()
	r := f.NewReplay(func(r *posthorn.Replay) {
		r.To, r.Only, r.Total = posthorn.ToMatching, []posthorn.SubscriptionID{sub}, 7
		r.Filter = posthorn.DeliveryFilter{SubscriptionID: sub, Types: []string{"invoice.*"}, States: []posthorn.State{posthorn.Cancelled}}
	})
	f.wantIn("created_at", r.CreatedAt, 0)
	got, err := f.Store.GetReplay(f.Context(), f.Tenant, r.ID)
	f.must(err)
	equal(f, "state", got.State, posthorn.ReplayPending)
	equal(f, "to", got.To, posthorn.ToMatching)
	equal(f, "rate limit", got.RateLimit, r.RateLimit)
	equal(f, "total", got.Total, 7)
	equal(f, "only", got.Only[0], sub)
	equal(f, "filter's subscription", got.Filter.SubscriptionID, sub)
	equal(f, "filter's type", got.Filter.Types[0], "invoice.*")
	equal(f, "filter's state", got.Filter.States[0], posthorn.Cancelled)
	equal(f, "created_at", got.CreatedAt, r.CreatedAt)
	f.wantUnset("started_at", got.StartedAt)
	f.wantUnset("completed_at", got.CompletedAt)
	_, err = f.Store.GetReplay(f.Context(), f.NewTenant("other"), r.ID)
	f.wantKind(err, posthorn.NotFound, "read another tenant's replay")
}

func replaysListed(f *Fixture) {
	first, second := f.NewReplay(), f.NewReplay()
	f.As(f.NewTenant("other")).NewReplay()
	list, next, err := f.Store.ListReplays(f.Context(), f.Tenant, posthorn.Page{Limit: 1})
	f.must(err)
	equal(f, "length", len(list), 1)
	equal(f, "newest", list[0].ID, second.ID)
	list, next, err = f.Store.ListReplays(f.Context(), f.Tenant, posthorn.Page{Limit: 1, Before: next})
	f.must(err)
	equal(f, "next", list[0].ID, first.ID)
	equal(f, "end", next.IsZero(), true)
	active, err := f.Store.ActiveReplays(f.Context(), 10)
	f.must(err)
	equal(f, "active", len(active), 3)
	equal(f, "oldest active", active[0].ID, first.ID)
}

func replaysBounded(f *Fixture) {
	first := f.NewReplay()
	for range posthorn.MaxActiveReplays - 1 {
		f.NewReplay()
	}
	err := f.Store.CreateReplay(f.Context(), &posthorn.Replay{ID: posthorn.ReplayID{UUID: f.ID()}, TenantID: f.Tenant})
	f.wantKind(err, posthorn.Conflict, "one replay too many")
	f.As(f.NewTenant("other")).NewReplay()
	_, err = f.Store.CancelReplay(f.Context(), f.Tenant, first.ID)
	f.must(err)
	f.NewReplay()
}

func replaysCancelled(f *Fixture) {
	sub := f.Subscribe()
	f.Exhaust(sub)
	r := f.NewReplay()
	step := f.step(r, f.sources(r, 10))
	other := f.NewTenant("other")
	_, err := f.Store.CancelReplay(f.Context(), other, r.ID)
	f.wantKind(err, posthorn.NotFound, "cancel another tenant's replay")
	after, err := f.Store.CancelReplay(f.Context(), f.Tenant, r.ID)
	f.must(err)
	equal(f, "state", after.State, posthorn.ReplayCancelled)
	f.wantIn("completed_at", after.CompletedAt, 0)
	_, err = f.Store.StepReplay(f.Context(), step)
	f.wantKind(err, posthorn.Conflict, "step a cancelled replay")
	equal(f, "made", len(f.made(r)), 0)
	_, err = f.Store.CancelReplay(f.Context(), f.Tenant, r.ID)
	f.wantRefusal(err, posthorn.HasEnded("replay"), "cancel it again")
	active, err := f.Store.ActiveReplays(f.Context(), 10)
	f.must(err)
	equal(f, "active", len(active), 0)
}

func replaysCopy(f *Fixture) {
	first, second := f.Subscribe(), f.Subscribe()
	want := map[posthorn.EventID]posthorn.SubscriptionID{}
	for i := range 10 {
		sub := first
		if i%3 == 0 {
			sub = second
		}
		want[f.Delivery(f.Exhaust(sub)).EventID] = sub
	}
	f.Deliver(first)
	waiting := f.PublishOne(second)
	r := f.NewReplay()
	one, err := f.Store.StepReplay(f.Context(), f.step(r, f.sources(r, 4)))
	f.must(err)
	equal(f, "state", one.State, posthorn.ReplayRunning)
	equal(f, "created in one step", one.Created, 4)
	f.wantIn("started_at", one.StartedAt, 0)
	done := f.runReplay(one, 4)
	equal(f, "state", done.State, posthorn.ReplayCompleted)
	equal(f, "matched", done.Matched, 10)
	equal(f, "created", done.Created, 10)
	equal(f, "skipped", done.Skipped.Sum(), 0)
	f.wantIn("completed_at", done.CompletedAt, 0)
	made := f.made(r)
	equal(f, "made", len(made), 10)
	for _, d := range made {
		equal(f, "subscription", d.SubscriptionID, want[d.EventID])
		equal(f, "state", d.State, posthorn.Pending)
		equal(f, "attempts", d.Attempts, 0)
		f.wantIn("due_at", d.DueAt, 0)
		delete(want, d.EventID)
	}
	claims := f.Claim()
	equal(f, "claimed", len(claims), 11)
	for _, c := range claims {
		if c.DeliveryID != waiting {
			equal(f, "payload", string(c.Event.Payload), `{"amount":1200}`)
		}
	}
}

// wantSources fails unless a replay finds exactly these deliveries, in this order.
func (f *Fixture) wantSources(what string, change func(*posthorn.Replay), want ...posthorn.DeliveryID) {
	f.T.Helper()
	r := f.NewReplay(change)
	found := f.sources(r, 100)
	equal(f, what+": done", found.Done, true)
	var got idList
	for _, d := range found.Deliveries {
		got = append(got, d.ID)
	}
	equal(f, what, got.String(), idList(want).String())
	_, err := f.Store.CancelReplay(f.Context(), f.Tenant, r.ID)
	f.must(err)
}

func replaysFilter(f *Fixture) {
	first, second := f.Subscribe(), f.Subscribe()
	var old posthorn.DeliveryID
	f.Aged(10*time.Hour, func() { old = f.Exhaust(first) })
	exhausted, delivered := f.Exhaust(first), f.Deliver(second)
	cancelled := f.PublishOne(second)
	_, err := f.Store.CancelDelivery(f.Context(), f.Tenant, cancelled)
	f.must(err)
	f.PublishOne(first)
	for what, c := range map[string]struct {
		filter posthorn.DeliveryFilter
		want   []posthorn.DeliveryID
	}{
		"all":             {posthorn.DeliveryFilter{}, []posthorn.DeliveryID{old, exhausted, delivered, cancelled}},
		"by subscription": {posthorn.DeliveryFilter{SubscriptionID: second}, []posthorn.DeliveryID{delivered, cancelled}},
		"by state": {
			posthorn.DeliveryFilter{States: []posthorn.State{posthorn.Exhausted, posthorn.Cancelled}},
			[]posthorn.DeliveryID{old, exhausted, cancelled},
		},
		"by another type": {posthorn.DeliveryFilter{Types: []string{"order.*"}}, nil},
		"by type":         {posthorn.DeliveryFilter{Types: []string{"invoice.*"}, States: []posthorn.State{posthorn.Delivered}}, []posthorn.DeliveryID{delivered}},
		"since":           {posthorn.DeliveryFilter{SubscriptionID: first, Since: f.Store.Now().Add(-time.Hour)}, []posthorn.DeliveryID{exhausted}},
		"until":           {posthorn.DeliveryFilter{Until: f.Store.Now().Add(-time.Hour)}, []posthorn.DeliveryID{old}},
		"by status code":  {posthorn.DeliveryFilter{StatusCode: 200}, []posthorn.DeliveryID{delivered}},
	} {
		f.wantSources(what, func(r *posthorn.Replay) { r.Filter = c.filter }, c.want...)
	}
	f.As(f.NewTenant("other")).wantSources("another tenant's", func(r *posthorn.Replay) { r.Filter = posthorn.DeliveryFilter{} })
}

func replaysLatest(f *Fixture) {
	sub := f.Subscribe()
	twice, well, waits := f.Exhaust(sub), f.Exhaust(sub), f.Exhaust(sub)
	again := f.replay(f.Delivery(twice).EventID, sub)[0].ID
	f.Record(f.Exhaustion(f.ClaimOne(again)))
	f.Record(f.Success(f.ClaimOne(f.replay(f.Delivery(well).EventID, sub)[0].ID)))
	f.replay(f.Delivery(waits).EventID, sub)
	r := f.NewReplay()
	found := f.sources(r, 10)
	equal(f, "found", len(found.Deliveries), 1)
	equal(f, "the latest", found.Deliveries[0].ID, again)
	equal(f, "matched", found.Matched, 4)
	equal(f, "superseded", found.Superseded, 3)
	done := f.runReplay(r, 10)
	equal(f, "created", done.Created, 1)
	equal(f, "skipped", done.Skipped, posthorn.ReplaySkips{Superseded: 3})
}

func replaysOwn(f *Fixture) {
	sub := f.Subscribe()
	f.Exhaust(sub)
	f.Exhaust(sub)
	r := f.NewReplay(func(r *posthorn.Replay) { r.Filter = posthorn.DeliveryFilter{SubscriptionID: sub} })
	r, err := f.Store.StepReplay(f.Context(), f.step(r, f.sources(r, 1)))
	f.must(err)
	f.Elapse(time.Minute)
	made := f.made(r)[0].ID
	f.Record(f.Exhaustion(f.ClaimOne(made)))
	later := f.Exhaust(sub)
	r, err = f.Store.GetReplay(f.Context(), f.Tenant, r.ID)
	f.must(err)
	done := f.runReplay(r, 10)
	equal(f, "created", done.Created, 2)
	f.wantState(later, posthorn.Exhausted, posthorn.ReasonAttempts)
}

func replaysSince(f *Fixture) {
	sub := f.Subscribe()
	var before, during posthorn.DeliveryID
	f.Aged(5*time.Hour, func() { before, during = f.Exhaust(sub), f.PublishOne(sub) })
	f.Record(f.Exhaustion(f.ClaimOne(during)))
	f.wantSources("failed since", func(r *posthorn.Replay) { r.Filter.EndedSince = f.Store.Now().Add(-time.Hour) }, during)
	f.wantSources("failed long since", func(r *posthorn.Replay) { r.Filter.EndedSince = f.Store.Now().Add(-10 * time.Hour) }, before, during)
}

func replaysEvents(f *Fixture) {
	sub := f.Subscribe()
	unmatched := f.publishType("order.created")
	other := f.publishType("invoice.paid", sub)
	f.publishType("posthorn.test", sub)
	f.PublishEvent(f.NewEvent(func(e *posthorn.Event) { e.DeliverAt = f.Store.Now().Add(time.Hour) }), sub)
	r := f.NewReplay(func(r *posthorn.Replay) { r.To, r.Filter = posthorn.ToMatching, posthorn.DeliveryFilter{} })
	equal(f, "of events", r.OfEvents(), true)
	f.publishType("order.created")
	found := f.sources(r, 10)
	equal(f, "events", len(found.Events), 2)
	equal(f, "first", found.Events[0].ID, unmatched)
	equal(f, "second", found.Events[1].ID, other)
	equal(f, "payload", string(found.Events[0].Payload), `{"amount":1200}`)
	equal(f, "done", found.Done, true)
	equal(f, "latest", len(found.Latest), 1)
	equal(f, "latest's event", found.Latest[0].EventID, other)
	one := f.sources(r, 1)
	equal(f, "one", len(one.Events), 1)
	equal(f, "done after one", one.Done, false)
	r.Cursor = one.Cursor
	equal(f, "the next", f.sources(r, 1).Events[0].ID, other)
	typed := f.NewReplay(func(r *posthorn.Replay) {
		r.To, r.Filter = posthorn.ToMatching, posthorn.DeliveryFilter{Types: []string{"order.*"}}
	})
	equal(f, "of a type", len(f.sources(typed, 10).Events), 2)
}

func replaysDelivered(f *Fixture) {
	first, second := f.Subscribe(), f.Subscribe()
	event, ids := f.Publish(first, second)
	claims := f.Claim()
	for _, c := range claims {
		if c.DeliveryID == ids[0] {
			f.Record(f.Exhaustion(c))
		} else {
			f.Record(f.Success(c))
		}
	}
	f.Deliver(first)
	r := f.NewReplay(func(r *posthorn.Replay) { r.To = posthorn.ToMatching })
	equal(f, "of events", r.OfEvents(), false)
	found := f.sources(r, 10)
	equal(f, "events", len(found.Events), 1)
	equal(f, "event", found.Events[0].ID, event)
	equal(f, "deliveries", len(found.Deliveries), 0)
	equal(f, "latest", len(found.Latest), 2)
}

func replaysLeaveOut(f *Fixture) {
	sub, gone := f.Subscribe(), f.Subscribe()
	f.Exhaust(gone)
	retried := f.Exhaust(sub)
	kept := f.Exhaust(sub)
	r := f.NewReplay()
	step := f.step(r, f.sources(r, 10))
	step.Copies = append(step.Copies, posthorn.ReplayCopy{Match: f.matches(sub)[0], EventID: posthorn.EventID{UUID: f.ID()}})
	f.must(f.Store.DeleteSubscription(f.Context(), f.Tenant, gone))
	_, err := f.Store.RetryDelivery(f.Context(), f.Tenant, retried)
	f.must(err)
	after, err := f.Store.StepReplay(f.Context(), step)
	f.must(err)
	equal(f, "created", after.Created, 1)
	equal(f, "skipped", after.Skipped, posthorn.ReplaySkips{Deleted: 1, Superseded: 1, Gone: 1})
	equal(f, "made of", f.made(r)[0].EventID, f.Delivery(kept).EventID)
}

func replaysFenced(f *Fixture) {
	sub := f.Subscribe()
	f.Exhaust(sub)
	f.Exhaust(sub)
	r := f.NewReplay()
	first, again := f.step(r, f.sources(r, 1)), f.step(r, f.sources(r, 1))
	_, err := f.Store.StepReplay(f.Context(), first)
	f.must(err)
	_, err = f.Store.StepReplay(f.Context(), again)
	f.wantKind(err, posthorn.Conflict, "step from a cursor that has moved")
	equal(f, "made", len(f.made(r)), 1)
	other := f.step(r, f.sources(r, 1))
	other.TenantID = f.NewTenant("other")
	_, err = f.Store.StepReplay(f.Context(), other)
	f.wantKind(err, posthorn.NotFound, "step another tenant's replay")
}

func replaysConcurrent(f *Fixture) {
	sub := f.Subscribe()
	for range 50 {
		f.Exhaust(sub)
	}
	a, b := f.NewReplay(), f.NewReplay()
	steps := []posthorn.ReplayStep{f.step(a, f.sources(a, 100)), f.step(b, f.sources(b, 100))}
	made := make([]int, len(steps))
	errs := make([]error, len(steps))
	var both sync.WaitGroup
	for i := range steps {
		both.Go(func() {
			r, err := f.Store.StepReplay(f.Context(), steps[i])
			if errs[i] = err; err == nil {
				made[i] = r.Created
				if sum := r.Created + r.Skipped.Superseded; sum != 50 {
					made[i] = -1000 - sum
				}
			}
		})
	}
	both.Wait()
	f.must(errs[0])
	f.must(errs[1])
	equal(f, "made by both", made[0]+made[1], 50)
}

func replaysOrdered(f *Fixture) {
	sub := f.Subscribe(Ordered)
	var events []posthorn.EventID
	for range 3 {
		id := f.PublishOne(sub)
		f.Record(f.Exhaustion(f.ClaimOne(id)))
		events = append(events, f.Delivery(id).EventID)
	}
	f.runReplay(f.NewReplay(), 2)
	f.PublishOne(sub)
	for _, want := range events {
		claims := f.Claim()
		equal(f, "claimed", len(claims), 1)
		equal(f, "in order", claims[0].Delivery.EventID, want)
		f.Record(f.Success(claims[0]))
	}
}

func replaysBacklog(f *Fixture) {
	sub, held := f.Subscribe(), f.Subscribe()
	for range 5 {
		f.Exhaust(sub)
		f.Exhaust(held)
	}
	f.SetStatus(held, posthorn.StatusPaused)
	r := f.NewReplay()
	f.runReplay(r, 100)
	count := func(limit int) int {
		n, err := f.Store.ReplayBacklog(f.Context(), r, limit)
		f.must(err)
		return n
	}
	equal(f, "backlog", count(100), 5)
	equal(f, "backlog up to a limit", count(3), 3)
	f.Record(f.Success(f.Claim()[0]))
	equal(f, "backlog after claims", count(100), 0)
}

func replaysRemoved(f *Fixture) {
	var ended, active *posthorn.Replay
	f.Aged(retention+time.Hour, func() {
		ended, active = f.NewReplay(), f.NewReplay()
		_, err := f.Store.CancelReplay(f.Context(), f.Tenant, ended.ID)
		f.must(err)
	})
	f.cleanup(100)
	_, err := f.Store.GetReplay(f.Context(), f.Tenant, ended.ID)
	f.wantKind(err, posthorn.NotFound, "read an old replay")
	_, err = f.Store.GetReplay(f.Context(), f.Tenant, active.ID)
	f.must(err)
}
