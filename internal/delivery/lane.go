package delivery

import (
	"context"
	"time"

	"github.com/posthorn/posthorn"
)

const (
	// newLaneRoom is how many deliveries a lane nobody knows yet may hold on this node.
	newLaneRoom = 64
	// minLaneRoom and maxLaneRoom bound it later: four times what may be in flight, so that a fast lane never waits for
	// a claim while a slow one holds little.
	minLaneRoom, maxLaneRoom = 8, 512
	// newLaneWindow is how many requests a lane starts with.
	newLaneWindow = 8
	// slowAttempt is how long an attempt may take before its lane counts as slow.
	slowAttempt = time.Second
	// forgetAfter is how long an idle lane is remembered.
	forgetAfter = 2 * time.Minute
)

// lane schedules the deliveries of one subscription on this node. Only the engine's loop touches it.
type lane struct {
	id       posthorn.SubscriptionID
	tenant   posthorn.TenantID
	room     *room
	queue    []*item
	inFlight int
	// window is how many requests may be in flight now: it adapts below most, the subscription's max_in_flight.
	window, most int
	breaker      breaker
	// state is the lane as the store last told; target the subscription, loaded before the first request.
	state   posthorn.Lane
	stateAt time.Time
	target  *target
	loading bool
	// trusted lanes have answered their last attempt well and quickly.
	trusted bool
	parked  bool
	// more says that the store probably has more for this lane than was claimed.
	more bool
	// permits are what the rate limit granted and was not yet used.
	permits   int
	asking    bool
	askAgain  time.Time
	idleSince time.Time
}

// item is a delivery held by this node: queued, in flight, or waiting to be recorded.
type item struct {
	posthorn.Claimed
	lane     *lane
	target   *target
	leaseEnd time.Time
	// started is when it was sent, zero while queued; trusted says which half of the slots it takes.
	started time.Time
	trusted bool
	// windowEnd is when its retry window ends.
	windowEnd time.Time
	lost      bool
}

func (it *item) bytes() int { return len(it.Event.Payload) }

// lane finds or makes the lane of a subscription.
func (e *Engine) lane(id posthorn.SubscriptionID, tenant posthorn.TenantID) *lane {
	l := e.lanes[id]
	if l == nil {
		l = &lane{id: id, tenant: tenant, room: e.rooms.of(id), window: newLaneWindow, most: posthorn.DefaultMaxInFlight}
		l.state.SubscriptionID, l.state.TenantID = id, tenant
		e.lanes[id] = l
	}
	return l
}

func (l *lane) push(it *item) { l.queue = append(l.queue, it) }

func (l *lane) pop() *item {
	it := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	if len(l.queue) == 0 {
		l.queue = nil
	}
	return it
}

// blocked reports whether the lane may hold nothing but manual retries now: throttled, its breaker open, or held by a
// pause. A probe of an open breaker is claimed after the state that came with it was taken, and so is not held back.
func (l *lane) blocked(now time.Time) bool {
	return now.Before(l.state.ThrottledUntil) || now.Before(l.state.BreakerUntil) || !l.state.HeldSince.IsZero()
}

// setRoom tells ingest and the claims how much the lane may hold.
func (l *lane) setRoom(now time.Time) {
	room := min(max(4*min(l.window, l.most), minLaneRoom), maxLaneRoom)
	if l.blocked(now) || l.state.BreakerOpens > 0 {
		room = 0
	}
	l.room.limit.Store(int32(room))
	l.room.trusted.Store(l.trusted)
}

