package ledger

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
)

// content is what an unanswered publish is recognised by.
type content struct{ kind, payload string }

// checkPublishes wants every acknowledged event to be stored with the deliveries that its answer promised, and one event
// for each key.
func (b *book) checkPublishes() {
	byKey := map[string]posthorn.EventID{}
	keyOf := map[posthorn.EventID]string{}
	for i := range b.Publishes {
		p := &b.Publishes[i]
		if p.Event.IsZero() {
			continue
		}
		if p.Key != "" {
			if known, ok := byKey[p.Key]; ok && known != p.Event {
				b.eventFault(Doubled, p.Event, "one key gave this event and %s", known)
			}
			byKey[p.Key] = p.Event
		}
		if key, ok := keyOf[p.Event]; ok && (key != p.Key || key == "") {
			b.eventFault(Doubled, p.Event, "two publishes without one key were given the same event")
		}
		keyOf[p.Event] = p.Key
		if got := b.perEvent[p.Event]; got != p.Deliveries {
			b.eventFault(Lost, p.Event, "%d deliveries were acknowledged and %d are stored", p.Deliveries, got)
		}
		for _, s := range p.Wanted {
			if c := b.pairs[pair{p.Event, s}]; c == nil || len(c.entries) == 0 {
				b.eventFault(Lost, p.Event, "there is no delivery to %s, which wants it", s)
			}
		}
	}
}

// checkRequests wants every request to be of something published and stored, byte for byte and signed.
func (b *book) checkRequests() {
	known, unanswered := b.origins()
	for i := range b.Requests {
		r := &b.Requests[i]
		if r.Signature != nil {
			b.eventFault(Unsigned, r.Event, "attempt %d to %s: %v", r.Attempt, r.Subscription, r.Signature)
		}
		if !strings.HasPrefix(r.Type, posthorn.OperationalPrefix) && len(b.Publishes) > 0 {
			b.checkOrigin(r, known, unanswered)
		}
		b.checkStored(r)
	}
}

// heard says whether an answer may have come in time: the row of a request says what came of it.
func (c *correspondence) heard(r *Request) bool {
	return slices.ContainsFunc(c.entries, func(e *entry) bool {
		a := e.row(r.Attempt)
		return a != nil && (a.Outcome == posthorn.Succeeded || a.Outcome == posthorn.Interrupted)
	})
}

// origins are the publishes by event, and how many events there may be besides: a key that was answered in the end, or that
// never was, stands for one event.
func (b *book) origins() (known map[posthorn.EventID]*Publish, unanswered map[content]int) {
	known, unanswered = map[posthorn.EventID]*Publish{}, map[content]int{}
	counted := map[string]bool{}
	for i := range b.Publishes {
		if p := &b.Publishes[i]; !p.Event.IsZero() {
			known[p.Event] = p
			counted[p.Key] = true
		}
	}
	for i := range b.Publishes {
		p := &b.Publishes[i]
		if !p.Event.IsZero() || p.Key != "" && counted[p.Key] {
			continue
		}
		counted[p.Key] = true
		unanswered[content{p.Type, string(p.Payload)}]++
	}
	return known, unanswered
}

// checkOrigin finds the publish of a request. The first request of an event that nobody was told of uses up one of the
// unanswered publishes.
func (b *book) checkOrigin(r *Request, known map[posthorn.EventID]*Publish, unanswered map[content]int) {
	p := known[r.Event]
	if p == nil {
		c := content{r.Type, string(r.Body)}
		if unanswered[c] == 0 {
			b.eventFault(Unpublished, r.Event, "%s got what nobody published", r.Subscription)
			return
		}
		unanswered[c]--
		known[r.Event] = &Publish{Event: r.Event, Type: r.Type, ContentType: r.ContentType, Payload: r.Body}
		return
	}
	switch {
	case !bytes.Equal(p.Payload, r.Body):
		b.eventFault(Altered, r.Event, "%s got %q, published was %q", r.Subscription, brief(r.Body), brief(p.Payload))
	case p.Type != r.Type:
		b.eventFault(Altered, r.Event, "%s got the type %q, published was %q", r.Subscription, r.Type, p.Type)
	case p.ContentType != "" && p.ContentType != r.ContentType:
		b.eventFault(Altered, r.Event, "%s got the content type %q, published was %q", r.Subscription, r.ContentType, p.ContentType)
	}
	if !p.DeliverAt.IsZero() && r.At.Before(p.DeliverAt.Add(-b.Slack)) && !b.byHand(r) && !b.wasDue(r, p.DeliverAt) {
		b.eventFault(TooEarly, r.Event, "%s got it %s before its deliver_at", r.Subscription, p.DeliverAt.Sub(r.At))
	}
}

