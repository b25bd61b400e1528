package limit

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/redis"
	"github.com/posthorn/posthorn/internal/redis/redistest"
	"github.com/redis/rueidis"
)

// nodes are limiters of three processes that share a Redis.
func nodes(t *testing.T) []*Limiter {
	t.Helper()
	o := redis.Options{URL: redistest.URL(t), Prefix: redistest.Prefix(), Timeout: 2 * time.Second}
	list := make([]*Limiter, 3)
	for i := range list {
		list[i] = New(Options{Redis: redistest.Connect(t, o), Nodes: func() int { return len(list) }})
	}
	return list
}

// together lets all nodes ask for a while and returns when permits were granted.
func together(list []*Limiter, span time.Duration, ask func(l *Limiter) (granted int, wait time.Duration)) []time.Duration {
	var mu sync.Mutex
	var permits []time.Duration
	start := time.Now()
	var all sync.WaitGroup
	for _, l := range list {
		all.Go(func() {
			for time.Since(start) < span {
				granted, wait := ask(l)
				at := time.Since(start)
				mu.Lock()
				permits = append(permits, slices.Repeat([]time.Duration{at}, granted)...)
				mu.Unlock()
				<-time.After(wait)
			}
		})
	}
	all.Wait()
	slices.Sort(permits)
	return permits
}

func TestThreeNodesShareALimit(t *testing.T) {
	const limit, seconds = 200, 3
	for name, ask := range map[string]func(l *Limiter) (int, time.Duration){
		"Take": func(l *Limiter) (int, time.Duration) { return l.Take(t.Context(), "k", perSecond(limit), 10) },
		"Allow": func(l *Limiter) (int, time.Duration) {
			if d := l.Allow(t.Context(), "k", perSecond(limit), 1); !d.OK {
				return 0, min(d.RetryAfter, 2*time.Millisecond)
			}
			return 1, 0
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			permits := together(nodes(t), seconds*time.Second, ask)
			// The answer arrives a little after Redis counted, and a busy machine asks late: the exact bounds are checked
			// in fake time.
			if n := len(permits); n > limit*seconds+2 || n < limit*seconds*98/100 {
				t.Errorf("%d permits in %d seconds, want %d", n, seconds, limit*seconds)
			}
			t.Logf("%d permits; at most %d within a second", len(permits), fullest(permits, time.Second))
			if most := fullest(permits, 900*time.Millisecond); most > limit {
				t.Errorf("%d permits within less than a second", most)
			}
		})
	}
}

func TestSharedAnswersAreThoseOfTheLocalLimiter(t *testing.T) {
	shared, local := nodes(t)[0], New(Options{})
	round := func(d Decision) Decision {
		d.RetryAfter = d.RetryAfter.Round(3 * time.Second)
		return d
	}
	for i, n := range []int{1, 2, 3, 5, 4, 1} {
		got, want := shared.Allow(t.Context(), "a", perMinute(10), n), local.Allow(t.Context(), "a", perMinute(10), n)
		if round(got) != round(want) {
			t.Errorf("allow %d: %+v, want %+v", i, got, want)
		}
	}
	if d := shared.Allow(t.Context(), "b", perMinute(10), 30); !d.OK {
		t.Errorf("more than the limit, at first: %+v", d)
	}
	if d := shared.Allow(t.Context(), "b", perMinute(10), 1); d.OK || d.RetryAfter.Round(time.Second) != 3*time.Minute {
		t.Errorf("after more than the limit: %+v", d)
	}
	if d := shared.Allow(t.Context(), "parts", perMinute(10), 1); !d.OK {
		t.Errorf("the first part: %+v", d)
	}
	if d := shared.AllowMore(t.Context(), "parts", perMinute(10), 30, 0); d.OK {
		t.Errorf("another one's: %+v", d)
	}
	if d := shared.AllowMore(t.Context(), "parts", perMinute(10), 30, 1); !d.OK {
		t.Errorf("the rest: %+v", d)
	}
	if d := shared.Allow(t.Context(), "parts", perMinute(10), 1); d.OK || d.RetryAfter.Round(time.Second) != 3*time.Minute {
		t.Errorf("after the rest: %+v", d)
	}
	for i, limit := range []posthorn.RateLimit{perMinute(10), perMinute(60_000), perMinute(1_000_000)} {
		key := string(rune('c' + i))
		for _, want := range []int{100_000, 1} {
			g, gw := shared.Take(t.Context(), key, limit, want)
			w, ww := local.Take(t.Context(), key, limit, want)
			// A few milliseconds pass between the two.
			if near := max(2, w/10); g < w-near || g > w+near || (gw-ww).Abs() > time.Second {
				t.Errorf("take of %+v: %d, %s; want %d, %s", limit, g, gw, w, ww)
			}
		}
	}
}

func TestKeysInRedisExpire(t *testing.T) {
	l := nodes(t)[0]
	l.Allow(t.Context(), "allow", perMinute(10), 1)
	l.Take(t.Context(), "take", perMinute(10), 1)
	for _, name := range []string{"limit:{allow}", "limit:{take}"} {
		err := l.redis.Do(t.Context(), func(ctx context.Context, r rueidis.Client) error {
			left, err := r.Do(ctx, r.B().Pttl().Key(l.redis.Name(name)).Build()).AsInt64()
			if left < 1 || left > 61_000 {
				t.Errorf("%s expires in %d ms", name, left)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestLosingRedisFallsBackToTheShare(t *testing.T) {
	s := redistest.Start(t)
	c := redistest.Connect(t, redis.Options{URL: s.URL(), Heartbeat: 20 * time.Millisecond})
	l := New(Options{Redis: c, Nodes: func() int { return 3 }})
	if d := l.Allow(t.Context(), "k", perMinute(30), 2); !d.OK || d.Remaining != 28 {
		t.Errorf("shared: %+v", d)
	}
	s.Stop()
	redistest.Eventually(t, "Redis counts as down", func() bool { return !c.State().Up })
	// What this node used of the shared limit counts against its share.
	if d := l.Allow(t.Context(), "k", perMinute(30), 1); !d.OK || d.Remaining != 7 {
		t.Errorf("share: %+v", d)
	}
	s.Start()
	if _, err := c.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The restarted Redis knows neither the keys nor the scripts.
	if d := l.Allow(t.Context(), "k", perMinute(30), 1); !d.OK || d.Remaining != 29 {
		t.Errorf("shared again: %+v", d)
	}
	if granted, _ := l.Take(t.Context(), "other", perMinute(30), 1); granted != 1 {
		t.Error("nothing is granted after the restart")
	}
	for _, flush := range []rueidis.Completed{
		r(t, c).B().Flushall().Build(), r(t, c).B().ScriptFlush().Build(),
	} {
		if err := r(t, c).Do(t.Context(), flush).Error(); err != nil {
			t.Fatal(err)
		}
	}
	if d := l.Allow(t.Context(), "k", perMinute(30), 1); !d.OK || d.Remaining != 29 {
		t.Errorf("after a flush: %+v", d)
	}
}

func r(t *testing.T, c *redis.Client) rueidis.Client {
	t.Helper()
	r, ok := c.Client()
	if !ok {
		t.Fatal("Redis is down")
	}
	return r
}
