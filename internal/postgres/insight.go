package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// laneCountedFirst bounds what is counted of each lane in the look at all of them that finds the longest.
const laneCountedFirst = 200

// Health implements posthorn.Insight.
func (s *Store) Health(ctx context.Context) (posthorn.StoreHealth, error) {
	h := posthorn.StoreHealth{Expected: s.expected}
	for _, pool := range s.pools() {
		stat := pool.Stat()
		h.PoolUsed, h.PoolSize = h.PoolUsed+int(stat.AcquiredConns()), h.PoolSize+int(stat.MaxConns())
	}
	start := time.Now()
	err := s.do(ctx, "check the database", func(ctx context.Context) error {
		// Another node may have migrated further.
		return s.pool.QueryRow(ctx, `SELECT max(version_id) FROM goose_db_version WHERE is_applied`).Scan(&h.Migration)
	})
	h.Latency = time.Since(start)
	return h, err
}

// countQueue counts pending deliveries of lanes ($1), at most $4; $2 says which are open and not FIFO, $3 which are held. One
// that is claimed is neither due nor a retry to come, and hours are those until a retry.
const countQueue = `
SELECT open AND visible_at <= now(), held,
	CASE WHEN attempts > 0 AND claim IS NULL AND visible_at > now() THEN floor(extract(epoch FROM due_at - now()) / 3600)::int ELSE -1 END, count(*)
FROM (
	SELECT l.open, l.held, d.visible_at, d.due_at, d.attempts, d.claim
	FROM unnest($1::uuid[], $2::bool[], $3::bool[]) AS l(id, open, held) CROSS JOIN LATERAL (
		SELECT d.visible_at, d.due_at, d.attempts, d.claim FROM deliveries d WHERE d.subscription_id = l.id AND d.queued
		ORDER BY d.subscription_id, d.visible_at LIMIT $4) d
	LIMIT $4) q
GROUP BY 1, 2, 3`

// Queue implements posthorn.Insight.
func (s *Store) Queue(ctx context.Context, tenant posthorn.TenantID) (posthorn.Queue, error) {
	var q posthorn.Queue
	var lanes, fifo uuids
	var open, held []bool
	var late []lateLane
	var now time.Time
	err := s.eachLane(ctx, func(l *walkedLane) {
		now = l.now
		if l.deleted || !tenant.IsZero() && l.TenantID != tenant {
			return
		}
		sendable := l.active && (l.open || l.probe)
		lanes, open, held = append(lanes, l.SubscriptionID.UUID), append(open, sendable && !l.fifo), append(held, !l.active)
		switch {
		case sendable && l.fifo:
			fifo = append(fifo, l.SubscriptionID.UUID)
		case sendable:
			late = append(late, lateLane{l.SubscriptionID.UUID, l.first})
		}
	})
	if err != nil {
		return q, err
	}
	var found []ordered
	err = s.do(ctx, "count the queue", func(ctx context.Context) error {
		var b pgx.Batch
		b.Queue(steer)
		b.Queue(countQueue, lanes, open, held, posthorn.QueueCounted+1).Query(func(rows pgx.Rows) error { return addQueue(rows, &q) })
		if err := s.pool.SendBatch(ctx, &b).Close(); err != nil {
			return err
		}
		var err error
		found, err = s.lookOrdered(ctx, s.pool, fifo, make([]bool, len(fifo)), false)
		return err
	})
	if err != nil {
		return q, err
	}
	for i, o := range found {
		q.Due += len(o.due)
		if !o.since.IsZero() {
			late = append(late, lateLane{fifo[i], o.since})
		}
	}
	if q.OldestDue, err = s.oldestDue(ctx, late, now); err != nil {
		return q, err
	}
	born, err := s.bornLanes(ctx, tenant)
	for _, l := range born {
		q.Pending += l.inFlight
		if !l.active {
			q.Held += l.inFlight
		}
	}
	if q.Pending > posthorn.QueueCounted {
		q.Pending, q.Capped = posthorn.QueueCounted, true
	}
	return q, err
}

// lateLane is a lane with the moment since when it has something due, or from when on it will.
type lateLane struct {
	id    posthorn.UUID
	since time.Time
}

// lateAtOnce is how many lanes are asked at once whether they are limited: the first of them mostly is not.
const lateAtOnce = 500

// oldestDue is how long the latest of the lanes has waited at now, those that a rate limit may hold back left out.
func (s *Store) oldestDue(ctx context.Context, late []lateLane, now time.Time) (time.Duration, error) {
	late = slices.DeleteFunc(late, func(l lateLane) bool { return !l.since.Before(now) })
	slices.SortFunc(late, func(a, b lateLane) int { return a.since.Compare(b.since) })
	for some := range slices.Chunk(late, lateAtOnce) {
		ids := make(uuids, len(some))
		for i, l := range some {
			ids[i] = l.id
		}
		limited, err := s.limitedLanes(ctx, ids)
		if err != nil {
			return 0, err
		}
		for _, l := range some {
			if !limited[l.id] {
				return now.Sub(l.since), nil
			}
		}
	}
	return 0, nil
}

