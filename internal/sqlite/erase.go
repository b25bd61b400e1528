package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
)

// ErasePayload removes a payload and what may repeat it, and cancels what was to send it. Pages it lay on are overwritten
// with zeros, and the log that holds older copies of them is emptied afterwards, unless another program reads the file.
func (s *Store) ErasePayload(ctx context.Context, tenant posthorn.TenantID, id posthorn.EventID) (time.Time, []posthorn.Delivery, error) {
	var erased time.Time
	err := s.writeSecurely(ctx, func(t *tx) error {
		e, err := getEvent(t, tenant, id)
		if err != nil {
			return err
		}
		if erased = e.PayloadErased; !erased.IsZero() {
			return nil
		}
		erased = t.now
		_, err = t.exec(`UPDATE events SET payload = X'', payload_erased = ? WHERE tenant_id = ? AND id = ?`, stamp(t.now), tenant, id)
		return err
	})
	var ended []posthorn.Delivery
	for from := (posthorn.UUID{}); err == nil; {
		var more bool
		err = s.writeSecurely(ctx, func(t *tx) (err error) {
			from, more, err = t.eraseBodies(id, from, &ended)
			return err
		})
		if !more {
			break
		}
	}
	if err == nil {
		err = s.emptyLog(ctx)
	}
	if err != nil {
		return erased, ended, fmt.Errorf("erase payload: %w", err)
	}
	return erased, ended, nil
}

// eraseBodies does one step over an event's deliveries after one of them.
func (t *tx) eraseBodies(event posthorn.EventID, from posthorn.UUID, ended *[]posthorn.Delivery) (posthorn.UUID, bool, error) {
	g, err := t.ledger()
	if err != nil {
		return from, false, err
	}
	var found []posthorn.Delivery
	var ids []any
	rows, err := t.query(`SELECT `+deliveryColumns+` FROM deliveries INDEXED BY deliveries_by_event
		WHERE event_id = ? AND id > ? ORDER BY id LIMIT ?`, event, from[:], stepBound)
	err = each(rows, err, func(rows *sql.Rows) error {
		d, _, err := scanDelivery(rows)
		found, ids = append(found, d), append(ids, d.ID.UUID[:])
		return err
	})
	if err != nil {
		return from, false, err
	}
	for i := range found {
		d := &found[i]
		from = d.ID.UUID
		if d.State != posthorn.Pending {
			continue
		}
		if err := g.end(d, posthorn.Cancelled, posthorn.ReasonPayloadErased); err != nil {
			return from, false, err
		}
		*ended = append(*ended, *d)
	}
	err = t.bulk(`UPDATE attempts SET body = NULL, body_truncated = 1 WHERE body IS NOT NULL AND (delivery_id) IN (VALUES ROWS)`, 1, ids)
	return from, len(found) == stepBound, errors.Join(err, g.close())
}

// writeSecurely is write with what it removes overwritten with zeros. Elsewhere that would cost without need.
func (s *Store) writeSecurely(ctx context.Context, change func(*tx) error) error {
	return s.alone(ctx, func(t *tx) error {
		if err := t.pragma(`PRAGMA secure_delete = ON`); err != nil {
			return err
		}
		return errors.Join(t.run(change), t.pragma(`PRAGMA secure_delete = OFF`))
	})
}

// emptyLog moves the whole log into the file and cuts it to nothing. Where a reader is in the way it does what it can: the
// log is written over from its beginning later.
func (s *Store) emptyLog(ctx context.Context) error {
	return s.alone(ctx, func(t *tx) error {
		return errors.Join(t.pragma(`PRAGMA busy_timeout = 0`), t.pragma(`PRAGMA wal_checkpoint(TRUNCATE)`),
			t.pragma(`PRAGMA busy_timeout = `+foreignLockWait))
	})
}

// alone has the writer's turn without a transaction.
func (s *Store) alone(ctx context.Context, do func(*tx) error) error {
	if err := s.writer.take(ctx); err != nil {
		return fault(err)
	}
	defer func() { <-s.writer.turn }()
	return fault(do(s.begin(ctx)))
}

// pragma runs one, whose answer does not matter.
func (t *tx) pragma(text string) error {
	rows, err := t.conn.QueryContext(t.ctx, text)
	return each(rows, err, func(*sql.Rows) error { return nil })
}
