package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
)

// stepBound bounds the rows that one step of upkeep writes: it holds the writer for some tens of milliseconds at most.
const stepBound = 400

// skipLooked is for how long after a resumption without the backlog it is looked for. It is gone within seconds; of what a
// dead upkeep left, a claim tells.
const skipLooked = 24 * time.Hour

// step is the size of a step for a batch asked for.
func step(batch int) int {
	if batch <= 0 {
		return stepBound
	}
	return min(batch, stepBound)
}

// WithdrawDeliveries finds beside the writer what may have waited too long, and judges it again as it is then.
func (s *Store) WithdrawDeliveries(ctx context.Context, w posthorn.Withdrawal) (posthorn.WithdrawalReport, error) {
	report := posthorn.WithdrawalReport{Ended: map[posthorn.Reason]int{}}
	limit := step(w.Batch)
	if err := s.followClock(ctx); err != nil {
		return report, err
	}
	ids, more, err := s.overdue(ctx, w, limit)
	if err != nil {
		return report, fmt.Errorf("find deliveries to withdraw: %w", err)
	}
	report.Done = !more
	if len(ids) == 0 {
		return report, nil
	}
	err = s.write(ctx, func(t *tx) error { return t.withdraw(ids, w, &report) })
	if err != nil {
		return report, fmt.Errorf("withdraw deliveries: %w", err)
	}
	return report, nil
}

// overdue finds deliveries to withdraw, at most limit, each once though it has two reasons; more says that there may be others.
func (s *Store) overdue(ctx context.Context, w posthorn.Withdrawal, limit int) (ids []any, more bool, err error) {
	now := s.Now()
	seen := map[posthorn.UUID]bool{}
	find := func(r reader, where string, args ...any) error {
		left := limit - len(ids)
		if left == 0 {
			return nil
		}
		rows, err := r.query(`SELECT d.id FROM `+where+` LIMIT ?`, append(args, left)...)
		return each(rows, err, func(rows *sql.Rows) error {
			var id posthorn.DeliveryID
			err := rows.Scan(&id)
			if left--; !seen[id.UUID] {
				seen[id.UUID], ids = true, append(ids, id.UUID[:])
			}
			more = more || left == 0
			return err
		})
	}
	err = s.snapshot(ctx, func(r reader) error {
		err := find(r, `lanes AS l CROSS JOIN deliveries AS d INDEXED BY deliveries_queue
			ON d.state = 0 AND d.subscription_id = l.subscription_id WHERE l.phase = 2`)
		if err == nil {
			err = find(r, `deliveries AS d INDEXED BY deliveries_expiring WHERE d.state = 0 AND d.expires_at > 0 AND d.expires_at <= ?`,
				stamp(now))
		}
		if err == nil {
			err = find(r, `lanes AS l CROSS JOIN deliveries AS d INDEXED BY deliveries_queue
				ON d.state = 0 AND d.subscription_id = l.subscription_id
				WHERE l.skipped_at > ? AND d.created_at <= l.skipped_at AND d.manual < ?`,
				stamp(now.Add(-skipLooked)), int64(posthorn.ManualAfterEnd))
		}
		// The queue's index holds the id, and an id is no younger than its row: the index alone passes over the young ones.
		if err == nil && w.Hold > 0 {
			end := now.Add(-w.Hold)
			err = find(r, `lanes AS l CROSS JOIN deliveries AS d INDEXED BY deliveries_queue
				ON d.state = 0 AND d.subscription_id = l.subscription_id
				WHERE l.phase = 1 AND l.held_since < ?1 AND (?2 = 0 OR l.warned_at >= l.held_since AND l.warned_at <= ?3)
				AND d.id < ?4 AND d.created_at < ?1`,
				stamp(end), w.Notice.Microseconds(), stamp(now.Add(-w.Notice)), oldest(end))
		}
		if err == nil && w.Window > 0 {
			err = findLate(r, find, w.Window, now)
		}
		return err
	})
	return ids, more, err
}

