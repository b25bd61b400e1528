package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
)

// The phases of a lane.
const (
	laneOpen = 0
	laneHeld = 1
	laneGone = 2
)

// lane is a row of lanes: the noun's and what accepting and claiming need beside it.
type lane struct {
	posthorn.Lane
	version  int64
	phase    int
	fifo     bool
	sequence int64
	// window is the subscription's own retry window; zero without one.
	window time.Duration
	dirty  bool
}

const laneColumns = `subscription_id, tenant_id, version, phase, fifo, sequence, throttled_until, breaker_opens, breaker_until,
	failing_since, held_since, held_for, warned_at, skipped_at, retry_window`

func scanLane(rows interface{ Scan(...any) error }) (*lane, error) {
	var l lane
	err := rows.Scan(&l.SubscriptionID, &l.TenantID, &l.version, &l.phase, &l.fifo, &l.sequence, instant{&l.ThrottledUntil},
		&l.BreakerOpens, instant{&l.BreakerUntil}, instant{&l.FailingSince}, instant{&l.HeldSince}, interval{&l.HeldFor},
		instant{&l.WarnedAt}, instant{&l.SkippedAt}, interval{&l.window})
	return &l, err
}

// lanesKept bounds the lanes that the writer keeps, of some 300 bytes each.
const lanesKept = 20_000

// lanes gives the lanes of subscriptions as they are. Those the writer has read before it knows, as nobody else writes them.
func (t *tx) lanes(ids []posthorn.SubscriptionID) (map[posthorn.SubscriptionID]*lane, error) {
	found := make(map[posthorn.SubscriptionID]*lane, len(ids))
	var unknown []any
	for _, id := range ids {
		if l, ok := t.kept[id]; ok {
			found[id] = &l
		} else {
			unknown = append(unknown, blob(id.UUID))
		}
	}
	err := t.bulkQuery(`SELECT `+laneColumns+` FROM lanes WHERE (subscription_id) IN (VALUES ROWS)`, 1, unknown,
		func(rows *sql.Rows) error {
			l, err := scanLane(rows)
			if err == nil {
				found[l.SubscriptionID] = l
				t.keep(l)
			}
			return err
		})
	return found, err
}

// keep keeps a lane that was read, in the place of any other where there is no room.
func (w *writer) keep(l *lane) {
	if len(w.kept) >= lanesKept {
		for id := range w.kept {
			delete(w.kept, id)
			break
		}
	}
	w.kept[l.SubscriptionID] = *l
}

// lane gives one, or nil.
func (t *tx) lane(id posthorn.SubscriptionID) (*lane, error) {
	found, err := t.lanes([]posthorn.SubscriptionID{id})
	return found[id], err
}

func (t *tx) insertLane(l *lane) error {
	t.lanesChanged = true
	_, err := t.exec(`INSERT INTO lanes (`+laneColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		l.SubscriptionID, l.TenantID, l.version, l.phase, l.fifo, l.sequence, stamp(l.ThrottledUntil), l.BreakerOpens,
		stamp(l.BreakerUntil), stamp(l.FailingSince), stamp(l.HeldSince), l.HeldFor.Microseconds(), stamp(l.WarnedAt), stamp(l.SkippedAt),
		l.window.Microseconds())
	return err
}

func (t *tx) updateLane(l *lane) error {
	t.lanesChanged = true
	delete(t.kept, l.SubscriptionID)
	_, err := t.exec(`UPDATE lanes SET version = ?, phase = ?, fifo = ?, sequence = ?, throttled_until = ?,
		breaker_opens = ?, breaker_until = ?, failing_since = ?, held_since = ?, held_for = ?, warned_at = ?, skipped_at = ?, retry_window = ?
		WHERE subscription_id = ?`,
		l.version, l.phase, l.fifo, l.sequence, stamp(l.ThrottledUntil), l.BreakerOpens, stamp(l.BreakerUntil),
		stamp(l.FailingSince), stamp(l.HeldSince), l.HeldFor.Microseconds(), stamp(l.WarnedAt), stamp(l.SkippedAt), l.window.Microseconds(),
		l.SubscriptionID)
	return err
}

// sends says that nothing but the deliveries' own times keeps the lane from sending.
func (l *lane) sends(now time.Time) bool {
	return l.phase == laneOpen && !l.ThrottledUntil.After(now) && l.BreakerOpens == 0
}

// within is the retry window where the operator's is the given one.
func (l *lane) within(window time.Duration) time.Duration {
	if l.window > 0 {
		return min(window, l.window)
	}
	return window
}

// hold and resume begin and end the time in which nothing is sent and no window runs.
func (l *lane) hold(now time.Time) {
	if l.HeldSince.IsZero() {
		l.HeldSince = now
	}
	l.phase = laneHeld
}

func (l *lane) resume(now time.Time) {
	l.HeldFor = l.HeldTotal(now)
	l.HeldSince = time.Time{}
	l.phase = laneOpen
	l.recover()
}

// recover closes the breaker and forgets the failures.
func (l *lane) recover() {
	l.BreakerOpens, l.BreakerUntil, l.FailingSince = 0, time.Time{}, time.Time{}
}

// Lanes reads the lanes of subscriptions, tombstones included.
func (s *Store) Lanes(ctx context.Context, tenant posthorn.TenantID, ids []posthorn.SubscriptionID) ([]posthorn.Lane, error) {
	var lanes []posthorn.Lane
	for part := range chunks(ids) {
		rows, err := s.read(ctx).query(`SELECT `+laneColumns+` FROM lanes
			WHERE tenant_id = ? AND subscription_id IN (`+marks(len(part))+`)`, prepend(part, tenant)...)
		err = each(rows, err, func(rows *sql.Rows) error {
			l, err := scanLane(rows)
			if err == nil {
				lanes = append(lanes, l.Lane)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read lanes: %w", fault(err))
		}
	}
	return lanes, nil
}
