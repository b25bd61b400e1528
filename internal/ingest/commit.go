package ingest

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn"
)

const (
	// groupEvents, groupBytes and groupDeliveries bound one commit, but for what a single event needs.
	groupEvents     = 512
	groupBytes      = 8 << 20
	groupDeliveries = 5000
	// eventBytes and matchBytes are about what an event that waits takes beside its payload, and each of its matches.
	eventBytes, matchBytes = 256, 96
	// commitTimeout bounds one commit: the committer's own, as no client's context may cut short what others share.
	commitTimeout = 20 * time.Second
	// perDelivery is what a commit may take longer for each delivery in it beyond a usual commit's: a batch that many
	// subscriptions want is work, and no store that does not answer. It is what a small machine needs that has ten other
	// things to do.
	perDelivery     = 250 * time.Microsecond
	usualDeliveries = 500
)

// committer groups acceptances: those that arrive while a commit is under way share the next one, and each waits for
// its own result. It adds no waiting of its own but one turn of the scheduler: a lone request is committed at once.
type committer struct {
	opts   *Options
	queue  chan *waiting
	bytes  atomic.Int64
	groups sync.WaitGroup
	// stalled counts the commits under way that take longer than posthorn.Patience.
	stalled atomic.Int32
	// life ends with Stop, commits when those under way are given up too.
	life, commits context.Context
	stop, abandon context.CancelFunc
}

// waiting is a request's acceptances until their commit.
type waiting struct {
	batch      []posthorn.Acceptance
	bytes      int64
	deliveries int
	done       chan struct{}
	// Whoever sets answered writes the answer and closes done: the committer, or its watch over a commit that takes too long.
	answered atomic.Bool
	results  []posthorn.Accepted
	err      error
}

// answer ends the wait of a request; false when it was answered before.
func (w *waiting) answer(results []posthorn.Accepted, err error) bool {
	if !w.answered.CompareAndSwap(false, true) {
		return false
	}
	w.results, w.err = results, err
	close(w.done)
	return true
}

func (c *committer) init(opts *Options) {
	c.opts = opts
	c.queue = make(chan *waiting, opts.MaxQueued)
	c.life, c.stop = context.WithCancel(context.Background())
	c.commits, c.abandon = context.WithCancel(context.Background())
}

// Start begins committing.
func (c *committer) Start() {
	for range c.opts.Committers {
		c.groups.Go(c.run)
	}
}

// Stop ends committing: commits under way have until the end of ctx. What is still queued is answered Unavailable.
func (c *committer) Stop(ctx context.Context) {
	c.stop()
	defer context.AfterFunc(ctx, c.abandon)()
	c.groups.Wait()
	for {
		select {
		case w := <-c.queue:
			c.fail(w, stopping())
		default:
			return
		}
	}
}

func stopping() error {
	return &posthorn.Error{Kind: posthorn.Unavailable, RetryAfter: time.Second, Message: "this node is stopping; try again"}
}

