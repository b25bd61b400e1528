// Package janitor does what keeps a store small and its promises true: retention, deliveries that must not wait any
// longer, partitions ahead of time. One node at a time does it, by a lease that is a row of the store. What each step
// means is the store's to know; claims of dead nodes need no sweep, as a lease that ran out is simply claimed again.
package janitor

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/posthorn/posthorn"
)

// Store is what the janitor needs of a store.
type Store interface {
	posthorn.Upkeep
	CleanAccess(ctx context.Context, keep time.Duration, batch int) (removed int, done bool, err error)
	AcquireLease(ctx context.Context, name string, node posthorn.NodeID, ttl time.Duration) (bool, error)
	ReleaseLease(ctx context.Context, name string, node posthorn.NodeID) error
	RecordAttempts(ctx context.Context, batch posthorn.RecordBatch) (posthorn.RecordReport, error)
}

// Announcer publishes Posthorn's own events, where a subscription wants them (internal/ingest).
type Announcer interface {
	Announce(ctx context.Context, tenant posthorn.TenantID, e *posthorn.Event) error
}

// Bus shows ended deliveries to those who watch.
type Bus interface {
	Publish(ctx context.Context, s posthorn.Signal)
	Watched() bool
}

// Options of a Janitor. Store and Bus are required.
type Options struct {
	Store Store
	Bus   Bus
	Node  posthorn.NodeID
	Log   *slog.Logger
	// Announcer nil announces nothing.
	Announcer Announcer
	// Retention and Hold are the settings of the same names; Window is the retry window.
	Retention, Hold, Window time.Duration
	// AuditRetention is how long the audit log is kept.
	AuditRetention time.Duration
	// CleanupEvery is the time between cleanups, WithdrawEvery between looks at deliveries that must end.
	CleanupEvery, WithdrawEvery time.Duration
	// Batch bounds the rows of one step.
	Batch int
	// Observe, when set, is told what each cleanup removed.
	Observe func(posthorn.CleanupReport, time.Duration)
	// Withdrawn, when set, is told how many deliveries were ended, by reason.
	Withdrawn func(map[posthorn.Reason]int)
}

const (
	// duty is the lease's name; a janitor that stops without giving it back is replaced after dutyTTL.
	duty    = "janitor"
	dutyTTL = 2 * time.Minute
	// wakeDelay is how long a wake-up waits for more of its kind: subscriptions can change by the hundred.
	wakeDelay = time.Second
	// rest is the pause between two steps, so that others get at the store.
	rest = 20 * time.Millisecond
)

