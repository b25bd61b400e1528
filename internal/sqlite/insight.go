package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
)

// Health asks the file for the least it can answer.
func (s *Store) Health(ctx context.Context) (posthorn.StoreHealth, error) {
	began := time.Now()
	var one int
	if err := s.read(ctx).queryRow(`SELECT count(*) FROM (SELECT 1 FROM tenants LIMIT 1)`).Scan(&one); err != nil {
		return posthorn.StoreHealth{}, fmt.Errorf("check health: %w", fault(err))
	}
	stats := s.readers.Stats()
	return posthorn.StoreHealth{
		Latency: time.Since(began), Migration: s.migration, Expected: s.expected,
		PoolUsed: stats.InUse + len(s.writer.turn), PoolSize: stats.MaxOpenConnections + 1,
		Full: time.Since(time.Unix(0, s.writer.fullAt.Load())) < fullFor,
	}, nil
}

// Work counts the writer's: reading costs no commit.
func (s *Store) Work() posthorn.StoreWork {
	return posthorn.StoreWork{Transactions: s.writer.transactions.Load(), Statements: s.writer.done.Load()}
}

// gatedLane says in SQL that a lane is throttled or its breaker open at ?2.
const gatedLane = `(throttled_until > ?2 OR breaker_until > ?2)`

// ofTenant narrows lanes to a tenant, ?1, or with NULL to none.
const ofTenant = `(?1 IS NULL OR tenant_id = ?1)`

// limitedLane says in SQL that a subscription, ids.subscription_id, has a rate limit.
const limitedLane = `EXISTS (SELECT 1 FROM subscriptions WHERE id = ids.subscription_id AND json_extract(policy, '$.rate_limit') IS NOT NULL)`

// Queue sums the backlog.
func (s *Store) Queue(ctx context.Context, tenant posthorn.TenantID) (posthorn.Queue, error) {
	var q posthorn.Queue
	now := s.Now()
	err := s.snapshot(ctx, func(r reader) error {
		if err := countQueue(r, tenant, now, &q); err != nil {
			return err
		}
		if err := orderedQueue(r, tenant, now, &q); err != nil {
			return err
		}
		return countRetries(r, tenant, now, &q)
	})
	if err != nil {
		return posthorn.Queue{}, fmt.Errorf("sum queue: %w", err)
	}
	return q, nil
}

// countQueue counts in the queue's index alone; what is due in FIFO lanes is counted by orderedQueue.
func countQueue(r reader, tenant posthorn.TenantID, now time.Time, q *posthorn.Queue) error {
	var oldest int64
	err := r.queryRow(`SELECT count(*), ifnull(sum(due), 0), ifnull(sum(held), 0) FROM (
		SELECT phase = 0 AND fifo = 0 AND NOT `+gatedLane+` AND visible_at <= ?2 AS due, phase = 1 AS held
		FROM lanes CROSS JOIN deliveries AS d INDEXED BY deliveries_queue
			ON d.state = 0 AND d.subscription_id = lanes.subscription_id
		WHERE phase < 2 AND (?1 IS NULL OR lanes.tenant_id = ?1) LIMIT ?3)`,
		blob(tenant.UUID), stamp(now), posthorn.QueueCounted).Scan(&q.Pending, &q.Due, &q.Held)
	if err != nil {
		return err
	}
	q.Capped = q.Pending == posthorn.QueueCounted
	// Only what is late is asked for its limit.
	err = r.queryRow(`WITH ids AS MATERIALIZED (SELECT subscription_id, (SELECT visible_at FROM deliveries INDEXED BY deliveries_queue
			WHERE state = 0 AND deliveries.subscription_id = lanes.subscription_id ORDER BY visible_at LIMIT 1) AS head
		FROM lanes WHERE phase = 0 AND fifo = 0 AND NOT `+gatedLane+` AND `+ofTenant+`)
		SELECT ifnull(min(head), 0) FROM ids WHERE head < ?2 AND NOT `+limitedLane,
		blob(tenant.UUID), stamp(now)).Scan(&oldest)
	if oldest > 0 {
		q.OldestDue = max(now.Sub(at(oldest)), 0)
	}
	return err
}

