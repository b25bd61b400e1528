package postgres

import (
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

var (
	benchDead  = flag.Int("dead", 500_000, "due deliveries of one dead subscription")
	benchOther = flag.Int("others", 1500, "other subscriptions with two due deliveries each")
	benchDays  = flag.Int("days", 4, "days the deliveries are spread over")
	benchIdle  = flag.Int("idle", 0, "further subscriptions with one retry each that is not due")
)

// makeIDs makes UUIDv7s in SQL: the milliseconds of a moment and the rest from a hash of a salt.
const makeIDs = `CREATE OR REPLACE FUNCTION test_id(at timestamptz, salt text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
	SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(salt), 1, 3) || '8' || substr(md5(salt), 4, 15))::uuid $$`

// fill stores n deliveries of the subscriptions, with an event each, spread evenly over days up to now. Deliveries are in a
// state and, where pending, due in wait.
func (l *load) fill(t testing.TB, subs []posthorn.SubscriptionID, n, days int, state posthorn.State, wait time.Duration, salt string) {
	t.Helper()
	exec(t, l.Store, makeIDs)
	today := dayOf(l.Now())
	var list []time.Time
	for i := range days {
		list = append(list, today.Add(-time.Duration(i)*day))
	}
	if err := l.makeDays(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	const chunk = 100_000
	for from := 1; from <= n; from += chunk {
		exec(t, l.Store, `
		WITH g AS (
			SELECT i, at, test_id(at, $8 || 'e' || i) AS event, test_id(at, $8 || 'd' || i) AS id
			FROM generate_series($9::int, $10::int) i, LATERAL (SELECT $2::timestamptz + (now() - interval '1 second' - $2) * (i / $1::float8) AS at) a
		), e AS (
			INSERT INTO events (id, tenant_id, created_at, deliveries, type, content_type, ordering_key, idempotency_key, trace_parent, payload)
			SELECT event, $3, at, 1, 'invoice.paid', 'application/json', '', '', '', '\x7b7d' FROM g
		)
		INSERT INTO deliveries (id, tenant_id, event_id, subscription_id, created_at, updated_at, due_at, visible_at, completed_at, sequence,
			payload_bytes, attempts, spent, interruptions, last_status_code, manual, queued, state, reason, event_type, ordering_key,
			last_outcome, last_error)
		SELECT id, $3, event, ($4::uuid[])[1 + i % cardinality($4::uuid[])], at, at, d, d, CASE WHEN $5 <> 'pending' THEN at END, 0,
			2, 0, 0, 0, 0, 0, $5 = 'pending', $5, '', 'invoice.paid', '', '', ''
		FROM g, LATERAL (SELECT CASE WHEN $6 THEN at ELSE now() + $7::interval END AS d) x`,
			n, list[len(list)-1], uuid(l.tenant.UUID), subscriptionIDs(subs), string(state), wait == 0, wait, salt, from, min(from+chunk-1, n))
	}
}

// BenchmarkClaim claims a thousand from one dead lane with a deep backlog and many with little.
func BenchmarkClaim(b *testing.B) {
	l := newLoad(b, openStore(b), 1)
	dead := l.subs
	var others, idle []posthorn.SubscriptionID
	for range *benchOther {
		others = append(others, l.subscribe(b))
	}
	for range *benchIdle {
		idle = append(idle, l.subscribe(b))
	}
	l.fill(b, dead, *benchDead, *benchDays, posthorn.Pending, 0, "dead")
	l.fill(b, others, 2**benchOther, *benchDays, posthorn.Pending, 0, "other")
	if len(idle) > 0 {
		l.fill(b, idle, len(idle), *benchDays, posthorn.Pending, time.Hour, "idle")
	}
	exec(b, l.Store, `ANALYZE events, deliveries, lanes`)
	var times []float64
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		exec(b, l.Store, `UPDATE deliveries SET visible_at = due_at, claim = NULL, claimed_by = NULL, attempts = 0 WHERE claim IS NOT NULL`)
		l.cursor.set(posthorn.UUID{})
		b.StartTimer()
		start := time.Now()
		got, err := l.ClaimDeliveries(b.Context(), posthorn.ClaimRequest{Node: l.node, Limit: 1000, PerLane: 32, MaxBytes: 64 << 20})
		if err != nil || len(got.Claims) != 1000 {
			b.Fatal(len(got.Claims), err)
		}
		times = append(times, float64(time.Since(start).Microseconds())/1000)
		lanes := map[posthorn.SubscriptionID]int{}
		for _, c := range got.Claims {
			lanes[c.Delivery.SubscriptionID]++
		}
		if len(lanes) != min(1000, *benchOther+1) && *benchOther >= 1000 {
			b.Fatalf("claimed from %d lanes", len(lanes))
		}
	}
	slices.Sort(times)
	b.ReportMetric(times[0], "ms-min")
	b.ReportMetric(times[len(times)/2], "ms-median")
	b.ReportMetric(times[len(times)-1], "ms-max")
}
