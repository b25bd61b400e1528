package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/posthorn/posthorn"
)

// stepEvents bounds the events that are matched again at a time, each read with its payload.
const stepEvents = 100

// ReplaySources reads what a replay finds behind its cursor.
func (s *Store) ReplaySources(ctx context.Context, r *posthorn.Replay, limit int) (posthorn.ReplaySources, error) {
	scan := sourceScan{replay: r, limit: max(limit, 1)}
	scan.found = posthorn.ReplaySources{Cursor: r.Cursor, Done: true}
	if r.To == posthorn.ToMatching {
		scan.limit = min(scan.limit, stepEvents)
	}
	err := s.snapshot(ctx, func(q reader) error {
		scan.reader = q
		if r.OfEvents() {
			if err := scan.events(); err != nil {
				return err
			}
			return scan.load()
		}
		if err := scan.deliveries(); err != nil || r.To == posthorn.ToOriginal {
			return err
		}
		seen := map[posthorn.EventID]bool{}
		for _, d := range scan.found.Deliveries {
			if !seen[d.EventID] {
				seen[d.EventID] = true
				scan.ids = append(scan.ids, d.EventID)
			}
		}
		scan.found.Deliveries = nil
		return scan.load()
	})
	if err != nil {
		return posthorn.ReplaySources{}, fmt.Errorf("find what to replay: %w", err)
	}
	return scan.found, nil
}

// sourceScan walks upwards from a replay's cursor to its own id.
type sourceScan struct {
	reader
	replay *posthorn.Replay
	limit  int
	found  posthorn.ReplaySources
	ids    []posthorn.EventID
}

// bounds are the ids to look at: above low and below high.
func (s *sourceScan) bounds() (from, low, high posthorn.UUID) {
	low, high = idBounds(s.replay.Filter.Since, s.replay.Filter.Until, s.replay.ID.UUID)
	return s.replay.Cursor, low, high
}

// look notes a row, and whether the filter wants it; false ends the scan.
func (s *sourceScan) look(id posthorn.UUID, wanted, taken bool) error {
	s.found.Examined++
	s.found.Cursor = id
	if wanted {
		s.found.Matched++
	}
	if taken {
		s.limit--
	}
	if s.limit == 0 || s.found.Examined == posthorn.MaxExamined {
		s.found.Done = false
		return errEnough
	}
	return nil
}

// deliveries finds those that match the filter and have none of their event and subscription after them.
func (s *sourceScan) deliveries() error {
	r := s.replay
	index, args := driving(r.TenantID, &r.Filter)
	from, low, high := s.bounds()
	args = append(args, from[:], low[:], high[:], posthorn.MaxExamined)
	rows, err := s.query(`SELECT EXISTS (SELECT 1 FROM deliveries AS n INDEXED BY deliveries_by_event
			WHERE n.event_id = d.event_id AND n.subscription_id = d.subscription_id AND n.id > d.id), `+qualified("d", deliveryColumns)+`
		FROM deliveries AS d INDEXED BY `+index+` AND d.id > ? AND d.id >= ? AND d.id < ? ORDER BY d.id LIMIT ?`, args...)
	return each(rows, err, func(rows *sql.Rows) error {
		var superseded bool
		d, _, err := scanDelivery(after{rows, []any{&superseded}})
		if err != nil {
			return err
		}
		wanted := d.TenantID == r.TenantID && r.Filter.Wants(&d) && r.Wants(&d)
		if wanted && superseded {
			s.found.Superseded++
		}
		taken := wanted && !superseded
		if taken {
			s.found.Deliveries = append(s.found.Deliveries, d)
		}
		return s.look(d.ID.UUID, wanted, taken)
	})
}

// events finds the ids of those that match the filter.
func (s *sourceScan) events() error {
	r := s.replay
	from, low, high := s.bounds()
	rows, err := s.query(`SELECT id, type, created_at, deliver_at FROM events
		WHERE tenant_id = ? AND id > ? AND id >= ? AND id < ? ORDER BY id LIMIT ?`, r.TenantID, from[:], low[:], high[:], posthorn.MaxExamined)
	return each(rows, err, func(rows *sql.Rows) error {
		var e posthorn.Event
		if err := rows.Scan(&e.ID, &e.Type, instant{&e.CreatedAt}, instant{&e.DeliverAt}); err != nil {
			return err
		}
		wanted := r.WantsEvent(&e)
		if wanted {
			s.ids = append(s.ids, e.ID)
		}
		return s.look(e.ID.UUID, wanted, wanted)
	})
}

// load reads the events found, and the latest delivery of each to each subscription: with max(id), SQLite takes the other
// columns from that very row.
func (s *sourceScan) load() error {
	for part := range chunks(s.ids) {
		rows, err := s.query(`SELECT `+eventColumns+` FROM events WHERE tenant_id = ? AND id IN (`+marks(len(part))+`) ORDER BY id`,
			prepend(part, s.replay.TenantID)...)
		err = each(rows, err, func(rows *sql.Rows) error {
			e, err := scanEvent(rows)
			if err == nil {
				s.found.Events = append(s.found.Events, *e)
			}
			return err
		})
		if err != nil {
			return err
		}
		rows, err = s.query(`SELECT max(id), `+deliveryColumns+` FROM deliveries WHERE event_id IN (`+marks(len(part))+`)
			GROUP BY event_id, subscription_id`, prepend(part)...)
		err = each(rows, err, func(rows *sql.Rows) error {
			d, _, err := scanDelivery(after{rows, []any{new(any)}})
			if err == nil {
				s.found.Latest = append(s.found.Latest, d)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
