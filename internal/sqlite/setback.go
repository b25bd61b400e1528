package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
)

// setbackSlack is how far rows may be ahead of the clock: NTP moves it by less.
const setbackSlack = time.Second

// Prepare implements posthorn.Upkeep: a file needs nothing made ahead.
func (s *Store) Prepare(context.Context) error { return nil }

// followClock makes good for a clock that was set back: what became due by the time of then would wait for it to come again.
// Waits keep their length, and no lease or pause is longer than one may be. A time that a producer named (deliver_at) stays: that
// of a delivery which is due later and has spent nothing, as only a person may have tried it by then.
// It is called at the start and with each withdrawal.
func (s *Store) followClock(ctx context.Context) error {
	var last posthorn.DeliveryID
	var moment int64
	r := s.read(ctx)
	err := r.queryRow(`SELECT coalesce(max(id), x'00000000000000000000000000000000') FROM deliveries`).Scan(&last)
	if err == nil {
		err = r.queryRow(`SELECT coalesce(max(moment), 0) FROM attempts`).Scan(&moment)
	}
	if err != nil {
		return fmt.Errorf("look at the clock: %w", fault(err))
	}
	now := s.Now()
	if ahead := now.Add(setbackSlack); !last.Time().After(ahead) && moment <= stamp(ahead) {
		return nil
	}
	err = s.write(ctx, func(t *tx) error {
		_, err := t.exec(`UPDATE deliveries SET updated_at = ?1,
			due_at = CASE WHEN spent = 0 AND due_at > updated_at THEN due_at ELSE due_at - (updated_at - ?1) END,
			visible_at = CASE WHEN claim IS NULL THEN visible_at - (updated_at - ?1) ELSE visible_at END
			WHERE state = 0 AND updated_at > ?1 AND (spent > 0 OR due_at <= updated_at OR visible_at <> due_at)`, stamp(t.now))
		if err != nil {
			return err
		}
		_, err = t.exec(`UPDATE deliveries SET visible_at = ?1 WHERE state = 0 AND claim IS NOT NULL AND visible_at > ?1`,
			stamp(t.leaseEnd()))
		if err != nil {
			return err
		}
		t.lanesChanged = true
		clear(t.kept)
		_, err = t.exec(`UPDATE lanes SET throttled_until = min(throttled_until, ?1), breaker_until = min(breaker_until, ?2)
			WHERE throttled_until > ?1 OR breaker_until > ?2`, stamp(t.now.Add(posthorn.MaxRetryAfter)), stamp(t.now.Add(posthorn.LongestBreak)))
		return err
	})
	if err != nil {
		return fmt.Errorf("follow the clock back: %w", err)
	}
	return nil
}
