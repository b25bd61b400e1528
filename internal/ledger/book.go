package ledger

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/posthorn/posthorn"
)

// book is the facts by what they belong to.
type book struct {
	Facts
	entries       []*entry
	byDelivery    map[posthorn.DeliveryID]*entry
	pairs         map[pair]*correspondence
	perEvent      map[posthorn.EventID]int
	subscriptions map[posthorn.SubscriptionID]*Subscription
	found         []Violation
}

// pair is an event and whom it goes to: all that a receiver can tell of a delivery.
type pair struct {
	event        posthorn.EventID
	subscription posthorn.SubscriptionID
}

// correspondence is everything between one event and one subscription: more than one delivery where it was replayed.
type correspondence struct {
	entries  []*entry
	requests []*Request
}

// entry is one delivery with its attempts in order of number.
type entry struct {
	posthorn.Delivery
	rows []posthorn.Attempt
	// born says that it was made with its event, not by a replay.
	born bool
	with *correspondence
}

func open(f Facts) *book {
	b := &book{
		Facts: f, byDelivery: map[posthorn.DeliveryID]*entry{}, pairs: map[pair]*correspondence{},
		perEvent: map[posthorn.EventID]int{}, subscriptions: map[posthorn.SubscriptionID]*Subscription{},
	}
	for i := range f.Subscriptions {
		b.subscriptions[f.Subscriptions[i].ID] = &f.Subscriptions[i]
	}
	replayed := map[posthorn.DeliveryID]bool{}
	for _, id := range f.Replayed {
		replayed[id] = true
	}
	for i := range f.Deliveries {
		e := &entry{Delivery: f.Deliveries[i]}
		e.born = e.Replay.IsZero() && !replayed[e.ID]
		if b.byDelivery[e.ID] != nil {
			b.fault(Doubled, e, "the delivery is listed twice")
			continue
		}
		e.with = b.between(e.EventID, e.SubscriptionID)
		e.with.entries = append(e.with.entries, e)
		b.byDelivery[e.ID] = e
		b.entries = append(b.entries, e)
		if e.born {
			b.perEvent[e.EventID]++
		}
	}
	b.takeAttempts()
	b.Requests = slices.Clone(f.Requests)
	for i := range b.Requests {
		r := &b.Requests[i]
		r.place = i
		with := b.between(r.Event, r.Subscription)
		with.requests = append(with.requests, r)
	}
	return b
}

func (b *book) takeAttempts() {
	for i := range b.Attempts {
		a := &b.Attempts[i]
		if e := b.byDelivery[a.DeliveryID]; e != nil {
			e.rows = append(e.rows, *a)
			continue
		}
		b.found = append(b.found, Violation{Impossible, a.EventID, a.DeliveryID, fmt.Sprintf("attempt %d belongs to no delivery", a.Number)})
	}
	for _, e := range b.entries {
		slices.SortStableFunc(e.rows, func(x, y posthorn.Attempt) int { return cmp.Compare(x.Number, y.Number) })
	}
}

func (b *book) between(e posthorn.EventID, s posthorn.SubscriptionID) *correspondence {
	c := b.pairs[pair{e, s}]
	if c == nil {
		c = &correspondence{}
		b.pairs[pair{e, s}] = c
	}
	return c
}

func (b *book) fault(rule Rule, e *entry, format string, args ...any) {
	b.found = append(b.found, Violation{rule, e.EventID, e.ID, fmt.Sprintf(format, args...)})
}

func (b *book) eventFault(rule Rule, event posthorn.EventID, format string, args ...any) {
	b.found = append(b.found, Violation{rule, event, posthorn.DeliveryID{}, fmt.Sprintf(format, args...)})
}

// row is the attempt of a number, or nil.
func (e *entry) row(number int) *posthorn.Attempt {
	i, ok := slices.BinarySearchFunc(e.rows, number, func(a posthorn.Attempt, n int) int { return cmp.Compare(a.Number, n) })
	if !ok {
		return nil
	}
	return &e.rows[i]
}

// last is the attempt with the highest number, or nil.
func (e *entry) last() *posthorn.Attempt {
	if len(e.rows) == 0 {
		return nil
	}
	return &e.rows[len(e.rows)-1]
}

// manual says that a person has retried it.
func (e *entry) manual() bool {
	return e.Manual != posthorn.NotManual || slices.ContainsFunc(e.rows, func(a posthorn.Attempt) bool { return a.Manual })
}

// knows says whether an attempt of a number was ever claimed.
func (e *entry) knows(number int) bool {
	return e.row(number) != nil || !e.Claim.IsZero() && number == e.Attempts
}
