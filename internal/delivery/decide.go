package delivery

import (
	"net/http"
	"time"

	"github.com/posthorn/posthorn"
)

// verdict is what one attempt means: the delivery's move, and what the lane learns.
type verdict struct {
	on      posthorn.Trigger
	reason  posthorn.Reason
	delay   time.Duration
	keepDue bool
	again   bool
	spends  bool
	// throttle pauses the whole lane; disable ends it with a reason.
	throttle time.Duration
	disable  string
}

// facts are all that a decision rests on.
type facts struct {
	policy  posthorn.RetryPolicy
	spent   int
	manual  posthorn.ManualRetry
	attempt *posthorn.Attempt
	// interruptions counts those in a row before this attempt.
	interruptions int
	// retryAfter is what the receiver asked for, negative for nothing.
	retryAfter time.Duration
	// windowLeft is the rest of the retry window.
	windowLeft time.Duration
	// random is uniform in [0, 1).
	random float64
}

// decide is the retry policy as a pure function. What it returns names the reason.
func decide(f facts) verdict {
	v := verdict{throttle: throttleFor(f.attempt, f.retryAfter), spends: f.manual == posthorn.NotManual}
	if f.attempt.StatusCode == http.StatusGone {
		v.disable = posthorn.DisabledGone
	}
	switch {
	case f.attempt.Outcome == posthorn.Succeeded:
		v.on = posthorn.OnSuccess
	case f.manual != posthorn.NotManual && f.attempt.Outcome == posthorn.Interrupted && f.interruptions < posthorn.FreeInterruptions:
		v.on, v.keepDue, v.again = posthorn.OnFailure, true, true
	case f.manual == posthorn.ManualWhilePending:
		v.on, v.keepDue = posthorn.OnFailure, true
	case f.manual == posthorn.ManualAfterEnd:
		v.on, v.reason = posthorn.OnExhaust, posthorn.ReasonManual
	case f.attempt.Outcome == posthorn.HTTPError && f.policy.Final(f.attempt.StatusCode):
		v.on, v.reason = posthorn.OnExhaust, posthorn.ReasonFinalStatus
	case f.attempt.Outcome == posthorn.Interrupted && f.interruptions < posthorn.FreeInterruptions:
		v.on, v.spends = posthorn.OnFailure, false
	case f.spent+1 >= f.policy.Budget():
		v.on, v.reason = posthorn.OnExhaust, posthorn.ReasonAttempts
	case f.attempt.Outcome == posthorn.Interrupted:
		v.on = posthorn.OnFailure
	default:
		v.on = posthorn.OnFailure
		v.delay = posthorn.Jittered(f.policy.Delay(f.spent+1), f.random)
		if v.throttle > v.delay {
			// A floor, spread upwards: the receiver named the earliest time, and its backlog should not come at once.
			v.delay = v.throttle + time.Duration(f.random*posthorn.Jitter*float64(v.throttle))
		}
		if v.delay > f.windowLeft {
			v.on, v.reason, v.delay = posthorn.OnExhaust, posthorn.ReasonWindow, 0
		}
	}
	return v
}

// throttleFor is the pause a response asks for (RFC 9110, section 10.2.3; RFC 6585, section 4). A receiver that says 0 is
// ready at once; one that says nothing is negative here.
func throttleFor(a *posthorn.Attempt, retryAfter time.Duration) time.Duration {
	switch a.StatusCode {
	case http.StatusTooManyRequests:
		if retryAfter < 0 {
			return posthorn.DefaultThrottle
		}
		return retryAfter
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return max(retryAfter, 0)
	}
	return 0
}

// unsendable says why a claimed delivery must end instead of being sent; false means send it.
func unsendable(d *posthorn.Delivery, e *posthorn.Event, policy posthorn.RetryPolicy, windowLeft time.Duration, now time.Time) (posthorn.Result, bool) {
	r := posthorn.Result{On: posthorn.OnExhaust}
	switch {
	case !e.PayloadErased.IsZero():
		r.On, r.Reason = posthorn.OnWithdraw, posthorn.ReasonPayloadErased
	case !e.ExpiresAt.IsZero() && !now.Before(e.ExpiresAt):
		r.On, r.Reason = posthorn.OnWithdraw, posthorn.ReasonExpired
	case d.Manual != posthorn.NotManual:
		return r, false
	case windowLeft <= 0:
		r.Reason = posthorn.ReasonWindow
	case d.Spent >= policy.Budget():
		r.Reason = posthorn.ReasonAttempts
	default:
		return r, false
	}
	return r, true
}
