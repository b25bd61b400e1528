package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
)

const deliveryColumns = `id, tenant_id, event_id, subscription_id, event_type, state, reason, attempts, spent, interruptions,
	manual, due_at, visible_at, claim, claimed_by, ordering_key, sequence, last_outcome, last_status_code, last_error,
	held_base, replay_id, created_at, updated_at, completed_at`

// scanDelivery reads the columns; visible is the moment it may be claimed at.
func scanDelivery(rows interface{ Scan(...any) error }) (d posthorn.Delivery, visible time.Time, err error) {
	err = rows.Scan(&d.ID, &d.TenantID, &d.EventID, &d.SubscriptionID, &d.EventType, condition{&d.State}, &d.Reason,
		&d.Attempts, &d.Spent, &d.Interruptions, &d.Manual, instant{&d.DueAt}, instant{&visible}, &d.Claim, &d.ClaimedBy,
		&d.OrderingKey, &d.Sequence, &d.LastOutcome, &d.LastStatusCode, &d.LastError, interval{&d.HeldBase}, &d.Replay,
		instant{&d.CreatedAt}, instant{&d.UpdatedAt}, instant{&d.CompletedAt})
	if !d.Claim.IsZero() {
		d.ClaimedUntil = visible
	}
	return d, visible, err
}

// insertDelivery writes new deliveries; the columns it leaves out have their defaults.
const insertDelivery = `INSERT INTO deliveries (id, tenant_id, event_id, subscription_id, event_type, state, reason, attempts,
	due_at, visible_at, claim, claimed_by, ordering_key, sequence, held_base, replay_id, expires_at, created_at, updated_at,
	completed_at) VALUES ROWS`

const insertDeliveryWidth = 20

// insertion appends a new delivery's values.
func insertion(args []any, d *posthorn.Delivery, visible, expires time.Time) []any {
	return append(args, d.ID.UUID[:], d.TenantID.UUID[:], d.EventID.UUID[:], d.SubscriptionID.UUID[:], d.EventType,
		stateNumber(d.State), string(d.Reason), int64(d.Attempts), stamp(d.DueAt), stamp(visible), blob(d.Claim.UUID),
		blob(d.ClaimedBy.UUID), d.OrderingKey, d.Sequence, d.HeldBase.Microseconds(), blob(d.Replay.UUID), stamp(expires),
		stamp(d.CreatedAt), stamp(d.UpdatedAt), stamp(d.CompletedAt))
}

// delivery reads one of a tenant's.
func delivery(q querier, tenant posthorn.TenantID, id posthorn.DeliveryID) (*posthorn.Delivery, error) {
	d, _, err := scanDelivery(q.queryRow(`SELECT `+deliveryColumns+` FROM deliveries WHERE id = ? AND tenant_id = ?`, id, tenant))
	return &d, absent("delivery", err)
}

// GetDelivery reads one.
func (s *Store) GetDelivery(ctx context.Context, tenant posthorn.TenantID, id posthorn.DeliveryID) (*posthorn.Delivery, error) {
	d, err := delivery(s.read(ctx), tenant, id)
	if err != nil {
		return nil, fmt.Errorf("read delivery: %w", fault(err))
	}
	return d, nil
}

// ListDeliveries lists newest first, over the index that narrows the most.
func (s *Store) ListDeliveries(ctx context.Context, tenant posthorn.TenantID, f posthorn.DeliveryFilter, p posthorn.Page) ([]posthorn.Delivery, posthorn.UUID, error) {
	list := newListing[posthorn.Delivery](p)
	err := s.scanDeliveries(ctx, tenant, &f, list)
	if err != nil {
		return nil, posthorn.UUID{}, fmt.Errorf("list deliveries: %w", fault(err))
	}
	return list.rows, list.next, nil
}

func (s *Store) scanDeliveries(ctx context.Context, tenant posthorn.TenantID, f *posthorn.DeliveryFilter, list *listing[posthorn.Delivery]) error {
	index, args := driving(tenant, f)
	low, high := idBounds(f.Since, f.Until, list.before)
	rows, err := s.read(ctx).query(`SELECT `+deliveryColumns+` FROM deliveries INDEXED BY `+index+`
		AND id >= ? AND id < ? ORDER BY id DESC LIMIT ?`, append(args, low[:], high[:], list.bound)...)
	return each(rows, err, func(rows *sql.Rows) error {
		d, _, err := scanDelivery(rows)
		if err != nil {
			return err
		}
		return list.add(d, d.ID.UUID, d.TenantID == tenant && f.Wants(&d))
	})
}

// driving is the index to walk for a filter, with its condition.
func driving(tenant posthorn.TenantID, f *posthorn.DeliveryFilter) (string, []any) {
	switch {
	case !f.EventID.IsZero():
		return `deliveries_by_event WHERE event_id = ?`, []any{f.EventID}
	case !f.Replay.IsZero():
		return `deliveries_by_replay WHERE replay_id = ?`, []any{f.Replay}
	case failedOnly(f.States) && f.SubscriptionID.IsZero():
		return `deliveries_failed WHERE state >= 2 AND tenant_id = ?`, []any{tenant}
	case !f.SubscriptionID.IsZero():
		return `deliveries_by_subscription WHERE subscription_id = ?`, []any{f.SubscriptionID}
	}
	return `deliveries_by_tenant WHERE tenant_id = ?`, []any{tenant}
}

// failedOnly says that only deliveries that ended without success are asked for.
func failedOnly(states []posthorn.State) bool {
	for _, s := range states {
		if s != posthorn.Exhausted && s != posthorn.Cancelled {
			return false
		}
	}
	return len(states) > 0
}

func (r reader) eventExists(tenant posthorn.TenantID, id posthorn.EventID) error {
	var found bool
	err := r.queryRow(`SELECT EXISTS (SELECT 1 FROM events WHERE tenant_id = ? AND id = ?)`, tenant, id).Scan(&found)
	if err == nil && !found {
		err = posthorn.Absent("event")
	}
	return err
}

// EventDeliveries lists an event's deliveries, oldest first.
func (s *Store) EventDeliveries(ctx context.Context, tenant posthorn.TenantID, id posthorn.EventID) ([]posthorn.Delivery, error) {
	var list []posthorn.Delivery
	err := s.snapshot(ctx, func(r reader) error {
		if err := r.eventExists(tenant, id); err != nil {
			return err
		}
		rows, err := r.query(`SELECT `+deliveryColumns+` FROM deliveries INDEXED BY deliveries_by_event
			WHERE event_id = ? ORDER BY id LIMIT ?`, id, posthorn.MaxEventDeliveries)
		return each(rows, err, func(rows *sql.Rows) error {
			d, _, err := scanDelivery(rows)
			list = append(list, d)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list deliveries of event: %w", err)
	}
	return list, nil
}
