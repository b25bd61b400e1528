package simtest

import (
	"fmt"
	"strings"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/ledger"
)

const (
	// settling is how long after the end of all trouble whatever is due must have been sent.
	settling = 25 * time.Minute
	// patience is how long past its time a delivery may wait then.
	patience = 6 * time.Minute
	// longest is how long the last of it may take.
	longest = 6 * time.Hour
	// unheard is when a node that no signal reached learns what was cancelled: it renews its leases after ten seconds.
	unheard = 12 * time.Second
)

// settle ends all trouble and lets everything come to its end.
func (w *world) settle() {
	w.note("all is well from here on")
	for _, p := range w.places {
		if n := p.live(); n != nil {
			n.Store.ShutAt(0, false, nil)
		}
	}
	w.busy.Wait()
	w.network.Cut(false)
	for _, s := range w.shops {
		if !s.stays && !s.created.IsZero() {
			w.resume(0, s)
		}
	}
	began := time.Now()
	checked := false
	for time.Since(began) < longest {
		time.Sleep(time.Minute)
		if w.waiting() == 0 {
			break
		}
		if !checked && time.Since(began) > settling {
			checked = true
			for _, v := range ledger.Check(ledger.Facts{
				Subscriptions: w.subscriptions(), Deliveries: w.deliveries(), Attempts: nil, Now: w.clock.now(), Patience: patience,
			}) {
				if v.Rule == ledger.Stuck {
					w.t.Errorf("%s after all trouble ended: %s", settling, v)
				}
			}
		}
	}
	time.Sleep(time.Minute)
	synctest.Wait()
}

// waiting counts what is pending and not held.
func (w *world) waiting() (n int) {
	held := map[posthorn.SubscriptionID]bool{}
	for _, s := range w.subscriptions() {
		held[s.ID] = s.Status != posthorn.StatusActive && s.DeletedAt.IsZero()
	}
	for _, d := range w.deliveries() {
		if d.State == posthorn.Pending && !held[d.SubscriptionID] {
			n++
		}
	}
	return n
}

func (w *world) deliveries() (all []posthorn.Delivery) {
	page := posthorn.Page{Limit: 200}
	for {
		list, next, err := w.db().ListDeliveries(w.t.Context(), w.tenant, posthorn.DeliveryFilter{}, page)
		if err != nil {
			w.t.Fatalf("list deliveries: %v", err)
		}
		all = append(all, list...)
		if next.IsZero() {
			return all
		}
		page.Before = next
	}
}

func (w *world) subscriptions() (all []ledger.Subscription) {
	var ids []posthorn.SubscriptionID
	edited := map[posthorn.SubscriptionID]bool{}
	for _, s := range w.shops {
		if !s.created.IsZero() {
			ids = append(ids, s.id)
			edited[s.id] = s.edited
		}
	}
	found, err := w.db().FindSubscriptions(w.t.Context(), w.tenant, ids)
	if err != nil {
		w.t.Fatalf("find subscriptions: %v", err)
	}
	lanes, err := w.db().Lanes(w.t.Context(), w.tenant, ids)
	if err != nil {
		w.t.Fatalf("read lanes: %v", err)
	}
	for _, s := range found {
		if edited[s.ID] {
			// What its attempts went by is not known any more.
			s.Retry = posthorn.RetryPolicy{}
		}
		for _, l := range lanes {
			if l.SubscriptionID == s.ID {
				all = append(all, ledger.Subscription{Subscription: s, Lane: l})
			}
		}
	}
	return all
}

func (w *world) attempts(deliveries []posthorn.Delivery) (all []posthorn.Attempt) {
	for i := range deliveries {
		list, err := w.db().ListAttempts(w.t.Context(), w.tenant, deliveries[i].ID)
		if err != nil {
			w.t.Fatalf("list attempts: %v", err)
		}
		all = append(all, list...)
	}
	return all
}

