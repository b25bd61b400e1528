package storetest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

// Fixture is a store with one tenant and one node, and the means to fill it with rows. Its methods end the test on an
// error, so they belong to the test's own goroutine.
type Fixture struct {
	T      *testing.T
	Store  posthorn.Store
	Tenant posthorn.TenantID
	Node   posthorn.NodeID

	harness Harness
	ids     atomic.Int64
	age     time.Duration
	// matched makes acceptances as a publisher does, of the present version.
	matched bool
}

// NewFixture makes a tenant and a node's id in a store.
func NewFixture(t *testing.T, store posthorn.Store) *Fixture {
	t.Helper()
	f := &Fixture{T: t, Store: store}
	f.Node = posthorn.NodeID{UUID: f.ID()}
	f.Tenant = f.NewTenant("acme")
	return f
}

// Context is the test's own.
func (f *Fixture) Context() context.Context { return f.T.Context() }

// ID makes an id later than all before it, also where time stands still.
func (f *Fixture) ID() posthorn.UUID {
	step := time.Duration(f.ids.Add(1)) * time.Microsecond
	return posthorn.NewUUID(f.Store.Now().Add(step - f.age))
}

// Elapse lets time pass on the store's clock.
func (f *Fixture) Elapse(d time.Duration) {
	f.T.Helper()
	f.harness.Elapse(f.T, f.Store, d)
}

// Aged makes rows that are d old afterwards, by their ids as well as by their times.
func (f *Fixture) Aged(d time.Duration, make func()) {
	f.T.Helper()
	f.age = d
	make()
	f.age = 0
	f.Elapse(d)
}

// As is the fixture acting for another tenant.
func (f *Fixture) As(tenant posthorn.TenantID) *Fixture {
	other := &Fixture{T: f.T, Store: f.Store, Tenant: tenant, Node: f.Node, harness: f.harness}
	other.ids.Store(f.ids.Load() + 1<<16)
	return other
}

// NewTenant stores a tenant.
func (f *Fixture) NewTenant(name string) posthorn.TenantID {
	f.T.Helper()
	tenant := &posthorn.Tenant{ID: posthorn.TenantID{UUID: f.ID()}, Name: name}
	f.must(f.Store.CreateTenant(f.Context(), tenant))
	return tenant.ID
}

// NewSubscription makes a valid subscription that is not stored yet.
func (f *Fixture) NewSubscription(change ...func(*posthorn.Subscription)) *posthorn.Subscription {
	s := &posthorn.Subscription{
		ID:       posthorn.SubscriptionID{UUID: f.ID()},
		TenantID: f.Tenant,
		Policy:   posthorn.Policy{URL: "https://receiver.example/hook"},
		Confidential: posthorn.Confidential{
			Secrets: []posthorn.Secret{{Value: "whsec_c3RvcmV0ZXN0LXNlY3JldC0wMDAwMDA=", CreatedAt: f.Store.Now()}},
		},
	}
	for _, c := range change {
		c(s)
	}
	s.SetDefaults()
	return s
}

// Subscribe stores a subscription.
func (f *Fixture) Subscribe(change ...func(*posthorn.Subscription)) posthorn.SubscriptionID {
	f.T.Helper()
	s := f.NewSubscription(change...)
	f.must(f.Store.CreateSubscription(f.Context(), s))
	return s.ID
}

// Ordered makes a subscription's lane FIFO.
func Ordered(s *posthorn.Subscription) { s.Ordering = posthorn.OrderingFIFO }

// WithStatus gives a subscription a status.
func WithStatus(status posthorn.Status) func(*posthorn.Subscription) {
	return func(s *posthorn.Subscription) { s.Status = status }
}

// NewEvent makes a valid event that is not stored yet.
func (f *Fixture) NewEvent(change ...func(*posthorn.Event)) *posthorn.Event {
	e := &posthorn.Event{
		ID:          posthorn.EventID{UUID: f.ID()},
		TenantID:    f.Tenant,
		Type:        "invoice.paid",
		Payload:     []byte(`{"amount":1200}`),
		ContentType: posthorn.DefaultContentType,
	}
	for _, c := range change {
		c(e)
	}
	return e
}

// Keyed gives an event an ordering key.
func Keyed(key string) func(*posthorn.Event) {
	return func(e *posthorn.Event) { e.OrderingKey = key }
}

