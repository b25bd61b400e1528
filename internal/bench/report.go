package bench

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Report is a whole run, as JSON keeps it.
type Report struct {
	At      time.Time `json:"at"`
	Go      string    `json:"go"`
	Cores   int       `json:"cores"`
	Clients int       `json:"clients"`
	Seconds float64   `json:"seconds"`
	Command string    `json:"command"`
	Results []Result  `json:"results"`
}

// Result is one scenario's figures. Rates are per second, latencies in milliseconds: accept from when a request was due until its
// answer, end to end from when it was made until it reached the receiver.
type Result struct {
	Scenario   string      `json:"scenario"`
	Accepted   int         `json:"accepted"`
	Refused    int         `json:"refused"`
	Delivered  int         `json:"delivered"`
	Lost       int         `json:"lost"`
	Duplicated int         `json:"duplicated"`
	AcceptRate float64     `json:"accepted_per_second"`
	Rate       float64     `json:"delivered_per_second"`
	Accept     Percentiles `json:"accept_ms"`
	EndToEnd   Percentiles `json:"end_to_end_ms"`
	// Turns are the delivered rates of each turn.
	Turns     []float64     `json:"delivered_per_second_by_turn,omitempty"`
	Processes []ProcessCost `json:"processes,omitempty"`
	// Commits are the database's transactions per delivery, Statements what was in them.
	Commits    float64 `json:"commits_per_delivery,omitempty"`
	Statements float64 `json:"statements_per_delivery,omitempty"`
	// Stored is how many deliveries were there before the load.
	Stored int `json:"stored,omitempty"`
	// IdleMB is what the server had resident before the load.
	IdleMB float64 `json:"idle_resident_mb,omitempty"`
	// ReadyMS is how long the server took from its start over what it had stored until it was ready.
	ReadyMS   float64    `json:"start_to_ready_ms,omitempty"`
	Questions []Question `json:"questions,omitempty"`
	Abuse     *Abuse     `json:"abuse,omitempty"`
	// Limit is what the forwarder came to in turns with it, and Other the scenario it is held against.
	Limit *Result `json:"without_storage,omitempty"`
	Other *Result `json:"against,omitempty"`
}

// Percentiles of a latency, in milliseconds.
type Percentiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// ProcessCost is what one process used.
type ProcessCost struct {
	Name           string  `json:"name"`
	CPUPerThousand float64 `json:"cpu_seconds_per_1000_deliveries"`
	ResidentMB     float64 `json:"resident_mb,omitempty"`
}

func newReport(o Options) *Report {
	return &Report{
		At: time.Now().UTC(), Go: runtime.Version(), Cores: runtime.NumCPU(), Clients: o.Clients,
		Seconds: o.Duration.Seconds(), Command: o.command(),
	}
}

// command is how to run the same again, but for what names the machine's own servers.
func (o Options) command() string {
	words := []string{"posthorn bench"}
	if o.Baseline {
		words = append(words, "--baseline")
	}
	words = append(words, "--duration", o.Duration.String(), "--clients", strconv.Itoa(o.Clients))
	if o.Stored > 0 {
		words = append(words, "--stored", strconv.Itoa(o.Stored))
	}
	return strings.Join(append(words, o.Scenarios...), " ")
}

func summarize(s Scenario, load loadResult, r *receiver, took time.Duration, expected int) *Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	result := &Result{
		Scenario: s.Name, Accepted: load.accepted, Refused: load.refused,
		Delivered: r.unique, Lost: expected - r.unique, Duplicated: r.duplicates,
		Accept: percentiles(load.latencies), EndToEnd: percentiles(r.latencies),
	}
	if load.took > 0 {
		result.AcceptRate = float64(load.accepted) / load.took.Seconds()
	}
	if took > 0 {
		result.Rate = float64(r.unique) / took.Seconds()
	}
	return result
}

func percentiles(list []time.Duration) Percentiles {
	if len(list) == 0 {
		return Percentiles{}
	}
	sorted := slices.Sorted(slices.Values(list))
	at := func(share float64) float64 {
		return float64(sorted[min(int(share*float64(len(sorted))), len(sorted)-1)].Microseconds()) / 1000
	}
	return Percentiles{P50: at(.50), P95: at(.95), P99: at(.99), Max: at(1)}
}

