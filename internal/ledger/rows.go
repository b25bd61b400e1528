package ledger

import (
	"slices"
	"strconv"
	"time"

	"github.com/posthorn/posthorn"
)

// checkNumbers wants attempts to be numbered from 1 without gaps, up to the delivery's count.
func (b *book) checkNumbers(e *entry) {
	for i := range e.rows {
		if e.rows[i].Number != i+1 {
			b.fault(Misnumbered, e, "attempt %d stands at place %d", e.rows[i].Number, i+1)
			return
		}
	}
	want := e.Attempts
	if !e.Claim.IsZero() {
		want-- // the attempt under way has no row yet
	}
	if len(e.rows) != want {
		b.fault(Misnumbered, e, "it counts %d attempts and has %d", want, len(e.rows))
	}
}

// checkRow wants a delivery's state, its attempts and what its receiver answered to be one story.
func (b *book) checkRow(e *entry) {
	ended := e.State != posthorn.Pending
	switch {
	case ended == e.CompletedAt.IsZero():
		b.fault(Impossible, e, "it is %s and completed at %s", e.State, e.CompletedAt)
	case ended && !e.Claim.IsZero():
		b.fault(Impossible, e, "it is %s and claimed", e.State)
	case (e.State == posthorn.Exhausted || e.State == posthorn.Cancelled) == (e.Reason == posthorn.ReasonNone):
		b.fault(Impossible, e, "it is %s for the reason %q", e.State, e.Reason)
	}
	b.checkSuccess(e)
	b.checkBudget(e)
	for i := range e.rows {
		b.checkAttempt(e, &e.rows[i])
	}
}

// checkSuccess wants a success to be the end, and the end of what succeeded to be a success. A late result, which only
// fills in its row, is the exception.
func (b *book) checkSuccess(e *entry) {
	last := e.last()
	if e.State == posthorn.Delivered && (last == nil || last.Outcome != posthorn.Succeeded) {
		b.fault(Disagreed, e, "it succeeded without a last attempt that did")
	}
	for i := range e.rows {
		a := &e.rows[i]
		if a.Outcome != posthorn.Succeeded || e.State == posthorn.Delivered && i == len(e.rows)-1 {
			continue
		}
		if !b.late(e, i) {
			b.fault(Disagreed, e, "attempt %d succeeded and it is %s after %d attempts (%s)", a.Number, e.State, e.Attempts, e.Reason)
		}
	}
}

// late says whether the result of the i-th row may have come after its claim was lost: after the next was claimed (by a clock
// that may have been set back in between), after the delivery had moved for another reason, before a person retried it, which
// makes it due anew, or before it ended for another reason.
func (b *book) late(e *entry, i int) bool {
	a := &e.rows[i]
	succeeded := a.Outcome == posthorn.Succeeded
	idle := succeeded && !a.Manual && e.Spent < e.answered()
	if i+1 < len(e.rows) {
		next := &e.rows[i+1]
		return idle || next.Manual || !a.RecordedAt.Before(next.ID.Time().Add(-b.Slack))
	}
	retried := e.State == posthorn.Cancelled && succeeded && e.DueAt.After(a.RecordedAt)
	// A result may come in the very moment in which its delivery ended otherwise.
	atOnce := e.State != posthorn.Delivered && succeeded && a.RecordedAt.Equal(e.UpdatedAt)
	return !e.Claim.IsZero() || e.Manual != posthorn.NotManual || retried || idle || atOnce || a.RecordedAt.After(e.UpdatedAt)
}

// answered counts the attempts that spend of the budget when they move their delivery: those nobody asked for and nothing
// interrupted. One more than were spent has come late.
func (e *entry) answered() (n int) {
	for i := range e.rows {
		if a := &e.rows[i]; !a.Manual && a.Outcome != posthorn.Interrupted {
			n++
		}
	}
	return n
}

// checkBudget wants the attempts that were spent to have been made, and all to be spent where that was the end.
func (b *book) checkBudget(e *entry) {
	automatic := 0
	for i := range e.rows {
		if !e.rows[i].Manual {
			automatic++
		}
	}
	if e.Spent > automatic {
		b.fault(Impossible, e, "it spent %d attempts of its budget and made %d", e.Spent, automatic)
	}
	s := b.subscriptions[e.SubscriptionID]
	if s == nil || s.Retry.IsZero() || e.State != posthorn.Exhausted || e.Reason != posthorn.ReasonAttempts {
		return
	}
	if e.Spent < s.Retry.Budget() {
		b.fault(Disagreed, e, "it gave up after %d of %d attempts", e.Spent, s.Retry.Budget())
	}
}

