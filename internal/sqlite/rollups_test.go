package sqlite

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

// Whatever shapes the rows of a rollup have and come in, what they add up to is right; a few have a statement of their own.
func TestRollupShapes(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "a.db"))
	random := rand.New(rand.NewPCG(1, 2))
	now := s.Now()
	tenant, node := posthorn.TenantID{UUID: posthorn.NewUUID(now)}, posthorn.NodeID{UUID: posthorn.NewUUID(now)}
	want := map[posthorn.SubscriptionID]*counts{}
	for range 8 {
		want[posthorn.SubscriptionID{UUID: posthorn.NewUUID(now)}] = &counts{}
	}
	for range 40 {
		y := tally{}
		for sub, sum := range want {
			for range random.IntN(4) {
				c := y.of(tenant, sub)
				bucket, other := random.IntN(posthorn.LatencyBuckets), random.IntN(posthorn.LatencyBuckets)
				for _, to := range []*counts{c, sum} {
					switch bucket % 3 {
					case 0:
						to.accepted++
					case 1:
						to.attempted(posthorn.Timeout, other)
					case 2:
						to.attempted(posthorn.Succeeded, 1)
						to.latency[bucket]++
					}
					to.duration[other] += int64(bucket % 2)
				}
			}
		}
		if err := s.write(t.Context(), func(t *tx) error { return t.add(y, node) }); err != nil {
			t.Fatal(err)
		}
	}
	for sub, sum := range want {
		points, err := s.Stats(t.Context(), tenant, posthorn.StatsFilter{SubscriptionID: sub, Since: now.Add(-time.Hour), Step: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		var accepted, attempts, succeeded, failed, retried int64
		var latency, duration [posthorn.LatencyBuckets]int64
		for _, p := range points {
			accepted, attempts, succeeded, failed, retried = accepted+p.Accepted, attempts+p.Attempts, succeeded+p.Succeeded, failed+p.Failed, retried+p.Retried
			for i := range latency {
				latency[i], duration[i] = latency[i]+p.Latency[i], duration[i]+p.Duration[i]
			}
		}
		got := counts{accepted, attempts, succeeded, failed, retried, 0, latency, duration}
		if got != *sum {
			t.Errorf("got %+v, want %+v", got, *sum)
		}
	}
	if n := len(s.writer.upserts); n > maxShapes+2 || s.writer.upserts[onlyAccepted] == "" {
		t.Errorf("%d statements are kept", n)
	}
}
