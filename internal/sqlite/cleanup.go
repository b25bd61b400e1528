package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
)

// Cleanup removes one step of what is older than the retention. It walks the events in the order they came, a step
// further with each call, and begins again after the end: what pending deliveries need is passed by.
func (s *Store) Cleanup(ctx context.Context, r posthorn.Retention) (posthorn.CleanupReport, error) {
	s.cleaning.Lock()
	defer s.cleaning.Unlock()
	report, err := s.cleanup(ctx, s.Now().Add(-r.Logs), step(r.Batch))
	if err != nil {
		return report, fmt.Errorf("clean up: %w", err)
	}
	return report, nil
}

func (s *Store) cleanup(ctx context.Context, cutoff time.Time, limit int) (report posthorn.CleanupReport, err error) {
	old, err := s.oldEvents(ctx, cutoff, limit)
	if err != nil {
		return report, err
	}
	r := removal{cutoff: cutoff, limit: limit, walked: s.cleaned}
	err = s.write(ctx, func(t *tx) error {
		r.tx = t
		if err := r.choose(old); err != nil {
			return err
		}
		if err := r.remove(); err != nil {
			return err
		}
		return r.removeRest()
	})
	if err != nil {
		return report, err
	}
	s.cleaned = r.walked
	if r.whole && len(old) < limit {
		s.cleaned = 0
		r.report.Done = r.rest < int64(limit)
	}
	return r.report, nil
}

// oldEvent is one older than the retention, with its key.
type oldEvent struct {
	row    int64
	tenant posthorn.TenantID
	id     posthorn.EventID
	key    string
}

// oldEvents are the next in the walk, which passes over what is dated ahead, as by a clock that was wrong.
func (s *Store) oldEvents(ctx context.Context, cutoff time.Time, limit int) (old []oldEvent, err error) {
	rows, err := s.read(ctx).query(`SELECT rowid, tenant_id, id, idempotency_key, created_at FROM events
		WHERE rowid > ? AND created_at <= ? ORDER BY rowid LIMIT ?`, s.cleaned, stamp(s.Now()), limit)
	err = each(rows, err, func(rows *sql.Rows) error {
		var e oldEvent
		var created time.Time
		if err := rows.Scan(&e.row, &e.tenant, &e.id, &e.key, instant{&created}); err != nil {
			return err
		}
		if !created.Before(cutoff) {
			return errEnough
		}
		old = append(old, e)
		return nil
	})
	return old, fault(err)
}

// removal is one step: what it removes, and how far the walk has come.
type removal struct {
	*tx
	cutoff                         time.Time
	limit                          int
	events, keys, deliveries, gone []any
	// whole says that all old events were walked over: one with very many deliveries goes in several steps.
	whole  bool
	walked int64
	// rest is the most that was removed of one kind that belongs to no event.
	rest   int64
	report posthorn.CleanupReport
}

// choose picks the events of which no delivery is pending or has ended within the retention, and all their deliveries.
func (r *removal) choose(old []oldEvent) error {
	ids := make([]any, len(old))
	for i := range old {
		ids[i] = old[i].id.UUID[:]
	}
	needed := map[posthorn.EventID]bool{}
	err := r.bulkQuery(`SELECT DISTINCT event_id FROM deliveries WHERE (state = 0 OR completed_at >= ?) AND (event_id) IN (VALUES ROWS)`,
		1, ids, func(rows *sql.Rows) error {
			var id posthorn.EventID
			err := rows.Scan(&id)
			needed[id] = true
			return err
		}, stamp(r.cutoff))
	if err != nil {
		return err
	}
	for _, e := range old {
		if !needed[e.id] {
			whole, err := r.chooseDeliveries(e.id)
			if !whole || err != nil {
				return err
			}
			r.events = append(r.events, e.row)
			if e.key != "" {
				r.keys = append(r.keys, e.tenant.UUID[:], e.key)
			}
		}
		r.walked = e.row
	}
	r.whole = true
	return nil
}

