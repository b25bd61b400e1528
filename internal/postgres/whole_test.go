package postgres

import (
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/ride"
)

// matched is a new event as it is matched to lanes without an order, in the version of the load.
func (l *load) matched(change func(*posthorn.Acceptance), subs ...posthorn.SubscriptionID) posthorn.Acceptance {
	a := l.acceptance([]byte(`{"id": 7}`), true, subs...)
	a.Version = l.version
	for i := range a.Matches {
		a.Matches[i].Unordered = true
	}
	if change != nil {
		change(&a)
	}
	return a
}

// TestWholeBatchesAreStoredAsOthers stores the same batch once as a whole and once with everything asked for each event.
func TestWholeBatchesAreStoredAsOthers(t *testing.T) {
	l := newLoad(t, openStore(t), 3)
	other := newLoad(t, l.Store, 1)
	exec(t, l.Store, `UPDATE lanes SET breaker_opens = 1 WHERE subscription_id = $1`, l.subs[1].UUID)
	exec(t, l.Store, `UPDATE lanes SET held_for = '5 minutes', failing_since = now() WHERE subscription_id = $1`, l.subs[2].UUID)
	batch := func() []posthorn.Acceptance {
		return []posthorn.Acceptance{
			l.matched(nil, l.subs...),
			l.matched(nil),
			other.matched(nil, other.subs[0]),
			l.matched(func(a *posthorn.Acceptance) { a.Matches[0].Attempt = posthorn.AttemptID{} }, l.subs[0]),
			l.matched(func(a *posthorn.Acceptance) { a.Matches[0].Reason = posthorn.ReasonRequested }, l.subs[0]),
			l.matched(func(a *posthorn.Acceptance) { a.Event.DeliverAt = l.Now().Add(time.Hour) }, l.subs[0], l.subs[2]),
			l.matched(func(a *posthorn.Acceptance) {
				a.Event.ExpiresAt = time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
				a.Event.OrderingKey, a.Event.Headers = "key", map[string]string{"X-Kind": "test"}
			}, l.subs[2]),
		}
	}
	accept := func(whole bool) ([]posthorn.Acceptance, []posthorn.Accepted) {
		events := batch()
		rows, answers := newAcceptRows(events), make([]posthorn.Accepted, len(events))
		counted := rows.count()
		if counted == nil {
			t.Fatal("the batch cannot be counted")
		}
		if !whole {
			counted = nil
		}
		if stored, err := l.sendAccept(t.Context(), l.node, events, rows, counted, answers, nil); err != nil || !stored {
			t.Fatal(stored, err)
		}
		return events, answers
	}
	wholeEvents, whole := accept(true)
	eachEvents, each := accept(false)
	row := func(table string, id posthorn.UUID) string {
		return value[string](t, l.Store, `SELECT (j - '{id,event_id,created_at,updated_at,due_at,visible_at,deliver_at,held_base,claim,completed_at}'::text[])::text ||
			(j->>'completed_at' IS NULL) || coalesce(j->>'due_at' > j->>'created_at', false) || round(extract(epoch FROM coalesce(j->>'held_base', '0')::interval))
			FROM `+table+` r CROSS JOIN LATERAL to_jsonb(r) AS j WHERE id = $1`, id)
	}
	for i := range whole {
		if whole[i].Err != nil || each[i].Err != nil || whole[i].Deliveries != each[i].Deliveries || len(whole[i].Claimed) != len(each[i].Claimed) {
			t.Errorf("event %d: %+v as a whole, %+v each", i, whole[i], each[i])
		}
		if got, want := row("events", whole[i].EventID.UUID), row("events", each[i].EventID.UUID); got != want {
			t.Errorf("event %d: %s as a whole, %s each", i, got, want)
		}
		for j := range wholeEvents[i].Matches {
			got, want := row("deliveries", wholeEvents[i].Matches[j].DeliveryID.UUID), row("deliveries", eachEvents[i].Matches[j].DeliveryID.UUID)
			if got != want {
				t.Errorf("event %d, delivery %d: %s as a whole, %s each", i, j, got, want)
			}
		}
		for j := range whole[i].Claimed {
			a, b := &whole[i].Claimed[j], &each[i].Claimed[j]
			if a.Version != b.Version || a.Failing != b.Failing || a.Delivery.SubscriptionID != b.Delivery.SubscriptionID ||
				a.Delivery.HeldBase.Round(time.Second) != b.Delivery.HeldBase.Round(time.Second) || a.Event.Deliveries != b.Event.Deliveries {
				t.Errorf("event %d: claimed %+v as a whole, %+v each", i, a, b)
			}
		}
	}
	for _, want := range []struct {
		of  *load
		sub posthorn.SubscriptionID
		n   int64
	}{{l, posthorn.SubscriptionID{}, 12}, {l, l.subs[0], 8}, {l, l.subs[1], 2}, {l, l.subs[2], 6}, {other, posthorn.SubscriptionID{}, 2}, {other, other.subs[0], 2}} {
		if p := want.of.total(t, want.sub); p.Accepted != want.n {
			t.Errorf("the statistics of tenant %v and subscription %v count %d accepted, want %d", want.of.tenant, want.sub, p.Accepted, want.n)
		}
	}
}

// TestStaleBesideAnotherTenant stores what is fresh of a batch that cannot be stored as a whole, and what rides along, and counts both once.
func TestStaleBesideAnotherTenant(t *testing.T) {
	l := newLoad(t, openStore(t), 1)
	other := newLoad(t, l.Store, 1)
	results := posthorn.RecordBatch{Node: l.node, Results: []posthorn.Result{l.success(l.born(t, l.subs[0]))}}
	rows, err := newResultRows(results)
	if err != nil {
		t.Fatal(err)
	}
	rider := ride.New(&recording{batch: results, rows: rows, lanes: newLaneRows(nil)})
	if answered, _ := l.rides.Join(rider); answered {
		t.Fatal("the rider was answered before anything took it along")
	}
	stale, fresh := l.matched(func(a *posthorn.Acceptance) { a.Version-- }, l.subs[0]), other.matched(nil, other.subs[0])
	answers, err := l.AcceptEvents(t.Context(), l.node, []posthorn.Acceptance{stale, fresh})
	select {
	case err := <-rider.Answered():
		if err != nil || !rider.Write.report.Results[0].Moved {
			t.Errorf("the result that rode along: %+v, %v", rider.Write.report.Results[0], err)
		}
	default:
		t.Error("the result that rode along is not answered")
	}
	if err != nil || posthorn.KindOf(answers[0].Err) != posthorn.Stale || answers[1].Err != nil || len(answers[1].Claimed) != 1 {
		t.Fatalf("answers %+v, %v", answers, err)
	}
	stored := value[int](t, l.Store, `SELECT count(*) FROM events WHERE id = ANY($1)`, uuids{stale.Event.ID.UUID, fresh.Event.ID.UUID})
	if _, err := l.GetEvent(t.Context(), other.tenant, fresh.Event.ID); err != nil || stored != 1 {
		t.Errorf("stored %d events, %v; want the fresh one alone", stored, err)
	}
	if p, q := l.total(t, l.subs[0]), other.total(t, other.subs[0]); p.Accepted != 1 || p.Succeeded != 1 || q.Accepted != 1 {
		t.Errorf("the statistics say %+v and %+v, want 1 of each", p, q)
	}
}
