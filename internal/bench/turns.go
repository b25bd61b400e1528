package bench

import (
	"context"
	"fmt"
	"os"
	"time"
)

const (
	// loopTurns and rateTurns are how often those that take turns have theirs: a machine that gets slower, or a disk that hiccups,
	// counts against all. At a fixed rate a percentile rests on few requests, so there are more.
	loopTurns, rateTurns = 4, 8
	// rest comes before each turn, for what the one before has left to do; it is no longer than a turn.
	rest = 500 * time.Millisecond
	// settle comes after the last turn, for what the server puts off, such as adding up statistics; it is no longer than the load.
	settle = 15 * time.Second
)

// side is one of those that take turns: whom it publishes to, where that arrives, and what it has come to so far.
type side struct {
	scenario Scenario
	server   *server
	client   *client
	receiver *receiver
	// isForwarder says that it uses nothing of what the servers share.
	isForwarder bool
	// stored and idleMB are what was there, and what the server had resident, before the load.
	stored int
	idleMB float64

	load     loadResult
	expected int
	// took is from the begin of each turn until all of it had arrived, and rates what arrived per second in each.
	took  time.Duration
	rates []float64
	// cost and work are what the server has used from the first turn on, and shared what the watched processes did in its time.
	cost   cost
	work   work
	shared []cost
}

// prepare starts a server for a scenario, unless there is a target, and makes a receiver and the subscriptions.
func prepare(ctx context.Context, o Options, s Scenario) (*side, error) {
	made := &side{scenario: s}
	var err error
	if made.server, err = serverFor(ctx, o); err != nil {
		return nil, err
	}
	made.client = newClient(made.server.url, made.server.key, o.Clients)
	if made.receiver, err = newReceiver(s.Delay); err == nil {
		err = made.subscribe(ctx)
	}
	if err != nil {
		made.leave(ctx)
		return nil, err
	}
	return made, nil
}

// startForwarder starts the forwarder for a scenario's loop.
func startForwarder(ctx context.Context, o Options, s Scenario) (*side, error) {
	f := &side{scenario: s, isForwarder: true}
	var err error
	if f.receiver, err = newReceiver(s.Delay); err != nil {
		return nil, err
	}
	if f.server, err = start(ctx, o, "bench", "--forward-to", f.receiver.url("s0")); err != nil {
		f.receiver.close()
		return nil, err
	}
	f.server.process.name = "forwarder"
	f.client = newClient(f.server.url, "", o.Clients)
	return f, nil
}

// leave removes the subscriptions and stops everything.
func (s *side) leave(ctx context.Context) {
	s.client.unsubscribe(context.WithoutCancel(ctx))
	if s.receiver != nil {
		s.receiver.close()
	}
	s.server.stop()
}

// subscribe makes the side's subscriptions, and has deliveries wait for one that hangs.
func (s *side) subscribe(ctx context.Context) error {
	for i := range s.scenario.Subscriptions {
		kind := eventType(i)
		if s.scenario.Fanout {
			kind = eventType(0)
		}
		if err := s.client.subscribe(ctx, s.receiver.url(fmt.Sprint("s", i)), kind); err != nil {
			return err
		}
	}
	s.idleMB = costOf(s.server.process.pid).megabytes()
	if s.scenario.Hanging == 0 {
		return nil
	}
	const noise = "bench.noise"
	if err := s.client.subscribe(ctx, s.receiver.url("hang"), noise); err != nil {
		return err
	}
	return s.client.publishMany(ctx, noise, s.scenario.Hanging, s.scenario.Payload)
}

// store has so many deliveries made and counts them for nothing.
func (s *side) store(ctx context.Context, deliveries int) error {
	if err := s.client.publishMany(ctx, eventType(0), deliveries, 200); err != nil {
		return err
	}
	s.receiver.await(ctx, deliveries, time.Minute)
	if arrived := s.receiver.arrived(); arrived < deliveries {
		return fmt.Errorf("only %d of %d deliveries to store arrived", arrived, deliveries)
	}
	s.receiver.forget()
	s.stored = deliveries
	return nil
}

