package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

const (
	// setbackSlack is how far the database's clock may go back unheeded: NTP moves it by less, and answers are slow by less.
	setbackSlack = 5 * time.Second
	// setbackBatch bounds the deliveries of one lane that one statement moves.
	setbackBatch = 5000
)

// wasSetBack asks once, at the start, whether what is stored is ahead of the clock; later answers tell (setClock).
const wasSetBack = `SELECT now(), (SELECT max(seen_at) FROM nodes), (SELECT id FROM deliveries ORDER BY id DESC LIMIT 1)`

// keepWaits moves what is pending in a lane ($1) back with the clock: waits keep their length, and no lease is longer than
// one ($2). A time that a producer named (deliver_at) stays: that of a delivery which is due later and has spent nothing, as
// only a person may have tried it by then.
const keepWaits = `
WITH ahead AS MATERIALIZED (
	SELECT d.id FROM deliveries d WHERE d.subscription_id = $1 AND d.queued
		AND (d.updated_at > now() AND (d.spent > 0 OR d.due_at <= d.updated_at OR d.visible_at <> d.due_at) OR d.claim IS NOT NULL AND d.visible_at > now() + $2::interval)
	ORDER BY d.id LIMIT $3 FOR UPDATE
)
UPDATE deliveries d SET updated_at = least(d.updated_at, now()), touched_at = least(d.touched_at, now()),
	due_at = CASE WHEN d.spent = 0 AND d.due_at > d.updated_at THEN d.due_at ELSE d.due_at - greatest(d.updated_at - now(), '0') END,
	visible_at = CASE WHEN d.claim IS NULL THEN d.visible_at - greatest(d.updated_at - now(), '0') ELSE least(d.visible_at, now() + $2::interval) END
FROM ahead WHERE d.id = ahead.id`

// findSetBack looks whether the database's clock was set back while this node was away.
func (s *Store) findSetBack(ctx context.Context) error {
	return s.do(ctx, "look at the clock", func(ctx context.Context) error {
		var now, seen time.Time
		var last posthorn.UUID
		err := s.pool.QueryRow(ctx, wasSetBack).Scan((*moment)(&now), (*moment)(&seen), (*uuid)(&last))
		if ahead := now.Add(setbackSlack); err == nil && (seen.After(ahead) || last.Time().After(ahead)) {
			s.setBack.Store(true)
		}
		return err
	})
}

// followClock makes good for a clock that was set back, as that of a standby taking over may be: what became due by the time
// of then would wait for it to come again. It costs nothing where none was.
func (s *Store) followClock(ctx context.Context) (err error) {
	if !s.setBack.Swap(false) {
		return nil
	}
	defer func() {
		if err != nil {
			s.setBack.Store(true)
		}
	}()
	s.log.Warn("the database's clock was set back: what waits keeps its wait")
	err = s.do(ctx, "shorten pauses", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `UPDATE lanes SET
				throttled_until = CASE WHEN throttled_until > now() + $1::interval THEN now() + $1::interval ELSE throttled_until END,
				breaker_until = CASE WHEN breaker_until > now() + $2::interval THEN now() + $2::interval ELSE breaker_until END
			WHERE throttled_until > now() + $1::interval OR breaker_until > now() + $2::interval`, posthorn.MaxRetryAfter, posthorn.LongestBreak)
		return err
	})
	if err != nil {
		return err
	}
	if err := s.write(ctx, "queue births ahead", queueAhead); err != nil {
		return err
	}
	var lanes []posthorn.UUID
	if err := s.eachLane(ctx, func(l *walkedLane) { lanes = append(lanes, l.SubscriptionID.UUID) }); err != nil {
		return err
	}
	for _, lane := range lanes {
		for moved := int64(setbackBatch); moved == setbackBatch; {
			err := s.write(ctx, "follow the clock back", func(ctx context.Context, tx pgx.Tx) error {
				tag, err := tx.Exec(ctx, keepWaits, uuid(lane), posthorn.Lease, setbackBatch)
				moved = tag.RowsAffected()
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
