package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
)

// intake is one batch on its way into the store.
type intake struct {
	*tx
	node     posthorn.NodeID
	versions map[posthorn.TenantID]int64
	keys     map[keyName]*keyRow
	lanes    map[posthorn.SubscriptionID]*lane
	// The rows to insert.
	events, deliveries, newKeys []any
}

// AcceptEvents stores the batch in one transaction.
func (s *Store) AcceptEvents(ctx context.Context, node posthorn.NodeID, batch []posthorn.Acceptance) ([]posthorn.Accepted, error) {
	if len(batch) == 0 {
		return nil, nil
	}
	answers := make([]posthorn.Accepted, len(batch))
	err := s.writeTogether(ctx, len(batch), func(t *tx) error {
		in := &intake{tx: t, node: node}
		if err := in.load(batch); err != nil {
			return err
		}
		for i := range batch {
			answers[i] = in.accept(&batch[i])
		}
		return in.store()
	})
	if err != nil {
		return nil, fmt.Errorf("accept events: %w", err)
	}
	for i := range answers {
		if answers[i].Err == nil && !answers[i].Duplicate {
			batch[i].Event.CreatedAt, batch[i].Event.Deliveries = answers[i].CreatedAt, answers[i].Deliveries
		}
	}
	return answers, nil
}

// load reads what decides about the batch: versions, used keys and lanes.
func (in *intake) load(batch []posthorn.Acceptance) error {
	in.versions = map[posthorn.TenantID]int64{}
	var subscriptions []posthorn.SubscriptionID
	var keys []any
	seen := map[posthorn.SubscriptionID]bool{}
	for i := range batch {
		e := batch[i].Event
		in.versions[e.TenantID] = 0
		if e.IdempotencyKey != "" {
			keys = append(keys, e.TenantID.UUID[:], e.IdempotencyKey)
		}
		for _, m := range batch[i].Matches {
			if !seen[m.SubscriptionID] {
				seen[m.SubscriptionID] = true
				subscriptions = append(subscriptions, m.SubscriptionID)
			}
		}
	}
	for tenant := range in.versions {
		version, err := in.version(tenant)
		if err != nil {
			return err
		}
		in.versions[tenant] = version
	}
	var err error
	if in.keys, err = in.usedKeys(keys); err != nil {
		return err
	}
	in.lanes, err = in.tx.lanes(subscriptions)
	return err
}

// accept decides about one event; what is to be stored joins the rows.
func (in *intake) accept(a *posthorn.Acceptance) posthorn.Accepted {
	e := a.Event
	var key *keyRow
	if e.IdempotencyKey != "" {
		key = &keyRow{content: e.ContentHash(), event: e.ID, createdAt: in.now}
		if used := in.keys[keyName{e.TenantID, e.IdempotencyKey}]; used != nil {
			return used.answer(key)
		}
	}
	if a.Version != posthorn.AnyVersion && a.Version != in.versions[e.TenantID] {
		return posthorn.Accepted{Err: posthorn.NewError(posthorn.Stale, "the subscriptions have changed; match again")}
	}
	answer := posthorn.Accepted{EventID: e.ID, CreatedAt: in.now}
	in.counts.of(e.TenantID, posthorn.SubscriptionID{})[countAccepted]++
	for _, m := range a.Matches {
		l := in.lanes[m.SubscriptionID]
		if l == nil || l.phase == laneGone || l.TenantID != e.TenantID {
			continue
		}
		answer.Deliveries++
		in.counts.of(e.TenantID, m.SubscriptionID)[countAccepted]++
		if d, claimed := in.deliver(e, m, l, posthorn.ReplayID{}); claimed {
			answer.Claimed = append(answer.Claimed, posthorn.Claimed{
				Claim: posthorn.Claim{DeliveryID: d.ID, Attempt: d.Claim, Number: d.Attempts}, Delivery: d, Event: e, Version: l.version,
				Failing: !l.FailingSince.IsZero(),
			})
		}
	}
	in.events = eventInsertion(in.events, e, in.now, answer.Deliveries)
	if key != nil {
		key.deliveries = answer.Deliveries
		in.keys[keyName{e.TenantID, e.IdempotencyKey}] = key
		in.newKeys = append(in.newKeys, e.TenantID.UUID[:], e.IdempotencyKey, key.content[:], e.ID.UUID[:],
			stamp(in.now), int64(answer.Deliveries))
	}
	return answer
}

