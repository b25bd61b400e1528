// Package delivery is the engine: it claims due deliveries, schedules them in lanes so that no subscription can starve
// another, signs and sends them, decides what each attempt means and records it. It leaves storing to the store, which
// request is allowed out to internal/egress, and what a signature is to internal/signing. One goroutine owns the lanes;
// channels carry the rest.
package delivery

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/oauth"
)

// Store is what the engine needs of a store.
type Store interface {
	posthorn.DeliveryQueue
	Now() time.Time
}

// Subscriptions reads subscriptions, tombstones included, from a set of at least the given version.
type Subscriptions interface {
	Subscription(ctx context.Context, tenant posthorn.TenantID, id posthorn.SubscriptionID, atLeast int64) (*posthorn.Subscription, error)
}

// Client makes one attempt.
type Client interface {
	Do(ctx context.Context, r egress.Request) egress.Result
}

// Limiter hands out the permits of a rate limit, shared between nodes where it can be.
type Limiter interface {
	// Take asks for permits and gets 0 to want of them; retryAfter says when to ask for more.
	Take(ctx context.Context, key string, limit posthorn.RateLimit, want int) (granted int, retryAfter time.Duration)
}

// Bus carries hints between the parts of a node and between nodes.
type Bus interface {
	Publish(ctx context.Context, s posthorn.Signal)
	Subscribe(f func(posthorn.Signal)) (cancel func())
	Watched() bool
}

// Announcer publishes Posthorn's own events to those who ask for them.
type Announcer interface {
	Announce(ctx context.Context, tenant posthorn.TenantID, e *posthorn.Event) error
}

// Observer counts; every method must be cheap and safe for concurrent use.
type Observer interface {
	Attempted(a *posthorn.Attempt, event *posthorn.Event)
	Claimed(deliveries int, took time.Duration)
	// Recorded is told of each transaction: the results in it, and how many of them were retries to come.
	Recorded(results, retries int, took time.Duration)
}

// Tracer follows attempts.
type Tracer interface {
	// Attempt begins one to a host: the traceparent that a subscriber may be sent, and what takes the result.
	Attempt(c *posthorn.Claimed, host string) (traceparent string, end func(*posthorn.Attempt))
}

// Options of an Engine. Store, Subscriptions, Client and Bus are required.
type Options struct {
	Store         Store
	Subscriptions Subscriptions
	Client        Client
	Bus           Bus
	Limiter       Limiter
	Announcer     Announcer
	Observer      Observer
	// Tracer nil follows nothing; SendTraceParent lets subscribers continue the trace.
	Tracer          Tracer
	SendTraceParent bool
	Node            posthorn.NodeID
	Log             *slog.Logger
	// UserAgent of every request.
	UserAgent string
	// Slots bounds the requests in flight; lanes that are failing, slow or unknown share half of them.
	Slots int
	// MaxHeld and MaxHeldBytes bound the deliveries in memory and their payloads.
	MaxHeld      int
	MaxHeldBytes int64
	// Window is the retry window; DisableAfter disables a subscription that failed this long without one success.
	Window, DisableAfter time.Duration
	// Poll is the longest wait between claims: what a lost wake-up costs.
	Poll time.Duration
	// Random spreads the retries, uniform in [0, 1); math/rand's unless a test wants the same again.
	Random func() float64
	// Recorders is how many batches of results may be written at once: 1 for a store with one writer.
	Recorders int
}

