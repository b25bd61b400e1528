package delivery

import (
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

func TestBreakerOpensAfterTwentyInARow(t *testing.T) {
	var b breaker
	at := noon
	for i := 1; i < breakerThreshold; i++ {
		want(t, "opens early", b.failed(at, at), 0)
	}
	b.succeeded()
	for i := 1; i < breakerThreshold; i++ {
		want(t, "opens early after a success", b.failed(at, at), 0)
	}
	want(t, "opens for", b.failed(at, at), 10*time.Second)
}

func TestBreakerDoublesUpToFiveMinutes(t *testing.T) {
	var b breaker
	at := noon
	for range breakerThreshold - 1 {
		b.failed(at, at)
	}
	for _, want := range []time.Duration{10, 20, 40, 80, 160, 300, 300, 300} {
		at = at.Add(time.Hour)
		if got := b.failed(at, at.Add(time.Second)); got != want*time.Second {
			t.Errorf("opens for %s, want %ds", got, want)
		}
	}
	b.know(1000, at)
	want(t, "after a thousand openings", b.failed(at.Add(time.Hour), at.Add(time.Hour)), 5*time.Minute)
}

// TestBreakerIgnoresWhatWasUnderWay is about the requests that were sent before the breaker opened: they fail in a bunch,
// and only the next probe says something new.
func TestBreakerIgnoresWhatWasUnderWay(t *testing.T) {
	var b breaker
	sent, opened := noon, noon.Add(15*time.Second)
	for range breakerThreshold - 1 {
		b.failed(sent, opened)
	}
	want(t, "opens for", b.failed(sent, opened), 10*time.Second)
	for range 44 {
		want(t, "one of the same bunch opens for", b.failed(sent, opened), 0)
	}
	want(t, "openings", b.openings, 1)
	probe := opened.Add(10 * time.Second)
	want(t, "the probe opens for", b.failed(probe, probe), 20*time.Second)
}

func TestBreakerLearnsFromOtherNodes(t *testing.T) {
	var b breaker
	b.know(2, noon)
	want(t, "a request under way when another node opened it", b.failed(noon.Add(-time.Second), noon.Add(time.Second)), 0)
	probe := noon.Add(30 * time.Second)
	want(t, "a probe here", b.failed(probe, probe), 40*time.Second)
	b.know(0, probe)
	want(t, "closed by another node", b.failed(probe.Add(time.Second), probe.Add(time.Second)), 0)
}

func TestReach(t *testing.T) {
	type step struct {
		host    string
		outcome posthorn.Outcome
		ours    bool
	}
	cases := []struct {
		name  string
		steps []step
	}{
		{"OneDeadHost", []step{
			{"a", posthorn.ConnectError, false}, {"a", posthorn.ConnectError, false}, {"a", posthorn.ConnectError, false},
		}},
		{"ThreeDeadHosts", []step{
			{"a", posthorn.ConnectError, false}, {"b", posthorn.ConnectError, false}, {"c", posthorn.ConnectError, true},
			{"a", posthorn.ConnectError, true},
		}},
		{"OneOfThemAnswers", []step{
			{"a", posthorn.ConnectError, false}, {"b", posthorn.ConnectError, false}, {"d", posthorn.HTTPError, false},
			{"c", posthorn.ConnectError, false},
		}},
		{"BackOnTheNetwork", []step{
			{"a", posthorn.ConnectError, false}, {"b", posthorn.ConnectError, false}, {"c", posthorn.ConnectError, true},
			{"c", posthorn.Succeeded, false}, {"a", posthorn.ConnectError, false},
		}},
		{"OnlyConnectErrorsCount", []step{
			{"a", posthorn.Timeout, false}, {"b", posthorn.Timeout, false}, {"c", posthorn.Timeout, false},
			{"d", posthorn.DNSError, false}, {"e", posthorn.Blocked, false}, {"f", posthorn.ConnectError, false},
		}},
		{"ATimeoutProvesNothing", []step{
			{"a", posthorn.ConnectError, false}, {"b", posthorn.ConnectError, false}, {"d", posthorn.Timeout, false},
			{"c", posthorn.ConnectError, true},
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var r reach
			for i, s := range c.steps {
				connected := s.outcome == posthorn.Succeeded || s.outcome == posthorn.HTTPError
				if ours := r.note(s.host, s.outcome, connected); ours != s.ours {
					t.Errorf("step %d, %s at %s: our fault %v, want %v", i+1, s.outcome, s.host, ours, s.ours)
				}
			}
		})
	}
}

func TestReachIsBounded(t *testing.T) {
	var r reach
	for range 2 * maxHosts {
		r.note(newSubscriptionID().String(), posthorn.ConnectError, false)
	}
	if len(r.lost) > maxHosts {
		t.Errorf("%d hosts are remembered", len(r.lost))
	}
}