// commit queues acceptances and waits for their result. When ctx ends first the events may still be stored.
func (c *committer) commit(ctx context.Context, batch []posthorn.Acceptance) ([]posthorn.Accepted, error) {
	w := &waiting{batch: batch, done: make(chan struct{})}
	for i := range batch {
		w.bytes += int64(len(batch[i].Event.Payload) + eventBytes + matchBytes*len(batch[i].Matches))
		w.deliveries += len(batch[i].Matches)
	}
	if c.bytes.Add(w.bytes) > c.opts.MaxQueuedBytes && len(c.queue) > 0 || !c.offer(w) {
		c.fail(w, &posthorn.Error{
			Kind: posthorn.Unavailable, RetryAfter: time.Second,
			Message: "too many events are waiting to be stored; slow down and try again",
		})
	}
	if c.isStalled() {
		c.refuseQueued()
	}
	select {
	case <-w.done:
		return w.results, w.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.life.Done():
		// The committer may have ended between the offer and its last look at the queue; what it took it still answers.
		select {
		case <-w.done:
			return w.results, w.err
		case <-time.After(commitTimeout):
			return nil, stopping()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *committer) offer(w *waiting) bool {
	select {
	case c.queue <- w:
		return true
	default:
		return false
	}
}

// fail answers a request that was not committed.
func (c *committer) fail(w *waiting, err error) (told bool) {
	c.release(w.batch)
	c.bytes.Add(-w.bytes)
	return w.answer(nil, err)
}

// run commits groups until the life ends.
func (c *committer) run() {
	for {
		select {
		case first := <-c.queue:
			// Requests that are ready to run come along. Without that, a machine with one processor commits each event by itself:
			// whoever wakes the committer is overtaken by it.
			runtime.Gosched()
			group := c.gather(first)
			watch := time.AfterFunc(patience(group), func() { c.stall(group) })
			c.commitGroup(group)
			if !watch.Stop() {
				c.stalled.Add(-1)
			}
		case <-c.life.Done():
			return
		}
	}
}

// patience is how long the commit of a group may take before those who wait are told that it stalls.
func patience(group []*waiting) time.Duration {
	deliveries := 0
	for _, w := range group {
		deliveries += w.deliveries
	}
	return posthorn.Patience + time.Duration(max(0, deliveries-usualDeliveries))*perDelivery
}

// stall answers those whose commit takes too long and, where no other commit gets through, those behind it. Nothing was sent
// of those who wait for the next commit; those in this one may find their events stored, and are told to repeat with the
// same key.
func (c *committer) stall(group []*waiting) {
	c.stalled.Add(1)
	for _, w := range group {
		w.answer(nil, &posthorn.Error{
			Kind: posthorn.Unavailable, RetryAfter: time.Second,
			Message: "the store does not answer now: possibly stored; repeat with the same idempotency key",
		})
	}
	if c.isStalled() {
		c.refuseQueued()
	}
}

// isStalled reports that the store answers none of the commits that may be under way at once.
func (c *committer) isStalled() bool { return c.stalled.Load() >= int32(c.opts.Committers) }

// refuseQueued answers those who wait for a commit to begin.
func (c *committer) refuseQueued() {
	for {
		select {
		case w := <-c.queue:
			c.fail(w, posthorn.Silent())
		default:
			return
		}
	}
}

// gather takes what is already waiting, up to the bounds of one commit, which the last may exceed.
func (c *committer) gather(first *waiting) []*waiting {
	group := []*waiting{first}
	events, bytes, deliveries := len(first.batch), first.bytes, first.deliveries
	for events < groupEvents && bytes < groupBytes && deliveries < groupDeliveries {
		select {
		case w := <-c.queue:
			group = append(group, w)
			events += len(w.batch)
			bytes += w.bytes
			deliveries += w.deliveries
		default:
			return group
		}
	}
	return group
}

// commitGroup stores a group in one transaction, answers each request and hands what was born claimed to the lanes.
func (c *committer) commitGroup(group []*waiting) {
	batch := joined(group)
	ctx, cancel := context.WithTimeout(c.commits, commitTimeout)
	defer cancel()
	leased := time.Now()
	accepted, err := c.opts.Store.AcceptEvents(ctx, c.opts.Node, batch)
	if err != nil {
		untold := 0
		for _, w := range group {
			if !c.fail(w, err) {
				untold += len(w.batch)
			}
		}
		// Who is told logs it, with the request.
		if untold > 0 {
			c.opts.Log.Error("events not stored", "events", untold, "error", err)
		}
		return
	}
	if c.opts.Observe != nil {
		events, deliveries := counted(accepted)
		c.opts.Observe(events, deliveries, time.Since(leased))
	}
	rest := accepted
	for _, w := range group {
		n := len(w.batch)
		c.bytes.Add(-w.bytes)
		w.answer(rest[:n:n], nil)
		rest = rest[n:]
	}
	// Whoever is woken last runs first, and an event should not wait until the answer of its request is written.
	c.handOver(batch, accepted, leased)
	c.tell(ctx, batch, accepted)
}

// joined are the acceptances of a group, in order.
func joined(group []*waiting) []posthorn.Acceptance {
	if len(group) == 1 {
		return group[0].batch
	}
	n := 0
	for _, w := range group {
		n += len(w.batch)
	}
	batch := make([]posthorn.Acceptance, 0, n)
	for _, w := range group {
		batch = append(batch, w.batch...)
	}
	return batch
}

// counted are the events that were not refused, and the deliveries made for those that are new.
func counted(accepted []posthorn.Accepted) (events, deliveries int) {
	for i := range accepted {
		if a := &accepted[i]; a.Err == nil {
			events++
			if !a.Duplicate {
				deliveries += a.Deliveries
			}
		}
	}
	return events, deliveries
}

// handOver submits the claimed deliveries and gives back the room asked for and not got.
func (c *committer) handOver(batch []posthorn.Acceptance, accepted []posthorn.Accepted, leased time.Time) {
	if c.opts.Lanes == nil {
		return
	}
	n := 0
	for i := range accepted {
		n += len(accepted[i].Claimed)
	}
	claimed := make([]posthorn.Claimed, 0, n)
	for i := range accepted {
		got := accepted[i].Claimed
		claimed = append(claimed, got...)
		c.releaseExcept(batch[i], got)
	}
	if len(claimed) > 0 {
		c.opts.Lanes.Submit(claimed, leased)
	}
}

func (c *committer) release(batch []posthorn.Acceptance) {
	for i := range batch {
		c.releaseExcept(batch[i], nil)
	}
}

// releaseExcept gives back the room reserved for an acceptance, but for the deliveries it got, which are in its order.
func (c *committer) releaseExcept(a posthorn.Acceptance, got []posthorn.Claimed) {
	for _, m := range a.Matches {
		switch {
		case m.Attempt.IsZero():
		case len(got) > 0 && got[0].DeliveryID == m.DeliveryID:
			got = got[1:]
		default:
			c.opts.Lanes.Unreserve(m.SubscriptionID, len(a.Event.Payload))
		}
	}
}

// tell wakes workers for what was left unclaimed and, while someone watches, shows the new deliveries.
func (c *committer) tell(ctx context.Context, batch []posthorn.Acceptance, accepted []posthorn.Accepted) {
	var signal posthorn.Signal
	watched := c.opts.Bus.Watched()
	for i, r := range accepted {
		if r.Err != nil || r.Duplicate {
			continue
		}
		signal.Wake = signal.Wake || len(r.Claimed) < len(batch[i].Matches)
		if watched {
			signal.Updates = appendCreated(signal.Updates, batch[i], r)
		}
	}
	c.wake(ctx, signal)
}

func (c *committer) wake(ctx context.Context, signal posthorn.Signal) {
	if signal.Wake || len(signal.Updates) > 0 {
		signal.From = c.opts.Node
		c.opts.Bus.Publish(ctx, signal)
	}
}

// shownPerEvent bounds the updates of one event: the rest of a huge fan-out is shown when it is attempted.
const shownPerEvent = 100

func appendCreated(to []posthorn.Update, a posthorn.Acceptance, r posthorn.Accepted) []posthorn.Update {
	if r.Deliveries == 0 {
		return append(to, posthorn.Update{At: r.CreatedAt, TenantID: a.Event.TenantID, EventID: r.EventID, EventType: a.Event.Type})
	}
	for i, m := range a.Matches {
		if i == shownPerEvent {
			break
		}
		u := posthorn.Update{
			At: r.CreatedAt, TenantID: a.Event.TenantID, DeliveryID: m.DeliveryID, EventID: r.EventID,
			SubscriptionID: m.SubscriptionID, EventType: a.Event.Type, State: posthorn.Pending, DueAt: r.CreatedAt,
		}
		if !a.Event.DeliverAt.IsZero() {
			u.DueAt = a.Event.DeliverAt
		}
		if m.Reason != posthorn.ReasonNone {
			u.State, u.Reason = posthorn.Cancelled, m.Reason
		}
		to = append(to, u)
	}
	return to
}
