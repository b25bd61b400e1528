package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
)

// RetryDelivery makes one due now.
func (s *Store) RetryDelivery(ctx context.Context, tenant posthorn.TenantID, id posthorn.DeliveryID) (*posthorn.Delivery, error) {
	d, err := s.changeOne(ctx, tenant, id, posthorn.OnRetry)
	if err != nil {
		return nil, fmt.Errorf("retry delivery: %w", err)
	}
	return d, nil
}

// CancelDelivery ends one.
func (s *Store) CancelDelivery(ctx context.Context, tenant posthorn.TenantID, id posthorn.DeliveryID) (*posthorn.Delivery, error) {
	d, err := s.changeOne(ctx, tenant, id, posthorn.OnCancel)
	if err != nil {
		return nil, fmt.Errorf("cancel delivery: %w", err)
	}
	return d, nil
}

func (s *Store) changeOne(ctx context.Context, tenant posthorn.TenantID, id posthorn.DeliveryID, on posthorn.Trigger) (*posthorn.Delivery, error) {
	var after *posthorn.Delivery
	err := s.write(ctx, func(t *tx) error {
		d, err := delivery(t, tenant, id)
		if err != nil {
			return err
		}
		c, err := newChanging(t, on, []posthorn.Delivery{*d})
		if err != nil {
			return err
		}
		if err := c.allows(d); err != nil {
			return err
		}
		after = d
		if err := c.apply(d); err != nil {
			return err
		}
		return c.close()
	})
	return after, err
}

// changesPerWrite bounds one transaction of a bulk change.
const changesPerWrite = 500

// ChangeDeliveries finds beside the writer and changes what still allows it, a few hundred at a time.
func (s *Store) ChangeDeliveries(ctx context.Context, tenant posthorn.TenantID, b posthorn.BulkChange) (posthorn.BulkReport, error) {
	list := newListing[posthorn.Delivery](posthorn.Page{Before: b.Before})
	list.limit = min(max(b.Limit, 1), 10_000)
	list.bound = max(list.limit, posthorn.MaxExamined)
	var report posthorn.BulkReport
	err := s.scanDeliveries(ctx, tenant, &b.Filter, list)
	if err != nil {
		return report, fmt.Errorf("find deliveries to change: %w", fault(err))
	}
	report.Next = list.next
	for found := list.rows; len(found) > 0; {
		part := found[:min(len(found), changesPerWrite)]
		found = found[len(part):]
		var matched, changed int
		err := s.write(ctx, func(t *tx) (err error) {
			matched, changed, err = t.changeMany(part, b)
			return err
		})
		if err != nil {
			return report, fmt.Errorf("change deliveries: %w", err)
		}
		report.Matched += matched
		report.Changed += changed
	}
	return report, nil
}

func (t *tx) changeMany(part []posthorn.Delivery, b posthorn.BulkChange) (matched, changed int, err error) {
	// What was found may have moved since.
	ids := make([]any, len(part))
	for i := range part {
		ids[i] = part[i].ID.UUID[:]
	}
	var present []posthorn.Delivery
	err = t.bulkQuery(`SELECT `+deliveryColumns+` FROM deliveries WHERE (id) IN (VALUES ROWS)`, 1, ids, func(rows *sql.Rows) error {
		d, _, err := scanDelivery(rows)
		if b.Filter.Wants(&d) {
			present = append(present, d)
		}
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	c, err := newChanging(t, b.On, present)
	if err != nil {
		return 0, 0, err
	}
	for i := range present {
		if c.allows(&present[i]) != nil {
			continue
		}
		matched++
		if b.DryRun {
			continue
		}
		if err := c.apply(&present[i]); err != nil {
			return 0, 0, err
		}
		changed++
	}
	return matched, changed, c.close()
}

// changing is a retry or a cancellation by a person, with what decides whether a delivery allows it.
type changing struct {
	*ledger
	on     posthorn.Trigger
	lanes  map[posthorn.SubscriptionID]*lane
	events map[posthorn.EventID]limits
}

// limits are what keeps an event from being sent again.
type limits struct {
	erased  bool
	expires time.Time
}

func newChanging(t *tx, on posthorn.Trigger, deliveries []posthorn.Delivery) (*changing, error) {
	g, err := t.ledger()
	if err != nil {
		return nil, err
	}
	c := &changing{ledger: g, on: on, events: map[posthorn.EventID]limits{}}
	var lanes []posthorn.SubscriptionID
	var events []any
	for i := range deliveries {
		lanes = append(lanes, deliveries[i].SubscriptionID)
		events = append(events, deliveries[i].TenantID.UUID[:], deliveries[i].EventID.UUID[:])
	}
	if c.lanes, err = t.lanes(lanes); err != nil {
		return nil, err
	}
	err = t.bulkQuery(`SELECT id, payload_erased > 0, expires_at FROM events
		WHERE (payload_erased > 0 OR expires_at > 0) AND (tenant_id, id) IN (VALUES ROWS)`, 2, events,
		func(rows *sql.Rows) error {
			var id posthorn.EventID
			var l limits
			err := rows.Scan(&id, &l.erased, instant{&l.expires})
			c.events[id] = l
			return err
		})
	return c, err
}

// allows is nil, or the Conflict that says why not.
func (c *changing) allows(d *posthorn.Delivery) error {
	if _, ok := d.State.Next(c.on); !ok {
		if c.on == posthorn.OnRetry {
			return posthorn.HasSucceeded()
		}
		return posthorn.HasEnded("delivery")
	}
	if c.on != posthorn.OnRetry {
		return nil
	}
	switch l, e := c.lanes[d.SubscriptionID], c.events[d.EventID]; {
	case d.ClaimedUntil.After(c.now):
		return posthorn.BeingSent()
	case l == nil || l.phase == laneGone:
		return posthorn.Unsubscribed()
	case e.erased:
		return posthorn.PayloadErased()
	case !e.expires.IsZero() && !e.expires.After(c.now):
		return posthorn.Expired(e.expires)
	}
	return nil
}

// apply makes the change, in d as in the file.
func (c *changing) apply(d *posthorn.Delivery) error {
	if c.on == posthorn.OnCancel {
		return c.end(d, posthorn.Cancelled, posthorn.ReasonRequested)
	}
	if !d.Claim.IsZero() {
		c.lose(d)
		d.Claim, d.ClaimedBy, d.ClaimedUntil = posthorn.AttemptID{}, posthorn.NodeID{}, time.Time{}
	}
	if d.State == posthorn.Pending {
		d.Manual = max(d.Manual, posthorn.ManualWhilePending)
	} else {
		d.Manual, d.DueAt, d.Interruptions = posthorn.ManualAfterEnd, c.now, 0
	}
	d.State, d.Reason, d.UpdatedAt, d.CompletedAt = posthorn.Pending, posthorn.ReasonNone, c.now, time.Time{}
	if d.Sequence == 0 && c.lanes[d.SubscriptionID].fifo {
		// It ended before its lane had an order, and has none to wait for.
		d.Sequence = -1
	}
	_, err := c.exec(`UPDATE deliveries SET state = 0, reason = '', sequence = ?, manual = ?, due_at = ?, visible_at = ?, interruptions = ?,
		claim = NULL, claimed_by = NULL, last_outcome = ?, last_status_code = ?, last_error = ?, updated_at = ?,
		completed_at = 0 WHERE id = ?`,
		d.Sequence, int64(d.Manual), stamp(d.DueAt), stamp(c.now), int64(d.Interruptions), string(d.LastOutcome),
		int64(d.LastStatusCode), d.LastError, stamp(c.now), d.ID.UUID[:])
	return err
}
