package postgres

import (
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// tallyMoved adds what recordAttempts moved to the rollups of its node ($1): one row per subscription and, under the zero
// subscription, one per tenant. The bounds of the latencies are posthorn.LatencyBounds in seconds.
const tallyMoved = `
	INSERT INTO rollups AS r (tenant_id, subscription_id, node_id, minute, part, attempts, succeeded, failed, retried, exhausted,
		latency, duration)
	SELECT t.tenant_id, coalesce(t.subscription_id, '00000000-0000-0000-0000-000000000000'), $1::uuid, date_trunc('minute', now()), 1,
		count(*) FILTER (WHERE t.sent), count(*) FILTER (WHERE t.state = 'succeeded'),
		count(*) FILTER (WHERE t.sent AND t.outcome <> 'succeeded'), count(*) FILTER (WHERE t.sent AND t.number > 1),
		count(*) FILTER (WHERE t.state = 'exhausted'),
		ARRAY[count(*) FILTER (WHERE t.late = 0), count(*) FILTER (WHERE t.late = 1), count(*) FILTER (WHERE t.late = 2),
			count(*) FILTER (WHERE t.late = 3), count(*) FILTER (WHERE t.late = 4), count(*) FILTER (WHERE t.late = 5),
			count(*) FILTER (WHERE t.late = 6), count(*) FILTER (WHERE t.late = 7), count(*) FILTER (WHERE t.late = 8),
			count(*) FILTER (WHERE t.late = 9), count(*) FILTER (WHERE t.late = 10), count(*) FILTER (WHERE t.late = 11)],
		ARRAY[count(*) FILTER (WHERE t.slow = 0), count(*) FILTER (WHERE t.slow = 1), count(*) FILTER (WHERE t.slow = 2),
			count(*) FILTER (WHERE t.slow = 3), count(*) FILTER (WHERE t.slow = 4), count(*) FILTER (WHERE t.slow = 5),
			count(*) FILTER (WHERE t.slow = 6), count(*) FILTER (WHERE t.slow = 7), count(*) FILTER (WHERE t.slow = 8),
			count(*) FILTER (WHERE t.slow = 9), count(*) FILTER (WHERE t.slow = 10), count(*) FILTER (WHERE t.slow = 11)]
	FROM (
		SELECT m.tenant_id, m.subscription_id, m.sent, m.number, m.state, m.outcome, CASE WHEN m.sent THEN m.slow END AS slow,
			CASE WHEN m.state = 'succeeded' THEN width_bucket(extract(epoch FROM now() - m.created_at)::float8,
				'{0.002,0.005,0.01,0.025,0.05,0.1,0.25,1,5,30,300}'::float8[]) END AS late
		FROM moved m
	) t
	GROUP BY GROUPING SETS ((t.tenant_id, t.subscription_id), (t.tenant_id))
	ORDER BY 1, 2
	ON CONFLICT (tenant_id, subscription_id, minute, node_id, part) DO UPDATE SET
		attempts = r.attempts + excluded.attempts, succeeded = r.succeeded + excluded.succeeded,
		failed = r.failed + excluded.failed, retried = r.retried + excluded.retried, exhausted = r.exhausted + excluded.exhausted,
		latency = ` + addLatency + `,
		duration = ` + addDuration

const (
	addLatency = `ARRAY[r.latency[1] + excluded.latency[1], r.latency[2] + excluded.latency[2], r.latency[3] + excluded.latency[3],
			r.latency[4] + excluded.latency[4], r.latency[5] + excluded.latency[5], r.latency[6] + excluded.latency[6],
			r.latency[7] + excluded.latency[7], r.latency[8] + excluded.latency[8], r.latency[9] + excluded.latency[9],
			r.latency[10] + excluded.latency[10], r.latency[11] + excluded.latency[11], r.latency[12] + excluded.latency[12]]`
	addDuration = `ARRAY[r.duration[1] + excluded.duration[1], r.duration[2] + excluded.duration[2], r.duration[3] + excluded.duration[3],
			r.duration[4] + excluded.duration[4], r.duration[5] + excluded.duration[5], r.duration[6] + excluded.duration[6],
			r.duration[7] + excluded.duration[7], r.duration[8] + excluded.duration[8], r.duration[9] + excluded.duration[9],
			r.duration[10] + excluded.duration[10], r.duration[11] + excluded.duration[11], r.duration[12] + excluded.duration[12]]`
)

const (
	sumLatency = `ARRAY[coalesce(sum(r.latency[1]), 0), coalesce(sum(r.latency[2]), 0), coalesce(sum(r.latency[3]), 0),
		coalesce(sum(r.latency[4]), 0), coalesce(sum(r.latency[5]), 0), coalesce(sum(r.latency[6]), 0),
		coalesce(sum(r.latency[7]), 0), coalesce(sum(r.latency[8]), 0), coalesce(sum(r.latency[9]), 0),
		coalesce(sum(r.latency[10]), 0), coalesce(sum(r.latency[11]), 0), coalesce(sum(r.latency[12]), 0)]::bigint[]`
	sumDuration = `ARRAY[coalesce(sum(r.duration[1]), 0), coalesce(sum(r.duration[2]), 0), coalesce(sum(r.duration[3]), 0),
		coalesce(sum(r.duration[4]), 0), coalesce(sum(r.duration[5]), 0), coalesce(sum(r.duration[6]), 0),
		coalesce(sum(r.duration[7]), 0), coalesce(sum(r.duration[8]), 0), coalesce(sum(r.duration[9]), 0),
		coalesce(sum(r.duration[10]), 0), coalesce(sum(r.duration[11]), 0), coalesce(sum(r.duration[12]), 0)]::bigint[]`
)

// tally counts what is not a result for the rollups: interrupted attempts, and deliveries exhausted without a further one.
type tally map[[2]posthorn.UUID]*tallied

type tallied struct{ attempts, retried, exhausted int64 }

// count adds to a subscription's row and, under the zero subscription, its tenant's.
func (y tally) count(tenant, subscription posthorn.UUID, n tallied) {
	for _, key := range [...][2]posthorn.UUID{{tenant, subscription}, {tenant}} {
		c := y[key]
		if c == nil {
			c = &tallied{}
			y[key] = c
		}
		c.attempts, c.retried, c.exhausted = c.attempts+n.attempts, c.retried+n.retried, c.exhausted+n.exhausted
	}
}

// interrupted counts a lost attempt.
func (y tally) interrupted(i interrupted) {
	n := tallied{attempts: 1}
	if i.number > 1 {
		n.retried = 1
	}
	y.count(i.tenant, i.subscription, n)
}

const addTally = `
	INSERT INTO rollups AS r (tenant_id, subscription_id, node_id, minute, part, attempts, failed, retried, exhausted, latency, duration)
	SELECT t.tenant_id, t.subscription_id, $1, date_trunc('minute', now()), 1, t.attempts, t.attempts, t.retried, t.exhausted,
		array_fill(0::bigint, '{12}'), array_fill(0::bigint, '{12}')
	FROM unnest($2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[])
		AS t(tenant_id, subscription_id, attempts, retried, exhausted)
	ON CONFLICT (tenant_id, subscription_id, minute, node_id, part) DO UPDATE SET attempts = r.attempts + excluded.attempts,
		failed = r.failed + excluded.failed, retried = r.retried + excluded.retried, exhausted = r.exhausted + excluded.exhausted`

// queue adds the tally to a pipeline, in the order of the rows' key.
func (y tally) queue(b *pgx.Batch, node posthorn.UUID) {
	if len(y) == 0 {
		return
	}
	keys := make([][2]posthorn.UUID, 0, len(y))
	for key := range y {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b [2]posthorn.UUID) int {
		if c := compareIDs(a[0], b[0]); c != 0 {
			return c
		}
		return compareIDs(a[1], b[1])
	})
	var tenants, subscriptions [][16]byte
	var attempts, retried, exhausted []int64
	for _, key := range keys {
		c := y[key]
		tenants, subscriptions = append(tenants, key[0]), append(subscriptions, key[1])
		attempts, retried, exhausted = append(attempts, c.attempts), append(retried, c.retried), append(exhausted, c.exhausted)
	}
	b.Queue(addTally, [16]byte(node), tenants, subscriptions, attempts, retried, exhausted)
}
