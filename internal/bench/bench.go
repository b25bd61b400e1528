// Package bench measures a whole node from outside: it starts the server as a process of its own (or targets one that
// runs), publishes over HTTP, receives in its own receiver, and reports rates, latencies, losses, duplicates and what each
// process cost. It uses nothing but the public API.
package bench

import (
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
	// Comparison names the scenario this one's figures are to be held against.
	Comparison string
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
	{Name: "slow", What: "50 receivers that take 200 ms", Payload: 1024, Batch: 1, Subscriptions: 50, Delay: 200 * time.Millisecond, Limit: "throughput", Comparison: "spread", Long: true},
	{Name: "quiet", What: "200 events/s to 10 healthy subscriptions", Rate: 200, Payload: 1024, Batch: 1, Subscriptions: 10, Long: true},
	{Name: "noisy", What: "the same beside a hanging one with 10,000 waiting", Rate: 200, Payload: 1024, Batch: 1, Subscriptions: 10, Hanging: 10_000, Comparison: "quiet", Long: true},
	{Name: "backlog", What: "drain 100,000 waiting deliveries", Payload: 1024, Batch: 100, Subscriptions: 1, Backlog: 100_000},
	{
		Name: "lists", What: "closed loop and questions over a million stored deliveries", Payload: 1024, Batch: 1, Subscriptions: 1,
		Stored: 1_000_000, Limit: "throughput", Comparison: "throughput",
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
	for _, s := range Scenarios {
		if len(o.Scenarios) > 0 && !slices.Contains(o.Scenarios, s.Name) {
			continue
		}
		fmt.Fprintf(o.Log, "%-11s %s\n", s.Name, s.What)
		if err := before(ctx, o); err != nil {
			return report, fmt.Errorf("before %s: %w", s.Name, err)
		}
		r, limit, err := runScenario(ctx, o, s)
		if err != nil {
			return report, fmt.Errorf("%s: %w", s.Name, err)
		}
		if limit != nil {
			report.Baselines[s.Name] = limit
		}
		report.Results = append(report.Results, *r)
		report.print(o.Log, r)
	}
	return report, nil
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

// runScenario measures one scenario against a server, and, with a baseline, against the forwarder.
func runScenario(ctx context.Context, o Options, s Scenario) (result, limit *Result, err error) {
	server, err := serverFor(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	defer server.stop()
	receiver, err := newReceiver(s.Delay)
	if err != nil {
		return nil, nil, err
	}
	defer receiver.close()
	c := newClient(server.url, server.key, o.Clients)
	defer c.unsubscribe(context.WithoutCancel(ctx))
	if err := prepare(ctx, c, receiver, s); err != nil {
		return nil, nil, err
	}
	if s.Abuse {
		is, err := abuse(ctx, o, s, c, server.process)
		return &Result{Scenario: s.Name, Abuse: is}, nil, err
	}
	idle := costOf(server.process.pid)
	if s.Stored > 0 {
		stored := s.Stored
		if o.Stored > 0 {
			stored = o.Stored
		}
		if err := store(ctx, c, receiver, stored); err != nil {
			return nil, nil, err
		}
	}
	ours := &side{scenario: s, client: c, receiver: receiver, processes: append([]process{server.process}, watched(o.Watch)...)}
	result, limit, err = measure(ctx, o, ours)
	if err != nil {
		return nil, nil, err
	}
	result.IdleMB = float64(idle.resident) / (1 << 20)
	if s.Stored > 0 {
		if result.Questions, err = ask(ctx, c); err != nil || server.cmd == nil {
			return result, limit, err
		}
		// The server that starts again is another address, and what stays subscribed to a receiver that is gone costs each later
		// run over the same store a second delivery of each event.
		c.unsubscribe(ctx)
		took, err := server.restart(ctx, o)
		result.ReadyMS = float64(took.Microseconds()) / 1000
		return result, limit, err
	}
	return result, limit, nil
}

// prepare makes the scenario's subscriptions, and what hangs.
func prepare(ctx context.Context, c *client, r *receiver, s Scenario) error {
	for i := range s.Subscriptions {
		types := []string{eventType(i)}
		if s.Fanout {
			types = []string{eventType(0)}
		}
		if _, err := c.subscribe(ctx, r.url(fmt.Sprint("s", i)), types); err != nil {
			return err
		}
	}
	if s.Hanging == 0 {
		return nil
	}
	if _, err := c.subscribe(ctx, r.url("hang"), []string{"noise.made"}); err != nil {
		return err
	}
	for sent := 0; sent < s.Hanging; sent += 500 {
		if err := c.publishBatch(ctx, "noise.made", 500, s.Payload); err != nil {
			return err
		}
	}
	return nil
}

func eventType(i int) string { return fmt.Sprintf("bench.t%d", i) }
