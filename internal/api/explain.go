package api

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
)

// explain says in a sentence or two why a delivery is in its state and what happens next. The subscription is nil when
// it is gone for good; the lane is never nil. Unattended: no worker takes deliveries.
func explain(d *posthorn.Delivery, s *posthorn.Subscription, lane *posthorn.Lane, now time.Time, unattended bool) string {
	switch d.State {
	case posthorn.Delivered:
		return fmt.Sprintf("Delivered: attempt %d was answered %s.", d.Attempts, httpStatus(d.LastStatusCode))
	case posthorn.Exhausted:
		return explainExhausted(d)
	case posthorn.Cancelled:
		return explainCancelled(d)
	}
	if d.ClaimedUntil.After(now) {
		return explainInFlight(d)
	}
	if s == nil || !s.DeletedAt.IsZero() {
		return "Its subscription was deleted, so it is about to be cancelled."
	}
	if s.Status != posthorn.StatusActive {
		return explainHeld(s, lane)
	}
	return explainWaiting(d, s, lane, now, unattended)
}

func explainExhausted(d *posthorn.Delivery) string {
	const after = " Retry it by hand, or replay the event."
	switch d.Reason {
	case posthorn.ReasonWindow:
		return "Given up: its retry window is past. " + lastFailure(d) + after
	case posthorn.ReasonFinalStatus:
		return fmt.Sprintf("Given up: its retry policy makes no retry after a %s. ", httpStatus(d.LastStatusCode)) + lastFailure(d) + after
	case posthorn.ReasonManual:
		return "Given up: the retry asked for by hand failed too. " + lastFailure(d) + after
	}
	return fmt.Sprintf("Given up after %s, as many as its retry policy allows. ", attempts(d.Attempts)) + lastFailure(d) + after
}

func explainCancelled(d *posthorn.Delivery) string {
	const revive = " A manual retry revives it."
	switch d.Reason {
	case posthorn.ReasonRequested:
		return "Cancelled on request." + revive
	case posthorn.ReasonSubscriptionDeleted:
		return "Cancelled because its subscription was deleted."
	case posthorn.ReasonHeldTooLong:
		return "Cancelled because its subscription was paused or disabled for longer than deliveries are held." + revive
	case posthorn.ReasonFilterError:
		return "Never sent: the subscription's filter failed on this event. Correct the filter, or retry it by hand to send it all the same."
	case posthorn.ReasonExpired:
		return "Cancelled because the event's expires_at passed before it was delivered. Publish it again to send it all the same."
	case posthorn.ReasonSkipped:
		return "Cancelled because its subscription was resumed without what it had held." + revive
	case posthorn.ReasonPayloadErased:
		return "Cancelled because the event's payload was erased on request."
	}
	return "Cancelled." + revive
}

func explainInFlight(d *posthorn.Delivery) string {
	number := max(d.Attempts, 1)
	if d.Manual != posthorn.NotManual {
		return fmt.Sprintf("Attempt %d, asked for by hand, is on its way.", number)
	}
	return fmt.Sprintf("Attempt %d is on its way.", number)
}

func explainHeld(s *posthorn.Subscription, lane *posthorn.Lane) string {
	since := ""
	if !lane.HeldSince.IsZero() {
		since = " since " + clock(lane.HeldSince)
	}
	if s.Status == posthorn.StatusPaused {
		return "Held" + since + " because its subscription is paused; it is sent when the subscription is resumed."
	}
	why := "its subscription is disabled"
	switch s.DisabledReason {
	case posthorn.DisabledGone:
		why = "the receiver answered 410 Gone, which disabled its subscription"
	case posthorn.DisabledFailing:
		why = "its subscription failed for too long without one success and was disabled"
	}
	return "Held" + since + " because " + why + "; it is sent when the subscription is resumed."
}

