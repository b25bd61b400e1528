package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
)

const eventColumns = `tenant_id, id, type, created_at, deliveries, content_type, idempotency_key, ordering_key, headers,
	deliver_at, expires_at, payload_erased, trace_parent, payload`

func scanEvent(rows interface{ Scan(...any) error }) (*posthorn.Event, error) {
	var e posthorn.Event
	var headers string
	err := rows.Scan(&e.TenantID, &e.ID, &e.Type, instant{&e.CreatedAt}, &e.Deliveries, &e.ContentType, &e.IdempotencyKey,
		&e.OrderingKey, &headers, instant{&e.DeliverAt}, instant{&e.ExpiresAt}, instant{&e.PayloadErased}, &e.TraceParent,
		&e.Payload)
	if err == nil {
		err = decode(headers, &e.Headers)
	}
	return &e, err
}

const insertEvent = `INSERT INTO events (tenant_id, id, type, created_at, deliveries, content_type, idempotency_key,
	ordering_key, headers, deliver_at, expires_at, trace_parent, payload) VALUES ROWS`

const insertEventWidth = 13

// eventInsertion appends a new event's values.
func eventInsertion(args []any, e *posthorn.Event, now time.Time, deliveries int) []any {
	return append(args, e.TenantID.UUID[:], e.ID.UUID[:], e.Type, stamp(now), int64(deliveries), e.ContentType,
		e.IdempotencyKey, e.OrderingKey, document(e.Headers, len(e.Headers) == 0), stamp(e.DeliverAt), stamp(e.ExpiresAt),
		e.TraceParent, e.Payload)
}

// getEvent reads one of a tenant's.
func getEvent(q querier, tenant posthorn.TenantID, id posthorn.EventID) (*posthorn.Event, error) {
	e, err := scanEvent(q.queryRow(`SELECT `+eventColumns+` FROM events WHERE tenant_id = ? AND id = ?`, tenant, id))
	return e, absent("event", err)
}

// GetEvent reads one, payload and all.
func (s *Store) GetEvent(ctx context.Context, tenant posthorn.TenantID, id posthorn.EventID) (*posthorn.Event, error) {
	e, err := getEvent(s.read(ctx), tenant, id)
	if err != nil {
		return nil, fmt.Errorf("read event: %w", fault(err))
	}
	return e, nil
}
