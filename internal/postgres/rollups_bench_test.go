package postgres

import (
	"fmt"
	"testing"
)

// BenchmarkFold adds up what ten seconds of 4,000 deliveries each leave: 3,000 tallies of 26 entries, spread over the lanes.
func BenchmarkFold(b *testing.B) {
	for _, lanes := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("Lanes%d", lanes), func(b *testing.B) {
			s := openStore(b)
			for b.Loop() {
				b.StopTimer()
				exec(b, s, `INSERT INTO tallies (at, tenant_ids, subscription_ids, kinds, latencies, durations, counts)
					SELECT now(), array_fill('10000000-0000-0000-0000-000000000000'::uuid, ARRAY[26]),
						array_agg(('20000000-0000-0000-0000-' || lpad(((r / 2 * 26 + e) % $1)::text, 12, '0'))::uuid),
						CASE WHEN r % 2 = 0 THEN array_fill(2::smallint, ARRAY[26]) ELSE '{}' END, CASE WHEN r % 2 = 0 THEN array_fill(1::smallint, ARRAY[26]) ELSE '{}' END,
						CASE WHEN r % 2 = 0 THEN array_fill(2::smallint, ARRAY[26]) ELSE '{}' END, array_fill(1, ARRAY[26])
					FROM generate_series(1, 3000) r CROSS JOIN generate_series(1, 26) e GROUP BY r`, lanes)
				b.StartTimer()
				if err := s.fold(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
