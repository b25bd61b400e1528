// Package bench measures a whole node from outside: it starts the server as a process of its own (or targets one that
// runs), publishes over HTTP, receives in its own receiver, and reports rates, latencies, losses, duplicates and what each
// process cost. It uses nothing but the public API.
package bench

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"time"
)

// Options of a run.
type Options struct {
	// Binary is the posthorn to start; Env is added to its environment (DATABASE_URL, REDIS_URL, …).
	Binary string
	Env    []string
	// Before is a shell command that comes before each scenario, such as one that empties the database: what the last scenario
	// stored would cost the next.
	Before string
	// Target, when set, is the URL of a server that runs already, with its key; nothing is started then.
	Target, Key string
	// Scenarios by name; empty runs all.
	Scenarios []string
	// Duration of each timed scenario, Clients of each closed loop.
	Duration time.Duration
	Clients  int
	// Stored overrides how many deliveries the scenario lists makes first.
	Stored int
	// Baseline runs the same loop through a forwarder without storage, in the same run.
	Baseline bool
	// Watch names processes whose cost is reported beside the server's, such as PostgreSQL's, by process id.
	Watch map[string]int
	Log   io.Writer
}

// Scenario is one kind of load.
type Scenario struct {
	Name, What string
	// Rate is events per second in an open loop; 0 is a closed loop of Options.Clients.
	Rate int
	// Payload bytes of each event, Batch events per request.
	Payload, Batch int
	// Subscriptions that are made; each event goes to one of them, or to all with Fanout.
	Subscriptions int
	Fanout        bool
	// Delay of the receivers.
	Delay time.Duration
	// Hanging adds a subscription that never answers, with this many deliveries waiting.
	Hanging int
	// Backlog is published while the subscription is paused, and drained.
	Backlog int
	// Comparison names the scenario this one's figures are to be held against. Beside says that the two take turns at one server.
	Comparison string
	Beside     bool
	// Limit names the scenario whose loop the forwarder runs in turns with this one, to show what the machine could do meanwhile;
	// empty for none.
	Limit string
	// Stored deliveries are made first and counted for nothing: the run is over a store that holds them. Options.Stored, when
	// set, says how many instead.
	Stored int
	// Abuse has strangers attack in every second round of the load.
	Abuse bool
	// Long scenarios last four times as long as others: their percentiles rest on few requests, or the beginning, in which
	// lanes and connections are made, must not count for much.
	Long bool
}

// duration is how long a scenario's load lasts.
func (s *Scenario) duration(o *Options) time.Duration {
	if s.Long {
		return 4 * o.Duration
	}
	return o.Duration
}

