package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// countSample counts the pending deliveries of lanes ($1), at most $2 of one and $3 of all.
const countSample = `
SELECT q.id, count(*), count(*) FILTER (WHERE q.visible_at <= now()) FROM (
	SELECT l.id, d.visible_at FROM unnest($1::uuid[]) AS l(id) CROSS JOIN LATERAL (
		SELECT d.visible_at FROM deliveries d WHERE d.subscription_id = l.id AND d.queued
		ORDER BY d.subscription_id, d.visible_at LIMIT $2) d
	LIMIT $3) q
GROUP BY q.id`

// SampleQueue implements posthorn.Upkeep.
func (s *Store) SampleQueue(ctx context.Context) error {
	lanes := map[posthorn.UUID]walkedLane{}
	var ids, fifo uuids
	err := s.eachLane(ctx, func(l *walkedLane) {
		if l.deleted {
			return
		}
		id := l.SubscriptionID.UUID
		lanes[id], ids = *l, append(ids, id)
		if l.fifo && l.active && (l.open || l.probe) {
			fifo = append(fifo, id)
		}
	})
	if err != nil {
		return err
	}
	points, err := s.countSample(ctx, lanes, ids, fifo)
	if err != nil {
		return err
	}
	limited, err := s.limitedLanes(ctx, ids)
	if err != nil {
		return err
	}
	sample := posthorn.QueueSample{}
	for id, p := range points {
		if limited[id] {
			p.OldestDue = 0
		}
		sample.Add(lanes[id].TenantID, p)
	}
	born, err := s.bornLanes(ctx, posthorn.TenantID{})
	if err != nil {
		return err
	}
	for _, l := range born {
		p := posthorn.QueuePoint{Pending: l.inFlight}
		if !l.active {
			p.Held = l.inFlight
		}
		sample.Add(l.TenantID, p)
	}
	return s.storeSample(ctx, sample.Rows())
}

// countSample counts each lane as Queue does.
func (s *Store) countSample(ctx context.Context, lanes map[posthorn.UUID]walkedLane, ids, fifo uuids) (map[posthorn.UUID]posthorn.QueuePoint, error) {
	points := map[posthorn.UUID]posthorn.QueuePoint{}
	err := s.do(ctx, "sample the queue", func(ctx context.Context) error {
		clear(points)
		var b pgx.Batch
		b.Queue(steer)
		b.Queue(countSample, ids, posthorn.LaneCounted, posthorn.QueueCounted).Query(func(rows pgx.Rows) error {
			var id posthorn.UUID
			var pending, due int
			_, err := pgx.ForEachRow(rows, []any{(*uuid)(&id), &pending, &due}, func() error {
				points[id] = sampleLane(lanes[id], pending, due)
				return nil
			})
			return err
		})
		if err := s.pool.SendBatch(ctx, &b).Close(); err != nil {
			return err
		}
		found, err := s.lookOrdered(ctx, s.pool, fifo, make([]bool, len(fifo)), false)
		for i, o := range found {
			p := points[fifo[i]]
			if p.Due = len(o.due); !o.since.IsZero() {
				p.OldestDue = max(lanes[fifo[i]].now.Sub(o.since), 0)
			}
			points[fifo[i]] = p
		}
		return err
	})
	return points, err
}

func sampleLane(l walkedLane, pending, due int) posthorn.QueuePoint {
	p := posthorn.QueuePoint{Pending: pending}
	switch {
	case !l.active:
		p.Held = pending
	case (l.open || l.probe) && !l.fifo:
		p.Due, p.OldestDue = due, max(l.now.Sub(l.first), 0)
	}
	return p
}

func (s *Store) storeSample(ctx context.Context, sample posthorn.QueueSample) error {
	var tenants [][16]byte
	var pending, due, held, oldest []int64
	for tenant, p := range sample {
		tenants, pending = append(tenants, tenant.UUID), append(pending, int64(p.Pending))
		due, held = append(due, int64(p.Due)), append(held, int64(p.Held))
		oldest = append(oldest, p.OldestDue.Milliseconds())
	}
	return s.do(ctx, "store a sample of the queue", func(ctx context.Context) error {
		// All or nothing, by the row that every sample has.
		_, err := s.pool.Exec(ctx, `INSERT INTO queue_samples (tenant_id, minute, pending, due, held, oldest_due_ms)
			SELECT t.id, date_trunc('minute', now()), t.pending, t.due, t.held, t.oldest
			FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) AS t(id, pending, due, held, oldest)
			WHERE NOT EXISTS (SELECT FROM queue_samples q
				WHERE q.tenant_id = '00000000-0000-0000-0000-000000000000' AND q.minute = date_trunc('minute', now()))
			ORDER BY 1 ON CONFLICT DO NOTHING`, tenants, pending, due, held, oldest)
		return err
	})
}

// readSamples joins a tenant's samples ($1) to those of all: where only the latter is, nothing of the tenant waited.
const readSamples = `
SELECT to_timestamp(floor(extract(epoch FROM m.minute) / $4::bigint) * $4::bigint), max(coalesce(q.pending, 0)),
	max(coalesce(q.due, 0)), max(coalesce(q.held, 0)), max(coalesce(q.oldest_due_ms, 0))
FROM queue_samples m LEFT JOIN queue_samples q ON q.tenant_id = $1 AND q.minute = m.minute
WHERE m.tenant_id = '00000000-0000-0000-0000-000000000000' AND m.minute >= $2 AND m.minute < $3
GROUP BY 1 ORDER BY 1`

// QueueHistory implements posthorn.Insight.
func (s *Store) QueueHistory(ctx context.Context, tenant posthorn.TenantID, f posthorn.StatsFilter) ([]posthorn.QueuePoint, error) {
	step := max(f.Step.Truncate(time.Minute), time.Minute)
	until := f.Until
	if until.IsZero() {
		until = s.Now().Add(time.Minute)
	}
	return many(ctx, s, "read the samples of the queue", func(row pgx.CollectableRow) (posthorn.QueuePoint, error) {
		var p posthorn.QueuePoint
		var oldest int64
		err := row.Scan((*moment)(&p.At), &p.Pending, &p.Due, &p.Held, &oldest)
		p.OldestDue = time.Duration(oldest) * time.Millisecond
		return p, err
	}, readSamples, [16]byte(tenant.UUID), f.Since.UTC().Truncate(step), until, int64(step/time.Second))
}
