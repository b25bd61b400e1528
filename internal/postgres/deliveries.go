package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// deliveryColumns and deliveryFields belong together; d is the delivery.
const deliveryColumns = `d.id, d.tenant_id, d.event_id, d.subscription_id, d.event_type, d.state, d.reason, d.attempts, d.spent,
	d.interruptions, d.manual, d.due_at, CASE WHEN d.claim IS NOT NULL THEN d.visible_at END, d.claim, d.claimed_by,
	d.ordering_key, d.sequence, d.last_outcome, d.last_status_code, d.last_error, d.held_base, d.replay_id,
	d.created_at, d.updated_at, d.completed_at`

func deliveryFields(d *posthorn.Delivery) []any {
	return []any{
		(*uuid)(&d.ID.UUID), (*uuid)(&d.TenantID.UUID), (*uuid)(&d.EventID.UUID), (*uuid)(&d.SubscriptionID.UUID),
		&d.EventType, &d.State, &d.Reason, &d.Attempts, &d.Spent, &d.Interruptions, (*int8)(&d.Manual),
		(*moment)(&d.DueAt), (*moment)(&d.ClaimedUntil), (*uuid)(&d.Claim.UUID), (*uuid)(&d.ClaimedBy.UUID),
		&d.OrderingKey, &d.Sequence, &d.LastOutcome, &d.LastStatusCode, &d.LastError, (*span)(&d.HeldBase),
		(*uuid)(&d.Replay.UUID), (*moment)(&d.CreatedAt), (*moment)(&d.UpdatedAt), (*moment)(&d.CompletedAt),
	}
}

func scanDelivery(row pgx.CollectableRow) (posthorn.Delivery, error) {
	var d posthorn.Delivery
	err := row.Scan(deliveryFields(&d)...)
	return d, err
}

// GetDelivery implements posthorn.DeliveryStore.
func (s *Store) GetDelivery(ctx context.Context, tenant posthorn.TenantID, id posthorn.DeliveryID) (*posthorn.Delivery, error) {
	return one(ctx, s, "delivery", scanDelivery,
		`SELECT `+deliveryColumns+` FROM deliveries d WHERE d.id = $1 AND d.tenant_id = $2`, uuid(id.UUID), uuid(tenant.UUID))
}

// EventDeliveries implements posthorn.EventStore.
func (s *Store) EventDeliveries(ctx context.Context, tenant posthorn.TenantID, id posthorn.EventID) ([]posthorn.Delivery, error) {
	if _, err := s.eventExists(ctx, tenant, id); err != nil {
		return nil, err
	}
	return many(ctx, s, "list an event's deliveries", scanDelivery, `SELECT `+deliveryColumns+` FROM deliveries d
		WHERE d.event_id = $1 AND d.tenant_id = $2 ORDER BY d.id LIMIT $3`, uuid(id.UUID), uuid(tenant.UUID), posthorn.MaxEventDeliveries)
}

// ListDeliveries implements posthorn.DeliveryStore.
func (s *Store) ListDeliveries(ctx context.Context, tenant posthorn.TenantID, f posthorn.DeliveryFilter, p posthorn.Page,
) ([]posthorn.Delivery, posthorn.UUID, error) {
	keep := func(rows []posthorn.Delivery) ([]posthorn.Delivery, error) {
		return slices.DeleteFunc(rows, func(d posthorn.Delivery) bool { return !f.Wants(&d) }), nil
	}
	return page(p, func(d *posthorn.Delivery) posthorn.UUID { return d.ID.UUID }, keep,
		func(before posthorn.UUID, n int) ([]posthorn.Delivery, error) {
			return s.listDeliveries(ctx, tenant, &f, before, n)
		})
}

// listDeliveries reads along the index that narrows most. What that leaves is for the filter to judge.
func (s *Store) listDeliveries(ctx context.Context, tenant posthorn.TenantID, f *posthorn.DeliveryFilter, before posthorn.UUID, n int,
) ([]posthorn.Delivery, error) {
	const list = `SELECT ` + deliveryColumns + ` FROM deliveries d WHERE d.tenant_id = $1 AND d.id < $2 AND d.id >= $3`
	const order = ` ORDER BY d.id DESC LIMIT $4`
	lowest := [16]byte{}
	if !f.Since.IsZero() {
		lowest = posthorn.MinUUID(f.Since.Add(-s.slack))
	}
	if !f.Until.IsZero() {
		if end := posthorn.MinUUID(f.Until.Add(s.slack)); compareIDs(end, before) < 0 {
			before = end
		}
	}
	args := []any{uuid(tenant.UUID), uuid(before), lowest, n}
	const what = "list deliveries"
	switch {
	case !f.EventID.IsZero():
		return many(ctx, s, what, scanDelivery, list+` AND d.event_id = $5`+order, append(args, uuid(f.EventID.UUID))...)
	case !f.Replay.IsZero():
		return many(ctx, s, what, scanDelivery, list+` AND d.replay_id = $5`+order, append(args, uuid(f.Replay.UUID))...)
	case !f.SubscriptionID.IsZero():
		return many(ctx, s, what, scanDelivery, list+` AND d.subscription_id = $5`+order, append(args, uuid(f.SubscriptionID.UUID))...)
	case len(f.States) > 0 && !slices.Contains(f.States, posthorn.Pending) && !slices.Contains(f.States, posthorn.Delivered):
		return many(ctx, s, what, scanDelivery, list+` AND d.reason <> ''`+order, args...)
	}
	return many(ctx, s, what, scanDelivery, list+order, args...)
}
