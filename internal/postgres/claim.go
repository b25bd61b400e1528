package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

const (
	// claimRounds bounds how often a claim goes back to lanes that had more than their share, while others had less.
	claimRounds = 4
	// claimContended is the wait when lanes were busy with another claim or with accepting.
	claimContended = 10 * time.Millisecond
	// claimRecheck is the longest wait told after a claim that got something: what is next in the lanes it drained was
	// not looked up.
	claimRecheck = time.Second
)

// ClaimDeliveries implements posthorn.DeliveryQueue. It looks for due lanes without any lock, shares the limit among
// them, and then locks and moves a few deliveries of each in one transaction.
func (s *Store) ClaimDeliveries(ctx context.Context, req posthorn.ClaimRequest) (posthorn.ClaimBatch, error) {
	var batch posthorn.ClaimBatch
	if req.Limit <= 0 {
		return batch, nil
	}
	err := s.do(ctx, "claim deliveries", func(ctx context.Context) error {
		found, err := s.look(ctx, &req)
		if err != nil {
			return err
		}
		batch = posthorn.ClaimBatch{Next: found.next}
		if len(found.lanes) == 0 && len(found.manual) == 0 {
			return nil
		}
		c := claim{req: &req, plan: found}
		var lost []posthorn.UUID
		err = s.healing(ctx, func() []posthorn.UUID { return lost }, func() error {
			err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return c.run(ctx, tx, s) })
			lost = c.lostTokens()
			return err
		})
		if err == nil {
			batch = c.batch()
		}
		return err
	})
	return batch, err
}

// claim is one claim under way.
type claim struct {
	req  *posthorn.ClaimRequest
	plan *duePlan
	// picks are the locked deliveries in the order they are given.
	picks []pick
	// limited says that there was more than fits, contended that lanes were passed over because another held them.
	limited, contended bool

	moved  map[posthorn.UUID]posthorn.Delivery
	events map[posthorn.EventID]*posthorn.Event
	lanes  []posthorn.Lane
	// versions are the subscriptions' by id.
	versions map[posthorn.SubscriptionID]int64
}

// pick is a locked delivery.
type pick struct {
	id, tenant, event, lane posthorn.UUID
	bytes                   int64
	// Of the lost claim it had, if any.
	claim, claimedBy posthorn.UUID
	attempts         int
	spent            int
	interruptions    int
	budget           int
	manual           bool
	// ended: the lost claim cost the last of the budget.
	ended bool
	token posthorn.UUID
}

const pickColumns = `d.id, d.tenant_id, d.event_id, d.subscription_id, d.payload_bytes, d.claim, d.claimed_by, d.attempts, d.spent,
	d.interruptions, d.manual <> 0,
	CASE WHEN d.claim IS NULL THEN 0 ELSE (SELECT l.budget FROM lanes l WHERE l.subscription_id = d.subscription_id) END`

func (p *pick) fields() []any {
	return []any{
		(*uuid)(&p.id), (*uuid)(&p.tenant), (*uuid)(&p.event), (*uuid)(&p.lane), &p.bytes, (*uuid)(&p.claim),
		(*uuid)(&p.claimedBy), &p.attempts, &p.spent, &p.interruptions, &p.manual, &p.budget,
	}
}

func scanPick(row pgx.CollectableRow) (pick, error) {
	var p pick
	err := row.Scan(p.fields()...)
	return p, err
}

// lost is the attempt of the claim it had.
func (p *pick) lost() interrupted {
	return interrupted{
		id: p.claim, tenant: p.tenant, delivery: p.id, event: p.event, subscription: p.lane, node: p.claimedBy,
		number: p.attempts, manual: p.manual,
	}
}

// claimable is when a pending delivery may be given, but for its lane.
const claimable = `d.state = 'pending' AND d.visible_at <= now() AND (d.expires_at IS NULL OR d.expires_at > now())`

