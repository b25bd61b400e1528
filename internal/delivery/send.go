package delivery

import (
	"net/http"
	"strconv"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/signing"
)

// flight is a request that has ended, or that was not made after all.
type flight struct {
	*item
	result  posthorn.Result
	verdict verdict
	// release gives the item back unsent.
	release bool
}

// spareWorkers is how many goroutines wait for the next attempt: under load they have the stack for it, which a new one would
// have to grow.
const spareWorkers = 128

// start has an attempt made outside the loop.
func (e *Engine) start(it *item) {
	select {
	case e.due <- it:
	default:
		e.background.Go(func() { e.worker(it) })
	}
}

// worker makes attempts, the first of them given, until there are enough others that wait for one.
func (e *Engine) worker(it *item) {
	for {
		e.work(it)
		if e.spare.Add(1) > spareWorkers {
			e.spare.Add(-1)
			return
		}
		select {
		case it = <-e.due:
			e.spare.Add(-1)
		case <-e.life.Done():
			return
		}
	}
}

// work makes one attempt. It touches nothing of the lane.
func (e *Engine) work(it *item) {
	f := &flight{item: it}
	now := e.opts.Store.Now()
	sub := it.target.sub
	left := it.windowEnd.Sub(now)
	if sub.Status != posthorn.StatusActive || !sub.DeletedAt.IsZero() {
		f.release = true
	} else if it.skipped {
		f.result = posthorn.Result{On: posthorn.OnWithdraw, Reason: posthorn.ReasonSkipped}
	} else if r, ends := unsendable(&it.Delivery, it.Event, sub.Retry, left, now); ends {
		f.result = r
	} else {
		e.attempt(f, left)
	}
	f.result.Claim = it.Claim
	select {
	case e.finished <- f:
	case <-e.life.Done():
	}
}

// attempt signs, sends, and decides what the answer means.
func (e *Engine) attempt(f *flight, windowLeft time.Duration) {
	it, t := f.item, f.target
	start := time.Now()
	var traced func(*posthorn.Attempt)
	var parent string
	if e.opts.Tracer != nil {
		parent, traced = e.opts.Tracer.Attempt(&it.Claimed, t.url.Hostname())
		if !e.opts.SendTraceParent {
			parent = ""
		}
	}
	x := e.exchange(it, start, parent)
	a := newAttempt(it, start, &x)
	a.Node = e.opts.Node
	if detail := interruption(a, e.sending.Err() != nil, time.Since(start)-t.sub.Timeout); detail != "" {
		// Whether the receiver has it, nobody knows.
		a.Outcome, a.OurFault, a.Error, a.Detail = posthorn.Interrupted, true, "interrupted", detail
	}
	if e.reach.note(x.host, a.Outcome, a.Error, x.answer.Remote.IsValid() || a.StatusCode != 0) {
		a.OurFault = true
	}
	f.verdict = decide(facts{
		policy: t.sub.Retry, spent: it.Delivery.Spent, manual: it.Delivery.Manual, attempt: a, interruptions: it.Delivery.Interruptions,
		retryAfter: retryAfter(x.answer.Header.Get("Retry-After"), start), windowLeft: windowLeft, random: e.opts.Random(),
	})
	v := &f.verdict
	f.result = posthorn.Result{Attempt: a, On: v.on, Reason: v.reason, Delay: v.delay, KeepDue: v.keepDue, Again: v.again, Spends: v.spends}
	// What was claimed without a number since its lane became FIFO waits for no other.
	unordered := t.sub.Ordering == posthorn.OrderingFIFO && it.Delivery.Sequence == 0 && it.Version >= t.sub.Version
	f.result.Yield = v.on == posthorn.OnFailure && a.Outcome != posthorn.Interrupted && (t.sub.Yields() || unordered)
	if e.opts.Observer != nil {
		e.opts.Observer.Attempted(a, it.Event)
	}
	if traced != nil {
		traced(a)
	}
}

// standstill is how long after its deadline an attempt must end for it to be known that this process itself did not run:
// it was frozen, or its machine was. The time that went by then says nothing about the receiver.
const standstill = 2 * time.Second

// interruption says how this node kept an attempt from its answer, or "". Late is how long after its deadline it ended.
func interruption(a *posthorn.Attempt, stopping bool, late time.Duration) string {
	switch {
	case stopping && a.Outcome != posthorn.Succeeded && a.StatusCode == 0:
		return "The node stopped while the request was under way."
	case a.Outcome == posthorn.Timeout && late > standstill:
		return "The node stood still while the request was under way."
	}
	return ""
}

