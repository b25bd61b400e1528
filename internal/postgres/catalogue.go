package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

const eventTypeColumns = `tenant_id, name, id, description, schema, example, enforce, deprecated, created_at, updated_at`

func scanEventType(row pgx.CollectableRow) (posthorn.EventType, error) {
	var e posthorn.EventType
	var schema, example string
	err := row.Scan((*uuid)(&e.TenantID.UUID), &e.Name, (*uuid)(&e.Row), &e.Description, &schema, &example, &e.Enforce, &e.Deprecated,
		(*moment)(&e.CreatedAt), (*moment)(&e.UpdatedAt))
	// Appended, an empty text stays nil.
	e.Schema, e.Example = append(e.Schema, schema...), append(e.Example, example...)
	return e, err
}

// nextCatalogue is nextVersion for a change of the catalogue.
const nextCatalogue = `INSERT INTO subscription_versions AS v (tenant_id, version, catalogue) VALUES ($1, 1, 1)
	ON CONFLICT (tenant_id) DO UPDATE SET version = v.version + 1, catalogue = v.version + 1`

// CreateEventType implements posthorn.CatalogueStore.
func (s *Store) CreateEventType(ctx context.Context, e *posthorn.EventType) error {
	err := s.write(ctx, "create event type", func(ctx context.Context, tx pgx.Tx) error {
		// The version's row is locked from here on, so the types are counted by one at a time.
		if _, err := tx.Exec(ctx, nextCatalogue, uuid(e.TenantID.UUID)); err != nil {
			return err
		}
		var count int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM event_types WHERE tenant_id = $1`, uuid(e.TenantID.UUID)).Scan(&count); err != nil {
			return err
		}
		if count >= posthorn.MaxCatalogue {
			return posthorn.NewError(posthorn.Conflict, "the catalogue has %d event types, which is the most; delete some", count)
		}
		return tx.QueryRow(ctx, `INSERT INTO event_types (`+eventTypeColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now(), now())
			RETURNING created_at, updated_at`, uuid(e.TenantID.UUID), e.Name, uuid(e.Row), plain(e.Description), string(e.Schema),
			string(e.Example), e.Enforce, e.Deprecated).Scan((*moment)(&e.CreatedAt), (*moment)(&e.UpdatedAt))
	})
	if codeOf(err) == codeUnique {
		return posthorn.NameTaken("event type")
	}
	return err
}

// GetEventType implements posthorn.CatalogueStore.
func (s *Store) GetEventType(ctx context.Context, tenant posthorn.TenantID, name string) (*posthorn.EventType, error) {
	return one(ctx, s, "event type", scanEventType, `SELECT `+eventTypeColumns+` FROM event_types WHERE tenant_id = $1 AND name = $2`,
		uuid(tenant.UUID), name)
}

// ListEventTypes implements posthorn.CatalogueStore.
func (s *Store) ListEventTypes(ctx context.Context, tenant posthorn.TenantID, f posthorn.EventTypeFilter, p posthorn.Page,
) ([]posthorn.EventType, posthorn.UUID, error) {
	keep := func(types []posthorn.EventType) ([]posthorn.EventType, error) {
		var kept []posthorn.EventType
		for i := range types {
			if f.Wants(&types[i]) {
				kept = append(kept, types[i])
			}
		}
		return kept, nil
	}
	return page(p, func(e *posthorn.EventType) posthorn.UUID { return e.Row }, keep,
		func(before posthorn.UUID, n int) ([]posthorn.EventType, error) {
			return many(ctx, s, "list event types", scanEventType, `SELECT `+eventTypeColumns+` FROM event_types
				WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3`, uuid(tenant.UUID), uuid(before), n)
		})
}

// UpdateEventType implements posthorn.CatalogueStore.
func (s *Store) UpdateEventType(ctx context.Context, tenant posthorn.TenantID, name string, change func(*posthorn.EventType) error,
) (*posthorn.EventType, error) {
	var after posthorn.EventType
	err := s.write(ctx, "update event type", func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT `+eventTypeColumns+` FROM event_types WHERE tenant_id = $1 AND name = $2 FOR UPDATE`,
			uuid(tenant.UUID), name)
		if err != nil {
			return err
		}
		before, err := pgx.CollectExactlyOneRow(rows, scanEventType)
		if err != nil {
			return noRow("event type", err)
		}
		after = before
		if err := change(&after); err != nil {
			return changeError{err}
		}
		after.TenantID, after.Name, after.Row, after.CreatedAt = before.TenantID, before.Name, before.Row, before.CreatedAt
		after.UpdatedAt = before.UpdatedAt
		if after.SameEntry(&before) {
			return nil
		}
		if _, err := tx.Exec(ctx, nextCatalogue, uuid(tenant.UUID)); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `UPDATE event_types SET description = $3, schema = $4, example = $5, enforce = $6, deprecated = $7,
			updated_at = now() WHERE tenant_id = $1 AND name = $2 RETURNING updated_at`, uuid(tenant.UUID), name, plain(after.Description),
			string(after.Schema), string(after.Example), after.Enforce, after.Deprecated).Scan((*moment)(&after.UpdatedAt))
	})
	if refusal, ok := errors.AsType[changeError](err); ok {
		return nil, refusal.error
	}
	if err != nil {
		return nil, err
	}
	return &after, nil
}

// DeleteEventType implements posthorn.CatalogueStore.
func (s *Store) DeleteEventType(ctx context.Context, tenant posthorn.TenantID, name string) error {
	return s.write(ctx, "delete event type", func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM event_types WHERE tenant_id = $1 AND name = $2`, uuid(tenant.UUID), name)
		if err == nil && tag.RowsAffected() == 0 {
			return posthorn.Absent("event type")
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, nextCatalogue, uuid(tenant.UUID))
		return err
	})
}

// SetStrict implements posthorn.CatalogueStore.
func (s *Store) SetStrict(ctx context.Context, tenant posthorn.TenantID, strict *bool) error {
	return s.write(ctx, "set strict", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, nextCatalogue, uuid(tenant.UUID)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE subscription_versions SET strict = $2 WHERE tenant_id = $1`, uuid(tenant.UUID), strict)
		return err
	})
}

// Catalogue implements posthorn.CatalogueStore. Both statements see one snapshot.
func (s *Store) Catalogue(ctx context.Context, tenant posthorn.TenantID, since int64) (*posthorn.Catalogue, error) {
	c := &posthorn.Catalogue{}
	err := s.do(ctx, "read catalogue", func(ctx context.Context) error {
		*c = posthorn.Catalogue{}
		moment := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
		return pgx.BeginTxFunc(ctx, s.pool, moment, func(tx pgx.Tx) error {
			err := tx.QueryRow(ctx, `SELECT coalesce(v.version, 0), coalesce(v.catalogue, 0), v.strict
				FROM tenants t LEFT JOIN subscription_versions v ON v.tenant_id = t.id WHERE t.id = $1`, uuid(tenant.UUID)).
				Scan(&c.Version, &c.Changed, &c.Strict)
			if err != nil {
				return noRow("tenant", err)
			}
			if c.Changed <= since {
				return nil
			}
			rows, err := tx.Query(ctx, `SELECT name, schema, enforce FROM event_types WHERE tenant_id = $1`, uuid(tenant.UUID))
			if err != nil {
				return err
			}
			c.Types, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (posthorn.EventType, error) {
				e := posthorn.EventType{TenantID: tenant}
				var schema string
				err := row.Scan(&e.Name, &schema, &e.Enforce)
				e.Schema = append(e.Schema, schema...)
				return e, err
			})
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}