const (
	// holdLanes takes the lanes that one claim at a time may take from: FIFO lanes, and those due for a probe.
	holdLanes = `SELECT subscription_id FROM lanes WHERE subscription_id = ANY($1) AND status = 'active' AND NOT deleted
		AND (fifo OR breaker_opens > 0 AND coalesce(breaker_until <= now(), true))
		ORDER BY subscription_id FOR UPDATE SKIP LOCKED`
	// pickOldest locks the oldest due deliveries of lanes, up to each lane's share. Rows that another claim is taking are
	// passed over. A sequence number in a lane that is FIFO belongs to pickHeads.
	pickOldest = `SELECT ` + pickColumns + `
		FROM unnest($1::uuid[], $2::int[], $3::bool[]) AS q(lane, share, fifo) CROSS JOIN LATERAL (
			SELECT * FROM deliveries d WHERE d.subscription_id = q.lane AND ` + claimable + `
				AND (NOT q.fifo OR d.sequence = 0)
			ORDER BY d.subscription_id, d.visible_at LIMIT q.share FOR UPDATE SKIP LOCKED) d`
	// pickThese locks deliveries by id if they are still due.
	pickThese = `SELECT ` + pickColumns + `
		FROM unnest($1::uuid[]) AS q(id) CROSS JOIN LATERAL (
			SELECT * FROM deliveries d WHERE d.id = q.id AND ` + claimable + ` OFFSET 0 FOR UPDATE SKIP LOCKED) d`
)

func (c *claim) run(ctx context.Context, tx pgx.Tx, s *Store) error {
	c.picks, c.limited, c.contended = nil, c.plan.truncated, false
	if err := c.hold(ctx, tx); err != nil {
		return err
	}
	if err := c.pick(ctx, tx, s); err != nil || len(c.picks) == 0 {
		return err
	}
	now := s.Now()
	for i := range c.picks {
		c.picks[i].settle(now)
	}
	return c.move(ctx, tx)
}

