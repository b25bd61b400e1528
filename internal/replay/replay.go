// Package replay runs replays: jobs that deliver stored events again. It owns when a replay goes on, how fast, and what
// each step is to make; several nodes may run it, and each replay is one node's at a time. It leaves finding, storing and
// the cursor to the store, which subscriptions match to its Matcher, and sending to internal/delivery, which claims what is
// made here like anything else.
package replay

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/posthorn/posthorn"
)

// Store is what a Runner needs of a store.
type Store interface {
	ActiveReplays(ctx context.Context, limit int) ([]posthorn.Replay, error)
	ReplaySources(ctx context.Context, r *posthorn.Replay, limit int) (posthorn.ReplaySources, error)
	ReplayBacklog(ctx context.Context, r *posthorn.Replay, limit int) (int, error)
	StepReplay(ctx context.Context, step posthorn.ReplayStep) (*posthorn.Replay, error)
	FindSubscriptions(ctx context.Context, tenant posthorn.TenantID, ids []posthorn.SubscriptionID) ([]posthorn.Subscription, error)
	AcquireLease(ctx context.Context, name string, node posthorn.NodeID, ttl time.Duration) (bool, error)
	ReleaseLease(ctx context.Context, name string, node posthorn.NodeID) error
	Now() time.Time
}

// Matcher finds the subscriptions that want an event now; failed are those whose filter failed on it.
type Matcher interface {
	Match(ctx context.Context, tenant posthorn.TenantID, e *posthorn.Event) (wanted, failed []posthorn.SubscriptionID, err error)
}

// Bus wakes the workers.
type Bus interface {
	Publish(ctx context.Context, s posthorn.Signal)
}

// Options of a Runner. Store, Matcher and Bus are required.
type Options struct {
	Store   Store
	Matcher Matcher
	Bus     Bus
	Node    posthorn.NodeID
	Log     *slog.Logger
	// Poll is how long a lost wake-up, or a node that died, may delay a replay; 5 s by default.
	Poll time.Duration
	// Batch bounds the deliveries of one step, Backlog those of a replay that wait to be sent, in lanes that are.
	Batch, Backlog int
	// Together is how many replays the node runs at once: most of the time each waits.
	Together int
}

func (o *Options) setDefaults() {
	if o.Poll == 0 {
		o.Poll = 5 * time.Second
	}
	if o.Batch == 0 {
		o.Batch = 500
	}
	if o.Backlog == 0 {
		o.Backlog = 2000
	}
	if o.Together == 0 {
		o.Together = 64
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

const (
	// leaseTTL is after what time another node takes on a replay whose node died; leaseRenew is how often it is renewed.
	leaseTTL, leaseRenew = 10 * time.Second, 3 * time.Second
	// looked bounds the active replays looked at in one look.
	looked = 200
)

// Runner works in the background between Start and Stop. Its Count needs no Start.
type Runner struct {
	opts    Options
	life    context.Context
	end     context.CancelFunc
	working sync.WaitGroup
	wake    chan struct{}

	mu      sync.Mutex
	running map[posthorn.ReplayID]bool
}

// New makes a Runner.
func New(opts Options) *Runner {
	opts.setDefaults()
	r := &Runner{opts: opts, wake: make(chan struct{}, 1), running: map[posthorn.ReplayID]bool{}}
	r.life, r.end = context.WithCancel(context.Background())
	return r
}

// Start begins the work: also on what an earlier run left.
func (r *Runner) Start() { r.working.Go(r.run) }

// Stop ends the work after the steps under way. What is left is for other nodes, or for the next start.
func (r *Runner) Stop() {
	r.end()
	r.working.Wait()
}

// Wake asks for a look: a replay may have been made.
func (r *Runner) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *Runner) run() {
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		select {
		case <-r.life.Done():
			return
		case <-look.C:
		case <-r.wake:
		}
		r.look()
		look.Reset(r.opts.Poll)
	}
}

// look takes on the active replays that nobody works on, as many as there is room for.
func (r *Runner) look() {
	active, err := r.opts.Store.ActiveReplays(r.life, looked)
	if err != nil {
		r.fault("active replays not read", err)
		return
	}
	for i := range active {
		job := &job{Runner: r, replay: &active[i]}
		if r.take(job.replay.ID) {
			r.working.Go(job.run)
		}
	}
}

// take reserves a replay for this node's own work; false when it is under way here, or there is no room.
func (r *Runner) take(id posthorn.ReplayID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running[id] || len(r.running) >= r.opts.Together {
		return false
	}
	r.running[id] = true
	return true
}

func (r *Runner) leave(id posthorn.ReplayID) {
	r.mu.Lock()
	delete(r.running, id)
	r.mu.Unlock()
}

// rest waits; false when the runner ends.
func (r *Runner) rest(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.life.Done():
		return false
	}
}

func (r *Runner) fault(what string, err error) {
	if r.life.Err() == nil {
		r.opts.Log.Error(what, "error", err)
	}
}
