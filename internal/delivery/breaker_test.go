package delivery

import (
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

func TestBreakerOpensAfterTwentyInARow(t *testing.T) {
	var b breaker
	for i := 1; i < breakerThreshold; i++ {
		want(t, "opens early", b.failed(0), 0)
	}
	b.succeeded()
	for i := 1; i < breakerThreshold; i++ {
		want(t, "opens early after a success", b.failed(0), 0)
	}
	want(t, "opens for", b.failed(0), 10*time.Second)
}

func TestBreakerDoublesUpToFiveMinutes(t *testing.T) {
	b := breaker{failures: breakerThreshold - 1}
	for _, want := range []time.Duration{10, 20, 40, 80, 160, 300, 300, 300} {
		if got := b.failed(b.openings); got != want*time.Second {
			t.Errorf("opens for %s, want %ds", got, want)
		}
	}
	b.openings = 1000
	want(t, "after a thousand openings", b.failed(1000), 5*time.Minute)
}

// TestBreakerIgnoresWhatWasUnderWay is about the requests that were sent before the breaker opened: they fail in a bunch,
// and only the next probe says something new.
func TestBreakerIgnoresWhatWasUnderWay(t *testing.T) {
	b := breaker{failures: breakerThreshold - 1}
	want(t, "opens for", b.failed(0), 10*time.Second)
	for range 44 {
		want(t, "one of the same bunch opens for", b.failed(0), 0)
	}
	want(t, "openings", b.openings, 1)
	want(t, "the probe opens for", b.failed(1), 20*time.Second)
}

func TestBreakerLearnsFromOtherNodes(t *testing.T) {
	b := breaker{openings: 2}
	want(t, "a request under way when another node opened it", b.failed(1), 0)
	want(t, "a probe here", b.failed(2), 40*time.Second)
	b.openings, b.failures = 0, 0
	want(t, "one under way when another node closed it", b.failed(3), 0)
}

func TestReach(t *testing.T) {
	// What a network does that drops every packet.
	const dropped = posthorn.Outcome("dropped")
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
			{"a", posthorn.ConnectError, false},
			{"b", posthorn.ConnectError, false},
			{"c", posthorn.ConnectError, true},
			{"a", posthorn.ConnectError, true},
		}},
		{"OneOfThemAnswers", []step{
			{"a", posthorn.ConnectError, false},
			{"b", posthorn.ConnectError, false},
			{"d", posthorn.HTTPError, false},
			{"c", posthorn.ConnectError, false},
		}},
		{"BackOnTheNetwork", []step{
			{"a", posthorn.ConnectError, false},
			{"b", posthorn.ConnectError, false},
			{"c", posthorn.ConnectError, true},
			{"c", posthorn.Succeeded, false},
			{"a", posthorn.ConnectError, false},
		}},
		{"OnlyConnectErrorsCount", []step{
			{"a", posthorn.Timeout, false},
			{"b", posthorn.Timeout, false},
			{"c", posthorn.Timeout, false},
			{"d", posthorn.DNSError, false},
			{"e", posthorn.Blocked, false},
			{"f", posthorn.ConnectError, false},
		}},
		{"NothingComesThrough", []step{
			{"a", dropped, false},
			{"b", dropped, false},
			{"b", dropped, false},
			{"c", dropped, true},
			{"d", posthorn.ConnectError, true},
			{"a", posthorn.HTTPError, false},
			{"b", dropped, false},
		}},
		{"ATimeoutProvesNothing", []step{
			{"a", posthorn.ConnectError, false},
			{"b", posthorn.ConnectError, false},
			{"d", posthorn.Timeout, false},
			{"c", posthorn.ConnectError, true},
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var r reach
			for i, s := range c.steps {
				connected := s.outcome == posthorn.Succeeded || s.outcome == posthorn.HTTPError
				code := ""
				if s.outcome == dropped {
					s.outcome, code = posthorn.Timeout, connectTimeout
				}
				if ours := r.note(s.host, s.outcome, code, connected); ours != s.ours {
					t.Errorf("step %d, %s at %s: our fault %v, want %v", i+1, s.outcome, s.host, ours, s.ours)
				}
			}
		})
	}
}

func TestReachIsBounded(t *testing.T) {
	var r reach
	for range 2 * maxHosts {
		r.note(newSubscriptionID().String(), posthorn.ConnectError, "", false)
	}
	if len(r.lost) > maxHosts {
		t.Errorf("%d hosts are remembered", len(r.lost))
	}
}