// hold locks the lanes that need it and forgets those another holds.
func (c *claim) hold(ctx context.Context, tx pgx.Tx) error {
	var wanted uuids
	for _, l := range c.plan.lanes {
		if l.fifo || l.probe {
			wanted = append(wanted, l.SubscriptionID.UUID)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, holdLanes, wanted)
	if err != nil {
		return err
	}
	held := make(map[posthorn.UUID]bool, len(wanted))
	for rows.Next() {
		var id posthorn.UUID
		if err := rows.Scan((*uuid)(&id)); err != nil {
			return err
		}
		held[id] = true
	}
	for i := range c.plan.lanes {
		l := &c.plan.lanes[i]
		if (l.fifo || l.probe) && !held[l.SubscriptionID.UUID] {
			l.room, c.contended = 0, true
		}
	}
	return rows.Err()
}

// settle decides what becomes of a locked delivery: the claim it lost counts as an interruption, and beyond the free ones
// costs the budget.
func (p *pick) settle(now time.Time) {
	p.token = posthorn.NewUUID(now)
	if p.claim.IsZero() {
		return
	}
	p.interruptions++
	if p.interruptions > posthorn.FreeInterruptions {
		p.spent++
		p.ended = p.spent >= p.budget
	}
}

// moveClaimed writes the claims, and ends what lost its last attempt with its node.
const moveClaimed = `
UPDATE deliveries d SET
	visible_at = CASE WHEN u.ended THEN d.visible_at ELSE now() + $2::interval END,
	claim = CASE WHEN NOT u.ended THEN u.token END,
	claimed_by = CASE WHEN NOT u.ended THEN $1::uuid END,
	attempts = d.attempts + CASE WHEN u.ended THEN 0 ELSE 1 END,
	interruptions = u.interruptions, spent = u.spent,
	manual = CASE WHEN u.ended THEN 0 ELSE d.manual END,
	last_outcome = CASE WHEN u.lost THEN 'interrupted' ELSE d.last_outcome END,
	last_status_code = CASE WHEN u.lost THEN 0 ELSE d.last_status_code END,
	last_error = CASE WHEN u.lost THEN '' ELSE d.last_error END,
	state = CASE WHEN u.ended THEN 'exhausted' ELSE d.state END,
	reason = CASE WHEN u.ended THEN 'attempts' ELSE d.reason END,
	completed_at = CASE WHEN u.ended THEN now() END,
	touched = d.touched OR u.ended,
	updated_at = now()
FROM unnest($3::uuid[], $4::uuid[], $5::int[], $6::int[], $7::bool[], $8::bool[])
	AS u(id, token, interruptions, spent, lost, ended)
WHERE d.id = u.id
RETURNING ` + deliveryColumns

func (c *claim) move(ctx context.Context, tx pgx.Tx) error {
	var ids, tokens, tenants, events, lanes uuids
	var interruptions, spent []int32
	var lost, ended []bool
	seen := map[posthorn.UUID]bool{}
	for _, p := range c.picks {
		ids, tokens = append(ids, p.id), append(tokens, p.token)
		interruptions, spent = append(interruptions, int32(p.interruptions)), append(spent, int32(p.spent))
		lost, ended = append(lost, !p.claim.IsZero()), append(ended, p.ended)
		if !seen[p.event] {
			seen[p.event] = true
			tenants, events = append(tenants, p.tenant), append(events, p.event)
		}
		if !seen[p.lane] {
			seen[p.lane] = true
			lanes = append(lanes, p.lane)
		}
	}
	var b pgx.Batch
	b.Queue(steer)
	c.writeInterrupted(&b)
	b.Queue(moveClaimed, uuid(c.req.Node.UUID), posthorn.Lease, ids, tokens, interruptions, spent, lost, ended).Query(c.readMoved)
	if probed := c.probed(); len(probed) > 0 {
		b.Queue(`UPDATE lanes SET breaker_until = now() + $2::interval WHERE subscription_id = ANY($1)`, probed, posthorn.Lease)
	}
	b.Queue(`SELECT `+eventColumns+`, e.payload FROM unnest($1::uuid[], $2::uuid[]) AS k(tenant_id, id) CROSS JOIN LATERAL
		(SELECT * FROM events e WHERE e.tenant_id = k.tenant_id AND e.id = k.id OFFSET 0) e`, tenants, events).Query(c.readEvents)
	b.Queue(`SELECT l.version, `+laneColumns+` FROM lanes l WHERE l.subscription_id = ANY($1)`, lanes).Query(c.readLanes)
	return tx.SendBatch(ctx, &b).Close()
}

// writeInterrupted writes the attempts whose claims were lost.
func (c *claim) writeInterrupted(b *pgx.Batch) {
	var lost []interrupted
	for _, p := range c.picks {
		if !p.claim.IsZero() {
			lost = append(lost, p.lost())
		}
	}
	queueInterrupted(b, lost)
}

func (c *claim) lostTokens() []posthorn.UUID {
	var tokens []posthorn.UUID
	for _, p := range c.picks {
		tokens = append(tokens, p.claim)
	}
	return tokens
}

// probed are the lanes whose probe was picked.
func (c *claim) probed() uuids {
	picked := map[posthorn.UUID]bool{}
	for _, p := range c.picks {
		if !p.ended && !p.manual {
			picked[p.lane] = true
		}
	}
	var out uuids
	for _, l := range c.plan.lanes {
		if l.probe && l.room > 0 && picked[l.SubscriptionID.UUID] {
			out = append(out, l.SubscriptionID.UUID)
		}
	}
	return out
}

func (c *claim) readMoved(rows pgx.Rows) error {
	moved, err := pgx.CollectRows(rows, scanDelivery)
	c.moved = make(map[posthorn.UUID]posthorn.Delivery, len(moved))
	for i := range moved {
		c.moved[moved[i].ID.UUID] = moved[i]
	}
	return err
}

func (c *claim) readEvents(rows pgx.Rows) error {
	events, err := pgx.CollectRows(rows, scanEvent)
	c.events = make(map[posthorn.EventID]*posthorn.Event, len(events))
	for i := range events {
		c.events[events[i].ID] = &events[i]
	}
	return err
}

func (c *claim) readLanes(rows pgx.Rows) error {
	c.lanes, c.versions = nil, map[posthorn.SubscriptionID]int64{}
	defer rows.Close()
	for rows.Next() {
		var l posthorn.Lane
		var version int64
		if err := rows.Scan(append([]any{&version}, laneFields(&l)...)...); err != nil {
			return err
		}
		c.lanes = append(c.lanes, l)
		c.versions[l.SubscriptionID] = version
	}
	return rows.Err()
}

// batch is the answer. A delivery whose event is gone cannot be sent and is left to the upkeep.
func (c *claim) batch() posthorn.ClaimBatch {
	b := posthorn.ClaimBatch{Lanes: c.lanes, Next: c.plan.next}
	for _, p := range c.picks {
		d, ok := c.moved[p.id]
		event := c.events[d.EventID]
		if !ok || p.ended || event == nil {
			continue
		}
		b.Claims = append(b.Claims, posthorn.Claimed{
			Claim:    posthorn.Claim{DeliveryID: d.ID, Attempt: d.Claim, Number: d.Attempts},
			Delivery: d, Event: event, Version: c.versions[d.SubscriptionID],
		})
	}
	switch {
	case c.limited:
		b.Next = 0
	case c.contended && (b.Next < 0 || b.Next > claimContended):
		b.Next = claimContended
	case len(c.picks) > 0 && (b.Next < 0 || b.Next > claimRecheck):
		b.Next = claimRecheck
	}
	return b
}
