package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/posthorn/posthorn"
)

func eventTests() group {
	return group{"Event", []test{
		{"List", eventList},
		{"ListHasNoPayload", eventListFields},
		{"FilterByType", eventFilterType},
		{"FilterByTime", eventFilterTime},
		{"FilterByStatus", eventFilterStatus},
		{"FilterBySubscription", eventFilterSubscription},
		{"FilterByText", eventFilterText},
		{"FilterByTextOfMany", eventFilterTextMany},
		{"DerivedStatus", eventStatus},
		{"DerivedStatusOfMany", eventStatusMany},
		{"Deliveries", eventDeliveries},
		{"ForeignNotFound", eventForeign},
	}}
}

// events lists all pages of events that a filter finds.
func (f *Fixture) events(filter posthorn.EventFilter) []posthorn.EventID {
	f.T.Helper()
	var ids []posthorn.EventID
	for p := (posthorn.Page{Limit: 50}); ; {
		list, next, err := f.Store.ListEvents(f.Context(), f.Tenant, filter, p)
		f.must(err)
		for _, e := range list {
			ids = append(ids, e.ID)
		}
		if next.IsZero() {
			return ids
		}
		p.Before = next
	}
}

func (f *Fixture) wantEvents(what string, filter posthorn.EventFilter, want ...posthorn.EventID) {
	f.T.Helper()
	wantSet(f, what, f.events(filter), want...)
}

// wantEventStatus fails unless the list derives an event's status so.
func (f *Fixture) wantEventStatus(id posthorn.EventID, want posthorn.EventStatus) {
	f.T.Helper()
	list, _, err := f.Store.ListEvents(f.Context(), f.Tenant, posthorn.EventFilter{Text: id.String()}, posthorn.Page{Limit: 10})
	f.must(err)
	if len(list) != 1 || list[0].ID != id {
		f.T.Fatalf("%d events found by one's id", len(list))
	}
	equal(f, "event's status", list[0].Status, want)
	got, err := f.Store.EventStatus(f.Context(), f.Tenant, id)
	f.must(err)
	equal(f, "status by id", got, want)
}

func eventList(f *Fixture) {
	sub := f.Subscribe()
	var want []posthorn.UUID
	for range 7 {
		id, _ := f.Publish(sub)
		want = append([]posthorn.UUID{id.UUID}, want...)
	}
	page := func(p posthorn.Page) (ids []posthorn.UUID, next posthorn.UUID) {
		f.T.Helper()
		list, next, err := f.Store.ListEvents(f.Context(), f.Tenant, posthorn.EventFilter{}, p)
		f.must(err)
		for _, e := range list {
			ids = append(ids, e.ID.UUID)
		}
		return ids, next
	}
	walk(f, want, page, func() { f.Publish(sub) })
}

func eventListFields(f *Fixture) {
	e := f.keyed("k", Keyed("o"), func(e *posthorn.Event) {
		e.Payload = []byte("12345")
		e.Headers = map[string]string{"X-A": "1"}
	})
	f.PublishEvent(e, f.Subscribe(), f.Subscribe())
	list, next, err := f.Store.ListEvents(f.Context(), f.Tenant, posthorn.EventFilter{}, posthorn.Page{Limit: 10})
	f.must(err)
	equal(f, "listed", len(list), 1)
	equal(f, "next", next, posthorn.UUID{})
	got := list[0]
	equal(f, "id", got.ID, e.ID)
	equal(f, "tenant", got.TenantID, f.Tenant)
	equal(f, "type", got.Type, e.Type)
	equal(f, "payload", len(got.Payload), 0)
	equal(f, "payload bytes", got.PayloadBytes, 5)
	equal(f, "idempotency key", got.IdempotencyKey, "k")
	equal(f, "ordering key", got.OrderingKey, "o")
	equal(f, "header", got.Headers["X-A"], "1")
	equal(f, "deliveries", got.Deliveries, 2)
	equal(f, "status", got.Status, posthorn.EventPending)
	f.wantIn("created_at", got.CreatedAt, 0)
}

func (f *Fixture) publishType(eventType string, subscriptions ...posthorn.SubscriptionID) posthorn.EventID {
	f.T.Helper()
	id, _ := f.PublishEvent(f.NewEvent(func(e *posthorn.Event) { e.Type = eventType }), subscriptions...)
	return id
}

func eventFilterType(f *Fixture) {
	paid, deep, order := f.publishType("invoice.paid"), f.publishType("invoice.paid.late"), f.publishType("order")
	own := f.publishType("posthorn.test")
	f.wantEvents("all", posthorn.EventFilter{}, paid, deep, order, own)
	f.wantEvents("one type", posthorn.EventFilter{Types: []string{"invoice.paid"}}, paid)
	f.wantEvents("a pattern", posthorn.EventFilter{Types: []string{"invoice.*"}}, paid, deep)
	f.wantEvents("several", posthorn.EventFilter{Types: []string{"order", "invoice.paid.*"}}, deep, order)
	f.wantEvents("a star", posthorn.EventFilter{Types: []string{"*"}}, paid, deep, order)
	f.wantEvents("unknown", posthorn.EventFilter{Types: []string{"x"}})
}

