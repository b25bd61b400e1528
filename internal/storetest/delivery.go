package storetest

import (
	"time"

	"github.com/posthorn/posthorn"
)

func deliveryTests() group {
	return group{"Delivery", []test{
		{"List", deliveryList},
		{"ListAcrossStates", deliveryListStates},
		{"Filters", deliveryFilters},
		{"FilterByTime", deliveryFilterTime},
		{"Attempts", deliveryAttempts},
		{"ForeignNotFound", deliveryForeign},
	}}
}

// deliveries lists all pages of deliveries that a filter finds.
func (f *Fixture) deliveries(filter posthorn.DeliveryFilter) []posthorn.DeliveryID {
	f.T.Helper()
	var ids []posthorn.DeliveryID
	for p := (posthorn.Page{Limit: 50}); ; {
		list, next, err := f.Store.ListDeliveries(f.Context(), f.Tenant, filter, p)
		f.must(err)
		for _, d := range list {
			ids = append(ids, d.ID)
		}
		if next.IsZero() {
			return ids
		}
		p.Before = next
	}
}

func deliveryList(f *Fixture) {
	sub := f.Subscribe()
	var want []posthorn.UUID
	for range 7 {
		want = append([]posthorn.UUID{f.PublishOne(sub).UUID}, want...)
	}
	for _, filter := range []posthorn.DeliveryFilter{{}, {SubscriptionID: sub}, {States: []posthorn.State{posthorn.Pending}}} {
		page := func(p posthorn.Page) (ids []posthorn.UUID, next posthorn.UUID) {
			f.T.Helper()
			list, next, err := f.Store.ListDeliveries(f.Context(), f.Tenant, filter, p)
			f.must(err)
			for _, d := range list {
				ids = append(ids, d.ID.UUID)
			}
			return ids, next
		}
		walk(f, want, page, func() { f.PublishOne(sub) })
	}
}

// deliveryListStates moves rows between states in the middle of a walk over one of them.
func deliveryListStates(f *Fixture) {
	sub := f.Subscribe()
	var ids []posthorn.DeliveryID
	for range 6 {
		ids = append(ids, f.Exhaust(sub))
	}
	filter := posthorn.DeliveryFilter{States: []posthorn.State{posthorn.Exhausted}}
	list, next, err := f.Store.ListDeliveries(f.Context(), f.Tenant, filter, posthorn.Page{Limit: 2})
	f.must(err)
	equal(f, "first page", len(list), 2)
	f.retry(ids[5])
	f.retry(ids[3])
	list, next, err = f.Store.ListDeliveries(f.Context(), f.Tenant, filter, posthorn.Page{Limit: 2, Before: next})
	f.must(err)
	equal(f, "second page", len(list), 2)
	equal(f, "third", list[0].ID, ids[2])
	equal(f, "fourth", list[1].ID, ids[1])
	list, _, err = f.Store.ListDeliveries(f.Context(), f.Tenant, filter, posthorn.Page{Limit: 2, Before: next})
	f.must(err)
	equal(f, "last page", len(list), 1)
}

