package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/netip"
	"time"

	"github.com/posthorn/posthorn"
)

// sessionPrefix begins the tokens of dashboard sessions.
const sessionPrefix = "phs_"

// sessionHash is what is stored of a session's token. It is of another domain than a key's hash, so that neither can stand
// for the other, not even in the cache.
func sessionHash(token string) [32]byte { return sha256.Sum256([]byte("posthorn session\x00" + token)) }

// StartSession makes a session for a key that was recognised, and gives its token, which is known only now.
func (a *Authenticator) StartSession(ctx context.Context, id *Identity) (token string, s *posthorn.Session, err error) {
	token = sessionPrefix + random()
	s = &posthorn.Session{Hash: sessionHash(token), KeyID: id.Key.ID, TenantID: id.Tenant.ID}
	if err := a.opts.Store.CreateSession(ctx, s); err != nil {
		return "", nil, err
	}
	return token, s, nil
}

// EndSession ends the session by which an identity was recognised, here at once and elsewhere within the TTL.
func (a *Authenticator) EndSession(ctx context.Context, id *Identity) error {
	if err := a.opts.Store.EndSession(ctx, id.Session.Hash); err != nil {
		return err
	}
	a.Invalidate()
	return nil
}

// KnownSession is Known for a session's token.
func (a *Authenticator) KnownSession(token string) bool {
	if !wellFormed(token) {
		return true
	}
	return a.recognised(sessionHash(token))
}

// AuthenticateSession is Authenticate for a session's token: the session must last and its key be good.
func (a *Authenticator) AuthenticateSession(ctx context.Context, token string, from netip.Addr) (*Identity, error) {
	if !Admits(a.opts.Allowlist, from) {
		return nil, errAddress()
	}
	if !wellFormed(token) {
		return nil, errSession()
	}
	now := a.opts.Now()
	id, err := a.identifySession(ctx, sessionHash(token), now)
	if err != nil {
		return nil, err
	}
	if err := a.admit(id, now, from); err != nil {
		return nil, err
	}
	return id, nil
}

func errSession() error {
	return posthorn.NewError(posthorn.Unauthenticated, "the session has ended; sign in again with an API key")
}

func (a *Authenticator) identifySession(ctx context.Context, hash [32]byte, now time.Time) (*Identity, error) {
	return a.identify(ctx, hash, now, errSession, findSession)
}

func findSession(ctx context.Context, store Store, hash [32]byte) (*posthorn.Key, *posthorn.Session, error) {
	s, key, err := store.FindSession(ctx, hash)
	if err == nil && subtle.ConstantTimeCompare(s.Hash[:], hash[:]) != 1 {
		return nil, nil, errSession()
	}
	return key, s, err
}

// noteSession remembers that a session was used, unless that was written within the last minute.
func (a *Authenticator) noteSession(s *posthorn.Session, now time.Time) {
	if now.Sub(s.SeenAt) < touchEvery {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.sessions) < maxCached {
		a.sessions[s.Hash] = now
	}
}
