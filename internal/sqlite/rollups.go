package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
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

func (c *counts) values(args []any) []any {
	args = append(args, c.accepted, c.attempts, c.succeeded, c.failed, c.retried, c.exhausted)
	for _, histogram := range []*[posthorn.LatencyBuckets]int64{&c.latency, &c.duration} {
		for _, n := range histogram {
			args = append(args, n)
		}
	}
	return args
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

// acceptedUpsert is for rows that count nothing but accepted events: most of those that accepting writes.
const acceptedUpsert = `INSERT INTO rollups (minute, tenant_id, subscription_id, node_id, accepted) VALUES ROWS
	ON CONFLICT DO UPDATE SET accepted = accepted + excluded.accepted`

// add writes the tally to the rollups, in the order of their key.
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
	var accepted, all []any
	for _, key := range keys {
		c := y[key]
		row := []any{minute, key.tenant.UUID[:], key.subscription.UUID[:], node.UUID[:]}
		if c.attempts == 0 && c.exhausted == 0 {
			accepted = append(append(accepted, row...), c.accepted)
		} else {
			all = c.values(append(all, row...))
		}
	}
	if err := t.bulk(acceptedUpsert, 5, accepted); err != nil {
		return err
	}
	return t.bulk(t.fullUpsert(), 4+6+2*posthorn.LatencyBuckets, all)
}

func (w *writer) fullUpsert() string {
	if w.upsert == "" {
		names := countColumns()
		sums := make([]string, len(names))
		for i, name := range names {
			sums[i] = name + " = " + name + " + excluded." + name
		}
		w.upsert = `INSERT INTO rollups (minute, tenant_id, subscription_id, node_id, ` + strings.Join(names, ", ") + `)
			VALUES ROWS ON CONFLICT DO UPDATE SET ` + strings.Join(sums, ", ")
	}
	return w.upsert
}

// Stats reads the rollups. Steps begin at whole multiples of themselves since 1970.
func (s *Store) Stats(ctx context.Context, tenant posthorn.TenantID, f posthorn.StatsFilter) ([]posthorn.StatsPoint, error) {
	step := max(f.Step.Truncate(time.Minute), time.Minute).Microseconds()
	until := f.Until
	if until.IsZero() {
		until = s.Now().Add(time.Minute)
	}
	sums := make([]string, 0, 6+2*posthorn.LatencyBuckets)
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