// request makes the headers of an attempt: with the trace's parent, and the authorization where the subscription has one. Names
// are written in lower case, as the specification spells them; HTTP/1 sends them so, and no subscriber's or producer's
// header can take the place of ours.
func (e *Engine) request(it *item, at time.Time, parent, authorization string) http.Header {
	id := it.Event.ID.String()
	h := make(http.Header, 8+len(it.target.sub.Headers)+len(it.Event.Headers))
	for name, value := range it.Event.Headers {
		h[http.CanonicalHeaderKey(name)] = []string{value}
	}
	for name, value := range it.target.sub.Headers {
		h[http.CanonicalHeaderKey(name)] = []string{value}
	}
	// The values share one array, which every attempt would otherwise make nine of.
	own := make([]string, 0, 9)
	set := func(name, value string) {
		own = append(own, value)
		h[name] = own[len(own)-1 : len(own) : len(own)]
	}
	if name := it.target.header; name != "" {
		set(name, authorization)
	}
	if parent != "" {
		set("traceparent", parent)
	}
	set("Content-Type", it.Event.ContentType)
	set("User-Agent", e.opts.UserAgent)
	set("webhook-id", id)
	set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
	keys := it.target.liveKeys(at)
	if p := it.target.profile; p != nil {
		p.Sign(h, signing.Message{ID: id, Type: it.Event.Type, At: at, Body: it.Event.Payload}, keys...)
	}
	if p := it.target.profile; p == nil || p.KeepsStandard() {
		set("webhook-signature", signing.Sign(id, at, it.Event.Payload, keys...))
	}
	set("webhook-event-type", it.Event.Type)
	set("webhook-attempt", strconv.Itoa(it.Number))
	return h
}

// finish takes an ended request back into the loop: the lane learns from it, the result goes to the recorder.
func (e *Engine) finish(f *flight) {
	l := f.lane
	l.inFlight--
	e.slots.free(f.trusted)
	f.started = time.Time{}
	switch a := f.result.Attempt; {
	case f.release:
		e.releaseAll([]*item{f.item})
	case a == nil:
		e.recorder.add(f.item, f.result, nil)
	default:
		l.learn(a)
		change := e.laneChange(l, f)
		e.setRoom(l)
		e.recorder.add(f.item, f.result, change)
	}
	// Those that wait for a slot come before the lane that had it.
	e.unpark()
	e.dispatch(l)
}

// stateTrust is how long a lane's state is believed without word from the store: after that a success is written as a
// recovery once more, lest a failure that another node noted outlive it.
const stateTrust = time.Minute

// laneChange is what an attempt means for its lane as a whole, or nil. The local state changes at once, so that a
// transition is written once; the store's answer follows.
func (e *Engine) laneChange(l *lane, f *flight) *posthorn.LaneChange {
	now, storeNow := time.Now(), e.opts.Store.Now()
	c := posthorn.LaneChange{SubscriptionID: l.id, TenantID: l.tenant}
	a := f.result.Attempt
	switch {
	case a.Outcome == posthorn.Succeeded:
		l.breaker.succeeded()
		if !l.state.FailingSince.IsZero() || l.state.BreakerOpens > 0 || now.Sub(l.stateAt) > stateTrust && now.Sub(l.soundAt) > stateTrust {
			c.Recovered = true
			l.state.FailingSince, l.state.BreakerOpens, l.state.BreakerUntil, l.breaker.openings = time.Time{}, 0, time.Time{}, 0
			l.stateAt = now
		}
	case a.OurFault:
	default:
		if l.state.FailingSince.IsZero() {
			// It may have failed before: the store's answer tells.
			c.Failed = true
			l.state.FailingSince = storeNow
		} else {
			e.mind(l)
		}
		// A throttled lane is not broken, and a manual retry passes an open breaker without being its probe.
		if f.verdict.throttle == 0 && !(a.Manual && l.state.BreakerOpens > 0) {
			c.OpenFor = l.breaker.failed(f.openings)
		}
	}
	c.Throttle = f.verdict.throttle
	if f.verdict.disable != "" {
		c.Disable = f.verdict.disable
	}
	if c == (posthorn.LaneChange{SubscriptionID: l.id, TenantID: l.tenant}) {
		return nil
	}
	e.applyChange(l, &c, storeNow)
	l.changing++
	return &c
}

// applyChange makes the lane obey a change before the store has confirmed it.
func (e *Engine) applyChange(l *lane, c *posthorn.LaneChange, now time.Time) {
	state := l.state
	if c.Throttle > 0 && now.Add(c.Throttle).After(state.ThrottledUntil) {
		state.ThrottledUntil = now.Add(c.Throttle)
	}
	if c.OpenFor > 0 {
		state.BreakerOpens++
		state.BreakerUntil = now.Add(c.OpenFor)
	}
	if c.Disable != "" {
		e.releaseQueue(l, everything)
	}
	e.setLaneState(l, state)
}
