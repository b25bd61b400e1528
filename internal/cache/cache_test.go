package cache_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/bubble"
	"github.com/posthorn/posthorn/internal/bus"
	"github.com/posthorn/posthorn/internal/cache"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/sqlite"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a real store with one tenant, which counts what is read of it.
type world struct {
	*sqlite.Store
	t      testing.TB
	keys   *seal.Keys
	tenant posthorn.TenantID

	everything, differences atomic.Int32
	// gate, when set, holds every reading back until it is closed.
	gate chan struct{}
}

func newWorld(t testing.TB) *world {
	t.Helper()
	keys, err := seal.ParseKeys(seal.Generate())
	if err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "posthorn.db"), Sealer: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	w := &world{Store: store, t: t, keys: keys, tenant: posthorn.TenantID{UUID: posthorn.NewUUID(time.Now())}}
	if err := store.CreateTenant(t.Context(), &posthorn.Tenant{ID: w.tenant, Name: "acme"}); err != nil {
		t.Fatal(err)
	}
	return w
}

// SubscriptionsSince counts and asks the store.
func (w *world) SubscriptionsSince(ctx context.Context, tenant posthorn.TenantID, version int64) (int64, []posthorn.Subscription, error) {
	if version == 0 {
		w.everything.Add(1)
	} else {
		w.differences.Add(1)
	}
	if w.gate != nil {
		<-w.gate
	}
	return w.Store.SubscriptionsSince(ctx, tenant, version)
}

// reads are how often everything and differences were read since the last call.
func (w *world) reads(everything, differences int32) {
	w.t.Helper()
	if e, d := w.everything.Swap(0), w.differences.Swap(0); e != everything || d != differences {
		w.t.Errorf("read everything %d times and differences %d times, want %d and %d", e, d, everything, differences)
	}
}

func (w *world) create(types ...string) *posthorn.Subscription {
	w.t.Helper()
	s := &posthorn.Subscription{ID: posthorn.SubscriptionID{UUID: posthorn.NewUUID(w.Now())}, TenantID: w.tenant}
	s.URL, s.EventTypes = "https://example.com/hook", types
	s.RateLimit = &posthorn.RateLimit{Limit: 10, Per: "second"}
	s.Metadata = map[string]string{"customer": "9"}
	s.Headers = map[string]string{"Authorization": "Bearer plain-credential"}
	s.Secrets = []posthorn.Secret{{Value: "whsec_plain-secret", CreatedAt: w.Now().UTC().Truncate(time.Millisecond)}}
	s.SetDefaults()
	if err := w.CreateSubscription(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) set(c *cache.Cache, atLeast int64) *cache.Set {
	w.t.Helper()
	set, err := c.Refresh(w.t.Context(), w.tenant, atLeast)
	if err != nil {
		w.t.Fatal(err)
	}
	return set
}

func newCache(t testing.TB, o cache.Options) *cache.Cache {
	c := cache.New(o)
	t.Cleanup(c.Close)
	return c
}

func TestReadsOnceAndThenDifferences(t *testing.T) {
	w := newWorld(t)
	w.create("a")
	c := newCache(t, cache.Options{Store: w})
	for range 3 {
		if set := w.set(c, 0); set.Len() != 1 || len(set.Match("a")) != 1 {
			t.Errorf("%d subscriptions", set.Len())
		}
	}
	w.reads(1, 0)
	held := w.set(c, 0)
	b := w.create("b")
	if w.set(c, 0) != held {
		t.Error("a set that nobody called old was read again")
	}
	if set := w.set(c, held.Version+1); set.Version != b.Version || len(set.Match("b")) != 1 {
		t.Errorf("version %d", set.Version)
	}
	w.reads(0, 1)
	if err := w.DeleteSubscription(t.Context(), w.tenant, b.ID); err != nil {
		t.Fatal(err)
	}
	c.Invalidate(w.tenant, b.Version+1)
	if set := w.set(c, 0); len(set.Match("b")) != 0 || set.Get(b.ID) != nil {
		t.Error("the deleted one is still there")
	}
	w.reads(0, 1)
	if len(held.Match("b")) != 0 || held.Len() != 1 {
		t.Error("a set that was handed out has changed")
	}
}

func TestInvalidate(t *testing.T) {
	w := newWorld(t)
	a := w.create("a")
	c := newCache(t, cache.Options{Store: w})
	c.Invalidate(w.tenant, 5) // nothing is held
	w.set(c, 0)
	w.reads(1, 0)
	c.Invalidate(w.tenant, a.Version) // known already
	w.set(c, 0)
	w.reads(0, 0)
	c.Invalidate(w.tenant, 0) // something, unknown what
	w.set(c, 0)
	w.reads(0, 1)
	c.Invalidate(w.tenant, a.Version+100) // a version that the store does not have is asked for once
	w.set(c, 0)
	w.set(c, 0)
	w.reads(0, 1)
	c.Flush()
	w.set(c, 0)
	w.set(c, 0)
	w.reads(0, 1)
}

func TestTTLAsksForTheDifference(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a")
		c := newCache(t, cache.Options{Store: w})
		w.set(c, 0)
		w.create("b")
		time.Sleep(10*time.Minute - time.Millisecond)
		if set := w.set(c, 0); set.Len() != 1 {
			t.Errorf("%d subscriptions before the TTL", set.Len())
		}
		time.Sleep(time.Millisecond)
		if set := w.set(c, 0); set.Len() != 2 {
			t.Errorf("%d subscriptions after the TTL", set.Len())
		}
		w.reads(1, 1)
	})
}

