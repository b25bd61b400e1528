// Package limit keeps to rate limits: in process, or shared by all nodes through Redis. It owns how a limit is counted; it
// leaves to others which limits there are and what happens to those who exceed them.
//
// A limit of n per second (or minute) means: never more than n within any second (minute), however it is placed, and in
// the long run at least 99 % of n where so much is asked for. What was used is remembered until it no longer counts, so
// whoever asks late loses nothing but his own delay. Two ways of asking keep that promise:
//
//   - Allow is for callers who are answered at once. It lets a burst of up to n through after a rest, as a person who
//     reads the limit expects.
//   - Take is for senders who can wait. It spaces permits evenly, so that a backlog is spread and does not come in herds,
//     and hands out several at a time where the limit is high.
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
	// MaxKeys bounds the limits remembered in process; 50,000 by default. Those forgotten start anew.
	MaxKeys int
}

// Limiter keeps to rate limits. It is safe for concurrent use and holds no goroutine.
type Limiter struct {
	redis  *redis.Client
	nodes  func() int
	start  time.Time
	local  table
	script *rueidis.Lua
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
		o.MaxKeys = 50_000
	}
	l := &Limiter{redis: o.Redis, nodes: o.Nodes, start: time.Now(), script: rueidis.NewLuaScript(script)}
	l.local.init(o.MaxKeys)
	return l
}

// Allow counts n at once against the limit of a key, or nothing. More than the limit allows at all is let through when
// nothing else was within the window, and then fills as many windows as it would take: refusing would be for ever. With
// Redis it may take a round trip.
func (l *Limiter) Allow(ctx context.Context, key string, limit posthorn.RateLimit, n int) Decision {
	return l.AllowMore(ctx, key, limit, n, 0)
}

// AllowMore is Allow for the rest of something of which some was allowed already: that does not keep the rest out where both
// are more than the limit allows at all.
func (l *Limiter) AllowMore(ctx context.Context, key string, limit posthorn.RateLimit, n, already int) Decision {
	g := l.ask(ctx, key, limit, wish{n: n, already: already})
	return Decision{OK: g.n == n, Remaining: g.left, RetryAfter: g.wait}
}

// Take asks for up to want permits of a key's limit and gets 0 to want. retryAfter is when asking again gets some: where
// the limit is high, a few together, so that one key costs a node at most about 200 round trips in an interval.
func (l *Limiter) Take(ctx context.Context, key string, limit posthorn.RateLimit, want int) (granted int, retryAfter time.Duration) {
	g := l.ask(ctx, key, limit, wish{n: want, even: true})
	return g.n, g.wait
}

// wish is what somebody asks for: n evenly spaced permits at most, or n at once of something of which some was allowed already.
type wish struct {
	n, already int
	even       bool
}

// ask asks Redis or, where that is out of reach, the node's own share.
func (l *Limiter) ask(ctx context.Context, key string, limit posthorn.RateLimit, w wish) grant {
	if w.n <= 0 {
		return grant{}
	}
	q := quota{limit: max(limit.Limit, 1), per: limit.Interval()}
	g, ok := l.askRedis(ctx, key, q, w)
	if ok && g.n == 0 {
		return g
	}
	l.local.use(key, time.Since(l.start), func(u *usage, now time.Duration) {
		if ok {
			u.add(now, q, g.n) // what this node has used counts when it falls back to its share
		} else {
			g = u.take(now, q.among(l.sharers()), w)
		}
	})
	return g
}

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

// step is the distance of two even permits.
func (q quota) step() time.Duration {
	return (q.per + time.Duration(q.limit) - 1) / time.Duration(q.limit)
}

// slack is how far even permits may run ahead of the schedule: what was asked for late is made up for within it, and it is
// what may be handed out at a time.
func (q quota) slack() time.Duration { return q.per / 20 }

// some is how many even permits are worth coming back for: half of what may be handed out at a time.
func (q quota) some() int { return max(1, int(q.slack()/(2*q.step()))) }
