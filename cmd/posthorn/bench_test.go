package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
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
	// slow brings along what it is held against.
	var names []string
	for _, r := range report.Results {
		names = append(names, r.Scenario)
	}
	if want := []string{"throughput", "batch", "fanout", "spread", "slow"}; !slices.Equal(names, want) {
		t.Fatalf("results of %q instead of %q:\n%s", names, want, out)
	}
	for _, name := range []string{"throughput", "slow"} {
		if limit := report.Baselines[name]; limit == nil || limit.Delivered == 0 {
			t.Errorf("the baseline of %s is %+v", name, limit)
		}
	}
	for _, r := range report.Results {
		if r.Delivered == 0 || r.Lost != 0 || r.Duplicated != 0 || r.Refused != 0 || r.Commits == 0 || r.EndToEnd.P99 < r.EndToEnd.P50 || r.IdleMB == 0 {
			t.Errorf("%+v", r)
		}
	}
	var document strings.Builder
	if err := bench.Write(&document, "v1", "a machine", []bench.Document{{Store: "SQLite", Command: "posthorn bench", Report: &report}}); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"Posthorn v1 on a machine", "| throughput | ", "| batch | ", "- `fanout`: one event to 50 subscriptions"} {
		if !strings.Contains(document.String(), part) {
			t.Errorf("the document lacks %q:\n%s", part, document.String())
		}
	}
}
