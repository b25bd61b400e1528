package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/posthorn/posthorn"
)

const subscriptionColumns = `id, tenant_id, version, status, disabled_reason, created_at, updated_at, deleted_at, policy,
	confidential`

// scanSubscription reads the columns and gives the sealed part beside: a list opens it only for what it returns.
func scanSubscription(rows interface{ Scan(...any) error }) (sub posthorn.Subscription, sealed []byte, err error) {
	var policy []byte
	err = rows.Scan(&sub.ID, &sub.TenantID, &sub.Version, &sub.Status, &sub.DisabledReason, instant{&sub.CreatedAt},
		instant{&sub.UpdatedAt}, instant{&sub.DeletedAt}, &policy, &sealed)
	if err == nil {
		err = json.Unmarshal(policy, &sub.Policy)
	}
	return sub, sealed, err
}

func (s *Store) seal(sub *posthorn.Subscription) []byte {
	plain, _ := json.Marshal(sub.Confidential) // strings and times always encode
	return s.sealer.Seal(plain, sub.Binding())
}

// unseal opens what seal made. What no key opens is not an error here: most readers do not need it, those who do look at
// Unreadable. It names the subscription and nothing it holds. Tombstones have nothing to open.
func (s *Store) unseal(sub *posthorn.Subscription, sealed []byte) error {
	if !sub.DeletedAt.IsZero() {
		return nil
	}
	plain, err := s.sealer.Open(sealed, sub.Binding())
	if err != nil {
		sub.Confidential = posthorn.Confidential{Unreadable: fmt.Sprintf("unseal subscription %s: %v", sub.ID, err)}
		return nil
	}
	if err := json.Unmarshal(plain, &sub.Confidential); err != nil {
		return fmt.Errorf("unseal subscription %s: %w", sub.ID, err)
	}
	return nil
}

// sealedAnew is the sealed part of a changed subscription: what could not be opened stays as it is.
func (s *Store) sealedAnew(t *tx, sub, before *posthorn.Subscription) (sealed []byte, err error) {
	if before.Unreadable == "" {
		return s.seal(sub), nil
	}
	if !sub.Confidential.Same(before.Confidential) {
		return nil, posthorn.Locked("subscription", before.Unreadable)
	}
	err = t.queryRow(`SELECT confidential FROM subscriptions WHERE id = ?`, sub.ID).Scan(&sealed)
	return sealed, err
}

