package delivery

import (
	"context"
	"sync"
	"time"

	"github.com/posthorn/posthorn"
)

const (
	// recordBatch bounds the results of one transaction.
	recordBatch = 512
	// recordGather is how long few results wait for more, and recordEnough how many no longer do: a commit costs the database
	// as much as the results of ten deliveries.
	recordGather, recordEnough = time.Millisecond, 64
	recordTimeout              = 15 * time.Second
	// recordBackoff is the wait after the store could not be written, doubled up to the longest.
	recordBackoff, recordBackoffMax = 100 * time.Millisecond, 3 * time.Second
)

// recorder writes results in groups: those that come while a write is under way share the next one.
type recorder struct {
	e       *Engine
	mu      sync.Mutex
	waiting []outcome
	wake    chan struct{}
	hurry   chan struct{}
	writers sync.WaitGroup
	// life ends with the recorder, and what is being written then with it.
	life context.Context
	end  context.CancelFunc
}

// outcome is an item with its result, and what that means for its lane.
type outcome struct {
	item   *item
	result posthorn.Result
	change *posthorn.LaneChange
	// awaited: its FIFO lane goes on only when this is recorded.
	awaited bool
}

func (r *recorder) init(e *Engine) {
	r.e = e
	r.wake = make(chan struct{}, e.opts.Recorders)
	r.hurry = make(chan struct{}, 1)
	r.life, r.end = context.WithCancel(context.Background())
}

func (r *recorder) start() {
	for range r.e.opts.Recorders {
		r.writers.Go(r.run)
	}
}

// stop ends the writers and what they are writing; what is still waiting is lost to this node, and is redone when its leases run out.
func (r *recorder) stop() {
	r.end()
	r.writers.Wait()
}

// add queues a result. What may wait here is bounded by what the engine holds.
func (r *recorder) add(it *item, result posthorn.Result, change *posthorn.LaneChange) {
	awaited := it.lane.target.sub.Ordering == posthorn.OrderingFIFO
	r.mu.Lock()
	r.waiting = append(r.waiting, outcome{it, result, change, awaited})
	hurry := len(r.waiting) >= recordEnough || change != nil || awaited
	r.mu.Unlock()
	nudge(r.wake)
	if hurry {
		nudge(r.hurry)
	}
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// gather waits a moment for more results to share the commit. What decides over a lane, or lets a FIFO lane go on, does not
// wait.
func (r *recorder) gather() {
	more := time.NewTimer(recordGather)
	defer more.Stop()
	select {
	case <-more.C:
	case <-r.hurry:
	case <-r.life.Done():
	}
}

func (r *recorder) take() []outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.waiting), recordBatch)
	batch := r.waiting[:n:n]
	if r.waiting = r.waiting[n:]; len(r.waiting) == 0 {
		r.waiting = nil
	}
	return batch
}

func (r *recorder) run() {
	for {
		select {
		case <-r.wake:
		case <-r.life.Done():
			return
		}
		r.gather()
		for batch := r.take(); len(batch) > 0 && r.life.Err() == nil; batch = r.take() {
			r.write(batch)
		}
	}
}

// write records a batch, again and again while the store cannot be reached. When the data itself is refused the batch is
// split, until the bad result stands alone: its lease then runs out, and nothing else waits for it.
func (r *recorder) write(batch []outcome) {
	for try := 0; ; try++ {
		report, err := r.record(batch)
		if err == nil {
			r.e.call(func() { r.e.recorded(batch, report) })
			r.tell(batch, report)
			return
		}
		r.e.call(func() { r.e.fault("attempts not recorded", err) })
		if posthorn.KindOf(err) != posthorn.Unavailable && try > 0 && r.life.Err() == nil {
			r.split(batch)
			return
		}
		select {
		case <-r.life.Done():
			return
		case <-time.After(min(recordBackoff<<min(try, 8), recordBackoffMax)):
		}
	}
}

