package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// claimable is when a pending delivery may be given, but for its lane.
const claimable = `d.queued AND d.visible_at <= now() AND (d.expires_at IS NULL OR d.expires_at > now())`

// takeDue locks due deliveries and moves them in one statement. Those of $5 are given by id: the first $6 are retries by
// hand, the rest heads of FIFO lanes. Of each lane in $8 the oldest follow, up to its share; in a lane that became FIFO
// lately, or whose oldest has no number ($10), only those without a number. Rows another claim is taking are passed over.
// They are given in order: retries, the first of each lane, the second of each, …, as far as $3 and the bytes of $4 reach; the k-th gets the k-th
// token of $7. A claim whose lease ran out is an interruption, which beyond $11 in a row costs the budget, or ends a retry
// by hand: what was pending before is left to the next look then.
const takeDue = `
WITH picked AS MATERIALIZED (
	SELECT q.n, q.n <= $6 AS first, d.* FROM unnest($5::uuid[]) WITH ORDINALITY AS q(id, n) CROSS JOIN LATERAL (
		SELECT * FROM deliveries d WHERE d.id = q.id AND ` + claimable + ` OFFSET 0 FOR UPDATE SKIP LOCKED) d
	UNION ALL
	SELECT q.n, false, d.* FROM unnest($8::uuid[], $9::int[], $10::bool[]) WITH ORDINALITY AS q(lane, share, strays, n) CROSS JOIN LATERAL (
		SELECT * FROM deliveries d WHERE d.subscription_id = q.lane AND ` + claimable + ` AND (NOT q.strays OR d.sequence = 0)
		ORDER BY d.subscription_id, d.visible_at LIMIT q.share FOR UPDATE SKIP LOCKED) d
), ranked AS (
	SELECT DISTINCT ON (p.id) p.id, p.n, p.payload_bytes, p.claim, p.claimed_by, p.attempts, p.manual,
		CASE WHEN p.first THEN 0 ELSE row_number() OVER (PARTITION BY p.first, p.subscription_id ORDER BY p.visible_at, p.id) END AS nth,
		p.claim IS NOT NULL AS lost,
		p.claim IS NOT NULL AND p.interruptions >= $11 AS costs,
		p.claim IS NOT NULL AND p.interruptions >= $11 AND (p.manual = 2 OR p.manual = 0 AND
			p.spent + 1 >= (SELECT l.budget FROM lanes l WHERE l.subscription_id = p.subscription_id)) AS ended,
		NOT (p.claim IS NOT NULL AND p.interruptions >= $11 AND p.manual = 1) AS goes
	FROM picked p ORDER BY p.id, p.first DESC
), arranged AS MATERIALIZED (
	SELECT r.*, row_number() OVER w AS k, sum(r.payload_bytes) OVER w AS bytes, count(*) OVER () AS found
	FROM ranked r WINDOW w AS (ORDER BY r.nth, r.n)
)
UPDATE deliveries d SET
	visible_at = CASE WHEN a.ended THEN d.visible_at WHEN a.goes THEN now() + $2::interval ELSE d.due_at END,
	claim = CASE WHEN a.goes AND NOT a.ended THEN ($7::uuid[])[a.k] END,
	claimed_by = CASE WHEN a.goes AND NOT a.ended THEN $1::uuid END,
	attempts = d.attempts + CASE WHEN a.goes AND NOT a.ended THEN 1 ELSE 0 END,
	interruptions = d.interruptions + a.lost::int,
	spent = d.spent + CASE WHEN a.costs AND d.manual = 0 THEN 1 ELSE 0 END,
	manual = CASE WHEN a.costs THEN 0 ELSE d.manual END,
	last_outcome = CASE WHEN a.lost THEN 'interrupted' ELSE d.last_outcome END,
	last_status_code = CASE WHEN a.lost THEN 0 ELSE d.last_status_code END,
	last_error = CASE WHEN a.lost THEN '` + posthorn.ClaimLost + `' ELSE d.last_error END,
	state = CASE WHEN a.ended THEN 'exhausted' ELSE d.state END,
	reason = CASE WHEN NOT a.ended THEN d.reason WHEN d.manual = 0 THEN 'attempts' ELSE 'manual' END,
	completed_at = CASE WHEN a.ended THEN now() END,
	touched_at = CASE WHEN a.ended THEN now() ELSE d.touched_at END,
	queued = NOT a.ended,
	updated_at = now()
FROM arranged a
WHERE d.id = a.id AND a.k <= $3 AND (a.bytes <= $4 OR a.k = 1 AND $12)
RETURNING a.k, a.found, d.payload_bytes, a.claim, a.claimed_by, a.attempts, a.manual <> 0, ` + deliveryColumns

