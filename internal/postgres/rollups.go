package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// A batch leaves what it counted as one row of tallies (migration 13), and a fold adds many of them to the rollups: with a
// subscription for each event, a row of the rollups is written once in some seconds, not twice for each delivery.

const (
	// foldEvery is how often this process looks for tallies, and foldAge how old one is by then for a fold to pay.
	foldEvery, foldAge = 5 * time.Second, 10 * time.Second
	// foldTakes bounds a fold for nobody, and foldWaited one that a reader waits for.
	foldTakes, foldWaited = 30 * time.Second, 5 * time.Second
	// foldRows and foldEntries bound the tallies of one transaction and what is in them, but for the last one's.
	foldRows, foldEntries = 10_000, 100_000
)

// tallyMoved counts what recordAttempts moved.
var tallyMoved = `
	INSERT INTO tallies (at, tenant_ids, subscription_ids, kinds, latencies, durations, counts)
	SELECT now(), array_agg(t.tenant_id), array_agg(t.subscription_id), array_agg(t.kind), array_agg(t.latency), array_agg(t.duration),
		array_agg(t.n)
	FROM (
		SELECT m.tenant_id, m.subscription_id, (CASE WHEN NOT m.sent THEN 0 ELSE 2 + CASE WHEN m.outcome <> 'succeeded' THEN 4 ELSE 0 END
				+ CASE WHEN m.number > 1 THEN 8 ELSE 0 END END + CASE WHEN m.state = 'exhausted' THEN 16 ELSE 0 END)::smallint AS kind,
			CASE WHEN m.state = 'succeeded' THEN width_bucket(extract(epoch FROM now() - m.created_at)::float8,
				'{` + latencyBounds() + `}'::float8[]) END::smallint AS latency,
			CASE WHEN m.sent THEN m.slow END::smallint AS duration, count(*)::int AS n
		FROM moved m WHERE m.sent OR m.state = 'exhausted' GROUP BY 1, 2, 3, 4, 5
	) t
	HAVING count(*) > 0`

// latencyBounds are the upper bounds of all buckets but the last, in seconds.
func latencyBounds() string {
	var list []string
	for _, bound := range posthorn.LatencyBounds {
		list = append(list, fmt.Sprint(bound.Seconds()))
	}
	return strings.Join(list, ",")
}

// limitFold lets nobody wait for a node that froze, nor for a statement without an end, behind a pooler too, and lets a fold's entries
// be added up in memory.
const limitFold = `
SELECT set_config('statement_timeout', '15s', true), set_config('idle_in_transaction_session_timeout', '20s', true), set_config('work_mem', '32MB', true)`

// foldTallies moves tallies that lie behind a place ($1) into the rollups, $2 at most and until they have $3 entries, and tells where
// it ended and whether more may follow. Entries of a subscription also count for its tenant, under the zero subscription, but for
// accepted ones, as an event is accepted once for all of its deliveries. Rows of the rollups are no longer kept apart by node and part.
var foldTallies = `
WITH found AS MATERIALIZED (
	SELECT t.ctid AS place, cardinality(t.counts) AS entries FROM tallies t WHERE t.ctid > $1::text::tid LIMIT $2
), next AS MATERIALIZED (
	SELECT place, entries FROM (SELECT place, entries, sum(entries) OVER (ORDER BY place) - entries AS before FROM found) f WHERE before < $3
), folded AS (
	DELETE FROM tallies WHERE ctid = ANY(ARRAY(SELECT place FROM next)) RETURNING *
), entries AS MATERIALIZED (
	SELECT date_trunc('minute', f.at) AS minute, e.tenant_id, e.subscription_id, coalesce(e.kind, 1) AS kind, e.latency, e.duration,
		sum(e.n)::int AS n
	FROM folded f CROSS JOIN unnest(f.tenant_ids, f.subscription_ids, f.kinds, f.latencies, f.durations, f.counts)
		AS e(tenant_id, subscription_id, kind, latency, duration, n)
	GROUP BY 1, 2, 3, 4, 5, 6
), added AS (
	INSERT INTO rollups AS r (tenant_id, subscription_id, minute, node_id, part, accepted, attempts, succeeded, failed, retried, exhausted, latency, duration)
	SELECT t.tenant_id, t.subscription_id, t.minute, '00000000-0000-0000-0000-000000000000', 0, ` + counted("t.kind & 1 > 0") + `, ` + counted("t.kind & 2 > 0") + `,
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
SELECT coalesce((SELECT n.place::text FROM next n ORDER BY n.place DESC LIMIT 1), $1::text), count(*) = $2 OR coalesce(sum(entries), 0) >= $3 FROM next`

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

