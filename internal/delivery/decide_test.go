package delivery

import (
	"fmt"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

// outcomeOf is what egress makes of a status code.
func outcomeOf(status int) posthorn.Outcome {
	if status >= 200 && status <= 299 {
		return posthorn.Succeeded
	}
	return posthorn.HTTPError
}

// failedBefore is a delivery's budget spent so far, of the default policy's ten attempts.
var failedBefore = []int{0, 1, 8, 9}

// TestDecideEveryStatus walks every status code, every kind of manual retry and every place in the schedule.
func TestDecideEveryStatus(t *testing.T) {
	policy := posthorn.DefaultRetryPolicy()
	for status := 100; status <= 599; status++ {
		for _, manual := range []posthorn.ManualRetry{posthorn.NotManual, posthorn.ManualWhilePending, posthorn.ManualAfterEnd} {
			for _, spent := range failedBefore {
				a := &posthorn.Attempt{Outcome: outcomeOf(status), StatusCode: status}
				f := facts{policy: policy, spent: spent, manual: manual, attempt: a, retryAfter: -1, windowLeft: 72 * time.Hour, random: 0.5}
				name := fmt.Sprintf("status %d, manual %d, %d spent", status, manual, spent)
				checkVerdict(t, name, f, decide(f))
			}
		}
	}
}

// checkVerdict states the rules once more, in other words than decide.
func checkVerdict(t *testing.T, name string, f facts, v verdict) {
	t.Helper()
	status := f.attempt.StatusCode
	success := status/100 == 2
	switch {
	case success:
		want(t, name, v.on, posthorn.OnSuccess)
	case f.manual == posthorn.ManualWhilePending:
		want(t, name, v.on, posthorn.OnFailure)
		want(t, name+": keeps its due time", v.keepDue, true)
	case f.manual == posthorn.ManualAfterEnd:
		want(t, name, v.on, posthorn.OnExhaust)
		want(t, name, v.reason, posthorn.ReasonManual)
	case f.spent == 9:
		want(t, name, v.on, posthorn.OnExhaust)
		want(t, name, v.reason, posthorn.ReasonAttempts)
	default:
		want(t, name, v.on, posthorn.OnFailure)
		step := time.Duration(f.policy.Schedule[f.spent] * float64(time.Second))
		if status == 429 && step < time.Minute {
			step = time.Minute + 6*time.Second // the floor, spread upwards by half of 20 %
		}
		want(t, name+": delay", v.delay, step)
	}
	want(t, name+": spends", v.spends, f.manual == posthorn.NotManual)
	want(t, name+": disables", v.disable, map[bool]string{true: posthorn.DisabledGone}[status == 410])
	want(t, name+": throttles", v.throttle, map[bool]time.Duration{true: time.Minute}[status == 429])
	if v.on != posthorn.OnFailure && (v.delay != 0 || v.keepDue) {
		t.Errorf("%s: a delivery that ends has a delay: %+v", name, v)
	}
}

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// TestDecideEveryOutcome is for what has no status, or none that counts.
func TestDecideEveryOutcome(t *testing.T) {
	for _, outcome := range posthorn.Outcomes {
		for _, spent := range failedBefore {
			a := &posthorn.Attempt{Outcome: outcome}
			v := decide(facts{policy: posthorn.DefaultRetryPolicy(), spent: spent, attempt: a, retryAfter: -1, windowLeft: 72 * time.Hour, random: 0.5})
			name := fmt.Sprintf("%s, %d spent", outcome, spent)
			switch {
			case outcome == posthorn.Succeeded:
				want(t, name, v.on, posthorn.OnSuccess)
			case outcome == posthorn.Interrupted:
				want(t, name, v.on, posthorn.OnFailure)
				want(t, name+": spends", v.spends, false)
				want(t, name+": delay", v.delay, 0)
			case spent == 9:
				want(t, name, v.reason, posthorn.ReasonAttempts)
			default:
				want(t, name, v.on, posthorn.OnFailure)
				want(t, name+": spends", v.spends, true)
			}
			want(t, name+": throttles", v.throttle, 0)
			want(t, name+": disables", v.disable, "")
		}
	}
}

func TestDecideInterruptedTooOften(t *testing.T) {
	a := &posthorn.Attempt{Outcome: posthorn.Interrupted}
	for in := range 12 {
		for _, spent := range failedBefore {
			v := decide(facts{
				policy: posthorn.DefaultRetryPolicy(), spent: spent, interruptions: in, attempt: a, retryAfter: -1, windowLeft: time.Hour, random: 0.5,
			})
			name := fmt.Sprintf("interrupted %d times before, %d spent", in, spent)
			free := in < posthorn.FreeInterruptions
			want(t, name+": spends", v.spends, !free)
			want(t, name+": ends", v.on == posthorn.OnExhaust, !free && spent == 9)
		}
	}
}

func TestDecideInterruptedByHand(t *testing.T) {
	a := &posthorn.Attempt{Outcome: posthorn.Interrupted}
	for _, manual := range []posthorn.ManualRetry{posthorn.ManualWhilePending, posthorn.ManualAfterEnd} {
		for in := range 12 {
			v := decide(facts{policy: posthorn.DefaultRetryPolicy(), manual: manual, interruptions: in, attempt: a, retryAfter: -1})
			name := fmt.Sprintf("manual %d, interrupted %d times before", manual, in)
			free := in < posthorn.FreeInterruptions
			want(t, name+": is tried again", v.again, free)
			want(t, name+": ends", v.on == posthorn.OnExhaust, !free && manual == posthorn.ManualAfterEnd)
			want(t, name+": spends", v.spends, false)
		}
	}
}

func TestDecideDelay(t *testing.T) {
	unavailable := &posthorn.Attempt{Outcome: posthorn.HTTPError, StatusCode: 503}
	limited := &posthorn.Attempt{Outcome: posthorn.HTTPError, StatusCode: 429}
	broken := &posthorn.Attempt{Outcome: posthorn.HTTPError, StatusCode: 500}
	cases := []struct {
		name       string
		attempt    *posthorn.Attempt
		retryAfter time.Duration
		spent      int
		random     float64
		delay      time.Duration
		throttle   time.Duration
	}{
		{"ScheduleLow", broken, -1, 1, 0, 48 * time.Second, 0},
		{"ScheduleHigh", broken, -1, 1, 1, 72 * time.Second, 0},
		{"RetryAfterOn500IsNotHeard", broken, time.Hour, 1, 0.5, time.Minute, 0},
		{"FloorAboveTheStep", unavailable, 30 * time.Second, 0, 0, 30 * time.Second, 30 * time.Second},
		{"FloorSpreadUpwards", unavailable, 30 * time.Second, 0, 1, 36 * time.Second, 30 * time.Second},
		{"StepAboveTheFloor", unavailable, 30 * time.Second, 1, 0.5, time.Minute, 30 * time.Second},
		{"LimitedWithoutRetryAfter", limited, -1, 0, 0, time.Minute, time.Minute},
		{"LimitedWithZero", limited, 0, 0, 0.5, 5 * time.Second, 0},
		{"LimitedWithAShortOne", limited, time.Second, 0, 0.5, 5 * time.Second, time.Second},
		{"ADay", limited, 24 * time.Hour, 0, 0, 24 * time.Hour, 24 * time.Hour},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			v := decide(facts{
				policy: posthorn.DefaultRetryPolicy(), spent: c.spent, attempt: c.attempt, retryAfter: c.retryAfter,
				windowLeft: 72 * time.Hour, random: c.random,
			})
			want(t, "delay", v.delay, c.delay)
			want(t, "throttle", v.throttle, c.throttle)
			want(t, "trigger", v.on, posthorn.OnFailure)
		})
	}
}

