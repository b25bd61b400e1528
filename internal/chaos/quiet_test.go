//go:build unix

package chaos_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/clustertest"
	"github.com/posthorn/posthorn/internal/seal"
)

// TestFirstStart kills nodes with -9 while they make their schema and their keys, each over a store of its own, and then lets one
// start: it serves.
func TestFirstStart(t *testing.T) { bothStores(t, firstStart) }

func firstStart(t *testing.T, store string) {
	times := 5
	if *long {
		times = 60
	}
	if store == postgresStore {
		times /= 5 // the lock of a migration that was killed is a lease of half a minute
	}
	d := dice(*seed)
	served, killed, slowest := 0, 0, time.Duration(0)
	began := time.Now()
	for range times {
		settings := []string{"POSTHORN_DATA_DIR=" + t.TempDir()}
		if store == postgresStore {
			settings = append(settings, "DATABASE_URL="+clustertest.NewDatabase(t), "POSTHORN_ENCRYPTION_KEYS="+seal.Generate())
		}
		s := newSite(t, settings...)
		for range 1 + d.IntN(3) {
			n := s.start(fmt.Sprintf("migrate.before=kill~%dus", 1+d.IntN(60_000)))
			select {
			case <-n.Ended():
			case <-time.After(time.Second):
			}
			n.Kill()
			n.Quiet = true
			killed++
		}
		n := s.start("").await()
		slowest = max(slowest, n.up)
		p := newProducer(t, 1, []kind{{"chaos.first", nil, 0}}, s.url())
		p.more(1)
		if p.settle(10 * time.Second) {
			served++
		}
		n.Kill()
	}
	figures.add(t, scenario{Name: "first start", Store: store, Seed: *seed, Length: fmt.Sprintf("%d stores in %s", times, time.Since(began).Round(time.Second)), Figures: []figure{
		number("kill -9 while a store was made", "", killed, true),
		number("stores that the next start could not use", "0", times-served, served == times),
		length("slowest start after them", "", slowest, true),
	}})
}

// TestBlackHole has 10,000 deliveries wait for receivers that never answer: the others notice nothing.
func TestBlackHole(t *testing.T) { bothStores(t, blackHole) }

func blackHole(t *testing.T, store string) {
	waiting := 500
	if *long {
		waiting = 10_000
	}
	w := newWorld(t, store, 16)
	start := w.mark()
	n := w.site.start("").await()
	all := w.producer.kinds
	w.producer.kinds = []kind{{"chaos.hole", []*lane{w.lanes["hole"]}, 0}}
	w.producer.more(waiting)
	if !w.producer.settle(2 * time.Minute) {
		t.Fatal("the black hole's events are not acknowledged")
	}
	w.producer.kinds = all
	began := time.Now()
	w.producer.at(100, lasting(2*time.Second, 10*time.Second))
	if !w.producer.settle(10 * time.Second) {
		t.Error("events are not acknowledged")
	}
	if !eventually(20*time.Second, func() bool { return w.pending() <= waiting }) {
		t.Errorf("%d deliveries are pending, want the %d of the black hole", w.pending(), waiting)
	}
	slowest := w.slowestSince(began, w.lanes["hole"])
	memory := residentOf(n.PID())
	figures.add(t, scenario{Name: "black hole", Store: store, Seed: *seed, Length: fmt.Sprintf("%s deliveries to a receiver that never answers", grouped(waiting)), Figures: []figure{
		prompt("first attempt of the other lanes after the acknowledgement, 99th percentile", time.Second, slowest),
		{What: "memory of the node", Value: fmt.Sprintf("%d MiB", memory>>20), Kept: true},
	}})
	w.receiver.release()
	if !w.drain(2 * time.Minute) {
		t.Errorf("%d deliveries are pending after the receiver answers", w.pending())
	}
	n.Signal(syscall.SIGTERM)
	_ = n.Wait(stopWithin)
	w.judge(w.facts(start))
}

// TestCalm delivers without any fault: nothing may come twice.
func TestCalm(t *testing.T) { bothStores(t, calmly) }

func calmly(t *testing.T, store string) {
	n := max(*calm, 1000)
	w := newWorld(t, store, 64)
	w.producer.kinds = []kind{{"chaos.all", []*lane{w.lanes["plain"], w.lanes["ordered"], w.lanes["flaky"]}, 64}}
	w.lanes["flaky"].flaky = false
	w.receiver.count, w.receiver.counting, w.producer.counting = newCount(), n > 20_000, n > 20_000
	node := w.site.start("").await()
	start := w.mark()
	began := time.Now()
	events := (n + 2) / 3
	for sent := 0; sent < events; {
		step := min(5000, events-sent)
		w.producer.more(step)
		sent += step
		if !w.producer.settle(5 * time.Minute) {
			t.Fatal("events are not acknowledged")
		}
	}
	if !w.drain(10 * time.Minute) {
		t.Errorf("%d deliveries are pending", w.pending())
	}
	took := time.Since(began)
	node.Signal(syscall.SIGTERM)
	_ = node.Wait(stopWithin)
	requests, altered, again := w.receiver.count.totals()
	lost, repeated := w.receiver.count.lost(w.producer.kinds, events), len(again)
	broken := altered + w.unlikeCalm(events)
	if !w.receiver.counting {
		f := w.facts(start)
		f.Calm = true
		broken += len(w.judge(f).violations)
	}
	figures.add(t, scenario{Name: "calm", Store: store, Seed: *seed, Length: fmt.Sprintf("%s deliveries in %s", grouped(events*3), took.Round(time.Second)), Figures: []figure{
		number("requests", "", requests, requests == events*3),
		number("acknowledged deliveries lost", "0", lost, lost == 0),
		number("delivered twice", "0", repeated, repeated == 0),
		number("rules of the ledger broken", "0", broken, broken == 0),
	}})
}

// unlikeCalm counts the rows that so many events without any fault would not have left: each event has its three deliveries, and
// each of them succeeded at its only attempt.
func (w *world) unlikeCalm(events int) (rows int) {
	w.t.Helper()
	is := w.ask(`SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM deliveries),
		(SELECT count(*) FROM (SELECT DISTINCT event_id, subscription_id FROM deliveries) AS d),
		(SELECT count(*) FROM deliveries WHERE state = ` + w.state(posthorn.Delivered) + ` AND attempts = 1),
		(SELECT count(*) FROM attempts), (SELECT count(DISTINCT delivery_id) FROM attempts WHERE number = 1 AND outcome = 'succeeded')`)
	for i, want := range []int{events, 3 * events, 3 * events, 3 * events, 3 * events, 3 * events} {
		rows += max(is[i]-want, want-is[i])
	}
	if rows > 0 {
		w.t.Errorf("events, deliveries, different ones, successes of one attempt, attempts, deliveries with one: %d of %d events", is, events)
	}
	return rows
}