func eventFilterTime(f *Fixture) {
	var old, young posthorn.EventID
	f.Aged(2*time.Hour, func() { old, _ = f.Publish() })
	f.Aged(time.Hour, func() { young, _ = f.Publish() })
	now := f.Store.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	f.wantEvents("since", posthorn.EventFilter{Since: ago(2 * time.Hour)}, young)
	f.wantEvents("until", posthorn.EventFilter{Until: ago(90 * time.Minute)}, old)
	f.wantEvents("between", posthorn.EventFilter{Since: ago(6 * time.Hour), Until: ago(time.Minute)}, old, young)
	f.wantEvents("before all", posthorn.EventFilter{Until: ago(6 * time.Hour)})
}

func eventFilterStatus(f *Fixture) {
	sub := f.Subscribe()
	pending, _ := f.Publish(sub)
	f.SetStatus(sub, posthorn.StatusPaused)
	unmatched, _ := f.Publish()
	healthy, broken := f.Subscribe(), f.Subscribe()
	finish := func(subscriptions ...posthorn.SubscriptionID) posthorn.EventID {
		id, _ := f.Publish(subscriptions...)
		for _, c := range f.Claim() {
			if c.Delivery.SubscriptionID == healthy {
				f.Record(f.Success(c))
			} else {
				f.Record(f.Exhaustion(c))
			}
		}
		return id
	}
	succeeded, failed, partial := finish(healthy), finish(broken), finish(healthy, broken)
	for status, id := range map[posthorn.EventStatus]posthorn.EventID{
		posthorn.EventPending: pending, posthorn.EventUnmatched: unmatched, posthorn.EventSucceeded: succeeded,
		posthorn.EventFailed: failed, posthorn.EventPartial: partial,
	} {
		f.wantEvents(string(status), posthorn.EventFilter{Status: status}, id)
		f.wantEventStatus(id, status)
	}
}

func eventFilterSubscription(f *Fixture) {
	first, second := f.Subscribe(), f.Subscribe()
	one, _ := f.Publish(first)
	both, _ := f.Publish(first, second)
	f.Publish()
	f.wantEvents("first", posthorn.EventFilter{SubscriptionID: first}, one, both)
	f.wantEvents("second", posthorn.EventFilter{SubscriptionID: second}, both)
	f.wantEvents("unknown", posthorn.EventFilter{SubscriptionID: posthorn.SubscriptionID{UUID: f.ID()}})
}

func eventFilterText(f *Fixture) {
	var old posthorn.EventID
	f.Aged(48*time.Hour, func() { old, _ = f.PublishEvent(f.keyed("order-1")) })
	young, _ := f.PublishEvent(f.keyed("order-22"))
	plain, _ := f.Publish()
	other := f.As(f.NewTenant("other"))
	other.PublishEvent(other.keyed("order-3"))
	f.wantEvents("whole id", posthorn.EventFilter{Text: old.String()}, old)
	// Ids begin with their time: two days apart, the first 9 characters of 26 differ.
	f.wantEvents("beginning of an id", posthorn.EventFilter{Text: old.String()[:4+9]}, old)
	f.wantEvents("prefix of all ids", posthorn.EventFilter{Text: "evt_"}, f.events(posthorn.EventFilter{})...)
	f.wantEvents("whole key", posthorn.EventFilter{Text: "order-1"}, old)
	f.wantEvents("beginning of a key", posthorn.EventFilter{Text: "order-"}, old, young)
	f.wantEvents("part of a key", posthorn.EventFilter{Text: "rder"})
	f.wantEvents("nothing", posthorn.EventFilter{Text: "evt_zzz"})
	f.wantEvents("no wildcard", posthorn.EventFilter{Text: "order%"})
	f.wantEvents("with another filter", posthorn.EventFilter{Text: plain.String(), Types: []string{"x"}})
	// What begins as ids do may be a key all the same.
	like, _ := f.PublishEvent(f.keyed(old.String()[:4+9] + "x"))
	numbered, _ := f.PublishEvent(f.keyed("evt_123"))
	f.wantEvents("id and key", posthorn.EventFilter{Text: old.String()[:4+9]}, old, like)
	f.wantEvents("key like an id", posthorn.EventFilter{Text: "evt_123"}, numbered)
	for _, text := range []string{"e", "evt", "evt_"} {
		f.wantEvents("beginning of all ids", posthorn.EventFilter{Text: text}, old, young, plain, like, numbered)
	}
}

