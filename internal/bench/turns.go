package bench

import (
	"context"
	"time"
)

const (
	// loopTurns and rateTurns are how often those that take turns have theirs: a machine that gets slower, or a disk that hiccups,
	// counts against all. At a fixed rate a turn needs no time to get under way, and a percentile rests on few requests.
	loopTurns, rateTurns = 4, 16
	// rest comes before each turn, for what the one before has left to do; it is no longer than a turn.
	rest = 500 * time.Millisecond
)

// side is one of those that take turns: whom it publishes to, where that arrives, and what it has come to so far.
type side struct {
	scenario  Scenario
	client    *client
	receiver  *receiver
	processes []process
	// noisy are subscriptions that are paused but for this side's turns.
	noisy []string

	load     loadResult
	expected int
	// took is from the begin of each turn until all of it had arrived.
	took time.Duration
	used meter
}

// takeTurns runs the sides' loads, for as long as the last one's scenario lasts. What a server does until the end of a side's turn counts
// among that side's costs, from the end of the turn before at the same server.
func takeTurns(ctx context.Context, o Options, sides ...*side) error {
	turns, own := 1, sides[len(sides)-1].scenario
	if len(sides) > 1 {
		turns = loopTurns
		if own.Rate > 0 {
			turns = rateTurns
		}
	}
	each := own.duration(&o) / time.Duration(turns)
	until := map[string]meter{}
	for _, s := range sides {
		until[s.client.url] = s.read(ctx)
	}
	for range turns {
		for _, s := range sides {
			if err := s.hush(ctx, "resume"); err != nil {
				return err
			}
			if turns > 1 {
				time.Sleep(min(rest, each))
			}
			if err := s.turn(ctx, o, each); err != nil {
				return err
			}
			if err := s.hush(ctx, "pause"); err != nil {
				return err
			}
			now := s.read(ctx)
			s.used.add(until[s.client.url], now)
			until[s.client.url] = now
		}
	}
	return nil
}

// hush pauses or resumes the noisy subscriptions.
func (s *side) hush(ctx context.Context, what string) error {
	for _, id := range s.noisy {
		if err := s.client.post(ctx, "/subscriptions/"+id+"/"+what, nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// turn runs the load for a while and waits until everything has arrived.
func (s *side) turn(ctx context.Context, o Options, duration time.Duration) error {
	start := time.Now()
	var load loadResult
	var err error
	if s.scenario.Backlog > 0 {
		load, start, err = s.drain(ctx)
	} else {
		load, err = publish(ctx, o, s.scenario, s.client, duration)
	}
	if err != nil {
		return err
	}
	s.load.add(load)
	s.expected += load.accepted
	if s.scenario.Fanout {
		s.expected += load.accepted * (s.scenario.Subscriptions - 1)
	}
	last := s.receiver.await(ctx, s.expected, time.Minute)
	if last.Before(start) {
		last = time.Now() // nothing came
	}
	s.took += last.Sub(start)
	return nil
}

// result sums the turns up.
func (s *side) result() *Result {
	r := summarize(s.scenario, s.load, s.receiver, s.took, s.expected)
	if r.Delivered == 0 {
		return r
	}
	r.Processes = spent(s.processes, s.used.costs, r.Delivered)
	r.Commits = s.used.work.transactions / float64(r.Delivered)
	r.Statements = s.used.work.statements / float64(r.Delivered)
	return r
}

// meter is what a side's processes have used, and what its server has asked of the database.
type meter struct {
	costs []cost
	work  work
}

func (s *side) read(ctx context.Context) meter { return meter{costs(s.processes), s.client.work(ctx)} }

// add counts what was used from one reading until another. Memory is that of the latter.
func (m *meter) add(from, to meter) {
	if m.costs == nil {
		m.costs = make([]cost, len(to.costs))
	}
	for i, c := range to.costs {
		m.costs[i].cpu += c.cpu - from.costs[i].cpu
		m.costs[i].resident = c.resident
	}
	m.work.transactions += to.work.transactions - from.work.transactions
	m.work.statements += to.work.statements - from.work.statements
}

// drain publishes to a paused subscription and measures from its resumption.
func (s *side) drain(ctx context.Context) (loadResult, time.Time, error) {
	id := s.client.subscriptions[0]
	load := loadResult{}
	if err := s.client.post(ctx, "/subscriptions/"+id+"/pause", nil, nil); err != nil {
		return load, time.Time{}, err
	}
	for load.accepted < s.scenario.Backlog {
		if err := s.client.publishBatch(ctx, s.scenario.eventType(0), 500, s.scenario.Payload); err != nil {
			return load, time.Time{}, err
		}
		load.accepted += 500
	}
	start := time.Now()
	s.receiver.restart(start)
	return load, start, s.client.post(ctx, "/subscriptions/"+id+"/resume", nil, nil)
}
