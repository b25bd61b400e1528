package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/posthorn/posthorn"
)

// checkWaiting wants what is pending to wait for something that can be named.
func (b *book) checkWaiting(e *entry) {
	s := b.subscriptions[e.SubscriptionID]
	if e.State != posthorn.Pending || b.Now.IsZero() || s == nil {
		return
	}
	since, why := b.ready(e, s)
	if why == "" && b.Now.Sub(since) > b.Patience {
		b.fault(Stuck, e, "it has been due for %s after %d attempts", b.Now.Sub(since), e.Attempts)
	}
}

// ready is since when a pending delivery could have been sent, or why it cannot be.
func (b *book) ready(e *entry, s *Subscription) (since time.Time, why string) {
	since = latest(e.DueAt, e.CreatedAt)
	if e.Manual != posthorn.NotManual {
		since = e.UpdatedAt
	}
	switch {
	case !s.DeletedAt.IsZero():
		return s.DeletedAt, ""
	case s.Status != posthorn.StatusActive:
		return since, "held"
	case !e.Claim.IsZero() && e.ClaimedUntil.After(b.Now):
		return since, "claimed"
	case s.Lane.BreakerOpens > 0 && e.Manual == posthorn.NotManual:
		return since, "breaker"
	case s.Ordering == posthorn.OrderingFIFO && b.behind(e):
		return since, "order"
	}
	since = latest(since, s.Lane.HeldSince)
	if e.Manual == posthorn.NotManual {
		since = latest(since, s.Lane.ThrottledUntil)
	}
	return since, ""
}

