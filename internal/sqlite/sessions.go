package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
)

// CreateSession stores a session of a key.
func (s *Store) CreateSession(ctx context.Context, session *posthorn.Session) error {
	var now time.Time
	err := s.write(ctx, func(t *tx) error {
		now = t.now
		_, err := t.exec(`INSERT INTO sessions (hash, key_id, tenant_id, created_at, seen_at) VALUES (?, ?, ?, ?, ?)`,
			session.Hash[:], session.KeyID, session.TenantID, stamp(now), stamp(now))
		if err != nil {
			return err
		}
		_, err = t.exec(`DELETE FROM sessions WHERE key_id = ? AND hash IN (SELECT hash FROM sessions WHERE key_id = ?
			ORDER BY seen_at DESC LIMIT -1 OFFSET ?) AND hash <> ?`,
			session.KeyID, session.KeyID, posthorn.MaxSessions, session.Hash[:])
		return err
	})
	if err != nil {
		return fmt.Errorf("create session: %w", err)
	}
	session.CreatedAt, session.SeenAt = now, now
	return nil
}

// FindSession reads the session with a hash and its key.
func (s *Store) FindSession(ctx context.Context, hash [32]byte) (*posthorn.Session, *posthorn.Key, error) {
	found := &posthorn.Session{Hash: hash}
	var key *posthorn.Key
	err := s.snapshot(ctx, func(r reader) error {
		err := r.queryRow(`SELECT key_id, tenant_id, created_at, seen_at FROM sessions WHERE hash = ?`, hash[:]).Scan(
			&found.KeyID, &found.TenantID, instant{&found.CreatedAt}, instant{&found.SeenAt})
		if err == nil {
			key, err = scanKey(r.queryRow(`SELECT `+keyColumns+` FROM keys WHERE id = ?`, found.KeyID))
		}
		return absent("session", err)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read session: %w", err)
	}
	return found, key, nil
}

// TouchSessions notes when sessions were last used.
func (s *Store) TouchSessions(ctx context.Context, used map[[32]byte]time.Time) error {
	if len(used) == 0 {
		return nil
	}
	err := s.write(ctx, func(t *tx) error {
		for hash, when := range used {
			if _, err := t.exec(`UPDATE sessions SET seen_at = max(seen_at, ?) WHERE hash = ?`, stamp(when), hash[:]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("touch sessions: %w", err)
	}
	return nil
}

// EndSession removes a session.
func (s *Store) EndSession(ctx context.Context, hash [32]byte) error {
	err := s.write(ctx, func(t *tx) error {
		_, err := t.exec(`DELETE FROM sessions WHERE hash = ?`, hash[:])
		return err
	})
	if err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	return nil
}

var _ posthorn.Store = (*Store)(nil)
