package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// ExpiringBacklogs implements posthorn.Upkeep. Lanes are few columns and read as a whole; of those that qualify, which are
// few, the queue's index tells the rest.
func (s *Store) ExpiringBacklogs(ctx context.Context, hold, notice time.Duration, limit int) ([]posthorn.ExpiringBacklog, error) {
	held, err := many(ctx, s, "find long holds", func(row pgx.CollectableRow) (id posthorn.UUID, err error) {
		return id, row.Scan((*uuid)(&id))
	}, `SELECT subscription_id FROM lanes WHERE NOT deleted AND held_since <= now() - $1::interval
		AND (warned_at IS NULL OR warned_at < held_since) ORDER BY subscription_id`, hold-notice)
	if err != nil || len(held) == 0 {
		return nil, err
	}
	var found []posthorn.ExpiringBacklog
	err = s.do(ctx, "find expiring backlogs", func(ctx context.Context) error {
		var b pgx.Batch
		b.Queue(steer)
		b.Queue(`SELECT l.tenant_id, l.subscription_id, l.held_since, d.n, greatest(l.held_since, d.first)
			FROM unnest($1::uuid[]) AS q(lane)
			CROSS JOIN LATERAL (SELECT * FROM lanes l WHERE l.subscription_id = q.lane OFFSET 0) l
			CROSS JOIN LATERAL (SELECT count(*)::int AS n, min(created_at) AS first FROM (
				SELECT d.created_at FROM deliveries d WHERE d.subscription_id = q.lane AND d.queued
					AND d.id < $2 AND d.created_at <= now() - $3::interval ORDER BY d.subscription_id, d.visible_at LIMIT $4) d) d
			WHERE d.n > 0 LIMIT $5`, uuids(held), uuid(posthorn.MinUUID(s.Now().Add(s.slack-hold+notice))), hold-notice,
			posthorn.ExpiringCounted, limit).Query(func(rows pgx.Rows) (err error) {
			found, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (b posthorn.ExpiringBacklog, err error) {
				err = row.Scan((*uuid)(&b.TenantID.UUID), (*uuid)(&b.SubscriptionID.UUID), (*moment)(&b.HeldSince), &b.Deliveries,
					(*moment)(&b.ExpiresAt))
				b.ExpiresAt = b.ExpiresAt.Add(hold)
				if told := s.Now().Add(notice); b.ExpiresAt.Before(told) {
					b.ExpiresAt = told
				}
				return b, err
			})
			return err
		})
		return s.pool.SendBatch(ctx, &b).Close()
	})
	return found, err
}
