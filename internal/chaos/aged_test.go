//go:build unix

package chaos_test

import (
	"fmt"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/ledger"
)

const (
	// aged is how far the clock goes ahead of what an aged store holds: past the retention, and not as far as what is held is held.
	aged = 96 * time.Hour
	// agedLasts is how long a janitor is given to reach its fail point.
	agedLasts  = 3 * time.Second
	agedEvents = 60
)

// agedStore is a store with four days' leavings: events that are over, some that wait in a paused lane, and some whose
// subscription was deleted while they waited.
type agedStore struct {
	*world
	held, doomed *lane
	start        mark
	// old are the publishes from before the clock went ahead.
	old int
}

// agedRound kills a node while its janitor takes away what is too old, in a store of its own, and lets the next one finish.
func (w *world) agedRound(sum *tally, turn int, own uint64, hurt wound) (line string) {
	w.t.(*testing.T).Run(fmt.Sprintf("Seed%d", own), func(t *testing.T) {
		began := time.Now()
		a := newAgedStore(t, w.store)
		n := a.startAhead(hurt.points, aged)
		a.producer.more(roundEvents)
		select {
		case <-n.Ended():
		case <-time.After(hurt.lasts):
		}
		n.Kill()
		outcome := sum.killed(n)
		line = fmt.Sprintf("%s round %d seed %d: %s, %s after %s, four days later", w.store, turn+1, own, hurt, outcome, time.Since(began).Round(time.Millisecond))
		sum.take(a.finish())
	})
	return line
}

func newAgedStore(t *testing.T, store string) *agedStore {
	t.Helper()
	a := &agedStore{world: newWorld(t, store, 8), held: &lane{name: "held"}, doomed: &lane{name: "doomed"}}
	first := a.startAhead("", 0).await()
	a.start = a.mark()
	kinds := a.producer.kinds
	for _, l := range []*lane{a.held, a.doomed} {
		l.down.Store(true)
		a.lanes[l.name] = l
		a.add(l, map[string]any{
			"url": a.receiver.url(l.name), "event_types": []string{"chaos." + l.name},
			"retry": map[string]any{"initial": 0.2, "multiplier": 1.5, "maximum": 2, "attempts": 50},
		})
		a.producer.kinds = append(a.producer.kinds, kind{"chaos." + l.name, []*lane{l}, 0})
	}
	a.producer.more(agedEvents)
	waiting := agedEvents / len(a.producer.kinds) * 2
	if !a.producer.settle(10*time.Second) || !eventually(10*time.Second, func() bool { return a.pending() == waiting }) {
		t.Fatalf("%d deliveries are pending, want the %d that fail", a.pending(), waiting)
	}
	a.producer.kinds = kinds
	a.old = a.producer.acknowledged()
	a.change(http.MethodPatch, a.held, `{"status":"paused"}`)
	a.change(http.MethodDelete, a.doomed, ``)
	first.Kill()
	return a
}

// startAhead starts a node whose store's clock is ahead, and whose janitor is on duty at once.
func (a *agedStore) startAhead(points string, ahead time.Duration) *node {
	a.t.Helper()
	a.ask(`DELETE FROM leases`)
	if a.store == postgresStore {
		a.setClock(ahead)
	} else {
		points = fmt.Sprintf("clock=step(%s);%s", ahead, points)
	}
	return a.site.start(points)
}

// change alters or deletes a subscription.
func (w *world) change(method string, l *lane, body string) {
	w.t.Helper()
	if status, answer, _, err := w.producer.send(method, w.site.url()+"/subscriptions/"+l.subscription.String(), []byte(body)); err != nil || status/100 != 2 {
		w.t.Fatalf("%s of %s: %d %v %s", method, l.name, status, err, answer)
	}
}

// finish lets a node do what the killed one began, and judges: what was over is gone, what was held is delivered with all
// its attempts, and what was deleted is cancelled.
func (a *agedStore) finish() verdict {
	a.t.Helper()
	// A minute later the killed node's leases are over.
	n := a.startAhead("", aged+time.Minute).await()
	if !a.producer.settle(10 * time.Second) {
		a.t.Error("events are not acknowledged")
	}
	f := ledger.Facts{Publishes: a.kept()}
	want := len(eventsOf(&f))
	if !eventually(20*time.Second, func() bool { return a.ask(`SELECT count(*) FROM events`)[0] == want }) {
		a.t.Errorf("the retention leaves %d events, want %d", a.ask(`SELECT count(*) FROM events`)[0], want)
	}
	a.held.down.Store(false)
	a.change(http.MethodPatch, a.held, `{"status":"active"}`)
	if !a.drain(time.Minute) {
		a.t.Errorf("%d deliveries are pending", a.pending())
	}
	n.Signal(syscall.SIGTERM)
	_ = n.Wait(stopWithin)
	f = a.facts(a.start)
	f.Publishes = a.kept()
	events := eventsOf(&f)
	f.Requests = slices.DeleteFunc(slices.Clone(f.Requests), func(r ledger.Request) bool { return !events[r.Event] })
	// Rows have times of clocks that were moved on purpose.
	f.Slack, f.Now = aged+time.Hour, time.Time{}
	for i := range f.Deliveries {
		d := &f.Deliveries[i]
		if state := a.due(d.SubscriptionID); d.State != state {
			a.t.Errorf("%s to %s is %s, want %s", d.ID, a.laneOf(d.SubscriptionID), d.State, state)
		}
	}
	return a.judge(f)
}

// due is the state in which deliveries to a subscription must end.
func (a *agedStore) due(to posthorn.SubscriptionID) posthorn.State {
	if to == a.doomed.subscription {
		return posthorn.Cancelled
	}
	return posthorn.Delivered
}

// kept are the publishes that the retention must leave: where it drops whole days, what was cancelled goes with its day.
func (a *agedStore) kept() []ledger.Publish {
	all := a.producer.since(0)
	kept := slices.Clone(all[a.old:])
	for _, p := range all[:a.old] {
		if p.Type == "chaos.held" || p.Type == "chaos.doomed" && a.store == sqliteStore {
			kept = append(kept, p)
		}
	}
	return kept
}

func eventsOf(f *ledger.Facts) map[posthorn.EventID]bool {
	events := map[posthorn.EventID]bool{}
	for i := range f.Publishes {
		events[f.Publishes[i].Event] = true
	}
	return events
}
