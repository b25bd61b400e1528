// Package ledger holds both ends of a delivery service against its middle: what producers were told, what receivers got,
// and what the store has written down must agree. It owns the rules as one pure function over facts, so that simulations,
// property tests and tests of real processes judge by the same law. It leaves gathering the facts to its callers.
package ledger

import (
	"fmt"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
)

// Facts are what is known of one run. Whatever is left empty is not judged: without Requests nothing is said about
// receivers, without a Subscription nothing about its lane.
type Facts struct {
	Publishes []Publish
	// Requests stand in order of arrival.
	Requests      []Request
	Subscriptions []Subscription
	Deliveries    []posthorn.Delivery
	Attempts      []posthorn.Attempt
	// Replayed are the deliveries that were made by replays; those of bulk replays show it by themselves.
	Replayed []posthorn.DeliveryID
	// Replays are the bulk replays, which must have made each delivery they count, once.
	Replays []posthorn.Replay
	// Holds are the times in which a lane was paused or disabled for certain.
	Holds []Hold

	// Now is the store's clock when the rows were read. With the zero time nothing is said of pending deliveries.
	Now time.Time
	// Patience is how long past its time a pending delivery may wait before it counts as stuck.
	Patience time.Duration
	// Slack is how far the clocks of receivers, nodes and the store may be apart.
	Slack time.Duration
	// Hearing is how long a node may not hear that what it holds was cancelled elsewhere, where signals get lost.
	Hearing time.Duration
	// Calm says that no node was hurt and no answer of the store lost: then nothing may be interrupted or sent twice.
	Calm bool
	// Partial says that requests may be missing here, as where a receiver was killed too: then rows need no request.
	Partial bool
}

// Publish is one event as its producer knows it.
type Publish struct {
	// Event is zero when there was no answer: whether it was accepted is then unknown.
	Event posthorn.EventID
	// Key is the idempotency key: publishes with one key are one event.
	Key         string
	Type        string
	ContentType string
	Payload     []byte
	OrderingKey string
	// Deliveries is the answer's count; it is judged when Event is set.
	Deliveries int
	// Wanted are subscriptions that must have a delivery of it, where the producer can tell.
	Wanted []posthorn.SubscriptionID
	// Sent is when the request was begun, Acknowledged when its 2xx had been read.
	Sent, Acknowledged time.Time
	DeliverAt          time.Time
}

// Request is one request as a receiver got it whole.
type Request struct {
	Subscription posthorn.SubscriptionID
	Event        posthorn.EventID
	// Attempt is webhook-attempt.
	Attempt     int
	At          time.Time
	Type        string
	ContentType string
	Body        []byte
	// Signature is what verifying said; nil means that it is right.
	Signature error
	// Status is what the receiver answered with, 0 for none or for what was no answer. Unread says that the answer was late
	// or broken off, so that a success would not count.
	Status int
	Unread bool

	// place counts the requests in order of arrival.
	place int
}

// Subscription is one that was made during the run, with its lane at the end.
type Subscription struct {
	posthorn.Subscription
	Lane posthorn.Lane
}

// Hold is a time in which nothing may have been sent to a subscription. The zero To is no end.
type Hold struct {
	Subscription posthorn.SubscriptionID
	From, To     time.Time
}

// Rule names what was broken.
type Rule string

// The rules.
const (
	Lost        Rule = "an acknowledged event is lost"
	Unpublished Rule = "something was delivered that was not published"
	Doubled     Rule = "something exists twice"
	Stuck       Rule = "a delivery waits without a reason"
	Disagreed   Rule = "store and receiver disagree"
	Misnumbered Rule = "attempts are not numbered without gaps"
	TooEarly    Rule = "a delivery was attempted before its time"
	TooLate     Rule = "a delivery was attempted after its end"
	Reordered   Rule = "a lane is out of order"
	Altered     Rule = "a payload was altered"
	Unsigned    Rule = "a signature is wrong"
	Impossible  Rule = "a row contradicts itself"
)

// Violation is one broken rule.
type Violation struct {
	Rule     Rule
	Event    posthorn.EventID
	Delivery posthorn.DeliveryID
	What     string
}

func (v Violation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ", v.Rule)
	if !v.Event.IsZero() {
		fmt.Fprintf(&b, "%s ", v.Event)
	}
	if !v.Delivery.IsZero() {
		fmt.Fprintf(&b, "%s ", v.Delivery)
	}
	return b.String() + v.What
}

// Check judges a run. What it returns is empty for one that kept every promise.
func Check(f Facts) []Violation {
	b := open(f)
	b.checkPublishes()
	b.checkRequests()
	for _, e := range b.entries {
		b.checkNumbers(e)
		b.checkRow(e)
		b.checkTimes(e)
		b.checkWaiting(e)
	}
	b.checkDoubles()
	b.checkReplays()
	b.checkHolds()
	b.checkOrder()
	return b.found
}
