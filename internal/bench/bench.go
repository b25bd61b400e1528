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
	// Binary is the posthorn to start; Env is added to its environment.
	Binary string
	Env    []string
	// Before is a shell command that comes before each scenario, such as one that empties the database: what the last scenario
	// stored would cost the next.
	Before string
	// Target, when set, is the URL of a server that runs already, with its key; nothing is started then.
	Target, Key string
	// Scenarios by name; empty runs all.
	Scenarios []string
	// Duration of each timed scenario, of which some last four times as long, and Clients of each closed loop.
	Duration time.Duration
	Clients  int
	// Stored overrides how many deliveries the scenario lists makes first.
	Stored int
	// Baseline has a forwarder without storage take turns with the server.
	Baseline bool
	// Second is added to the environment of a second server, beside Env, so that it has a store of its own: scenarios are held against
	// others only with it, or where DATABASE_URL is not set.
	Second []string
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
	// Comparison names the scenario this one's figures are held against. The two take turns, each at a server and a store of its own.
	Comparison string
	// Reference scenarios are there to be held against, and run by themselves only when asked for.
	Reference bool
	// Limit names the scenario whose loop the forwarder runs in turns with this one, to show what the machine could do meanwhile;
	// empty for none. Mostly it is that of single events, whatever the scenario itself does.
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

// Scenarios are all there are, in the order they run.
var Scenarios = []Scenario{
	{Name: "throughput", What: "closed loop, 1 KB, one subscription", Payload: 1024, Batch: 1, Subscriptions: 1, Limit: "throughput", Long: true},
	{Name: "batch", What: "closed loop, batches of 100", Payload: 1024, Batch: 100, Subscriptions: 1, Limit: "throughput", Long: true},
	{
		Name: "many", What: "10,000 subscriptions, each event to one", Payload: 1024, Batch: 1, Subscriptions: 10_000, Limit: "throughput",
		Comparison: "throughput", Long: true,
	},
	{Name: "latency", What: "200 events/s, 1 KB", Rate: 200, Payload: 1024, Batch: 1, Subscriptions: 1, Limit: "latency", Long: true},
	{Name: "fanout", What: "one event to 50 subscriptions", Payload: 1024, Batch: 1, Subscriptions: 50, Fanout: true},
	{Name: "large", What: "200 KB payloads", Payload: 200_000, Batch: 1, Subscriptions: 1, Limit: "large"},
	{
		Name: "spread", What: "50 receivers that answer at once", Payload: 1024, Batch: 1, Subscriptions: 50, Limit: "throughput", Reference: true,
		Long: true,
	},
	{
		Name: "slow", What: "50 receivers that take 200 ms", Payload: 1024, Batch: 1, Subscriptions: 50, Delay: 200 * time.Millisecond,
		Limit: "throughput", Comparison: "spread", Long: true,
	},
	{Name: "quiet", What: "200 events/s to 10 healthy subscriptions", Rate: 200, Payload: 1024, Batch: 1, Subscriptions: 10, Reference: true, Long: true},
	{
		Name: "noisy", What: "200 events/s to 10 healthy subscriptions beside a hanging one with 10,000 waiting", Rate: 200, Payload: 1024,
		Batch: 1, Subscriptions: 10, Hanging: 10_000, Comparison: "quiet", Long: true,
	},
	{Name: "backlog", What: "drain 100,000 waiting deliveries", Payload: 1024, Subscriptions: 1, Backlog: 100_000},
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
	o.Duration, o.Clients = cmp.Or(o.Duration, 10*time.Second), cmp.Or(o.Clients, 64)
	report := newReport(o)
	list, err := chosen(o)
	if err != nil {
		return report, err
	}
	for _, s := range list {
		fmt.Fprintf(o.Log, "%-11s %s\n", s.Name, s.What)
		if err := before(ctx, o); err != nil {
			return report, fmt.Errorf("before %s: %w", s.Name, err)
		}
		r, err := runScenario(ctx, o, s)
		if err != nil {
			return report, fmt.Errorf("%s: %w", s.Name, err)
		}
		report.Results = append(report.Results, *r)
		r.print(o.Log)
	}
	return report, nil
}

// chosen are the scenarios to run.
func chosen(o Options) (list []Scenario, err error) {
	for _, name := range o.Scenarios {
		if find(name).What == "" {
			return nil, fmt.Errorf("there is no scenario %q", name)
		}
	}
	for _, s := range Scenarios {
		if slices.Contains(o.Scenarios, s.Name) || len(o.Scenarios) == 0 && !s.Reference {
			list = append(list, s)
		}
	}
	return list, nil
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

// runScenario measures one scenario in turns with what it is held against, where that can have a store of its own, and, with a
// baseline, with the forwarder.
func runScenario(ctx context.Context, o Options, s Scenario) (*Result, error) {
	ours, err := prepare(ctx, o, s)
	if err != nil {
		return nil, err
	}
	defer ours.leave(ctx)
	if s.Abuse {
		is, err := abuse(ctx, o, s, ours.client, ours.server.process)
		return &Result{Scenario: s.Name, Abuse: is}, err
	}
	if s.Stored > 0 {
		if err := ours.store(ctx, cmp.Or(o.Stored, s.Stored)); err != nil {
			return nil, err
		}
	}
	var forwarder, other *side
	sides := []*side{ours}
	if second, ok := o.secondStore(); ok && s.Comparison != "" {
		if other, err = prepare(ctx, second, find(s.Comparison)); err != nil {
			return nil, err
		}
		defer other.leave(ctx)
		sides = append([]*side{other}, sides...)
	}
	if o.Baseline && s.Limit != "" {
		if forwarder, err = startForwarder(ctx, o, find(s.Limit)); err != nil {
			return nil, err
		}
		defer forwarder.leave(ctx)
		sides = append([]*side{forwarder}, sides...)
	}
	if err := takeTurns(ctx, o, sides...); err != nil {
		return nil, err
	}
	r := ours.result(o)
	if other != nil {
		r.Other = other.result(o)
	}
	if forwarder != nil {
		r.Limit = forwarder.result(o)
	}
	if s.Stored > 0 {
		err = ours.askAndRestart(ctx, o, r)
	}
	return r, err
}