// orderedQueue adds what is due in FIFO lanes: the first of each key, not what waits behind it.
func orderedQueue(r reader, tenant posthorn.TenantID, now time.Time, q *posthorn.Queue) error {
	type lane struct {
		id      posthorn.SubscriptionID
		limited bool
	}
	var lanes []lane
	rows, err := r.query(`SELECT subscription_id, `+limitedLane+` FROM lanes AS ids
		WHERE phase = 0 AND fifo = 1 AND NOT `+gatedLane+` AND `+ofTenant, blob(tenant.UUID), stamp(now))
	err = each(rows, err, func(rows *sql.Rows) error {
		var l lane
		err := rows.Scan(&l.id, &l.limited)
		lanes = append(lanes, l)
		return err
	})
	if err != nil {
		return err
	}
	for _, l := range lanes {
		due, oldest, _, err := orderedHeads(r, l.id, now)
		if err != nil {
			return err
		}
		q.Due += due
		if !oldest.IsZero() && !l.limited {
			q.OldestDue = max(q.OldestDue, now.Sub(oldest))
		}
	}
	return nil
}

// orderedHeads counts the keys of a FIFO lane whose first delivery is due, and says since when and until when the first
// of them wait.
func orderedHeads(r reader, id posthorn.SubscriptionID, now time.Time) (due int, oldest, next time.Time, err error) {
	var since, until sql.NullInt64
	err = r.queryRow(`SELECT ifnull(sum(visible_at <= ?4 AND NOT under_way), 0),
		min(CASE WHEN visible_at <= ?4 AND NOT under_way THEN visible_at END),
		min(CASE WHEN visible_at > ?4 AND claim IS NULL THEN visible_at END) FROM (`+orderedWalk+`)`,
		id, "", keysPerWalk, stamp(now), stamp(now.Add(posthorn.Lease))).Scan(&due, &since, &until)
	return due, at(since.Int64), at(until.Int64), err
}

// countRetries counts the waiting retries by the hour they are due in.
func countRetries(r reader, tenant posthorn.TenantID, now time.Time, q *posthorn.Queue) error {
	q.Retries = make([]int, posthorn.RetryHours)
	hour := time.Hour.Microseconds()
	rows, err := r.query(`SELECT (due_at - ?2) / ?4, count(*) FROM (SELECT due_at
			FROM lanes CROSS JOIN deliveries AS d INDEXED BY deliveries_queue
				ON d.state = 0 AND d.subscription_id = lanes.subscription_id AND d.visible_at > ?2
			WHERE phase < 2 AND (?1 IS NULL OR lanes.tenant_id = ?1) AND d.claim IS NULL AND d.attempts > 0 LIMIT ?3)
		GROUP BY 1`, blob(tenant.UUID), stamp(now), posthorn.QueueCounted, hour)
	return each(rows, err, func(rows *sql.Rows) error {
		var i, n int
		err := rows.Scan(&i, &n)
		if i >= 0 && i < len(q.Retries) {
			q.Retries[i] = n
		}
		return err
	})
}

