package app_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/posthorn/posthorn/internal/hooktest"
)

// scrape reads a node's metrics.
func (s *service) scrape() string {
	s.t.Helper()
	resp, err := http.Get(s.url + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("GET /metrics: %d %v", resp.StatusCode, err)
	}
	return string(text)
}

// series are the lines of a scrape without their values.
func series(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		if name, _, ok := strings.Cut(strings.TrimSpace(line), "} "); ok && !strings.HasPrefix(line, "#") {
			names = append(names, name+"}")
		}
	}
	return names
}

// TestMetricsDoNotGrowWithSubscribers delivers to one subscription, then to 150 with URLs, types and faults of their own, and
// asks for what does not exist: the second scrape may have no label whose value a stranger made, and no more series than
// states, outcomes and operations account for. Prometheus' own tool reads what a live node says.
func TestMetricsDoNotGrowWithSubscribers(t *testing.T) {
	const many = 150
	s := startService(t)
	receiver, url := Listen(t, "receiver")
	deliver := func(n int) {
		t.Helper()
		eventType := fmt.Sprintf("kind_%d.made", n)
		s.subscribe(receiver, fmt.Sprintf("%s/path-%d?q=%d", url, n, n), map[string]any{"event_types": []string{eventType}})
		s.publish(eventType, n)
		s.ask(http.MethodGet, fmt.Sprintf("/events?type=%s", eventType), nil, http.StatusOK, nil)
	}
	for n := range 3 {
		deliver(n)
	}
	s.ask(http.MethodGet, "/made-up", nil, http.StatusNotFound, nil)
	if !receiver.Await(3, 10*time.Second) {
		t.Fatal("nothing was delivered")
	}
	before := series(s.scrape())
	for n := range many {
		deliver(10 + n)
		s.ask(http.MethodGet, fmt.Sprintf("/made-up-%d", n), nil, http.StatusNotFound, nil)
	}
	if !receiver.Await(3+many, 20*time.Second) {
		t.Fatalf("%d were delivered", receiver.Count())
	}
	text := s.scrape()
	after := series(text)
	// Calls that happened to come only now: a heartbeat, a look at the queue, each a histogram.
	const fewMore = 100
	if len(after) > len(before)+fewMore {
		for _, name := range after {
			if !slices.Contains(before, name) {
				t.Log(name)
			}
		}
		t.Errorf("%d series with labels before, %d after %d subscriptions more", len(before), len(after), many)
	}
	foreign := regexp.MustCompile(`sub_|evt_|dlv_|tnt_|phk_|127\.0\.0\.1|http://|kind_|path-|made-up`)
	for _, name := range after {
		if foreign.MatchString(name) {
			t.Errorf("a label is made of what came from outside: %s", name)
		}
	}
	for _, name := range []string{
		`posthorn_events_accepted_total 153`, `posthorn_deliveries_matched_total 153`, `posthorn_attempts_total{outcome="succeeded"} 153`,
		`posthorn_cache_reads_total{from="process"}`, `posthorn_store_seconds_count{operation="accept"}`, `posthorn_lanes{state="idle"}`,
	} {
		if !strings.Contains(text, name) {
			t.Errorf("the scrape lacks %s", name)
		}
	}
	promtool(t, text, "check", "metrics")
}

// promtool runs Prometheus' own tool, which `make test` installs; elsewhere it may be missing.
func promtool(t *testing.T, stdin string, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Error("promtool is not installed")
		}
		return
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