// fold adds to the rollups what was counted until it begins, one fold of this process at a time.
func (s *Store) fold(ctx context.Context) error {
	select {
	case s.folding <- struct{}{}:
		defer func() { <-s.folding }()
		return s.foldAll(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// foldAll goes through the table once, along the places of its rows, as those that have gone may lie there for long.
func (s *Store) foldAll(ctx context.Context) error {
	for place, more := "(0,0)", true; more; {
		err := s.do(ctx, "add to the rollups", func(ctx context.Context) error {
			return pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
				var b pgx.Batch
				b.Queue(limitFold)
				// One node at a time; the next statement sees what the one before left.
				b.Queue(`SELECT pg_advisory_xact_lock('tallies'::regclass::oid::bigint)`)
				b.Queue(foldTallies, place, foldRows, foldEntries).QueryRow(func(row pgx.Row) error { return row.Scan(&place, &more) })
				return tx.SendBatch(ctx, &b).Close()
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// tryFold is for what goes on without: a reader then misses the last seconds.
func (s *Store) tryFold(ctx context.Context, takes time.Duration) {
	bounded, cancel := context.WithTimeout(ctx, takes)
	defer cancel()
	if err := s.fold(bounded); err != nil && ctx.Err() == nil {
		s.log.Warn("the statistics are not up to date", "error", err)
	}
}

// foldSoon has old tallies folded beside what the caller does, unless this process looked for some lately or folds.
func (s *Store) foldSoon() {
	last, now := s.foldedAt.Load(), time.Since(processStart)
	if last != 0 && now-time.Duration(last) < foldEvery || !s.foldedAt.CompareAndSwap(last, int64(now)) {
		return
	}
	select {
	case s.folding <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-s.folding }()
		ctx, cancel := context.WithTimeout(s.life, foldTakes)
		defer cancel()
		var old bool
		err := s.do(ctx, "look for tallies", func(ctx context.Context) error {
			return s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM tallies WHERE at < now() - $1::interval)`, foldAge).Scan(&old)
		})
		if err == nil && old {
			err = s.foldAll(ctx)
		}
		if err != nil && s.life.Err() == nil {
			s.log.Warn("the statistics are not up to date", "error", err)
		}
	}()
}

// tally is what a transaction counts that is not a result: interrupted attempts, and deliveries exhausted without a further one.
type tally []tallied

// What a kind of tallies is the sum of, where it is not accepted.
const (
	kindAttempt int16 = 2 << iota
	kindFailed
	kindRetry
	kindExhausted
)

// tallied is one of them; its kind is as in tallies.
type tallied struct {
	tenant, subscription posthorn.UUID
	kind                 int16
}

// interrupted counts a lost attempt.
func (y *tally) interrupted(i interrupted) {
	kind := kindAttempt + kindFailed
	if i.number > 1 {
		kind += kindRetry
	}
	*y = append(*y, tallied{i.tenant, i.subscription, kind})
}

// exhausted counts a delivery that ended.
func (y *tally) exhausted(tenant, subscription posthorn.UUID) {
	*y = append(*y, tallied{tenant, subscription, kindExhausted})
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