func deliveryFilters(f *Fixture) {
	a, b := f.Subscribe(), f.Subscribe()
	succeeded := f.Deliver(a)
	exhausted := f.Exhaust(b)
	cancelled := f.arrange(a, posthorn.Cancelled)
	waiting := f.PublishOne(b)
	f.Record(f.Failure(f.ClaimOne(waiting), time.Hour))
	event, ids := f.PublishEvent(f.NewEvent(func(e *posthorn.Event) { e.Type = "order.made" }), a)
	replay := posthorn.ReplayID{UUID: f.ID()}
	made, err := f.Store.Replay(f.Context(), f.Tenant, event, replay, f.matches(b))
	f.must(err)
	for _, c := range []struct {
		what   string
		filter posthorn.DeliveryFilter
		want   []posthorn.DeliveryID
	}{
		{"all", posthorn.DeliveryFilter{}, []posthorn.DeliveryID{succeeded, exhausted, cancelled, waiting, ids[0], made[0].ID}},
		{"state", posthorn.DeliveryFilter{States: []posthorn.State{posthorn.Delivered}}, []posthorn.DeliveryID{succeeded}},
		{"failed states", posthorn.DeliveryFilter{States: []posthorn.State{posthorn.Exhausted, posthorn.Cancelled}}, []posthorn.DeliveryID{exhausted, cancelled}},
		{"pending", posthorn.DeliveryFilter{States: []posthorn.State{posthorn.Pending}}, []posthorn.DeliveryID{waiting, ids[0], made[0].ID}},
		{"outcome", posthorn.DeliveryFilter{Outcome: posthorn.HTTPError}, []posthorn.DeliveryID{exhausted, waiting}},
		{"status code", posthorn.DeliveryFilter{StatusCode: 200}, []posthorn.DeliveryID{succeeded}},
		{"subscription", posthorn.DeliveryFilter{SubscriptionID: a}, []posthorn.DeliveryID{succeeded, cancelled, ids[0]}},
		{"subscription and state", posthorn.DeliveryFilter{SubscriptionID: b, States: []posthorn.State{posthorn.Exhausted}}, []posthorn.DeliveryID{exhausted}},
		{"event", posthorn.DeliveryFilter{EventID: event}, []posthorn.DeliveryID{ids[0], made[0].ID}},
		{"event and subscription", posthorn.DeliveryFilter{EventID: event, SubscriptionID: b}, []posthorn.DeliveryID{made[0].ID}},
		{"replay", posthorn.DeliveryFilter{Replay: replay}, []posthorn.DeliveryID{made[0].ID}},
		{"type", posthorn.DeliveryFilter{Types: []string{"order.*"}}, []posthorn.DeliveryID{ids[0], made[0].ID}},
		{"nothing", posthorn.DeliveryFilter{Outcome: posthorn.Blocked}, nil},
	} {
		wantSet(f, c.what, f.deliveries(c.filter), c.want...)
	}
}

func deliveryFilterTime(f *Fixture) {
	sub := f.Subscribe()
	var old, young posthorn.DeliveryID
	f.Aged(2*time.Hour, func() { old = f.PublishOne(sub) })
	f.Aged(time.Hour, func() { young = f.PublishOne(sub) })
	now := f.Store.Now()
	for _, id := range []posthorn.SubscriptionID{{}, sub} {
		wantSet(f, "since", f.deliveries(posthorn.DeliveryFilter{SubscriptionID: id, Since: now.Add(-2 * time.Hour)}), young)
		wantSet(f, "until", f.deliveries(posthorn.DeliveryFilter{SubscriptionID: id, Until: now.Add(-90 * time.Minute)}), old)
	}
}

func deliveryAttempts(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	for range 4 {
		f.Record(f.Failure(f.ClaimOne(id), time.Minute))
		f.Elapse(2 * time.Minute)
	}
	attempts := f.wantOutcomes(id, posthorn.HTTPError, posthorn.HTTPError, posthorn.HTTPError, posthorn.HTTPError)
	for i := range attempts {
		f.wantIn("recorded_at", attempts[i].RecordedAt, -time.Duration(len(attempts)-i)*2*time.Minute)
	}
}

func deliveryForeign(f *Fixture) {
	sub := f.Subscribe()
	id := f.Deliver(sub)
	other := f.As(f.NewTenant("other"))
	for _, unknown := range []posthorn.DeliveryID{id, {UUID: f.ID()}} {
		_, err := f.Store.GetDelivery(f.Context(), other.Tenant, unknown)
		f.wantKind(err, posthorn.NotFound, "get")
		_, err = f.Store.ListAttempts(f.Context(), other.Tenant, unknown)
		f.wantKind(err, posthorn.NotFound, "attempts")
	}
	event := f.Delivery(id).EventID
	for _, filter := range []posthorn.DeliveryFilter{
		{}, {SubscriptionID: sub}, {EventID: event}, {States: []posthorn.State{posthorn.Delivered}},
	} {
		equal(f, "another tenant's listed", len(other.deliveries(filter)), 0)
	}
	lanes, err := f.Store.Lanes(f.Context(), other.Tenant, []posthorn.SubscriptionID{sub})
	f.must(err)
	equal(f, "another tenant's lanes", len(lanes), 0)
}