// Scenarios are all there are, in the order they run: what is held against another stands close to it, as rates drift with the
// machine.
var Scenarios = []Scenario{
	{Name: "throughput", What: "closed loop, 1 KB, one subscription", Payload: 1024, Batch: 1, Subscriptions: 1, Limit: "throughput", Long: true},
	{Name: "batch", What: "closed loop, batches of 100", Payload: 1024, Batch: 100, Subscriptions: 1, Limit: "throughput", Long: true},
	{Name: "many", What: "10,000 subscriptions, each event to one", Payload: 1024, Batch: 1, Subscriptions: 10_000, Limit: "throughput", Comparison: "throughput", Long: true},
	{Name: "latency", What: "200 events/s, 1 KB", Rate: 200, Payload: 1024, Batch: 1, Subscriptions: 1, Limit: "latency", Long: true},
	{Name: "fanout", What: "one event to 50 subscriptions", Payload: 1024, Batch: 1, Subscriptions: 50, Fanout: true},
	{Name: "large", What: "200 KB payloads", Payload: 200_000, Batch: 1, Subscriptions: 1, Limit: "large"},
	{Name: "spread", What: "50 receivers that answer at once", Payload: 1024, Batch: 1, Subscriptions: 50, Limit: "throughput", Long: true},
	{Name: "slow", What: "50 receivers that take 200 ms", Payload: 1024, Batch: 1, Subscriptions: 50, Delay: 200 * time.Millisecond, Limit: "throughput", Comparison: "spread", Beside: true, Long: true},
	{Name: "quiet", What: "200 events/s to 10 healthy subscriptions", Rate: 200, Payload: 1024, Batch: 1, Subscriptions: 10, Long: true},
	{
		Name: "noisy", What: "the same beside a hanging one with 10,000 waiting, which is paused for the turns of `quiet`", Rate: 200, Payload: 1024,
		Batch: 1, Subscriptions: 10, Hanging: 10_000, Comparison: "quiet", Beside: true, Long: true,
	},
	{Name: "backlog", What: "drain 100,000 waiting deliveries", Payload: 1024, Batch: 100, Subscriptions: 1, Backlog: 100_000},
	{
		Name: "lists", What: "closed loop and questions over many stored deliveries", Payload: 1024, Batch: 1, Subscriptions: 1,
		Stored: 1_000_000, Limit: "throughput", Comparison: "throughput", Long: true,
	},
	{
		Name: "abuse", What: "200 events/s, without and with 1,000 slow clients and bodies of 100 MB", Rate: 200, Payload: 1024, Batch: 1,
		Subscriptions: 1, Abuse: true,
	},
}

// find is the scenario of a name.
func find(name string) Scenario {
	i := slices.IndexFunc(Scenarios, func(s Scenario) bool { return s.Name == name })
	if i < 0 {
		return Scenario{Name: name}
	}
	return Scenarios[i]
}

// Run measures and reports. Every scenario gets a server of its own unless there is a Target.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Duration == 0 {
		o.Duration = 10 * time.Second
	}
	if o.Clients == 0 {
		o.Clients = 64
	}
	report := newReport(o)
	for _, s := range chosen(o) {
		fmt.Fprintf(o.Log, "%-11s %s\n", s.Name, s.What)
		if err := before(ctx, o); err != nil {
			return report, fmt.Errorf("before %s: %w", s.Name, err)
		}
		results, limit, err := runScenario(ctx, o, s)
		if err != nil {
			return report, fmt.Errorf("%s: %w", s.Name, err)
		}
		for i := range results {
			if limit != nil {
				report.Baselines[results[i].Scenario] = limit
			}
			report.Results = append(report.Results, results[i])
			if len(results) > 1 {
				fmt.Fprintf(o.Log, " %s:\n", results[i].Scenario)
			}
			report.print(o.Log, &results[i])
		}
	}
	return report, nil
}

// chosen are the scenarios to run, but for those that another brings along.
func chosen(o Options) []Scenario {
	list := slices.Clone(Scenarios)
	if len(o.Scenarios) > 0 {
		list = slices.DeleteFunc(list, func(s Scenario) bool { return !slices.Contains(o.Scenarios, s.Name) })
	}
	var brought []string
	for _, s := range list {
		if s.Beside {
			brought = append(brought, s.Comparison)
		}
	}
	return slices.DeleteFunc(list, func(s Scenario) bool { return slices.Contains(brought, s.Name) })
}

// before runs the operator's command.
func before(ctx context.Context, o Options) error {
	if o.Before == "" {
		return nil
	}
	if out, err := exec.CommandContext(ctx, "sh", "-c", o.Before).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %.500s", err, out)
	}
	return nil
}

