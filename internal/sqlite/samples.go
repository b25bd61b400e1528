package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
)

// SampleQueue notes the present backlog, once a minute.
func (s *Store) SampleQueue(ctx context.Context) error {
	sample := posthorn.QueueSample{}
	now := s.Now()
	if err := s.snapshot(ctx, func(r reader) error { return sampleLanes(r, now, sample) }); err != nil {
		return fmt.Errorf("sample queue: %w", err)
	}
	var rows []any
	minute := now.Truncate(time.Minute)
	for tenant, p := range sample.Rows() {
		rows = append(rows, tenant.UUID[:], stamp(minute), p.Pending, p.Due, p.Held, p.OldestDue.Milliseconds())
	}
	err := s.write(ctx, func(t *tx) error {
		var there bool
		err := t.queryRow(`SELECT EXISTS (SELECT 1 FROM queue_samples WHERE tenant_id = ? AND minute = ?)`,
			make([]byte, len(posthorn.UUID{})), stamp(minute)).Scan(&there)
		if err != nil || there {
			return err
		}
		return t.bulk(`INSERT INTO queue_samples (tenant_id, minute, pending, due, held, oldest_due_ms) VALUES ROWS`, 6, rows)
	})
	if err != nil {
		return fmt.Errorf("store sample: %w", err)
	}
	return nil
}

// sampleLanes counts each lane in the queue's index alone, as Queue does; what is due in FIFO lanes is looked up.
func sampleLanes(r reader, now time.Time, sample posthorn.QueueSample) error {
	type ordered struct {
		tenant  posthorn.TenantID
		lane    posthorn.SubscriptionID
		limited bool
	}
	var fifo []ordered
	rows, err := r.query(`SELECT tenant_id, subscription_id, held, open AND fifo, count(*), sum(open AND NOT fifo AND visible_at <= ?2),
			min(CASE WHEN open AND NOT fifo THEN visible_at END), `+limitedLane+` FROM (
		SELECT lanes.tenant_id, lanes.subscription_id, phase = 1 AS held, phase = 0 AND NOT `+gatedLane+` AS open, fifo, visible_at
		FROM lanes CROSS JOIN deliveries AS d INDEXED BY deliveries_queue
			ON d.state = 0 AND d.subscription_id = lanes.subscription_id
		WHERE phase < 2 AND ?1 IS NULL LIMIT ?3) AS ids
		GROUP BY subscription_id`, nil, stamp(now), posthorn.QueueCounted)
	err = each(rows, err, func(rows *sql.Rows) error {
		var o ordered
		var p posthorn.QueuePoint
		var held, inOrder bool
		var oldest sql.NullInt64
		if err := rows.Scan(&o.tenant, &o.lane, &held, &inOrder, &p.Pending, &p.Due, &oldest, &o.limited); err != nil {
			return err
		}
		if held {
			p.Held = p.Pending
		}
		if oldest.Valid && !o.limited {
			p.OldestDue = max(now.Sub(at(oldest.Int64)), 0)
		}
		if inOrder {
			fifo = append(fifo, o)
		}
		sample.Add(o.tenant, p)
		return nil
	})
	if err != nil {
		return err
	}
	for _, o := range fifo {
		due, oldest, _, err := orderedHeads(r, o.lane, now)
		if err != nil {
			return err
		}
		p := posthorn.QueuePoint{Due: due}
		if !oldest.IsZero() && !o.limited {
			p.OldestDue = now.Sub(oldest)
		}
		sample.Add(o.tenant, p)
	}
	return nil
}

// QueueHistory joins a tenant's samples to those of all: where only the latter is, nothing of the tenant waited.
func (s *Store) QueueHistory(ctx context.Context, tenant posthorn.TenantID, f posthorn.StatsFilter) ([]posthorn.QueuePoint, error) {
	step := max(f.Step.Truncate(time.Minute), time.Minute)
	until := f.Until
	if until.IsZero() {
		until = s.Now().Add(time.Minute)
	}
	var points []posthorn.QueuePoint
	rows, err := s.read(ctx).query(`SELECT m.minute / ?1 * ?1, max(ifnull(q.pending, 0)), max(ifnull(q.due, 0)),
			max(ifnull(q.held, 0)), max(ifnull(q.oldest_due_ms, 0))
		FROM queue_samples AS m LEFT JOIN queue_samples AS q ON q.tenant_id = ?2 AND q.minute = m.minute
		WHERE m.tenant_id = ?3 AND m.minute >= ?4 AND m.minute < ?5 GROUP BY 1 ORDER BY 1`,
		step.Microseconds(), tenant.UUID[:], make([]byte, len(posthorn.UUID{})), stamp(f.Since.Truncate(step)), stamp(until))
	err = each(rows, err, func(rows *sql.Rows) error {
		var p posthorn.QueuePoint
		var oldest int64
		err := rows.Scan(instant{&p.At}, &p.Pending, &p.Due, &p.Held, &oldest)
		p.OldestDue = time.Duration(oldest) * time.Millisecond
		points = append(points, p)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read samples: %w", fault(err))
	}
	return points, nil
}
