//go:build unix

package chaos_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// stopWithin is how long a node may take to end after SIGTERM.
const stopWithin = 30 * time.Second

// length of a scenario: the short form is part of `make test`.
func lasting(brief, full time.Duration) time.Duration {
	if *long {
		return full
	}
	return brief
}

// TestStop sends SIGTERM to a node at 500 events a second and starts it again, several times over; to each of three
// nodes in turn where the store allows them, as a rolling restart does.
func TestStop(t *testing.T) { bothStores(t, stopUnderLoad) }

// bothStores runs a scenario over each store.
func bothStores(t *testing.T, scenario func(t *testing.T, store string)) {
	for _, store := range []string{sqliteStore, postgresStore} {
		t.Run(store, func(t *testing.T) {
			gently(t)
			scenario(t, store)
		})
	}
}

// gently runs the short form beside others, and the long one alone.
func gently(t *testing.T) {
	if !*long {
		t.Parallel()
	}
}

func stopUnderLoad(t *testing.T, store string) {
	const rate = 500
	times := 1
	if *long {
		times = 5
	}
	w := newWorld(t, store, 16)
	sites := []*site{w.site}
	if store == postgresStore {
		for range 2 {
			other := newSite(t, w.site.env...)
			sites = append(sites, other)
			w.producer.urls = append(w.producer.urls, other.url())
		}
	}
	nodes := make([]*node, len(sites))
	for i, s := range sites {
		nodes[i] = s.start("").await()
	}
	// One delivery of an order is under way at a time: with three orders this load would be a backlog.
	w.producer.kinds[1].keys, w.producer.kinds[3].keys = 64, 64
	start := w.mark()
	began := time.Now()
	ending := make(chan struct{})
	go func() {
		defer close(ending)
		w.producer.at(rate, time.Duration(times*len(sites))*2*time.Second+time.Second)
	}()
	var slowest time.Duration
	stops := 0
	for range times {
		for i, s := range sites {
			after(time.Second)
			at := nodes[i].Signal(syscall.SIGTERM)
			if err := nodes[i].Wait(stopWithin + time.Second); err != nil {
				t.Errorf("SIGTERM ended the node with %v", err)
			}
			slowest = max(slowest, time.Since(at))
			stops++
			nodes[i] = s.start("").await()
		}
	}
	<-ending
	drained, left := w.drain(time.Minute), w.pending()
	for _, n := range nodes {
		n.Signal(syscall.SIGTERM)
		_ = n.Wait(stopWithin)
	}
	if !drained {
		t.Errorf("%d deliveries are pending", left)
	}
	f := w.facts(start)
	f.Calm = true // what is stopped gives back or finishes what it has
	v := w.judge(f)
	figures.add(t, scenario{
		Name: "stop", Store: store, Seed: *seed, Length: fmt.Sprintf("%d stops in turn, %d nodes, %d events/s, %s", stops, len(sites), rate, time.Since(began).Round(time.Second)),
		Figures: []figure{
			length("slowest exit after SIGTERM", "30 s", slowest, slowest <= stopWithin),
			number("events acknowledged", "", v.events, true),
			number("events that a client which tries again could not publish", "0", int(w.producer.waiting.Load()), w.producer.waiting.Load() == 0),
			number("acknowledged events lost", "0", v.lost, v.lost == 0),
			number("delivered twice", "0", v.repeated, v.repeated == 0),
			number("other rules of the ledger broken", "0", len(v.violations)-v.lost, len(v.violations) == v.lost),
		},
	})
}
