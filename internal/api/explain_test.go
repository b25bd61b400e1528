package api

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

func TestExplain(t *testing.T) {
	now := time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
	active := &posthorn.Subscription{Status: posthorn.StatusActive, Policy: posthorn.Policy{Retry: posthorn.DefaultRetryPolicy()}}
	fifo := &posthorn.Subscription{Status: posthorn.StatusActive, Policy: posthorn.Policy{Ordering: posthorn.OrderingFIFO}}
	narrow := &posthorn.Subscription{Status: posthorn.StatusActive, Policy: posthorn.Policy{MaxInFlight: 2}}
	limited := &posthorn.Subscription{Status: posthorn.StatusActive, Policy: posthorn.Policy{
		Retry: posthorn.DefaultRetryPolicy(), MaxInFlight: 64, RateLimit: &posthorn.RateLimit{Limit: 10, Per: "second"},
	}}
	slow := &posthorn.Subscription{Status: posthorn.StatusActive, Policy: posthorn.Policy{
		Ordering: posthorn.OrderingFIFO, RateLimit: &posthorn.RateLimit{Limit: 3, Per: "minute"},
	}}
	paused := &posthorn.Subscription{Status: posthorn.StatusPaused}
	gone := &posthorn.Subscription{Status: posthorn.StatusDisabled, DisabledReason: posthorn.DisabledGone}
	failing := &posthorn.Subscription{Status: posthorn.StatusDisabled, DisabledReason: posthorn.DisabledFailing}
	deleted := &posthorn.Subscription{DeletedAt: now}
	free := posthorn.Lane{}
	held := posthorn.Lane{HeldSince: now.Add(-time.Hour)}
	throttled := posthorn.Lane{ThrottledUntil: now.Add(time.Minute)}
	open := posthorn.Lane{BreakerOpens: 1, BreakerUntil: now.Add(time.Minute)}
	probing := posthorn.Lane{BreakerOpens: 2, BreakerUntil: now.Add(-time.Second)}
	pending := func(change func(*posthorn.Delivery)) posthorn.Delivery {
		d := posthorn.Delivery{State: posthorn.Pending, DueAt: now}
		if change != nil {
			change(&d)
		}
		return d
	}
	failed := func(due time.Duration) posthorn.Delivery {
		return pending(func(d *posthorn.Delivery) {
			d.Attempts, d.Spent, d.DueAt, d.LastOutcome, d.LastStatusCode = 2, 2, now.Add(due), posthorn.HTTPError, 503
		})
	}
	tests := []struct {
		name string
		d    posthorn.Delivery
		s    *posthorn.Subscription
		lane posthorn.Lane
		want string
	}{
		{
			"Delivered",
			posthorn.Delivery{State: posthorn.Delivered, Attempts: 3, LastStatusCode: 204},
			active, free,
			"Delivered: attempt 3 was answered 204 No Content.",
		},
		{"Due", pending(nil), active, free, "It is due now and is sent as soon as a worker has room for this subscription."},
		{
			"DueWithinRoom", pending(nil), narrow, free,
			"It is due now and is sent as soon as a worker has room for this subscription, which has at most 2 in flight at once.",
		},
		{"DueLimited", pending(nil), limited, free, "It is due now and waits for its subscription's rate limit of 10 a second."},
		{
			"RetryLimited", failed(0), limited, free,
			"Attempt 2 was answered 503 Service Unavailable. It is due now and waits for its subscription's rate limit of 10 a second.",
		},
		{
			"LaterLimited", failed(5 * time.Minute), limited, free,
			"Attempt 2 was answered 503 Service Unavailable. The next attempt is due at 2026-01-31 09:35:00 UTC (in 5 min 0 s); 8 are left in its retry policy.",
		},
		{
			"DueLimitedFIFO", pending(nil), slow, free,
			"It waits for its turn: this subscription gets its deliveries in order, one after the other, within its rate limit of 3 a minute.",
		},
		{"DueFIFO", pending(nil), fifo, free, "It waits for its turn: this subscription gets its deliveries in order, one after the other."},
		{
			"Later", pending(func(d *posthorn.Delivery) { d.DueAt = now.Add(26 * time.Hour) }), active, free,
			"Not sent yet: it is due at 2026-02-01 11:30:00 UTC (in 26 h 0 min).",
		},
		{
			"InFlight", pending(func(d *posthorn.Delivery) { d.ClaimedUntil, d.Attempts = now.Add(time.Second), 1 }), active, free,
			"Attempt 1 is on its way.",
		},
		{
			"InFlightByHand", pending(func(d *posthorn.Delivery) { d.ClaimedUntil, d.Attempts, d.Manual = now.Add(time.Second), 4, 1 }), active, free,
			"Attempt 4, asked for by hand, is on its way.",
		},
		{
			"LeaseRanOut", pending(func(d *posthorn.Delivery) { d.ClaimedUntil, d.Attempts = now.Add(-time.Second), 1 }), active, free,
			"It is due now and is sent as soon as a worker has room for this subscription.",
		},
		{
			"ByHand", pending(func(d *posthorn.Delivery) { d.Manual = posthorn.ManualAfterEnd }), active, free,
			"A retry was asked for by hand; the next free worker sends it.",
		},
		{
			"Retry", failed(5 * time.Minute), active, free,
			"Attempt 2 was answered 503 Service Unavailable. The next attempt is due at 2026-01-31 09:35:00 UTC (in 5 min 0 s); 8 are left in its retry policy.",
		},
		{"LastRetry", pending(func(d *posthorn.Delivery) {
			d.Attempts, d.Spent, d.DueAt, d.LastOutcome = 9, 9, now.Add(5*time.Second), posthorn.Timeout
		}), active, free, "Attempt 9 took longer than the subscription's timeout. The next attempt is due at 2026-01-31 09:30:05 UTC (in 5 s); it is the last one of its retry policy."},
		{"Paused", failed(0), paused, held, "Held since 2026-01-31 08:30:00 UTC because its subscription is paused; it is sent when the subscription is resumed."},
		{"Gone", failed(0), gone, held, "Held since 2026-01-31 08:30:00 UTC because the receiver answered 410 Gone, which disabled its subscription; it is sent when the subscription is resumed."},
		{"Failing", pending(nil), failing, free, "Held because its subscription failed for too long without one success and was disabled; it is sent when the subscription is resumed."},
		{"Deleted", pending(nil), deleted, free, "Its subscription was deleted, so it is about to be cancelled."},
		{"Vanished", pending(nil), nil, free, "Its subscription was deleted, so it is about to be cancelled."},
		{
			"Throttled", failed(0), active, throttled,
			"Attempt 2 was answered 503 Service Unavailable. The receiver asked for a pause; nothing is sent to it until 2026-01-31 09:31:00 UTC.",
		},
		{
			"ThrottledShorter", failed(time.Hour), active, throttled,
			"Attempt 2 was answered 503 Service Unavailable. The next attempt is due at 2026-01-31 10:30:00 UTC (in 1 h 0 min); 8 are left in its retry policy.",
		},
		{
			"Breaker", pending(nil), active, open,
			"The receiver failed too often in a row; nothing is sent to it until 2026-01-31 09:31:00 UTC, when one delivery tries it again.",
		},
		{
			"Probing", pending(nil), active, probing,
			"The receiver failed too often in a row; one delivery is trying it again, and the others follow when that succeeds.",
		},
		{
			"Expired",
			posthorn.Delivery{State: posthorn.Cancelled, Reason: posthorn.ReasonExpired},
			active, free,
			"Cancelled because the event's expires_at passed before it was delivered. Publish it again to send it all the same.",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := explain(&test.d, test.s, &test.lane, now, false); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestExplainUnattended(t *testing.T) {
	now := time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
	s := &posthorn.Subscription{Status: posthorn.StatusActive, Policy: posthorn.Policy{
		Ordering: posthorn.OrderingFIFO, RateLimit: &posthorn.RateLimit{Limit: 3, Per: "minute"},
	}}
	const nobody = ", and no worker takes deliveries at present: none is alive, or all are draining. It is sent when one does."
	for name, c := range map[string]struct {
		d    posthorn.Delivery
		want string
	}{
		"Due":      {posthorn.Delivery{DueAt: now}, "It is due now" + nobody},
		"ByHand":   {posthorn.Delivery{DueAt: now.Add(time.Hour), Manual: posthorn.ManualWhilePending}, "A retry was asked for by hand" + nobody},
		"Later":    {posthorn.Delivery{DueAt: now.Add(time.Minute)}, "Not sent yet: it is due at 2026-01-31 09:31:00 UTC (in 1 min 0 s)."},
		"OnItsWay": {posthorn.Delivery{DueAt: now, Attempts: 1, ClaimedUntil: now.Add(time.Second)}, "Attempt 1 is on its way."},
	} {
		t.Run(name, func(t *testing.T) {
			c.d.State = posthorn.Pending
			if got := explain(&c.d, s, &posthorn.Lane{}, now, true); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestExplainCoversAll wants a sentence of its own for every reason and outcome, and never an empty one.
func TestExplainCoversAll(t *testing.T) {
	reasons := map[posthorn.State][]posthorn.Reason{
		posthorn.Exhausted: {posthorn.ReasonAttempts, posthorn.ReasonWindow, posthorn.ReasonFinalStatus, posthorn.ReasonManual},
		posthorn.Cancelled: {
			posthorn.ReasonRequested, posthorn.ReasonSubscriptionDeleted, posthorn.ReasonHeldTooLong, posthorn.ReasonFilterError,
			posthorn.ReasonExpired, posthorn.ReasonPayloadErased,
		},
	}
	var seen []string
	for state, list := range reasons {
		for _, reason := range list {
			d := &posthorn.Delivery{State: state, Reason: reason, Attempts: 1, LastOutcome: posthorn.Timeout}
			text := explain(d, nil, &posthorn.Lane{}, time.Time{}, false)
			if !strings.HasSuffix(text, ".") || slices.Contains(seen, text) {
				t.Errorf("%s for %s is explained as %q", state, reason, text)
			}
			seen = append(seen, text)
		}
	}
	for _, outcome := range posthorn.Outcomes {
		text := lastFailure(&posthorn.Delivery{LastOutcome: outcome})
		if !strings.HasPrefix(text, "Attempt 1 ") || slices.Contains(seen, text) {
			t.Errorf("%s is explained as %q", outcome, text)
		}
		seen = append(seen, text)
	}
}

func TestRoughly(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Millisecond: "1 s", 59 * time.Second: "59 s", 90 * time.Second: "1 min 30 s", 3 * time.Hour: "3 h 0 min",
		75 * time.Hour: "3 days 3 h",
	} {
		if got := roughly(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
}
