package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
)

// tally gathers what one transaction adds to the rollups of its minute.
type tally map[tallyKey]*counts

// tallyKey is a subscription's row, or with the zero subscription the tenant's total.
type tallyKey struct {
	tenant       posthorn.TenantID
	subscription posthorn.SubscriptionID
}

type counts struct {
	accepted, attempts, succeeded, failed, retried, exhausted int64
	latency, duration                                         [posthorn.LatencyBuckets]int64
}

// of is the row of a subscription or a tenant.
func (y tally) of(tenant posthorn.TenantID, subscription posthorn.SubscriptionID) *counts {
	key := tallyKey{tenant, subscription}
	c := y[key]
	if c == nil {
		c = &counts{}
		y[key] = c
	}
	return c
}

// both are a subscription's row and its tenant's total.
func (y tally) both(tenant posthorn.TenantID, subscription posthorn.SubscriptionID) [2]*counts {
	return [2]*counts{y.of(tenant, subscription), y.of(tenant, posthorn.SubscriptionID{})}
}

// attempted counts an attempt.
func (c *counts) attempted(outcome posthorn.Outcome, number int) {
	c.attempts++
	if outcome == posthorn.Succeeded {
		c.succeeded++
	} else {
		c.failed++
	}
	if number > 1 {
		c.retried++
	}
}

// columns is how many counts has.
const columns = 6 + 2*posthorn.LatencyBuckets

// countColumns are the columns of counts, in the order of values.
func countColumns() []string {
	names := []string{"accepted", "attempts", "succeeded", "failed", "retried", "exhausted"}
	for _, histogram := range []string{"latency_", "duration_"} {
		for i := range posthorn.LatencyBuckets {
			names = append(names, histogram+strconv.Itoa(i))
		}
	}
	return names
}

func (c *counts) values() (all [columns]int64) {
	n := copy(all[:], []int64{c.accepted, c.attempts, c.succeeded, c.failed, c.retried, c.exhausted})
	n += copy(all[n:], c.latency[:])
	copy(all[n:], c.duration[:])
	return all
}

func (c *counts) pointers() []any {
	to := []any{&c.accepted, &c.attempts, &c.succeeded, &c.failed, &c.retried, &c.exhausted}
	for _, histogram := range []*[posthorn.LatencyBuckets]int64{&c.latency, &c.duration} {
		for i := range histogram {
			to = append(to, &histogram[i])
		}
	}
	return to
}

// shape is the columns that a rollup's row adds to, a bit each in the order of countColumns. A statement that names no others
// takes SQLite a third of the time: most rows count an accepted event, or a success with its two places in the histograms.
type shape uint64

const (
	onlyAccepted shape = 1
	everyColumn  shape = 1<<columns - 1
	// maxShapes and maxNamed bound the texts kept: rows that add to more columns, as totals do, or of further shapes name all.
	maxShapes = 16
	maxNamed  = 6
)

func shapeOf(values *[columns]int64) (s shape) {
	for i, n := range values {
		if n != 0 {
			s |= 1 << i
		}
	}
	return s
}

// each calls do with the places of the columns.
func (s shape) each(do func(i int)) {
	for rest := s; rest != 0; rest &= rest - 1 {
		do(bits.TrailingZeros64(uint64(rest)))
	}
}

// upsert is the statement of a shape, or of every column where there are enough others.
func (w *writer) upsert(s shape) (shape, string) {
	if s != onlyAccepted && w.upserts[s] == "" && (len(w.upserts) >= maxShapes || bits.OnesCount64(uint64(s)) > maxNamed) {
		s = everyColumn
	}
	if text := w.upserts[s]; text != "" {
		return s, text
	}
	all := countColumns()
	var names, sums []string
	s.each(func(i int) {
		names = append(names, all[i])
		sums = append(sums, all[i]+" = "+all[i]+" + excluded."+all[i])
	})
	w.upserts[s] = `INSERT INTO rollups (minute, tenant_id, subscription_id, node_id, ` + strings.Join(names, ", ") + `)
		VALUES ROWS ON CONFLICT DO UPDATE SET ` + strings.Join(sums, ", ")
	return s, w.upserts[s]
}

// add writes the tally to the rollups, those of a shape in the order of their key.
func (t *tx) add(y tally, node posthorn.NodeID) error {
	keys := make([]tallyKey, 0, len(y))
	for key := range y {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b tallyKey) int {
		return cmp.Or(slices.Compare(a.tenant.UUID[:], b.tenant.UUID[:]),
			slices.Compare(a.subscription.UUID[:], b.subscription.UUID[:]))
	})
	minute := t.now.Truncate(time.Minute).UnixMicro()
	rows := map[shape][]any{}
	for _, key := range keys {
		values := y[key].values()
		added := shapeOf(&values)
		if added == 0 {
			continue
		}
		s, _ := t.upsert(added)
		row := append(rows[s], minute, key.tenant.UUID[:], key.subscription.UUID[:], node.UUID[:])
		s.each(func(i int) { row = append(row, values[i]) })
		rows[s] = row
	}
	for _, s := range slices.Sorted(maps.Keys(rows)) {
		_, text := t.upsert(s)
		if err := t.bulk(text, 4+bits.OnesCount64(uint64(s)), rows[s]); err != nil {
			return err
		}
	}
	return nil
}

// Stats reads the rollups. Steps begin at whole multiples of themselves since 1970.
func (s *Store) Stats(ctx context.Context, tenant posthorn.TenantID, f posthorn.StatsFilter) ([]posthorn.StatsPoint, error) {
	step := max(f.Step.Truncate(time.Minute), time.Minute).Microseconds()
	until := f.Until
	if until.IsZero() {
		until = s.Now().Add(time.Minute)
	}
	sums := make([]string, 0, columns)
	for _, name := range countColumns() {
		sums = append(sums, "sum(r."+name+")")
	}
	// The minutes are counted out and looked up one by one: the subscription is not the key's beginning.
	from := `minutes CROSS JOIN rollups AS r ON r.minute = minutes.minute AND r.tenant_id = ?4 AND r.subscription_id = ?5`
	if tenant.IsZero() {
		from = `rollups AS r WHERE r.minute >= (SELECT min(minute) FROM minutes) AND r.minute < ?2 AND ?4 = ?4 AND r.subscription_id = ?5`
	}
	var points []posthorn.StatsPoint
	err := s.snapshot(ctx, func(r reader) error {
		var first sql.NullInt64
		if err := r.queryRow(`SELECT min(minute) FROM rollups`).Scan(&first); err != nil || !first.Valid {
			return err
		}
		since := max(f.Since.Truncate(time.Minute).UnixMicro(), first.Int64)
		rows, err := r.query(`WITH RECURSIVE minutes (minute) AS (
				SELECT ?1 UNION ALL SELECT minute + 60000000 FROM minutes WHERE minute + 60000000 < ?2)
			SELECT r.minute / ?3 * ?3, `+strings.Join(sums, ", ")+` FROM `+from+` GROUP BY 1 ORDER BY 1`,
			since, stamp(until), step, tenant.UUID[:], f.SubscriptionID.UUID[:])
		return each(rows, err, func(rows *sql.Rows) error {
			var p posthorn.StatsPoint
			var c counts
			err := rows.Scan(append([]any{instant{&p.At}}, c.pointers()...)...)
			p.Accepted, p.Attempts, p.Succeeded, p.Failed = c.accepted, c.attempts, c.succeeded, c.failed
			p.Retried, p.Exhausted, p.Latency, p.Duration = c.retried, c.exhausted, c.latency, c.duration
			points = append(points, p)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read stats: %w", err)
	}
	return points, nil
}