func TestOneLoadAtATime(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a")
		w.gate = make(chan struct{})
		c := newCache(t, cache.Options{Store: w})
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() { w.set(c, 0) })
		}
		synctest.Wait() // one of them loads
		impatient, cancel := context.WithCancel(t.Context())
		callers.Go(func() {
			if _, err := c.Set(impatient, w.tenant); !errors.Is(err, context.Canceled) {
				t.Errorf("the impatient one got %v", err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(w.gate)
		callers.Wait()
		w.reads(1, 0)
	})
}

func TestStoreOutOfReach(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.create("a")
		c := newCache(t, cache.Options{Store: w})
		w.set(c, 0)
		w.Close()
		time.Sleep(time.Hour)
		w.reads(1, 0)
		for range 5 { // used on, and the store is not asked each time
			if set := w.set(c, a.Version); set.Len() != 1 {
				t.Errorf("%d subscriptions", set.Len())
			}
		}
		w.reads(0, 1)
		if s, err := c.Subscription(t.Context(), w.tenant, a.ID, a.Version); err != nil || s.ID != a.ID {
			t.Errorf("%v, %v", s, err)
		}
		// What is known to be old is not used.
		if _, err := c.Refresh(t.Context(), w.tenant, a.Version+1); err == nil {
			t.Error("an older set than asked for")
		}
		c.Invalidate(w.tenant, a.Version+1)
		if _, err := c.Set(t.Context(), w.tenant); err == nil {
			t.Error("a set that is known to be old")
		}
	})
}

func TestWaitersShareAFailure(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Close()
		w.gate = make(chan struct{})
		c := newCache(t, cache.Options{Store: w})
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() {
				if _, err := c.Set(t.Context(), w.tenant); err == nil {
					t.Error("no error")
				}
			})
		}
		time.Sleep(time.Second)
		close(w.gate)
		callers.Wait()
		w.reads(1, 0)
	})
}

// TestASilentStoreIsToldWithinPatience: a set that must be newer than the one held is waited for as long as a request can.
func TestASilentStoreIsToldWithinPatience(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.create("a")
		c := newCache(t, cache.Options{Store: w})
		w.set(c, 0)
		w.gate = make(chan struct{})
		start := time.Now()
		_, err := c.Refresh(t.Context(), w.tenant, a.Version+1)
		if took := time.Since(start); posthorn.KindOf(err) != posthorn.Unavailable || took != posthorn.Patience {
			t.Errorf("told %v after %s", err, took)
		}
		w.create("b")
		close(w.gate)
		synctest.Wait()
		if set := w.set(c, 0); set.Len() != 2 {
			t.Errorf("what was loaded late has %d subscriptions", set.Len())
		}
	})
}

