// Package auth decides who is asking: it makes and recognises API keys and the dashboard sessions that stand for them,
// checks their expiry and address lists, and finds the client's address behind trusted proxies. It leaves storing to the store, rate limits and HTTP
// answers to internal/api.
package auth

import (
	"context"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/posthorn/posthorn"
)

// Store is what auth needs of a store.
type Store interface {
	FindKey(ctx context.Context, hash [32]byte) (*posthorn.Key, error)
	GetTenant(ctx context.Context, id posthorn.TenantID) (*posthorn.Tenant, error)
	TouchKeys(ctx context.Context, used map[posthorn.KeyID]time.Time) error
	posthorn.SessionStore
}

// Options of an Authenticator. Store and Now are required.
type Options struct {
	Store Store
	// Now is the store's clock.
	Now func() time.Time
	// TTL bounds how long a revocation on another node may go unnoticed when the bus loses its signal; 4 s at most.
	TTL time.Duration
	// Allowlist admits only these networks, whatever the key; empty admits all.
	Allowlist []netip.Prefix
}

const (
	// maxTTL leaves a second of the promised five for the look-up itself on a busy node.
	maxTTL = 4 * time.Second
	// maxCached bounds the cache: beyond it, it is emptied. A key is about 1 KiB with its tenant.
	maxCached = 10_000
	// touchEvery is how often one key's last use is written.
	touchEvery = time.Minute
)

// Identity is a key that was recognised, with its tenant.
type Identity struct {
	Key    *posthorn.Key
	Tenant *posthorn.Tenant
	// Session is the one that stood for the key; nil where the key itself was shown.
	Session *posthorn.Session
}

// Authenticator recognises API keys. It is safe for concurrent use.
type Authenticator struct {
	opts Options

	mu     sync.RWMutex
	cached map[[32]byte]entry
	// epoch counts invalidations: what was read before one is not cached after it.
	epoch   uint64
	used    map[posthorn.KeyID]time.Time
	touched map[posthorn.KeyID]time.Time
	// sessions are the uses of sessions to be written.
	sessions map[[32]byte]time.Time
	// asking are the questions to the store under way: who asks the same waits for the same answer.
	asking singleflight.Group
}

type entry struct {
	identity *Identity
	until    time.Time
}

// New makes an Authenticator.
func New(opts Options) *Authenticator {
	if opts.TTL <= 0 || opts.TTL > maxTTL {
		opts.TTL = maxTTL
	}
	return &Authenticator{
		opts:   opts,
		cached: map[[32]byte]entry{},
		used:   map[posthorn.KeyID]time.Time{}, touched: map[posthorn.KeyID]time.Time{}, sessions: map[[32]byte]time.Time{},
	}
}

// Invalidate forgets what was cached: a key or a tenant changed somewhere.
func (a *Authenticator) Invalidate() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.cached)
	a.epoch++
}

// Known reports whether a key's text would be answered without asking the store, or was recognised by it before: while the
// store is away that must not turn its holder's requests into guesses.
func (a *Authenticator) Known(text string) bool {
	if !wellFormed(text) {
		return true
	}
	return a.recognised(Hash(text))
}

// recognised reports whether the store has told who a hash stands for, be it long ago.
func (a *Authenticator) recognised(hash [32]byte) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	_, ok := a.cached[hash]
	return ok
}

// Authenticate recognises a key used from an address. The error is Unauthenticated for a key that is absent, unknown,
// expired or revoked, all alike; Forbidden for an address outside an allowlist; or the store's.
func (a *Authenticator) Authenticate(ctx context.Context, text string, from netip.Addr) (*Identity, error) {
	if !Admits(a.opts.Allowlist, from) {
		return nil, errAddress()
	}
	if !wellFormed(text) {
		return nil, errKey()
	}
	now := a.opts.Now()
	id, err := a.identifyKey(ctx, Hash(text), now)
	if err != nil {
		return nil, err
	}
	if err := a.admit(id, now, from); err != nil {
		return nil, err
	}
	return id, nil
}

// Check decides again about a key or session that was recognised before, for connections that live long.
func (a *Authenticator) Check(ctx context.Context, id *Identity, from netip.Addr) error {
	now := a.opts.Now()
	var fresh *Identity
	var err error
	if id.Session != nil {
		fresh, err = a.identifySession(ctx, id.Session.Hash, now)
	} else {
		fresh, err = a.identifyKey(ctx, id.Key.Hash, now)
	}
	if err != nil {
		return err
	}
	return a.admit(fresh, now, from)
}

// admit applies what may change from one use of a key to the next.
func (a *Authenticator) admit(id *Identity, now time.Time, from netip.Addr) error {
	if id.Session != nil && !(id.Session.Usable(now) && id.Key.Usable(now)) {
		return errSession()
	}
	if !id.Key.Usable(now) {
		return errKey()
	}
	if !Admits(a.opts.Allowlist, from) || !Admits(id.Tenant.IPAllowlist, from) || !Admits(id.Key.IPAllowlist, from) {
		return errAddress()
	}
	a.note(id.Key.ID, now)
	if id.Session != nil {
		a.noteSession(id.Session, now)
	}
	return nil
}

