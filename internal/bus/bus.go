// Package bus carries signals between the parts of a process and, through Redis, between processes: wake-ups, changes,
// lane states and live updates. It is lossy by contract: it never stores, never repeats and never makes a publisher wait;
// who keeps state by its signals is told when some may be missing. What the signals mean is their readers' business.
package bus

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/redis"
)

// Options of a Bus.
type Options struct {
	Node posthorn.NodeID
	// Redis connects the processes; nil leaves this one alone.
	Redis *redis.Client
	Log   *slog.Logger
}

// Bus carries signals. It is safe for concurrent use.
type Bus struct {
	node  posthorn.NodeID
	redis *redis.Client
	log   *slog.Logger
	// origin is random and on every message, to know our own when they come back.
	origin string

	mu        sync.RWMutex
	followers map[*follower]struct{}

	watchers atomic.Int64
	others   others
	outgoing *mailbox
	incoming chan string

	life       context.Context
	end        context.CancelFunc
	background sync.WaitGroup
}

// follower is one subscriber with its own mailbox and goroutine, so that a slow one delays nobody.
type follower struct {
	signal func(posthorn.Signal)
	lost   func()
	mail   *mailbox
	end    chan struct{}
}

// New makes a Bus and, with Redis, begins to exchange signals with the other processes.
func New(o Options) *Bus {
	b := &Bus{
		node: o.Node, redis: o.Redis, log: o.Log, origin: rand.Text(),
		followers: make(map[*follower]struct{}),
		outgoing:  newMailbox(),
		incoming:  make(chan string, maxIncoming),
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	b.others.init()
	b.life, b.end = context.WithCancel(context.Background())
	if b.redis != nil {
		b.background.Go(b.send)
		b.background.Go(b.listen)
		b.background.Go(b.read)
	}
	return b
}

// Close ends the bus: nothing is delivered any more. It must not be called by a subscriber.
func (b *Bus) Close() {
	b.end()
	b.mu.Lock()
	for f := range b.followers {
		close(f.end)
	}
	clear(b.followers)
	b.mu.Unlock()
	b.background.Wait()
}

// Publish hands a signal to the subscribers of this process and, when Redis is up, of the others. It never waits. Updates
// are left out while nobody watches. The caller must not alter the signal's slices afterwards.
func (b *Bus) Publish(_ context.Context, s posthorn.Signal) {
	local := b.watchers.Load() > 0
	remote := b.others.watch()
	if !local && !remote {
		s.Updates = nil
	}
	if weigh(&s) == 0 {
		return
	}
	if s.From.IsZero() {
		s.From = b.node
	}
	b.deliver(s)
	if b.redis == nil {
		return
	}
	if !remote {
		s.Updates = nil
	}
	if weigh(&s) > 0 {
		b.outgoing.put(s)
	}
}

// deliver puts a signal into every follower's mailbox.
func (b *Bus) deliver(s posthorn.Signal) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for f := range b.followers {
		f.mail.put(s)
	}
}

// deliverLoss tells every follower that signals may be missing.
func (b *Bus) deliverLoss() {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for f := range b.followers {
		f.mail.lose()
	}
}

// Subscribe calls f for every signal, one at a time and in order, until cancel. A subscriber that falls behind by more
// than its mailbox holds loses signals; the others do not wait for it. Slices of a signal are shared: f must not alter them.
// cancel does not wait for a call under way, so f may call it.
func (b *Bus) Subscribe(f func(posthorn.Signal)) (cancel func()) { return b.Follow(f, nil) }

// Follow is Subscribe for those who keep state by the signals: lost is called, in order with f, whenever signals may be
// missing, be it that the subscriber fell behind or that processes were cut off from each other. What was kept must then be
// checked or dropped. It is also called when the exchange with other processes begins.
func (b *Bus) Follow(signal func(posthorn.Signal), lost func()) (cancel func()) {
	f := &follower{signal: signal, lost: lost, mail: newMailbox(), end: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.life.Err() != nil {
		return func() {}
	}
	b.followers[f] = struct{}{}
	b.background.Go(f.run)
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if _, ok := b.followers[f]; ok {
			delete(b.followers, f)
			close(f.end)
		}
	}
}

func (f *follower) run() {
	for {
		select {
		case <-f.end:
			return
		case <-f.mail.ready:
		}
		for _, l := range f.mail.take() {
			switch {
			case f.ended():
				return
			case !l.lost:
				f.signal(l.signal)
			case f.lost != nil:
				f.lost()
			}
		}
	}
}

func (f *follower) ended() bool {
	select {
	case <-f.end:
		return true
	default:
		return false
	}
}

// Watch registers someone who watches live updates, until stop. Other processes learn it at once, those that connect
// later within hintEvery.
func (b *Bus) Watch() (stop func()) {
	if b.watchers.Add(1) == 1 {
		b.outgoing.wake()
	}
	return sync.OnceFunc(func() {
		if b.watchers.Add(-1) == 0 {
			b.outgoing.wake()
		}
	})
}

// Watched reports whether anybody, in any process, watches live updates. It is cheap enough to ask before each one is made.
func (b *Bus) Watched() bool { return b.watchers.Load() > 0 || b.others.watch() }

const (
	// hintEvery is how often a process that watches says so, hintFor how long the others believe it.
	hintEvery = time.Second
	hintFor   = 3 * hintEvery
)

// others knows which other processes watch.
type others struct {
	start time.Time
	until atomic.Int64 // the latest end of a hint, since start; 0 when nobody watches

	mu       sync.Mutex
	byOrigin map[string]time.Duration
}

func (o *others) init() {
	o.start = time.Now()
	o.byOrigin = make(map[string]time.Duration)
}

func (o *others) watch() bool {
	until := o.until.Load()
	return until != 0 && int64(time.Since(o.start)) < until
}

// hint notes that a process watches, or no longer does.
func (o *others) hint(origin string, watches bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Since(o.start)
	if watches {
		o.byOrigin[origin] = now + hintFor
	} else {
		delete(o.byOrigin, origin)
	}
	latest := time.Duration(0)
	for origin, until := range o.byOrigin {
		if until <= now {
			delete(o.byOrigin, origin)
		}
		latest = max(latest, until)
	}
	o.until.Store(int64(latest))
}
