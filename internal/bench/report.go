package bench

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"
)

// Report is a whole run, as JSON keeps it.
type Report struct {
	At        time.Time          `json:"at"`
	Go        string             `json:"go"`
	Cores     int                `json:"cores"`
	Clients   int                `json:"clients"`
	Seconds   float64            `json:"seconds"`
	Results   []Result           `json:"results"`
	Baselines map[string]*Result `json:"baselines,omitempty"`
}

// Result is one scenario's figures. Rates are per second, latencies in milliseconds.
type Result struct {
	Scenario   string        `json:"scenario"`
	Accepted   int           `json:"accepted"`
	Refused    int           `json:"refused"`
	Delivered  int           `json:"delivered"`
	Lost       int           `json:"lost"`
	Duplicated int           `json:"duplicated"`
	AcceptRate float64       `json:"accepted_per_second"`
	Rate       float64       `json:"delivered_per_second"`
	Accept     Percentiles   `json:"accept_ms"`
	EndToEnd   Percentiles   `json:"end_to_end_ms"`
	Processes  []ProcessCost `json:"processes,omitempty"`
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
	ResidentMB     float64 `json:"resident_mb"`
}

func newReport(o Options) *Report {
	return &Report{
		At: time.Now().UTC(), Go: runtime.Version(), Cores: runtime.NumCPU(), Clients: o.Clients,
		Seconds: o.Duration.Seconds(), Baselines: map[string]*Result{},
	}
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

func spent(list []process, costs []cost, delivered int) []ProcessCost {
	var all []ProcessCost
	for i, p := range list {
		if p.pid == 0 {
			continue
		}
		all = append(all, ProcessCost{
			Name:           p.name,
			CPUPerThousand: costs[i].cpu.Seconds() / float64(delivered) * 1000,
			ResidentMB:     float64(costs[i].resident) / (1 << 20),
		})
	}
	return all
}

// cpu is what all processes together used for 1,000 deliveries, in seconds.
func (r *Result) cpu() (sum float64) {
	for _, p := range r.Processes {
		sum += p.CPUPerThousand
	}
	return sum
}

// print writes a result, with its ratio to the baseline or to the scenario it is held against.
func (r *Report) print(w io.Writer, result *Result) {
	if result.Abuse != nil {
		result.Abuse.print(w)
		return
	}
	fmt.Fprintf(w, "  accepted %.0f/s, delivered %.0f/s (%d, lost %d, duplicated %d, refused %d)\n",
		result.AcceptRate, result.Rate, result.Delivered, result.Lost, result.Duplicated, result.Refused)
	fmt.Fprintf(w, "  accept     p50 %.1f  p95 %.1f  p99 %.1f  max %.1f ms\n", result.Accept.P50, result.Accept.P95, result.Accept.P99, result.Accept.Max)
	fmt.Fprintf(w, "  end to end p50 %.1f  p95 %.1f  p99 %.1f  max %.1f ms\n", result.EndToEnd.P50, result.EndToEnd.P95, result.EndToEnd.P99, result.EndToEnd.Max)
	for _, p := range result.Processes {
		fmt.Fprintf(w, "  %s: %.3f CPU s per 1,000 deliveries, %.0f MB resident\n", p.Name, p.CPUPerThousand, p.ResidentMB)
	}
	if result.Commits > 0 {
		fmt.Fprintf(w, "  %.3f transactions and %.3f statements per delivery\n", result.Commits, result.Statements)
	}
	if result.ReadyMS > 0 {
		fmt.Fprintf(w, "  %d deliveries stored before; ready %.0f ms after its start over all this\n", result.Stored, result.ReadyMS)
	}
	for _, q := range result.Questions {
		fmt.Fprintf(w, "  GET %s: p50 %.1f  p95 %.1f  p99 %.1f ms\n", q.Path, q.Latency.P50, q.Latency.P95, q.Latency.P99)
	}
	s := find(result.Scenario)
	if b := r.Baselines[s.Name]; b != nil {
		fmt.Fprintf(w, "  without storage: %.0f/s, p50 %.1f, p99 %.1f ms, %.3f CPU s per 1,000 deliveries; ratio of rates %.2f",
			b.Rate, b.EndToEnd.P50, b.EndToEnd.P99, b.cpu(), ratio(result.Rate, b.Rate))
		if s.Limit == s.Name {
			fmt.Fprintf(w, ", of p50 %.1f, of p99 %.1f", ratio(result.EndToEnd.P50, b.EndToEnd.P50), ratio(result.EndToEnd.P99, b.EndToEnd.P99))
		}
		fmt.Fprintln(w)
	}
	if other := r.find(s.Comparison); other != nil {
		fmt.Fprintf(w, "  against %s: ratio of rates %.2f, of p99 %.2f\n", s.Comparison,
			r.against(result, other), ratio(result.EndToEnd.P99, other.EndToEnd.P99))
	}
}

// against is the ratio of two scenarios' rates: of their shares of the limit, where both were measured in turns with it, as the
// machine may have got slower between them.
func (r *Report) against(x, other *Result) float64 {
	plain := ratio(x.Rate, other.Rate)
	if b, a := r.Baselines[x.Scenario], r.Baselines[other.Scenario]; b != nil && a != nil && find(x.Scenario).Limit == find(other.Scenario).Limit {
		return plain * ratio(a.Rate, b.Rate)
	}
	return plain
}

func (r *Report) find(name string) *Result {
	for i := range r.Results {
		if r.Results[i].Scenario == name {
			return &r.Results[i]
		}
	}
	return nil
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