// deliver adds one delivery to the rows and says whether it was born claimed.
func (in *intake) deliver(e *posthorn.Event, m posthorn.Match, l *lane, replay posthorn.ReplayID) (posthorn.Delivery, bool) {
	d := posthorn.Delivery{
		ID: m.DeliveryID, TenantID: e.TenantID, EventID: e.ID, SubscriptionID: m.SubscriptionID, EventType: e.Type,
		State: posthorn.Pending, DueAt: in.now, OrderingKey: e.OrderingKey, HeldBase: l.HeldTotal(in.now), Replay: replay,
		CreatedAt: in.now, UpdatedAt: in.now,
	}
	if e.DeliverAt.After(in.now) && replay.IsZero() {
		d.DueAt = e.DeliverAt
		// Waiting for its time is like a hold: the retry window does not run.
		d.HeldBase -= e.DeliverAt.Sub(in.now)
	}
	if l.fifo {
		l.sequence++
		l.dirty = true
		d.Sequence = l.sequence
	}
	visible := d.DueAt
	switch {
	case m.Reason != posthorn.ReasonNone:
		d.State, d.Reason, d.CompletedAt = posthorn.Cancelled, m.Reason, in.now
	case !m.Attempt.IsZero() && !l.fifo && l.sends(in.now) && e.DeliverAt.IsZero():
		visible = in.now.Add(posthorn.Lease)
		d.Attempts, d.Claim, d.ClaimedBy, d.ClaimedUntil = 1, m.Attempt, in.node, visible
	}
	in.deliveries = insertion(in.deliveries, &d, visible, e.ExpiresAt)
	return d, !d.Claim.IsZero()
}

// store writes the rows.
func (in *intake) store() error {
	if err := in.bulk(insertEvent, insertEventWidth, in.events); err != nil {
		return err
	}
	if err := in.bulk(insertDelivery, insertDeliveryWidth, in.deliveries); err != nil {
		return err
	}
	err := in.bulk(`INSERT INTO idempotency_keys (tenant_id, key, content, event_id, created_at, deliveries) VALUES ROWS`,
		6, in.newKeys)
	if err != nil {
		return err
	}
	for _, l := range in.lanes {
		if l.dirty {
			if err := in.updateLane(l); err != nil {
				return err
			}
		}
	}
	return nil
}

// Replay makes new deliveries of a stored event.
func (s *Store) Replay(ctx context.Context, tenant posthorn.TenantID, event posthorn.EventID, replay posthorn.ReplayID,
	matches []posthorn.Match,
) ([]posthorn.Delivery, error) {
	var made []posthorn.Delivery
	err := s.write(ctx, func(t *tx) error {
		e, err := getEvent(t, tenant, event)
		if err != nil {
			return err
		}
		if !e.PayloadErased.IsZero() {
			return posthorn.PayloadErased()
		}
		if !e.ExpiresAt.IsZero() && !e.ExpiresAt.After(t.now) {
			return posthorn.Expired(e.ExpiresAt)
		}
		in := &intake{tx: t}
		if err := in.load([]posthorn.Acceptance{{Event: e, Matches: matches}}); err != nil {
			return err
		}
		for _, m := range matches {
			l := in.lanes[m.SubscriptionID]
			if l == nil || l.phase == laneGone || l.TenantID != tenant {
				continue
			}
			m.Attempt = posthorn.AttemptID{}
			d, _ := in.deliver(e, m, l, replay)
			made = append(made, d)
		}
		return in.store()
	})
	if err != nil {
		return nil, fmt.Errorf("replay event: %w", err)
	}
	return made, nil
}

// version is the tenant's subscriptions version.
func (t *tx) version(tenant posthorn.TenantID) (version int64, err error) {
	err = t.queryRow(`SELECT version FROM tenants WHERE id = ?`, tenant).Scan(&version)
	return version, absent("tenant", err)
}

// moveVersion moves it and gives the new one.
func (t *tx) moveVersion(tenant posthorn.TenantID) (version int64, err error) {
	err = t.queryRow(`UPDATE tenants SET version = version + 1 WHERE id = ? RETURNING version`, tenant).Scan(&version)
	return version, absent("tenant", err)
}

// leaseEnd is when a claim made now runs out.
func (t *tx) leaseEnd() time.Time { return t.now.Add(posthorn.Lease) }
