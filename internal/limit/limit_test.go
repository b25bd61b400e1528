package limit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/bubble"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func perSecond(n int) posthorn.RateLimit { return posthorn.RateLimit{Limit: n, Per: "second"} }

func perMinute(n int) posthorn.RateLimit { return posthorn.RateLimit{Limit: n, Per: "minute"} }

// fullest is the most permits within any interval of a length, open at its end.
func fullest(permits []time.Duration, per time.Duration) (most int) {
	first := 0
	for last := range permits {
		for permits[last]-permits[first] >= per {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

func TestTakeIsExactAndEven(t *testing.T) {
	for _, test := range []struct {
		limit posthorn.RateLimit
		want  int
		late  time.Duration
	}{
		{perSecond(1), 1, 0},
		{perSecond(10), 1, 0},
		{perSecond(10), 64, 6 * time.Millisecond},
		{perSecond(200), 10, 15 * time.Millisecond},
		{perSecond(5000), 64, time.Millisecond},
		{perSecond(5000), 250, 15 * time.Millisecond},
		{perMinute(7), 3, 400 * time.Millisecond},
		{perMinute(600), 64, 400 * time.Millisecond},
	} {
		t.Run(fmt.Sprintf("%dPer%sBy%dLate%s", test.limit.Limit, test.limit.Per, test.want, test.late), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				l := New(Options{})
				span := 60 * test.limit.Interval()
				start := time.Now()
				var permits []time.Duration
				asked := 0
				for time.Since(start) < span {
					granted, wait := l.Take(t.Context(), "k", test.limit, test.want)
					asked++
					for range granted {
						permits = append(permits, time.Since(start))
					}
					if granted < test.want {
						if wait <= 0 {
							t.Fatal("asked to come back at once")
						}
						time.Sleep(wait)
						if test.late > 0 {
							time.Sleep(rand.N(test.late))
						}
					}
				}
				total := 60 * test.limit.Limit
				if len(permits) > total || len(permits) < total*99/100 {
					t.Errorf("%d permits in 60 intervals, want %d less at most 1 %%", len(permits), total)
				}
				if most := fullest(permits, test.limit.Interval()); most > test.limit.Limit {
					t.Errorf("%d permits within one interval", most)
				}
				if most := fullest(permits, test.limit.Interval()/10); most > test.limit.Limit*3/20+2 {
					t.Errorf("%d permits within a tenth of an interval", most)
				}
				if asked/60 > 220 {
					t.Errorf("asked %d times in an interval", asked/60)
				}
			})
		})
	}
}

func TestTakeAnswers(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		l := New(Options{})
		ask := func(key string, want, granted int, wait time.Duration) {
			t.Helper()
			g, w := l.Take(t.Context(), key, perSecond(10), want)
			if g != granted || w.Round(time.Millisecond) != wait {
				t.Errorf("granted %d, retry after %s; want %d, %s", g, w, granted, wait)
			}
		}
		ask("a", 0, 0, 0)
		ask("a", 5, 1, 50*time.Millisecond)
		ask("a", 5, 0, 50*time.Millisecond)
		ask("b", 1, 1, 50*time.Millisecond)
		time.Sleep(30 * time.Millisecond)
		ask("a", 5, 0, 20*time.Millisecond)
		time.Sleep(20 * time.Millisecond)
		ask("a", 5, 1, 100*time.Millisecond)
		time.Sleep(time.Hour)
		ask("a", 5, 1, 50*time.Millisecond) // rest earns no burst
	})
}

func TestAllowLetsABurstThroughAndNoMore(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		l := New(Options{})
		ask := func(n int, want Decision) {
			t.Helper()
			if got := l.Allow(t.Context(), "k", perMinute(10), n); got != want {
				t.Errorf("%d: %+v, want %+v", n, got, want)
			}
		}
		ask(1, Decision{OK: true, Remaining: 9})
		time.Sleep(20 * time.Second)
		ask(4, Decision{OK: true, Remaining: 5})
		ask(5, Decision{OK: true, Remaining: 0})
		ask(1, Decision{RetryAfter: 40 * time.Second})
		ask(2, Decision{RetryAfter: 60 * time.Second})
		time.Sleep(40 * time.Second)
		ask(2, Decision{Remaining: 1, RetryAfter: 20 * time.Second})
		ask(1, Decision{OK: true})
		time.Sleep(20 * time.Second)
		ask(8, Decision{OK: true, Remaining: 1})
		// More than the limit waits for an empty window and then fills as many as it takes.
		ask(30, Decision{Remaining: 1, RetryAfter: time.Minute})
		time.Sleep(time.Minute)
		ask(30, Decision{OK: true})
		time.Sleep(2 * time.Minute)
		ask(1, Decision{RetryAfter: time.Minute})
		time.Sleep(time.Minute)
		ask(1, Decision{OK: true, Remaining: 9})
		time.Sleep(time.Minute)
		// So does what is asked for in two parts.
		ask(1, Decision{OK: true, Remaining: 9})
		if got := l.AllowMore(t.Context(), "k", perMinute(10), 29, 1); !got.OK {
			t.Errorf("the rest of 30: %+v", got)
		}
		ask(1, Decision{RetryAfter: 29 * time.Minute / 10})
		time.Sleep(3 * time.Minute)
		ask(2, Decision{OK: true, Remaining: 8})
		if got := l.AllowMore(t.Context(), "k", perMinute(10), 29, 1); got.OK {
			t.Errorf("the rest of 30 beside another: %+v", got)
		}
	})
}

