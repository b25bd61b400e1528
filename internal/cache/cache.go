// Package cache keeps the subscriptions of each tenant at hand: in process, over Redis, over the store. It owns how long
// they are kept, which copy is believed, and the index that finds the subscriptions an event type matches.
//
// A copy is never trusted to be current. It carries the version it is of, and whoever must not miss a change says which
// version it needs: the store refuses an event that was matched against an old one, and a claim names the version to send
// by. So a lost signal costs a round trip and nothing else. Redis only spares a node that has just started the reading of
// everything: what it holds is brought up to date by the store before it is used, and sealed, since it holds secrets.
package cache

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/redis"
)

// Store is what the cache needs of a store.
type Store interface {
	SubscriptionsSince(ctx context.Context, tenant posthorn.TenantID, version int64) (int64, []posthorn.Subscription, error)
	FindSubscriptions(ctx context.Context, tenant posthorn.TenantID, ids []posthorn.SubscriptionID) ([]posthorn.Subscription, error)
}

// Sealer keeps what lies in Redis unreadable, and from being taken for another tenant's.
type Sealer interface {
	Seal(plain []byte, bind string) []byte
	Open(sealed []byte, bind string) ([]byte, error)
}

// Bus tells of changes, and when it may have missed some.
type Bus interface {
	Follow(signal func(posthorn.Signal), lost func()) (cancel func())
}

// Options of a Cache. Store is required.
type Options struct {
	Store Store
	// Redis shares the sets between nodes; nil, or without a Sealer, they are kept in process only.
	Redis  *redis.Client
	Sealer Sealer
	// Bus tells of changes at once; without one the caller tells by Invalidate, or leaves it to the versions.
	Bus Bus
	// TTL is how long a set is used without asking the store whether it changed; 10 minutes by default.
	TTL time.Duration
	// MaxSubscriptions bounds the subscriptions kept in process, of all tenants; 100,000 by default, about 200 MB. The
	// largest tenant is kept nevertheless.
	MaxSubscriptions int
	// Observe, when set, is told of each use by where the set was: FromProcess, FromRedis (brought up to date) or FromStore.
	Observe func(from string)
	Log     *slog.Logger
}

// Where a set was, for Observe.
const (
	FromProcess = "process"
	FromRedis   = "redis"
	FromStore   = "store"
)

// Cache keeps subscriptions. It is safe for concurrent use.
type Cache struct {
	store   Store
	ttl     time.Duration
	observe func(from string)
	log     *slog.Logger
	tenants *otter.Cache[posthorn.TenantID, *entry]
	// epoch counts the flushes: what was checked in an earlier one is checked again.
	epoch    atomic.Int64
	shared   *shared // nil without Redis
	unfollow func()
	closing  sync.Once
	loads    sync.WaitGroup
	// life ends with Close, and the loads with it.
	life context.Context
	end  context.CancelFunc
}

// entry is one tenant's place.
type entry struct {
	held atomic.Pointer[held]
	// wanted is the version that a signal has announced; 0 when the held one is as new as is known.
	wanted atomic.Int64
	// loading is full while somebody loads, so that the others wait for what it brings.
	loading chan struct{}
	// failure is the last load that failed, for those who waited for it.
	failure atomic.Pointer[failure]
	// written is when a set was last given to Redis, or found there, and copied its version; they belong to whoever loads.
	written time.Time
	copied  int64
}

// held is a set and when the store last said that it is current.
type held struct {
	set     *Set
	checked time.Time
	epoch   int64
}

// failure is why the store could not be asked, and when that was known.
type failure struct {
	at  time.Time
	err error
}

// storeRetry is how long a set past its TTL is used on when the store cannot be asked.
const storeRetry = time.Second

