package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/posthorn/posthorn"
)

const eventTypeColumns = `tenant_id, name, id, description, schema, example, enforce, deprecated, created_at, updated_at`

func scanEventType(rows interface{ Scan(...any) error }) (e posthorn.EventType, err error) {
	var row []byte
	var schema, example string
	err = rows.Scan(&e.TenantID, &e.Name, &row, &e.Description, &schema, &example, &e.Enforce, &e.Deprecated,
		instant{&e.CreatedAt}, instant{&e.UpdatedAt})
	copy(e.Row[:], row)
	// Appended, an empty text stays nil.
	e.Schema, e.Example = append(e.Schema, schema...), append(e.Example, example...)
	return e, err
}

// moveCatalogue moves the tenant's version and notes that the catalogue is of it.
func (t *tx) moveCatalogue(tenant posthorn.TenantID) error {
	version, err := t.moveVersion(tenant)
	if err != nil {
		return err
	}
	_, err = t.exec(`UPDATE tenants SET catalogue = ? WHERE id = ?`, version, tenant)
	return err
}

// CreateEventType stores a new entry of the catalogue.
func (s *Store) CreateEventType(ctx context.Context, e *posthorn.EventType) error {
	made := *e
	err := s.write(ctx, func(t *tx) error {
		if err := t.moveCatalogue(e.TenantID); err != nil {
			return err
		}
		var count int
		if err := t.queryRow(`SELECT count(*) FROM event_types WHERE tenant_id = ?`, e.TenantID).Scan(&count); err != nil {
			return err
		}
		if count >= posthorn.MaxCatalogue {
			return posthorn.NewError(posthorn.Conflict, "the catalogue has %d event types, which is the most; delete some", count)
		}
		made.CreatedAt, made.UpdatedAt = t.now, t.now
		_, err := t.exec(`INSERT INTO event_types (`+eventTypeColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			made.TenantID, made.Name, blob(made.Row), made.Description, string(made.Schema), string(made.Example),
			flag(made.Enforce), flag(made.Deprecated), stamp(t.now), stamp(t.now))
		if constraint(err) {
			return posthorn.NameTaken("event type")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("create event type: %w", err)
	}
	*e = made
	return nil
}

func readEventType(q querier, tenant posthorn.TenantID, name string) (*posthorn.EventType, error) {
	e, err := scanEventType(q.queryRow(`SELECT `+eventTypeColumns+` FROM event_types WHERE tenant_id = ? AND name = ?`, tenant, name))
	if err != nil {
		return nil, absent("event type", err)
	}
	return &e, nil
}

// GetEventType reads an entry.
func (s *Store) GetEventType(ctx context.Context, tenant posthorn.TenantID, name string) (*posthorn.EventType, error) {
	e, err := readEventType(s.read(ctx), tenant, name)
	if err != nil {
		return nil, fmt.Errorf("read event type: %w", fault(err))
	}
	return e, nil
}

// ListEventTypes lists newest first.
func (s *Store) ListEventTypes(ctx context.Context, tenant posthorn.TenantID, f posthorn.EventTypeFilter, p posthorn.Page,
) ([]posthorn.EventType, posthorn.UUID, error) {
	list := newListing[posthorn.EventType](p)
	rows, err := s.read(ctx).query(`SELECT `+eventTypeColumns+` FROM event_types WHERE tenant_id = ? AND id < ?
		ORDER BY id DESC LIMIT ?`, tenant, list.before[:], list.bound)
	err = each(rows, err, func(rows *sql.Rows) error {
		e, err := scanEventType(rows)
		if err != nil {
			return err
		}
		return list.add(e, e.Row, f.Wants(&e))
	})
	if err != nil {
		return nil, posthorn.UUID{}, fmt.Errorf("list event types: %w", fault(err))
	}
	return list.rows, list.next, nil
}

// UpdateEventType lets change alter one. change runs inside the writing transaction: it must not call the store.
func (s *Store) UpdateEventType(ctx context.Context, tenant posthorn.TenantID, name string, change func(*posthorn.EventType) error,
) (*posthorn.EventType, error) {
	var after posthorn.EventType
	err := s.write(ctx, func(t *tx) error {
		before, err := readEventType(t, tenant, name)
		if err != nil {
			return err
		}
		after = *before
		if err := change(&after); err != nil {
			return err
		}
		after.TenantID, after.Name, after.Row, after.CreatedAt = before.TenantID, before.Name, before.Row, before.CreatedAt
		after.UpdatedAt = before.UpdatedAt
		if after.SameEntry(before) {
			return nil
		}
		if err := t.moveCatalogue(tenant); err != nil {
			return err
		}
		after.UpdatedAt = t.now
		_, err = t.exec(`UPDATE event_types SET description = ?, schema = ?, example = ?, enforce = ?, deprecated = ?, updated_at = ?
			WHERE tenant_id = ? AND name = ?`, after.Description, string(after.Schema), string(after.Example), flag(after.Enforce),
			flag(after.Deprecated), stamp(t.now), tenant, name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("update event type: %w", err)
	}
	return &after, nil
}

// DeleteEventType removes one.
func (s *Store) DeleteEventType(ctx context.Context, tenant posthorn.TenantID, name string) error {
	err := s.write(ctx, func(t *tx) error {
		answer, err := t.exec(`DELETE FROM event_types WHERE tenant_id = ? AND name = ?`, tenant, name)
		if err != nil {
			return err
		}
		if n, err := answer.RowsAffected(); n == 0 || err != nil {
			return orAbsent("event type", err)
		}
		return t.moveCatalogue(tenant)
	})
	if err != nil {
		return fmt.Errorf("delete event type: %w", err)
	}
	return nil
}

// orAbsent is the error of a change that found no row.
func orAbsent(noun string, err error) error {
	if err != nil {
		return err
	}
	return posthorn.Absent(noun)
}

// SetStrict writes the tenant's choice.
func (s *Store) SetStrict(ctx context.Context, tenant posthorn.TenantID, strict *bool) error {
	err := s.write(ctx, func(t *tx) error {
		if err := t.moveCatalogue(tenant); err != nil {
			return err
		}
		var value any
		if strict != nil {
			value = flag(*strict)
		}
		_, err := t.exec(`UPDATE tenants SET strict = ? WHERE id = ?`, value, tenant)
		return err
	})
	if err != nil {
		return fmt.Errorf("set strict: %w", err)
	}
	return nil
}

// Catalogue reads what events are checked against.
func (s *Store) Catalogue(ctx context.Context, tenant posthorn.TenantID, since int64) (*posthorn.Catalogue, error) {
	var c posthorn.Catalogue
	err := s.snapshot(ctx, func(r reader) error {
		err := r.queryRow(`SELECT version, catalogue, strict FROM tenants WHERE id = ?`, tenant).Scan(&c.Version, &c.Changed, &c.Strict)
		if err != nil {
			return absent("tenant", err)
		}
		if c.Changed <= since {
			return nil
		}
		c.Types = []posthorn.EventType{}
		rows, err := r.query(`SELECT name, schema, enforce FROM event_types WHERE tenant_id = ?`, tenant)
		return each(rows, err, func(rows *sql.Rows) error {
			e := posthorn.EventType{TenantID: tenant}
			var schema string
			err := rows.Scan(&e.Name, &schema, &e.Enforce)
			e.Schema = append(e.Schema, schema...)
			c.Types = append(c.Types, e)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read catalogue: %w", err)
	}
	return &c, nil
}