// cpu is what all processes together used for 1,000 deliveries, in seconds.
func (r *Result) cpu() (sum float64) {
	for _, p := range r.Processes {
		sum += p.CPUPerThousand
	}
	return sum
}

// print writes a result, with its ratios.
func (r *Result) print(w io.Writer) {
	if r.Abuse != nil {
		r.Abuse.print(w)
		return
	}
	fmt.Fprintf(w, "  accepted %.0f/s, delivered %.0f/s (%d, lost %d, duplicated %d, refused %d)\n",
		r.AcceptRate, r.Rate, r.Delivered, r.Lost, r.Duplicated, r.Refused)
	if r.Accept.Max > 0 {
		fmt.Fprintf(w, "  accept     p50 %.1f  p95 %.1f  p99 %.1f  max %.1f ms\n", r.Accept.P50, r.Accept.P95, r.Accept.P99, r.Accept.Max)
	}
	fmt.Fprintf(w, "  end to end p50 %.1f  p95 %.1f  p99 %.1f  max %.1f ms\n", r.EndToEnd.P50, r.EndToEnd.P95, r.EndToEnd.P99, r.EndToEnd.Max)
	for _, p := range r.Processes {
		fmt.Fprintf(w, "  %s: %.3f CPU s per 1,000 deliveries", p.Name, p.CPUPerThousand)
		if p.ResidentMB > 0 {
			fmt.Fprintf(w, ", %.0f MB resident", p.ResidentMB)
		}
		fmt.Fprintln(w)
	}
	if r.Commits > 0 {
		fmt.Fprintf(w, "  %.3f transactions and %.3f statements per delivery\n", r.Commits, r.Statements)
	}
	if r.Stored > 0 {
		fmt.Fprintf(w, "  over %d stored deliveries\n", r.Stored)
	}
	if r.ReadyMS > 0 {
		fmt.Fprintf(w, "  ready %.0f ms after its start over all this\n", r.ReadyMS)
	}
	for _, q := range r.Questions {
		fmt.Fprintf(w, "  GET %s: p50 %.1f  p95 %.1f  p99 %.1f ms\n", q.Path, q.Latency.P50, q.Latency.P95, q.Latency.P99)
	}
	if l := r.Limit; l != nil {
		fmt.Fprintf(w, "  without storage: %.0f/s, p50 %.1f, p99 %.1f ms, %.3f CPU s per 1,000 deliveries; %s\n",
			l.Rate, l.EndToEnd.P50, l.EndToEnd.P99, l.cpu(), r.ratios(l))
	}
	if o := r.Other; o != nil {
		fmt.Fprintf(w, "  against %s: %.0f/s, p50 %.1f, p99 %.1f ms; %s\n", o.Scenario, o.Rate, o.EndToEnd.P50, o.EndToEnd.P99, r.ratios(o))
	}
}

// ratios say how a result stands to another that took turns with it: of rates in a closed loop, and of latencies where both had the
// same load.
func (r *Result) ratios(to *Result) string {
	x, y := find(r.Scenario), find(to.Scenario)
	var parts []string
	if x.Rate == 0 {
		least, most := extremes(r.Turns, to.Turns)
		parts = append(parts, fmt.Sprintf("%.2f of the rate (%.2f to %.2f by turns)", ratio(r.Rate, to.Rate), least, most))
	}
	if x.Rate == y.Rate && x.Batch == y.Batch && x.Payload == y.Payload {
		parts = append(parts, fmt.Sprintf("%.1f times the p50, %.1f times the p99", ratio(r.EndToEnd.P50, to.EndToEnd.P50), ratio(r.EndToEnd.P99, to.EndToEnd.P99)))
	}
	return strings.Join(parts, ", ")
}

// extremes are the least and the most of the ratios of each turn.
func extremes(x, y []float64) (least, most float64) {
	for i := range min(len(x), len(y)) {
		one := ratio(x[i], y[i])
		if i == 0 {
			least = one
		}
		least, most = min(least, one), max(most, one)
	}
	return least, most
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
