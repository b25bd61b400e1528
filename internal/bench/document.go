package bench

import (
	"fmt"
	"io"
	"strings"
)

// Document is one store's report with its name, for Write.
type Document struct {
	// Store is what was measured, such as "SQLite"; Command how.
	Store, Command string
	Report         *Report
}

// Write makes the document of benchmarks: what the reports say, as tables.
func Write(w io.Writer, version, machine string, documents []Document) error {
	var b strings.Builder
	fmt.Fprintf(&b, `# Benchmarks

Made by `+"`make bench`"+`; the raw figures are in [bench/results](../bench/results/). Everything runs on one machine: the load, the
receivers, the service, and PostgreSQL with Redis. Every 2xx follows a durable commit. *Share* is the delivered rate as a
share of what a forwarder that stores nothing delivers to one receiver that answers at once, of single events in a closed loop, but
for `+"`latency`"+` and `+"`large`"+`, where it runs the same load. What is compared takes turns, four each, or sixteen at a fixed rate: rates drift with the machine, ratios less.
`+"`slow` and `noisy`"+` take turns with what they are held against at the same server; of other scenarios with a share, the ratio of rates is that of their
shares. Processor time differs with the machine too: what the forwarder takes stands beside it.
PostgreSQL begins with log files to use again (`+"`min_wal_size`"+` of 1 GB), as after running for a while.

Posthorn %s on %s.
`, version, machine)
	for _, d := range documents {
		r := d.Report
		fmt.Fprintf(&b, "\n## %s\n\n%s, %s, %d cores, %d connections, %.0f s each: `%s`\n\n", d.Store, r.At.Format("2006-01-02"), r.Go, r.Cores, r.Clients, r.Seconds, d.Command)
		b.WriteString("| scenario | delivered/s | share | accept p50 / p99 ms | end to end p50 / p99 ms | lost | duplicated | CPU s per 1,000 | transactions, statements per delivery | resident MB |\n")
		b.WriteString("|---|---|---|---|---|---|---|---|---|---|\n")
		for i := range r.Results {
			if r.Results[i].Abuse == nil {
				b.WriteString(r.row(&r.Results[i]))
			}
		}
		r.details(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// row is a scenario's line in the table.
func (r *Report) row(x *Result) string {
	share := ""
	if limit := r.Baselines[x.Scenario]; limit != nil {
		share = fmt.Sprintf("%.2f", ratio(x.Rate, limit.Rate))
	}
	var costs, resident []string
	for _, p := range x.Processes {
		costs = append(costs, fmt.Sprintf("%.3f %s", p.CPUPerThousand, p.Name))
		if p.Name == "posthorn" {
			resident = append(resident, fmt.Sprintf("%.0f (idle %.0f)", p.ResidentMB, x.IdleMB))
		}
	}
	if len(costs) > 1 {
		costs = append(costs, fmt.Sprintf("%.3f together", x.cpu()))
	}
	return fmt.Sprintf("| %s | %.0f | %s | %.1f / %.1f | %.1f / %.1f | %d | %d | %s | %.3f, %.3f | %s |\n", x.Scenario, x.Rate, share,
		x.Accept.P50, x.Accept.P99, x.EndToEnd.P50, x.EndToEnd.P99, x.Lost, x.Duplicated,
		strings.Join(costs, ", "), x.Commits, x.Statements, strings.Join(resident, " "))
}

// details are what does not fit into the table: what each scenario is, its comparison, and the questions.
func (r *Report) details(b *strings.Builder) {
	b.WriteString("\n")
	for i := range r.Results {
		x := &r.Results[i]
		s := find(x.Scenario)
		fmt.Fprintf(b, "- `%s`: %s", s.Name, s.What)
		if x.Stored > 0 {
			fmt.Fprintf(b, ", %d of them", x.Stored)
		}
		if s.Long {
			b.WriteString(" (four times as long)")
		}
		if base := r.Baselines[s.Name]; base != nil {
			fmt.Fprintf(b, "; without storage %.0f/s, %.3f CPU s per 1,000", base.Rate, base.cpu())
			if s.Limit == s.Name {
				fmt.Fprintf(b, ", end to end p50 %.1f ms, p99 %.1f ms (ours is %.1f and %.1f times that)",
					base.EndToEnd.P50, base.EndToEnd.P99, ratio(x.EndToEnd.P50, base.EndToEnd.P50), ratio(x.EndToEnd.P99, base.EndToEnd.P99))
			}
		}
		if other := r.find(s.Comparison); other != nil {
			fmt.Fprintf(b, "; against `%s` %.2f of the rate, %.2f of the p99", s.Comparison,
				r.against(x, other), ratio(x.EndToEnd.P99, other.EndToEnd.P99))
		}
		if a := x.Abuse; a != nil {
			fmt.Fprintf(b, "; accept p99 %.1f ms without and %.1f ms with, memory grew by %.0f MB, %d normal requests refused",
				a.Quiet.P99, a.Attacked.P99, a.GrewMB, a.Refused)
		}
		b.WriteString(".\n")
		if x.ReadyMS > 0 {
			fmt.Fprintf(b, "- Started again over all that was stored, the server was ready after %.0f ms.\n", x.ReadyMS)
		}
		if len(x.Questions) > 0 {
			b.WriteString("\n| question | p50 ms | p95 ms | p99 ms |\n|---|---|---|---|\n")
			for _, q := range x.Questions {
				fmt.Fprintf(b, "| `GET %s` | %.1f | %.1f | %.1f |\n", q.Path, q.Latency.P50, q.Latency.P95, q.Latency.P99)
			}
			b.WriteString("\n")
		}
	}
}