func (o *Options) setDefaults() {
	setDefault(&o.Slots, 2048)
	setDefault(&o.MaxHeld, 8192)
	setDefault(&o.MaxHeldBytes, 64<<20)
	setDefault(&o.Window, 72*time.Hour)
	setDefault(&o.DisableAfter, 5*24*time.Hour)
	setDefault(&o.Poll, time.Second)
	setDefault(&o.Recorders, 1)
	setDefault(&o.UserAgent, "Posthorn")
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Engine delivers. Start it once; Stop ends it.
type Engine struct {
	opts     Options
	rooms    rooms
	reach    reach
	recorder recorder
	tokens   *oauth.Tokens

	submitted chan submission
	// due reaches a worker that waits, of which there are spare many.
	due      chan *item
	spare    atomic.Int32
	finished chan *flight
	calls    chan func()

	// life ends when the loop must; sending ends earlier, which interrupts what is in flight.
	life, sending       context.Context
	endLife, endSending context.CancelFunc
	background          sync.WaitGroup
	unsubscribe         func()

	// What follows belongs to the loop.
	lanes    map[posthorn.SubscriptionID]*lane
	held     map[posthorn.AttemptID]*item
	slots    slots
	claims   claims
	renewing bool
	// recalled asks for a recall, which was last made at recalledAt; recallDue says that one is planned.
	recalled, recallDue bool
	recalledAt          time.Time
	// beat fires each second while there are lanes, which beats says.
	beat     *time.Timer
	beats    bool
	tidied   time.Time
	draining bool
	stopping bool
	idle     chan struct{} // closed when stopping and nothing is held
	report   report
}

// submission is what ingest hands over.
type submission struct {
	claimed []posthorn.Claimed
	leased  time.Time
}

// New makes an Engine.
func New(opts Options) *Engine {
	opts.setDefaults()
	e := &Engine{
		opts:      opts,
		submitted: make(chan submission, 256),
		due:       make(chan *item),
		finished:  make(chan *flight, 256),
		calls:     make(chan func(), 64),
		lanes:     make(map[posthorn.SubscriptionID]*lane),
		held:      make(map[posthorn.AttemptID]*item),
		slots:     slots{all: opts.Slots},
		idle:      make(chan struct{}),
	}
	e.rooms.init(opts.MaxHeld, opts.MaxHeldBytes)
	e.recorder.init(e)
	e.tokens = oauth.New(opts.Client)
	e.life, e.endLife = context.WithCancel(context.Background())
	e.sending, e.endSending = context.WithCancel(context.Background())
	return e
}

// Start begins delivering.
func (e *Engine) Start() {
	e.unsubscribe = e.opts.Bus.Subscribe(e.hear)
	e.recorder.start()
	e.background.Go(e.loop)
}

// Reserve asks for room for one delivery that is about to be accepted (see ingest.Lanes).
func (e *Engine) Reserve(id posthorn.SubscriptionID, bytes int) bool {
	return e.rooms.reserve(id, bytes)
}

// Unreserve gives room back that was not used.
func (e *Engine) Unreserve(id posthorn.SubscriptionID, bytes int) { e.rooms.unreserve(id, bytes) }

// Submit takes committed deliveries that were born claimed by this node, in reserved room.
func (e *Engine) Submit(claimed []posthorn.Claimed, leased time.Time) {
	select {
	case e.submitted <- submission{claimed, leased}:
	case <-e.life.Done():
	}
}

// loop owns the lanes.
func (e *Engine) loop() {
	e.claims.timer = time.NewTimer(0)
	defer e.claims.timer.Stop()
	e.beat = time.NewTimer(0)
	defer e.beat.Stop()
	for {
		select {
		case s := <-e.submitted:
			e.takeSubmission(s)
		case f := <-e.finished:
			e.finish(f)
		case call := <-e.calls:
			call()
		case <-e.claims.timer.C:
			e.claim()
		case now := <-e.beat.C:
			e.tick(now)
			e.beats = len(e.lanes) > 0
			if e.beats {
				e.beat.Reset(time.Second)
			}
		case <-e.life.Done():
			return
		}
	}
}

// call runs f in the loop, soon; it gives up when the engine ends.
func (e *Engine) call(f func()) {
	select {
	case e.calls <- f:
	case <-e.life.Done():
	}
}

// hear takes a signal from the bus.
func (e *Engine) hear(s posthorn.Signal) {
	if !s.Wake && !s.Recall && len(s.Lanes) == 0 && len(s.Changed) == 0 && s.Drain.IsZero() {
		return
	}
	e.call(func() {
		for i := range s.Lanes {
			if l := e.lanes[s.Lanes[i].SubscriptionID]; l != nil && l.changing == 0 && s.From != e.opts.Node {
				e.hearLaneState(l, s.Lanes[i])
			}
		}
		for _, c := range s.Changed {
			e.changed(c)
		}
		if s.Drain == e.opts.Node && !s.Drain.IsZero() {
			e.drain()
		}
		if s.Recall {
			e.recalled = true
			e.recall(time.Now())
		}
		if s.Wake {
			e.claimSoon()
		}
	})
}

// takeSubmission puts what ingest handed over into the lanes; its room is already counted. What was accepted before the
// store knew that its lane is blocked goes back.
func (e *Engine) takeSubmission(s submission) {
	now := e.opts.Store.Now()
	var back []*item
	for i := range s.claimed {
		it := e.hold(s.claimed[i], s.leased)
		if !it.Failing {
			it.lane.soundAt = s.leased
		}
		if e.draining || it.lane.unreadable || it.lane.blocked(now) {
			back = append(back, it)
		} else {
			e.queue(it)
		}
	}
	e.releaseAll(back)
}

// hold notes a claimed delivery.
func (e *Engine) hold(c posthorn.Claimed, leased time.Time) *item {
	l := e.lane(c.Delivery.SubscriptionID, c.Delivery.TenantID)
	l.idleSince = time.Time{}
	it := &item{Claimed: c, lane: l, leaseEnd: leased.Add(posthorn.Lease)}
	e.held[c.Attempt] = it
	return it
}

// queue puts a held delivery in its lane and sends what can be sent.
func (e *Engine) queue(it *item) {
	it.lane.push(it)
	e.dispatch(it.lane)
}

// tick does what is due each second: slow lanes lose trust, leases are renewed, idle lanes are forgotten.
func (e *Engine) tick(now time.Time) {
	e.distrustSlow(now)
	e.recall(now)
	e.renew(now)
	e.forgetIdle(now)
}

// drain claims nothing more and gives back what waits; what is in flight ends by itself.
func (e *Engine) drain() {
	e.draining = true
	e.rooms.close()
	for _, l := range e.lanes {
		e.releaseQueue(l, everything)
	}
}

// Drain makes the node claim nothing more, until it is restarted.
func (e *Engine) Drain() { e.call(e.drain) }

// Stop ends the engine: it gives back what waits, lets what is in flight end until ctx does, interrupts the rest, and
// records everything. It returns when all goroutines have ended.
func (e *Engine) Stop(ctx context.Context) {
	e.rooms.close()
	e.call(func() {
		e.stopping = true
		e.drain()
		e.takeSubmitted()
		e.checkIdle()
	})
	select {
	case <-e.idle:
	case <-ctx.Done():
		e.endSending()
		// What was interrupted has still to be recorded; the store gets a moment for it.
		select {
		case <-e.idle:
		case <-time.After(RecordGrace):
		}
	}
	e.endSending()
	e.unsubscribe()
	e.recorder.stop()
	e.endLife()
	e.background.Wait()
}

// takeSubmitted takes what ingest handed over last, so that it is given back too.
func (e *Engine) takeSubmitted() {
	for {
		select {
		case s := <-e.submitted:
			e.takeSubmission(s)
		default:
			return
		}
	}
}

// RecordGrace is how long interrupted attempts may take to be recorded.
const RecordGrace = 3 * time.Second

// checkIdle ends the wait of Stop when nothing is held any more, and no claim is under way that could bring something.
func (e *Engine) checkIdle() {
	if e.stopping && len(e.held) == 0 && !e.claims.busy {
		select {
		case <-e.idle:
		default:
			close(e.idle)
		}
	}
}
