package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// eventColumns and eventFields belong together; e is the event.
const eventColumns = `e.id, e.tenant_id, e.type, e.content_type, e.headers::text, e.ordering_key, e.idempotency_key,
	e.deliver_at, e.expires_at, e.created_at, e.deliveries, e.payload_erased, e.trace_parent`

func eventFields(e *posthorn.Event, headers **string) []any {
	return []any{
		(*uuid)(&e.ID.UUID), (*uuid)(&e.TenantID.UUID), &e.Type, &e.ContentType, headers, &e.OrderingKey, &e.IdempotencyKey,
		(*moment)(&e.DeliverAt), (*moment)(&e.ExpiresAt), (*moment)(&e.CreatedAt), &e.Deliveries, (*moment)(&e.PayloadErased),
		&e.TraceParent,
	}
}

// scanEvent reads eventColumns and the payload.
func scanEvent(row pgx.CollectableRow) (posthorn.Event, error) {
	var e posthorn.Event
	var headers *string
	err := row.Scan(append(eventFields(&e, &headers), &e.Payload)...)
	if err == nil {
		err = fromDocument(headers, &e.Headers)
	}
	return e, err
}

// scanSummary reads eventColumns and the payload's length.
func scanSummary(row pgx.CollectableRow) (posthorn.EventSummary, error) {
	var e posthorn.EventSummary
	var headers *string
	err := row.Scan(append(eventFields(&e.Event, &headers), &e.PayloadBytes)...)
	if err == nil {
		err = fromDocument(headers, &e.Headers)
	}
	return e, err
}

// GetEvent implements posthorn.EventStore.
func (s *Store) GetEvent(ctx context.Context, tenant posthorn.TenantID, id posthorn.EventID) (*posthorn.Event, error) {
	return one(ctx, s, "event", scanEvent,
		`SELECT `+eventColumns+`, e.payload FROM events e WHERE e.tenant_id = $1 AND e.id = $2`, uuid(tenant.UUID), uuid(id.UUID))
}

func (s *Store) eventExists(ctx context.Context, tenant posthorn.TenantID, id posthorn.EventID) (*posthorn.EventSummary, error) {
	return one(ctx, s, "event", scanSummary,
		`SELECT `+eventColumns+`, 0 FROM events e WHERE e.tenant_id = $1 AND e.id = $2`, uuid(tenant.UUID), uuid(id.UUID))
}

// ListEvents implements posthorn.EventStore.
func (s *Store) ListEvents(ctx context.Context, tenant posthorn.TenantID, f posthorn.EventFilter, p posthorn.Page,
) ([]posthorn.EventSummary, posthorn.UUID, error) {
	keep := func(rows []posthorn.EventSummary) ([]posthorn.EventSummary, error) {
		rows = slices.DeleteFunc(rows, func(e posthorn.EventSummary) bool { return !matchesEvent(&f, &e) })
		if err := s.deriveStatuses(ctx, rows, f.SubscriptionID); err != nil {
			return nil, err
		}
		return slices.DeleteFunc(rows, func(e posthorn.EventSummary) bool {
			return e.Status == "" || f.Status != "" && e.Status != f.Status
		}), nil
	}
	return page(p, func(e *posthorn.EventSummary) posthorn.UUID { return e.ID.UUID }, keep,
		func(before posthorn.UUID, n int) ([]posthorn.EventSummary, error) {
			return s.listEvents(ctx, tenant, &f, before, n)
		})
}

// listEvents reads along the index that narrows most.
func (s *Store) listEvents(ctx context.Context, tenant posthorn.TenantID, f *posthorn.EventFilter, before posthorn.UUID, n int,
) ([]posthorn.EventSummary, error) {
	const list = `SELECT ` + eventColumns + `, octet_length(e.payload) FROM events e WHERE e.tenant_id = $1 AND e.id < $2 AND e.id >= $3`
	const order = ` ORDER BY e.id DESC LIMIT $4`
	lowest := [16]byte{}
	if !f.Since.IsZero() {
		lowest = posthorn.MinUUID(f.Since.Add(-s.slack))
	}
	if !f.Until.IsZero() {
		if end := posthorn.MinUUID(f.Until.Add(s.slack)); compareIDs(end, before) < 0 {
			before = end
		}
	}
	args := []any{uuid(tenant.UUID), uuid(before), lowest, n}
	const what = "list events"
	if f.Text == "" {
		return many(ctx, s, what, scanSummary, list+order, args...)
	}
	if from, to, ok := posthorn.EventIDRange(f.Text); ok {
		return many(ctx, s, what, scanSummary, list+` AND e.id BETWEEN $5 AND $6`+order, append(args, [16]byte(from), [16]byte(to))...)
	}
	// An idempotency key or its beginning: keys sort by their bytes, and 0x7f is above all they may hold.
	return many(ctx, s, what, scanSummary, list+` AND e.id IN (SELECT k.event_id FROM idempotency_keys k
		WHERE k.tenant_id = $1 AND k.key >= $5 AND k.key < $5 || chr(127) ORDER BY k.key LIMIT 5000)`+order, append(args, plain(f.Text))...)
}

func matchesEvent(f *posthorn.EventFilter, e *posthorn.EventSummary) bool {
	return (len(f.Types) == 0 || posthorn.MatchesType(f.Types, e.Type)) &&
		(f.Since.IsZero() || !e.CreatedAt.Before(f.Since)) &&
		(f.Until.IsZero() || e.CreatedAt.Before(f.Until))
}

// deriveStatuses fills in the status of events from each subscription's latest delivery. With a subscription given, events
// without a delivery to it get none.
func (s *Store) deriveStatuses(ctx context.Context, events []posthorn.EventSummary, only posthorn.SubscriptionID) error {
	if len(events) == 0 {
		return nil
	}
	ids := make(uuids, len(events))
	for i := range events {
		ids[i] = events[i].ID.UUID
	}
	states := map[posthorn.UUID][]posthorn.State{}
	wanted := map[posthorn.UUID]bool{}
	err := s.do(ctx, "derive event statuses", func(ctx context.Context) error {
		clear(states)
		var b pgx.Batch
		b.Queue(steer)
		b.Queue(`SELECT k.id, d.subscription_id, d.state FROM unnest($1::uuid[]) AS k(id) CROSS JOIN LATERAL (
				SELECT DISTINCT ON (d.subscription_id) d.subscription_id, d.state FROM deliveries d WHERE d.event_id = k.id
				ORDER BY d.subscription_id, d.id DESC) d`, ids).Query(func(rows pgx.Rows) error {
			var event posthorn.UUID
			var subscription posthorn.SubscriptionID
			var state posthorn.State
			_, err := pgx.ForEachRow(rows, []any{(*uuid)(&event), (*uuid)(&subscription.UUID), &state}, func() error {
				states[event] = append(states[event], state)
				wanted[event] = wanted[event] || subscription == only
				return nil
			})
			return err
		})
		return s.pool.SendBatch(ctx, &b).Close()
	})
	if err != nil {
		return err
	}
	for i := range events {
		id := events[i].ID.UUID
		if only.IsZero() || wanted[id] {
			events[i].Status = posthorn.DeriveStatus(states[id])
		}
	}
	return nil
}
