package bench

import (
	"fmt"
	"io"
	"strings"
)

// Document is one store's report with its name, for Write.
type Document struct {
	// Store is what was measured, such as "SQLite"; Settings is what its command stands behind.
	Store, Settings string
	Report          *Report
}

// Write makes the document of benchmarks: what the reports say, as tables.
func Write(w io.Writer, version, machine string, documents []Document) error {
	var b strings.Builder
	fmt.Fprintf(&b, `# Benchmarks

Made by `+"`make bench`"+`; the raw figures are in [bench/results](../bench/results/). Everything runs on one machine: the load, the
receivers, the service, and PostgreSQL with Redis. Every 2xx follows a durable commit.

*Share* is the delivered rate as a share of what a forwarder delivers: a plain Go server that stores nothing, for single events in a
closed loop to one receiver that answers at once, whatever the scenario is, but for `+"`latency`"+` and `+"`large`"+`, where it has the same load. Both rates hold the
time that load and receivers take on the same processors. A scenario takes turns with the forwarder, and with the one it is held against,
which has a server and a store of its own: %d turns each, %d at a fixed rate. Rates drift with the machine, ratios less. What the server
puts off is counted until %.0f s after the last turn, and may run while the others have theirs. Processor time differs from machine
to machine; the forwarder's stands beside it. *Accept* is from when a request was due until its answer, *end to end* from when it was made until it
reached the receiver. PostgreSQL begins with log files to use again (`+"`min_wal_size`"+` of 1 GB), as after running for a while.

Posthorn %s on %s.
`, loopTurns, rateTurns, settle.Seconds(), version, machine)
	for _, d := range documents {
		r := d.Report
		fmt.Fprintf(&b, "\n## %s\n\n%s, %s, %d cores, %d connections, %.0f s each: `%s%s`\n\n", d.Store, r.At.Format("2006-01-02"), r.Go, r.Cores, r.Clients, r.Seconds, d.Settings, r.Command)
		b.WriteString("| scenario | delivered/s | share | accept p50 / p99 ms | end to end p50 / p99 ms | lost | duplicated | CPU s per 1,000 | transactions, statements per delivery | resident MB |\n")
		b.WriteString("|---|---|---|---|---|---|---|---|---|---|\n")
		for i := range r.Results {
			if r.Results[i].Abuse == nil {
				b.WriteString(r.Results[i].row())
			}
		}
		b.WriteString("\n")
		for i := range r.Results {
			r.Results[i].details(&b)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// row is a scenario's line in the table.
func (r *Result) row() string {
	share, accept, commits := "", "", ""
	if r.Limit != nil && find(r.Scenario).Rate == 0 {
		share = fmt.Sprintf("%.2f", ratio(r.Rate, r.Limit.Rate))
	}
	if r.Accept.Max > 0 {
		accept = fmt.Sprintf("%.1f / %.1f", r.Accept.P50, r.Accept.P99)
	}
	if r.Commits > 0 {
		commits = fmt.Sprintf("%.3f, %.3f", r.Commits, r.Statements)
	}
	var costs, resident []string
	for _, p := range r.Processes {
		costs = append(costs, fmt.Sprintf("%.3f %s", p.CPUPerThousand, p.Name))
		if p.ResidentMB > 0 {
			resident = append(resident, fmt.Sprintf("%.0f (idle %.0f)", p.ResidentMB, r.IdleMB))
		}
	}
	if len(costs) > 1 {
		costs = append(costs, fmt.Sprintf("%.3f together", r.cpu()))
	}
	return fmt.Sprintf("| %s | %.0f | %s | %s | %.1f / %.1f | %d | %d | %s | %s | %s |\n", r.Scenario, r.Rate, share, accept,
		r.EndToEnd.P50, r.EndToEnd.P99, r.Lost, r.Duplicated, strings.Join(costs, ", "), commits, strings.Join(resident, " "))
}

// details are what does not fit into the table: what each scenario is, its ratios, and the questions.
func (r *Result) details(b *strings.Builder) {
	s := find(r.Scenario)
	fmt.Fprintf(b, "- `%s`: %s", s.Name, s.What)
	if r.Stored > 0 {
		fmt.Fprintf(b, ", %d of them", r.Stored)
	}
	if s.Long {
		b.WriteString(" (four times as long)")
	}
	if l := r.Limit; l != nil {
		fmt.Fprintf(b, "; without storage %.0f/s, end to end p50 %.1f ms, p99 %.1f ms, %.3f CPU s per 1,000: %s",
			l.Rate, l.EndToEnd.P50, l.EndToEnd.P99, l.cpu(), r.ratios(l))
	}
	if o := r.Other; o != nil {
		fmt.Fprintf(b, "; against `%s` with %.0f/s, end to end p50 %.1f ms, p99 %.1f ms: %s", o.Scenario, o.Rate, o.EndToEnd.P50, o.EndToEnd.P99, r.ratios(o))
	}
	if a := r.Abuse; a != nil {
		fmt.Fprintf(b, "; accept p99 %.1f ms without and %.1f ms with, memory grew by %.0f MB, %d normal requests refused",
			a.Quiet.P99, a.Attacked.P99, a.GrewMB, a.Refused)
	}
	b.WriteString(".\n")
	if r.ReadyMS > 0 {
		fmt.Fprintf(b, "- Started again over all that was stored, the server was ready after %.0f ms.\n", r.ReadyMS)
	}
	if len(r.Questions) > 0 {
		b.WriteString("\n| question | p50 ms | p95 ms | p99 ms |\n|---|---|---|---|\n")
		for _, q := range r.Questions {
			fmt.Fprintf(b, "| `GET %s` | %.1f | %.1f | %.1f |\n", q.Path, q.Latency.P50, q.Latency.P95, q.Latency.P99)
		}
		b.WriteString("\n")
	}
}
