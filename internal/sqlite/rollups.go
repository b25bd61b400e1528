package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
)

// Each transaction leaves what it counted as one row of tallies, and steps of a fold, which go along with later transactions,
// add many of them up and then to the rollups: with a subscription for each event, a row of the rollups is written a few times
// a minute, not twice for each delivery.

const (
	// foldPause is between the steps of a fold, and foldPerKey from its last step to the next fold, for each row that it wrote:
	// the more rows, the more is gained by writing them seldom. It takes foldLeast to foldMost.
	foldPause, foldPerKey = 20 * time.Millisecond, 2 * time.Millisecond
	foldLeast, foldMost   = time.Second, 15 * time.Second
	// foldBytes of tallies are folded sooner. It bounds what one step reads, but for the last tally.
	foldBytes = 8 << 20
)

// foldDue takes the fold a step further, when it is time.
func (t *tx) foldDue() error {
	// A clock that was set back must not put it off for long.
	if wait := t.foldAt.Sub(t.now); wait > 0 && wait <= foldMost && t.tallied < foldBytes {
		return nil
	}
	t.tallied = 0
	more, err := t.fold()
	switch {
	case err != nil:
		t.foldAt = t.now.Add(foldMost)
	case more:
		t.foldAt = t.now.Add(foldPause)
	default:
		t.foldAt = t.now.Add(min(max(time.Duration(t.folded)*foldPerKey, foldLeast), foldMost))
		t.folded = 0
	}
	return err
}

// fold takes one step: it adds to the rollups what the writer may be held for, and leaves the rest of what it took summed, in
// rows for a step each. More says that any tallies are left.
func (t *tx) fold() (more bool, err error) {
	h, err := t.takeTallies()
	if h == nil || err != nil {
		return false, err
	}
	if _, err := t.exec(`DELETE FROM tallies WHERE id BETWEEN ? AND ?`, h.first, h.last); err != nil {
		return false, err
	}
	keys := h.counts.keys()
	part := keys[:min(len(keys), t.foldBound())]
	if err := t.addToRollups(h.minute, part, h.counts); err != nil {
		return false, err
	}
	t.folded += len(part)
	before := h.first
	for part := range slices.Chunk(keys[len(part):], stepBound) {
		before--
		_, err := t.exec(`INSERT INTO tallies (id, minute, summed, counts) VALUES (?, ?, 1, ?)`, before, h.minute, h.counts.encode(part))
		if err != nil {
			return false, err
		}
	}
	return h.more || before < h.first, nil
}

// foldBound is how many rows a step adds to the rollups: no fewer than the transaction counts in, as the fold would not keep up.
func (t *tx) foldBound() int { return max(stepBound, len(t.counts)) }

// taken are tallies of one minute, from the first id to the last; more says that there are others.
type taken struct {
	first, last, minute int64
	counts              tally
	more                bool
}

// takeTallies reads what a step of a fold is about: rows that were summed before, else the first minute's tallies. Nil is none.
func (t *tx) takeTallies() (h *taken, err error) {
	var again bool
	size := 0
	rows, err := t.query(`SELECT id, minute, summed, counts FROM tallies ORDER BY id`)
	err = each(rows, err, func(rows *sql.Rows) error {
		var id, minute int64
		var summed bool
		var b sql.RawBytes
		if err := rows.Scan(&id, &minute, &summed, &b); err != nil {
			return err
		}
		if h == nil {
			h, again = &taken{first: id, minute: minute, counts: tally{}}, summed
		} else if summed != again || minute != h.minute || size >= foldBytes || again && len(h.counts) >= t.foldBound() {
			h.more = true
			return errEnough
		}
		h.last, size = id, size+len(b)
		h.counts.decode(b)
		return nil
	})
	return h, err
}

// addCounts adds rows to the rollups, which are not kept apart by node any more.
var addCounts = func() string {
	sums := make([]string, len(countColumns))
	for i, name := range countColumns {
		sums[i] = name + " = " + name + " + excluded." + name
	}
	return `INSERT INTO rollups (minute, tenant_id, subscription_id, node_id, ` + strings.Join(countColumns, ", ") + `)
		VALUES ROWS ON CONFLICT DO UPDATE SET ` + strings.Join(sums, ", ")
}()

func (t *tx) addToRollups(minute int64, keys []tallyKey, y tally) error {
	var nobody posthorn.NodeID
	width := 4 + len(countColumns)
	args := make([]any, 0, width*len(keys))
	for _, key := range keys {
		args = append(args, minute, key.tenant.UUID[:], key.subscription.UUID[:], nobody.UUID[:])
		for _, n := range y[key] {
			args = append(args, n)
		}
	}
	return t.bulk(addCounts, width, args)
}

