package bench

import (
	"context"
	"time"
)

const (
	// turns is how often the server and the forwarder take turns at their loads: a machine that gets slower counts against both.
	turns = 4
	// rest comes before each turn, for what the one before has left to do; it is no longer than a turn.
	rest = 500 * time.Millisecond
)

// side is one of those that take turns: whom it publishes to, where that arrives, and what it has come to so far.
type side struct {
	scenario  Scenario
	client    *client
	receiver  *receiver
	processes []process

	load     loadResult
	expected int
	// took is from the begin of each turn until all of it had arrived.
	took time.Duration
	cost []cost
	work work
	// counted says that work could be read.
	counted bool
}

// measure runs a scenario's load, in turns with the forwarder's where there is one, and sums up. What the server does while it
// is not its turn counts among its costs.
func measure(ctx context.Context, o Options, ours *side) (result, limit *Result, err error) {
	ours.begin(ctx)
	duration := ours.scenario.duration(&o)
	if !o.Baseline || ours.scenario.Limit == "" {
		if err := ours.turn(ctx, o, duration); err != nil {
			return nil, nil, err
		}
		return ours.result(ctx), nil, nil
	}
	forwarder, stop, err := startForwarder(ctx, o, find(ours.scenario.Limit))
	if err != nil {
		return nil, nil, err
	}
	defer stop()
	forwarder.begin(ctx)
	for range turns {
		for _, s := range []*side{forwarder, ours} {
			time.Sleep(min(rest, duration/turns))
			if err := s.turn(ctx, o, duration/turns); err != nil {
				return nil, nil, err
			}
		}
	}
	return ours.result(ctx), forwarder.result(ctx), nil
}

// begin notes what everything has cost before.
func (s *side) begin(ctx context.Context) {
	s.cost = costs(s.processes)
	s.work, s.counted = s.client.work(ctx)
}

// turn runs the load for a while and waits until everything has arrived.
func (s *side) turn(ctx context.Context, o Options, duration time.Duration) error {
	start := time.Now()
	var load loadResult
	var err error
	if s.scenario.Backlog > 0 {
		load, start, err = drain(ctx, s.client, s.receiver, s.scenario)
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
func (s *side) result(ctx context.Context) *Result {
	after := costs(s.processes)
	r := summarize(s.scenario, s.load, s.receiver, s.took, s.expected)
	r.Processes = spent(s.processes, s.cost, after, r.Delivered)
	if now, ok := s.client.work(ctx); ok && s.counted && r.Delivered > 0 {
		r.Commits = (now.transactions - s.work.transactions) / float64(r.Delivered)
		r.Statements = (now.statements - s.work.statements) / float64(r.Delivered)
	}
	return r
}

// drain publishes to a paused subscription and measures from its resumption.
func drain(ctx context.Context, c *client, r *receiver, s Scenario) (loadResult, time.Time, error) {
	id := c.subscriptions[0]
	if err := c.post(ctx, "/subscriptions/"+id+"/pause", nil, nil); err != nil {
		return loadResult{}, time.Time{}, err
	}
	load := loadResult{}
	for load.accepted < s.Backlog {
		if err := c.publishBatch(ctx, eventType(0), 500, s.Payload); err != nil {
			return load, time.Time{}, err
		}
		load.accepted += 500
	}
	start := time.Now()
	r.restart(start)
	return load, start, c.post(ctx, "/subscriptions/"+id+"/resume", nil, nil)
}
