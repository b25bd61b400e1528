package sqlite

import (
	"context"

	"github.com/posthorn/posthorn"
)

// interrupt writes the attempt of a lease that ran out and says whether the delivery is not to be given now: it has ended,
// or its retry by hand has and it waits as it did before.
func (c *claiming) interrupt(row *candidate) (stays bool, err error) {
	d := &row.Delivery
	c.lose(d)
	byHand := d.Manual
	reason := posthorn.ReasonNone
	if d.Interruptions > posthorn.FreeInterruptions {
		if reason, err = c.spend(d); err != nil {
			return false, err
		}
	}
	stays = reason != posthorn.ReasonNone || d.Manual != byHand || d.Manual == posthorn.NotManual && d.DueAt.After(c.now)
	if d.Manual != byHand {
		// It may be due: the next search tells.
		c.batch.Next = 0
	}
	visible := d.DueAt
	if reason != posthorn.ReasonNone {
		d.State, d.Reason, d.Manual, d.CompletedAt = posthorn.Exhausted, reason, posthorn.NotManual, c.now
		for _, n := range c.counts.both(d.TenantID, d.SubscriptionID) {
			n[countExhausted]++
		}
		c.batch.Ended = append(c.batch.Ended, posthorn.UpdateOf(d, c.now))
	}
	_, err = c.exec(`UPDATE deliveries SET state = ?, reason = ?, spent = ?, interruptions = ?, manual = ?, visible_at = ?,
		claim = NULL, claimed_by = NULL, last_outcome = ?, last_status_code = 0, last_error = ?, updated_at = ?,
		completed_at = ? WHERE id = ?`,
		stateNumber(d.State), string(d.Reason), int64(d.Spent), int64(d.Interruptions), int64(d.Manual), stamp(visible),
		string(d.LastOutcome), d.LastError, stamp(c.now), stamp(d.CompletedAt), d.ID.UUID[:])
	return stays, err
}

// spend makes an interruption beyond the free ones cost what an attempt costs, and gives the reason if that was the last.
func (c *claiming) spend(d *posthorn.Delivery) (posthorn.Reason, error) {
	switch d.Manual {
	case posthorn.ManualAfterEnd:
		return posthorn.ReasonManual, nil
	case posthorn.ManualWhilePending:
		d.Manual = posthorn.NotManual
		return posthorn.ReasonNone, nil
	}
	d.Spent++
	var policy string
	err := c.queryRow(`SELECT policy FROM subscriptions WHERE id = ?`, d.SubscriptionID).Scan(&policy)
	var p posthorn.Policy
	if err == nil {
		err = decode(policy, &p)
	}
	if err != nil || d.Spent < p.Retry.Budget() {
		return posthorn.ReasonNone, err
	}
	return posthorn.ReasonAttempts, nil
}

// freeClaims ends the leases and duties of an earlier run: no other process can hold one. The attempts are written as interrupted
// when the deliveries are claimed again, as after any lost lease. Leases that ran out are free already.
func (s *Store) freeClaims(ctx context.Context) error {
	return s.write(ctx, func(t *tx) error {
		_, err := t.exec(`UPDATE deliveries INDEXED BY deliveries_queue SET visible_at = ?
			WHERE state = 0 AND claim IS NOT NULL AND visible_at > ?`,
			stamp(t.now), stamp(t.now))
		if err != nil {
			return err
		}
		_, err = t.exec(`DELETE FROM leases`)
		return err
	})
}