// dispatch sends what the lane may send now.
func (e *Engine) dispatch(l *lane) {
	for len(l.queue) > 0 && l.inFlight < min(l.window, l.most) {
		if !e.knows(l, l.queue[0].Version) {
			return
		}
		now := time.Now()
		if !e.permitted(l, now) {
			return
		}
		trusted, ok := e.slots.take(l.trusted)
		if !ok {
			e.slots.park(l)
			return
		}
		it := l.pop()
		if it.lost || !now.Before(it.leaseEnd) {
			// Not renewed in time: another node may have it. It is neither sent nor recorded.
			e.slots.free(trusted)
			e.drop(it)
			continue
		}
		if l.target.sub.RateLimit != nil {
			l.permits--
		}
		l.inFlight++
		it.target, it.started, it.trusted = l.target, now, trusted
		it.windowEnd = it.Delivery.WindowEnd(&l.state, e.opts.Window, e.opts.Store.Now())
		e.background.Go(func() { e.send(it) })
	}
}

// permitted reports whether the rate limit allows one more request; when it does not know, it asks and dispatches later.
func (e *Engine) permitted(l *lane, now time.Time) bool {
	rate := l.target.sub.RateLimit
	if rate == nil || e.opts.Limiter == nil || l.permits > 0 {
		return true
	}
	if l.asking || now.Before(l.askAgain) {
		return false
	}
	l.asking = true
	limit, want := *rate, min(len(l.queue), max(1, rate.Limit/20), 64)
	e.background.Go(func() {
		ctx, cancel := context.WithTimeout(e.life, time.Second)
		defer cancel()
		granted, wait := e.opts.Limiter.Take(ctx, l.id.String(), limit, want)
		e.call(func() { e.permit(l, granted, wait) })
	})
	return false
}

// permit takes the limiter's answer and comes back when there may be more.
func (e *Engine) permit(l *lane, granted int, wait time.Duration) {
	l.asking = false
	l.permits += granted
	if granted == 0 {
		wait = max(wait, time.Millisecond)
		l.askAgain = time.Now().Add(wait)
		time.AfterFunc(wait, func() { e.call(func() { e.dispatch(l) }) })
		return
	}
	e.dispatch(l)
}

// learn adapts the lane to an attempt: how much may be in flight, and whether it is trusted.
func (l *lane) learn(a *posthorn.Attempt) {
	slow := a.Timing.Total > slowAttempt
	switch {
	case a.Outcome == posthorn.Succeeded && !slow:
		l.window = min(l.window+1, max(l.most, 1))
	case a.Outcome == posthorn.Succeeded:
		// A slow receiver keeps half of its share: it is not overloaded for certain, and its slots cost nobody else.
		if l.window > max(l.most/2, 1) {
			l.window--
		} else {
			l.window = min(l.window+1, max(l.most/2, 1))
		}
	case !a.OurFault:
		l.window = max(l.window/2, 1)
	}
	l.trusted = a.Outcome == posthorn.Succeeded && !slow
	l.setRoom(time.Now())
}

// setLaneState takes what the store says of the lane, and gives back what may not be sent now.
func (e *Engine) setLaneState(l *lane, state posthorn.Lane) {
	now := time.Now()
	l.state, l.stateAt = state, now
	l.breaker.openings = state.BreakerOpens
	l.setRoom(now)
	if l.blocked(now) {
		e.releaseQueue(l, func(it *item) bool { return it.Delivery.Manual == posthorn.NotManual })
	}
}

// distrustSlow moves lanes whose requests hang to the half of the slots that such lanes share.
func (e *Engine) distrustSlow(now time.Time) {
	for _, it := range e.held {
		if it.trusted && !it.started.IsZero() && now.Sub(it.started) > slowAttempt {
			it.lane.trusted = false
			it.lane.setRoom(now)
			it.trusted = false
			e.slots.distrust()
		}
	}
	e.unpark()
}

// forgetIdle drops the lanes that held nothing for a while.
func (e *Engine) forgetIdle(now time.Time) {
	for id, l := range e.lanes {
		switch {
		case l.room.held.Load() > 0 || l.inFlight > 0 || l.asking:
			l.idleSince = time.Time{}
		case l.idleSince.IsZero():
			l.idleSince = now
		case now.Sub(l.idleSince) > forgetAfter && e.rooms.forget(id):
			delete(e.lanes, id)
		}
	}
}
