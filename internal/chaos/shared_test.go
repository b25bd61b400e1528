//go:build unix

package chaos_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/ledger"
)

// TestSharedLease hands deliveries that a node has in flight to another one too, by setting their leases back in the store: both
// send them, both tell, and only the node with the younger claim may move them.
func TestSharedLease(t *testing.T) {
	gently(t)
	w := newWorld(t, postgresStore, 16)
	w.addLate()
	w.producer.kinds = w.producer.kinds[len(w.producer.kinds)-1:]
	other := newSite(t, w.site.env...)
	w.producer.urls = append(w.producer.urls, other.url())
	nodes := []*node{w.site.start("").await(), other.start("").await()}
	start := w.mark()
	lasts := lasting(3*time.Second, 20*time.Second)
	loading := make(chan struct{})
	go func() {
		defer close(loading)
		w.producer.at(20, lasts)
	}()
	d := dice(*seed)
	handed := 0
	for time.Since(start.at) < lasts {
		after(200*time.Millisecond + time.Duration(d.IntN(200))*time.Millisecond)
		handed += w.ask(`WITH taken AS (UPDATE deliveries SET queued = true, visible_at = now() - interval '1 second'
			WHERE state = 'pending' AND claim IS NOT NULL AND attempts <= 2 AND random() < 0.3 RETURNING 1) SELECT count(*) FROM taken`)[0]
	}
	<-loading
	if !w.drain(90 * time.Second) {
		t.Errorf("%d events are not acknowledged and %d deliveries pending", w.producer.waiting.Load(), w.pending())
	}
	after(2 * time.Second) // what was sent twice is told twice
	for _, n := range nodes {
		n.stop()
	}
	f := w.facts(start)
	v := w.judge(f)
	_, moved := again(f, start.at)
	told := toldLate(f)
	figures.add(t, scenario{Name: "shared lease", Store: w.store, Seed: *seed, Length: fmt.Sprintf("leases of deliveries in flight set back for %s, two nodes, 20 events/s to %d receivers each", lasts, lateLanes), Figures: []figure{
		number("leases set back", "", handed, true),
		number("results told by a node whose claim another had by then", "hundreds", told, told >= 100),
		number("of them, that moved a delivery", "0", moved, moved == 0),
		number("acknowledged events lost", "0", v.lost, v.lost == 0),
		number("delivered twice, of interrupted attempts", "at most those", v.repeated, v.unexplained == 0).and("%d", v.interrupted),
		number("other rules of the ledger broken", "0", len(v.violations)-v.lost, len(v.violations) == v.lost),
	}})
}

// toldLate counts the attempts that were answered and told although another node had made the next one: their rows are filled in
// and are not the delivery's last.
func toldLate(f ledger.Facts) (told int) {
	next := map[posthorn.DeliveryID]map[int]posthorn.NodeID{}
	for i := range f.Attempts {
		a := &f.Attempts[i]
		if next[a.DeliveryID] == nil {
			next[a.DeliveryID] = map[int]posthorn.NodeID{}
		}
		next[a.DeliveryID][a.Number-1] = a.Node
	}
	for i := range f.Attempts {
		a := &f.Attempts[i]
		if by, ok := next[a.DeliveryID][a.Number]; ok && a.Outcome == posthorn.Succeeded && by != a.Node {
			told++
		}
	}
	return told
}
