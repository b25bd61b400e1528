package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// Every transaction leaves what it counted as one row of tallies (migration 13), and a fold adds many of them to the rollups: with a
// subscription for each event, a row of the rollups is written once in some seconds, not twice for each delivery.

const (
	// foldEvery is how often this process looks for tallies, and foldAge how old one is by then for a fold to pay.
	foldEvery, foldAge = 5 * time.Second, 10 * time.Second
	// foldTakes bounds a look, and foldRows the tallies of one transaction.
	foldTakes, foldRows = 30 * time.Second, 1000
)

// tallyMoved counts what recordAttempts moved. The bounds of the latencies are posthorn.LatencyBounds in seconds.
const tallyMoved = `
	INSERT INTO tallies (at, tenant_ids, subscription_ids, kinds, latencies, durations, counts)
	SELECT now(), array_agg(t.tenant_id), array_agg(t.subscription_id), array_agg(t.kind), array_agg(t.latency), array_agg(t.duration),
		array_agg(t.n)
	FROM (
		SELECT m.tenant_id, m.subscription_id, (CASE WHEN NOT m.sent THEN 0 ELSE 2 + CASE WHEN m.outcome <> 'succeeded' THEN 4 ELSE 0 END
				+ CASE WHEN m.number > 1 THEN 8 ELSE 0 END END + CASE WHEN m.state = 'exhausted' THEN 16 ELSE 0 END)::smallint AS kind,
			CASE WHEN m.state = 'succeeded' THEN width_bucket(extract(epoch FROM now() - m.created_at)::float8,
				'{0.002,0.005,0.01,0.025,0.05,0.1,0.25,1,5,30,300}'::float8[]) END::smallint AS latency,
			CASE WHEN m.sent THEN m.slow END::smallint AS duration, count(*)::int AS n
		FROM moved m GROUP BY 1, 2, 3, 4, 5
	) t
	HAVING count(*) > 0`

// foldTallies moves some tallies ($1 at most) into the rollups: entries of one subscription also count for its tenant, under the zero
// subscription, but for accepted ones, as an event is accepted once for all of its deliveries.
var foldTallies = `
WITH folded AS (
	DELETE FROM tallies WHERE ctid = ANY(ARRAY(SELECT ctid FROM tallies LIMIT $1)) RETURNING *
), entries AS MATERIALIZED (
	SELECT date_trunc('minute', f.at) AS minute, e.tenant_id, e.subscription_id, coalesce(e.kind, 1) AS kind, e.latency, e.duration, e.n
	FROM folded f CROSS JOIN unnest(f.tenant_ids, f.subscription_ids, f.kinds, f.latencies, f.durations, f.counts)
		AS e(tenant_id, subscription_id, kind, latency, duration, n)
), added AS (
	INSERT INTO rollups AS r (tenant_id, subscription_id, minute, accepted, attempts, succeeded, failed, retried, exhausted, latency, duration)
	SELECT t.tenant_id, t.subscription_id, t.minute, ` + counted("t.kind & 1 > 0") + `, ` + counted("t.kind & 2 > 0") + `,
		` + counted("t.latency IS NOT NULL") + `, ` + counted("t.kind & 4 > 0") + `, ` + counted("t.kind & 8 > 0") + `, ` + counted("t.kind & 16 > 0") + `,
		` + buckets(func(i int) string { return counted(fmt.Sprintf("t.latency = %d", i-1)) }) + `,
		` + buckets(func(i int) string { return counted(fmt.Sprintf("t.duration = %d", i-1)) }) + `
	FROM (SELECT * FROM entries UNION ALL SELECT minute, tenant_id, '00000000-0000-0000-0000-000000000000', kind, latency, duration, n
		FROM entries WHERE kind & 1 = 0) t
	GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
	ON CONFLICT (tenant_id, subscription_id, minute, node_id, part) DO UPDATE SET accepted = r.accepted + excluded.accepted,
		attempts = r.attempts + excluded.attempts, succeeded = r.succeeded + excluded.succeeded,
		failed = r.failed + excluded.failed, retried = r.retried + excluded.retried, exhausted = r.exhausted + excluded.exhausted,
		latency = ` + buckets(func(i int) string { return fmt.Sprintf("r.latency[%d] + excluded.latency[%[1]d]", i) }) + `,
		duration = ` + buckets(func(i int) string { return fmt.Sprintf("r.duration[%d] + excluded.duration[%[1]d]", i) }) + `
)
SELECT count(*) FROM folded`

// counted is how many a condition holds for.
func counted(condition string) string {
	return "coalesce(sum(t.n) FILTER (WHERE " + condition + "), 0)"
}

// buckets is an array of posthorn.LatencyBuckets elements; the first has number 1.
func buckets(element func(i int) string) string {
	list := make([]string, posthorn.LatencyBuckets)
	for i := range list {
		list[i] = element(i + 1)
	}
	return "ARRAY[" + strings.Join(list, ", ") + "]"
}

// fold adds to the rollups what was counted so far. Stats waits for it, so that what they tell is whole.
func (s *Store) fold(ctx context.Context) error {
	for {
		rows := 0
		err := s.do(ctx, "add to the rollups", func(ctx context.Context) error {
			return pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
				// One at a time, and the next statement sees what the one before left.
				if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock('tallies'::regclass::oid::bigint)`); err != nil {
					return err
				}
				return tx.QueryRow(ctx, foldTallies, foldRows).Scan(&rows)
			})
		})
		if err != nil || rows < foldRows {
			return err
		}
	}
}

// foldSoon has old tallies folded beside what the caller does, unless this process looked for some lately.
func (s *Store) foldSoon() {
	last, now := s.foldedAt.Load(), time.Since(processStart)
	if last != 0 && now-time.Duration(last) < foldEvery || !s.foldedAt.CompareAndSwap(last, int64(now)) {
		return
	}
	s.background.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), foldTakes)
		defer cancel()
		var old bool
		err := s.do(ctx, "look for tallies", func(ctx context.Context) error {
			return s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM tallies WHERE at < now() - $1::interval)`, foldAge).Scan(&old)
		})
		if err == nil && old {
			err = s.fold(ctx)
		}
		if err != nil {
			s.log.Warn("the statistics were not brought up to date", "error", err)
		}
	})
}

// tally is what a transaction counts that is not a result: interrupted attempts, and deliveries exhausted without a further one.
type tally []tallied

// tallied is one of them; its kind is as in tallies.
type tallied struct {
	tenant, subscription posthorn.UUID
	kind                 int16
}

// interrupted counts a lost attempt.
func (y *tally) interrupted(i interrupted) {
	kind := int16(2 + 4)
	if i.number > 1 {
		kind += 8
	}
	*y = append(*y, tallied{i.tenant, i.subscription, kind})
}

// exhausted counts a delivery that ended.
func (y *tally) exhausted(tenant, subscription posthorn.UUID) {
	*y = append(*y, tallied{tenant, subscription, 16})
}

const addTally = `
	INSERT INTO tallies (at, tenant_ids, subscription_ids, kinds, counts) VALUES (now(), $1, $2, $3, array_fill(1, $4))`

// queue adds the tally to a pipeline.
func (y tally) queue(b *pgx.Batch) {
	if len(y) == 0 {
		return
	}
	var tenants, subscriptions uuids
	var kinds []int16
	for _, t := range y {
		tenants, subscriptions, kinds = append(tenants, t.tenant), append(subscriptions, t.subscription), append(kinds, t.kind)
	}
	b.Queue(addTally, tenants, subscriptions, kinds, []int32{int32(len(y))})
}
