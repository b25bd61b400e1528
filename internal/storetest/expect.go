package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
)

// slack is what a real clock may move while a case runs. Cases use durations far above it.
const slack = 5 * time.Second

func (f *Fixture) must(err error) {
	f.T.Helper()
	if err != nil {
		f.T.Fatalf("store: %v", err)
	}
}

// wantKind fails unless err is of a kind.
func (f *Fixture) wantKind(err error, want posthorn.Kind, what string) {
	f.T.Helper()
	if err == nil {
		f.T.Fatalf("%s: no error, want kind %d", what, want)
	}
	if got := posthorn.KindOf(err); got != want {
		f.T.Fatalf("%s: error of kind %d (%v), want kind %d", what, got, err, want)
	}
}

// wantRefusal fails unless err says what the stores say alike.
func (f *Fixture) wantRefusal(err error, want *posthorn.Error, what string) {
	f.T.Helper()
	f.wantKind(err, want.Kind, what)
	if got, _ := errors.AsType[*posthorn.Error](err); got.Message != want.Message {
		f.T.Fatalf("%s: the refusal is %q, want %q", what, got.Message, want.Message)
	}
}

// equal fails unless got is want.
func equal[V comparable](f *Fixture, what string, got, want V) {
	f.T.Helper()
	if got != want {
		f.T.Fatalf("%s is %v, want %v", what, got, want)
	}
}

// wantIn fails unless a moment lies d from now, within the slack. Moments are only ever compared with the present one:
// where Elapse moves stored times back, absolute ones mean nothing.
func (f *Fixture) wantIn(what string, at time.Time, d time.Duration) {
	f.T.Helper()
	if at.IsZero() {
		f.T.Fatalf("%s is not set, want it in %s", what, d)
	}
	if got := at.Sub(f.Store.Now()); got < d-slack || got > d+slack {
		f.T.Fatalf("%s is in %s, want in %s", what, got, d)
	}
}

// wantUnset fails unless a moment is the zero time.
func (f *Fixture) wantUnset(what string, at time.Time) {
	f.T.Helper()
	if !at.IsZero() {
		f.T.Fatalf("%s is %s, want it unset", what, at)
	}
}

// Delivery reads a delivery.
func (f *Fixture) Delivery(id posthorn.DeliveryID) *posthorn.Delivery {
	f.T.Helper()
	d, err := f.Store.GetDelivery(f.Context(), f.Tenant, id)
	f.must(err)
	return d
}

// wantState fails unless a delivery is in a state for a reason.
func (f *Fixture) wantState(id posthorn.DeliveryID, state posthorn.State, reason posthorn.Reason) *posthorn.Delivery {
	f.T.Helper()
	d := f.Delivery(id)
	if d.State != state || d.Reason != reason {
		f.T.Fatalf("delivery is %s (%s), want %s (%s)", d.State, d.Reason, state, reason)
	}
	if ended := d.State != posthorn.Pending; ended == d.CompletedAt.IsZero() {
		f.T.Fatalf("delivery is %s, completed at %s", d.State, d.CompletedAt)
	}
	return d
}

// Attempts reads a delivery's attempts and fails unless they are numbered from 1 without gaps.
func (f *Fixture) Attempts(id posthorn.DeliveryID) []posthorn.Attempt {
	f.T.Helper()
	attempts, err := f.Store.ListAttempts(f.Context(), f.Tenant, id)
	f.must(err)
	for i := range attempts {
		if attempts[i].Number != i+1 {
			f.T.Fatalf("attempt %d of the list has the number %d", i+1, attempts[i].Number)
		}
	}
	return attempts
}

// wantOutcomes fails unless a delivery's attempts ended so, in order.
func (f *Fixture) wantOutcomes(id posthorn.DeliveryID, want ...posthorn.Outcome) []posthorn.Attempt {
	f.T.Helper()
	attempts := f.Attempts(id)
	got := make([]posthorn.Outcome, len(attempts))
	for i := range attempts {
		got[i] = attempts[i].Outcome
	}
	if !slices.Equal(got, want) {
		f.T.Fatalf("outcomes are %v, want %v", got, want)
	}
	return attempts
}

// Lane reads a subscription's lane.
func (f *Fixture) Lane(id posthorn.SubscriptionID) posthorn.Lane {
	f.T.Helper()
	lanes, err := f.Store.Lanes(f.Context(), f.Tenant, []posthorn.SubscriptionID{id})
	f.must(err)
	if len(lanes) != 1 {
		f.T.Fatalf("%d lanes for one subscription", len(lanes))
	}
	return lanes[0]
}

// Version reads the tenant's subscriptions version.
func (f *Fixture) Version() int64 {
	f.T.Helper()
	version, _, err := f.Store.SubscriptionsSince(f.Context(), f.Tenant, 0)
	f.must(err)
	return version
}

// Subscription reads a subscription.
func (f *Fixture) Subscription(id posthorn.SubscriptionID) *posthorn.Subscription {
	f.T.Helper()
	s, err := f.Store.GetSubscription(f.Context(), f.Tenant, id)
	f.must(err)
	return s
}

// claimedIDs are the deliveries of claims, in order.
func claimedIDs(claims []posthorn.Claimed) idList {
	ids := make(idList, len(claims))
	for i := range claims {
		ids[i] = claims[i].DeliveryID
	}
	return ids
}

type idList []posthorn.DeliveryID

func (l idList) String() string {
	texts := make([]string, len(l))
	for i := range l {
		texts[i] = l[i].String()
	}
	return "[" + strings.Join(texts, " ") + "]"
}

// wantIDs fails unless claims are for these deliveries in this order.
func (f *Fixture) wantIDs(what string, claims []posthorn.Claimed, want ...posthorn.DeliveryID) {
	f.T.Helper()
	if got := claimedIDs(claims); !slices.Equal(got, idList(want)) {
		f.T.Fatalf("%s: %s, want %s", what, got, idList(want))
	}
}

// wantSet fails unless got has exactly these elements, in any order.
func wantSet[V fmt.Stringer](f *Fixture, what string, got []V, want ...V) {
	f.T.Helper()
	texts := func(vs []V) []string {
		out := make([]string, len(vs))
		for i, v := range vs {
			out[i] = v.String()
		}
		slices.Sort(out)
		return out
	}
	if g, w := texts(got), texts(want); !slices.Equal(g, w) {
		f.T.Fatalf("%s: %v, want %v", what, g, w)
	}
}

// wantAbout fails unless a duration is what it should be within the slack.
func (f *Fixture) wantAbout(what string, got, want time.Duration) {
	f.T.Helper()
	if got < want-slack || got > want+slack {
		f.T.Fatalf("%s is %s, want %s", what, got, want)
	}
}
