package clustertest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/hooktest"
)

// audit holds a database and what a receiver got against each other, for tests in which every event has one delivery.
type audit struct {
	t          testing.TB
	deliveries map[string]*delivery
	requests   map[string][]hooktest.Request
}

// delivery is a row with its attempts in order of number.
type delivery struct {
	event       posthorn.EventID
	state       posthorn.State
	attempts    int
	completedAt *time.Time
	rows        []attempt
}

type attempt struct {
	number                int
	outcome               posthorn.Outcome
	status                int
	node                  posthorn.NodeID
	startedAt, recordedAt time.Time
}

// allEnded waits until no delivery is pending.
func allEnded(t testing.TB, pool *pgxpool.Pool, within time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	pending := 0
	for time.Since(began) < within {
		after(200 * time.Millisecond)
		err := pool.QueryRow(t.Context(), `SELECT count(*) FROM deliveries WHERE state = 'pending'`).Scan(&pending)
		if err == nil && pending == 0 {
			return time.Since(began)
		}
	}
	t.Fatalf("%d deliveries are still pending after %s", pending, within)
	return 0
}

// newAudit reads everything. Nothing may be under way any more.
func newAudit(t testing.TB, pool *pgxpool.Pool, receiver *hooktest.Receiver) *audit {
	t.Helper()
	a := &audit{t: t, deliveries: map[string]*delivery{}, requests: map[string][]hooktest.Request{}}
	for _, r := range receiver.Requests() {
		a.requests[r.Event] = append(a.requests[r.Event], r)
	}
	a.readDeliveries(pool)
	a.readAttempts(pool)
	return a
}

func (a *audit) readDeliveries(pool *pgxpool.Pool) {
	a.t.Helper()
	rows, err := pool.Query(a.t.Context(), `SELECT event_id, state, attempts, completed_at FROM deliveries`)
	if err != nil {
		a.t.Fatal(err)
	}
	var d delivery
	_, err = pgx.ForEachRow(rows, []any{(*[16]byte)(&d.event.UUID), &d.state, &d.attempts, &d.completedAt}, func() error {
		if a.deliveries[d.event.String()] != nil {
			return fmt.Errorf("%s has two deliveries", d.event)
		}
		copied := d
		a.deliveries[d.event.String()] = &copied
		return nil
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *audit) readAttempts(pool *pgxpool.Pool) {
	a.t.Helper()
	rows, err := pool.Query(a.t.Context(), `SELECT event_id, number, outcome, status_code, node_id, started_at, recorded_at
		FROM attempts ORDER BY event_id, number`)
	if err != nil {
		a.t.Fatal(err)
	}
	var event posthorn.EventID
	var row attempt
	fields := []any{
		(*[16]byte)(&event.UUID), &row.number, &row.outcome, &row.status, (*[16]byte)(&row.node.UUID), &row.startedAt, &row.recordedAt,
	}
	_, err = pgx.ForEachRow(rows, fields, func() error {
		d := a.deliveries[event.String()]
		if d == nil {
			return fmt.Errorf("an attempt of %s has no delivery", event)
		}
		d.rows = append(d.rows, row)
		return nil
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

// accepted wants every accepted event to be stored with its delivery, and no other.
func (a *audit) accepted(l *load) {
	a.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	missing := 0
	for n, id := range l.accepted {
		if a.deliveries[id] == nil {
			if missing++; missing <= 5 {
				a.t.Errorf("event %d was accepted as %s and is not stored", n, id)
			}
		}
	}
	if len(a.deliveries) != len(l.accepted) {
		a.t.Errorf("%d events are stored, %d were accepted", len(a.deliveries), len(l.accepted))
	}
}

// result is what an audit found.
type result struct {
	requests int
	// repeated are the events that the receiver got more than once, retried those with more than one attempt.
	repeated, retried []*delivery
}

// check wants every delivery to have succeeded by its last attempt, the attempts to be numbered without gaps, each request
// to be one attempt, and each attempt said to have been answered to have been a request. Only nodes that a test has hurt
// may have lost a claim; with none given nothing may have been sent twice.
func (a *audit) check(hurt ...*node) result {
	a.t.Helper()
	var found result
	faults := 0
	for id, d := range a.deliveries {
		requests := a.requests[id]
		found.requests += len(requests)
		if len(requests) > 1 {
			found.repeated = append(found.repeated, d)
		}
		if len(d.rows) > 1 {
			found.retried = append(found.retried, d)
		}
		if fault := d.fault(requests, hurt); fault != "" {
			if faults++; faults <= 10 {
				a.t.Errorf("%s: %s\n%s", id, fault, d.describe(requests))
			}
		}
	}
	if faults > 10 {
		a.t.Errorf("… and %d more", faults-10)
	}
	for id := range a.requests {
		if a.deliveries[id] == nil {
			a.t.Errorf("the receiver got %s, which is not stored", id)
		}
	}
	return found
}

// fault is what is wrong with a delivery, or "".
func (d *delivery) fault(requests []hooktest.Request, hurt []*node) string {
	if d.state != posthorn.Delivered || d.completedAt == nil {
		return "it is " + string(d.state)
	}
	if d.attempts != len(d.rows) || len(d.rows) == 0 {
		return fmt.Sprintf("it counts %d attempts and has %d", d.attempts, len(d.rows))
	}
	sent := map[int]int{}
	for i, r := range requests {
		sent[r.Attempt]++
		if i > 0 && r.Attempt <= requests[i-1].Attempt {
			return fmt.Sprintf("attempt %d came after attempt %d", r.Attempt, requests[i-1].Attempt)
		}
		if r.Attempt < 1 || r.Attempt > len(d.rows) {
			return fmt.Sprintf("attempt %d is not written down", r.Attempt)
		}
	}
	for i, row := range d.rows {
		switch {
		case row.number != i+1:
			return fmt.Sprintf("attempt %d stands at place %d", row.number, i+1)
		case row.outcome == posthorn.Succeeded && (sent[row.number] != 1 || row.status != 200):
			return fmt.Sprintf("attempt %d is said to have succeeded with %d and was received %d times", row.number, row.status, sent[row.number])
		case row.outcome != posthorn.Succeeded && row.outcome != posthorn.Interrupted:
			return fmt.Sprintf("attempt %d is said to be %s", row.number, row.outcome)
		}
		if last := i == len(d.rows)-1; !last && !among(row.node, hurt) {
			return fmt.Sprintf("attempt %d of a node that nobody hurt was repeated", row.number)
		}
	}
	if last := d.rows[len(d.rows)-1]; last.outcome != posthorn.Succeeded || !last.recordedAt.Equal(*d.completedAt) {
		return "it was not completed by its last attempt"
	}
	return ""
}

func among(id posthorn.NodeID, nodes []*node) bool {
	for _, n := range nodes {
		if n.id == id {
			return true
		}
	}
	return false
}

func (d *delivery) describe(requests []hooktest.Request) string {
	const clock = "15:04:05.000"
	text := "  delivery " + string(d.state)
	if d.completedAt != nil {
		text += " at " + d.completedAt.UTC().Format(clock)
	}
	for _, r := range d.rows {
		text += fmt.Sprintf("\n  attempt %d: %s %d by %s, started %s, recorded %s", r.number, r.outcome, r.status, r.node,
			r.startedAt.UTC().Format(clock), r.recordedAt.UTC().Format(clock))
	}
	for _, r := range requests {
		text += fmt.Sprintf("\n  received attempt %d at %s", r.Attempt, r.At.UTC().Format(clock))
	}
	return text
}
