//go:build unix

package chaos_test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// soakDays pass in a soak: a cleanup that drops days by the hour of a clock on the wall would show nothing in an hour.
	soakDays = 24
	// soakClients publish at once, under soakOrders ordering keys, of which each has one delivery under way.
	soakClients, soakOrders = 16, 64
	// judgedFrom is the length from which on the store has dropped days before the first quarter has ended.
	judgedFrom = 12 * time.Minute
	// briefSoak at briefRate is part of `make test`: every kind of fault once, but for one whose end takes a lease.
	briefSoak, briefRate = 12 * time.Second, 100
	// aroundFault is how long before and after a fault a delivery counts as in flight.
	aroundFault = time.Second
)

// TestSoak runs a node of each store at half load for -chaos.minutes with a fault every minute, and wants what it holds to stay
// flat: what it needs after its first quarter it must not need more of at the end. The process that is measured is none
// that is killed, and the store's clock goes a day ahead time and again, so that the retention is seen at work.
func TestSoak(t *testing.T) {
	if *long && *minutes == 0 {
		t.Skip("`make soak`")
	}
	for _, store := range []string{sqliteStore, postgresStore} {
		t.Run(store, func(t *testing.T) {
			t.Parallel() // each has half the machine: an hour of both is an hour
			s := newSoak(t, store)
			s.run()
			s.judge()
		})
	}
}

// soak is one store's run.
type soak struct {
	*world
	node *node
	// other comes and is killed, where the store allows a second node.
	other *site
	meter meter

	lasts, every, day time.Duration
	began             time.Time
	// deliverable is how many events a second it delivered in a closed loop, rate how many it gets.
	deliverable  float64
	rate         int
	faults, days int
	hurt         []disturbance
}

// disturbance is a time in which deliveries may have been cut off.
type disturbance struct{ from, to time.Time }

func newSoak(t *testing.T, store string) *soak {
	t.Helper()
	lasts := time.Duration(*minutes * float64(time.Minute))
	if lasts == 0 {
		lasts = briefSoak
	}
	s := &soak{
		world: newWorld(t, store, soakClients, "POSTHORN_CLEANUP_EVERY=1m"),
		lasts: lasts, every: min(time.Minute, lasts/10), day: max(lasts/soakDays, 30*time.Second),
	}
	s.producer.counting, s.receiver.counting, s.receiver.count = true, true, newCount()
	s.producer.kinds[1].keys, s.producer.kinds[3].keys = soakOrders, soakOrders
	if store == postgresStore {
		s.setClock(0)
		s.other = newSite(t, s.site.env...)
	}
	s.node = s.site.start("").await()
	s.deliverable = s.measureRate(min(30*time.Second, lasts/10))
	if s.rate = *rate; s.rate == 0 {
		s.rate = max(int(s.deliverable/2), 1)
	}
	if *minutes == 0 {
		s.rate = min(s.rate, briefRate)
	}
	s.stop()
	s.began = time.Now()
	s.node = s.site.start(s.clock()).await()
	return s
}

// measureRate finds how many events a second are published and delivered for a producer that waits for its acknowledgements.
func (s *soak) measureRate(lasts time.Duration) float64 {
	s.t.Helper()
	began, sent := time.Now(), 0
	for time.Since(began) < lasts {
		if s.producer.waiting.Load() >= 2*soakClients {
			after(time.Millisecond)
			continue
		}
		s.producer.more(soakClients)
		sent += soakClients
	}
	if !s.drain(2 * time.Minute) {
		s.t.Fatalf("%d deliveries are pending after the rate was measured", s.pending())
	}
	return float64(sent) / time.Since(began).Seconds()
}

func (s *soak) stop() {
	s.t.Helper()
	s.node.stop()
}

// run is the whole time of load and faults.
func (s *soak) run() {
	s.t.Helper()
	say("soak %s: %d events/s for %s, of the %.0f/s that it delivers beside the other store", s.store, s.rate, s.lasts, s.deliverable)
	loading := make(chan struct{})
	go func() {
		defer close(loading)
		s.producer.at(s.rate, s.lasts)
	}()
	fault, line := s.began.Add(s.every), s.began.Add(time.Minute)
	for ; time.Since(s.began) < s.lasts; after(min(5*time.Second, s.lasts/60)) {
		s.passDays()
		if s.meter.measure(s.world, s.node, time.Since(s.began)); time.Now().After(fault) {
			fault = fault.Add(s.every)
			s.fault()
		}
		if time.Now().After(line) {
			line = line.Add(time.Minute)
			s.tell()
		}
	}
	<-loading
	if s.store == sqliteStore {
		from := time.Now()
		s.killed()
		s.disturbed(from)
	}
	if !s.drain(3 * time.Minute) {
		s.t.Errorf("%d events are not acknowledged and %d deliveries pending", s.producer.waiting.Load(), s.pending())
	}
	s.stop()
}

