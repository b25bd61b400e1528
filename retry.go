package posthorn

import (
	"math"
	"slices"
	"strconv"
	"time"
)

const (
	// MaxAttempts bounds a retry policy, first attempt included.
	MaxAttempts = 50
	// Jitter is the share by which a delay is spread to either side, so that retries do not come in herds.
	Jitter = 0.2
	// MaxRetryAfter caps what a receiver can ask for.
	MaxRetryAfter = 24 * time.Hour
	// DefaultThrottle is the pause after a 429 without Retry-After.
	DefaultThrottle = time.Minute
	// FreeInterruptions is how many interrupted attempts in a row cost no budget: they are our own fault, but a delivery
	// that brings the node down each time must end too.
	FreeInterruptions = 5
)

// RetryPolicy says when a failed delivery is attempted again: an explicit schedule, or an exponential one. Exactly one
// of the two is set; delays are in seconds.
type RetryPolicy struct {
	// Schedule holds the delay after each failed attempt: n delays allow n+1 attempts.
	Schedule []float64 `json:"schedule,omitzero"`
	// Initial, Multiplier, Maximum and Attempts: the delay after attempt n is Initial·Multiplierⁿ⁻¹, at most Maximum.
	Initial    float64 `json:"initial,omitempty"`
	Multiplier float64 `json:"multiplier,omitempty"`
	Maximum    float64 `json:"maximum,omitempty"`
	Attempts   int     `json:"attempts,omitempty"`
	// FinalStatuses are the HTTP statuses after which no automatic retry is made.
	FinalStatuses []int `json:"final_statuses,omitempty"`
	// Window ends the automatic retries that many seconds after acceptance, holds not counted; 0 is the operator's window.
	Window float64 `json:"window_seconds,omitempty"`
}

// DefaultRetryPolicy makes ten attempts within about 48 hours: 5 s, 1 m, 5 m, 30 m, 2 h, 5 h, 10 h, 14 h, 16 h.
func DefaultRetryPolicy() RetryPolicy {
	return RetryPolicy{Schedule: []float64{5, 60, 300, 1800, 7200, 18000, 36000, 50400, 57600}}
}

// IsZero reports a policy that was not given.
func (p RetryPolicy) IsZero() bool {
	return p.formless() && p.FinalStatuses == nil && p.Window == 0
}

// formless reports a policy that does not say when to retry.
func (p RetryPolicy) formless() bool {
	return p.Schedule == nil && p.Initial == 0 && p.Multiplier == 0 && p.Maximum == 0 && p.Attempts == 0
}

// setDefaults fills what a client may leave out.
func (p *RetryPolicy) setDefaults() {
	if p.formless() {
		p.Schedule = DefaultRetryPolicy().Schedule
	}
	slices.Sort(p.FinalStatuses)
	p.FinalStatuses = slices.Compact(p.FinalStatuses)
}

// Final reports whether a status ends the automatic retries.
func (p RetryPolicy) Final(status int) bool { return slices.Contains(p.FinalStatuses, status) }

// Within is the policy's retry window where the operator's is the given one: the shorter of the two.
func (p RetryPolicy) Within(window time.Duration) time.Duration {
	if own := p.OwnWindow(); own > 0 {
		return min(window, own)
	}
	return window
}

// OwnWindow is the policy's own retry window; zero without one.
func (p RetryPolicy) OwnWindow() time.Duration {
	return max(0, time.Duration(p.Window*float64(time.Second)))
}

// Budget is how many attempts the policy allows, the first included.
func (p RetryPolicy) Budget() int {
	if p.Schedule != nil {
		return len(p.Schedule) + 1
	}
	return p.Attempts
}

// Delay is the wait after the nth failed attempt (n from 1), before jitter. Past the budget it is the last delay.
func (p RetryPolicy) Delay(n int) time.Duration {
	var seconds float64
	switch {
	case len(p.Schedule) > 0:
		seconds = p.Schedule[min(max(n, 1), len(p.Schedule))-1]
	case p.Initial > 0:
		seconds = min(p.Maximum, p.Initial*math.Pow(p.Multiplier, float64(max(n, 1)-1)))
	}
	return time.Duration(seconds * float64(time.Second))
}

// Jittered spreads a delay by ±20 %; random is uniform in [0, 1).
func Jittered(delay time.Duration, random float64) time.Duration {
	return time.Duration(float64(delay) * (1 - Jitter + 2*Jitter*random))
}

// Span is the longest time from the first attempt to the start of the last, jitter included.
func (p RetryPolicy) Span() time.Duration {
	var sum time.Duration
	for n := 1; n < p.Budget(); n++ {
		sum += Jittered(p.Delay(n), 1)
	}
	return sum
}

// check adds what is wrong with the policy, whose retries must end within the window.
func (p RetryPolicy) check(v *Violations, window time.Duration) {
	before := len(*v)
	if p.Schedule != nil {
		p.checkSchedule(v)
	} else {
		p.checkExponential(v)
	}
	for i, status := range p.FinalStatuses {
		if status < 300 || status > 599 {
			v.Add("retry.final_statuses["+strconv.Itoa(i)+"]", "must be an HTTP status from 300 to 599")
		}
	}
	// Not a number is refused too.
	if p.Window != 0 && !(p.Window >= 1 && p.Window <= window.Seconds()) {
		v.Add("retry.window_seconds", "must be a number of seconds from 1 to the retention, %.0f", window.Seconds())
	}
	// A window of its own ends what the delays would not.
	if len(*v) > before || p.Window != 0 {
		return
	}
	if span := p.Span(); span > window {
		v.Add("retry", "takes up to %s with jitter, longer than the retention of %s; use fewer or shorter delays",
			span.Round(time.Second), window)
	}
}

func (p RetryPolicy) checkSchedule(v *Violations) {
	if p.Initial != 0 || p.Multiplier != 0 || p.Maximum != 0 || p.Attempts != 0 {
		v.Add("retry", "must be either a schedule or initial, multiplier, maximum and attempts, not both")
	}
	if len(p.Schedule) >= MaxAttempts {
		v.Add("retry.schedule", "must have at most %d delays", MaxAttempts-1)
		return
	}
	for i, s := range p.Schedule {
		if !(s >= 0.1 && s <= 604800) {
			v.Add("retry.schedule["+strconv.Itoa(i)+"]", "must be a number of seconds from 0.1 to 604800")
		}
	}
}

func (p RetryPolicy) checkExponential(v *Violations) {
	if !(p.Initial >= 0.1 && p.Initial <= 604800) {
		v.Add("retry.initial", "must be a number of seconds from 0.1 to 604800")
	}
	if !(p.Multiplier >= 1 && p.Multiplier <= 100) {
		v.Add("retry.multiplier", "must be a number from 1 to 100")
	}
	if !(p.Maximum >= p.Initial && p.Maximum <= 604800) {
		v.Add("retry.maximum", "must be a number of seconds from initial to 604800")
	}
	if p.Attempts < 1 || p.Attempts > MaxAttempts {
		v.Add("retry.attempts", "must be from 1 to %d, the first attempt included", MaxAttempts)
	}
}