// chooseDeliveries picks an event's deliveries; whole is false when the step has no room for all of them.
func (r *removal) chooseDeliveries(event posthorn.EventID) (whole bool, err error) {
	room := r.limit - len(r.deliveries)
	rows, err := r.query(`SELECT id FROM deliveries INDEXED BY deliveries_by_event WHERE event_id = ? LIMIT ?`, event, room+1)
	err = each(rows, err, func(rows *sql.Rows) error {
		if room == 0 {
			return errEnough
		}
		room--
		var id []byte
		err := rows.Scan(&id)
		r.deliveries = append(r.deliveries, id)
		return err
	})
	return room > 0, err
}

func (r *removal) remove() error {
	for _, d := range []struct {
		text  string
		width int
		args  []any
		count *int64
	}{
		{`DELETE FROM attempts WHERE (delivery_id) IN (VALUES ROWS)`, 1, r.deliveries, &r.report.Attempts},
		{`DELETE FROM deliveries WHERE (id) IN (VALUES ROWS)`, 1, r.deliveries, &r.report.Deliveries},
		{`DELETE FROM events WHERE (rowid) IN (VALUES ROWS)`, 1, r.events, &r.report.Events},
		{`DELETE FROM idempotency_keys WHERE (tenant_id, key) IN (VALUES ROWS)`, 2, r.keys, &r.report.Keys},
	} {
		n, err := r.count(d.text, d.width, d.args)
		if err != nil {
			return err
		}
		*d.count += n
	}
	return nil
}

// removeRest removes what has no event: rollups and tallies, tombstones without history, replays that ended, nodes not seen for long
// and their duties.
func (r *removal) removeRest() error {
	for _, text := range []string{
		`DELETE FROM rollups WHERE (minute, tenant_id, subscription_id, node_id) IN (SELECT minute, tenant_id,
			subscription_id, node_id FROM rollups WHERE minute < ? ORDER BY minute LIMIT ?)`,
		`DELETE FROM queue_samples WHERE (tenant_id, minute) IN (SELECT tenant_id, minute FROM queue_samples
			WHERE minute < ? ORDER BY minute LIMIT ?)`,
		`DELETE FROM replays WHERE id IN (SELECT id FROM replays WHERE completed_at > 0 AND completed_at < ? LIMIT ?)`,
	} {
		answer, err := r.exec(text, stamp(r.cutoff), r.limit)
		if err != nil {
			return err
		}
		n, err := answer.RowsAffected()
		if err != nil {
			return err
		}
		r.rest = max(r.rest, n)
	}
	rows, err := r.query(`DELETE FROM subscriptions WHERE id IN (SELECT id FROM subscriptions AS s
		WHERE deleted_at > 0 AND deleted_at < ? AND NOT EXISTS (SELECT 1 FROM deliveries WHERE subscription_id = s.id) LIMIT ?)
		RETURNING id`, stamp(r.cutoff), r.limit)
	err = each(rows, err, func(rows *sql.Rows) error {
		var id []byte
		err := rows.Scan(&id)
		r.gone = append(r.gone, id)
		return err
	})
	if err != nil {
		return err
	}
	r.rest = max(r.rest, int64(len(r.gone)))
	if len(r.gone) > 0 {
		r.lanesChanged = true
		clear(r.kept)
	}
	if err := r.bulk(`DELETE FROM lanes WHERE (subscription_id) IN (VALUES ROWS)`, 1, r.gone); err != nil {
		return err
	}
	unseen := stamp(r.now.Add(-nodeMemory))
	if _, err := r.exec(`DELETE FROM nodes WHERE seen_at < ?`, unseen); err != nil {
		return err
	}
	if _, err := r.exec(`DELETE FROM leases WHERE until < ?`, unseen); err != nil {
		return err
	}
	// Left by a store that stood still for as long as the retention.
	_, err = r.exec(`DELETE FROM tallies WHERE minute < ?`, stamp(r.cutoff))
	return err
}
