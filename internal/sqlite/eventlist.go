package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
)

// eventsPerRead is how many events are read and their statuses derived at a time.
const eventsPerRead = 200

// keysSearched is how many idempotency keys may begin with a text that is searched for through their index, which has no order
// of time. Where more do, all events are examined instead.
const keysSearched = 5000

// ListEvents lists newest first. The status is derived for every event examined, so it is done for a few at a time.
func (s *Store) ListEvents(ctx context.Context, tenant posthorn.TenantID, f posthorn.EventFilter, p posthorn.Page) ([]posthorn.EventSummary, posthorn.UUID, error) {
	list := newListing[posthorn.EventSummary](p)
	err := s.snapshot(ctx, func(r reader) error {
		scan := eventScan{reader: r, tenant: tenant, filter: f, before: list.before}
		if err := scan.choose(); err != nil {
			return err
		}
		for more := true; more; {
			found, err := scan.read()
			if err != nil {
				return err
			}
			more = len(found) == eventsPerRead
			for _, e := range found {
				wanted := e.wanted && (f.Status == "" || e.Status == f.Status)
				if list.add(e.EventSummary, e.ID.UUID, wanted) != nil {
					return nil
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, posthorn.UUID{}, fmt.Errorf("list events: %w", err)
	}
	return list.rows, list.next, nil
}

// EventStatus derives one event's status.
func (s *Store) EventStatus(ctx context.Context, tenant posthorn.TenantID, id posthorn.EventID) (posthorn.EventStatus, error) {
	one := make([]scanned, 1)
	one[0].ID = id
	err := s.snapshot(ctx, func(r reader) error {
		if err := r.eventExists(tenant, id); err != nil {
			return err
		}
		scan := eventScan{reader: r}
		return scan.derive(one)
	})
	if err != nil {
		return "", fmt.Errorf("derive event's status: %w", err)
	}
	return one[0].Status, nil
}

// eventScan walks a tenant's events from newest to oldest.
type eventScan struct {
	reader
	tenant posthorn.TenantID
	filter posthorn.EventFilter
	before posthorn.UUID
	// byText goes through the indexes of what the filter's text may be the beginning of.
	byText bool
}

// choose says how to look for a text.
func (e *eventScan) choose() error {
	if e.filter.Text == "" {
		return nil
	}
	var keys int
	err := e.queryRow(countKeys, e.tenant, e.filter.Text, e.filter.Text+"\x7f", keysSearched+1).Scan(&keys)
	e.byText = keys <= keysSearched
	return err
}

// scanned is an event on its way into a list; wanted says what all parts of the filter but the status think of it.
type scanned struct {
	posthorn.EventSummary
	wanted bool
}

const summaryColumns = `tenant_id, id, type, created_at, deliveries, content_type, idempotency_key, ordering_key, headers,
	deliver_at, expires_at, payload_erased, trace_parent`

// read is the next few events with their statuses.
func (e *eventScan) read() ([]scanned, error) {
	low, high := idBounds(e.filter.Since, e.filter.Until, e.before)
	args := []any{blob(e.filter.SubscriptionID.UUID), e.tenant, low[:], high[:], eventsPerRead}
	from := fromAll
	if e.byText {
		first, last := idPrefix(e.filter.Text)
		from = fromText
		args = append(args, first[:], last[:], e.filter.Text, e.filter.Text+"\x7f")
	}
	rows, err := e.query(`SELECT ?1 IS NULL OR EXISTS (SELECT 1 FROM deliveries WHERE event_id = events.id AND subscription_id = ?1),
		`+qualified("events", summaryColumns)+`, ifnull(length(payload), 0) FROM `+from+` ORDER BY events.id DESC LIMIT ?5`, args...)
	var found []scanned
	err = each(rows, err, func(rows *sql.Rows) error {
		var v scanned
		var headers string
		err := rows.Scan(&v.wanted, &v.TenantID, &v.ID, &v.Type, instant{&v.CreatedAt}, &v.Deliveries, &v.ContentType,
			&v.IdempotencyKey, &v.OrderingKey, &headers, instant{&v.DeliverAt}, instant{&v.ExpiresAt},
			instant{&v.PayloadErased}, &v.TraceParent, &v.PayloadBytes)
		if err == nil {
			err = decode(headers, &v.Headers)
		}
		v.wanted = v.wanted && e.filter.Wants(&v.Event)
		found = append(found, v)
		return err
	})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	e.before = found[len(found)-1].ID.UUID
	return found, e.derive(found)
}

const countKeys = `SELECT count(*) FROM (SELECT 1 FROM idempotency_keys WHERE tenant_id = ?1 AND key >= ?2 AND key < ?3 LIMIT ?4)`

const fromAll = `events WHERE tenant_id = ?2 AND id >= ?3 AND id < ?4`

// fromText finds beginnings of ids and of few idempotency keys through their indexes, where scanning would give up too soon.
const fromText = `(SELECT id FROM (SELECT id FROM events WHERE tenant_id = ?2 AND id >= max(?3, ?6) AND id < ?4 AND id <= ?7
			ORDER BY id DESC LIMIT ?5)
		UNION SELECT id FROM (SELECT event_id AS id FROM idempotency_keys
			WHERE tenant_id = ?2 AND key >= ?8 AND key < ?9 AND event_id >= ?3 AND event_id < ?4
			ORDER BY event_id DESC LIMIT ?5)) AS found
	CROSS JOIN events ON events.tenant_id = ?2 AND events.id = found.id`

// derive fills in the statuses from each subscription's latest delivery: with max(id), SQLite takes the other columns from
// that very row.
func (e *eventScan) derive(found []scanned) error {
	latest := make(map[posthorn.EventID][]posthorn.State, len(found))
	ids := make([]posthorn.EventID, len(found))
	for i := range found {
		ids[i] = found[i].ID
	}
	rows, err := e.query(`SELECT DISTINCT event_id, state FROM (SELECT event_id, state, max(id) FROM deliveries
		WHERE event_id IN (`+marks(len(ids))+`) GROUP BY event_id, subscription_id)`, prepend(ids)...)
	err = each(rows, err, func(rows *sql.Rows) error {
		var id posthorn.EventID
		var state posthorn.State
		err := rows.Scan(&id, condition{&state})
		latest[id] = append(latest[id], state)
		return err
	})
	for i := range found {
		found[i].Status = posthorn.DeriveStatus(latest[found[i].ID])
	}
	return err
}

// idSkew is how much older than its row an id may be: it was made when the request came in.
const idSkew = 10 * time.Minute

// idBounds are the ids that rows of [since, until) below before can have.
func idBounds(since, until time.Time, before posthorn.UUID) (low, high posthorn.UUID) {
	if !since.IsZero() {
		low = posthorn.MinUUID(since.Add(-idSkew))
	}
	high = before
	if !until.IsZero() {
		if top := posthorn.MinUUID(until.Add(time.Second)); string(top[:]) < string(high[:]) {
			high = top
		}
	}
	return low, high
}

// idPrefix are the first and the last id whose text begins so; where none does, the first is above the last.
func idPrefix(text string) (first, last posthorn.UUID) {
	first, last, ok := posthorn.EventIDRange(text)
	if !ok {
		return posthorn.UUID{1}, posthorn.UUID{}
	}
	return first, last
}