// round takes from each lane up to its share, and says whether to go on: there is room that some lanes left and others could
// fill.
func (c *claim) round(ctx context.Context, tx pgx.Tx) (more bool, err error) {
	ids, err := c.byID(ctx, tx)
	if err != nil {
		return false, err
	}
	var lanes uuids
	var shares []int32
	var strays []bool
	for i := range c.plan.lanes {
		l := &c.plan.lanes[i]
		switch {
		case l.share == 0 || l.manualOnly || l.fifo && !l.strays:
		case l.share == 1 && !l.fifo && !l.oldest.IsZero():
			// The walk has found it already: the case of more lanes than the limit.
			ids = append(ids, l.oldest)
			l.oldest = posthorn.UUID{}
		default:
			lanes, shares, strays = append(lanes, l.SubscriptionID.UUID), append(shares, int32(l.share)), append(strays, l.strays)
		}
	}
	if len(ids)+len(lanes) == 0 {
		return false, nil
	}
	got, left, err := c.take(ctx, tx, ids, lanes, shares, strays)
	if err != nil {
		return false, err
	}
	c.plan.manual = nil
	c.limited = c.limited || left > 0 || len(c.taken) >= c.req.Limit
	return !c.limited && c.share(got), nil
}

// byID are the deliveries to be taken by id: manual retries first, then the heads of held FIFO lanes, which are looked up
// again now that nobody else can claim from them.
func (c *claim) byID(ctx context.Context, tx pgx.Tx) (uuids, error) {
	ids := slices.Clone(c.plan.manual)
	var lanes []*lanePlan
	var keys []posthorn.UUID
	var byHand []bool
	for i := range c.plan.lanes {
		if l := &c.plan.lanes[i]; l.fifo && l.share > 0 {
			lanes, keys, byHand = append(lanes, l), append(keys, l.SubscriptionID.UUID), append(byHand, l.manualOnly)
		}
	}
	found, err := c.store.lookOrdered(ctx, tx, keys, byHand, true)
	for i, l := range lanes {
		ids = append(ids, found[i].due[:min(len(found[i].due), l.share)]...)
	}
	return ids, err
}

// take moves what one round picks: how many of each lane, and how many picked ones did not fit.
func (c *claim) take(ctx context.Context, tx pgx.Tx, ids, lanes uuids, shares []int32, strays []bool,
) (got map[posthorn.SubscriptionID]int, left int, err error) {
	limit := c.req.Limit - len(c.taken)
	tokens := make(uuids, limit)
	now := c.store.Now()
	for i := range tokens {
		tokens[i] = posthorn.NewUUID(now)
	}
	type place struct {
		k int
		taken
	}
	var places []place
	var found int
	var b pgx.Batch
	b.Queue(steer)
	b.Queue(takeDue, uuid(c.req.Node.UUID), posthorn.Lease, limit, c.req.MaxBytes-c.bytes, ids, len(c.plan.manual), tokens,
		lanes, shares, strays, posthorn.FreeInterruptions, len(c.taken) == 0).Query(func(rows pgx.Rows) error {
		var p place
		var bytes int64
		fields := append([]any{
			&p.k, &found, &bytes, (*uuid)(&p.lost.id), (*uuid)(&p.lost.node), &p.lost.number, &p.lost.manual,
		}, deliveryFields(&p.Delivery)...)
		_, err := pgx.ForEachRow(rows, fields, func() error {
			c.bytes += bytes
			p.lost.tenant, p.lost.delivery, p.lost.event = p.TenantID.UUID, p.ID.UUID, p.EventID.UUID
			p.lost.subscription = p.SubscriptionID.UUID
			places = append(places, p)
			return nil
		})
		return err
	})
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return nil, 0, err
	}
	slices.SortFunc(places, func(a, b place) int { return a.k - b.k })
	got = map[posthorn.SubscriptionID]int{}
	for _, p := range places {
		c.taken = append(c.taken, p.taken)
		got[p.SubscriptionID]++
	}
	return got, found - len(places), nil
}

// share divides what is left of the limit among the lanes that gave all that they were asked for and have room.
func (c *claim) share(got map[posthorn.SubscriptionID]int) bool {
	var open []*lanePlan
	for i := range c.plan.lanes {
		l := &c.plan.lanes[i]
		n := got[l.SubscriptionID]
		l.room -= n
		if n >= l.share && l.share > 0 && l.room > 0 {
			open = append(open, l)
		} else {
			l.share = 0
		}
	}
	rest := c.req.Limit - len(c.taken)
	for _, l := range open {
		l.share = min(l.room, (rest+len(open)-1)/len(open))
	}
	return len(open) > 0
}
