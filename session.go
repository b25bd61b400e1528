package posthorn

import (
	"context"
	"time"
)

const (
	// SessionIdle ends a session that is not used, SessionLife every session.
	SessionIdle = 12 * time.Hour
	SessionLife = 7 * 24 * time.Hour
	// MaxSessions bounds the sessions of one key: another one ends the one that was used least recently.
	MaxSessions = 100
)

// Session is a dashboard's stand-in for an API key: what the key may do, for a time, without the browser keeping the key.
type Session struct {
	// Hash is the SHA-256 that internal/auth makes of the cookie's token.
	Hash     [32]byte
	KeyID    KeyID
	TenantID TenantID
	// CreatedAt and SeenAt are on the store's clock; SeenAt is written at most once a minute.
	CreatedAt, SeenAt time.Time
}

// ExpiresAt is when the session ends if it is not used again.
func (s *Session) ExpiresAt() time.Time {
	idle, life := s.SeenAt.Add(SessionIdle), s.CreatedAt.Add(SessionLife)
	if life.Before(idle) {
		return life
	}
	return idle
}

// Usable reports whether the session is good at a moment; its key must be too.
func (s *Session) Usable(at time.Time) bool { return at.Before(s.ExpiresAt()) }

// SessionStore keeps dashboard sessions.
type SessionStore interface {
	// CreateSession stores a session of a key and fills CreatedAt and SeenAt; see MaxSessions.
	CreateSession(ctx context.Context, s *Session) error
	// FindSession reads the session with a hash and its key, ended ones included.
	FindSession(ctx context.Context, hash [32]byte) (*Session, *Key, error)
	// TouchSessions notes when sessions were last used, never moving back.
	TouchSessions(ctx context.Context, used map[[32]byte]time.Time) error
	// EndSession removes a session; one that is not there is no error.
	EndSession(ctx context.Context, hash [32]byte) error
}
