// Package catalogue checks events against their tenant's catalogue of event types. It owns JSON Schema (drafts 4 to 2020-12):
// what a schema may be and cost, checking a payload against one within a bound of work, and saying where it fails; and it
// keeps each tenant's catalogue at hand. It leaves storing the catalogue to the store, and what becomes of an event that is
// refused to internal/ingest.
//
// What is kept is never trusted to be current: whoever checks names the tenant's version that the event is matched by, and a
// catalogue read before that version is read again. The store refuses events that were matched by an older version than the
// present one, so that a change made on one node holds for the next event on every other.
package catalogue

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"github.com/posthorn/posthorn"
)

const (
	// maxKept bounds the catalogues kept, and maxCompiled the compiled schemas, in bytes of their text.
	maxKept     = 64 << 20
	maxCompiled = 16 << 20
	// keptFor is how long a catalogue is used without asking: what a store that was restored from a backup may cost.
	keptFor = 10 * time.Minute
)

// Store is what is needed of a store.
type Store interface {
	Catalogue(ctx context.Context, tenant posthorn.TenantID, since int64) (*posthorn.Catalogue, error)
}

// Options of a Keeper. Store is required.
type Options struct {
	Store Store
	// Strict is for tenants that do not say: events of types that the catalogue does not have are refused.
	Strict bool
}

// Keeper keeps the catalogues of tenants. It is safe for concurrent use and holds no goroutine but while it asks the store.
type Keeper struct {
	opts     Options
	asking   singleflight.Group
	tenants  *otter.Cache[posthorn.TenantID, *entry]
	compiled *otter.Cache[[sha256.Size]byte, *compiled]
}

// entry is one tenant's place.
type entry struct {
	held atomic.Pointer[held]
}

// held is a catalogue as it was at a version of the tenant.
type held struct {
	version, changed int64
	strict           bool
	types            map[string]posthorn.EventType
	bytes            int
	read             time.Time
}

// compiled is a schema, or why there is none: a later version may refuse what an earlier one stored.
type compiled struct {
	schema *Schema
	err    error
	bytes  int
}

// New makes a Keeper.
func New(o Options) *Keeper {
	return &Keeper{
		opts: o,
		tenants: otter.Must(&otter.Options[posthorn.TenantID, *entry]{
			MaximumWeight: maxKept,
			// One that alone exceeds the bound would never stay.
			Weigher: func(_ posthorn.TenantID, e *entry) uint32 {
				weight := 256
				if h := e.held.Load(); h != nil {
					weight += h.bytes
				}
				return uint32(min(weight, maxKept/2))
			},
		}),
		compiled: otter.Must(&otter.Options[[sha256.Size]byte, *compiled]{
			MaximumWeight: maxCompiled,
			Weigher:       func(_ [sha256.Size]byte, c *compiled) uint32 { return uint32(c.bytes + 256) },
		}),
	}
}

// Strict reports what holds for a tenant whose own choice this is.
func (k *Keeper) Strict(own *bool) bool {
	if own != nil {
		return *own
	}
	return k.opts.Strict
}

// Check says what a tenant's catalogue of at least a version has against an event: nil, an Invalid error with its places
// (`type`, `payload.amount`), or the store's error, which is Unavailable when it has not answered within the patience of a
// request.
func (k *Keeper) Check(ctx context.Context, tenant posthorn.TenantID, e *posthorn.Event, version int64) error {
	h, err := k.at(ctx, tenant, version)
	if err != nil {
		return err
	}
	if !h.strict && len(h.types) == 0 {
		return nil
	}
	t, known := h.types[e.Type]
	if !known {
		if h.strict {
			return invalid("type", "is not in the catalogue of event types; add it with POST /event-types, or turn strict off")
		}
		return nil
	}
	if len(t.Schema) == 0 || !t.Enforce && !h.strict {
		return nil
	}
	c := k.compile(t.Schema)
	if c.err != nil {
		return invalid("type", "has a schema that this version cannot use; write the event type again")
	}
	return c.schema.Check("payload", e.Payload)
}