func TestDecideWindow(t *testing.T) {
	a := &posthorn.Attempt{Outcome: posthorn.HTTPError, StatusCode: 500}
	f := facts{policy: posthorn.DefaultRetryPolicy(), spent: 3, attempt: a, random: 0.5}
	f.windowLeft = 30*time.Minute - 1
	v := decide(f)
	want(t, "past the window", v.on, posthorn.OnExhaust)
	want(t, "past the window", v.reason, posthorn.ReasonWindow)
	f.windowLeft = 30 * time.Minute
	want(t, "within the window", decide(f).on, posthorn.OnFailure)
	f.windowLeft, f.manual = -time.Hour, posthorn.ManualWhilePending
	want(t, "a manual retry after the window", decide(f).on, posthorn.OnFailure)
}

func TestDecideFinalStatus(t *testing.T) {
	policy := posthorn.DefaultRetryPolicy()
	policy.FinalStatuses = []int{400, 410, 429}
	for status := 100; status <= 599; status++ {
		for _, manual := range []posthorn.ManualRetry{posthorn.NotManual, posthorn.ManualWhilePending, posthorn.ManualAfterEnd} {
			a := &posthorn.Attempt{Outcome: outcomeOf(status), StatusCode: status}
			v := decide(facts{policy: policy, manual: manual, attempt: a, retryAfter: -1, windowLeft: time.Hour, random: 0.5})
			name := fmt.Sprintf("status %d, manual %d", status, manual)
			final := policy.Final(status) && manual == posthorn.NotManual
			want(t, name, v.reason == posthorn.ReasonFinalStatus, final)
			if final {
				want(t, name, v.on, posthorn.OnExhaust)
				want(t, name+": delay", v.delay, 0)
				want(t, name+": spends", v.spends, true)
			}
			want(t, name+": disables", v.disable != "", status == 410)
			want(t, name+": throttles", v.throttle != 0, status == 429)
		}
	}
	a := &posthorn.Attempt{Outcome: posthorn.Interrupted}
	want(t, "no status", decide(facts{policy: policy, attempt: a, retryAfter: -1, windowLeft: time.Hour}).on, posthorn.OnFailure)
}