// tell is the line of a minute.
func (s *soak) tell() {
	requests, _, again := s.receiver.count.totals()
	last := s.meter.points[len(s.meter.points)-1]
	say("soak %s: %s of %s, %s events, %s requests, %d again, %d pending, %d faults, %d days, %.0f MiB memory, %.0f MiB stored, %.0f goroutines",
		s.store, time.Since(s.began).Round(time.Second), s.lasts, grouped(int(s.producer.next.Load()-s.producer.waiting.Load())), grouped(requests), len(again),
		s.pending(), s.faults, s.days, last.memory/(1<<20), last.disk/(1<<20), last.goroutines)
}

// clock makes the days pass in an embedded store, from now on.
func (s *soak) clock() string {
	if s.store == postgresStore {
		return ""
	}
	var points []string
	for n := 1; n < soakDays; n++ {
		at := "clock=step(24h)"
		if in := time.Until(s.began.Add(time.Duration(n) * s.day)); in > 0 {
			at += "~" + in.String()
		}
		points = append(points, at)
	}
	return strings.Join(points, ";")
}

// passDays counts the days that have begun, and makes them begin over PostgreSQL.
func (s *soak) passDays() {
	s.t.Helper()
	for s.days+1 < soakDays && time.Since(s.began) >= time.Duration(s.days+1)*s.day {
		s.days++
		from := s.began.Add(time.Duration(s.days) * s.day)
		if s.store == postgresStore {
			from = time.Now()
			s.setClock(time.Duration(s.days) * 24 * time.Hour)
		}
		s.disturbed(from)
	}
}

// disturbed notes that deliveries may have been cut off since a moment.
func (s *soak) disturbed(from time.Time) {
	s.hurt = append(s.hurt, disturbance{from.Add(-aroundFault), time.Now().Add(aroundFault)})
}

// killed kills the node and starts it again.
func (s *soak) killed() {
	s.t.Helper()
	s.node.Kill()
	s.node.Quiet = true
	s.node = s.site.start(s.clock()).await()
}

// fault is that of a minute.
func (s *soak) fault() {
	s.t.Helper()
	from, turn := time.Now(), s.faults%5
	s.faults++
	switch {
	case turn == 0: // a freeze, shorter than a lease
		s.node.Signal(syscall.SIGSTOP)
		after(2 * time.Second)
		s.node.Signal(syscall.SIGCONT)
	case turn == 1 && s.other != nil && *minutes > 0: // another node comes, works and is killed
		hurt := s.other.start("").await()
		s.producer.to(s.site.url(), s.other.url())
		after(min(10*time.Second, s.every/2))
		from = time.Now()
		hurt.Kill()
		hurt.Quiet = true
		s.producer.to(s.site.url())
	case turn == 1 && time.Since(s.began) < s.lasts/4: // an embedded store has one node: it is measured from its last start on
		s.killed()
	case turn <= 2 && s.redis == nil:
		s.flap("flaky")
	case turn == 2:
		s.redis.Stop()
		after(3 * time.Second)
		s.redis.Start()
	case turn == 3:
		s.flap("plain")
	default: // receivers close all their connections
		s.receiver.server.CloseClientConnections()
	}
	s.disturbed(from)
}

// flap lets a receiver fail for a while, and then recover.
func (w *world) flap(name string) {
	l := w.lanes[name]
	l.down.Store(true)
	after(2 * time.Second)
	l.down.Store(false)
}

// judge notes what was found.
func (s *soak) judge() {
	s.t.Helper()
	requests, altered, again := s.receiver.count.totals()
	events, waiting := int(s.producer.next.Load()), int(s.producer.waiting.Load())
	lost := s.receiver.count.lost(s.producer.kinds, events)
	unexplained := 0
	for _, r := range again {
		if !s.explained(r) {
			if unexplained++; unexplained <= 10 {
				s.t.Errorf("event %d was delivered to %s at %s and again at %s, without a fault", r.number, r.lane.name, r.first.Format(time.TimeOnly), r.then.Format(time.TimeOnly))
			}
		}
	}
	list := []figure{
		number("faults, and days that the store's clock went ahead", "", s.faults, true).and("%d", s.days),
		number("events acknowledged, deliveries requested", "", events-waiting, true).and("%s", grouped(requests)),
		number("events that a client which tries again could not publish", "0", waiting, waiting == 0),
		number("acknowledged deliveries lost", "0", lost, lost == 0),
		number("altered or wrongly signed", "0", altered, altered == 0),
		number("delivered twice, of them not in flight at a fault", "none", len(again), unexplained == 0).and("%d", unexplained),
	}
	for _, f := range s.meter.flat() {
		if s.lasts < judgedFrom {
			f.Goal, f.Kept = "", true
		}
		list = append(list, f)
	}
	figures.add(s.t, scenario{
		Name: "soak", Store: s.store, Seed: *seed, Figures: list,
		Length: fmt.Sprintf("%s of both stores at once, at %d events/s of the %.0f/s that it delivers in a closed loop beside the other; a fault every %s, a day passes every %s and 72 h are kept",
			s.lasts, s.rate, s.deliverable, s.every, s.day),
	})
}

// explained says whether what came again had been answered while something was hurt.
func (s *soak) explained(r repetition) bool {
	return slices.ContainsFunc(s.hurt, func(d disturbance) bool { return r.first.After(d.from) && r.first.Before(d.to) })
}
