package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// maxBulk bounds one step of a bulk change.
const maxBulk = 10_000

// Why a delivery may not be changed: the first reason that holds, a key of refusal, or nothing. An event that is older than the
// retention is gone before the deliveries that a later day made of it.
const (
	againstRetry = `CASE WHEN d.state = 'succeeded' THEN 'succeeded'
		WHEN d.claim IS NOT NULL AND d.visible_at > now() THEN 'claimed'
		WHEN NOT EXISTS (SELECT FROM lanes l WHERE l.subscription_id = d.subscription_id AND NOT l.deleted) THEN 'unsubscribed'
		ELSE coalesce((SELECT CASE WHEN e.payload_erased IS NOT NULL THEN 'erased' WHEN d.expires_at <= now() THEN 'expired' ELSE '' END
			FROM events e WHERE e.tenant_id = d.tenant_id AND e.id = d.event_id), 'gone') END`
	againstCancel = `CASE WHEN d.state = 'pending' THEN '' ELSE 'ended' END`
)

// refusal is nil, or the Conflict of changing a delivery for a reason that SQL gave.
func refusal(reason string, expired time.Time) error {
	switch reason {
	case "":
		return nil
	case "succeeded":
		return posthorn.HasSucceeded()
	case "claimed":
		return posthorn.BeingSent()
	case "unsubscribed":
		return posthorn.Unsubscribed()
	case "erased":
		return posthorn.PayloadErased()
	case "expired":
		return posthorn.Expired(expired)
	case "gone":
		return posthorn.NewError(posthorn.Conflict, "the delivery's event is older than the retention and cannot be sent again")
	}
	return posthorn.HasEnded("delivery")
}

// loseClaim is what an interrupted attempt leaves in its delivery.
const loseClaim = `
	last_outcome = CASE WHEN d.claim IS NULL THEN d.last_outcome ELSE 'interrupted' END,
	last_status_code = CASE WHEN d.claim IS NULL THEN d.last_status_code ELSE 0 END,
	last_error = CASE WHEN d.claim IS NULL THEN d.last_error ELSE '` + posthorn.ClaimLost + `' END,
	claim = NULL, claimed_by = NULL`

// retryThese makes deliveries due now. One that ended starts anew but for its number of attempts; one that is pending keeps
// its schedule, to which a failure returns it. One that ended before its lane had an order is not in it, and waits for no other.
const retryThese = `
UPDATE deliveries d SET
	state = 'pending', reason = '', visible_at = now(), completed_at = NULL, updated_at = now(), touched_at = now(), queued = true,
	manual = CASE WHEN d.state = 'pending' THEN greatest(d.manual, 1) ELSE 2 END,
	due_at = CASE WHEN d.state = 'pending' THEN d.due_at ELSE now() END,
	sequence = CASE WHEN d.sequence = 0 AND (SELECT l.fifo FROM lanes l WHERE l.subscription_id = d.subscription_id) THEN -1 ELSE d.sequence END,
	interruptions = CASE WHEN d.state = 'pending' THEN d.interruptions + (d.claim IS NOT NULL)::int ELSE 0 END,` + loseClaim + `
FROM unnest($1::uuid[]) AS i(id) WHERE d.id = i.id RETURNING ` + deliveryColumns

// retry makes locked deliveries due now. A claim whose lease ran out is written down first: that attempt was not the retry's.
func retry(ctx context.Context, tx pgx.Tx, found []locked) (changed []posthorn.Delivery, err error) {
	var ids uuids
	var lost []interrupted
	var counts tally
	for _, p := range found {
		ids = append(ids, p.id)
		if !p.lost.id.IsZero() {
			lost = append(lost, p.lost)
			counts.interrupted(p.lost)
		}
	}
	var b pgx.Batch
	b.Queue(steer)
	queueInterrupted(&b, lost)
	b.Queue(retryThese, ids).Query(func(rows pgx.Rows) (err error) {
		changed, err = pgx.CollectRows(rows, scanDelivery)
		return err
	})
	counts.queue(&b)
	err = tx.SendBatch(ctx, &b).Close()
	return changed, err
}

// lockDelivery reads a delivery for a change, unless there is a reason against it.
func lockDelivery(ctx context.Context, tx pgx.Tx, tenant posthorn.TenantID, id posthorn.DeliveryID, against string) (locked, error) {
	rows, err := tx.Query(ctx, `SELECT `+against+`, d.expires_at, `+lockedColumns+` FROM deliveries d
		WHERE d.id = $1 AND d.tenant_id = $2 FOR UPDATE OF d`, uuid(id.UUID), uuid(tenant.UUID))
	if err != nil {
		return locked{}, err
	}
	var reason string
	var expires time.Time
	d, err := pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (d locked, err error) {
		err = row.Scan(append([]any{&reason, (*moment)(&expires)}, d.fields()...)...)
		d.lost.delivery = d.id
		return d, err
	})
	if err != nil {
		return d, noRow("delivery", err)
	}
	return d, refusal(reason, expires)
}

// RetryDelivery implements posthorn.DeliveryStore.
func (s *Store) RetryDelivery(ctx context.Context, tenant posthorn.TenantID, id posthorn.DeliveryID) (*posthorn.Delivery, error) {
	var changed []posthorn.Delivery
	err := s.write(ctx, "retry delivery", func(ctx context.Context, tx pgx.Tx) error {
		d, err := lockDelivery(ctx, tx, tenant, id, againstRetry)
		if err != nil {
			return err
		}
		changed, err = retry(ctx, tx, []locked{d})
		return err
	})
	if err != nil {
		return nil, err
	}
	return &changed[0], nil
}