// Fold adds all that was counted to the rollups: for who reads them without Stats.
func (s *Store) Fold(ctx context.Context) error {
	for more := true; more; {
		if err := s.write(ctx, func(t *tx) (err error) { more, err = t.fold(); return err }); err != nil {
			return fmt.Errorf("fold: %w", err)
		}
	}
	return nil
}

// Stats reads the rollups and the tallies that are not in them yet. Steps begin at whole multiples of themselves since 1970.
func (s *Store) Stats(ctx context.Context, tenant posthorn.TenantID, f posthorn.StatsFilter) ([]posthorn.StatsPoint, error) {
	until := f.Until
	if until.IsZero() {
		until = s.Now().Add(time.Minute)
	}
	sums := statsSums{
		tenant: tenant, subscription: f.SubscriptionID, since: f.Since.Truncate(time.Minute).UnixMicro(), until: stamp(until),
		step: max(f.Step.Truncate(time.Minute), time.Minute).Microseconds(), of: map[int64]*counts{},
	}
	err := s.snapshot(ctx, func(r reader) error {
		if err := sums.addRollups(r); err != nil {
			return err
		}
		return sums.addTallies(r)
	})
	if err != nil {
		return nil, fmt.Errorf("read stats: %w", err)
	}
	var points []posthorn.StatsPoint
	for _, start := range slices.Sorted(maps.Keys(sums.of)) {
		c := sums.of[start]
		points = append(points, posthorn.StatsPoint{
			At: at(start), Accepted: c[countAccepted], Attempts: c[countAttempts], Succeeded: c[countSucceeded], Failed: c[countFailed],
			Retried: c[countRetried], Exhausted: c[countExhausted],
			Latency: [posthorn.LatencyBuckets]int64(c[countLatencies:countDurations]), Duration: [posthorn.LatencyBuckets]int64(c[countDurations:]),
		})
	}
	return points, nil
}

// statsSums are the counts of a tenant, or of all, or of a subscription, by the step that they begin in.
type statsSums struct {
	tenant             posthorn.TenantID
	subscription       posthorn.SubscriptionID
	since, until, step int64 // in microseconds
	of                 map[int64]*counts
}

// at are the counts of a moment's step.
func (s *statsSums) at(moment int64) *counts {
	start := moment / s.step * s.step
	if s.of[start] == nil {
		s.of[start] = &counts{}
	}
	return s.of[start]
}

func (s *statsSums) addRollups(r reader) error {
	var first sql.NullInt64
	if err := r.queryRow(`SELECT min(minute) FROM rollups`).Scan(&first); err != nil || !first.Valid {
		return err
	}
	// The minutes are counted out and looked up one by one: the subscription is not the key's beginning.
	from := `minutes CROSS JOIN rollups AS r ON r.minute = minutes.minute AND r.tenant_id = ?4 AND r.subscription_id = ?5`
	if s.tenant.IsZero() {
		from = `rollups AS r WHERE r.minute >= (SELECT min(minute) FROM minutes) AND r.minute < ?2 AND ?4 = ?4 AND r.subscription_id = ?5`
	}
	rows, err := r.query(`WITH RECURSIVE minutes (minute) AS (
			SELECT ?1 WHERE ?1 < ?2 UNION ALL SELECT minute + 60000000 FROM minutes WHERE minute + 60000000 < ?2)
		SELECT r.minute / ?3 * ?3, sum(r.`+strings.Join(countColumns, "), sum(r.")+`) FROM `+from+` GROUP BY 1`,
		max(s.since, first.Int64), s.until, s.step, s.tenant.UUID[:], s.subscription.UUID[:])
	return each(rows, err, func(rows *sql.Rows) error {
		var minute int64
		var c counts
		to := []any{&minute}
		for i := range c {
			to = append(to, &c[i])
		}
		err := rows.Scan(to...)
		s.at(minute).add(&c)
		return err
	})
}

func (s *statsSums) addTallies(r reader) error {
	rows, err := r.query(`SELECT minute, counts FROM tallies WHERE minute >= ? AND minute < ?`, s.since, s.until)
	return each(rows, err, func(rows *sql.Rows) error {
		var minute int64
		var b sql.RawBytes
		if err := rows.Scan(&minute, &b); err != nil {
			return err
		}
		for key, c := range readCounts(b) {
			if key.subscription == s.subscription && (s.tenant.IsZero() || s.tenant == key.tenant) {
				s.at(minute).add(c)
			}
		}
		return nil
	})
}
