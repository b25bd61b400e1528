package storetest

import (
	"time"

	"github.com/posthorn/posthorn"
)

func replayTests() group {
	return group{"Replay", []test{
		{"MakesNewDeliveries", replayMakes},
		{"DeletedLeftOut", replayDeleted},
		{"OfAnUnmatchedEvent", replayUnmatched},
		{"UnknownEvent", replayUnknown},
		{"StatusIsOfTheLatest", replayStatus},
		{"DueAtOnce", replayDue},
		{"OfAnExpiredEvent", replayExpired},
	}}
}

// replay makes new deliveries of an event.
func (f *Fixture) replay(event posthorn.EventID, subscriptions ...posthorn.SubscriptionID) []posthorn.Delivery {
	f.T.Helper()
	made, err := f.Store.Replay(f.Context(), f.Tenant, event, posthorn.ReplayID{UUID: f.ID()}, f.matches(subscriptions...))
	f.must(err)
	return made
}

func (f *Fixture) matches(subscriptions ...posthorn.SubscriptionID) []posthorn.Match {
	var matches []posthorn.Match
	for _, id := range subscriptions {
		matches = append(matches, posthorn.Match{SubscriptionID: id, DeliveryID: posthorn.DeliveryID{UUID: f.ID()}})
	}
	return matches
}

func replayMakes(f *Fixture) {
	first, second := f.Subscribe(), f.Subscribe()
	e := f.NewEvent(Keyed("k"))
	_, ids := f.PublishEvent(e, first)
	f.Record(f.Success(f.ClaimOne(ids[0])))
	replay := posthorn.ReplayID{UUID: f.ID()}
	matches := f.matches(first, second)
	made, err := f.Store.Replay(f.Context(), f.Tenant, e.ID, replay, matches)
	f.must(err)
	equal(f, "made", len(made), 2)
	for i, d := range made {
		stored := f.wantState(d.ID, posthorn.Pending, posthorn.ReasonNone)
		equal(f, "id", stored.ID, matches[i].DeliveryID)
		equal(f, "event", stored.EventID, e.ID)
		equal(f, "type", stored.EventType, e.Type)
		equal(f, "ordering key", stored.OrderingKey, "k")
		equal(f, "replay", stored.Replay, replay)
		equal(f, "answered replay", d.Replay, replay)
		f.wantIn("created_at", stored.CreatedAt, 0)
	}
	claims := f.Claim()
	wantSet(f, "claimed", claimedIDs(claims), made[0].ID, made[1].ID)
	equal(f, "payload", string(claims[0].Event.Payload), string(e.Payload))
	// The event's own count is of its publishing.
	stored, err := f.Store.GetEvent(f.Context(), f.Tenant, e.ID)
	f.must(err)
	equal(f, "event's deliveries", stored.Deliveries, 1)
	all, err := f.Store.EventDeliveries(f.Context(), f.Tenant, e.ID)
	f.must(err)
	equal(f, "deliveries in all", len(all), 3)
	equal(f, "oldest", all[0].ID, ids[0])
	found, _, err := f.Store.ListDeliveries(f.Context(), f.Tenant, posthorn.DeliveryFilter{Replay: replay}, posthorn.Page{Limit: 10})
	f.must(err)
	equal(f, "found by replay", len(found), 2)
}

func replayDeleted(f *Fixture) {
	gone, kept := f.Subscribe(), f.Subscribe()
	event, _ := f.Publish()
	f.must(f.Store.DeleteSubscription(f.Context(), f.Tenant, gone))
	made := f.replay(event, gone, kept)
	equal(f, "made", len(made), 1)
	equal(f, "subscription", made[0].SubscriptionID, kept)
}

func replayUnmatched(f *Fixture) {
	event, _ := f.Publish()
	made := f.replay(event, f.Subscribe())
	f.ClaimOne(made[0].ID)
}

func replayUnknown(f *Fixture) {
	sub := f.Subscribe()
	event, _ := f.Publish(sub)
	_, err := f.Store.Replay(f.Context(), f.Tenant, posthorn.EventID{UUID: f.ID()}, posthorn.ReplayID{UUID: f.ID()}, f.matches(sub))
	f.wantKind(err, posthorn.NotFound, "replay an unknown event")
	other := f.As(f.NewTenant("other"))
	_, err = f.Store.Replay(f.Context(), other.Tenant, event, posthorn.ReplayID{UUID: f.ID()}, other.matches(other.Subscribe()))
	f.wantKind(err, posthorn.NotFound, "replay another tenant's event")
	equal(f, "made of another tenant's subscription", len(f.replay(event, other.Subscribe())), 0)
}

func replayStatus(f *Fixture) {
	sub := f.Subscribe()
	event, ids := f.Publish(sub)
	f.Record(f.Exhaustion(f.ClaimOne(ids[0])))
	f.wantEventStatus(event, posthorn.EventFailed)
	made := f.replay(event, sub)
	f.wantEventStatus(event, posthorn.EventPending)
	f.Record(f.Success(f.ClaimOne(made[0].ID)))
	f.wantEventStatus(event, posthorn.EventSucceeded)
}

func replayDue(f *Fixture) {
	sub := f.Subscribe()
	e := f.NewEvent(func(e *posthorn.Event) { e.DeliverAt = f.Store.Now().Add(time.Hour) })
	f.PublishEvent(e)
	f.ClaimOne(f.replay(e.ID, sub)[0].ID)
}

func replayExpired(f *Fixture) {
	sub := f.Subscribe()
	e := f.NewEvent(func(e *posthorn.Event) { e.ExpiresAt = f.Store.Now().Add(time.Hour) })
	_, ids := f.PublishEvent(e, sub)
	f.Record(f.Success(f.ClaimOne(ids[0])))
	f.Record(f.Success(f.ClaimOne(f.replay(e.ID, sub)[0].ID)))
	f.Elapse(61 * time.Minute)
	stored, err := f.Store.GetEvent(f.Context(), f.Tenant, e.ID)
	f.must(err)
	_, err = f.Store.Replay(f.Context(), f.Tenant, e.ID, posthorn.ReplayID{UUID: f.ID()}, f.matches(sub))
	f.wantRefusal(err, posthorn.Expired(stored.ExpiresAt), "replay an expired event")
	equal(f, "deliveries", len(f.deliveries(posthorn.DeliveryFilter{})), 2)
}
