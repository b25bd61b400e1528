package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// laneColumns and scanLane belong together; l is the lane.
const laneColumns = `l.subscription_id, l.tenant_id, l.throttled_until, l.breaker_opens, l.breaker_until, l.failing_since,
	l.held_since, l.held_for, l.warned_at, l.skipped_at`

func laneFields(l *posthorn.Lane) []any {
	return []any{
		(*uuid)(&l.SubscriptionID.UUID), (*uuid)(&l.TenantID.UUID), (*moment)(&l.ThrottledUntil), &l.BreakerOpens,
		(*moment)(&l.BreakerUntil), (*moment)(&l.FailingSince), (*moment)(&l.HeldSince), (*span)(&l.HeldFor),
		(*moment)(&l.WarnedAt), (*moment)(&l.SkippedAt),
	}
}

func scanLane(row pgx.CollectableRow) (posthorn.Lane, error) {
	var l posthorn.Lane
	err := row.Scan(laneFields(&l)...)
	return l, err
}

// Lanes implements posthorn.SubscriptionStore.
func (s *Store) Lanes(ctx context.Context, tenant posthorn.TenantID, ids []posthorn.SubscriptionID) ([]posthorn.Lane, error) {
	var lanes []posthorn.Lane
	err := s.do(ctx, "read lanes", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx,
			`SELECT `+laneColumns+` FROM lanes l WHERE l.subscription_id = ANY($1) AND l.tenant_id = $2`,
			subscriptionIDs(ids), uuid(tenant.UUID))
		if err != nil {
			return err
		}
		lanes, err = pgx.CollectRows(rows, scanLane)
		return err
	})
	return lanes, err
}

func subscriptionIDs(ids []posthorn.SubscriptionID) uuids {
	out := make(uuids, len(ids))
	for i, id := range ids {
		out[i] = id.UUID
	}
	return out
}

// dueLane is a lane with pending deliveries, as a claim needs it.
type dueLane struct {
	posthorn.Lane
	// first is the earliest moment at which one of its deliveries may be claimed, were the lane open.
	first time.Time
	// oldest is the delivery that is; absent when its event has expired.
	oldest posthorn.UUID
	// active, open (neither throttled nor its breaker open) and probe (its breaker is due for a probe) hold at now.
	active, open, probe, fifo bool
	// strays: the lane became FIFO lately, or its oldest has no number, so an overlapping publish may have left some without one.
	strays bool
	// window is the subscription's own retry window; zero without one.
	window time.Duration
	// deleted: the subscription is a tombstone.
	deleted bool
}

// walkLanes steps over the lanes that have pending deliveries, from one on: each step is one look into the queue's index
// of each partition, for the lane's first entry, so the length of a backlog does not matter.
// $1 is the id to begin after, $2 how many lanes at most.
const walkLanes = `
WITH RECURSIVE lane AS (
	(SELECT d.subscription_id, d.visible_at, d.id, d.expires_at, d.sequence, 1 AS step FROM deliveries d
		WHERE d.queued AND d.subscription_id > $1 ORDER BY d.subscription_id, d.visible_at LIMIT 1)
	UNION ALL
	SELECT n.*, lane.step + 1 FROM lane CROSS JOIN LATERAL (
		SELECT d.subscription_id, d.visible_at, d.id, d.expires_at, d.sequence FROM deliveries d
		WHERE d.queued AND d.subscription_id > lane.subscription_id
		ORDER BY d.subscription_id, d.visible_at LIMIT 1) n
	WHERE lane.step < $2)`

// theseLanes looks at lanes by id ($1) instead.
const theseLanes = `
WITH lane AS (
	SELECT n.* FROM unnest($1::uuid[]) AS q(id) CROSS JOIN LATERAL (
		SELECT d.subscription_id, d.visible_at, d.id, d.expires_at, d.sequence FROM deliveries d
		WHERE d.queued AND d.subscription_id = q.id ORDER BY d.subscription_id, d.visible_at LIMIT 1) n)`

// selectDue reads lanes with what decides over claiming from them.
const selectDue = `
SELECT now(), lane.visible_at, CASE WHEN lane.expires_at IS NULL OR lane.expires_at > now() THEN lane.id END,
	l.status = 'active' AND NOT l.deleted, l.fifo,
	l.fifo AND (lane.sequence = 0 AND (lane.expires_at IS NULL OR lane.expires_at > now())
		OR coalesce(l.fifo_since > now() - interval '10 minutes', false)),
	l.deleted, l.retry_window,
	coalesce(l.throttled_until <= now(), true) AND l.breaker_opens = 0,
	coalesce(l.throttled_until <= now(), true) AND l.breaker_opens > 0 AND coalesce(l.breaker_until <= now(), true),
	` + laneColumns + `
FROM lane CROSS JOIN LATERAL (SELECT * FROM lanes l WHERE l.subscription_id = lane.subscription_id OFFSET 0) l`

func (d *dueLane) fields(now *time.Time) []any {
	return append([]any{
		(*moment)(now), (*moment)(&d.first), (*uuid)(&d.oldest), &d.active, &d.fifo, &d.strays, &d.deleted, (*span)(&d.window), &d.open, &d.probe,
	}, laneFields(&d.Lane)...)
}
