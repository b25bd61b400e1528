package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/posthorn/posthorn"
)

// Updates reads what happened from a moment on. Each kind has an index by time or by id; since ids are a little older than
// their rows, time is walked in growing windows, in each of which all that happened is found.
func (s *Store) Updates(ctx context.Context, tenant posthorn.TenantID, since time.Time, limit int) ([]posthorn.Update, bool, error) {
	var updates []posthorn.Update
	err := s.snapshot(ctx, func(r reader) error {
		w := window{reader: r, tenant: tenant, limit: limit + 1}
		end := s.Now().Add(time.Second)
		size := 10 * time.Second
		for from := since; from.Before(end) && len(w.updates) <= limit; from = w.to {
			w.from, w.to = from, from.Add(size)
			size *= 4
			if err := w.read(); err != nil {
				return err
			}
		}
		updates = w.updates
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("read updates: %w", err)
	}
	slices.SortStableFunc(updates, func(a, b posthorn.Update) int { return a.At.Compare(b.At) })
	if len(updates) > limit {
		return updates[:limit], true, nil
	}
	return updates, false, nil
}

// updateSkew is how much older than its delivery an id may be here: a publish waits for its commit for some seconds at most.
const updateSkew = 30 * time.Second

// window is what happened in [from, to).
type window struct {
	reader
	tenant   posthorn.TenantID
	from, to time.Time
	limit    int
	updates  []posthorn.Update
}

func (w *window) read() error {
	low, high := posthorn.MinUUID(w.from.Add(-updateSkew)), posthorn.MinUUID(w.to.Add(time.Second))
	from, to := stamp(w.from), stamp(w.to)
	err := w.moves(`created_at`, `deliveries INDEXED BY deliveries_by_tenant
		WHERE tenant_id = ?1 AND created_at >= ?2 AND created_at < ?3 AND id >= ?5 AND id < ?6`, from, to, low[:], high[:])
	if err != nil {
		return err
	}
	// Those that ended by an attempt are told by the attempt too, but for what has no tries left without one, as its policy was shortened.
	err = w.moves(`updated_at`, `deliveries INDEXED BY deliveries_ended WHERE tenant_id = ?1 AND updated_at >= ?2 AND updated_at < ?3
		AND state >= 2 AND updated_at > created_at`, from, to)
	if err != nil {
		return err
	}
	err = w.moves(`updated_at`, `deliveries INDEXED BY deliveries_manual WHERE tenant_id = ?1 AND updated_at >= ?2 AND updated_at < ?3
		AND state = 0 AND manual > 0`, from, to)
	if err != nil {
		return err
	}
	if err := w.attempts(from, to); err != nil {
		return err
	}
	return w.unwanted(from, to, low[:], high[:])
}

// unwanted reads the events that no subscription wanted. Among twice as many events as are asked for, more are unwanted
// than that or the others have more deliveries: either way there is more to tell than fits.
func (w *window) unwanted(from, to int64, low, high []byte) error {
	rows, err := w.query(`SELECT created_at, tenant_id, id, type FROM (
			SELECT created_at, tenant_id, id, type, deliveries FROM events INDEXED BY events_by_tenant
			WHERE tenant_id = ?1 AND created_at >= ?2 AND created_at < ?3 AND id >= ?5 AND id < ?6 ORDER BY id LIMIT 2 * ?4)
		WHERE deliveries = 0 ORDER BY created_at, id LIMIT ?4`, w.tenant, from, to, w.limit, low, high)
	return each(rows, err, func(rows *sql.Rows) error {
		var u posthorn.Update
		err := rows.Scan(instant{&u.At}, &u.TenantID, &u.EventID, &u.EventType)
		w.updates = append(w.updates, u)
		return err
	})
}

// moves reads deliveries whose time, a column, lies in the window.
func (w *window) moves(column, from string, args ...any) error {
	rows, err := w.query(`SELECT `+column+`, `+deliveryColumns+` FROM `+from+` ORDER BY `+column+`, id LIMIT ?4`,
		append([]any{w.tenant, args[0], args[1], w.limit}, args[2:]...)...)
	return each(rows, err, func(rows *sql.Rows) error {
		var when time.Time
		d, _, err := scanDelivery(after{rows, []any{instant{&when}}})
		w.updates = append(w.updates, posthorn.UpdateOf(&d, when))
		return err
	})
}

func (w *window) attempts(from, to int64) error {
	rows, err := w.query(`SELECT a.recorded_at, a.id, a.number, a.outcome, a.status_code, a.total, a.error, `+qualified("d", deliveryColumns)+`
		FROM attempts AS a CROSS JOIN deliveries AS d ON d.id = a.delivery_id
		WHERE a.moment >= ? AND a.moment < ? AND d.tenant_id = ? ORDER BY a.moment LIMIT ?`, from, to, w.tenant, w.limit)
	return each(rows, err, func(rows *sql.Rows) error {
		var u posthorn.Update
		d, _, err := scanDelivery(after{rows, []any{
			instant{&u.At}, &u.Attempt, &u.Number, &u.Outcome, &u.StatusCode, interval{&u.Duration}, &u.Error,
		}})
		about := posthorn.UpdateOf(&d, u.At)
		about.Attempt, about.Number, about.Outcome = u.Attempt, u.Number, u.Outcome
		about.StatusCode, about.Duration, about.Error = u.StatusCode, u.Duration, u.Error
		w.updates = append(w.updates, about)
		return err
	})
}
