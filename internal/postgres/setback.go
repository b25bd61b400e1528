package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// setbackSlack is how far rows may be ahead of the clock: ids are made by the nodes' idea of it.
const setbackSlack = 5 * time.Second

// setBack says whether something was written later than now: the latest id tells of deliveries, the latest minute of results.
const setBack = `SELECT coalesce((SELECT id > $1 FROM deliveries ORDER BY id DESC LIMIT 1), false)
	OR coalesce((SELECT max(minute) > now() + $2::interval FROM rollups), false)`

// takeBack moves what waits by the clock of then. Waits keep their length, and no lease is longer than one; a time that a
// producer named stays.
const takeBack = `UPDATE deliveries d SET updated_at = now(), due_at = d.due_at - (d.updated_at - now()),
		visible_at = CASE WHEN d.claim IS NULL THEN d.visible_at - (d.updated_at - now()) ELSE least(d.visible_at, now() + $1::interval) END
	FROM (SELECT id FROM deliveries WHERE state = 'pending' AND updated_at > now() AND (attempts > 0 OR due_at <= updated_at)
		LIMIT $2 FOR UPDATE SKIP LOCKED) ahead WHERE d.id = ahead.id`

// followClock makes good for a clock that was set back, as when a standby whose clock is behind takes over: what became due by
// the time of then would wait for it to come again.
func (s *Store) followClock(ctx context.Context, batch int) error {
	for {
		moved := int64(0)
		err := s.write(ctx, "follow the clock back", func(ctx context.Context, tx pgx.Tx) error {
			var ahead bool
			latest := posthorn.MinUUID(s.Now().Add(setbackSlack))
			if err := tx.QueryRow(ctx, setBack, uuid(latest), setbackSlack).Scan(&ahead); err != nil || !ahead {
				return err
			}
			tag, err := tx.Exec(ctx, takeBack, posthorn.Lease, batch)
			moved = tag.RowsAffected()
			return err
		})
		if err != nil {
			return fmt.Errorf("clock set back: %w", err)
		}
		if moved > 0 {
			s.log.Warn("the database's clock was set back; what is pending keeps its waits", "deliveries", moved)
		}
		if moved < int64(batch) {
			return nil
		}
	}
}