func (k *Keeper) compile(text []byte) *compiled {
	sum := sha256.Sum256(text)
	if c, ok := k.compiled.GetIfPresent(sum); ok {
		return c
	}
	c := &compiled{bytes: len(text)}
	c.schema, c.err = Compile("schema", text)
	k.compiled.Set(sum, c)
	return c
}

// at is the tenant's catalogue, read when the tenant was at a version or later.
func (k *Keeper) at(ctx context.Context, tenant posthorn.TenantID, version int64) (*held, error) {
	e, ok := k.tenants.GetIfPresent(tenant)
	if !ok {
		e, _ = k.tenants.ComputeIfAbsent(tenant, func() (*entry, bool) { return &entry{}, false })
	}
	if h := e.current(version); h != nil {
		return h, nil
	}
	return k.inquire(ctx, tenant, e, version)
}

// inquire asks the store in the background: who asks waits only so long, and the next finds the answer.
func (k *Keeper) inquire(ctx context.Context, tenant posthorn.TenantID, e *entry, version int64) (*held, error) {
	wait := posthorn.FirstPatience
	if e.held.Load() != nil {
		wait = posthorn.Patience
	}
	// What was asked before the tenant was at a version is no answer after it.
	question := string(binary.BigEndian.AppendUint64(tenant.UUID[:], uint64(version)))
	answer := k.asking.DoChan(question, func() (any, error) { return k.reload(context.WithoutCancel(ctx), tenant, e, version) })
	patience := time.NewTimer(wait)
	defer patience.Stop()
	select {
	case r := <-answer:
		return r.Val.(*held), r.Err
	case <-patience.C:
		return nil, posthorn.Silent()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the catalogue: %w", ctx.Err())
	}
}

// reload brings what is held up to date. While the store cannot be asked, a catalogue of that version is used beyond its time.
func (k *Keeper) reload(ctx context.Context, tenant posthorn.TenantID, e *entry, version int64) (*held, error) {
	if h := e.current(version); h != nil {
		return h, nil
	}
	old := e.held.Load()
	h, err := k.load(ctx, tenant, old)
	switch {
	case err == nil:
		if e.held.CompareAndSwap(old, h) {
			k.tenants.Set(tenant, e) // weighs it anew
		}
		return h, nil
	case posthorn.KindOf(err) == posthorn.Unavailable && old != nil && old.version >= version:
		return old, nil
	default:
		return nil, fmt.Errorf("load the catalogue: %w", err)
	}
}

func (e *entry) current(version int64) *held {
	if h := e.held.Load(); h != nil && h.version >= version && time.Since(h.read) < keptFor {
		return h
	}
	return nil
}

// load reads what changed since an older one.
func (k *Keeper) load(ctx context.Context, tenant posthorn.TenantID, old *held) (*held, error) {
	since, now := int64(-1), time.Now()
	if old != nil {
		since = old.changed
	}
	c, err := k.opts.Store.Catalogue(ctx, tenant, since)
	if err == nil && old != nil && (c.Version < old.version || c.Changed < old.changed) {
		// The store was restored from a backup: what is held comes from a history that did not happen.
		old = nil
		c, err = k.opts.Store.Catalogue(ctx, tenant, -1)
	}
	if err != nil {
		return nil, err
	}
	h := &held{version: c.Version, changed: c.Changed, strict: k.Strict(c.Strict), read: now}
	if c.Types == nil && old != nil {
		h.types, h.bytes = old.types, old.bytes
		return h, nil
	}
	h.types = make(map[string]posthorn.EventType, len(c.Types))
	for _, t := range c.Types {
		h.types[t.Name] = t
		h.bytes += 128 + len(t.Name) + len(t.Schema)
	}
	return h, nil
}