func (o *Options) setDefaults() {
	if o.CleanupEvery == 0 {
		o.CleanupEvery = 12 * time.Hour
	}
	if o.WithdrawEvery == 0 {
		o.WithdrawEvery = 30 * time.Second
	}
	if o.Batch == 0 {
		o.Batch = 1000
	}
	if o.AuditRetention == 0 {
		o.AuditRetention = 90 * 24 * time.Hour
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Janitor works in the background between Start and Stop.
type Janitor struct {
	opts    Options
	life    context.Context
	end     context.CancelFunc
	working sync.WaitGroup
	wake    chan struct{}
}

// New makes a Janitor.
func New(opts Options) *Janitor {
	opts.setDefaults()
	j := &Janitor{opts: opts, wake: make(chan struct{}, 1)}
	j.life, j.end = context.WithCancel(context.Background())
	return j
}

// Start begins the work. The first cleanup comes after the first duty, not after CleanupEvery: a node that is restarted
// every day must clean up too.
func (j *Janitor) Start() { j.working.Go(j.run) }

// Stop ends the work after the step under way.
func (j *Janitor) Stop() {
	j.end()
	j.working.Wait()
}

// Wake asks for a look, soon, at deliveries that must end: a subscription may have been deleted.
func (j *Janitor) Wake() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

func (j *Janitor) run() {
	defer j.resign()
	look := time.NewTimer(0)
	defer look.Stop()
	var cleaned, sampled time.Time
	woken := false
	for {
		select {
		case <-j.life.Done():
			return
		case <-look.C:
		case <-j.wake:
			if !woken {
				woken = true
				look.Reset(wakeDelay)
			}
			continue
		}
		woken = false
		if j.onDuty() {
			j.warn()
			j.withdraw()
			if minute := time.Now().Truncate(time.Minute); minute.After(sampled) {
				sampled = minute
				j.sample()
			}
			if cleaned.IsZero() || time.Since(cleaned) >= j.opts.CleanupEvery {
				if j.prepareAndClean() {
					cleaned = time.Now()
				}
			}
		}
		look.Reset(j.opts.WithdrawEvery)
	}
}

func (j *Janitor) onDuty() bool {
	held, err := j.opts.Store.AcquireLease(j.life, duty, j.opts.Node, dutyTTL)
	if err != nil && j.life.Err() == nil {
		j.opts.Log.Error("janitor's duty not taken", "error", err)
	}
	return held && err == nil
}

// resign gives the duty back, so that another node need not wait for the lease to run out.
func (j *Janitor) resign() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := j.opts.Store.ReleaseLease(ctx, duty, j.opts.Node); err != nil {
		j.opts.Log.Warn("janitor's duty not given back", "error", err)
	}
}

// withdraw ends the deliveries that must not wait any longer, step by step.
func (j *Janitor) withdraw() {
	for j.life.Err() == nil {
		report, err := j.opts.Store.WithdrawDeliveries(j.life, posthorn.Withdrawal{
			Hold: j.opts.Hold, Window: j.opts.Window, Notice: j.notice(), Batch: j.opts.Batch,
		})
		if err != nil {
			j.fault("deliveries not withdrawn", err)
			return
		}
		if len(report.Ended) > 0 {
			if j.opts.Withdrawn != nil {
				j.opts.Withdrawn(report.Ended)
			}
			j.opts.Log.Info("deliveries withdrawn", "by_reason", report.Ended)
			j.tell(report)
			j.announceEnded(report.Updates)
		}
		if report.Done || !j.rest() {
			return
		}
	}
}

// tell wakes those whom a withdrawn delivery kept waiting, as the head of a FIFO lane does, and shows what was withdrawn.
func (j *Janitor) tell(report posthorn.WithdrawalReport) {
	// Nodes may hold what has ended, where they have not heard that its subscription is gone.
	signal := posthorn.Signal{From: j.opts.Node, Wake: true, Recall: true}
	if j.opts.Bus.Watched() {
		signal.Updates = report.Updates
	}
	j.opts.Bus.Publish(j.life, signal)
}

// sample notes how much waits, for the history of the queue.
func (j *Janitor) sample() {
	if err := j.opts.Store.SampleQueue(j.life); err != nil {
		j.fault("queue not sampled", err)
	}
}

// prepareAndClean reports whether all that is past the retention has gone; what is left then goes at the next look.
func (j *Janitor) prepareAndClean() bool {
	if err := j.opts.Store.Prepare(j.life); err != nil {
		j.fault("store not prepared for the coming days", err)
		return false
	}
	sum, err := j.Cleanup(j.life)
	if err != nil {
		j.fault("cleanup not finished", err)
	}
	if sum.Behind {
		j.opts.Log.Warn("some of what is past the retention stays until the deliveries of that time were looked through")
	}
	return err == nil && !sum.Behind
}

// Cleanup removes everything older than the retention, in steps, and sums them up. It needs no duty: two at once do no
// harm.
func (j *Janitor) Cleanup(ctx context.Context) (posthorn.CleanupReport, error) {
	var sum posthorn.CleanupReport
	start := time.Now()
	for !sum.Done {
		step, err := j.opts.Store.Cleanup(ctx, posthorn.Retention{Logs: j.opts.Retention, Batch: j.opts.Batch})
		if err != nil {
			return sum, err
		}
		sum.Events += step.Events
		sum.Deliveries += step.Deliveries
		sum.Attempts += step.Attempts
		sum.Keys += step.Keys
		sum.Partitions += step.Partitions
		sum.Done, sum.Behind = step.Done, step.Behind
		if !sum.Done && !j.rest() {
			return sum, j.life.Err()
		}
	}
	access, err := j.cleanAccess(ctx)
	if err != nil {
		return sum, err
	}
	j.opts.Log.Info("cleaned up", "events", sum.Events, "deliveries", sum.Deliveries, "attempts", sum.Attempts,
		"keys", sum.Keys, "partitions", sum.Partitions, "audit_and_sessions", access, "behind", sum.Behind, "took", time.Since(start))
	if j.opts.Observe != nil {
		j.opts.Observe(sum, time.Since(start))
	}
	return sum, nil
}

// cleanAccess removes what is old of the audit log, and sessions that have ended.
func (j *Janitor) cleanAccess(ctx context.Context) (sum int, err error) {
	for done := false; !done; {
		var removed int
		if removed, done, err = j.opts.Store.CleanAccess(ctx, j.opts.AuditRetention, j.opts.Batch); err != nil {
			return sum, err
		}
		sum += removed
		if !done && !j.rest() {
			return sum, j.life.Err()
		}
	}
	return sum, nil
}

// rest pauses between steps; false when the janitor ends.
func (j *Janitor) rest() bool {
	select {
	case <-time.After(rest):
		return true
	case <-j.life.Done():
		return false
	}
}

func (j *Janitor) fault(what string, err error) {
	if j.life.Err() == nil {
		j.opts.Log.Error(what, "error", err)
	}
}
