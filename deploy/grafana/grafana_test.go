// Package grafana holds the dashboard and the alert rules; its tests keep them true to the metrics: every series and label
// they use is exported, and no label can grow with what strangers send. Prometheus' own tool checks them too where it is
// installed.
package grafana_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/telemetry"
)

// worked are the metrics of a node to which everything has happened once.
func worked() *telemetry.Metrics {
	m := telemetry.NewMetrics("v1.2.3")
	m.Queue(func(context.Context) (posthorn.Queue, error) { return posthorn.Queue{Retries: []int{3}}, nil })
	m.Lanes(func() map[string]int { return map[string]int{"idle": 1} })
	m.RedisUp(func() bool { return true })
	m.RedisUsed(time.Millisecond, true)
	m.CacheRead("process")
	m.RateLimited(telemetry.LimitedRequests)
	m.Withdrawn(map[posthorn.Reason]int{posthorn.ReasonHeldTooLong: 1})
	_, _ = m.Store(unwell{}).Health(context.Background())
	m.Committed(2, 3, time.Millisecond)
	m.Claimed(2, time.Millisecond)
	m.Recorded(2, 1, time.Millisecond)
	m.Requested("POST", "/events", http.StatusAccepted, time.Millisecond)
	m.Cleaned(posthorn.CleanupReport{Events: 1}, time.Second)
	for _, o := range posthorn.Outcomes {
		m.Attempted(&posthorn.Attempt{Outcome: o, Number: 1, StartedAt: time.Now()}, &posthorn.Event{CreatedAt: time.Now()})
	}
	return m
}

// unwell is a store that does not answer.
type unwell struct{ posthorn.Store }

func (unwell) Health(context.Context) (posthorn.StoreHealth, error) {
	return posthorn.StoreHealth{}, &posthorn.Error{Kind: posthorn.Unavailable}
}

func (unwell) Work() posthorn.StoreWork { return posthorn.StoreWork{} }

func scrape(m *telemetry.Metrics) string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

// series are the exported series' names with their labels.
func series(text string) map[string]map[string]bool {
	known := map[string]map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z_]+)(?:\{(.*)\})? `).FindAllStringSubmatch(text, -1) {
		if known[m[1]] == nil {
			known[m[1]] = map[string]bool{"instance": true, "job": true} // Prometheus' own
		}
		for _, label := range regexp.MustCompile(`([a-z_]+)="`).FindAllStringSubmatch(m[2], -1) {
			known[m[1]][label[1]] = true
		}
	}
	return known
}

// expressions are all queries of the dashboard and the rules, by where they stand.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, RefID string }
		}
	}
	if err := json.Unmarshal(read(t, "posthorn.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			all["panel "+p.Title+" "+target.RefID] = target.Expr
		}
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(read(t, "alerts.yaml"), &rules); err != nil {
		t.Fatal(err)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			all["alert "+r.Alert] = r.Expr
		}
	}
	return all
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

var (
	selector = regexp.MustCompile(`\b((?:posthorn|process|go)_[a-z_]+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	grouping = regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`)
)

func TestEverySeriesExists(t *testing.T) {
	known := series(scrape(worked()))
	all := expressions(t)
	if len(all) < 30 {
		t.Fatalf("only %d expressions were found", len(all))
	}
	used := map[string]bool{}
	for place, expr := range all {
		labels := map[string]bool{"le": true}
		for _, m := range selector.FindAllStringSubmatch(expr, -1) {
			used[m[1]] = true
			if known[m[1]] == nil {
				t.Errorf("%s uses %s, which is not exported", place, m[1])
				continue
			}
			for label := range known[m[1]] {
				labels[label] = true
			}
			for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
				if !known[m[1]][l[1]] {
					t.Errorf("%s: %s has no label %s", place, m[1], l[1])
				}
			}
		}
		for _, m := range grouping.FindAllStringSubmatch(expr, -1) {
			for label := range strings.SplitSeq(m[1], ",") {
				if label = strings.TrimSpace(label); label != "" && !labels[label] {
					t.Errorf("%s groups by %s, which its series do not have", place, label)
				}
			}
		}
	}
	for name := range known {
		base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		if strings.HasPrefix(name, "posthorn_") && !used[name] && !used[base+"_bucket"] && !used[base+"_sum"] && !used[base+"_count"] {
			t.Errorf("neither a panel nor an alert uses %s", name)
		}
	}
}

