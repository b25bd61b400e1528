package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// Replay implements posthorn.Intake.
func (s *Store) Replay(ctx context.Context, tenant posthorn.TenantID, event posthorn.EventID, replay posthorn.ReplayID,
	wanted []posthorn.Match,
) ([]posthorn.Delivery, error) {
	var ids, events, subscriptions uuids
	var reasons []string
	for _, m := range wanted {
		ids, events = append(ids, m.DeliveryID.UUID), append(events, event.UUID)
		subscriptions, reasons = append(subscriptions, m.SubscriptionID.UUID), append(reasons, string(m.Reason))
	}
	original, err := s.eventExists(ctx, tenant, event)
	if err != nil {
		return nil, err
	}
	if !original.PayloadErased.IsZero() {
		return nil, posthorn.PayloadErased()
	}
	if !original.ExpiresAt.IsZero() && !original.ExpiresAt.After(s.Now()) {
		return nil, posthorn.Expired(original.ExpiresAt)
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	var made []posthorn.Delivery
	err = s.do(ctx, "replay event", func(ctx context.Context) error {
		return s.healing(ctx, func() []posthorn.UUID { return ids }, func() error {
			var b pgx.Batch
			b.Queue(steer)
			b.Queue(lockFIFO, subscriptions)
			b.Queue(copyDeliveries+` RETURNING `+deliveryColumns, uuid(tenant.UUID), uuid(replay.UUID), ids, events, subscriptions, reasons).
				Query(func(rows pgx.Rows) (err error) {
					made, err = pgx.CollectRows(rows, scanDelivery)
					return err
				})
			return s.pool.SendBatch(ctx, &b).Close()
		})
	})
	if codeOf(err) == codeUnique {
		return nil, posthorn.NewError(posthorn.Conflict, "a delivery with this id is stored already")
	}
	// In the order asked for.
	order := func(d posthorn.Delivery) int { return slices.Index(ids, d.ID.UUID) }
	slices.SortFunc(made, func(a, b posthorn.Delivery) int { return order(a) - order(b) })
	return made, err
}
