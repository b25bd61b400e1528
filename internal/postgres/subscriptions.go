package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// subscriptionColumns and scanSubscription belong together.
const subscriptionColumns = `id, tenant_id, status, disabled_reason, version, created_at, updated_at, deleted_at, policy::text,
	confidential`

func (s *Store) scanSubscription(row pgx.CollectableRow) (posthorn.Subscription, error) {
	var sub posthorn.Subscription
	var policy *string
	var sealed []byte
	err := row.Scan((*uuid)(&sub.ID.UUID), (*uuid)(&sub.TenantID.UUID), &sub.Status, &sub.DisabledReason, &sub.Version,
		(*moment)(&sub.CreatedAt), (*moment)(&sub.UpdatedAt), (*moment)(&sub.DeletedAt), &policy, &sealed)
	if err != nil {
		return sub, err
	}
	if err := fromDocument(policy, &sub.Policy); err != nil {
		return sub, fmt.Errorf("policy of %s: %w", sub.ID, err)
	}
	if !sub.DeletedAt.IsZero() {
		// A tombstone has nothing to open.
		return sub, nil
	}
	opened, err := s.seal.Open(sealed, sub.Binding())
	if err != nil {
		// Most readers do not need it; those who do look at Unreadable.
		sub.Unreadable = fmt.Sprintf("unseal subscription %s: %v", sub.ID, err)
		return sub, nil
	}
	if err := json.Unmarshal(opened, &sub.Confidential); err != nil {
		return sub, fmt.Errorf("confidential part of %s: %w", sub.ID, err)
	}
	return sub, nil
}

// encode gives the two documents of a subscription.
func (s *Store) encode(sub *posthorn.Subscription) (policy string, sealed []byte, err error) {
	text, err := json.Marshal(sub.Policy)
	if err != nil {
		return "", nil, fmt.Errorf("policy: %w", err)
	}
	secret, err := json.Marshal(sub.Confidential)
	if err != nil {
		// The error could quote a value.
		return "", nil, errors.New("confidential part cannot be encoded")
	}
	return string(text), s.seal.Seal(secret, sub.Binding()), nil
}

// nextVersion moves the tenant's subscriptions version; the row stays locked, so versions come in the order of commits.
const nextVersion = `INSERT INTO subscription_versions AS v (tenant_id, version) VALUES ($1, 1)
	ON CONFLICT (tenant_id) DO UPDATE SET version = v.version + 1 RETURNING version, now()`

