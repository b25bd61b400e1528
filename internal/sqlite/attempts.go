package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
)

// The delivery knows tenant, event and subscription; an attempt's row does not repeat them.
const attemptColumns = `id, delivery_id, number, manual, started_at, recorded_at, outcome, our_fault, status_code, error,
	detail, request, response, body_truncated, dns, connect, tls, first_byte, total, reused, node_id, body`

func scanAttempt(rows *sql.Rows, of *posthorn.Delivery) (posthorn.Attempt, error) {
	a := posthorn.Attempt{TenantID: of.TenantID, EventID: of.EventID, SubscriptionID: of.SubscriptionID}
	var request, response string
	err := rows.Scan(&a.ID, &a.DeliveryID, &a.Number, &a.Manual, instant{&a.StartedAt}, instant{&a.RecordedAt}, &a.Outcome,
		&a.OurFault, &a.StatusCode, &a.Error, &a.Detail, &request, &response, &a.BodyTruncated, interval{&a.Timing.DNS},
		interval{&a.Timing.Connect}, interval{&a.Timing.TLS}, interval{&a.Timing.FirstByte}, interval{&a.Timing.Total},
		&a.Timing.Reused, &a.Node, &a.Body)
	if err == nil {
		err = decode(request, &a.Request)
	}
	if err == nil {
		err = decode(response, &a.Response)
	}
	return a, err
}

const insertAttempt = `INSERT INTO attempts (moment, ` + attemptColumns + `) VALUES ROWS`

const insertAttemptWidth = 23

// ledger gathers the attempts of one change, and writes them at its end.
type ledger struct {
	*tx
	last int64 // the last moment given to an attempt
	args []any
}

// ledger begins after the last attempt known.
func (t *tx) ledger() (*ledger, error) {
	var last sql.NullInt64
	err := t.queryRow(`SELECT max(moment) FROM attempts`).Scan(&last)
	return &ledger{tx: t, last: max(last.Int64, stamp(t.now)-1)}, err
}

// write adds an attempt that becomes known now.
func (g *ledger) write(a *posthorn.Attempt) {
	g.last++
	var body any
	if len(a.Body) > 0 {
		body = a.Body
	}
	g.args = append(g.args, g.last, a.ID.UUID[:], a.DeliveryID.UUID[:], int64(a.Number), flag(a.Manual), stamp(a.StartedAt),
		stamp(g.now), string(a.Outcome), flag(a.OurFault), int64(a.StatusCode), a.Error, a.Detail,
		headers(a.Request), headers(a.Response), flag(a.BodyTruncated),
		a.Timing.DNS.Microseconds(), a.Timing.Connect.Microseconds(), a.Timing.TLS.Microseconds(),
		a.Timing.FirstByte.Microseconds(), a.Timing.Total.Microseconds(), flag(a.Timing.Reused), blob(a.Node.UUID), body)
}

// lose writes the attempt of a delivery's lost claim as interrupted. When it was made is known from its token.
func (g *ledger) lose(d *posthorn.Delivery) {
	g.write(&posthorn.Attempt{
		ID: d.Claim, DeliveryID: d.ID, Number: d.Attempts, Manual: d.Manual != posthorn.NotManual, StartedAt: d.Claim.Time(),
		Outcome: posthorn.Interrupted, OurFault: true, Error: posthorn.ClaimLost,
		Detail: posthorn.ClaimLostDetail, Node: d.ClaimedBy,
	})
	for _, n := range g.counts.both(d.TenantID, d.SubscriptionID) {
		n.attempted(posthorn.Interrupted, d.Attempts)
	}
	d.LastOutcome, d.LastStatusCode, d.LastError = posthorn.Interrupted, 0, posthorn.ClaimLost
	d.Interruptions++
	d.UpdatedAt = g.now
}

// end ends a pending delivery without an attempt; a claim it had is lost.
func (g *ledger) end(d *posthorn.Delivery, state posthorn.State, reason posthorn.Reason) error {
	if !d.Claim.IsZero() {
		g.lose(d)
		d.Claim, d.ClaimedBy, d.ClaimedUntil = posthorn.AttemptID{}, posthorn.NodeID{}, time.Time{}
	}
	d.State, d.Reason, d.Manual, d.UpdatedAt, d.CompletedAt = state, reason, posthorn.NotManual, g.now, g.now
	if state == posthorn.Exhausted {
		for _, n := range g.counts.both(d.TenantID, d.SubscriptionID) {
			n[countExhausted]++
		}
	}
	_, err := g.exec(`UPDATE deliveries SET state = ?, reason = ?, interruptions = ?, manual = 0, claim = NULL,
		claimed_by = NULL, last_outcome = ?, last_status_code = ?, last_error = ?, updated_at = ?, completed_at = ? WHERE id = ?`,
		stateNumber(state), string(reason), int64(d.Interruptions), string(d.LastOutcome), int64(d.LastStatusCode),
		d.LastError, stamp(g.now), stamp(g.now), d.ID.UUID[:])
	return err
}

// close writes what was gathered.
func (g *ledger) close() error { return g.bulk(insertAttempt, insertAttemptWidth, g.args) }

// ListAttempts lists a delivery's attempts by number.
func (s *Store) ListAttempts(ctx context.Context, tenant posthorn.TenantID, id posthorn.DeliveryID) ([]posthorn.Attempt, error) {
	var list []posthorn.Attempt
	err := s.snapshot(ctx, func(r reader) error {
		d, err := delivery(r, tenant, id)
		if err != nil {
			return err
		}
		rows, err := r.query(`SELECT `+attemptColumns+` FROM attempts WHERE delivery_id = ? ORDER BY number LIMIT ?`,
			id, posthorn.MaxDeliveryAttempts)
		return each(rows, err, func(rows *sql.Rows) error {
			a, err := scanAttempt(rows, d)
			list = append(list, a)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list attempts: %w", err)
	}
	return list, nil
}