func TestSubscription(t *testing.T) {
	w := newWorld(t)
	a, b := w.create("a"), w.create("b")
	c := newCache(t, cache.Options{Store: w})
	got, err := c.Subscription(t.Context(), w.tenant, a.ID, a.Version)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, got); diff != "" {
		t.Error(diff)
	}
	if err := w.DeleteSubscription(t.Context(), w.tenant, b.ID); err != nil {
		t.Fatal(err)
	}
	if got, err = c.Subscription(t.Context(), w.tenant, b.ID, b.Version+1); err != nil || got.DeletedAt.IsZero() {
		t.Errorf("the deleted one: %+v, %v", got, err)
	}
	other := posthorn.SubscriptionID{UUID: posthorn.NewUUID(time.Now())}
	if _, err := c.Subscription(t.Context(), w.tenant, other, 0); posthorn.KindOf(err) != posthorn.NotFound {
		t.Errorf("an unknown one: %v", err)
	}
	nobody := posthorn.TenantID{UUID: posthorn.NewUUID(time.Now())}
	if _, err := c.Subscription(t.Context(), nobody, a.ID, 0); posthorn.KindOf(err) != posthorn.NotFound {
		t.Errorf("another tenant's: %v", err)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	w := newWorld(t)
	big := w.tenant
	for range 12 {
		w.create("a")
	}
	c := newCache(t, cache.Options{Store: w, MaxSubscriptions: 10})
	w.set(c, 0)
	w.set(c, 0)
	w.reads(1, 0) // larger than the bound, and kept
	const others = 200
	for i := range others {
		w.tenant = posthorn.TenantID{UUID: posthorn.NewUUID(w.Now())}
		if err := w.CreateTenant(t.Context(), &posthorn.Tenant{ID: w.tenant, Name: w.tenant.String()}); err != nil {
			t.Fatal(i, err)
		}
		w.create("a")
		w.set(c, 0)
	}
	w.reads(others, 0)
	if n := c.Tenants(); n > 10 {
		t.Errorf("%d tenants are held", n)
	}
	w.tenant = big
	if set := w.set(c, 0); set.Len() != 12 {
		t.Errorf("%d subscriptions", set.Len())
	}
}

func TestBusTellsOfChanges(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a")
		b := bus.New(bus.Options{})
		defer b.Close()
		c := newCache(t, cache.Options{Store: w, Bus: b})
		w.set(c, 0)
		added := w.create("b")
		b.Publish(t.Context(), posthorn.Signal{Changed: []posthorn.Change{{TenantID: w.tenant, Version: added.Version}}})
		synctest.Wait()
		if set := w.set(c, 0); set.Len() != 2 {
			t.Errorf("%d subscriptions", set.Len())
		}
		w.reads(1, 1)
	})
}

// The promise to those who manage subscriptions: what node A has answered, node B uses in the very next request, though
// no signal has come through.
func TestOtherNodesUseAChangeAtOnce(t *testing.T) {
	w := newWorld(t)
	w.create("other")
	nodeB := newCache(t, cache.Options{Store: w})
	w.set(nodeB, 0)
	created := w.create("invoice.paid") // on node A
	accept := func(set *cache.Set) posthorn.Accepted {
		now := w.Now()
		a := posthorn.Acceptance{Version: set.Version, Event: &posthorn.Event{
			ID: posthorn.EventID{UUID: posthorn.NewUUID(now)}, TenantID: w.tenant, Type: "invoice.paid", Payload: []byte(`{}`),
			ContentType: posthorn.DefaultContentType,
		}}
		for _, s := range set.Match(a.Event.Type) {
			a.Matches = append(a.Matches, posthorn.Match{SubscriptionID: s.ID, DeliveryID: posthorn.DeliveryID{UUID: posthorn.NewUUID(now)}})
		}
		answers, err := w.AcceptEvents(t.Context(), posthorn.NodeID{}, []posthorn.Acceptance{a})
		if err != nil {
			t.Fatal(err)
		}
		return answers[0]
	}
	set := w.set(nodeB, 0)
	if answer := accept(set); posthorn.KindOf(answer.Err) != posthorn.Stale {
		t.Fatalf("the old set was accepted: %+v", answer)
	}
	set = w.set(nodeB, set.Version+1)
	if answer := accept(set); answer.Err != nil || answer.Deliveries != 1 {
		t.Fatalf("answer %+v", answer)
	}
	if found := set.Match("invoice.paid"); len(found) != 1 || found[0].ID != created.ID {
		t.Errorf("found %v", found)
	}
}