func TestAllowIsExactUnderLoad(t *testing.T) {
	for _, limit := range []posthorn.RateLimit{perSecond(1), perSecond(10), perSecond(300), perMinute(600)} {
		bubble.Test(t, func(t *testing.T) {
			l := New(Options{})
			start := time.Now()
			span := 60 * limit.Interval()
			var permits []time.Duration
			for time.Since(start) < span {
				if l.Allow(t.Context(), "k", limit, 1).OK {
					permits = append(permits, time.Since(start))
				}
				time.Sleep(rand.N(limit.Interval() / 500))
			}
			total := 60 * limit.Limit
			if len(permits) > total || len(permits) < total*98/100 {
				t.Errorf("%+v: %d permits in 60 intervals, want %d", limit, len(permits), total)
			}
			if most := fullest(permits, limit.Interval()); most > limit.Limit {
				t.Errorf("%+v: %d permits within one interval", limit, most)
			}
		})
	}
}

// The usage against the log of everything that was ever granted.
func TestUsageNeverExceeds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := quota{limit: rapid.IntRange(1, 50).Draw(t, "limit"), per: time.Second}
		var u usage
		var log []time.Duration
		now := time.Duration(0)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now += time.Duration(rapid.IntRange(0, 100).Draw(t, "pause")) * time.Millisecond
			n, even := rapid.IntRange(1, q.limit).Draw(t, "n"), rapid.Bool().Draw(t, "even")
			g := u.take(now, q, wish{n: n, even: even})
			log = append(log, slices.Repeat([]time.Duration{now}, g.n)...)
			if g.n == 0 {
				later := usage{runs: slices.Clone(u.runs), due: u.due}
				if again := later.take(now+g.wait, q, wish{n: n, even: even}); again.n == 0 {
					t.Fatalf("refused again after %s", g.wait)
				}
			}
			if !even && g.n != 0 && g.n != n {
				t.Fatalf("granted %d of %d", g.n, n)
			}
			if most := fullest(log, q.per); most > q.limit {
				t.Fatalf("%d within one interval, limit %d", most, q.limit)
			}
			if len(u.runs) > grain+1 {
				t.Fatalf("%d runs remembered", len(u.runs))
			}
		}
	})
}

func TestShareOfANode(t *testing.T) {
	for _, test := range []struct {
		q     quota
		nodes int
		want  quota
	}{
		{quota{10, time.Second}, 1, quota{10, time.Second}},
		{quota{10, time.Second}, 3, quota{3, time.Second}},
		{quota{1, time.Second}, 3, quota{1, 3 * time.Second}},
		{quota{2, time.Minute}, 3, quota{1, 90 * time.Second}},
	} {
		if got := test.q.among(test.nodes); got != test.want {
			t.Errorf("%v among %d: %v, want %v", test.q, test.nodes, got, test.want)
		}
	}
	bubble.Test(t, func(t *testing.T) {
		l := New(Options{Nodes: func() int { return 4 }})
		start := time.Now()
		total := 0
		for time.Since(start) < 10*time.Second {
			granted, wait := l.Take(t.Context(), "k", perSecond(100), 1)
			total += granted
			time.Sleep(wait)
		}
		if total < 245 || total > 250 {
			t.Errorf("one of four nodes granted %d of 1000", total)
		}
	})
}

func TestKeysAreForgottenWhenOverOrTooMany(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		l := New(Options{MaxKeys: 1000})
		for i := range 10_000 {
			key := strconv.Itoa(i)
			l.Allow(t.Context(), "allow"+key, perSecond(1), 1)
			l.Take(t.Context(), "take"+key, perSecond(1), 1)
		}
		if n := len(l.local.keys); n > 1000 || n < 500 {
			t.Errorf("%d keys are remembered", n)
		}
		time.Sleep(time.Hour)
		for i := range 1000 {
			l.Allow(t.Context(), strconv.Itoa(i), perSecond(1), 1)
			l.Take(t.Context(), strconv.Itoa(i), perSecond(1), 1)
			time.Sleep(time.Second)
		}
		if n := len(l.local.keys); n > minTidy {
			t.Errorf("%d keys are remembered", n)
		}
	})
}

func BenchmarkAllowLocal(b *testing.B) {
	l := New(Options{})
	b.ReportAllocs()
	for b.Loop() {
		l.Allow(b.Context(), "key", perSecond(1_000_000), 1)
	}
}

func BenchmarkTakeLocal(b *testing.B) {
	l := New(Options{})
	b.ReportAllocs()
	for b.Loop() {
		l.Take(b.Context(), "key", perSecond(1_000_000), 1)
	}
}
