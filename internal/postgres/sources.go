package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

const sourceColumns = `id, tenant_id, created_at, updated_at, policy::text, secrets, accepted, duplicates, refused,
	last_accepted_at, last_refused_at`

func (s *Store) scanSource(row pgx.CollectableRow) (posthorn.Source, error) {
	var src posthorn.Source
	var policy *string
	var sealed []byte
	err := row.Scan((*uuid)(&src.ID.UUID), (*uuid)(&src.TenantID.UUID), (*moment)(&src.CreatedAt), (*moment)(&src.UpdatedAt), &policy,
		&sealed, &src.Accepted, &src.Duplicates, &src.Refused, (*moment)(&src.LastAcceptedAt), (*moment)(&src.LastRefusedAt))
	if err != nil {
		return src, err
	}
	if err := fromDocument(policy, &src.SourcePolicy); err != nil {
		return src, fmt.Errorf("policy of %s: %w", src.ID, err)
	}
	opened, err := s.seal.Open(sealed, src.Binding())
	if err != nil {
		src.Unreadable = fmt.Sprintf("unseal source %s: %v", src.ID, err)
		return src, nil
	}
	if err := json.Unmarshal(opened, &src.Secrets); err != nil {
		return src, fmt.Errorf("secrets of %s: %w", src.ID, err)
	}
	return src, nil
}

// encodeSource gives the two documents of a source.
func (s *Store) encodeSource(src *posthorn.Source) (policy string, sealed []byte, err error) {
	text, err := json.Marshal(src.SourcePolicy)
	if err != nil {
		return "", nil, fmt.Errorf("policy: %w", err)
	}
	secrets, err := json.Marshal(src.Secrets)
	if err != nil {
		// The error could quote a value.
		return "", nil, errors.New("secrets cannot be encoded")
	}
	return string(text), s.seal.Seal(secrets, src.Binding()), nil
}

// CreateSource implements posthorn.SourceStore.
func (s *Store) CreateSource(ctx context.Context, src *posthorn.Source) error {
	src.SourceCounts = posthorn.SourceCounts{}
	policy, sealed, err := s.encodeSource(src)
	if err != nil {
		return err
	}
	err = s.do(ctx, "create source", func(ctx context.Context) error {
		row := s.pool.QueryRow(ctx, `INSERT INTO sources (id, tenant_id, created_at, updated_at, policy, secrets)
			SELECT $1, id, now(), now(), $3, $4 FROM tenants WHERE id = $2 RETURNING created_at, updated_at`,
			uuid(src.ID.UUID), uuid(src.TenantID.UUID), policy, sealed)
		return noRow("tenant", row.Scan((*moment)(&src.CreatedAt), (*moment)(&src.UpdatedAt)))
	})
	if codeOf(err) == codeUnique {
		return posthorn.NewError(posthorn.Conflict, "a source with this id exists")
	}
	return err
}

// GetSource implements posthorn.SourceStore.
func (s *Store) GetSource(ctx context.Context, tenant posthorn.TenantID, id posthorn.SourceID) (*posthorn.Source, error) {
	return one(ctx, s, "source", s.scanSource, `SELECT `+sourceColumns+` FROM sources WHERE id = $1 AND tenant_id = $2`,
		uuid(id.UUID), uuid(tenant.UUID))
}

// FindSource implements posthorn.SourceStore.
func (s *Store) FindSource(ctx context.Context, id posthorn.SourceID) (*posthorn.Source, error) {
	src, err := one(ctx, s, "source", s.scanSource, `SELECT `+sourceColumns+` FROM sources WHERE id = $1`, uuid(id.UUID))
	if err == nil && src.Unreadable != "" {
		return nil, posthorn.Locked("source", src.Unreadable)
	}
	return src, err
}