// behind says whether another delivery of its order comes first.
func (b *book) behind(e *entry) bool {
	return slices.ContainsFunc(b.entries, func(o *entry) bool {
		return o.State == posthorn.Pending && o.SubscriptionID == e.SubscriptionID && o.OrderingKey == e.OrderingKey &&
			o.Sequence > 0 && o.Sequence < e.Sequence
	})
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// checkHolds wants nothing to arrive at a lane that is held.
func (b *book) checkHolds() {
	for _, h := range b.Holds {
		for i := range b.Requests {
			r := &b.Requests[i]
			if r.Subscription == h.Subscription && r.At.After(h.From.Add(b.Slack)) && (h.To.IsZero() || r.At.Before(h.To.Add(-b.Slack))) {
				b.eventFault(TooEarly, r.Event, "attempt %d arrived at %s %s after its hold began", r.Attempt, r.Subscription, r.At.Sub(h.From))
			}
		}
	}
}

// checkOrder wants each order of a FIFO lane to be kept: nothing is sent while what comes before it is pending.
func (b *book) checkOrder() {
	type order struct {
		subscription posthorn.SubscriptionID
		key          string
	}
	orders := map[order][]*entry{}
	for _, e := range b.entries {
		if s := b.subscriptions[e.SubscriptionID]; s != nil && s.Ordering == posthorn.OrderingFIFO && e.Sequence > 0 {
			at := order{e.SubscriptionID, e.OrderingKey}
			orders[at] = append(orders[at], e)
		}
	}
	for _, list := range orders {
		slices.SortFunc(list, func(x, y *entry) int { return cmp.Compare(x.Sequence, y.Sequence) })
		b.checkLine(list)
	}
	b.checkAcknowledged()
}

// checkLine walks one order from its end: what is sent before the earliest request of all that come later is in order.
func (b *book) checkLine(list []*entry) {
	var earliest *Request
	var of *entry
	for i := len(list) - 1; i >= 0; i-- {
		e := list[i]
		if i > 0 && list[i-1].Sequence == e.Sequence {
			b.fault(Reordered, e, "two deliveries of one order have the number %d", e.Sequence)
		}
		if earliest != nil {
			b.checkOvertaken(e, of, earliest)
		}
		if len(e.with.entries) == 1 && len(e.with.requests) > 0 && !e.manual() {
			if first := e.with.requests[0]; earliest == nil || first.place < earliest.place {
				earliest, of = first, e
			}
		}
	}
}

// checkOvertaken holds a delivery against the first request of any that comes after it. One that a person has retried or
// that was replayed stands where it stood, and may come later than what went on meanwhile.
func (b *book) checkOvertaken(e, by *entry, later *Request) {
	if e.manual() || len(e.with.entries) > 1 {
		return
	}
	if e.State == posthorn.Pending && len(e.with.requests) == 0 && e.Attempts == 0 {
		b.fault(Reordered, e, "number %d waits, and number %d of the same order (%s) was sent", e.Sequence, by.Sequence, later.Event)
		return
	}
	s := b.subscriptions[e.SubscriptionID]
	for i, r := range e.with.requests {
		if r.place < later.place || r.Attempt > 1 && s.Yields() {
			continue
		}
		// The order goes on once what is under way has been cancelled.
		if e.State == posthorn.Cancelled && b.underWay(e, r) && !later.At.Before(e.CompletedAt.Add(-b.Slack)) {
			continue
		}
		// What was claimed and lost may still arrive, after what took its place.
		if i == 0 || e.State == posthorn.Delivered && r.Attempt == e.Attempts || b.Calm {
			b.fault(Reordered, e, "attempt %d of number %d arrived %s after number %d of the same order (%s)", r.Attempt, e.Sequence,
				r.At.Sub(later.At), by.Sequence, later.Event)
			return
		}
	}
}

// checkAcknowledged wants an event that was sent after another had been acknowledged to have the higher number, where the two
// share an order.
func (b *book) checkAcknowledged() {
	var told, sent []Publish
	begun := map[string]time.Time{}
	for _, p := range b.Publishes {
		if first, ok := begun[p.Key]; p.Key != "" && (!ok || p.Sent.Before(first)) {
			begun[p.Key] = p.Sent
		}
	}
	for _, p := range b.Publishes {
		if p.Key != "" {
			// It may have been stored at the first try, and only the answer lost.
			p.Sent = begun[p.Key]
		}
		if !p.Event.IsZero() && !p.Acknowledged.IsZero() {
			told, sent = append(told, p), append(sent, p)
		}
	}
	slices.SortStableFunc(told, func(x, y Publish) int { return x.Acknowledged.Compare(y.Acknowledged) })
	slices.SortStableFunc(sent, func(x, y Publish) int { return x.Sent.Compare(y.Sent) })
	for id, s := range b.subscriptions {
		if s.Ordering == posthorn.OrderingFIFO {
			b.checkLane(id, told, sent)
		}
	}
}

// checkLane walks the publishes as they were sent, past the numbers of those that had been acknowledged by then.
func (b *book) checkLane(id posthorn.SubscriptionID, told, sent []Publish) {
	highest := map[string]int64{}
	counted := map[posthorn.EventID]bool{}
	for _, p := range sent {
		for ; len(told) > 0 && told[0].Acknowledged.Before(p.Sent); told = told[1:] {
			if e := b.born(told[0].Event, id); e != nil {
				highest[e.OrderingKey] = max(highest[e.OrderingKey], e.number())
			}
			counted[told[0].Event] = true
		}
		// The repetition of a publish was numbered with the first.
		if e := b.born(p.Event, id); e != nil && !counted[p.Event] && e.number() <= highest[e.OrderingKey] {
			b.fault(Reordered, e, "it was published after number %d of its order was acknowledged, and is number %d", highest[e.OrderingKey], e.number())
		}
	}
}

// number is the place in the order that a delivery got, also when it has left it.
func (e *entry) number() int64 { return max(e.Sequence, -e.Sequence) }

// born is the delivery that an event was born with for a subscription, or nil.
func (b *book) born(event posthorn.EventID, subscription posthorn.SubscriptionID) *entry {
	c := b.pairs[pair{event, subscription}]
	if c == nil {
		return nil
	}
	for _, e := range c.entries {
		if e.born {
			return e
		}
	}
	return nil
}
