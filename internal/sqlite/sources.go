package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/posthorn/posthorn"
)

const sourceColumns = `id, tenant_id, created_at, updated_at, policy, secrets, accepted, duplicates, refused, last_accepted_at,
	last_refused_at`

func (s *Store) scanSource(rows interface{ Scan(...any) error }) (src posthorn.Source, err error) {
	var policy, sealed []byte
	err = rows.Scan(&src.ID, &src.TenantID, instant{&src.CreatedAt}, instant{&src.UpdatedAt}, &policy, &sealed, &src.Accepted,
		&src.Duplicates, &src.Refused, instant{&src.LastAcceptedAt}, instant{&src.LastRefusedAt})
	if err != nil {
		return src, err
	}
	if err := json.Unmarshal(policy, &src.SourcePolicy); err != nil {
		return src, fmt.Errorf("policy of %s: %w", src.ID, err)
	}
	plain, err := s.sealer.Open(sealed, src.Binding())
	if err != nil {
		src.Unreadable = fmt.Sprintf("unseal source %s: %v", src.ID, err)
		return src, nil
	}
	if err := json.Unmarshal(plain, &src.Secrets); err != nil {
		return src, fmt.Errorf("unseal source %s: %w", src.ID, err)
	}
	return src, nil
}

func (s *Store) sealSource(src *posthorn.Source) []byte {
	plain, _ := json.Marshal(src.Secrets) // strings and times always encode
	return s.sealer.Seal(plain, src.Binding())
}

// CreateSource stores a new one.
func (s *Store) CreateSource(ctx context.Context, src *posthorn.Source) error {
	made := *src
	made.SourceCounts = posthorn.SourceCounts{}
	err := s.write(ctx, func(t *tx) error {
		if _, err := t.version(src.TenantID); err != nil {
			return err
		}
		made.CreatedAt, made.UpdatedAt = t.now, t.now
		_, err := t.exec(`INSERT INTO sources (id, tenant_id, created_at, updated_at, policy, secrets) VALUES (?, ?, ?, ?, ?, ?)`,
			made.ID, made.TenantID, stamp(t.now), stamp(t.now), document(made.SourcePolicy, false), s.sealSource(&made))
		if constraint(err) {
			return posthorn.NewError(posthorn.Conflict, "a source with this id exists")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("create source: %w", err)
	}
	*src = made
	return nil
}

func (s *Store) readSource(q querier, tenant posthorn.TenantID, id posthorn.SourceID) (*posthorn.Source, error) {
	src, err := s.scanSource(q.queryRow(`SELECT `+sourceColumns+` FROM sources WHERE id = ? AND tenant_id = ?`, id, tenant))
	if err != nil {
		return nil, absent("source", err)
	}
	return &src, nil
}

// GetSource reads a tenant's.
func (s *Store) GetSource(ctx context.Context, tenant posthorn.TenantID, id posthorn.SourceID) (*posthorn.Source, error) {
	src, err := s.readSource(s.read(ctx), tenant, id)
	if err != nil {
		return nil, fmt.Errorf("read source: %w", fault(err))
	}
	return src, nil
}

// FindSource reads one of any tenant.
func (s *Store) FindSource(ctx context.Context, id posthorn.SourceID) (*posthorn.Source, error) {
	src, err := s.scanSource(s.read(ctx).queryRow(`SELECT `+sourceColumns+` FROM sources WHERE id = ?`, id))
	if err != nil {
		return nil, fmt.Errorf("find source: %w", fault(absent("source", err)))
	}
	if src.Unreadable != "" {
		return nil, posthorn.Locked("source", src.Unreadable)
	}
	return &src, nil
}

// ListSources lists a tenant's, newest first.
func (s *Store) ListSources(ctx context.Context, tenant posthorn.TenantID, p posthorn.Page) ([]posthorn.Source, posthorn.UUID, error) {
	list := newListing[posthorn.Source](p)
	rows, err := s.read(ctx).query(`SELECT `+sourceColumns+` FROM sources WHERE tenant_id = ? AND id < ? ORDER BY id DESC LIMIT ?`,
		tenant, list.before[:], list.limit+1)
	err = each(rows, err, func(rows *sql.Rows) error {
		src, err := s.scanSource(rows)
		if err != nil {
			return err
		}
		return list.add(src, src.ID.UUID, true)
	})
	if err != nil {
		return nil, posthorn.UUID{}, fmt.Errorf("list sources: %w", fault(err))
	}
	return list.rows, list.next, nil
}

// UpdateSource lets change alter one. change runs inside the writing transaction: it must not call the store.
func (s *Store) UpdateSource(ctx context.Context, tenant posthorn.TenantID, id posthorn.SourceID, change func(*posthorn.Source) error,
) (*posthorn.Source, error) {
	var after posthorn.Source
	err := s.write(ctx, func(t *tx) error {
		before, err := s.readSource(t, tenant, id)
		if err != nil {
			return err
		}
		after = *before
		if err := change(&after); err != nil {
			return err
		}
		after.ID, after.TenantID, after.CreatedAt, after.SourceCounts = before.ID, before.TenantID, before.CreatedAt, before.SourceCounts
		after.UpdatedAt = t.now
		if before.Unreadable != "" {
			if len(after.Secrets) > 0 {
				return posthorn.Locked("source", before.Unreadable)
			}
			_, err = t.exec(`UPDATE sources SET updated_at = ?, policy = ? WHERE id = ?`, stamp(t.now), document(after.SourcePolicy, false), id)
			return err
		}
		_, err = t.exec(`UPDATE sources SET updated_at = ?, policy = ?, secrets = ? WHERE id = ?`, stamp(t.now),
			document(after.SourcePolicy, false), s.sealSource(&after), id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("update source: %w", err)
	}
	return &after, nil
}

// DeleteSource removes one.
func (s *Store) DeleteSource(ctx context.Context, tenant posthorn.TenantID, id posthorn.SourceID) error {
	err := s.write(ctx, func(t *tx) error {
		answer, err := t.exec(`DELETE FROM sources WHERE id = ? AND tenant_id = ?`, id, tenant)
		if err != nil {
			return err
		}
		if n, err := answer.RowsAffected(); n == 0 || err != nil {
			return orAbsent("source", err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("delete source: %w", err)
	}
	return nil
}

// CountSources adds to the counts.
func (s *Store) CountSources(ctx context.Context, counts map[posthorn.SourceID]posthorn.SourceCounts) error {
	if len(counts) == 0 {
		return nil
	}
	err := s.write(ctx, func(t *tx) error {
		for id, c := range counts {
			_, err := t.exec(`UPDATE sources SET accepted = accepted + ?, duplicates = duplicates + ?, refused = refused + ?,
				last_accepted_at = max(last_accepted_at, ?), last_refused_at = max(last_refused_at, ?) WHERE id = ?`,
				c.Accepted, c.Duplicates, c.Refused, stamp(c.LastAcceptedAt), stamp(c.LastRefusedAt), id)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("count sources: %w", err)
	}
	return nil
}