func errKey() error {
	return posthorn.NewError(posthorn.Unauthenticated,
		"send a valid API key as `Authorization: Bearer phk_…`; the one sent is missing, unknown, expired or revoked")
}

func errAddress() error {
	return posthorn.NewError(posthorn.Forbidden,
		"requests from this address are not allowed; ask an administrator to add it to the allowlist")
}

func (a *Authenticator) lookup(hash [32]byte, now time.Time) (*Identity, bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	e, ok := a.cached[hash]
	if !ok || !now.Before(e.until) {
		return nil, false
	}
	return e.identity, true
}

func (a *Authenticator) identifyKey(ctx context.Context, hash [32]byte, now time.Time) (*Identity, error) {
	return a.identify(ctx, hash, now, errKey, findKey)
}

func findKey(ctx context.Context, store Store, hash [32]byte) (*posthorn.Key, *posthorn.Session, error) {
	key, err := store.FindKey(ctx, hash)
	// The store found the row by an index on the hash; this comparison is the one that decides, in constant time.
	if err == nil && subtle.ConstantTimeCompare(key.Hash[:], hash[:]) != 1 {
		return nil, nil, errKey()
	}
	return key, nil, err
}

// find asks the store who a hash stands for.
type find func(ctx context.Context, store Store, hash [32]byte) (*posthorn.Key, *posthorn.Session, error)

// identify finds who a hash stands for, in the cache or by find; unknown is the answer to what is not there.
func (a *Authenticator) identify(ctx context.Context, hash [32]byte, now time.Time, unknown func() error, ask find) (*Identity, error) {
	if id, ok := a.lookup(hash, now); ok {
		return id, nil
	}
	return a.inquire(ctx, hash, now, unknown, ask)
}

// inquire asks the store in the background: who asks waits only so long, and the next finds the answer. It is apart from identify
// so that who is known pays for nothing that the asking needs.
func (a *Authenticator) inquire(ctx context.Context, hash [32]byte, now time.Time, unknown func() error, ask find) (*Identity, error) {
	a.mu.RLock()
	epoch, wait := a.epoch, posthorn.FirstPatience
	if _, known := a.cached[hash]; known {
		wait = posthorn.Patience
	}
	a.mu.RUnlock()
	// What was asked before an invalidation is no answer after it.
	question := string(binary.BigEndian.AppendUint64(hash[:], epoch))
	answer := a.asking.DoChan(question, func() (any, error) {
		id, err := a.identity(context.WithoutCancel(ctx), hash, ask)
		if err == nil {
			a.remember(hash, entry{id, now.Add(a.opts.TTL)}, epoch)
		}
		return id, err
	})
	patience := time.NewTimer(wait)
	defer patience.Stop()
	select {
	case r := <-answer:
		if posthorn.KindOf(r.Err) == posthorn.NotFound {
			return nil, unknown()
		}
		return r.Val.(*Identity), r.Err
	case <-patience.C:
		return nil, posthorn.Silent()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (a *Authenticator) identity(ctx context.Context, hash [32]byte, ask find) (*Identity, error) {
	key, session, err := ask(ctx, a.opts.Store, hash)
	if err != nil {
		return nil, err
	}
	tenant, err := a.opts.Store.GetTenant(ctx, key.TenantID)
	return &Identity{Key: key, Tenant: tenant, Session: session}, err
}

func (a *Authenticator) remember(hash [32]byte, e entry, epoch uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if epoch != a.epoch {
		return
	}
	if len(a.cached) >= maxCached {
		clear(a.cached)
	}
	a.cached[hash] = e
}

// note remembers that a key was used, unless that was written within the last minute.
func (a *Authenticator) note(id posthorn.KeyID, now time.Time) {
	a.mu.RLock()
	last := a.touched[id]
	a.mu.RUnlock()
	if now.Sub(last) < touchEvery {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.touched[id] = now
	a.used[id] = now
}

// Flush writes the last uses noted since the one before, in one batch. Those that cannot be written are dropped: the
// next use notes them again within a minute.
func (a *Authenticator) Flush(ctx context.Context) error {
	a.mu.Lock()
	used, sessions := a.used, a.sessions
	a.used, a.sessions = map[posthorn.KeyID]time.Time{}, map[[32]byte]time.Time{}
	if len(a.touched) > maxCached {
		clear(a.touched)
	}
	a.mu.Unlock()
	var failed error
	if len(sessions) > 0 {
		failed = a.opts.Store.TouchSessions(ctx, sessions)
	}
	if len(used) > 0 {
		failed = errors.Join(failed, a.opts.Store.TouchKeys(ctx, used))
	}
	return failed
}

// Run flushes every few seconds until ctx ends, and once more then. Failures go to report.
func (a *Authenticator) Run(ctx context.Context, report func(error)) {
	ticker := time.NewTicker(maxTTL)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := a.Flush(ctx); err != nil && ctx.Err() == nil {
				report(err)
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if err := a.Flush(last); err != nil {
				report(err)
			}
			return
		}
	}
}