// checkAttempt holds one attempt against what its receiver saw.
func (b *book) checkAttempt(e *entry, a *posthorn.Attempt) {
	switch {
	case a.Outcome == posthorn.Succeeded && a.StatusCode/100 != 2, a.Outcome == posthorn.HTTPError && a.StatusCode/100 == 2:
		b.fault(Impossible, e, "attempt %d is %s with status %d", a.Number, a.Outcome, a.StatusCode)
	case b.Calm && a.Outcome == posthorn.Interrupted && e.State != posthorn.Cancelled && !e.manual():
		b.fault(Disagreed, e, "attempt %d was interrupted while no node was hurt", a.Number)
	}
	if a.StatusCode == 0 || b.Partial || len(b.Requests) == 0 {
		return
	}
	answered := slices.ContainsFunc(e.with.requests, func(r *Request) bool {
		return r.Attempt == a.Number && r.Status == a.StatusCode
	})
	if !answered {
		b.fault(Disagreed, e, "attempt %d is said to have been answered %d, and its receiver did not", a.Number, a.StatusCode)
	}
}

// underWay says whether a request is of an attempt that had begun when its node knew of the delivery's end, and had not come to
// its own end.
func (b *book) underWay(e *entry, r *Request) bool {
	a := e.row(r.Attempt)
	return a != nil && !a.StartedAt.After(b.heard(e)) && !r.At.After(a.RecordedAt) && a.Outcome != posthorn.Interrupted
}

// checkTimes wants no attempt before its time nor after the delivery's end.
func (b *book) checkTimes(e *entry) {
	s := b.subscriptions[e.SubscriptionID]
	for i := range e.rows {
		a := &e.rows[i]
		if i > 0 && s != nil && !a.Manual {
			b.checkDelay(e, &e.rows[i-1], a, s.Retry)
		}
		if !e.CompletedAt.IsZero() && a.StartedAt.After(b.heard(e)) && !b.astray(e, a.Number) {
			b.fault(TooLate, e, "attempt %d started %s after its end", a.Number, a.StartedAt.Sub(e.CompletedAt))
		}
	}
	if len(e.with.entries) > 1 || e.CompletedAt.IsZero() {
		return
	}
	for _, r := range e.with.requests {
		if r.At.After(b.heard(e)) && !b.astray(e, r.Attempt) && !b.underWay(e, r) {
			b.fault(TooLate, e, "attempt %d arrived %s after its end", r.Attempt, r.At.Sub(e.CompletedAt))
		}
	}
}

// heard is when everybody knows of a delivery's end.
func (b *book) heard(e *entry) time.Time {
	at := e.CompletedAt.Add(b.Slack)
	if e.State == posthorn.Cancelled {
		at = at.Add(b.Hearing)
	}
	return at
}

// astray says that an attempt may have been made by a node that was hurt and had lost its claim: it is then not the one that
// ended the delivery.
func (b *book) astray(e *entry, number int) bool {
	return !b.Calm && (number < e.Attempts || e.State == posthorn.Cancelled || e.row(number) != nil && b.late(e, number-1))
}

// checkDelay wants an automatic retry to have waited as long as its policy and its receiver asked. How many attempts were
// spent by then is not written down: the shortest of the delays that are possible is wanted.
func (b *book) checkDelay(e *entry, before, a *posthorn.Attempt, policy posthorn.RetryPolicy) {
	if before.Manual || before.Outcome == posthorn.Interrupted || b.late(e, a.Number-2) || policy.IsZero() {
		return
	}
	wait := policy.Delay(1)
	for n := 2; n < a.Number; n++ {
		wait = min(wait, policy.Delay(n))
	}
	wait = posthorn.Jittered(wait, 0)
	if asked := floor(before); asked > wait {
		wait = asked
	}
	if due := before.RecordedAt.Add(wait - b.Slack); a.StartedAt.Before(due) {
		b.fault(TooEarly, e, "attempt %d started %s after attempt %d, want %s", a.Number, a.StartedAt.Sub(before.RecordedAt), before.Number, wait)
	}
}

// floor is what a receiver asked for in seconds.
func floor(a *posthorn.Attempt) time.Duration {
	switch a.StatusCode {
	case 429, 502, 503, 504:
	default:
		return 0
	}
	values := a.Response["Retry-After"]
	if len(values) == 0 {
		if a.StatusCode == 429 {
			return posthorn.DefaultThrottle
		}
		return 0
	}
	seconds, err := strconv.Atoi(values[0])
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, posthorn.MaxRetryAfter)
}