// New makes a Cache.
func New(o Options) *Cache {
	c := &Cache{store: o.Store, ttl: o.TTL, log: o.Log, observe: o.Observe}
	c.life, c.end = context.WithCancel(context.Background())
	if c.observe == nil {
		c.observe = func(string) {}
	}
	if c.ttl <= 0 {
		c.ttl = 10 * time.Minute
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	most := o.MaxSubscriptions
	if most <= 0 {
		most = 100_000
	}
	c.tenants = otter.Must(&otter.Options[posthorn.TenantID, *entry]{
		MaximumWeight: uint64(most),
		// A set that alone exceeds the bound would never stay, and be read in full for each event.
		Weigher: func(_ posthorn.TenantID, e *entry) uint32 { return uint32(min(e.weight(), most/2+1)) },
	})
	if o.Redis != nil && o.Sealer != nil {
		c.shared = newShared(o.Redis, o.Sealer, c.ttl, c.log)
	}
	if o.Bus != nil {
		c.unfollow = o.Bus.Follow(c.hear, c.Flush)
	}
	return c
}

func (e *entry) weight() int {
	if h := e.held.Load(); h != nil {
		return 1 + h.set.Len()
	}
	return 1
}

// Close ends what the cache started, loads too, and waits for it. The sets that it has can still be used.
func (c *Cache) Close() {
	c.closing.Do(func() {
		defer c.loads.Wait()
		c.end()
		if c.unfollow != nil {
			c.unfollow()
		}
		if c.shared != nil {
			c.shared.close()
		}
	})
}

// hear takes a signal from the bus.
func (c *Cache) hear(s posthorn.Signal) {
	for _, changed := range s.Changed {
		c.Invalidate(changed.TenantID, changed.Version)
	}
}

// Invalidate says that a tenant's subscriptions have a version; 0 is an unknown newer one. An older set is brought up to
// date when it is next used.
func (c *Cache) Invalidate(tenant posthorn.TenantID, version int64) {
	e, ok := c.tenants.GetIfPresent(tenant)
	if !ok {
		return
	}
	if h := e.held.Load(); version <= 0 && h != nil {
		version = h.set.Version + 1
	}
	for {
		wanted := e.wanted.Load()
		if wanted >= version || e.wanted.CompareAndSwap(wanted, version) {
			return
		}
	}
}

// Flush says that changes may have been missed: every set is checked when it is next used.
func (c *Cache) Flush() { c.epoch.Add(1) }

// Set is the tenant's subscriptions as far as this node knows. The error is the store's.
func (c *Cache) Set(ctx context.Context, tenant posthorn.TenantID) (*Set, error) {
	return c.Refresh(ctx, tenant, 0)
}

// Refresh is the tenant's subscriptions of at least a version: what is held, or what the store says now. The store has the
// last word, so the answer is older than asked for if the store is. One load per tenant is under way at a time. While the
// store cannot be asked, a set is used beyond its TTL as long as no newer version is known. The error is the store's, or
// Unavailable when it has not answered within the patience of a request.
func (c *Cache) Refresh(ctx context.Context, tenant posthorn.TenantID, atLeast int64) (*Set, error) {
	e, ok := c.tenants.GetIfPresent(tenant)
	if !ok {
		e, _ = c.tenants.ComputeIfAbsent(tenant, func() (*entry, bool) {
			return &entry{loading: make(chan struct{}, 1)}, false
		})
	}
	if set := c.current(e, atLeast); set != nil {
		c.observe(FromProcess)
		return set, nil
	}
	since := time.Now()
	patience := time.NewTimer(e.patience())
	defer patience.Stop()
	select {
	case e.loading <- struct{}{}:
	case <-patience.C:
		return nil, posthorn.Silent()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for subscriptions: %w", ctx.Err())
	}
	set := c.current(e, atLeast)
	if f := e.failure.Load(); set != nil || f != nil && f.at.After(since) {
		<-e.loading
		if set != nil {
			return set, nil
		}
		return nil, f.err // the store was just asked for all who waited
	}
	// Loading goes on when whoever asked has lost patience.
	loaded := make(chan result, 1)
	c.loads.Go(func() {
		defer func() { <-e.loading }()
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		defer context.AfterFunc(c.life, cancel)()
		set, err := c.load(ctx, tenant, e, atLeast)
		loaded <- result{set, err}
	})
	select {
	case r := <-loaded:
		return r.set, r.err
	case <-patience.C:
		return nil, posthorn.Silent()
	case <-ctx.Done():
		return nil, fmt.Errorf("load subscriptions: %w", ctx.Err())
	}
}

// patience is how long a request waits for the set.
func (e *entry) patience() time.Duration {
	if e.held.Load() == nil {
		return posthorn.FirstPatience
	}
	return posthorn.Patience
}

// result is what a load came to.
type result struct {
	set *Set
	err error
}

// current is the held set if it need not be checked.
func (c *Cache) current(e *entry, atLeast int64) *Set {
	h := e.held.Load()
	if h == nil || h.set.Version < max(atLeast, e.wanted.Load()) || h.epoch != c.epoch.Load() || time.Since(h.checked) >= c.ttl {
		return nil
	}
	return h.set
}

// load brings the tenant's set up to date. The caller holds e.loading.
func (c *Cache) load(ctx context.Context, tenant posthorn.TenantID, e *entry, atLeast int64) (*Set, error) {
	// What is announced from here on may be newer than what the store is about to say.
	epoch, wanted := c.epoch.Load(), e.wanted.Load()
	now := time.Now()
	old := e.held.Load()
	var base *Set
	from := FromStore
	if old != nil {
		base = old.set
	} else if c.shared != nil {
		if base = c.shared.read(ctx, tenant); base != nil {
			e.written, e.copied = now, base.Version
			from = FromRedis
		}
	}
	c.observe(from)
	set, err := c.topUp(ctx, tenant, base)
	if err != nil {
		err = fmt.Errorf("load subscriptions: %w", err)
		if old == nil || old.set.Version < max(atLeast, wanted) {
			e.failure.Store(&failure{at: time.Now(), err: err})
			return nil, err
		}
		c.log.Warn("subscriptions could not be checked, the known ones are used", "tenant", tenant, "error", err)
		e.held.Store(&held{set: old.set, checked: now.Add(storeRetry - c.ttl), epoch: epoch})
		return old.set, nil
	}
	e.held.Store(&held{set: set, checked: now, epoch: epoch})
	// A version that the store does not know is of no use, and must not make everybody ask for it.
	e.wanted.CompareAndSwap(wanted, 0)
	if old == nil || old.set.Len() != set.Len() {
		c.tenants.Set(tenant, e) // weighs it anew
	}
	if c.shared != nil {
		c.shared.offer(tenant, e, set)
	}
	return set, nil
}

// topUp reads what changed since base, or everything.
func (c *Cache) topUp(ctx context.Context, tenant posthorn.TenantID, base *Set) (*Set, error) {
	if base == nil || base.Version == 0 {
		version, all, err := c.store.SubscriptionsSince(ctx, tenant, 0)
		if err != nil {
			return nil, err
		}
		return newSet(version, all), nil
	}
	version, changed, err := c.store.SubscriptionsSince(ctx, tenant, base.Version)
	if err != nil {
		return nil, err
	}
	if version < base.Version {
		// The store was restored from a backup: what is held comes from a history that did not happen.
		return c.topUp(ctx, tenant, nil)
	}
	return base.with(version, changed), nil
}

// Subscription is one subscription, of at least a version of its tenant's set; a deleted one is its tombstone. NotFound
// when the tenant never had it, or it is forgotten.
func (c *Cache) Subscription(ctx context.Context, tenant posthorn.TenantID, id posthorn.SubscriptionID, atLeast int64) (*posthorn.Subscription, error) {
	set, err := c.Refresh(ctx, tenant, atLeast)
	if err != nil {
		return nil, err
	}
	if s := set.Get(id); s != nil {
		return s, nil
	}
	found, err := c.store.FindSubscriptions(ctx, tenant, []posthorn.SubscriptionID{id})
	if err != nil {
		return nil, fmt.Errorf("find subscription: %w", err)
	}
	if len(found) == 0 {
		return nil, posthorn.Absent("subscription")
	}
	return &found[0], nil
}
