package bus

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/redis"
	"github.com/posthorn/posthorn/internal/redis/redistest"
	"github.com/redis/rueidis"
)

// member is one process of a cluster, with what its one follower got.
type member struct {
	*Bus
	redis *redis.Client
	lost  atomic.Int32

	mu  sync.Mutex
	got []posthorn.Signal
}

func enter(t *testing.T, n byte, o redis.Options) *member {
	t.Helper()
	m := &member{redis: redistest.Connect(t, o)}
	m.Bus = New(Options{Node: node(n), Redis: m.redis})
	t.Cleanup(m.Close)
	m.Follow(func(s posthorn.Signal) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.got = append(m.got, s)
	}, func() { m.lost.Add(1) })
	redistest.Eventually(t, "the subscription begins", func() bool { return subscribers(t, m.redis) >= int64(n) })
	return m
}

func subscribers(t *testing.T, c *redis.Client) (n int64) {
	t.Helper()
	c.Do(t.Context(), func(ctx context.Context, r rueidis.Client) error {
		answer, err := r.Do(ctx, r.B().PubsubNumsub().Channel(c.Name("bus")).Build()).ToArray()
		if err == nil {
			n, err = answer[1].AsInt64()
		}
		return err
	})
	return n
}

func (m *member) signals() []posthorn.Signal {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.got)
}

func (m *member) has(check func(posthorn.Signal) bool) func() bool {
	return func() bool { return slices.ContainsFunc(m.signals(), check) }
}

func TestSignalsReachOtherProcessesOnce(t *testing.T) {
	o := redis.Options{URL: redistest.URL(t), Prefix: redistest.Prefix()}
	a, b := enter(t, 1, o), enter(t, 2, o)
	sent := posthorn.Signal{
		Wake: true, Recall: true, Keys: true, Drain: node(9), Changed: changed(5).Changed,
		Lanes: []posthorn.Lane{{
			TenantID: tenant(1), ThrottledUntil: time.Unix(1e9, 5).UTC(), BreakerOpens: 2, HeldFor: time.Hour,
		}},
	}
	a.Publish(t.Context(), sent)
	a.Publish(t.Context(), posthorn.Signal{Wake: true})
	b.Publish(t.Context(), posthorn.Signal{Keys: true})
	sent.From = node(1)
	count := func(m *member) int { return len(m.signals()) }
	redistest.Eventually(t, "everybody has everything", func() bool { return count(a) >= 3 && count(b) >= 3 })
	index := slices.IndexFunc(b.signals(), func(s posthorn.Signal) bool { return len(s.Lanes) > 0 })
	if diff := cmp.Diff(sent, b.signals()[index]); diff != "" {
		t.Error(diff)
	}
	// A message of b's arrives after those that a's own would have come back with.
	b.Publish(t.Context(), posthorn.Signal{Drain: node(8)})
	redistest.Eventually(t, "the last one arrives", a.has(func(s posthorn.Signal) bool { return s.Drain == node(8) }))
	if count(a) != 4 || count(b) != 4 {
		t.Errorf("a has %d signals and b %d, want 4 each", count(a), count(b))
	}
}

func TestLocalDeliveryNeedsNoRedis(t *testing.T) {
	s := redistest.Start(t)
	a := enter(t, 1, redis.Options{URL: s.URL(), Heartbeat: 20 * time.Millisecond})
	s.Stop()
	a.Publish(t.Context(), changed(1))
	redistest.Eventually(t, "it is delivered", a.has(func(s posthorn.Signal) bool { return len(s.Changed) == 1 }))
	redistest.Eventually(t, "Redis counts as down", func() bool { return !a.redis.State().Up })
	start := time.Now()
	for range 2 * maxWeight {
		a.Publish(t.Context(), posthorn.Signal{Wake: true})
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("publishing while Redis is down took %s", took)
	}
}

func TestRestartOfRedisIsNoticed(t *testing.T) {
	s := redistest.Start(t)
	o := redis.Options{URL: s.URL(), Heartbeat: 20 * time.Millisecond}
	a, b := enter(t, 1, o), enter(t, 2, o)
	redistest.Eventually(t, "the beginning counts as a loss", func() bool { return a.lost.Load() >= 1 && b.lost.Load() >= 1 })
	before := []int32{a.lost.Load(), b.lost.Load()}
	s.Stop()
	redistest.Eventually(t, "Redis counts as down", func() bool { return !a.redis.State().Up && !b.redis.State().Up })
	a.Publish(t.Context(), posthorn.Signal{Keys: true}) // b cannot hear it
	s.Start()
	redistest.Eventually(t, "both learn that signals are missing", func() bool {
		return a.lost.Load() > before[0] && b.lost.Load() > before[1]
	})
	arrived := b.has(func(s posthorn.Signal) bool { return len(s.Changed) == 1 && s.Changed[0].Version == 7 })
	redistest.Eventually(t, "signals travel again", func() bool {
		a.Publish(t.Context(), changed(7))
		return arrived()
	})
}

func TestAPublisherThatWasCutOffSaysSo(t *testing.T) {
	o := redis.Options{URL: redistest.URL(t), Prefix: redistest.Prefix()}
	a, b := enter(t, 1, o), enter(t, 2, o)
	redistest.Eventually(t, "the beginning counts as a loss", func() bool { return b.lost.Load() == 1 })
	a.outgoing.lose()
	redistest.Eventually(t, "the other is told", func() bool { return b.lost.Load() == 2 })
}

func TestWatchingIsLearnedByOthers(t *testing.T) {
	o := redis.Options{URL: redistest.URL(t), Prefix: redistest.Prefix()}
	a, b := enter(t, 1, o), enter(t, 2, o)
	if a.Watched() || b.Watched() {
		t.Fatal("nobody watches yet")
	}
	stop := b.Watch()
	start := time.Now()
	redistest.Eventually(t, "a learns that b watches", a.Watched)
	if took := time.Since(start); took > time.Second {
		t.Errorf("it took %s", took)
	}
	late := enter(t, 3, o)
	redistest.Eventually(t, "one that comes later learns it too", late.Watched)
	a.Publish(t.Context(), updates(3*maxMessage+5))
	redistest.Eventually(t, "all updates arrive", func() bool {
		n := 0
		for _, s := range b.signals() {
			n += len(s.Updates)
		}
		return n == 3*maxMessage+5
	})
	stop()
	redistest.Eventually(t, "a learns that nobody watches", func() bool { return !a.Watched() })
}

func TestForeignMessagesAreIgnored(t *testing.T) {
	o := redis.Options{URL: redistest.URL(t), Prefix: redistest.Prefix()}
	a := enter(t, 1, o)
	for _, text := range []string{"", "not JSON", `{"signal":{"from":"bad"}}`, `{"origin":"new","surprise":1,"signal":{"from":"","wake":true}}`} {
		err := a.redis.Do(t.Context(), func(ctx context.Context, r rueidis.Client) error {
			return r.Do(ctx, r.B().Publish().Channel(a.redis.Name("bus")).Message(text).Build()).Error()
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	redistest.Eventually(t, "what can be understood arrives", func() bool { return len(a.signals()) == 1 })
}