// CancelDelivery implements posthorn.DeliveryStore.
func (s *Store) CancelDelivery(ctx context.Context, tenant posthorn.TenantID, id posthorn.DeliveryID) (*posthorn.Delivery, error) {
	var changed []posthorn.Delivery
	err := s.write(ctx, "cancel delivery", func(ctx context.Context, tx pgx.Tx) error {
		d, err := lockDelivery(ctx, tx, tenant, id, againstCancel)
		if err != nil {
			return err
		}
		changed, err = end(ctx, tx, []ending{{d, posthorn.Cancelled, posthorn.ReasonRequested}})
		return err
	})
	if err != nil {
		return nil, err
	}
	return &changed[0], nil
}

// ending is a locked pending delivery and what it ends as.
type ending struct {
	locked
	state  posthorn.State
	reason posthorn.Reason
}

// end ends locked pending deliveries. A claim they had is lost, its attempt written as interrupted.
func end(ctx context.Context, tx pgx.Tx, endings []ending) ([]posthorn.Delivery, error) {
	var ids uuids
	var states, reasons []string
	var lost []interrupted
	var counts tally
	for _, e := range endings {
		ids = append(ids, e.id)
		states, reasons = append(states, string(e.state)), append(reasons, string(e.reason))
		if !e.lost.id.IsZero() {
			lost = append(lost, e.lost)
			counts.interrupted(e.lost)
		}
		if e.state == posthorn.Exhausted {
			counts.exhausted(e.lost.tenant, e.lost.subscription)
		}
	}
	var ended []posthorn.Delivery
	var b pgx.Batch
	b.Queue(steer)
	queueInterrupted(&b, lost)
	b.Queue(`UPDATE deliveries d SET
			state = i.state, reason = i.reason, manual = 0, completed_at = now(), updated_at = now(), touched_at = now(), queued = false,
			interruptions = d.interruptions + (d.claim IS NOT NULL)::int,`+loseClaim+`
		FROM unnest($1::uuid[], $2::text[], $3::text[]) AS i(id, state, reason)
		WHERE d.id = i.id RETURNING `+deliveryColumns, ids, states, reasons).Query(func(rows pgx.Rows) (err error) {
		ended, err = pgx.CollectRows(rows, scanDelivery)
		return err
	})
	counts.queue(&b)
	err := tx.SendBatch(ctx, &b).Close()
	return ended, err
}

// ChangeDeliveries implements posthorn.DeliveryStore.
func (s *Store) ChangeDeliveries(ctx context.Context, tenant posthorn.TenantID, c posthorn.BulkChange) (posthorn.BulkReport, error) {
	if c.On != posthorn.OnRetry && c.On != posthorn.OnCancel {
		return posthorn.BulkReport{}, fmt.Errorf("change deliveries: a bulk change cannot mean %q", c.On)
	}
	step := posthorn.Page{Limit: min(max(c.Limit, 1), maxBulk), Before: c.Before}
	var report posthorn.BulkReport
	keep := func(rows []posthorn.Delivery) ([]posthorn.Delivery, error) {
		return slices.DeleteFunc(rows, func(d posthorn.Delivery) bool {
			_, allowed := d.State.Next(c.On)
			return !allowed || !c.Filter.Wants(&d)
		}), nil
	}
	found, next, err := page(step, func(d *posthorn.Delivery) posthorn.UUID { return d.ID.UUID }, keep,
		func(before posthorn.UUID, n int) ([]posthorn.Delivery, error) {
			return s.listDeliveries(ctx, tenant, &c.Filter, before, n)
		})
	if err != nil || len(found) == 0 {
		return posthorn.BulkReport{Next: next}, err
	}
	ids := make(uuids, len(found))
	for i := range found {
		ids[i] = found[i].ID.UUID
	}
	slices.SortFunc(ids, compareIDs)
	err = s.write(ctx, "change deliveries", func(ctx context.Context, tx pgx.Tx) error {
		report = posthorn.BulkReport{Next: next}
		return changeThese(ctx, tx, c, ids, &report)
	})
	return report, err
}

// changeThese locks what still allows the change, in order of id, and changes it.
func changeThese(ctx context.Context, tx pgx.Tx, c posthorn.BulkChange, ids uuids, report *posthorn.BulkReport) error {
	against := againstRetry
	if c.On == posthorn.OnCancel {
		against = againstCancel
	}
	var found []locked
	var b pgx.Batch
	b.Queue(steer)
	lock := ` FOR UPDATE OF d SKIP LOCKED`
	if c.DryRun {
		lock = ``
	}
	b.Queue(`SELECT `+lockedColumns+` FROM unnest($1::uuid[]) AS q(id) CROSS JOIN LATERAL (
		SELECT * FROM deliveries d WHERE d.id = q.id AND `+against+` = '' OFFSET 0`+lock+`) d`, ids).Query(func(rows pgx.Rows) (err error) {
		found, err = pgx.CollectRows(rows, scanLocked)
		return err
	})
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return err
	}
	report.Matched = len(found)
	if c.DryRun || len(found) == 0 {
		return nil
	}
	report.Changed = len(found)
	if c.On == posthorn.OnCancel {
		endings := make([]ending, len(found))
		for i, p := range found {
			endings[i] = ending{p, posthorn.Cancelled, posthorn.ReasonRequested}
		}
		_, err := end(ctx, tx, endings)
		return err
	}
	_, err := retry(ctx, tx, found)
	return err
}
