package clustertest_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/clustertest"
	"github.com/posthorn/posthorn/internal/hooktest"
	"github.com/posthorn/posthorn/internal/redis/redistest"
)

// TestChangeAtOneNodeHoldsForTheNextRequestAtAnother makes, pauses and deletes subscriptions at one node and publishes in
// the next request at another, which holds the tenant's subscriptions in its cache.
func TestChangeAtOneNodeHoldsForTheNextRequestAtAnother(t *testing.T) {
	t.Run("WithRedis", func(t *testing.T) {
		t.Parallel()
		coherence(t, redistest.Start(t).URL())
	})
	t.Run("WithoutRedis", func(t *testing.T) {
		t.Parallel()
		coherence(t, "")
	})
	t.Run("WithRedisOutOfReach", func(t *testing.T) {
		t.Parallel()
		away := redistest.Start(t)
		away.Stop()
		coherence(t, away.URL())
	})
}

func coherence(t *testing.T, redis string) {
	const rounds = 100
	c := newCluster(t, clustertest.NewDatabase(t), redis)
	a, b := c.start("api,worker,janitor"), c.start("api,worker")
	receiver, url := hooktest.Listen(t, "receiver")
	began := time.Now()
	var events []string
	for i := range rounds {
		eventType := fmt.Sprintf("round.%d", i)
		made := a.subscribe(url, eventType, nil)
		p := b.publish(eventType)
		if p.Deliveries != 1 {
			t.Fatalf("round %d: an event in the request after its subscription was made found %d subscriptions", i, p.Deliveries)
		}
		events = append(events, p.ID)
		if i%2 == 0 {
			a.want(http.StatusNoContent, http.MethodDelete, "/subscriptions/"+made.ID.String(), nil, nil)
		} else {
			a.want(http.StatusOK, http.MethodPatch, "/subscriptions/"+made.ID.String(), object{"event_types": []string{"other"}}, nil)
		}
		if p := b.publish(eventType); p.Deliveries != 0 {
			t.Fatalf("round %d: an event in the request after its subscription went found %d subscriptions", i, p.Deliveries)
		}
	}
	took := time.Since(began)
	// Deleting may have come before the sending, which then is not made: of the others every one arrives.
	got := func() int {
		seen := map[string]bool{}
		for _, r := range receiver.Requests() {
			seen[r.Event] = true
		}
		n := 0
		for i := 1; i < rounds; i += 2 {
			if seen[events[i]] {
				n++
			}
		}
		return n
	}
	clustertest.Eventually(t, 10*time.Second, "every event of a subscription that was not deleted arrives", func() bool { return got() == rounds/2 })
	t.Logf("%d rounds of four requests in %s", rounds, took.Round(time.Millisecond))
}