// Acceptance is an event with matches that do not ask to be born claimed.
func (f *Fixture) Acceptance(e *posthorn.Event, subscriptions ...posthorn.SubscriptionID) posthorn.Acceptance {
	a := posthorn.Acceptance{Event: e, Version: posthorn.AnyVersion}
	matched := f.matched
	for _, id := range subscriptions {
		m := posthorn.Match{SubscriptionID: id, DeliveryID: posthorn.DeliveryID{UUID: f.ID()}}
		if f.matched {
			sub, err := f.Store.GetSubscription(f.Context(), f.Tenant, id)
			// What is gone, or another's, is matched by nothing but a replay.
			matched = matched && err == nil
			m.Unordered = err == nil && sub.Ordering == posthorn.OrderingNone
		}
		a.Matches = append(a.Matches, m)
	}
	if matched {
		a.Version = f.Version()
	}
	return a
}

// Accept stores acceptances and fails on an event's own error.
func (f *Fixture) Accept(batch ...posthorn.Acceptance) []posthorn.Accepted {
	f.T.Helper()
	answers, err := f.Store.AcceptEvents(f.Context(), f.Node, batch)
	f.must(err)
	if len(answers) != len(batch) {
		f.T.Fatalf("%d answers to %d acceptances", len(answers), len(batch))
	}
	for i := range answers {
		f.must(answers[i].Err)
	}
	return answers
}

// Publish stores a new event for subscriptions and gives its deliveries, which are pending and unclaimed.
func (f *Fixture) Publish(subscriptions ...posthorn.SubscriptionID) (posthorn.EventID, []posthorn.DeliveryID) {
	f.T.Helper()
	return f.PublishEvent(f.NewEvent(), subscriptions...)
}

// PublishEvent is Publish with an event made by the test.
func (f *Fixture) PublishEvent(e *posthorn.Event, subscriptions ...posthorn.SubscriptionID) (posthorn.EventID, []posthorn.DeliveryID) {
	f.T.Helper()
	a := f.Acceptance(e, subscriptions...)
	f.Accept(a)
	ids := make([]posthorn.DeliveryID, len(a.Matches))
	for i, m := range a.Matches {
		ids[i] = m.DeliveryID
	}
	return e.ID, ids
}

// PublishOne is Publish for one subscription.
func (f *Fixture) PublishOne(subscription posthorn.SubscriptionID) posthorn.DeliveryID {
	f.T.Helper()
	_, ids := f.Publish(subscription)
	return ids[0]
}

// Offer asks that the event's deliveries be born claimed.
func (f *Fixture) Offer(e *posthorn.Event, subscriptions ...posthorn.SubscriptionID) posthorn.Accepted {
	f.T.Helper()
	a := f.Acceptance(e, subscriptions...)
	for i := range a.Matches {
		a.Matches[i].Attempt = posthorn.AttemptID{UUID: f.ID()}
	}
	return f.Accept(a)[0]
}

// request is a claim request with room for whatever a small test makes.
func (f *Fixture) request() posthorn.ClaimRequest {
	return posthorn.ClaimRequest{Node: f.Node, Limit: 1000, PerLane: 1000, MaxBytes: 64 << 20}
}

// ClaimBatch claims with a request altered by the test.
func (f *Fixture) ClaimBatch(change ...func(*posthorn.ClaimRequest)) posthorn.ClaimBatch {
	f.T.Helper()
	req := f.request()
	for _, c := range change {
		c(&req)
	}
	batch, err := f.Store.ClaimDeliveries(f.Context(), req)
	f.must(err)
	return batch
}

// Claim claims all that is due.
func (f *Fixture) Claim() []posthorn.Claimed {
	f.T.Helper()
	return f.ClaimBatch().Claims
}

// ClaimOne claims all that is due, which must be this one delivery.
func (f *Fixture) ClaimOne(want posthorn.DeliveryID) posthorn.Claimed {
	f.T.Helper()
	claims := f.Claim()
	if len(claims) != 1 || claims[0].DeliveryID != want {
		f.T.Fatalf("claimed %s, want only %s", claimedIDs(claims), want)
	}
	return claims[0]
}

// ClaimNone claims all that is due, which must be nothing.
func (f *Fixture) ClaimNone() {
	f.T.Helper()
	if claims := f.Claim(); len(claims) != 0 {
		f.T.Fatalf("claimed %s, want nothing", claimedIDs(claims))
	}
}