func (r *recorder) split(batch []outcome) {
	if len(batch) == 1 {
		r.e.call(func() {
			batch[0].settle()
			r.e.drop(batch[0].item)
		})
		return
	}
	r.write(batch[:len(batch)/2])
	r.write(batch[len(batch)/2:])
}

func (r *recorder) record(batch []outcome) (posthorn.RecordReport, error) {
	b := posthorn.RecordBatch{Node: r.e.opts.Node, Results: make([]posthorn.Result, len(batch))}
	retries := 0
	for i, o := range batch {
		b.Results[i] = o.result
		if o.result.On == posthorn.OnFailure {
			retries++
		}
		if o.change != nil {
			b.Lanes = append(b.Lanes, *o.change)
		}
		b.Awaited = b.Awaited || o.awaited
	}
	ctx, cancel := context.WithTimeout(r.life, recordTimeout)
	defer cancel()
	start := time.Now()
	report, err := r.e.opts.Store.RecordAttempts(ctx, b)
	if err == nil && r.e.opts.Observer != nil {
		r.e.opts.Observer.Recorded(len(batch), retries, time.Since(start))
	}
	return report, err
}

// recorded forgets what is written and plans the claims of the retries.
func (e *Engine) recorded(batch []outcome, report posthorn.RecordReport) {
	for i, o := range batch {
		r := report.Results[i]
		o.settle()
		e.drop(o.item)
		e.report.recorded(o.result)
		l := o.item.lane
		switch {
		case l.target.sub.Ordering == posthorn.OrderingFIFO:
			// Only now may the store give the next of its order.
			e.claimSoon()
		case r.Moved && r.State == posthorn.Pending:
			if o.result.Again {
				r.DueAt = r.At
			}
			e.claimIn(r.DueAt.Sub(r.At))
		case o.change != nil && o.change.Recovered:
			// What the open breaker held back is due.
			e.claimSoon()
		}
	}
	for _, state := range report.Lanes {
		if l := e.lanes[state.SubscriptionID]; l != nil && l.changing == 0 {
			e.setLaneState(l, state)
			e.mind(l)
		}
	}
}

// settle notes that the store has the change, or never will.
func (o *outcome) settle() {
	if o.change != nil {
		o.item.lane.changing--
	}
}

// tell shows the results to those who watch and the lanes' changes to the other nodes.
func (r *recorder) tell(batch []outcome, report posthorn.RecordReport) {
	signal := posthorn.Signal{From: r.e.opts.Node, Lanes: report.Lanes}
	if r.e.opts.Bus.Watched() {
		for i, o := range batch {
			signal.Updates = append(signal.Updates, update(o, report.Results[i]))
		}
	}
	tenants := make(map[posthorn.SubscriptionID]posthorn.TenantID)
	for _, o := range batch {
		tenants[o.item.lane.id] = o.item.lane.tenant
	}
	for _, id := range report.Disabled {
		signal.Changed = append(signal.Changed, posthorn.Change{TenantID: tenants[id], Version: posthorn.AnyVersion})
	}
	if len(signal.Lanes) > 0 || len(signal.Updates) > 0 || len(signal.Changed) > 0 {
		r.e.opts.Bus.Publish(r.e.life, signal)
	}
	r.e.logOutcomes(batch, report)
	r.e.announceResults(batch, report)
}

func update(o outcome, r posthorn.Recorded) posthorn.Update {
	d := &o.item.Delivery
	u := posthorn.Update{
		At: r.At, TenantID: d.TenantID, DeliveryID: d.ID, EventID: d.EventID, SubscriptionID: d.SubscriptionID,
		EventType: d.EventType, State: r.State, Attempts: o.item.Number, DueAt: r.DueAt,
	}
	if r.State != posthorn.Pending {
		u.Reason = o.result.Reason
	}
	if a := o.result.Attempt; a != nil {
		u.Attempt, u.Number, u.Outcome, u.StatusCode = a.ID, a.Number, a.Outcome, a.StatusCode
		u.Duration, u.Error = a.Timing.Total, a.Error
	} else {
		u.Attempts--
	}
	return u
}
