package limit

import (
	"sync"
	"time"
)

// grain is the part of an interval within which uses are remembered as one: it bounds what is remembered to about a
// hundred runs, and delays the return of a permit by at most as much.
const grain = 100

// window remembers what was used within an interval, as runs in order of time. A used-up run holds nothing back.
type window []run

// run is n permits used from a moment on that count until another.
type run struct {
	from, until time.Duration
	n           int
}

// allow counts n at once, or nothing.
func (w window) allow(now time.Duration, q quota, n int) (window, Decision) {
	w = w.current(now)
	used := 0
	for _, r := range w {
		used += r.n
	}
	if used == 0 || used+n <= q.limit {
		return w.add(now, q, n), Decision{OK: true, Remaining: max(0, q.limit-used-n)}
	}
	d := Decision{Remaining: max(0, q.limit-used)}
	for excess, i := min(used, used+n-q.limit), 0; excess > 0; i++ {
		d.RetryAfter = w[i].until - now
		excess -= w[i].n
	}
	return w, d
}

// add counts n, whatever the limit.
func (w window) add(now time.Duration, q quota, n int) window {
	w = w.current(now)
	if last := len(w) - 1; last >= 0 && now-w[last].from < q.per/grain {
		w[last].until = max(w[last].until, now+q.per)
		w[last].n += n
		return w
	}
	until := now + q.per
	if n > q.limit {
		until = now + time.Duration(float64(q.per)*float64(n)/float64(q.limit))
	}
	return append(w, run{from: now, until: until, n: n})
}

// current leaves out what no longer counts.
func (w window) current(now time.Duration) window {
	i := 0
	for i < len(w) && w[i].until <= now {
		i++
	}
	return append(w[:0], w[i:]...)
}

func (w window) over(now time.Duration) bool { return len(w) == 0 || w[len(w)-1].until <= now }

// pace is when the next permit is due by the schedule: the theoretical arrival time of GCRA (ITU-T I.371).
type pace time.Duration

// take hands out the permits that are due, those due within the tolerance included.
func (p pace) take(now, interval, tolerance time.Duration, want int) (pace, int, time.Duration) {
	p = max(p, pace(now))
	granted := 0
	if ahead := time.Duration(p) - now; ahead <= tolerance {
		granted = min(want, int((tolerance-ahead)/interval)+1)
		p += pace(granted) * pace(interval)
	}
	some := max(1, min(time.Duration(want-granted), tolerance/(2*interval)))
	return p, granted, max(0, time.Duration(p)+(some-1)*interval-tolerance-now)
}

func (p pace) over(now time.Duration) bool { return time.Duration(p) <= now }

// table holds what is remembered of each key, for as long as it matters, and of a bounded number of keys.
type table[V interface{ over(time.Duration) bool }] struct {
	mu   sync.Mutex
	keys map[string]V
	max  int
	// tidyAt is the number of keys at which those that are over are removed next: tidying costs little for each new key.
	tidyAt int
}

const minTidy = 256

func (t *table[V]) init(most int) {
	t.keys = make(map[string]V)
	t.max, t.tidyAt = most, min(minTidy, most)
}

// use alters what is remembered of a key. The time was read before the lock was taken, so it may be a little in the past.
func (t *table[V]) use(key string, now time.Duration, alter func(V, time.Duration) V) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, known := t.keys[key]
	if !known && len(t.keys) >= t.tidyAt {
		t.tidy(now)
	}
	t.keys[key] = alter(v, now)
}

// tidy removes the keys that are over and, where all the others are too many, any eighth of them.
func (t *table[V]) tidy(now time.Duration) {
	for key, v := range t.keys {
		if v.over(now) {
			delete(t.keys, key)
		}
	}
	if len(t.keys) >= t.max {
		excess := len(t.keys) - t.max*7/8
		for key := range t.keys {
			if excess <= 0 {
				break
			}
			delete(t.keys, key)
			excess--
		}
	}
	t.tidyAt = min(t.max, max(minTidy, 2*len(t.keys)))
}