func explainWaiting(d *posthorn.Delivery, s *posthorn.Subscription, lane *posthorn.Lane, now time.Time, unattended bool) string {
	const nobody = ", and no worker takes deliveries at present: none is alive, or all are draining. It is sent when one does."
	past := ""
	if d.LastOutcome != "" {
		past = lastFailure(d) + " "
	}
	due := d.DueAt.After(now)
	switch {
	case d.Manual != posthorn.NotManual && unattended:
		return past + "A retry was asked for by hand" + nobody
	case d.Manual != posthorn.NotManual:
		return past + "A retry was asked for by hand; the next free worker sends it."
	case due && d.Attempts == 0:
		return "Not sent yet: it is due " + at(d.DueAt, now) + "."
	case lane.ThrottledUntil.After(now) && lane.ThrottledUntil.After(d.DueAt):
		return past + "The receiver asked for a pause; nothing is sent to it until " + clock(lane.ThrottledUntil) + "."
	case lane.BreakerOpens > 0 && lane.BreakerUntil.After(now) && lane.BreakerUntil.After(d.DueAt):
		return past + "The receiver failed too often in a row; nothing is sent to it until " + clock(lane.BreakerUntil) +
			", when one delivery tries it again."
	case due:
		return past + "The next attempt is due " + at(d.DueAt, now) + remaining(d, s) + "."
	case unattended:
		return past + "It is due now" + nobody
	case lane.BreakerOpens > 0:
		return past + "The receiver failed too often in a row; one delivery is trying it again, and the others follow when that succeeds."
	case s.Ordering == posthorn.OrderingFIFO && d.Sequence >= 0:
		return past + "It waits for its turn: this subscription gets its deliveries in order, one after the other" +
			allowance(", within its rate limit of", s.RateLimit) + "."
	case s.RateLimit != nil:
		return past + "It is due now and waits for its subscription's rate limit" + allowance(" of", s.RateLimit) + "."
	}
	room := ""
	if s.MaxInFlight > 0 {
		room = fmt.Sprintf(", which has at most %d in flight at once", s.MaxInFlight)
	}
	return past + "It is due now and is sent as soon as a worker has room for this subscription" + room + "."
}

// allowance is a rate limit in words; nothing where there is none.
func allowance(before string, l *posthorn.RateLimit) string {
	if l == nil {
		return ""
	}
	return fmt.Sprintf("%s %d a %s", before, l.Limit, l.Per)
}

// remaining says how many attempts the policy leaves, the next one included.
func remaining(d *posthorn.Delivery, s *posthorn.Subscription) string {
	left := s.Retry.Budget() - d.Spent
	if left <= 1 {
		return "; it is the last one of its retry policy"
	}
	return fmt.Sprintf("; %d are left in its retry policy", left)
}

// endpointFailures are what failed between us and the receiver before it saw the delivery, by the attempt's code.
var endpointFailures = map[string]string{
	"client_certificate_expired":  "was not sent because the subscription's client certificate is not valid at present",
	"client_certificate_required": "failed because the receiver asks for a client certificate",
	"client_certificate_refused":  "failed because the receiver refused the client certificate",
	"ca_expired":                  "was not sent because the subscription's own certificate authority is not valid at present",
}

// lastFailure says what became of the last attempt.
func lastFailure(d *posthorn.Delivery) string {
	what := endpointFailures[d.LastError]
	if strings.HasPrefix(d.LastError, "token_") {
		what = "was not sent because the token endpoint gave no access token"
	}
	if what != "" {
		return fmt.Sprintf("Attempt %d %s.", max(d.Attempts, 1), what)
	}
	switch d.LastOutcome {
	case posthorn.Succeeded:
		what = "succeeded"
	case posthorn.HTTPError:
		what = "was answered " + httpStatus(d.LastStatusCode)
	case posthorn.Timeout:
		what = "took longer than the subscription's timeout"
	case posthorn.DNSError:
		what = "failed because the host name could not be resolved"
	case posthorn.ConnectError:
		what = "failed because no connection could be made, or it was dropped"
	case posthorn.TLSError:
		what = "failed because the TLS handshake or the certificate was not valid"
	case posthorn.Blocked:
		what = "was not sent because the address is not allowed by the egress policy"
	case posthorn.InvalidResponse:
		what = "was answered with something that is not HTTP"
	case posthorn.Interrupted:
		what = "was interrupted on our side"
	default:
		return "No attempt was made."
	}
	return fmt.Sprintf("Attempt %d %s.", max(d.Attempts, 1), what)
}

func httpStatus(code int) string {
	if code == 0 {
		return "with success"
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", code, http.StatusText(code)))
}

func attempts(n int) string {
	if n == 1 {
		return "1 attempt"
	}
	return fmt.Sprintf("%d attempts", n)
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// at is a time to come, absolute and relative.
func at(t, now time.Time) string { return "at " + clock(t) + " (in " + roughly(t.Sub(now)) + ")" }

// roughly is a duration in its two largest units.
func roughly(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", max(1, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days %d h", int(d.Hours())/24, int(d.Hours())%24)
}