// ListSources implements posthorn.SourceStore.
func (s *Store) ListSources(ctx context.Context, tenant posthorn.TenantID, p posthorn.Page) ([]posthorn.Source, posthorn.UUID, error) {
	return page(p, func(src *posthorn.Source) posthorn.UUID { return src.ID.UUID }, nil,
		func(before posthorn.UUID, n int) ([]posthorn.Source, error) {
			return many(ctx, s, "list sources", s.scanSource,
				`SELECT `+sourceColumns+` FROM sources WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3`,
				uuid(tenant.UUID), uuid(before), n)
		})
}

// UpdateSource implements posthorn.SourceStore.
func (s *Store) UpdateSource(ctx context.Context, tenant posthorn.TenantID, id posthorn.SourceID, change func(*posthorn.Source) error,
) (*posthorn.Source, error) {
	var after posthorn.Source
	err := s.write(ctx, "update source", func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT `+sourceColumns+` FROM sources WHERE id = $1 AND tenant_id = $2 FOR UPDATE`,
			uuid(id.UUID), uuid(tenant.UUID))
		if err != nil {
			return err
		}
		before, err := pgx.CollectExactlyOneRow(rows, s.scanSource)
		if err != nil {
			return noRow("source", err)
		}
		after = before
		if err := change(&after); err != nil {
			return changeError{err}
		}
		after.ID, after.TenantID, after.CreatedAt, after.SourceCounts = before.ID, before.TenantID, before.CreatedAt, before.SourceCounts
		policy, sealed, err := s.encodeSource(&after)
		if err != nil {
			return err
		}
		if before.Unreadable != "" {
			if len(after.Secrets) > 0 {
				return posthorn.Locked("source", before.Unreadable)
			}
			sealed = nil
		}
		return tx.QueryRow(ctx, `UPDATE sources SET policy = $2, secrets = coalesce($3, secrets), updated_at = now() WHERE id = $1 RETURNING updated_at`,
			uuid(id.UUID), policy, sealed).Scan((*moment)(&after.UpdatedAt))
	})
	if refusal, ok := errors.AsType[changeError](err); ok {
		return nil, refusal.error
	}
	if err != nil {
		return nil, err
	}
	return &after, nil
}

// DeleteSource implements posthorn.SourceStore.
func (s *Store) DeleteSource(ctx context.Context, tenant posthorn.TenantID, id posthorn.SourceID) error {
	return s.do(ctx, "delete source", func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, `DELETE FROM sources WHERE id = $1 AND tenant_id = $2`, uuid(id.UUID), uuid(tenant.UUID))
		if err == nil && tag.RowsAffected() == 0 {
			return posthorn.Absent("source")
		}
		return err
	})
}

// CountSources implements posthorn.SourceStore. Rows are locked in order of id, so that two nodes cannot wait for each other.
func (s *Store) CountSources(ctx context.Context, counts map[posthorn.SourceID]posthorn.SourceCounts) error {
	if len(counts) == 0 {
		return nil
	}
	var ids uuids
	for id := range counts {
		ids = append(ids, id.UUID)
	}
	slices.SortFunc(ids, compareIDs)
	var accepted, duplicates, refused []int64
	var acceptedAt, refusedAt moments
	for _, id := range ids {
		c := counts[posthorn.SourceID{UUID: id}]
		accepted, duplicates, refused = append(accepted, c.Accepted), append(duplicates, c.Duplicates), append(refused, c.Refused)
		acceptedAt, refusedAt = append(acceptedAt, c.LastAcceptedAt), append(refusedAt, c.LastRefusedAt)
	}
	return s.do(ctx, "count sources", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `
			UPDATE sources s SET accepted = s.accepted + c.accepted, duplicates = s.duplicates + c.duplicates, refused = s.refused + c.refused,
				last_accepted_at = greatest(s.last_accepted_at, c.accepted_at), last_refused_at = greatest(s.last_refused_at, c.refused_at)
			FROM (SELECT c.* FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::timestamptz[], $6::timestamptz[])
					AS c(id, accepted, duplicates, refused, accepted_at, refused_at)
				JOIN sources s ON s.id = c.id ORDER BY s.id FOR UPDATE OF s) c
			WHERE s.id = c.id`, ids, accepted, duplicates, refused, acceptedAt, refusedAt)
		return err
	})
}
