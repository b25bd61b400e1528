package delivery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/signing"
)

// target is a subscription made ready to be sent to: one parse for all its deliveries. It is never changed.
type target struct {
	sub  *posthorn.Subscription
	url  *egress.URL
	keys []signingKey
	credentials
	// profile signs beside the Standard Webhooks, or instead; nil is none.
	profile *signing.Profile
	// confidential are the texts that a receiver may echo and that must not be stored.
	confidential []string
}

type signingKey struct {
	key     *signing.Key
	expires time.Time
}

// newTarget parses what was validated when it was written; an error is our own fault.
func newTarget(sub *posthorn.Subscription) (*target, error) {
	if sub.Unreadable != "" {
		return nil, posthorn.Locked("subscription", sub.Unreadable)
	}
	u, err := egress.ParseURL(sub.URL)
	if err != nil {
		return nil, fmt.Errorf("url of %s: %w", sub.ID, err)
	}
	t := &target{sub: sub, url: u}
	if t.credentials, t.confidential, err = newCredentials(sub); err != nil {
		return nil, fmt.Errorf("authentication of %s: %w", sub.ID, err)
	}
	if sub.Signature != nil {
		if t.profile, err = signing.ParseProfile(sub.Signature); err != nil {
			return nil, fmt.Errorf("signature profile of %s: %w", sub.ID, err)
		}
	}
	for _, s := range sub.Secrets {
		key, err := signing.ParseText(string(s.Value))
		if err != nil {
			return nil, fmt.Errorf("secret of %s: %w", sub.ID, err)
		}
		t.keys = append(t.keys, signingKey{key, s.ExpiresAt})
		t.confidential = append(t.confidential, string(s.Value))
		if _, bare, ok := strings.Cut(string(s.Value), "_"); ok {
			t.confidential = append(t.confidential, bare)
		}
	}
	for _, value := range sub.Headers {
		t.confidential = append(t.confidential, value)
		// The likes of "Bearer abc": the credential alone is the secret.
		if _, credential, ok := strings.Cut(value, " "); ok {
			t.confidential = append(t.confidential, credential)
		}
	}
	return t, nil
}

// liveKeys are those that sign at a moment, newest first.
func (t *target) liveKeys(at time.Time) []*signing.Key {
	keys := make([]*signing.Key, 0, len(t.keys))
	for _, k := range t.keys {
		if k.expires.IsZero() || at.Before(k.expires) {
			keys = append(keys, k.key)
		}
	}
	return keys
}

// knows reports whether the lane's target is at least of a version; otherwise it loads it and dispatches when it is there.
func (e *Engine) knows(l *lane, version int64) bool {
	if l.target != nil && !l.stale && l.known >= version {
		return true
	}
	e.load(l, version)
	return false
}

// loadRetry is the wait after the store could not be asked for a subscription, unreadableRetry after one that this node cannot read, as
// where it lacks a key that the others have, or its build is older.
const loadRetry, unreadableRetry = time.Second, 30 * time.Second

// load reads the lane's subscription in the background. What changes meanwhile makes the lane stale again.
func (e *Engine) load(l *lane, version int64) {
	if l.loading {
		return
	}
	l.loading, l.stale = true, false
	version = max(version, l.atLeast)
	e.background.Go(func() {
		ctx, cancel := context.WithTimeout(e.life, 5*time.Second)
		defer cancel()
		var t *target
		sub, err := e.opts.Subscriptions.Subscription(ctx, l.tenant, l.id, version)
		unreadable := err != nil && posthorn.KindOf(err) != posthorn.Unavailable && !errors.Is(err, context.DeadlineExceeded)
		if err == nil {
			t, err = newTarget(sub)
			unreadable = err != nil
		}
		e.call(func() {
			if err != nil {
				e.notLoaded(l, version, err, unreadable)
			} else {
				e.loaded(l, t, version)
			}
		})
	})
}

// notLoaded tries again later. What only this node cannot read, it leaves to others until it can.
func (e *Engine) notLoaded(l *lane, version int64, err error, unreadable bool) {
	e.fault("subscription not loaded", err)
	l.stale = true
	if !unreadable {
		time.AfterFunc(loadRetry, func() {
			e.call(func() { l.loading = false; e.dispatch(l) })
		})
		return
	}
	l.unreadable = true
	e.setRoom(l)
	e.releaseQueue(l, everything)
	time.AfterFunc(unreadableRetry, func() {
		e.call(func() { l.loading = false; e.load(l, version) })
	})
}

// loaded takes the subscription as it is now: its limits apply from here on, and a lane that is not active gives back
// what it holds.
func (e *Engine) loaded(l *lane, t *target, version int64) {
	l.loading = false
	if l.unreadable {
		l.unreadable = false
		defer e.claimSoon()
	}
	if l.limited() && (t.sub.RateLimit == nil || *t.sub.RateLimit != *l.target.sub.RateLimit) {
		l.permits, l.askAgain = 0, time.Time{}
	}
	l.target, l.known, l.most = t, max(version, t.sub.Version), t.sub.MaxInFlight
	if t.sub.Ordering == posthorn.OrderingFIFO {
		// One per key and lease: the store gives no two that must wait for each other.
		l.window = max(l.window, l.most)
	}
	if t.sub.Status != posthorn.StatusActive || !t.sub.DeletedAt.IsZero() {
		e.releaseQueue(l, everything)
		return
	}
	e.setRoom(l)
	e.dispatch(l)
}

func everything(*item) bool { return true }

// changed notes that a tenant's subscriptions have another version. Lanes that hold something load theirs now, the others
// before they send again.
func (e *Engine) changed(c posthorn.Change) {
	for _, l := range e.lanes {
		if l.tenant != c.TenantID {
			continue
		}
		l.stale, l.atLeast = true, max(l.atLeast, c.Version)
		if len(l.queue) > 0 {
			e.load(l, l.queue[0].Version)
		}
	}
}
