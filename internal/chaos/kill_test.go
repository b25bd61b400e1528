//go:build unix

package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What a round of kills is made of.
const (
	roundEvents = 40
	// roundLasts is how long a node is given to reach its fail point before it is killed from outside.
	roundLasts = 1200 * time.Millisecond
	// queueLength is more than a lane has in flight at first.
	queueLength = 60
	// batch is how many rounds are judged together: over PostgreSQL their end costs a lease.
	sqliteBatch, postgresBatch = 25, 60
	// shortRounds over each store are part of `make test`.
	shortRounds = 12
	// wholeRounds are enough for every point to be reached.
	wholeRounds = 300
)

// TestKill kills a node with -9 at every fail point and at random, over one store that goes on, and publishes all the while.
func TestKill(t *testing.T) {
	for _, store := range []string{sqliteStore, postgresStore} {
		t.Run(store, func(t *testing.T) {
			gently(t)
			n := *rounds
			if n == 0 {
				n = shortRounds
			}
			killRounds(t, store, n)
		})
	}
}

// tally sums up the kills over one store.
type tally struct {
	verdict
	kills, byPoint int
	slowestUp      time.Duration
	points         map[string]int
}

func killRounds(t *testing.T, store string, n int) {
	w := newWorld(t, store, 8)
	size := sqliteBatch
	if store == postgresStore {
		size = postgresBatch
	}
	sum := tally{points: map[string]int{}}
	began := time.Now()
	for from := 0; from < n && !t.Failed(); from += size {
		w.killBatch(&sum, from, min(from+size, n))
	}
	took := time.Since(began)
	figures.add(t, scenario{
		Name: "kill", Store: store, Seed: *seed, Length: fmt.Sprintf("%d rounds in %s", n, took.Round(time.Second)),
		Figures: []figure{
			number("kill -9, of them at a fail point", "", sum.kills, true).and("%d", sum.byPoint),
			sum.unreached(n),
			number("events acknowledged", "", sum.events, true),
			number("acknowledged events lost", "0", sum.lost, sum.lost == 0),
			number("other rules of the ledger broken", "0", len(sum.violations)-sum.lost, len(sum.violations) == sum.lost),
			number("deliveries in flight or not yet recorded when their node was killed", "", sum.interrupted, true),
			number("delivered twice", "at most those", sum.repeated, sum.repeated <= sum.interrupted),
			number("delivered twice without a claim that a kill ended", "0", sum.unexplained, sum.unexplained == 0),
			length("slowest start after a kill", "", sum.slowestUp, true),
		},
	})
}

// killBatch hurts a node for some rounds, then lets one in peace until everything is settled, and judges.
func (w *world) killBatch(sum *tally, from, to int) {
	w.t.Helper()
	start := w.mark()
	var told []string
	for i := from; i < to; i++ {
		told = append(told, w.killRound(sum, i, start))
	}
	calm := w.site.start("").await()
	sum.slowestUp = max(sum.slowestUp, calm.up)
	if !w.drain(90*time.Second) || !w.replayed(90*time.Second) {
		w.t.Errorf("%s: %d events are not acknowledged and %d deliveries pending a minute and a half after the last kill",
			w.store, w.producer.waiting.Load(), w.pending())
	}
	calm.stop()
	v := w.judge(w.facts(start))
	sum.take(v)
	kept := "kept"
	if len(v.violations) > 0 {
		kept = "BROKEN"
	}
	for _, line := range told {
		say("%s: %s", line, kept)
	}
	say("%s rounds %d-%d: %d events, %d deliveries, %d requests, %d sent twice of %d in flight, %d rules broken", w.store, from+1, to,
		v.events, v.deliveries, v.requests, v.repeated, v.interrupted, len(v.violations))
}

func (s *tally) take(v verdict) {
	s.violations = append(s.violations, v.violations...)
	s.events += v.events
	s.deliveries += v.deliveries
	s.requests += v.requests
	s.lost += v.lost
	s.repeated += v.repeated
	s.interrupted += v.interrupted
	s.unexplained += v.unexplained
}

// killRound starts a node, publishes to it and kills it.
func (w *world) killRound(sum *tally, turn int, since mark) string {
	w.t.Helper()
	own := *seed + uint64(turn)
	hurt := draw(own, int(own%(turns*100)), w.store)
	if hurt.aged {
		return w.agedRound(sum, turn, own, hurt)
	}
	before := w.producer.acknowledged()
	began := time.Now()
	n := w.site.start(hurt.points)
	select {
	case <-n.listening:
	case <-time.After(patience):
		w.t.Fatalf("%s does not listen:\n%s", n.Name, n.LastLines(20))
	}
	switch {
	case hurt.slow:
		w.publishTo("slow", 3)
	case hurt.queue:
		w.publishTo("queued", queueLength)
	}
	w.producer.more(roundEvents)
	if hurt.changes {
		w.lanes["flaky"].down.Store(true)
	}
	w.provoke(n, hurt, dice(own), since)
	lasts := hurt.lasts
	if hurt.after > 0 {
		lasts = hurt.after
	}
	select {
	case <-n.Ended():
	case <-time.After(lasts):
	}
	n.Kill()
	w.lanes["flaky"].down.Store(false)
	outcome := sum.killed(n)
	_, refused := w.producer.between(began, time.Now())
	return fmt.Sprintf("%s round %d seed %d: %s, %s after %s, %d acknowledged, %s", w.store, turn+1, own, hurt, outcome,
		time.Since(began).Round(time.Millisecond), w.producer.acknowledged()-before, statuses(refused))
}

// killed counts a kill, and says whose it was.
func (s *tally) killed(n *node) string {
	s.kills++
	s.slowestUp = max(s.slowestUp, n.up)
	fired := n.fired()
	if n.Quiet = fired != ""; !n.Quiet {
		return "killed from outside"
	}
	point, _, _ := strings.Cut(fired, " ")
	s.byPoint++
	s.points[point]++
	return "killed itself"
}

// provoke does what a load alone does not.
func (w *world) provoke(n *node, hurt wound, d *rand.Rand, since mark) {
	w.t.Helper()
	switch {
	case hurt.replays:
		published := w.producer.since(since.publishes)
		if len(published) == 0 {
			return
		}
		event := published[d.IntN(len(published))].Event
		_, _, _, _ = w.producer.post(w.site.url()+"/events/"+event.String()+"/replay", []byte(`{}`))
	case hurt.copies:
		w.replayMany(since)
	case hurt.changes:
		w.changeMany(since)
	case hurt.stops:
		after(time.Duration(20+d.IntN(100)) * time.Millisecond)
		n.Signal(syscall.SIGTERM)
	}
}

// publishTo publishes some events to one lane alone: one that takes more than ten seconds, or one that soon has a queue.
func (w *world) publishTo(name string, n int) {
	one := &producer{
		t: w.t, client: w.producer.client, kinds: []kind{{"chaos." + name, []*lane{w.lanes[name]}, 0}}, journal: w.producer.journal,
		urls: w.producer.urls, retry: w.producer.retry,
	}
	for i := range n {
		one.waiting.Add(1)
		one.publish(1_000_000_000 + w.site.starts*2*queueLength + i)
	}
	w.producer.mu.Lock()
	w.producer.publishes = append(w.producer.publishes, one.publishes...)
	w.producer.mu.Unlock()
}
