package postgres

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

var benchExpired = flag.Int("expired", 200_000, "expired deliveries, each with its event and an attempt")

// BenchmarkCleanup drops a day of expired deliveries while events are accepted.
func BenchmarkCleanup(b *testing.B) {
	l := newLoad(b, openStore(b), 20)
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		l.fillDay(b, dayOf(l.Now()).Add(-6*day), *benchExpired)
		ctx, stop := context.WithCancel(b.Context())
		longest := make(chan time.Duration)
		go func() {
			var most time.Duration
			for ctx.Err() == nil {
				start := time.Now()
				if _, err := l.AcceptEvents(b.Context(), l.node, []posthorn.Acceptance{l.acceptance([]byte("1"), true, l.subs[0])}); err != nil {
					b.Error(err)
				}
				most = max(most, time.Since(start))
			}
			longest <- most
		}()
		b.StartTimer()
		report, err := l.Cleanup(b.Context(), posthorn.Retention{Logs: 72 * time.Hour, Batch: 5000})
		b.StopTimer()
		stop()
		if err != nil || report.Partitions != 3 {
			b.Fatal(report, err)
		}
		b.ReportMetric(float64((<-longest).Milliseconds()), "ms-longest-accept")
		b.ReportMetric(float64(report.Deliveries), "deliveries")
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/day")
}

// fillDay stores ended deliveries of one day, and one in a thousand that is pending.
func (l *load) fillDay(t testing.TB, d time.Time, n int) {
	t.Helper()
	exec(t, l.Store, makeIDs)
	if err := l.makeDays(t.Context(), []time.Time{d}); err != nil {
		t.Fatal(err)
	}
	const chunk = 100_000
	for from := 0; from < n; from += chunk {
		exec(t, l.Store, `
			WITH g AS MATERIALIZED (
				SELECT i, at, test_id(at, $2::text || 'e' || i) AS event, test_id(at, $2::text || 'd' || i) AS id
				FROM generate_series($3::int, $4::int) i, LATERAL (SELECT $1::timestamptz + interval '1 day' * (i / $5::float8) AS at) a
			), e AS (
				INSERT INTO events (id, tenant_id, created_at, deliveries, type, content_type, ordering_key, idempotency_key, trace_parent, payload)
				SELECT event, $6, at, 1, 'invoice.paid', 'application/json', '', '', '', decode(repeat('7b', 200), 'hex') FROM g
			), a AS (
				INSERT INTO attempts (id, tenant_id, delivery_id, event_id, subscription_id, started_at, recorded_at, number, status_code,
					dns_us, connect_us, tls_us, first_byte_us, total_us, reused, manual, our_fault, body_truncated, outcome, error, detail)
				SELECT test_id(at, $2::text || 'a' || i), $6, id, event, ($7::uuid[])[1 + i % cardinality($7::uuid[])], at, at, 1, 200, 0, 0, 0, 0, 0,
					false, false, false, false, 'succeeded', '', '' FROM g
			)
			INSERT INTO deliveries (id, tenant_id, event_id, subscription_id, created_at, updated_at, due_at, visible_at, completed_at, sequence,
				payload_bytes, attempts, spent, interruptions, last_status_code, manual, queued, state, reason, event_type, ordering_key,
				last_outcome, last_error)
			SELECT id, $6, event, ($7::uuid[])[1 + i % cardinality($7::uuid[])], at, at, at, at, at, 0, 200, 1, 1, 0, 200, 0, i % 1000 = 0,
				CASE WHEN i % 1000 = 0 THEN 'pending' ELSE 'succeeded' END, '', 'invoice.paid', '', '', ''
			FROM g`, d, fmt.Sprint(time.Now().UnixNano()), from, min(from+chunk, n)-1, n, uuid(l.tenant.UUID), subscriptionIDs(l.subs))
	}
	// Days before it expires a day has been vacuumed.
	exec(t, l.Store, strings.ReplaceAll(`VACUUM ANALYZE events_{day}, deliveries_{day}, attempts_{day}`, "{day}", d.Format(dayFormat)))
}