// LaneBacklogs lists the lanes with the longest backlogs.
func (s *Store) LaneBacklogs(ctx context.Context, tenant posthorn.TenantID, limit int) ([]posthorn.LaneBacklog, error) {
	var list []posthorn.LaneBacklog
	now := s.Now()
	err := s.snapshot(ctx, func(r reader) error {
		lanes, err := longest(r, tenant, limit)
		if err != nil {
			return err
		}
		for _, b := range lanes {
			if err := detail(r, b, now); err != nil {
				return err
			}
			list = append(list, b.LaneBacklog)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list backlogs: %w", err)
	}
	return list, nil
}

// backlog is a lane with its own kind of order.
type backlog struct {
	posthorn.LaneBacklog
	fifo bool
}

func longest(r reader, tenant posthorn.TenantID, limit int) (list []*backlog, err error) {
	rows, err := r.query(`SELECT n, status, policy, `+qualified("l", laneColumns)+` FROM (
			SELECT (SELECT count(*) FROM (SELECT 1 FROM deliveries INDEXED BY deliveries_queue
				WHERE state = 0 AND deliveries.subscription_id = lanes.subscription_id LIMIT ?2)) AS n, lanes.*
			FROM lanes WHERE `+ofTenant+`) AS l
		JOIN subscriptions AS s ON s.id = l.subscription_id
		WHERE n > 0 ORDER BY n DESC, l.subscription_id LIMIT ?3`, blob(tenant.UUID), posthorn.LaneCounted, limit)
	err = each(rows, err, func(rows *sql.Rows) error {
		var b backlog
		var policy string
		l, err := scanLane(after{rows, []any{&b.Backlog, &b.Status, &policy}})
		if err != nil {
			return err
		}
		var p posthorn.Policy
		if err := decode(policy, &p); err != nil {
			return err
		}
		b.Lane, b.fifo, b.URL, b.RateLimit = l.Lane, l.fifo, p.URL, p.RateLimit
		b.Capped = b.Backlog == posthorn.LaneCounted
		list = append(list, &b)
		return nil
	})
	return list, err
}

// Backlog counts one lane's in the queue's index.
func (s *Store) Backlog(ctx context.Context, id posthorn.SubscriptionID) (n int, capped bool, err error) {
	err = s.snapshot(ctx, func(r reader) error {
		err := r.queryRow(`SELECT count(*) FROM (SELECT 1 FROM deliveries INDEXED BY deliveries_queue
			WHERE state = 0 AND subscription_id = ? LIMIT ?)`, id, posthorn.LaneCounted).Scan(&n)
		if capped = n == posthorn.LaneCounted; err != nil || capped {
			return err
		}
		sending, err := inFlight(r, id, s.Now())
		n -= sending
		return err
	})
	if err != nil {
		return 0, false, fmt.Errorf("count backlog: %w", err)
	}
	return n, capped, nil
}

// inFlight counts the claims of a lane, which end within a lease from now; later times are retries'.
func inFlight(r reader, id posthorn.SubscriptionID, now time.Time) (n int, err error) {
	err = r.queryRow(`SELECT count(*) FROM deliveries INDEXED BY deliveries_queue WHERE state = 0 AND subscription_id = ?
		AND visible_at > ? AND visible_at <= ? AND claim IS NOT NULL`, id, stamp(now), stamp(now.Add(posthorn.Lease))).Scan(&n)
	return n, err
}

// detail fills in what only the lanes shown need.
func detail(r reader, b *backlog, now time.Time) error {
	var err error
	if b.InFlight, err = inFlight(r, b.SubscriptionID, now); err != nil {
		return err
	}
	if !b.Capped {
		b.Backlog -= b.InFlight
	}
	var oldest time.Time
	if b.fifo {
		_, oldest, b.NextDue, err = orderedHeads(r, b.SubscriptionID, now)
	} else {
		var since, until sql.NullInt64
		err = r.queryRow(`SELECT (SELECT visible_at FROM deliveries INDEXED BY deliveries_queue
				WHERE state = 0 AND subscription_id = ?1 AND visible_at <= ?2 ORDER BY visible_at LIMIT 1),
			(SELECT visible_at FROM deliveries INDEXED BY deliveries_queue
				WHERE state = 0 AND subscription_id = ?1 AND visible_at > ?2 AND claim IS NULL ORDER BY visible_at LIMIT 1)`,
			b.SubscriptionID, stamp(now)).Scan(&since, &until)
		oldest, b.NextDue = at(since.Int64), at(until.Int64)
	}
	if !oldest.IsZero() {
		b.OldestDue = now.Sub(oldest)
	}
	return err
}