// CreateSubscription stores a new one with its lane.
func (s *Store) CreateSubscription(ctx context.Context, sub *posthorn.Subscription) error {
	made := *sub
	err := s.write(ctx, func(t *tx) error {
		var err error
		if made.Version, err = t.moveVersion(sub.TenantID); err != nil {
			return err
		}
		made.CreatedAt, made.UpdatedAt = t.now, t.now
		_, err = t.exec(`INSERT INTO subscriptions (`+subscriptionColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?)`,
			made.ID, made.TenantID, made.Version, string(made.Status), made.DisabledReason, stamp(t.now), stamp(t.now),
			document(made.Policy, false), s.seal(&made))
		if constraint(err) {
			return posthorn.NewError(posthorn.Conflict, "a subscription with this id exists")
		}
		if err != nil {
			return err
		}
		l := &lane{Lane: posthorn.Lane{SubscriptionID: made.ID, TenantID: made.TenantID}, version: made.Version}
		l.fifo, l.window = made.Ordering == posthorn.OrderingFIFO, made.Retry.OwnWindow()
		if made.Status != posthorn.StatusActive {
			l.hold(t.now)
		}
		return t.insertLane(l)
	})
	if err != nil {
		return fmt.Errorf("create subscription: %w", err)
	}
	*sub = made
	return nil
}

// readSubscription reads one of a tenant's that is not deleted.
func (s *Store) readSubscription(q querier, tenant posthorn.TenantID, id posthorn.SubscriptionID) (*posthorn.Subscription, error) {
	sub, sealed, err := scanSubscription(q.queryRow(`SELECT `+subscriptionColumns+` FROM subscriptions
		WHERE id = ? AND tenant_id = ? AND deleted_at = 0`, id, tenant))
	if err != nil {
		return nil, absent("subscription", err)
	}
	return &sub, s.unseal(&sub, sealed)
}

// GetSubscription reads one that is not deleted.
func (s *Store) GetSubscription(ctx context.Context, tenant posthorn.TenantID, id posthorn.SubscriptionID) (*posthorn.Subscription, error) {
	sub, err := s.readSubscription(s.read(ctx), tenant, id)
	if err != nil {
		return nil, fmt.Errorf("read subscription: %w", fault(err))
	}
	return sub, nil
}

// FindSubscriptions reads those of the ids that the tenant has, tombstones included.
func (s *Store) FindSubscriptions(ctx context.Context, tenant posthorn.TenantID, ids []posthorn.SubscriptionID) ([]posthorn.Subscription, error) {
	var found []posthorn.Subscription
	for part := range chunks(ids) {
		err := s.collect(s.read(ctx), &found, `tenant_id = ? AND id IN (`+marks(len(part))+`)`, prepend(part, tenant)...)
		if err != nil {
			return nil, fmt.Errorf("find subscriptions: %w", fault(err))
		}
	}
	return found, nil
}

// collect appends the subscriptions that a condition finds.
func (s *Store) collect(q querier, to *[]posthorn.Subscription, where string, args ...any) error {
	rows, err := q.query(`SELECT `+subscriptionColumns+` FROM subscriptions WHERE `+where, args...)
	return each(rows, err, func(rows *sql.Rows) error {
		sub, sealed, err := scanSubscription(rows)
		if err == nil {
			err = s.unseal(&sub, sealed)
		}
		*to = append(*to, sub)
		return err
	})
}

// ListSubscriptions lists those that are not deleted, newest first.
func (s *Store) ListSubscriptions(ctx context.Context, tenant posthorn.TenantID, f posthorn.SubscriptionFilter, p posthorn.Page) ([]posthorn.Subscription, posthorn.UUID, error) {
	list := newListing[posthorn.Subscription](p)
	rows, err := s.read(ctx).query(`SELECT `+subscriptionColumns+` FROM subscriptions
		WHERE tenant_id = ? AND deleted_at = 0 AND id < ? ORDER BY id DESC LIMIT ?`, tenant, list.before[:], list.bound)
	err = each(rows, err, func(rows *sql.Rows) error {
		sub, sealed, err := scanSubscription(rows)
		if err != nil {
			return err
		}
		wanted := f.Wants(&sub)
		if wanted {
			if err := s.unseal(&sub, sealed); err != nil {
				return err
			}
		}
		return list.add(sub, sub.ID.UUID, wanted)
	})
	if err != nil {
		return nil, posthorn.UUID{}, fmt.Errorf("list subscriptions: %w", fault(err))
	}
	return list.rows, list.next, nil
}

// SubscriptionsSince reads what changed after a version, and the present version, of one moment.
func (s *Store) SubscriptionsSince(ctx context.Context, tenant posthorn.TenantID, version int64) (int64, []posthorn.Subscription, error) {
	var present int64
	var changed []posthorn.Subscription
	err := s.snapshot(ctx, func(r reader) error {
		err := r.queryRow(`SELECT version FROM tenants WHERE id = ?`, tenant).Scan(&present)
		if err != nil {
			return absent("tenant", err)
		}
		if version == 0 {
			return s.collect(r, &changed, `tenant_id = ? AND deleted_at = 0`, tenant)
		}
		return s.collect(r, &changed, `tenant_id = ? AND version > ?`, tenant, version)
	})
	if err != nil {
		return 0, nil, fmt.Errorf("read changed subscriptions: %w", err)
	}
	return present, changed, nil
}

// UpdateSubscription lets change alter one. change runs inside the writing transaction: it must not call the store.
func (s *Store) UpdateSubscription(ctx context.Context, tenant posthorn.TenantID, id posthorn.SubscriptionID,
	change func(*posthorn.Subscription) error,
) (*posthorn.Subscription, error) {
	var after *posthorn.Subscription
	err := s.write(ctx, func(t *tx) error {
		before, err := s.readSubscription(t, tenant, id)
		if err != nil {
			return err
		}
		sub := *before
		if err := change(&sub); err != nil {
			return err
		}
		sub.ID, sub.TenantID, sub.CreatedAt, sub.DeletedAt = before.ID, before.TenantID, before.CreatedAt, before.DeletedAt
		after = &sub
		defer func() { after.SkipHeld = false }()
		if err := s.updateSubscription(t, after, before); err != nil || before.Yields() || !sub.Yields() {
			return err
		}
		return t.yield(id)
	})
	if err != nil {
		return nil, fmt.Errorf("update subscription: %w", err)
	}
	return after, nil
}

func (s *Store) updateSubscription(t *tx, sub, before *posthorn.Subscription) (err error) {
	sealed, err := s.sealedAnew(t, sub, before)
	if err != nil {
		return err
	}
	l, err := t.lane(sub.ID)
	if err != nil {
		return err
	}
	if sub.Version, err = t.moveVersion(sub.TenantID); err != nil {
		return err
	}
	sub.UpdatedAt = t.now
	_, err = t.exec(`UPDATE subscriptions SET version = ?, status = ?, disabled_reason = ?, updated_at = ?, policy = ?,
		confidential = ? WHERE id = ?`, sub.Version, string(sub.Status), sub.DisabledReason, stamp(t.now),
		document(sub.Policy, false), sealed, sub.ID)
	if err != nil {
		return err
	}
	l.version = sub.Version
	switch active := sub.Status == posthorn.StatusActive; {
	case active && l.phase != laneOpen:
		l.resume(t.now)
		if sub.SkipHeld {
			l.SkippedAt = t.now
		}
	case !active:
		l.hold(t.now)
	}
	fifo := sub.Ordering == posthorn.OrderingFIFO
	if fifo && !l.fifo {
		if err := t.number(l); err != nil {
			return err
		}
	}
	l.fifo, l.window = fifo, sub.Retry.OwnWindow()
	return t.updateLane(l)
}

// number puts the deliveries of a lane that becomes FIFO in the order of their creation.
func (t *tx) number(l *lane) error {
	var pending int
	err := t.queryRow(`SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE state = 0 AND subscription_id = ? LIMIT ?)`,
		l.SubscriptionID, posthorn.MaxNumbered+1).Scan(&pending)
	if err != nil {
		return err
	}
	if pending > posthorn.MaxNumbered {
		return posthorn.TooManyToOrder()
	}
	answer, err := t.exec(`UPDATE deliveries SET sequence = ? + o.n
		FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM deliveries
			WHERE state = 0 AND subscription_id = ? AND sequence = 0) AS o
		WHERE deliveries.id = o.id`, l.sequence, l.SubscriptionID)
	if err != nil {
		return err
	}
	n, err := answer.RowsAffected()
	l.sequence += n
	return err
}

// yield takes what has failed out of the order of a lane that begins to skip it.
func (t *tx) yield(id posthorn.SubscriptionID) error {
	_, err := t.exec(`UPDATE deliveries SET sequence = -sequence
		WHERE state = 0 AND sequence > 0 AND subscription_id = ? AND spent > 0 AND claim IS NULL`, id)
	return err
}

// disable ends the sending to a subscription with a reason; false when it is disabled already. The caller writes the lane.
func (t *tx) disable(l *lane, reason string) (bool, error) {
	answer, err := t.exec(`UPDATE subscriptions SET status = ?, disabled_reason = ?, updated_at = ?
		WHERE id = ? AND deleted_at = 0 AND status <> ?`,
		string(posthorn.StatusDisabled), reason, stamp(t.now), l.SubscriptionID, string(posthorn.StatusDisabled))
	if err != nil {
		return false, err
	}
	if n, err := answer.RowsAffected(); n == 0 || err != nil {
		return false, err
	}
	if l.version, err = t.moveVersion(l.TenantID); err != nil {
		return false, err
	}
	_, err = t.exec(`UPDATE subscriptions SET version = ? WHERE id = ?`, l.version, l.SubscriptionID)
	l.hold(t.now)
	l.dirty = true
	return true, err
}

// DeleteSubscription leaves a tombstone, without what was confidential.
func (s *Store) DeleteSubscription(ctx context.Context, tenant posthorn.TenantID, id posthorn.SubscriptionID) error {
	err := s.write(ctx, func(t *tx) error {
		if _, err := s.readSubscription(t, tenant, id); err != nil {
			return err
		}
		l, err := t.lane(id)
		if err != nil {
			return err
		}
		if l.version, err = t.moveVersion(tenant); err != nil {
			return err
		}
		_, err = t.exec(`UPDATE subscriptions SET version = ?, updated_at = ?, deleted_at = ?, confidential = x'' WHERE id = ?`,
			l.version, stamp(t.now), stamp(t.now), id)
		if err != nil {
			return err
		}
		l.phase = laneGone
		return t.updateLane(l)
	})
	if err != nil {
		return fmt.Errorf("delete subscription: %w", err)
	}
	return nil
}