// TestLabelsAreBounded sends what strangers can make up, and counts the series before and after.
func TestLabelsAreBounded(t *testing.T) {
	m := worked()
	m.Requested("BREW", "", http.StatusNotFound, time.Millisecond)
	before := strings.Count(scrape(m), "\n")
	for i := range 2000 {
		at := time.Now().Add(time.Duration(i) * time.Second)
		event := &posthorn.Event{
			ID: posthorn.EventID{UUID: posthorn.NewUUID(at)}, Type: fmt.Sprintf("type.%d", i), CreatedAt: at,
			TenantID: posthorn.TenantID{UUID: posthorn.NewUUID(at)},
		}
		m.Attempted(&posthorn.Attempt{
			ID: posthorn.AttemptID{UUID: posthorn.NewUUID(at)}, EventID: event.ID, Outcome: posthorn.HTTPError, StatusCode: 400 + i%200,
			Error: fmt.Sprint("error", i), Number: i, StartedAt: at,
		}, event)
		m.Requested(fmt.Sprint("METHOD", i), "", 400+i%100, time.Millisecond)
		m.Requested("POST", "/events", 200+i%100, time.Millisecond)
	}
	if after := strings.Count(scrape(m), "\n"); after != before {
		t.Errorf("%d lines before, %d after: a label grows with what is sent", before, after)
	}
}

// TestPanelsDoNotOverlap keeps the dashboard's grid whole, and its numbers apart.
func TestPanelsDoNotOverlap(t *testing.T) {
	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
		}
	}
	if err := json.Unmarshal(read(t, "posthorn.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	cells, ids := map[[2]int]string{}, map[int]string{}
	for _, p := range dashboard.Panels {
		if other, ok := ids[p.ID]; ok {
			t.Errorf("%q and %q have the same id", p.Title, other)
		}
		ids[p.ID] = p.Title
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, ok := cells[[2]int{x, y}]; ok || x > 23 {
					t.Fatalf("%q lies over %q, or outside", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
	}
}

// TestPrometheusAgrees asks promtool, where it is installed, about the rules, their unit tests, the dashboard's queries and
// the exported metrics.
func TestPrometheusAgrees(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("promtool is not installed")
		}
		t.Log("promtool is not installed: the other tests of this package must do")
		return
	}
	queries := map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": dashboardRules(t)}}}
	text, err := yaml.Marshal(queries)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "dashboard.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		stdin string
		args  []string
	}{
		{"", []string{"check", "rules", "alerts.yaml"}},
		{"", []string{"check", "rules", path}},
		{"", []string{"test", "rules", "alerts_test.yaml"}},
		{scrape(worked()), []string{"check", "metrics"}},
	} {
		cmd := exec.CommandContext(t.Context(), tool, c.args...)
		cmd.Stdin = strings.NewReader(c.stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(c.args, " "), err, out)
		}
	}
}

// dashboardRules are the dashboard's queries as recording rules, Grafana's variables filled in.
func dashboardRules(t *testing.T) []any {
	t.Helper()
	var rules []any
	for place, expr := range expressions(t) {
		if strings.HasPrefix(place, "panel ") {
			expr = strings.NewReplacer("$__rate_interval", "5m", "$job", ".*").Replace(expr)
			rules = append(rules, map[string]any{"record": fmt.Sprintf("panel:%d", len(rules)), "expr": expr})
		}
	}
	return rules
}
