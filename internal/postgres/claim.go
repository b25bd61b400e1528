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
	s.sweepBirths(ctx)
	s.foldSoon()
	err := s.do(ctx, "claim deliveries", func(ctx context.Context) error {
		found, err := s.look(ctx, &req)
		if err != nil {
			return err
		}
		batch = posthorn.ClaimBatch{Next: found.next}
		if len(found.lanes) == 0 && len(found.manual) == 0 {
			return nil
		}
		c := claim{req: &req, found: found, store: s}
		err = s.healing(ctx, c.lostTokens, func() error {
			return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return c.run(ctx, tx) })
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
	store *Store
	req   *posthorn.ClaimRequest
	found *duePlan
	// plan is what is left to take of what was found.
	plan duePlan
	// taken are the moved deliveries in the order they are given, bytes their payloads.
	taken []taken
	bytes int64
	// limited says that there was more than fits, contended that lanes were passed over because another held them.
	limited, contended bool

	events map[posthorn.EventID]*posthorn.Event
	lanes  []posthorn.Lane
	// versions are the subscriptions' by id.
	versions map[posthorn.SubscriptionID]int64
}

// taken is a delivery that a claim moved, and the claim it had lost, if any.
type taken struct {
	posthorn.Delivery
	lost interrupted
}

// ended says that the lost claim cost the last of the budget.
func (t *taken) ended() bool { return t.State != posthorn.Pending }

// given says that there is a new claim.
func (t *taken) given() bool { return !t.Claim.IsZero() }

// holdLanes takes the lanes that one claim at a time may take from: FIFO lanes, and those due for a probe.
const holdLanes = `SELECT subscription_id FROM lanes WHERE subscription_id = ANY($1) AND status = 'active' AND NOT deleted
	AND (fifo OR breaker_opens > 0 AND coalesce(breaker_until <= now(), true))
	ORDER BY subscription_id FOR UPDATE SKIP LOCKED`

func (c *claim) run(ctx context.Context, tx pgx.Tx) error {
	c.plan = c.found.copy()
	c.taken, c.bytes, c.limited, c.contended = nil, 0, c.plan.truncated, false
	if err := c.hold(ctx, tx); err != nil {
		return err
	}
	for range claimRounds {
		more, err := c.round(ctx, tx)
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	return c.complete(ctx, tx)
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
	var id posthorn.UUID
	if _, err := pgx.ForEachRow(rows, []any{(*uuid)(&id)}, func() error { held[id] = true; return nil }); err != nil {
		return err
	}
	for i := range c.plan.lanes {
		l := &c.plan.lanes[i]
		if (l.fifo || l.probe) && !held[l.SubscriptionID.UUID] {
			l.share, l.room, c.contended = 0, 0, true
		}
	}
	return nil
}

// complete writes down the lost attempts, moves the probed breakers on and reads what the answer needs besides.
func (c *claim) complete(ctx context.Context, tx pgx.Tx) error {
	if len(c.taken) == 0 {
		return nil
	}
	var tenants, events, lanes uuids
	var lost []interrupted
	var counts tally
	seen := map[posthorn.UUID]bool{}
	for i := range c.taken {
		t := &c.taken[i]
		if !t.lost.id.IsZero() {
			lost = append(lost, t.lost)
			counts.interrupted(t.lost)
		}
		if t.ended() {
			counts.exhausted(t.TenantID.UUID, t.SubscriptionID.UUID)
		}
		if !seen[t.EventID.UUID] {
			seen[t.EventID.UUID] = true
			tenants, events = append(tenants, t.TenantID.UUID), append(events, t.EventID.UUID)
		}
		if !seen[t.SubscriptionID.UUID] {
			seen[t.SubscriptionID.UUID] = true
			lanes = append(lanes, t.SubscriptionID.UUID)
		}
	}
	var b pgx.Batch
	b.Queue(steer)
	queueInterrupted(&b, lost)
	counts.queue(&b)
	if probed := c.probed(); len(probed) > 0 {
		b.Queue(`UPDATE lanes SET breaker_until = now() + $2::interval WHERE subscription_id = ANY($1)`, probed, posthorn.Lease)
	}
	b.Queue(`SELECT `+eventColumns+`, e.payload FROM unnest($1::uuid[], $2::uuid[]) AS k(tenant_id, id) CROSS JOIN LATERAL
		(SELECT * FROM events e WHERE e.tenant_id = k.tenant_id AND e.id = k.id OFFSET 0) e`, tenants, events).Query(c.readEvents)
	b.Queue(`SELECT l.version, `+laneColumns+` FROM lanes l WHERE l.subscription_id = ANY($1)`, lanes).Query(c.readLanes)
	return tx.SendBatch(ctx, &b).Close()
}

// lostTokens are the ids of the lost attempts, which may lack a partition.
func (c *claim) lostTokens() []posthorn.UUID {
	var tokens []posthorn.UUID
	for i := range c.taken {
		tokens = append(tokens, c.taken[i].lost.id)
	}
	return tokens
}

// probed are the lanes whose probe was taken.
func (c *claim) probed() uuids {
	got := map[posthorn.SubscriptionID]bool{}
	for i := range c.taken {
		if t := &c.taken[i]; t.given() && t.Manual == posthorn.NotManual {
			got[t.SubscriptionID] = true
		}
	}
	var out uuids
	for _, l := range c.plan.lanes {
		if l.probe && got[l.SubscriptionID] {
			out = append(out, l.SubscriptionID.UUID)
		}
	}
	return out
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
	var l posthorn.Lane
	var version int64
	_, err := pgx.ForEachRow(rows, append([]any{&version}, laneFields(&l)...), func() error {
		c.lanes = append(c.lanes, l)
		c.versions[l.SubscriptionID] = version
		return nil
	})
	return err
}

// batch is the answer. A delivery whose event is gone cannot be sent and is left to the upkeep.
func (c *claim) batch() posthorn.ClaimBatch {
	b := posthorn.ClaimBatch{Lanes: c.lanes, Next: c.plan.next}
	for i := range c.taken {
		d := c.taken[i].Delivery
		event := c.events[d.EventID]
		if c.taken[i].ended() {
			b.Ended = append(b.Ended, posthorn.UpdateOf(&d, d.UpdatedAt))
		}
		if !c.taken[i].given() || event == nil {
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
	case len(c.taken) > 0 && (b.Next < 0 || b.Next > claimRecheck):
		b.Next = claimRecheck
	}
	return b
}
