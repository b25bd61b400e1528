// Package limit keeps to rate limits: in process, or shared by all nodes through Redis. It owns how a limit is counted; it
// leaves to others which limits there are and what happens to those who exceed them.
//
// A limit of n per second (or minute) means: never more than n within any second (minute), however it is placed, and in
// the long run at least 99 % of n where so much is asked for. Two shapes keep that promise:
//
//   - Allow is for callers who are answered at once. It remembers when permits were used and lets a burst of up to n
//     through after a rest, like a person reading the limit expects.
//   - Take is for senders who can wait. It spaces permits evenly (GCRA), so that a backlog is spread and does not come in
//     herds, and hands out several at a time where the limit is high.
//
// While Redis is out of reach each node keeps to its share, the limit divided by the live nodes. At the moment of such a
// change a window may hold up to one share more.
package limit

import (
	"context"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/redis"
	"github.com/redis/rueidis"
)

// Options of a Limiter.
type Options struct {
	// Redis shares the limits; nil keeps them in process.
	Redis *redis.Client
	// Nodes is how many live nodes share the limits while Redis does not; nil is one. It must be cheap.
	Nodes func() int
	// MaxKeys bounds the limits remembered in process, for each shape; 20,000 by default. Those forgotten start anew.
	MaxKeys int
}

// Limiter keeps to rate limits. It is safe for concurrent use and holds no goroutine.
type Limiter struct {
	redis       *redis.Client
	nodes       func() int
	start       time.Time
	windows     table[window]
	paces       table[pace]
	allow, take *rueidis.Lua
}

// Decision answers Allow.
type Decision struct {
	OK bool
	// Remaining is how much more would be allowed now.
	Remaining int
	// RetryAfter, when not OK, is how long to wait until the same would be allowed, if nobody else asks.
	RetryAfter time.Duration
}

// New makes a Limiter.
func New(o Options) *Limiter {
	if o.MaxKeys <= 0 {
		o.MaxKeys = 20_000
	}
	l := &Limiter{
		redis: o.Redis, nodes: o.Nodes, start: time.Now(),
		allow: rueidis.NewLuaScript(allowScript), take: rueidis.NewLuaScript(takeScript),
	}
	l.windows.init(o.MaxKeys)
	l.paces.init(o.MaxKeys)
	return l
}

// Allow counts n at once against the limit of a key, or nothing. More than the limit allows at all is let through when
// nothing else was within the window, and then fills as many windows as it would take: refusing would be for ever. With
// Redis it may take a round trip.
func (l *Limiter) Allow(ctx context.Context, key string, limit posthorn.RateLimit, n int) Decision {
	shared := quota{limit: max(limit.Limit, 1), per: limit.Interval()}
	if d, ok := l.allowShared(ctx, key, shared, n); ok {
		if d.OK {
			l.windows.use(key, l.now(), func(w window, now time.Duration) window { return w.add(now, shared, n) })
		}
		return d
	}
	var d Decision
	share := shared.among(l.sharers())
	l.windows.use(key, l.now(), func(w window, now time.Duration) window {
		w, d = w.allow(now, share, n)
		return w
	})
	return d
}

// Take asks for up to want permits of a key's limit and gets 0 to want. retryAfter is when asking again gets some: where
// the limit is high, a few together, so that one key costs at most about 400 round trips a second.
func (l *Limiter) Take(ctx context.Context, key string, limit posthorn.RateLimit, want int) (granted int, retryAfter time.Duration) {
	if want <= 0 {
		return 0, 0
	}
	shared := quota{limit: max(limit.Limit, 1), per: limit.Interval()}
	if granted, retryAfter, ok := l.takeShared(ctx, key, shared, want); ok {
		if granted > 0 {
			l.paces.use(key, l.now(), func(p pace, now time.Duration) pace { return max(p, pace(now+shared.interval())) })
		}
		return granted, retryAfter
	}
	sharers := l.sharers()
	l.paces.use(key, l.now(), func(p pace, now time.Duration) pace {
		p, granted, retryAfter = p.take(now, shared.interval()*time.Duration(sharers), shared.tolerance(), want)
		return p
	})
	return granted, retryAfter
}

func (l *Limiter) now() time.Duration { return time.Since(l.start) }

func (l *Limiter) sharers() int {
	if l.nodes == nil {
		return 1
	}
	return max(l.nodes(), 1)
}

// quota is a limit within any interval of a length.
type quota struct {
	limit int
	per   time.Duration
}

// among is the share of one of n nodes. A limit that is too small to be divided is stretched in time.
func (q quota) among(n int) quota {
	if q.limit >= n {
		return quota{limit: q.limit / n, per: q.per}
	}
	return quota{limit: 1, per: q.per * time.Duration(n) / time.Duration(q.limit)}
}

// tolerance is how late a permit may be asked for without being lost: 5 ms of a second. It also is what may be handed out
// at a time.
func (q quota) tolerance() time.Duration { return q.per / 200 }

// interval is the distance of two permits. An interval of length per holds at most (per + tolerance) / interval of them:
// by this choice exactly the limit, and 99.5 % of it in the long run.
func (q quota) interval() time.Duration {
	return (q.per + q.tolerance() + time.Duration(q.limit) - 1) / time.Duration(q.limit)
}
