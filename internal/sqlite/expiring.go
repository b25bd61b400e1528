package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
)

// ExpiringBacklogs finds held lanes that are about to lose deliveries and of whose hold nobody was told.
func (s *Store) ExpiringBacklogs(ctx context.Context, hold, notice time.Duration, limit int) (found []posthorn.ExpiringBacklog, err error) {
	end := s.Now().Add(notice - hold)
	err = s.snapshot(ctx, func(r reader) error {
		rows, err := r.query(`SELECT * FROM (
				SELECT l.tenant_id, l.subscription_id, l.held_since,
					(SELECT count(*) FROM (SELECT 1 FROM deliveries AS d INDEXED BY deliveries_queue
						WHERE d.state = 0 AND d.subscription_id = l.subscription_id AND d.id < ?1 AND d.created_at < ?2 LIMIT ?3)) AS n,
					(SELECT min(d.created_at) FROM deliveries AS d INDEXED BY deliveries_queue
						WHERE d.state = 0 AND d.subscription_id = l.subscription_id AND d.id < ?1 AND d.created_at < ?2) AS first
				FROM lanes AS l WHERE l.phase = 1 AND l.held_since < ?2 AND l.warned_at < l.held_since)
			WHERE n > 0 LIMIT ?4`, oldest(end), stamp(end), posthorn.ExpiringCounted, limit)
		return each(rows, err, func(rows *sql.Rows) error {
			var b posthorn.ExpiringBacklog
			var first time.Time
			err := rows.Scan(&b.TenantID, &b.SubscriptionID, instant{&b.HeldSince}, &b.Deliveries, instant{&first})
			if first.Before(b.HeldSince) {
				first = b.HeldSince
			}
			b.ExpiresAt = first.Add(hold)
			if told := s.Now().Add(notice); b.ExpiresAt.Before(told) {
				b.ExpiresAt = told
			}
			found = append(found, b)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("find expiring backlogs: %w", err)
	}
	return found, nil
}
