package app

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/bus"
	"github.com/posthorn/posthorn/internal/cache"
	"github.com/posthorn/posthorn/internal/ingest"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/sqlite"
)

// site is a publisher over a store of its own, whose matcher is under test.
type site struct {
	t         *testing.T
	store     *sqlite.Store
	bus       *bus.Bus
	matcher   matcher
	publisher *ingest.Publisher
	tenant    posthorn.TenantID
}

func newSite(t *testing.T) *site {
	t.Helper()
	keys, err := seal.ParseKeys(seal.Generate())
	must(t, err)
	store, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "posthorn.db"), Sealer: keys})
	must(t, err)
	s := &site{t: t, store: store, tenant: posthorn.TenantID{UUID: posthorn.NewUUID(store.Now())}}
	must(t, store.CreateTenant(t.Context(), &posthorn.Tenant{ID: s.tenant, Name: "home", CreatedAt: store.Now()}))
	node := posthorn.NodeID{UUID: posthorn.NewUUID(time.Now())}
	s.bus = bus.New(bus.Options{Node: node})
	subscriptions := cache.New(cache.Options{Store: store, Bus: s.bus})
	s.matcher = newMatcher(subscriptions)
	s.publisher = ingest.New(ingest.Options{Store: store, Matcher: s.matcher, Bus: s.bus, Node: node})
	s.publisher.Start()
	t.Cleanup(func() {
		s.publisher.Stop(context.WithoutCancel(t.Context()))
		subscriptions.Close()
		s.bus.Close()
		must(t, store.Close())
	})
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *site) subscribe(filter string) posthorn.SubscriptionID {
	s.t.Helper()
	sub := &posthorn.Subscription{TenantID: s.tenant, ID: posthorn.SubscriptionID{UUID: posthorn.NewUUID(s.store.Now())}}
	sub.URL, sub.Filter = "https://example.com/hook", filter
	sub.SetDefaults()
	must(s.t, s.store.CreateSubscription(s.t.Context(), sub))
	return sub.ID
}

// publish publishes an event and gives its deliveries by subscription.
func (s *site) publish(payload string) map[posthorn.SubscriptionID]posthorn.Delivery {
	s.t.Helper()
	a, err := s.publisher.Publish(s.t.Context(), s.tenant, &posthorn.Event{Type: "order.created", Payload: []byte(payload)})
	must(s.t, err)
	list, err := s.store.EventDeliveries(s.t.Context(), s.tenant, a.EventID)
	must(s.t, err)
	found := make(map[posthorn.SubscriptionID]posthorn.Delivery, len(list))
	for _, d := range list {
		found[d.SubscriptionID] = d
	}
	return found
}

func TestFiltersDecideWhoGetsAnEvent(t *testing.T) {
	s := newSite(t)
	all, large, small := s.subscribe(""), s.subscribe("payload.amount > 100"), s.subscribe("payload.amount <= 100")
	broken := s.subscribe("a stored filter that no longer compiles")
	for _, c := range []struct {
		name, payload string
		pending       []posthorn.SubscriptionID
		failed        []posthorn.SubscriptionID
	}{
		{"Large", `{"amount":150}`, []posthorn.SubscriptionID{all, large}, []posthorn.SubscriptionID{broken}},
		{"Small", `{"amount":50}`, []posthorn.SubscriptionID{all, small}, []posthorn.SubscriptionID{broken}},
		{"MissingField", `{}`, []posthorn.SubscriptionID{all}, []posthorn.SubscriptionID{large, small, broken}},
		{"NotJSON", `text`, []posthorn.SubscriptionID{all}, []posthorn.SubscriptionID{large, small, broken}},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := s.publish(c.payload)
			if len(found) != len(c.pending)+len(c.failed) {
				t.Errorf("%d deliveries, want %d", len(found), len(c.pending)+len(c.failed))
			}
			for _, id := range c.pending {
				if d := found[id]; d.State != posthorn.Pending {
					t.Errorf("a delivery that its filter wants is %q (%s)", d.State, d.Reason)
				}
			}
			for _, id := range c.failed {
				if d := found[id]; d.State != posthorn.Cancelled || d.Reason != posthorn.ReasonFilterError {
					t.Errorf("a delivery whose filter failed is %q (%s)", d.State, d.Reason)
				}
			}
		})
	}
}

func TestChangedFilterApplies(t *testing.T) {
	s := newSite(t)
	id := s.subscribe("payload.amount > 100")
	if found := s.publish(`{"amount":1}`); len(found) != 0 {
		t.Fatalf("%d deliveries of what the filter does not want", len(found))
	}
	_, err := s.store.UpdateSubscription(t.Context(), s.tenant, id, func(sub *posthorn.Subscription) error {
		sub.Filter = "payload.amount < 100"
		return nil
	})
	must(t, err)
	if found := s.publish(`{"amount":1}`); len(found) != 1 {
		t.Errorf("%d deliveries of what the new filter wants", len(found))
	}
}

func TestCompiledFiltersAreKept(t *testing.T) {
	s := newSite(t)
	s.subscribe("payload.amount > 100")
	s.subscribe("payload.amount > 100")
	for range 3 {
		s.publish(`{"amount":150}`)
	}
	if n := s.matcher.filters.EstimatedSize(); n != 1 {
		t.Errorf("%d compiled filters of one text", n)
	}
}
