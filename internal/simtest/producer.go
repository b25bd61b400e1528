package simtest

import (
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/ledger"
)

// order is one request of a producer: one event or a batch.
type order struct {
	events []posthorn.Event
	// deliverIn and expiresIn count from the publish; 0 is none.
	deliverIn, expiresIn time.Duration
	node, tries          int
	pause                time.Duration
	// again publishes once more after it was accepted.
	again bool
}

// drawPublishes puts bursts of events on the agenda.
func (w *world) drawPublishes() {
	number := 0
	for range 3 + w.draws.IntN(10) {
		at := w.sometime()
		for range 1 + w.draws.IntN(7) {
			o := w.drawOrder(&number)
			w.plan(at, "", func() { w.beside(func() { w.publish(o) }) })
			if w.chance(0.7) {
				at += w.span(0, 2*time.Second)
			}
		}
	}
}

func (w *world) drawOrder(number *int) *order {
	o := &order{node: w.draws.IntN(w.nodes), tries: 1, pause: w.span(100*time.Millisecond, 5*time.Second)}
	size := 1
	if w.chance(0.1) {
		size = 2 + w.draws.IntN(12)
	}
	keyed := w.chance(0.5)
	if keyed {
		o.tries, o.again = 1+w.draws.IntN(6), w.chance(0.2)
	}
	for range size {
		*number++
		e := posthorn.Event{
			Type: pick(w, kinds), OrderingKey: pick(w, keys),
			Payload: fmt.Appendf(nil, "{\"n\": %d,  \"z\": 1.0e0, \"é\":\"\\u00e9 \xf0\x9f\x93\xaf\"}\n", *number),
		}
		if w.chance(0.2) {
			e.ContentType = "text/plain; charset=utf-8"
		}
		if keyed {
			e.IdempotencyKey = fmt.Sprintf("key-%d", *number)
		}
		o.events = append(o.events, e)
	}
	if w.chance(0.08) {
		o.deliverIn = w.span(time.Second, 20*time.Minute)
	}
	if w.chance(0.08) {
		o.expiresIn = w.span(time.Second, 10*time.Minute)
	}
	return o
}

// publish is a producer who repeats under the same key until there is an answer, for a while.
func (w *world) publish(o *order) {
	now := w.clock.now()
	for i := range o.events {
		if o.deliverIn > 0 {
			o.events[i].DeliverAt = now.Add(o.deliverIn).UTC()
		}
		if o.expiresIn > 0 {
			o.events[i].ExpiresAt = now.Add(o.expiresIn).UTC()
		}
	}
	for try := range o.tries {
		if w.try(o, o.node+try) {
			if o.again {
				w.try(o, o.node+1)
			}
			return
		}
		time.Sleep(o.pause)
	}
}

// try publishes once and writes down what the answer was.
func (w *world) try(o *order, at int) bool {
	n := w.someNode(at % w.nodes)
	if n == nil {
		return false
	}
	events := make([]*posthorn.Event, len(o.events))
	facts := make([]ledger.Publish, len(o.events))
	for i := range o.events {
		e := o.events[i]
		events[i] = &e
		facts[i] = ledger.Publish{
			Key: e.IdempotencyKey, Type: e.Type, ContentType: e.ContentType, Payload: e.Payload, OrderingKey: e.OrderingKey,
			DeliverAt: e.DeliverAt, Sent: time.Now(),
		}
		if e.ContentType == "" {
			facts[i].ContentType = posthorn.DefaultContentType
		}
	}
	answers, err := n.Publisher.PublishBatch(w.t.Context(), w.tenant, events)
	w.mu.Lock()
	defer w.mu.Unlock()
	whole := err == nil
	for i := range facts {
		switch {
		case err != nil:
		case answers[i].Err != nil:
			whole = false
		default:
			f := &facts[i]
			f.Event, f.Deliveries, f.Acknowledged = answers[i].EventID, answers[i].Deliveries, time.Now()
			if !answers[i].Duplicate {
				f.Wanted = w.wantedLocked(f)
			}
		}
	}
	if err != nil && posthorn.KindOf(err) != posthorn.Unavailable {
		w.t.Errorf("a publish was answered: %v", err)
	}
	w.publishes = append(w.publishes, facts...)
	return whole
}

// wantedLocked are the shops that were there all the while and want the event.
func (w *world) wantedLocked(p *ledger.Publish) []posthorn.SubscriptionID {
	var ids []posthorn.SubscriptionID
	for _, s := range w.shops {
		if s.created.IsZero() || !s.created.Before(p.Sent) || !s.leaving.IsZero() {
			continue
		}
		if posthorn.MatchesType(s.draft.EventTypes, p.Type) {
			ids = append(ids, s.id)
		}
	}
	return ids
}