// findLate finds what is past the operator's window, and then what is past a subscription's own.
func findLate(r reader, find func(reader, string, ...any) error, window time.Duration, now time.Time) error {
	end := now.Add(-window)
	err := find(r, `deliveries AS d INDEXED BY deliveries_queue CROSS JOIN lanes AS l ON l.subscription_id = d.subscription_id
		WHERE d.state = 0 AND d.id < ?1 AND d.manual = 0 AND l.phase = 0
		AND d.created_at + l.held_for - d.held_base + iif(d.claim IS NULL OR d.visible_at <= ?3, 0, ?4) < ?2`,
		oldest(end), stamp(end), stamp(now), posthorn.InFlight.Microseconds())
	if err != nil {
		return err
	}
	// As oldest, for each lane: the first six bytes of an id are its milliseconds.
	return find(r, `lanes AS l CROSS JOIN deliveries AS d INDEXED BY deliveries_queue
		ON d.state = 0 AND d.subscription_id = l.subscription_id
		WHERE l.retry_window > 0 AND l.retry_window < ?1 AND l.phase = 0
		AND d.id < unhex(printf('%012x', (?2 - l.retry_window) / 1000 + 1000)) AND d.manual = 0
		AND d.created_at + l.held_for - d.held_base + iif(d.claim IS NULL OR d.visible_at <= ?2, 0, ?3) < ?2 - l.retry_window`,
		window.Microseconds(), stamp(now), posthorn.InFlight.Microseconds())
}

// oldest is the highest id that a row made before a moment can have.
func oldest(at time.Time) []byte {
	id := posthorn.MinUUID(at.Add(time.Second))
	return id[:]
}

func (t *tx) withdraw(ids []any, w posthorn.Withdrawal, report *posthorn.WithdrawalReport) error {
	type candidate struct {
		posthorn.Delivery
		expires time.Time
	}
	var found []candidate
	var lanes []posthorn.SubscriptionID
	err := t.bulkQuery(`SELECT expires_at, `+deliveryColumns+` FROM deliveries WHERE state = 0 AND (id) IN (VALUES ROWS)`, 1, ids,
		func(rows *sql.Rows) (err error) {
			var c candidate
			c.Delivery, _, err = scanDelivery(after{rows, []any{instant{&c.expires}}})
			found = append(found, c)
			lanes = append(lanes, c.SubscriptionID)
			return err
		})
	if err != nil {
		return err
	}
	g, err := t.ledger()
	if err != nil {
		return err
	}
	states, err := t.lanes(lanes)
	if err != nil {
		return err
	}
	for i := range found {
		d := &found[i].Delivery
		state, reason := verdict(d, states[d.SubscriptionID], found[i].expires, w, t.now)
		if reason == posthorn.ReasonNone {
			continue
		}
		if err := g.end(d, state, reason); err != nil {
			return err
		}
		report.Ended[reason]++
		report.Updates = append(report.Updates, posthorn.UpdateOf(d, t.now))
	}
	return g.close()
}

// verdict is how a pending delivery has to end now, if it has.
func verdict(d *posthorn.Delivery, l *lane, expires time.Time, w posthorn.Withdrawal, now time.Time) (posthorn.State, posthorn.Reason) {
	waiting := d.CreatedAt
	if l.HeldSince.After(waiting) {
		waiting = l.HeldSince
	}
	switch {
	case l.phase == laneGone:
		return posthorn.Cancelled, posthorn.ReasonSubscriptionDeleted
	case !expires.IsZero() && !expires.After(now):
		return posthorn.Cancelled, posthorn.ReasonExpired
	case l.Skips(d):
		return posthorn.Cancelled, posthorn.ReasonSkipped
	case l.phase == laneHeld && w.Hold > 0 && waiting.Add(w.Hold).Before(now) && w.Told(&l.Lane, now):
		return posthorn.Cancelled, posthorn.ReasonHeldTooLong
	case l.phase == laneOpen && w.Window > 0 && d.Manual == posthorn.NotManual && windowEnd(d, l, w, now).Before(now):
		return posthorn.Exhausted, posthorn.ReasonWindow
	}
	return d.State, posthorn.ReasonNone
}

// windowEnd is when a delivery is ended by its window: what is in flight then may still succeed.
func windowEnd(d *posthorn.Delivery, l *lane, w posthorn.Withdrawal, now time.Time) time.Time {
	end := d.WindowEnd(&l.Lane, l.within(w.Window), now)
	if d.ClaimedUntil.After(now) {
		end = end.Add(posthorn.InFlight)
	}
	return end
}

// after scans columns that stand before those of a noun.
type after struct {
	*sql.Rows
	first []any
}

// Scan puts the first columns aside.
func (a after) Scan(to ...any) error { return a.Rows.Scan(append(a.first, to...)...) }