func TestPolicyWindow(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy float64
		want   time.Duration
	}{
		{"None", 0, 72 * time.Hour},
		{"Shorter", 90.5, 90500 * time.Millisecond},
		{"Longer", 1e6, 72 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			want(t, "window", posthorn.RetryPolicy{Window: c.policy}.Within(72*time.Hour), c.want)
		})
	}
}

func TestDecideOneAttemptOnly(t *testing.T) {
	a := &posthorn.Attempt{Outcome: posthorn.Timeout}
	v := decide(facts{policy: posthorn.RetryPolicy{Schedule: []float64{}}, attempt: a, retryAfter: -1, windowLeft: time.Hour})
	want(t, "trigger", v.on, posthorn.OnExhaust)
	want(t, "reason", v.reason, posthorn.ReasonAttempts)
}

func TestUnsendable(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	policy := posthorn.DefaultRetryPolicy()
	cases := []struct {
		name     string
		delivery posthorn.Delivery
		event    posthorn.Event
		left     time.Duration
		on       posthorn.Trigger
		reason   posthorn.Reason
		ends     bool
	}{
		{"Sendable", posthorn.Delivery{}, posthorn.Event{}, time.Hour, posthorn.OnExhaust, "", false},
		{"WindowPast", posthorn.Delivery{}, posthorn.Event{}, 0, posthorn.OnExhaust, posthorn.ReasonWindow, true},
		{"WindowPastByHand", posthorn.Delivery{Manual: posthorn.ManualWhilePending}, posthorn.Event{}, -1, posthorn.OnExhaust, "", false},
		{"BudgetSpent", posthorn.Delivery{Spent: 10}, posthorn.Event{}, time.Hour, posthorn.OnExhaust, posthorn.ReasonAttempts, true},
		{"BudgetSpentByHand", posthorn.Delivery{Spent: 10, Manual: posthorn.ManualAfterEnd}, posthorn.Event{}, time.Hour, posthorn.OnExhaust, "", false},
		{"Expired", posthorn.Delivery{}, posthorn.Event{ExpiresAt: now}, time.Hour, posthorn.OnWithdraw, posthorn.ReasonExpired, true},
		{"NotYetExpired", posthorn.Delivery{}, posthorn.Event{ExpiresAt: now.Add(1)}, time.Hour, posthorn.OnExhaust, "", false},
		{"ExpiredByHand", posthorn.Delivery{Manual: posthorn.ManualAfterEnd}, posthorn.Event{ExpiresAt: now}, time.Hour, posthorn.OnWithdraw, posthorn.ReasonExpired, true},
		{"Erased", posthorn.Delivery{}, posthorn.Event{PayloadErased: now}, time.Hour, posthorn.OnWithdraw, posthorn.ReasonPayloadErased, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r, ends := unsendable(&c.delivery, &c.event, policy, c.left, now)
			want(t, "ends", ends, c.ends)
			want(t, "reason", r.Reason, c.reason)
			if ends {
				want(t, "trigger", r.On, c.on)
				if _, ok := posthorn.Pending.Next(r.On); !ok {
					t.Errorf("%s is no transition of a pending delivery", r.On)
				}
			}
		})
	}
}