// wasDue says whether deliver_at had come when an earlier attempt began: a clock set back since then holds no retry again.
func (b *book) wasDue(r *Request, at time.Time) bool {
	return slices.ContainsFunc(b.pairs[pair{r.Event, r.Subscription}].entries, func(e *entry) bool {
		return slices.ContainsFunc(e.rows, func(a posthorn.Attempt) bool {
			return a.Number < r.Attempt && !a.StartedAt.Before(at.Add(-b.Slack))
		})
	})
}

// byHand says whether a request may have been a manual retry, which waits for nothing.
func (b *book) byHand(r *Request) bool {
	return slices.ContainsFunc(b.pairs[pair{r.Event, r.Subscription}].entries, func(e *entry) bool {
		a := e.row(r.Attempt)
		return a != nil && a.Manual || a == nil && e.manual() || !e.born
	})
}

// checkStored wants a request to be an attempt that is written down.
func (b *book) checkStored(r *Request) {
	c := b.pairs[pair{r.Event, r.Subscription}]
	if len(c.entries) == 0 {
		b.eventFault(Unpublished, r.Event, "%s got it and has no delivery of it", r.Subscription)
		return
	}
	for _, e := range c.entries {
		if e.knows(r.Attempt) {
			return
		}
	}
	b.fault(Disagreed, c.entries[0], "attempt %d was received and is not written down", r.Attempt)
}

// checkDoubles wants one delivery for each event and subscription but for replays, and one request for each attempt.
func (b *book) checkDoubles() {
	for _, e := range b.entries {
		if e.with.entries[0] != e {
			continue
		}
		born := 0
		for _, other := range e.with.entries {
			if other.born {
				born++
			}
		}
		if born > 1 {
			b.fault(Doubled, e, "%d deliveries of the event to %s were born with it", born, e.SubscriptionID)
		}
		b.checkRepeats(e.with)
	}
}

// checkRepeats wants an attempt to be one request. The client sends one that was lost on an old connection, before a byte of
// an answer came, once more.
func (b *book) checkRepeats(c *correspondence) {
	received, answered := map[int]int{}, map[int]int{}
	welcomed := 0
	for _, r := range c.requests {
		received[r.Attempt]++
		if r.Status != 0 {
			answered[r.Attempt]++
		}
		if r.Status/100 == 2 && !r.Unread && c.heard(r) {
			welcomed++
		}
	}
	for number, times := range received {
		claimed := 0
		for _, e := range c.entries {
			if e.knows(number) {
				claimed++
			}
		}
		if claimed > 0 && (times > 2*claimed || answered[number] > claimed) {
			b.fault(Doubled, c.entries[0], "attempt %d was received %d times and answered %d times", number, times, answered[number])
		}
	}
	// What a person cancelled while it was under way, and then retried, may be welcome twice.
	wanted := len(c.entries)
	for _, e := range c.entries {
		for i := range e.rows {
			if e.rows[i].Manual {
				wanted++
			}
		}
	}
	if b.Calm && welcomed > wanted {
		b.fault(Doubled, c.entries[0], "it was received with a 2xx %d times while no node was hurt", welcomed)
	}
}

func brief(b []byte) string {
	if len(b) > 80 {
		return fmt.Sprintf("%s… (%d bytes)", b[:80], len(b))
	}
	return string(b)
}
