package postgres

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

const auditColumns = `id, tenant_id, created_at, via, key_id, key_name, address, client, request_id, action, object, was, became`

func scanAudit(row pgx.CollectableRow) (e posthorn.AuditEntry, err error) {
	var address, client, before, after string
	err = row.Scan((*uuid)(&e.ID.UUID), (*uuid)(&e.TenantID.UUID), (*moment)(&e.At), &e.Via, (*uuid)(&e.KeyID.UUID), &e.KeyName,
		&address, &client, &e.RequestID, &e.Action, &e.Object, &before, &after)
	// What is not an address was none.
	e.Address, _ = netip.ParseAddr(address)
	e.Client, _ = netip.ParseAddr(client)
	// Appended, an empty text stays nil.
	e.Before, e.After = append(e.Before, before...), append(e.After, after...)
	return e, err
}

// RecordAudit implements posthorn.AuditStore. The zero address is an empty text.
func (s *Store) RecordAudit(ctx context.Context, e *posthorn.AuditEntry) error {
	return s.do(ctx, "record audit entry", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, `INSERT INTO audit (`+auditColumns+`)
			VALUES ($1, $2, now(), $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING created_at`,
			uuid(e.ID.UUID), uuid(e.TenantID.UUID), string(e.Via), uuid(e.KeyID.UUID), plain(e.KeyName), string(e.Address.AppendTo(nil)),
			string(e.Client.AppendTo(nil)), plain(e.RequestID), e.Action, plain(e.Object), plain(string(e.Before)),
			plain(string(e.After))).Scan((*moment)(&e.At))
	})
}

// ListAudit implements posthorn.AuditStore.
func (s *Store) ListAudit(ctx context.Context, tenant posthorn.TenantID, f posthorn.AuditFilter, p posthorn.Page,
) ([]posthorn.AuditEntry, posthorn.UUID, error) {
	lowest, end := posthorn.UUID{}, highest
	if !f.Since.IsZero() {
		lowest = posthorn.MinUUID(f.Since.Add(-s.slack))
	}
	if !f.Until.IsZero() {
		end = posthorn.MinUUID(f.Until.Add(s.slack))
	}
	where := `id < $1 AND id < $2 AND id >= $3`
	if !tenant.IsZero() {
		where += ` AND tenant_id = $5`
	}
	keep := func(rows []posthorn.AuditEntry) ([]posthorn.AuditEntry, error) {
		return slices.DeleteFunc(rows, func(e posthorn.AuditEntry) bool { return !f.Wants(&e) }), nil
	}
	return page(p, func(e *posthorn.AuditEntry) posthorn.UUID { return e.ID.UUID }, keep,
		func(before posthorn.UUID, n int) ([]posthorn.AuditEntry, error) {
			args := []any{uuid(before), uuid(end), uuid(lowest), n}
			if lowest.IsZero() {
				// The zero id would be NULL.
				args[2] = uuid(posthorn.UUID{15: 1})
			}
			if !tenant.IsZero() {
				args = append(args, uuid(tenant.UUID))
			}
			return many(ctx, s, "list audit entries", scanAudit,
				`SELECT `+auditColumns+` FROM audit WHERE `+where+` ORDER BY id DESC LIMIT $4`, args...)
		})
}

// CleanAccess implements posthorn.AuditStore.
func (s *Store) CleanAccess(ctx context.Context, keep time.Duration, batch int) (removed int, done bool, err error) {
	done = true
	for _, step := range []struct {
		text string
		age  time.Duration
	}{
		{`DELETE FROM audit WHERE id = ANY (ARRAY(SELECT id FROM audit WHERE created_at < now() - $1::interval ORDER BY created_at LIMIT $2))`, keep},
		{`DELETE FROM sessions WHERE hash = ANY (ARRAY(SELECT hash FROM sessions WHERE seen_at <= now() - $1::interval LIMIT $2))`, posthorn.SessionIdle},
		{`DELETE FROM sessions WHERE hash = ANY (ARRAY(SELECT hash FROM sessions WHERE created_at <= now() - $1::interval LIMIT $2))`, posthorn.SessionLife},
	} {
		err = s.do(ctx, "clean up audit and sessions", func(ctx context.Context) error {
			tag, err := s.pool.Exec(ctx, step.text, step.age, batch)
			removed += int(tag.RowsAffected())
			done = done && tag.RowsAffected() < int64(batch)
			return err
		})
		if err != nil {
			return removed, false, err
		}
	}
	return removed, done, nil
}