// CreateSubscription implements posthorn.SubscriptionStore.
func (s *Store) CreateSubscription(ctx context.Context, sub *posthorn.Subscription) error {
	policy, sealed, err := s.encode(sub)
	if err != nil {
		return err
	}
	err = s.write(ctx, "create subscription", func(ctx context.Context, tx pgx.Tx) error {
		err := tx.QueryRow(ctx, nextVersion, uuid(sub.TenantID.UUID)).Scan(&sub.Version, (*moment)(&sub.CreatedAt))
		if err != nil {
			return err
		}
		sub.UpdatedAt = sub.CreatedAt
		_, err = tx.Exec(ctx, `
			INSERT INTO subscriptions (id, tenant_id, version, status, disabled_reason, policy, confidential, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, now(), now())`,
			uuid(sub.ID.UUID), uuid(sub.TenantID.UUID), sub.Version, sub.Status, sub.DisabledReason, policy, sealed)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			INSERT INTO lanes (subscription_id, tenant_id, version, status, fifo, budget, retry_window, held_since)
			VALUES ($1, $2, $3, $4, $5, $6, $7, CASE WHEN $4 <> 'active' THEN now() END)`,
			uuid(sub.ID.UUID), uuid(sub.TenantID.UUID), sub.Version, sub.Status, sub.Ordering == posthorn.OrderingFIFO, sub.Retry.Budget(),
			sub.Retry.OwnWindow())
		return err
	})
	if codeOf(err) == codeUnique {
		return posthorn.NewError(posthorn.Conflict, "a subscription with this id exists")
	}
	return err
}

// GetSubscription implements posthorn.SubscriptionStore.
func (s *Store) GetSubscription(ctx context.Context, tenant posthorn.TenantID, id posthorn.SubscriptionID) (*posthorn.Subscription, error) {
	return one(ctx, s, "subscription", s.scanSubscription, `SELECT `+subscriptionColumns+`
		FROM subscriptions WHERE id = $1 AND tenant_id = $2 AND deleted_at IS NULL`, uuid(id.UUID), uuid(tenant.UUID))
}

// FindSubscriptions implements posthorn.SubscriptionStore.
func (s *Store) FindSubscriptions(ctx context.Context, tenant posthorn.TenantID, ids []posthorn.SubscriptionID,
) ([]posthorn.Subscription, error) {
	return many(ctx, s, "find subscriptions", s.scanSubscription, `SELECT `+subscriptionColumns+`
		FROM subscriptions WHERE id = ANY($1) AND tenant_id = $2`, subscriptionIDs(ids), uuid(tenant.UUID))
}

// ListSubscriptions implements posthorn.SubscriptionStore.
func (s *Store) ListSubscriptions(ctx context.Context, tenant posthorn.TenantID, f posthorn.SubscriptionFilter, p posthorn.Page,
) ([]posthorn.Subscription, posthorn.UUID, error) {
	keep := func(subs []posthorn.Subscription) ([]posthorn.Subscription, error) {
		return slices.DeleteFunc(subs, func(sub posthorn.Subscription) bool { return !f.Wants(&sub) }), nil
	}
	return page(p, func(sub *posthorn.Subscription) posthorn.UUID { return sub.ID.UUID }, keep,
		func(before posthorn.UUID, n int) ([]posthorn.Subscription, error) {
			return many(ctx, s, "list subscriptions", s.scanSubscription, `SELECT `+subscriptionColumns+`
				FROM subscriptions WHERE tenant_id = $1 AND id < $2 AND deleted_at IS NULL AND ($3 = '' OR status = $3)
				ORDER BY id DESC LIMIT $4`, uuid(tenant.UUID), uuid(before), string(f.Status), n)
		})
}

// UpdateSubscription implements posthorn.SubscriptionStore.
func (s *Store) UpdateSubscription(ctx context.Context, tenant posthorn.TenantID, id posthorn.SubscriptionID,
	change func(*posthorn.Subscription) error,
) (*posthorn.Subscription, error) {
	var changed posthorn.Subscription
	err := s.write(ctx, "update subscription", func(ctx context.Context, tx pgx.Tx) error {
		before, err := s.lockSubscription(ctx, tx, tenant, id)
		if err != nil {
			return err
		}
		changed = *before
		if err := change(&changed); err != nil {
			return changeError{err}
		}
		// What a change cannot change.
		changed.ID, changed.TenantID, changed.CreatedAt, changed.DeletedAt = before.ID, before.TenantID, before.CreatedAt, before.DeletedAt
		return s.storeSubscription(ctx, tx, &changed, before)
	})
	changed.SkipHeld = false
	if refusal, ok := errors.AsType[changeError](err); ok {
		return nil, refusal.error
	}
	if err != nil {
		return nil, err
	}
	return &changed, nil
}

// changeError carries an error of the caller's own through the transaction unchanged.
type changeError struct{ error }

func (s *Store) lockSubscription(ctx context.Context, tx pgx.Tx, tenant posthorn.TenantID, id posthorn.SubscriptionID,
) (*posthorn.Subscription, error) {
	rows, err := tx.Query(ctx, `SELECT `+subscriptionColumns+` FROM subscriptions
		WHERE id = $1 AND tenant_id = $2 AND deleted_at IS NULL FOR UPDATE`, uuid(id.UUID), uuid(tenant.UUID))
	if err != nil {
		return nil, err
	}
	sub, err := pgx.CollectExactlyOneRow(rows, s.scanSubscription)
	return &sub, noRow("subscription", err)
}

// storeSubscription writes a locked subscription and its lane. Rows are locked in this order everywhere: subscription,
// version, lane.
func (s *Store) storeSubscription(ctx context.Context, tx pgx.Tx, sub, before *posthorn.Subscription) error {
	policy, sealed, err := s.encode(sub)
	if err != nil {
		return err
	}
	if before.Unreadable != "" {
		if !sub.Confidential.Same(before.Confidential) {
			return posthorn.Locked("subscription", before.Unreadable)
		}
		sealed = nil
	}
	fifo := sub.Ordering == posthorn.OrderingFIFO
	becomesFIFO := fifo && before.Ordering != posthorn.OrderingFIFO
	if becomesFIFO {
		if err := numberable(ctx, tx, sub.ID); err != nil {
			return err
		}
	}
	if err := tx.QueryRow(ctx, nextVersion, uuid(sub.TenantID.UUID)).Scan(&sub.Version, (*moment)(&sub.UpdatedAt)); err != nil {
		return err
	}
	var b pgx.Batch
	b.Queue(`UPDATE subscriptions SET version = $2, status = $3, disabled_reason = $4, policy = $5,
			confidential = coalesce($6, confidential), updated_at = now()
		WHERE id = $1`, uuid(sub.ID.UUID), sub.Version, sub.Status, sub.DisabledReason, policy, sealed)
	b.Queue(`UPDATE lanes SET version = $2, status = $3, fifo = $4, budget = $5, retry_window = $7,
			fifo_since = CASE WHEN $4 THEN CASE WHEN fifo THEN fifo_since ELSE now() END END,
			held_since = CASE WHEN $3 <> 'active' THEN coalesce(held_since, now()) END,
			held_for = held_for + CASE WHEN $3 = 'active' THEN coalesce(now() - held_since, '0') ELSE '0' END,
			breaker_opens = CASE WHEN $3 = 'active' AND status <> 'active' THEN 0 ELSE breaker_opens END,
			breaker_until = CASE WHEN $3 = 'active' AND status <> 'active' THEN NULL ELSE breaker_until END,
			failing_since = CASE WHEN $3 = 'active' AND status <> 'active' THEN NULL ELSE failing_since END,
			skipped_at = CASE WHEN $6 AND $3 = 'active' AND status <> 'active' THEN now() ELSE skipped_at END
		WHERE subscription_id = $1`, uuid(sub.ID.UUID), sub.Version, sub.Status, fifo, sub.Retry.Budget(), sub.SkipHeld, sub.Retry.OwnWindow())
	if becomesFIFO {
		// What is waiting joins the new order by age.
		s.queueLane(&b, sub.ID)
		b.Queue(`
			WITH n AS (
				SELECT id, row_number() OVER (ORDER BY id) AS nth FROM deliveries
				WHERE subscription_id = $1 AND queued AND sequence = 0
			), l AS (
				UPDATE lanes SET next_sequence = next_sequence + (SELECT count(*) FROM n) WHERE subscription_id = $1 RETURNING next_sequence
			)
			UPDATE deliveries d SET sequence = l.next_sequence - 1 - (SELECT count(*) FROM n) + n.nth
			FROM n, l WHERE d.id = n.id`, uuid(sub.ID.UUID))
	}
	if sub.Yields() && !before.Yields() {
		b.Queue(`UPDATE deliveries SET sequence = -sequence
			WHERE subscription_id = $1 AND queued AND sequence > 0 AND spent > 0 AND claim IS NULL`, uuid(sub.ID.UUID))
	}
	return tx.SendBatch(ctx, &b).Close()
}

// numberable is nil, or the Conflict of a lane with too many pending deliveries to put in order.
func numberable(ctx context.Context, tx pgx.Tx, id posthorn.SubscriptionID) error {
	var pending int
	var b pgx.Batch
	b.Queue(steer)
	b.Queue(`SELECT count(*) FROM (SELECT FROM deliveries WHERE subscription_id = $1 AND queued LIMIT $2) n`,
		uuid(id.UUID), posthorn.MaxNumbered+1).QueryRow(func(row pgx.Row) error { return row.Scan(&pending) })
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return err
	}
	if pending > posthorn.MaxNumbered {
		return posthorn.TooManyToOrder()
	}
	return nil
}

// DeleteSubscription implements posthorn.SubscriptionStore.
func (s *Store) DeleteSubscription(ctx context.Context, tenant posthorn.TenantID, id posthorn.SubscriptionID) error {
	return s.write(ctx, "delete subscription", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := s.lockSubscription(ctx, tx, tenant, id); err != nil {
			return err
		}
		var version int64
		if err := tx.QueryRow(ctx, nextVersion, uuid(tenant.UUID)).Scan(&version, nil); err != nil {
			return err
		}
		var b pgx.Batch
		// A tombstone keeps nothing confidential.
		b.Queue(`UPDATE subscriptions SET deleted_at = now(), updated_at = now(), version = $2, confidential = ''
			WHERE id = $1`, uuid(id.UUID), version)
		b.Queue(`UPDATE lanes SET deleted = true, version = $2 WHERE subscription_id = $1`, uuid(id.UUID), version)
		s.queueLane(&b, id)
		return tx.SendBatch(ctx, &b).Close()
	})
}

// SubscriptionsSince implements posthorn.SubscriptionStore. Both statements see one snapshot.
func (s *Store) SubscriptionsSince(ctx context.Context, tenant posthorn.TenantID, version int64) (int64, []posthorn.Subscription, error) {
	var present int64
	var changed []posthorn.Subscription
	err := s.do(ctx, "read changed subscriptions", func(ctx context.Context) error {
		moment := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
		return pgx.BeginTxFunc(ctx, s.pool, moment, func(tx pgx.Tx) error {
			var b pgx.Batch
			b.Queue(`SELECT coalesce((SELECT version FROM subscription_versions WHERE tenant_id = $1), 0) FROM tenants WHERE id = $1`,
				uuid(tenant.UUID)).QueryRow(func(row pgx.Row) error { return row.Scan(&present) })
			b.Queue(`SELECT `+subscriptionColumns+` FROM subscriptions
				WHERE tenant_id = $1 AND version > $2 AND ($2 > 0 OR deleted_at IS NULL)`, uuid(tenant.UUID), version).
				Query(func(rows pgx.Rows) (err error) {
					changed, err = pgx.CollectRows(rows, s.scanSubscription)
					return err
				})
			return noRow("tenant", tx.SendBatch(ctx, &b).Close())
		})
	})
	return present, changed, err
}
