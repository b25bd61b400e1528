package postgres

import (
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

var benchRows = flag.Int("rows", 200_000, "deliveries stored for the reading benchmarks")

// BenchmarkRead asks what people and the dashboard ask, over many rows.
func BenchmarkRead(b *testing.B) {
	l := newLoad(b, openStore(b), 50)
	l.fill(b, l.subs, *benchRows, 4, posthorn.Delivered, 0, "done")
	l.fill(b, l.subs, *benchRows/100, 4, posthorn.Exhausted, 0, "dead")
	l.fill(b, l.subs, *benchRows/100, 4, posthorn.Pending, time.Hour, "wait")
	exec(b, l.Store, `ANALYZE events, deliveries, lanes`)
	ids, err := many(b.Context(), l.Store, "ids", pgx.RowTo[[16]byte], `SELECT id FROM deliveries ORDER BY md5(id::text) LIMIT 1000`)
	if err != nil {
		b.Fatal(err)
	}
	ctx, page := b.Context(), posthorn.Page{Limit: 50}
	deep := posthorn.Page{Limit: 50, Before: posthorn.MinUUID(l.Now().Add(-30 * time.Hour))}
	list := func(f posthorn.DeliveryFilter, p posthorn.Page) func(int) error {
		return func(int) error { _, _, err := l.ListDeliveries(ctx, l.tenant, f, p); return err }
	}
	events := func(f posthorn.EventFilter) func(int) error {
		return func(int) error { _, _, err := l.ListEvents(ctx, l.tenant, f, page); return err }
	}
	for _, c := range []struct {
		name string
		ask  func(i int) error
	}{
		{"Delivery", func(i int) error {
			_, err := l.GetDelivery(ctx, l.tenant, posthorn.DeliveryID{UUID: ids[i%len(ids)]})
			return err
		}},
		{"Attempts", func(i int) error {
			_, err := l.ListAttempts(ctx, l.tenant, posthorn.DeliveryID{UUID: ids[i%len(ids)]})
			return err
		}},
		{"Deliveries", list(posthorn.DeliveryFilter{}, page)},
		{"DeliveriesDeep", list(posthorn.DeliveryFilter{}, deep)},
		{"DeliveriesOfOne", list(posthorn.DeliveryFilter{SubscriptionID: l.subs[7]}, deep)},
		{"DeliveriesFailed", list(posthorn.DeliveryFilter{States: []posthorn.State{posthorn.Exhausted}}, deep)},
		{"DeliveriesRare", list(posthorn.DeliveryFilter{StatusCode: 418}, deep)},
		{"Events", events(posthorn.EventFilter{})},
		{"EventsFailed", events(posthorn.EventFilter{Status: posthorn.EventFailed})},
		{"Queue", func(int) error { _, err := l.Queue(ctx, posthorn.TenantID{}); return err }},
		{"Backlogs", func(int) error { _, err := l.LaneBacklogs(ctx, l.tenant, 20); return err }},
		{"Updates", func(int) error { _, _, err := l.Updates(ctx, l.tenant, l.Now().Add(-10*time.Second), 500); return err }},
	} {
		b.Run(c.name, func(b *testing.B) {
			times := make([]time.Duration, b.N)
			for i := range b.N {
				start := time.Now()
				if err := c.ask(i); err != nil {
					b.Fatal(err)
				}
				times[i] = time.Since(start)
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)*95/100].Microseconds())/1000, "ms-p95")
		})
	}
}