// limitedLanes are those whose subscriptions have a rate limit. A policy is looked at as text, as none of its parts can be asked
// for where it holds \u0000; quotes in a text are escaped, and metadata of that name is no object.
func (s *Store) limitedLanes(ctx context.Context, ids uuids) (map[posthorn.UUID]bool, error) {
	limited := map[posthorn.UUID]bool{}
	err := s.do(ctx, "look for rate limits", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, `SELECT id FROM subscriptions WHERE id = ANY($1) AND policy::text ~ '"rate_limit": ?\{'`, ids)
		if err != nil {
			return err
		}
		var id posthorn.UUID
		_, err = pgx.ForEachRow(rows, []any{(*uuid)(&id)}, func() error {
			limited[id] = true
			return nil
		})
		return err
	})
	return limited, err
}

// addQueue sums up what countQueue counted.
func addQueue(rows pgx.Rows, q *posthorn.Queue) error {
	var due, held bool
	var hour, n int
	q.Pending, q.Due, q.Held, q.Retries = 0, 0, 0, make([]int, posthorn.RetryHours)
	_, err := pgx.ForEachRow(rows, []any{&due, &held, &hour, &n}, func() error {
		q.Pending += n
		if due {
			q.Due += n
		}
		if held {
			q.Held += n
		}
		if hour >= 0 && hour < posthorn.RetryHours {
			q.Retries[hour] += n
		}
		return nil
	})
	return err
}

// countLanes counts the deliveries of each lane that are in the queue, at most $2 of one.
const countLanes = `
SELECT l.id, c.queued, c.claimed, c.next FROM unnest($1::uuid[]) AS l(id) CROSS JOIN LATERAL (
	SELECT count(*) AS queued, count(*) FILTER (WHERE d.claim IS NOT NULL AND d.visible_at > now()) AS claimed,
		min(d.visible_at) FILTER (WHERE d.claim IS NULL AND d.visible_at > now()) AS next
	FROM (SELECT d.claim, d.visible_at FROM deliveries d WHERE d.subscription_id = l.id AND d.queued
		ORDER BY d.subscription_id, d.visible_at LIMIT $2) d) c`

// LaneBacklogs implements posthorn.Insight. All lanes are counted a little way first, then the longest further.
func (s *Store) LaneBacklogs(ctx context.Context, tenant posthorn.TenantID, limit int) ([]posthorn.LaneBacklog, error) {
	found := map[posthorn.UUID]*posthorn.LaneBacklog{}
	fifo := map[posthorn.UUID]time.Time{}
	var ids uuids
	err := s.eachLane(ctx, func(l *walkedLane) {
		if l.deleted || !tenant.IsZero() && l.TenantID != tenant {
			return
		}
		id := l.SubscriptionID.UUID
		found[id] = &posthorn.LaneBacklog{Lane: l.Lane, OldestDue: max(l.now.Sub(l.first), 0)}
		ids = append(ids, id)
		if l.fifo {
			fifo[id] = l.now
		}
	})
	if err != nil {
		return nil, err
	}
	born, err := s.bornLanes(ctx, tenant)
	for i := range born {
		if id := born[i].SubscriptionID.UUID; found[id] == nil {
			found[id] = &posthorn.LaneBacklog{Lane: born[i].Lane}
			ids = append(ids, id)
		}
	}
	for _, most := range []int{laneCountedFirst, posthorn.LaneCounted} {
		if err == nil {
			err = s.countLanes(ctx, ids, most, found)
		}
		slices.SortStableFunc(ids, func(a, b posthorn.UUID) int {
			return cmp.Or(cmp.Compare(found[b].Backlog, found[a].Backlog), cmp.Compare(found[b].OldestDue, found[a].OldestDue))
		})
		ids = ids[:min(len(ids), max(limit, 1))]
	}
	for i := range born {
		found[born[i].SubscriptionID.UUID].InFlight += born[i].inFlight
	}
	if err == nil {
		err = s.orderLanes(ctx, ids, fifo, found)
	}
	if err != nil {
		return nil, err
	}
	return s.nameLanes(ctx, ids, found)
}

// Backlog implements posthorn.Insight.
func (s *Store) Backlog(ctx context.Context, id posthorn.SubscriptionID) (n int, capped bool, err error) {
	var l posthorn.LaneBacklog
	err = s.countLanes(ctx, uuids{id.UUID}, posthorn.LaneCounted, map[posthorn.UUID]*posthorn.LaneBacklog{id.UUID: &l})
	return l.Backlog, l.Capped, err
}