// runScenario measures one scenario against a server, in turns with the one it is held against where that is beside it. The
// scenario's own result is the last.
func runScenario(ctx context.Context, o Options, s Scenario) (results []Result, limit *Result, err error) {
	server, err := serverFor(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	defer server.stop()
	ours, leave, err := prepare(ctx, o, server, s)
	if err != nil {
		return nil, nil, err
	}
	defer leave()
	if s.Abuse {
		is, err := abuse(ctx, o, s, ours.client, server.process)
		return []Result{{Scenario: s.Name, Abuse: is}}, nil, err
	}
	sides := []*side{ours}
	if s.Beside {
		other, leave, err := prepare(ctx, o, server, find(s.Comparison))
		if err != nil {
			return nil, nil, err
		}
		defer leave()
		sides = []*side{other, ours}
	}
	idle := costOf(server.process.pid)
	stored := 0
	if s.Stored > 0 {
		stored = cmp.Or(o.Stored, s.Stored)
		if err := store(ctx, ours, stored); err != nil {
			return nil, nil, err
		}
	}
	if limit, err = measure(ctx, o, s, sides); err != nil {
		return nil, nil, err
	}
	for _, side := range sides {
		r := side.result()
		r.IdleMB, r.Stored = float64(idle.resident)/(1<<20), stored
		results = append(results, *r)
	}
	if s.Stored > 0 {
		err = look(ctx, o, server, ours.client, &results[len(results)-1])
	}
	return results, limit, err
}

// measure has the sides run their loads, with a baseline in turns with the forwarder, whose result is the limit.
func measure(ctx context.Context, o Options, s Scenario, sides []*side) (limit *Result, err error) {
	if !o.Baseline || s.Limit == "" {
		return nil, takeTurns(ctx, o, sides...)
	}
	forwarder, stop, err := startForwarder(ctx, o, find(s.Limit))
	if err != nil {
		return nil, err
	}
	defer stop()
	if err := takeTurns(ctx, o, append([]*side{forwarder}, sides...)...); err != nil {
		return nil, err
	}
	return forwarder.result(), nil
}

// look asks the server over what it has stored, and starts it again.
func look(ctx context.Context, o Options, server *server, c *client, r *Result) (err error) {
	if r.Questions, err = ask(ctx, c); err != nil || server.cmd == nil {
		return err
	}
	// The server that starts again is another address, and what stays subscribed to a receiver that is gone costs each later
	// run over the same store a second delivery of each event.
	c.unsubscribe(ctx)
	took, err := server.restart(ctx, o)
	r.ReadyMS = float64(took.Microseconds()) / 1000
	return err
}

// prepare makes a scenario's receiver and subscriptions; leave removes them.
func prepare(ctx context.Context, o Options, server *server, s Scenario) (made *side, leave func(), err error) {
	receiver, err := newReceiver(s.Delay)
	if err != nil {
		return nil, nil, err
	}
	c := newClient(server.url, server.key, o.Clients)
	leave = func() {
		c.unsubscribe(context.WithoutCancel(ctx))
		receiver.close()
	}
	made = &side{scenario: s, client: c, receiver: receiver, processes: append([]process{server.process}, watched(o.Watch)...)}
	if err := made.subscribe(ctx); err != nil {
		leave()
		return nil, nil, err
	}
	return made, leave, nil
}

// subscribe makes the side's subscriptions, and has what hangs wait, paused.
func (s *side) subscribe(ctx context.Context) error {
	for i := range s.scenario.Subscriptions {
		kind := s.scenario.eventType(i)
		if s.scenario.Fanout {
			kind = s.scenario.eventType(0)
		}
		if _, err := s.client.subscribe(ctx, s.receiver.url(fmt.Sprint("s", i)), kind); err != nil {
			return err
		}
	}
	if s.scenario.Hanging == 0 {
		return nil
	}
	const noise = "bench.noise"
	id, err := s.client.subscribe(ctx, s.receiver.url("hang"), noise)
	if err != nil {
		return err
	}
	for sent := 0; sent < s.scenario.Hanging; sent += 500 {
		if err := s.client.publishBatch(ctx, noise, 500, s.scenario.Payload); err != nil {
			return err
		}
	}
	s.noisy = []string{id}
	return s.hush(ctx, "pause")
}

// eventType is the type of the events to one of the scenario's subscriptions, which no other scenario has.
func (s *Scenario) eventType(i int) string { return fmt.Sprintf("bench.%s.t%d", s.Name, i) }