// takeTurns runs the sides' loads, for as long as the last one's scenario lasts. What a server does costs it until the end, also
// between its turns; what the watched processes do costs the server that had its turn last.
func takeTurns(ctx context.Context, o Options, sides ...*side) error {
	turns, own := 1, sides[len(sides)-1].scenario
	if len(sides) > 1 {
		turns = loopTurns
		if own.Rate > 0 {
			turns = rateTurns
		}
	}
	each := own.duration(&o) / time.Duration(turns)
	bill := account{processes: watched(o.Watch)}
	for _, s := range sides {
		s.begin(ctx)
	}
	for range turns {
		for _, s := range sides {
			if len(sides) > 1 {
				time.Sleep(min(rest, each))
			}
			if !s.isForwarder {
				bill.to(s)
			}
			if err := s.turn(ctx, o, each); err != nil {
				return err
			}
		}
	}
	time.Sleep(min(settle, own.duration(&o)))
	bill.to(nil)
	for _, s := range sides {
		s.end(ctx)
	}
	return nil
}

// account divides what the watched processes cost.
type account struct {
	processes []process
	owner     *side
	since     []cost
}

// to makes a side pay from now on.
func (a *account) to(s *side) {
	now := costs(a.processes)
	if a.owner != nil {
		if a.owner.shared == nil {
			a.owner.shared = make([]cost, len(now))
		}
		for i := range now {
			a.owner.shared[i].cpu += now[i].cpu - a.since[i].cpu
		}
	}
	a.owner, a.since = s, now
}

// begin and end read what the server has used before the first turn and after the last.
func (s *side) begin(ctx context.Context) {
	s.cost, s.work = costOf(s.server.process.pid), s.client.work(ctx)
}

func (s *side) end(ctx context.Context) {
	now := costOf(s.server.process.pid)
	s.cost = cost{now.cpu - s.cost.cpu, now.resident}
	s.work = s.client.work(ctx).since(s.work)
}

// turn runs the load for a while and waits until everything has arrived.
func (s *side) turn(ctx context.Context, o Options, duration time.Duration) error {
	start, before := time.Now(), s.receiver.arrived()
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
	expected := load.accepted
	if s.scenario.Fanout {
		expected *= s.scenario.Subscriptions
	}
	s.expected += expected
	last := s.receiver.await(ctx, before+expected, time.Minute)
	if last.Before(start) {
		last = time.Now() // nothing came
	}
	took := last.Sub(start)
	s.took += took
	s.rates = append(s.rates, float64(s.receiver.arrived()-before)/took.Seconds())
	return nil
}

// drain publishes to a paused subscription and measures from its resumption.
func (s *side) drain(ctx context.Context) (loadResult, time.Time, error) {
	at := "/subscriptions/" + s.client.subscriptions[0]
	load := loadResult{accepted: s.scenario.Backlog}
	if err := s.client.post(ctx, at+"/pause", nil, nil); err != nil {
		return load, time.Time{}, err
	}
	if err := s.client.publishMany(ctx, eventType(0), s.scenario.Backlog, s.scenario.Payload); err != nil {
		return load, time.Time{}, err
	}
	start := time.Now()
	s.receiver.restart(start)
	return load, start, s.client.post(ctx, at+"/resume", nil, nil)
}

// result sums the turns up.
func (s *side) result(o Options) *Result {
	r := summarize(s.scenario, s.load, s.receiver, s.took, s.expected)
	r.Turns, r.IdleMB, r.Stored = s.rates, s.idleMB, s.stored
	if r.Delivered == 0 {
		return r
	}
	thousands := float64(r.Delivered) / 1000
	if s.server.process.pid != 0 {
		r.Processes = append(r.Processes, ProcessCost{s.server.process.name, s.cost.cpu.Seconds() / thousands, s.cost.megabytes()})
	}
	for i, c := range s.shared {
		// What is resident of many processes that share memory cannot be added up.
		r.Processes = append(r.Processes, ProcessCost{Name: watched(o.Watch)[i].name, CPUPerThousand: c.cpu.Seconds() / thousands})
	}
	if s.work.known {
		r.Commits, r.Statements = s.work.transactions/float64(r.Delivered), s.work.statements/float64(r.Delivered)
	}
	return r
}

func eventType(i int) string { return fmt.Sprintf("bench.t%d", i) }

// secondStore is the options of a run beside another's: over a store of its own, false where there is none.
func (o Options) secondStore() (Options, bool) {
	_, named := os.LookupEnv("DATABASE_URL")
	if o.Target != "" || named && len(o.Second) == 0 {
		return o, false
	}
	o.Env = append(o.Env[:len(o.Env):len(o.Env)], o.Second...)
	return o, true
}