// judge holds both ends and the store against each other, and looks whether the nodes have put everything down.
func (w *world) judge() {
	for _, p := range w.places {
		var said posthorn.Node
		n := p.live()
		if n == nil {
			w.t.Errorf("node %d did not come back", p.number)
			continue
		}
		n.Engine.Describe(&said)
		if said.Held != 0 || said.InFlight != 0 {
			w.t.Errorf("node %d holds %d deliveries and has %d in flight, with nothing to do", p.number, said.Held, said.InFlight)
		}
	}
	f := ledger.Facts{
		Publishes: w.publishes, Requests: w.requests, Subscriptions: w.subscriptions(), Deliveries: w.deliveries(), Holds: w.holds, Replayed: w.replays,
		Now: w.clock.now(), Patience: time.Second, Slack: 2*time.Millisecond + w.clock.apart(), Calm: w.calm(),
	}
	if w.freezes || w.outages || w.losses {
		// The rows' times are of when they could be written.
		f.Slack += time.Millisecond
	}
	if w.deaf > 0 {
		f.Hearing = unheard
	}
	f.Attempts = w.attempts(f.Deliveries)
	for i := range f.Attempts {
		// The nodes' clocks are nobody's to set: an attempt's start is on them, but for those that the store made up.
		if a := &f.Attempts[i]; a.Outcome != posthorn.Interrupted || a.StartedAt.Sub(a.ID.Time()).Abs() > time.Millisecond {
			a.StartedAt = w.clock.said(a.StartedAt)
		}
	}
	w.count(f)
	found := ledger.Check(f)
	for i, v := range found {
		if i == 5 {
			w.t.Errorf("… and %d more", len(found)-i)
			break
		}
		w.t.Errorf("%s\n%s", v, w.story(f, v))
	}
	if w.t.Failed() {
		w.t.Logf("seed %d, %s:\n%s", w.seed, w.kind, strings.Join(w.history, "\n"))
	}
}

func (w *world) count(f ledger.Facts) {
	w.tally.Published, w.tally.Deliveries = len(f.Publishes), len(f.Deliveries)
	w.tally.Requests, w.tally.Attempts = len(f.Requests), len(f.Attempts)
	for i := range f.Attempts {
		if f.Attempts[i].Outcome == posthorn.Interrupted {
			w.tally.Interrupted++
		}
	}
}

// story is all that is known of what a violation is about.
func (w *world) story(f ledger.Facts, v ledger.Violation) string {
	var b strings.Builder
	at := func(t time.Time) time.Duration { return t.Sub(w.start) }
	var about posthorn.SubscriptionID
	for _, d := range f.Deliveries {
		if d.ID != v.Delivery && (!v.Delivery.IsZero() || d.EventID != v.Event) {
			continue
		}
		about = d.SubscriptionID
		fmt.Fprintf(&b, "    %s to %s: %s (%s), created %s, due %s, updated %s, completed %s, %d attempts, %d spent, manual %d, key %q number %d\n",
			d.ID, w.titleOf(d.SubscriptionID), d.State, d.Reason, at(d.CreatedAt), at(d.DueAt), at(d.UpdatedAt), at(d.CompletedAt),
			d.Attempts, d.Spent, d.Manual, d.OrderingKey, d.Sequence)
		for _, a := range f.Attempts {
			if a.DeliveryID == d.ID {
				fmt.Fprintf(&b, "      attempt %d by %s (claimed %s): %s %d, manual %v, started %s, recorded %s\n", a.Number, a.Node,
					at(a.ID.Time()), a.Outcome, a.StatusCode, a.Manual, at(a.StartedAt), at(a.RecordedAt))
			}
		}
	}
	for _, r := range f.Requests {
		if r.Event == v.Event && (about.IsZero() || r.Subscription == about) {
			fmt.Fprintf(&b, "      %s got attempt %d at %s, answered %d\n", w.titleOf(r.Subscription), r.Attempt, at(r.At), r.Status)
		}
	}
	return b.String()
}

func (w *world) titleOf(id posthorn.SubscriptionID) string {
	for _, s := range w.shops {
		if s.id == id {
			return s.title()
		}
	}
	return id.String()
}
