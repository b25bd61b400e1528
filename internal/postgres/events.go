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

// EventStatus implements posthorn.EventStore.
func (s *Store) EventStatus(ctx context.Context, tenant posthorn.TenantID, id posthorn.EventID) (posthorn.EventStatus, error) {
	e, err := s.eventExists(ctx, tenant, id)
	if err != nil {
		return "", err
	}
	events := []posthorn.EventSummary{*e}
	err = s.deriveStatuses(ctx, events, posthorn.SubscriptionID{})
	return events[0].Status, err
}

// ListEvents implements posthorn.EventStore.
func (s *Store) ListEvents(ctx context.Context, tenant posthorn.TenantID, f posthorn.EventFilter, p posthorn.Page,
) ([]posthorn.EventSummary, posthorn.UUID, error) {
	keep := func(rows []posthorn.EventSummary) ([]posthorn.EventSummary, error) {
		rows = slices.DeleteFunc(rows, func(e posthorn.EventSummary) bool { return !f.Wants(&e.Event) })
		if err := s.deriveStatuses(ctx, rows, f.SubscriptionID); err != nil {
			return nil, err
		}
		return slices.DeleteFunc(rows, func(e posthorn.EventSummary) bool {
			return e.Status == "" || f.Status != "" && e.Status != f.Status
		}), nil
	}
	find := s.listEvents
	if f.Text != "" {
		keyed, all, err := s.keyedEvents(ctx, tenant, f.Text)
		if err != nil {
			return nil, posthorn.UUID{}, err
		}
		if all {
			find = keyed.find
		}
	}
	return page(p, func(e *posthorn.EventSummary) posthorn.UUID { return e.ID.UUID }, keep,
		func(before posthorn.UUID, n int) ([]posthorn.EventSummary, error) {
			lowest := posthorn.UUID{}
			if !f.Since.IsZero() {
				lowest = posthorn.MinUUID(f.Since.Add(-s.slack))
			}
			if !f.Until.IsZero() {
				if end := posthorn.MinUUID(f.Until.Add(s.slack)); compareIDs(end, before) < 0 {
					before = end
				}
			}
			return find(ctx, tenant, lowest, before, n)
		})
}

const summaries = `SELECT ` + eventColumns + `, octet_length(e.payload) FROM `

// listEvents reads the newest of the ids from lowest to below before.
func (s *Store) listEvents(ctx context.Context, tenant posthorn.TenantID, lowest, before posthorn.UUID, n int) ([]posthorn.EventSummary, error) {
	return many(ctx, s, "list events", scanSummary, summaries+`events e WHERE e.tenant_id = $1 AND e.id < $2 AND e.id >= $3
		ORDER BY e.id DESC LIMIT $4`, uuid(tenant.UUID), uuid(before), [16]byte(lowest), n)
}

// keysSearched is how many idempotency keys may begin with a text that is searched for through their index, which has no order
// of time. Where more do, all events are examined instead.
const keysSearched = 5000

// textSearch is what a text may be the beginning of: the events of a few keys, newest first, and those of a range of ids.
type textSearch struct {
	*Store
	keyed       []posthorn.UUID
	first, last posthorn.UUID
	inRange     bool
}

// keyedEvents looks a text up among the keys; all is false where there are too many.
func (s *Store) keyedEvents(ctx context.Context, tenant posthorn.TenantID, text string) (f textSearch, all bool, err error) {
	f.Store = s
	f.first, f.last, f.inRange = posthorn.EventIDRange(text)
	// Keys sort by their bytes, and 0x7f is above all they may hold.
	err = s.do(ctx, "search idempotency keys", func(ctx context.Context) error {
		var b pgx.Batch
		b.Queue(steer)
		// A bitmap is made of all keys before the first is read.
		b.Queue(`SELECT set_config('enable_bitmapscan', 'off', true)`)
		b.Queue(`SELECT k.event_id FROM idempotency_keys k WHERE k.tenant_id = $1 AND k.key >= $2 AND k.key < $2 || chr(127)
			ORDER BY k.key LIMIT $3`, uuid(tenant.UUID), plain(text), keysSearched+1).Query(func(rows pgx.Rows) (err error) {
			f.keyed, err = pgx.CollectRows(rows, scanUUID)
			return err
		})
		return s.pool.SendBatch(ctx, &b).Close()
	})
	all = len(f.keyed) <= keysSearched
	slices.SortFunc(f.keyed, func(a, b posthorn.UUID) int { return compareIDs(b, a) })
	return f, all, err
}

func scanUUID(row pgx.CollectableRow) (id posthorn.UUID, err error) {
	return id, row.Scan((*uuid)(&id))
}

// find is listEvents for what the text may be the beginning of.
func (f textSearch) find(ctx context.Context, tenant posthorn.TenantID, lowest, before posthorn.UUID, n int) ([]posthorn.EventSummary, error) {
	var rows []posthorn.EventSummary
	if f.inRange {
		var err error
		rows, err = many(ctx, f.Store, "list events", scanSummary, summaries+`events e WHERE e.tenant_id = $1 AND e.id < $2 AND e.id >= $3
			AND e.id BETWEEN $5 AND $6 ORDER BY e.id DESC LIMIT $4`, uuid(tenant.UUID), uuid(before), [16]byte(lowest), n,
			[16]byte(f.first), [16]byte(f.last))
		if err != nil {
			return nil, err
		}
	}
	var ids uuids
	for _, id := range f.keyed {
		listed := f.inRange && compareIDs(f.first, id) <= 0 && compareIDs(id, f.last) <= 0
		if compareIDs(id, before) < 0 && compareIDs(lowest, id) <= 0 && !listed {
			ids = append(ids, id)
		}
	}
	// A key may outlive its event, so that n of them may be fewer events.
	for left := n; left > 0 && len(ids) > 0; {
		some := ids[:min(left, len(ids))]
		ids = ids[len(some):]
		more, err := many(ctx, f.Store, "list events", scanSummary, summaries+`unnest($2::uuid[]) AS k(id) CROSS JOIN LATERAL (
			SELECT * FROM events e WHERE e.tenant_id = $1 AND e.id = k.id OFFSET 0) e`, uuid(tenant.UUID), some)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
		left -= len(more)
	}
	slices.SortFunc(rows, func(a, b posthorn.EventSummary) int { return compareIDs(b.ID.UUID, a.ID.UUID) })
	return rows[:min(n, len(rows))], nil
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
