package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// attemptAge is how much older an attempt's id may be than its record: the id is made with the claim, and one request at a time may go
// before it through a lane that holds eight (internal/delivery), for posthorn.MaxTimeout each.
const attemptAge = 10 * time.Minute

const updateColumns = `d.tenant_id, d.id, d.event_id, d.subscription_id, d.event_type, d.state, d.reason, d.attempts, d.due_at`

// The kinds of what happened, each with its moment and, of an attempt, what it was. $1 is the tenant, $2 the moment to begin
// at, $3 how many, $4 the lowest id that can matter.
const (
	updatesCreated = `
		SELECT d.created_at, ` + updateColumns + `, NULL::uuid, 0, '', 0, 0, ''
		FROM deliveries d WHERE d.tenant_id = $1 AND d.created_at >= $2 AND d.id >= $4
		ORDER BY d.created_at, d.id LIMIT $3`
	updatesAttempted = `
		SELECT a.recorded_at, ` + updateColumns + `, a.id, a.number, a.outcome, a.status_code, a.total_us, a.error
		FROM (SELECT * FROM attempts a WHERE a.tenant_id = $1 AND a.recorded_at >= $2 AND a.id >= $4
			ORDER BY a.recorded_at, a.id LIMIT $3) a JOIN deliveries d ON d.id = a.delivery_id`
	// What was changed otherwise than by an attempt, however old.
	updatesTouched = `
		SELECT d.touched_at, ` + updateColumns + `, NULL::uuid, 0, '', 0, 0, ''
		FROM deliveries d WHERE d.tenant_id = $1 AND d.touched_at >= $2
		ORDER BY d.touched_at, d.id LIMIT $3`
	// Events nobody wanted. Of twice as many events as updates are asked for, more than these are unwanted or the others have
	// more deliveries than that: either way there is more to tell than fits.
	updatesUnwanted = `
		SELECT e.created_at, e.tenant_id, NULL::uuid, e.id, NULL::uuid, e.type, '', '', 0, NULL::timestamptz, NULL::uuid, 0, '', 0, 0, ''
		FROM (SELECT * FROM events e WHERE e.tenant_id = $1 AND e.created_at >= $2 AND e.id >= $4
			ORDER BY e.id LIMIT 2 * $3::int) e
		WHERE e.deliveries = 0 ORDER BY e.created_at, e.id LIMIT $3::int`
)

// Updates implements posthorn.Insight. State and count are those of now, so what comes late is never out of date.
func (s *Store) Updates(ctx context.Context, tenant posthorn.TenantID, since time.Time, limit int) ([]posthorn.Update, bool, error) {
	limit = max(limit, 1)
	var found []posthorn.Update
	err := s.do(ctx, "read updates", func(ctx context.Context) error {
		found = nil
		var b pgx.Batch
		read := func(rows pgx.Rows) error {
			updates, err := pgx.CollectRows(rows, scanUpdate)
			found = append(found, updates...)
			return err
		}
		lowest := func(slack time.Duration) uuid { return uuid(posthorn.MinUUID(since.Add(-slack))) }
		b.Queue(updatesCreated, uuid(tenant.UUID), since, limit+1, lowest(s.slack)).Query(read)
		b.Queue(updatesAttempted, uuid(tenant.UUID), since, limit+1, lowest(s.slack+attemptAge)).Query(read)
		b.Queue(updatesTouched, uuid(tenant.UUID), since, limit+1).Query(read)
		b.Queue(updatesUnwanted, uuid(tenant.UUID), since, limit+1, lowest(s.slack)).Query(read)
		return s.pool.SendBatch(ctx, &b).Close()
	})
	if err != nil {
		return nil, false, err
	}
	slices.SortStableFunc(found, func(a, b posthorn.Update) int { return a.At.Compare(b.At) })
	if len(found) > limit {
		return found[:limit], true, nil
	}
	return found, false, nil
}

func scanUpdate(row pgx.CollectableRow) (posthorn.Update, error) {
	var u posthorn.Update
	var micros int64
	err := row.Scan((*moment)(&u.At), (*uuid)(&u.TenantID.UUID), (*uuid)(&u.DeliveryID.UUID), (*uuid)(&u.EventID.UUID),
		(*uuid)(&u.SubscriptionID.UUID), &u.EventType, &u.State, &u.Reason, &u.Attempts, (*moment)(&u.DueAt),
		(*uuid)(&u.Attempt.UUID), &u.Number, &u.Outcome, &u.StatusCode, &micros, &u.Error)
	u.Duration = time.Duration(micros) * time.Microsecond
	return u, err
}
