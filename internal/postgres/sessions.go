package postgres

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// CreateSession implements posthorn.SessionStore.
func (s *Store) CreateSession(ctx context.Context, session *posthorn.Session) error {
	return s.write(ctx, "create session", func(ctx context.Context, tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `INSERT INTO sessions (hash, key_id, tenant_id, created_at, seen_at)
			VALUES ($1, $2, $3, now(), now()) RETURNING created_at, seen_at`,
			session.Hash[:], uuid(session.KeyID.UUID), uuid(session.TenantID.UUID)).Scan(
			(*moment)(&session.CreatedAt), (*moment)(&session.SeenAt))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM sessions WHERE hash <> $3 AND hash = ANY (ARRAY(SELECT hash FROM sessions
			WHERE key_id = $1 ORDER BY seen_at DESC OFFSET $2))`, uuid(session.KeyID.UUID), posthorn.MaxSessions, session.Hash[:])
		return err
	})
}

// FindSession implements posthorn.SessionStore.
func (s *Store) FindSession(ctx context.Context, hash [32]byte) (*posthorn.Session, *posthorn.Key, error) {
	found := &posthorn.Session{Hash: hash}
	err := s.do(ctx, "read session", func(ctx context.Context) error {
		row := s.pool.QueryRow(ctx, `SELECT key_id, tenant_id, created_at, seen_at FROM sessions WHERE hash = $1`, hash[:])
		return noRow("session", row.Scan((*uuid)(&found.KeyID.UUID), (*uuid)(&found.TenantID.UUID), (*moment)(&found.CreatedAt),
			(*moment)(&found.SeenAt)))
	})
	if err != nil {
		return nil, nil, err
	}
	key, err := one(ctx, s, "key", scanKey, `SELECT `+keyColumns+` FROM keys WHERE id = $1`, uuid(found.KeyID.UUID))
	return found, key, err
}

// TouchSessions implements posthorn.SessionStore.
func (s *Store) TouchSessions(ctx context.Context, used map[[32]byte]time.Time) error {
	var hashes [][]byte
	for hash := range used {
		hashes = append(hashes, hash[:])
	}
	// In one order everywhere, so that two nodes cannot deadlock.
	slices.SortFunc(hashes, bytes.Compare)
	at := make(moments, len(hashes))
	for i, hash := range hashes {
		at[i] = used[[32]byte(hash)]
	}
	return s.do(ctx, "touch sessions", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `
			UPDATE sessions s SET seen_at = greatest(s.seen_at, u.at)
			FROM (SELECT s.hash, u.at FROM unnest($1::bytea[], $2::timestamptz[]) AS u(hash, at) JOIN sessions s ON s.hash = u.hash
				ORDER BY s.hash FOR UPDATE OF s) u
			WHERE s.hash = u.hash`, hashes, at)
		return err
	})
}

// EndSession implements posthorn.SessionStore.
func (s *Store) EndSession(ctx context.Context, hash [32]byte) error {
	return s.do(ctx, "end session", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `DELETE FROM sessions WHERE hash = $1`, hash[:])
		return err
	})
}
