package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// replayEvent adds deliveries of a stored event, whose FIFO lanes are locked. Deleted subscriptions are left out.
const replayEvent = `
WITH wanted AS MATERIALIZED (
	SELECT m.id, m.subscription_id, m.reason, l.fifo, l.next_sequence, l.held_for + coalesce(now() - l.held_since, '0') AS held,
		row_number() OVER (PARTITION BY m.subscription_id ORDER BY m.n) AS nth
	FROM unnest($4::uuid[], $5::uuid[], $6::text[]) WITH ORDINALITY AS m(id, subscription_id, reason, n)
	CROSS JOIN LATERAL (SELECT * FROM lanes l
		WHERE l.subscription_id = m.subscription_id AND l.tenant_id = $1 AND NOT l.deleted OFFSET 0) l
), advanced AS (
	UPDATE lanes SET next_sequence = lanes.next_sequence + c.n
	FROM (SELECT subscription_id, count(*) AS n FROM wanted WHERE fifo GROUP BY subscription_id) c
	WHERE lanes.subscription_id = c.subscription_id
)
INSERT INTO deliveries AS d (id, tenant_id, event_id, subscription_id, created_at, updated_at, due_at, visible_at, completed_at,
	expires_at, replay_id, sequence, held_base, payload_bytes, attempts, spent, interruptions, last_status_code, manual, queued,
	state, reason, event_type, ordering_key, last_outcome, last_error)
SELECT w.id, e.tenant_id, e.id, w.subscription_id, now(), now(), now(), now(), CASE WHEN w.reason <> '' THEN now() END,
	e.expires_at, $3, CASE WHEN w.fifo THEN w.next_sequence - 1 + w.nth ELSE 0 END, nullif(w.held, '0'), octet_length(e.payload),
	0, 0, 0, 0, 0, w.reason = '', CASE WHEN w.reason = '' THEN 'pending' ELSE 'cancelled' END, w.reason, e.type, e.ordering_key, '', ''
FROM wanted w CROSS JOIN (SELECT * FROM events WHERE tenant_id = $1 AND id = $2) e ORDER BY w.id
RETURNING ` + deliveryColumns

// Replay implements posthorn.Intake.
func (s *Store) Replay(ctx context.Context, tenant posthorn.TenantID, event posthorn.EventID, replay posthorn.ReplayID,
	wanted []posthorn.Match,
) ([]posthorn.Delivery, error) {
	var ids, subscriptions uuids
	var reasons []string
	for _, m := range wanted {
		ids, subscriptions = append(ids, m.DeliveryID.UUID), append(subscriptions, m.SubscriptionID.UUID)
		reasons = append(reasons, string(m.Reason))
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
			b.Queue(replayEvent, uuid(tenant.UUID), uuid(event.UUID), uuid(replay.UUID), ids, subscriptions, reasons).
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
