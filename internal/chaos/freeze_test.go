//go:build unix

package chaos_test

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/ledger"
)

// TestFreeze stops one of two nodes with SIGSTOP for longer than a lease while it has deliveries in flight, and kills the other: what
// they had starts again within a lease, and what the frozen one tells when it wakes moves nothing.
func TestFreeze(t *testing.T) {
	if !*long {
		t.Skip("a lease takes half a minute: internal/clustertest has one of each")
	}
	w := newWorld(t, postgresStore, 16)
	usual := w.producer.kinds
	w.addLate()
	other, third := newSite(t, w.site.env...), newSite(t, w.site.env...)
	w.producer.urls = append(w.producer.urls, other.url())
	frozen, killed := w.site.start("").await(), other.start("").await()
	start := w.mark()
	w.producer.at(100, time.Second)
	if !w.producer.settle(5 * time.Second) {
		t.Error("events are not acknowledged")
	}
	at := frozen.Signal(syscall.SIGSTOP)
	killed.Kill()
	last := third.start("").await()
	w.producer.to(third.url())
	w.producer.kinds = usual
	w.producer.at(300, 2*time.Second)
	after(time.Until(at.Add(posthorn.Lease + 4*time.Second)))
	frozen.Signal(syscall.SIGCONT)
	w.producer.at(100, 2*time.Second)
	w.finish("freeze", 200, fmt.Sprintf("SIGSTOP for %s and kill -9 of another node, with hundreds of deliveries in flight", posthorn.Lease+4*time.Second), start, at, frozen, last)
}

// TestLease holds a node's results back for longer than its leases by fail points, which a frozen network would do too: two nodes
// then have the same deliveries, and only one of them may move each.
func TestLease(t *testing.T) {
	if !*long {
		t.Skip("a lease takes half a minute: internal/storetest and internal/clustertest have what is brief")
	}
	w := newWorld(t, postgresStore, 16)
	other := newSite(t, w.site.env...)
	held := posthorn.Lease + 5*time.Second
	late := w.site.start(fmt.Sprintf("record.before=delay(%s)@5;renew.before=error", held)).await()
	after(100 * time.Millisecond)
	start := w.mark()
	at := time.Now()
	w.producer.at(200, 2*time.Second)
	second := other.start("").await()
	after(held + 2*time.Second)
	w.producer.at(100, time.Second)
	w.finish("lease", 1, "results held back for "+held.String()+" and renewals refused", start, at, late, second)
}

// lateLanes are so many that what a node had of each starts again at once, below what a lane lets be in flight.
const lateLanes = 16

// addLate adds receivers that take their time, so that a node has hundreds of deliveries in flight when it is hurt.
func (w *world) addLate() {
	w.t.Helper()
	first := w.site.start("").await()
	late := kind{name: "chaos.late"}
	for n := range lateLanes {
		l := &lane{name: fmt.Sprintf("late-%d", n), takes: 1500 * time.Millisecond}
		w.lanes[l.name] = l
		w.add(l, map[string]any{"url": w.receiver.url(l.name), "event_types": []string{late.name}, "timeout_seconds": 30})
		late.lanes = append(late.lanes, l)
	}
	w.producer.kinds = append(slices.Clone(w.producer.kinds), late)
	first.Kill()
}

// finish drains, ends the nodes, judges, and notes what a lost lease must look like.
func (w *world) finish(name string, least int, how string, start mark, hurt time.Time, nodes ...*node) {
	w.t.Helper()
	if !w.drain(90 * time.Second) {
		w.t.Errorf("%d events are not acknowledged and %d deliveries pending", w.producer.waiting.Load(), w.pending())
	}
	after(2 * time.Second) // what wakes late still tells its results
	for _, n := range nodes {
		n.stop()
	}
	f := w.facts(start)
	v := w.judge(f)
	resumed, stale := again(f, hurt)
	list := []figure{
		number("events acknowledged", "", v.events, true),
		number("attempts whose lease was lost", fmt.Sprintf("at least %d", least), v.interrupted, v.interrupted >= least),
		length("the last of them started again, after the fault", "30 s", resumed, resumed <= 30*time.Second),
		number("stale results that moved a delivery", "0", stale, stale == 0),
		number("acknowledged events lost", "0", v.lost, v.lost == 0),
		number("delivered twice", "at most the lost leases", v.repeated, v.unexplained == 0),
		number("other rules of the ledger broken", "0", len(v.violations)-v.lost, len(v.violations) == v.lost),
	}
	figures.add(w.t, scenario{Name: name, Store: w.store, Seed: *seed, Length: how, Figures: list})
}

// again finds how long after a fault, or after its own start where that was later, a lost attempt was made anew at the latest, and
// counts the deliveries that an attempt completed which was not the last.
func again(f ledger.Facts, at time.Time) (slowest time.Duration, stale int) {
	rows := map[posthorn.DeliveryID]map[int]*posthorn.Attempt{}
	for i := range f.Attempts {
		a := &f.Attempts[i]
		if rows[a.DeliveryID] == nil {
			rows[a.DeliveryID] = map[int]*posthorn.Attempt{}
		}
		rows[a.DeliveryID][a.Number] = a
	}
	for i := range f.Deliveries {
		d := &f.Deliveries[i]
		for number, a := range rows[d.ID] {
			next := rows[d.ID][number+1]
			if next == nil {
				continue
			}
			if a.Outcome == posthorn.Interrupted || a.Outcome == posthorn.Succeeded {
				slowest = max(slowest, min(next.StartedAt.Sub(at), next.StartedAt.Sub(a.StartedAt)))
			}
			if d.State == posthorn.Delivered && d.CompletedAt.Equal(a.RecordedAt) {
				stale++
			}
		}
	}
	return slowest, stale
}