func (s *Store) countLanes(ctx context.Context, ids uuids, most int, found map[posthorn.UUID]*posthorn.LaneBacklog) error {
	return s.do(ctx, "count lanes", func(ctx context.Context) error {
		var b pgx.Batch
		b.Queue(steer)
		b.Queue(countLanes, ids, most).Query(func(rows pgx.Rows) error {
			var id posthorn.UUID
			var queued, claimed int
			var next time.Time
			_, err := pgx.ForEachRow(rows, []any{(*uuid)(&id), &queued, &claimed, (*moment)(&next)}, func() error {
				l := found[id]
				l.Backlog, l.InFlight, l.NextDue, l.Capped = queued-claimed, claimed, next, queued >= most
				return nil
			})
			return err
		})
		return s.pool.SendBatch(ctx, &b).Close()
	})
}

// orderLanes corrects what is due in FIFO lanes: what waits behind the first of its key is not. fifo has the moment each was
// read at.
func (s *Store) orderLanes(ctx context.Context, ids uuids, fifo map[posthorn.UUID]time.Time,
	found map[posthorn.UUID]*posthorn.LaneBacklog,
) error {
	var lanes uuids
	for _, id := range ids {
		if _, ok := fifo[id]; ok {
			lanes = append(lanes, id)
		}
	}
	return s.do(ctx, "look at FIFO lanes", func(ctx context.Context) error {
		looked, err := s.lookOrdered(ctx, s.pool, lanes, make([]bool, len(lanes)), false)
		for i, o := range looked {
			l := found[lanes[i]]
			l.NextDue, l.OldestDue = o.next, 0
			if !o.since.IsZero() {
				l.OldestDue = max(fifo[lanes[i]].Sub(o.since), 0)
			}
		}
		return err
	})
}

// nameLanes adds what the subscriptions say.
func (s *Store) nameLanes(ctx context.Context, ids uuids, found map[posthorn.UUID]*posthorn.LaneBacklog) ([]posthorn.LaneBacklog, error) {
	subs, err := many(ctx, s, "read the lanes' subscriptions", s.scanSubscription,
		`SELECT `+subscriptionColumns+` FROM subscriptions WHERE id = ANY($1)`, ids)
	for i := range subs {
		l := found[subs[i].ID.UUID]
		l.URL, l.Status, l.RateLimit = subs[i].URL, subs[i].Status, subs[i].RateLimit
	}
	out := make([]posthorn.LaneBacklog, len(ids))
	for i, id := range ids {
		out[i] = *found[id]
	}
	return out, err
}

// sumRollups sums the rollups of a tenant ($1, or of all) or a subscription ($2) into steps of $5 seconds.
var sumRollups = `
SELECT to_timestamp(floor(extract(epoch FROM r.minute) / $5::bigint) * $5::bigint) AS step,
	sum(r.accepted)::bigint, sum(r.attempts)::bigint, sum(r.succeeded)::bigint, sum(r.failed)::bigint, sum(r.retried)::bigint, sum(r.exhausted)::bigint,
	` + buckets(func(i int) string { return fmt.Sprintf("coalesce(sum(r.latency[%d]), 0)::bigint", i) }) + `,
	` + buckets(func(i int) string { return fmt.Sprintf("coalesce(sum(r.duration[%d]), 0)::bigint", i) }) + `
FROM rollups r
WHERE ($1::uuid IS NULL OR r.tenant_id = $1) AND r.subscription_id = $2 AND r.minute >= $3 AND r.minute < $4
GROUP BY 1 ORDER BY 1`

// Stats implements posthorn.Insight.
func (s *Store) Stats(ctx context.Context, tenant posthorn.TenantID, f posthorn.StatsFilter) ([]posthorn.StatsPoint, error) {
	step := max(f.Step.Truncate(time.Minute), time.Minute)
	until := f.Until
	if until.IsZero() {
		until = s.Now().Add(time.Minute)
	}
	s.tryFold(ctx, foldWaited)
	return many(ctx, s, "read the rollups", func(row pgx.CollectableRow) (posthorn.StatsPoint, error) {
		var p posthorn.StatsPoint
		var latency, duration []int64
		err := row.Scan((*moment)(&p.At), &p.Accepted, &p.Attempts, &p.Succeeded, &p.Failed, &p.Retried, &p.Exhausted, &latency, &duration)
		copy(p.Latency[:], latency)
		copy(p.Duration[:], duration)
		return p, err
	}, sumRollups, uuid(tenant.UUID), [16]byte(f.SubscriptionID.UUID), f.Since.UTC().Truncate(step), until, int64(step/time.Second))
}
