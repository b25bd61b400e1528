package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/bench"
	"github.com/posthorn/posthorn/internal/client/clienttest"
)

// TestBench measures for a moment: every event arrives once, and what is counted is there. How fast is nobody's concern here.
func TestBench(t *testing.T) {
	file := filepath.Join(t.TempDir(), "figures.json")
	out := posthorn(t, &clienttest.Node{}, "bench", "--baseline", "--duration", "200ms", "--clients", "4", "--json", file, "throughput", "batch", "fanout", "slow")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var report bench.Report
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, r := range report.Results {
		names[r.Scenario] = true
		// Each of these took turns with the forwarder, but for fanout, and slow with spread.
		for _, x := range []*bench.Result{&r, r.Limit, r.Other} {
			if x == nil {
				continue
			}
			if x.Delivered == 0 || x.Lost != 0 || x.Duplicated != 0 || x.Refused != 0 || len(x.Turns) == 0 || x.EndToEnd.P99 < x.EndToEnd.P50 {
				t.Errorf("%s: %+v", r.Scenario, x)
			}
		}
		if r.Commits == 0 || r.IdleMB == 0 || (r.Limit == nil) != (r.Scenario == "fanout") || (r.Other == nil) != (r.Scenario != "slow") {
			t.Errorf("%+v", r)
		}
	}
	if len(report.Results) != 4 || len(names) != 4 {
		t.Fatalf("%d results of %v:\n%s", len(report.Results), names, out)
	}
	var document strings.Builder
	if err := bench.Write(&document, "v1", "a machine", []bench.Document{{Store: "SQLite", Report: &report}}); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		"Posthorn v1 on a machine", "| throughput | ", "| batch | ", "- `fanout`: one event to 50 subscriptions",
		"`posthorn bench --baseline --duration 200ms --clients 4 throughput batch fanout slow`",
	} {
		if !strings.Contains(document.String(), part) {
			t.Errorf("the document lacks %q:\n%s", part, document.String())
		}
	}
}