// eventFilterTextMany searches for the beginning of more keys than are looked up through their index, below more events
// without one than are examined for a page.
func eventFilterTextMany(f *Fixture) {
	f.matched = false // There is nothing to match.
	publish := func(n int, key func(i int) string) (newestFirst []posthorn.EventID) {
		for made := 0; made < n; {
			var batch []posthorn.Acceptance
			for ; made < n && len(batch) < 1000; made++ {
				batch = append(batch, f.Acceptance(f.keyed(key(made))))
				newestFirst = append(newestFirst, batch[len(batch)-1].Event.ID)
			}
			f.Accept(batch...)
		}
		slices.Reverse(newestFirst)
		return newestFirst
	}
	few := publish(10, func(i int) string { return fmt.Sprintf("few-%d", i%5*2+i/5) })
	many := publish(5010, func(i int) string { return fmt.Sprintf("many-%05d", i) })
	publish(3100, func(int) string { return "" })
	latest := publish(1, func(int) string { return "many-latest" })
	many = append(latest, many...)
	wantOrder := func(text string, want []posthorn.EventID) {
		f.T.Helper()
		if got := f.events(posthorn.EventFilter{Text: text}); !slices.Equal(got, want) {
			f.T.Fatalf("%s: %d events found, want %d, newest first", text, len(got), len(want))
		}
	}
	wantOrder("few", few)
	wantOrder("many-", many)
	wantOrder("many-0500", many[1:11])
	page := func(p posthorn.Page) ([]posthorn.EventSummary, posthorn.UUID) {
		f.T.Helper()
		list, next, err := f.Store.ListEvents(f.Context(), f.Tenant, posthorn.EventFilter{Text: "many"}, p)
		f.must(err)
		return list, next
	}
	list, next := page(posthorn.Page{Limit: 2})
	equal(f, "on the first page, which ends short", len(list), 1)
	equal(f, "latest", list[0].ID, latest[0])
	list, next = page(posthorn.Page{Limit: 2, Before: next})
	equal(f, "on the second page", len(list), 2)
	equal(f, "next", next, list[1].ID.UUID)
	old := f.events(posthorn.EventFilter{Text: "many", Until: list[0].CreatedAt.Add(-time.Hour)})
	equal(f, "before all", len(old), 0)
}

func eventStatus(f *Fixture) {
	a, b := f.Subscribe(), f.Subscribe()
	event, ids := f.Publish(a, b)
	f.wantEventStatus(event, posthorn.EventPending)
	for _, c := range f.Claim() {
		if c.DeliveryID == ids[0] {
			f.Record(f.Success(c))
		} else {
			f.Record(f.Exhaustion(c))
		}
	}
	f.wantEventStatus(event, posthorn.EventPartial)
	f.retry(ids[1])
	f.wantEventStatus(event, posthorn.EventPending)
	f.Record(f.Success(f.ClaimOne(ids[1])))
	f.wantEventStatus(event, posthorn.EventSucceeded)
	again := f.replay(event, b)
	f.Record(f.Exhaustion(f.ClaimOne(again[0].ID)))
	f.wantEventStatus(event, posthorn.EventPartial)
}

// eventStatusMany has the deliveries that decide behind those that are listed with the event.
func eventStatusMany(f *Fixture) {
	f.matched = false // One subscription is not matched twice.
	many, last := f.Subscribe(), f.Subscribe()
	event, ids := f.Publish(append(slices.Repeat([]posthorn.SubscriptionID{many}, posthorn.MaxEventDeliveries), last)...)
	list, err := f.Store.EventDeliveries(f.Context(), f.Tenant, event)
	f.must(err)
	equal(f, "listed", len(list), posthorn.MaxEventDeliveries)
	cancel := func(id posthorn.DeliveryID) {
		_, err := f.Store.CancelDelivery(f.Context(), f.Tenant, id)
		f.must(err)
	}
	cancel(ids[len(ids)-2])
	f.wantEventStatus(event, posthorn.EventPending)
	cancel(ids[len(ids)-1])
	f.wantEventStatus(event, posthorn.EventFailed)
}

func eventDeliveries(f *Fixture) {
	a, b := f.Subscribe(), f.Subscribe()
	event, ids := f.Publish(a, b)
	f.Publish(a)
	made := f.replay(event, a)
	list, err := f.Store.EventDeliveries(f.Context(), f.Tenant, event)
	f.must(err)
	got := make(idList, len(list))
	for i := range list {
		got[i] = list[i].ID
	}
	want := idList{ids[0], ids[1], made[0].ID}
	equal(f, "deliveries", got.String(), want.String())
}

func eventForeign(f *Fixture) {
	event, _ := f.Publish(f.Subscribe())
	other := f.As(f.NewTenant("other"))
	for _, id := range []posthorn.EventID{event, {UUID: f.ID()}} {
		_, err := f.Store.GetEvent(f.Context(), other.Tenant, id)
		f.wantKind(err, posthorn.NotFound, "get")
		_, err = f.Store.EventStatus(f.Context(), other.Tenant, id)
		f.wantKind(err, posthorn.NotFound, "status")
		_, err = f.Store.EventDeliveries(f.Context(), other.Tenant, id)
		f.wantKind(err, posthorn.NotFound, "deliveries")
		equal(f, "listed", len(other.events(posthorn.EventFilter{Text: id.String()})), 0)
	}
	equal(f, "listed", len(other.events(posthorn.EventFilter{})), 0)
}
