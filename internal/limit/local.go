package limit

import (
	"sync"
	"time"
)

// grain is the part of an interval within which uses are remembered as one: it bounds what is remembered to about two
// hundred runs, and delays the return of a permit by at most as much.
const grain = 200

// usage is what is remembered of one limit: what was used within the interval, as runs in order of time, and when the next
// even permit is due by the schedule, the theoretical arrival time of GCRA (ITU-T I.371).
type usage struct {
	runs []run
	due  time.Duration
}

// run is n permits used from a moment on that count until another.
type run struct {
	from, until time.Duration
	n           int
}

// grant answers one who asked for permits.
type grant struct {
	n int
	// left is how many the window has left.
	left int
	// wait is until what was refused, or some of it where permits are even, can be had.
	wait time.Duration
}

// take grants n at once or nothing or, where permits are to be even, as many of n as are due.
func (u *usage) take(now time.Duration, q quota, w wish) (g grant) {
	u.forget(now)
	used := u.used()
	room := max(0, q.limit-used)
	switch {
	case w.even:
		ahead := max(u.due-now, 0)
		if ahead <= q.slack() {
			g.n = min(w.n, room, int((q.slack()-ahead)/q.step())+1)
		}
	case w.n <= room || used <= w.already:
		g.n = w.n
	}
	if g.n > 0 {
		u.add(now, q, g.n)
		used += g.n
		g.left = max(0, room-g.n)
	} else {
		g.left = room
	}
	if w.even {
		u.due = max(u.due, now) + time.Duration(g.n)*q.step()
		next := max(1, min(w.n-g.n, q.some()))
		g.wait = max(0, u.due+time.Duration(next-1)*q.step()-q.slack()-now, u.returns(now, used+1-q.limit))
	} else if g.n == 0 {
		g.wait = u.returns(now, min(used, used+w.n-q.limit))
	}
	return g
}

// add counts n, whatever the limit.
func (u *usage) add(now time.Duration, q quota, n int) {
	u.forget(now)
	until := now + q.per
	if n > q.limit {
		until = now + time.Duration(float64(q.per)*float64(n)/float64(q.limit))
	}
	if last := len(u.runs) - 1; last >= 0 && now-u.runs[last].from < q.per/grain {
		u.runs[last].until = max(u.runs[last].until, until)
		u.runs[last].n += n
		return
	}
	u.runs = append(u.runs, run{from: now, until: until, n: n})
}

// forget leaves out what no longer counts.
func (u *usage) forget(now time.Duration) {
	i := 0
	for i < len(u.runs) && u.runs[i].until <= now {
		i++
	}
	u.runs = append(u.runs[:0], u.runs[i:]...)
}

func (u *usage) used() (n int) {
	for _, r := range u.runs {
		n += r.n
	}
	return n
}

// returns is how long it takes until n of what is used no longer count.
func (u *usage) returns(now time.Duration, n int) (wait time.Duration) {
	for i := 0; n > 0 && i < len(u.runs); i++ {
		wait = u.runs[i].until - now
		n -= u.runs[i].n
	}
	return wait
}

// over reports that nothing of it matters any more.
func (u *usage) over(now time.Duration) bool {
	return u.due <= now && (len(u.runs) == 0 || u.runs[len(u.runs)-1].until <= now)
}

// table holds the usage of each key, for as long as it matters, and of a bounded number of keys.
type table struct {
	mu   sync.Mutex
	keys map[string]*usage
	max  int
	// tidyAt is the number of keys at which those that are over are removed next: tidying costs little for each new key.
	tidyAt int
}

const minTidy = 256

func (t *table) init(most int) {
	t.keys = make(map[string]*usage)
	t.max, t.tidyAt = most, min(minTidy, most)
}

// use works on the usage of a key. The time was read before the lock was taken, so it may be a little in the past.
func (t *table) use(key string, now time.Duration, work func(*usage, time.Duration)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.keys[key]
	if u == nil {
		if len(t.keys) >= t.tidyAt {
			t.tidy(now)
		}
		u = new(usage)
		t.keys[key] = u
	}
	work(u, now)
}

// tidy removes the keys that are over and, where all the others are too many, any eighth of them.
func (t *table) tidy(now time.Duration) {
	for key, u := range t.keys {
		if u.over(now) {
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
