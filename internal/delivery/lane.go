package delivery

import (
	"context"
	"time"

	"github.com/posthorn/posthorn"
)

const (
	// newLaneRoom is how many deliveries a lane nobody knows yet may hold on this node.
	newLaneRoom = 16
	// minLaneRoom and maxLaneRoom bound it later: four times what may be in flight, so that a lane never waits for a claim
	// while a slow one holds little.
	minLaneRoom, maxLaneRoom = 8, 512
	// laneAhead is how long a fast lane's room lasts where the node has plenty: what is claimed and recorded in large batches
	// costs the store half as much.
	laneAhead = 250 * time.Millisecond
	// rateRoom is how long a rate limit may take for what waits in its lane: such a lane gains nothing by holding more.
	rateRoom = 2 * time.Second
	// newLaneWindow is how many requests a lane starts with.
	newLaneWindow = 8
	// slowAttempt is how long an attempt may take before its lane counts as slow.
	slowAttempt = time.Second
	// forgetAfter is how long an idle lane is remembered.
	forgetAfter = 2 * time.Minute
	// tidyEvery is how often idle lanes are looked for.
	tidyEvery = 20 * time.Second
)

// lane schedules the deliveries of one subscription on this node. Only the engine's loop touches it.
type lane struct {
	id     posthorn.SubscriptionID
	tenant posthorn.TenantID
	// room is what the lane may hold, which ingest reserves from too.
	room     *room
	queue    []*item
	inFlight int
	// window is how many requests may be in flight now: it adapts below most, the subscription's max_in_flight.
	window, most int
	// pace is how long its attempts take, smoothed.
	pace    time.Duration
	breaker breaker
	// state is the lane as the store last told; target the subscription, loaded before the first request.
	state   posthorn.Lane
	stateAt time.Time
	// soundAt is when the store last said that the lane does not fail, without telling more.
	soundAt time.Time
	// changing counts the changes of state that this node has made and the store has not confirmed: what it says
	// meanwhile may be older.
	changing int
	// minding says that its owner is being told of its failing, or that it is being disabled for that.
	minding bool
	target  *target
	// loading says that the subscription is being read, or will be read again soon.
	loading bool
	// unreadable says that this node cannot read the subscription, and leaves its deliveries to others for a while.
	unreadable bool
	// known is the version of the set that the target was read from, or the target's own.
	known int64
	// stale says that the subscription may have changed since it was loaded, in a set of at least a version.
	stale   bool
	atLeast int64
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
	// openings are the breaker's when it was sent.
	openings int
	// windowEnd is when its retry window ends.
	windowEnd time.Time
	// skipped: its lane was resumed without it.
	skipped bool
	lost    bool
}

func (it *item) bytes() int { return len(it.Event.Payload) }

// lane finds or makes the lane of a subscription.
func (e *Engine) lane(id posthorn.SubscriptionID, tenant posthorn.TenantID) *lane {
	l := e.lanes[id]
	if l == nil {
		l = &lane{id: id, tenant: tenant, room: e.rooms.of(id), window: newLaneWindow, most: posthorn.DefaultMaxInFlight}
		l.state.SubscriptionID, l.state.TenantID = id, tenant
		e.lanes[id] = l
		if !e.beats {
			e.beats = true
			e.beat.Reset(time.Second)
		}
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
// pause. A probe of an open breaker is claimed with the state that moved BreakerUntil ahead, and so is not held back.
// The moment is on the store's clock, as the lane's state is.
func (l *lane) blocked(now time.Time) bool {
	return now.Before(l.state.ThrottledUntil) || now.Before(l.state.BreakerUntil) || !l.state.HeldSince.IsZero()
}

// setRoom tells ingest and the claims how much the lane may hold.
func (e *Engine) setRoom(l *lane) {
	room := 0
	if !l.unreadable && !l.blocked(e.opts.Store.Now()) && l.state.BreakerOpens == 0 {
		room = l.fittingRoom(e.rooms.spare(l.room))
	}
	e.rooms.set(l.room, room, l.trusted)
}

// fittingRoom is how much the lane can make use of, where it may hold so much beyond its share.
func (l *lane) fittingRoom(spare int) int {
	window := min(l.window, l.most)
	room := min(max(4*window, minLaneRoom), maxLaneRoom)
	if l.trusted && l.pace > 0 {
		room = max(room, min(spare, int(laneAhead/l.pace)*window))
	}
	if l.limited() {
		rate := *l.target.sub.RateLimit
		room = min(room, l.inFlight+max(1, int(int64(rate.Limit)*int64(rateRoom)/int64(rate.Interval()))))
	}
	return room
}

// limited reports whether the subscription has a rate limit.
func (l *lane) limited() bool { return l.target != nil && l.target.sub.RateLimit != nil }

// dispatch sends what the lane may send now.
func (e *Engine) dispatch(l *lane) {
	e.sendWaiting(l)
	if l.limited() {
		// What is in flight makes room for as much.
		e.setRoom(l)
		e.refill(l)
	}
}

func (e *Engine) sendWaiting(l *lane) {
	for len(l.queue) > 0 && l.inFlight < min(l.window, l.most) {
		if !e.knows(l, l.queue[0].Version) {
			return
		}
		now := time.Now()
		if !e.permitted(l, now) {
			return
		}
		if it := l.queue[0]; it.lost || !now.Before(it.leaseEnd) {
			// Not renewed in time: another node may have it. It is neither sent nor recorded.
			e.drop(l.pop())
			e.claimSoon()
			continue
		}
		if !e.slots.take(l.trusted, l.inFlight > 0) {
			e.slots.park(l)
			return
		}
		it := l.pop()
		if l.limited() {
			l.permits--
		}
		l.inFlight++
		it.target, it.started, it.trusted, it.openings = l.target, now, l.trusted, l.breaker.openings
		it.windowEnd = it.Delivery.WindowEnd(&l.state, l.target.sub.Retry.Within(e.opts.Window), e.opts.Store.Now())
		it.skipped = l.state.Skips(&it.Delivery)
		e.start(it)
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
		e.call(func() { e.permit(l, limit, granted, wait) })
	})
	return false
}

// permit takes the limiter's answer and comes back when there may be more.
func (e *Engine) permit(l *lane, limit posthorn.RateLimit, granted int, wait time.Duration) {
	l.asking = false
	if !l.limited() || *l.target.sub.RateLimit != limit {
		// It was changed meanwhile.
		e.dispatch(l)
		return
	}
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
	if l.pace == 0 {
		l.pace = a.Timing.Total
	}
	l.pace += (a.Timing.Total - l.pace) / 16
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
}

// hearLaneState takes the state of a lane that another node may have changed. After a pause or an open breaker that only others
// have met, this node too begins with one request at a time.
func (e *Engine) hearLaneState(l *lane, state posthorn.Lane) {
	if state.ThrottledUntil.After(l.state.ThrottledUntil) || state.BreakerOpens > 0 && l.state.BreakerOpens == 0 {
		l.window = 1
	}
	e.setLaneState(l, state)
}

// setLaneState takes what the store says of the lane, gives back what may not be sent now, and claims again when it may.
func (e *Engine) setLaneState(l *lane, state posthorn.Lane) {
	now := e.opts.Store.Now()
	opened := l.state.BreakerOpens > 0 && state.BreakerOpens == 0 || !l.state.HeldSince.IsZero() && state.HeldSince.IsZero()
	l.state, l.stateAt = state, time.Now()
	l.breaker.openings = state.BreakerOpens
	e.setRoom(l)
	switch {
	case l.blocked(now):
		e.releaseQueue(l, automatic)
		if state.HeldSince.IsZero() {
			e.claimIn(max(state.ThrottledUntil.Sub(now), state.BreakerUntil.Sub(now)))
		}
	case opened:
		e.claimSoon()
	}
}

// automatic deliveries wait while their lane is blocked; manual retries do not.
func automatic(it *item) bool { return it.Delivery.Manual == posthorn.NotManual }

// distrustSlow moves lanes whose requests hang to the half of the slots that such lanes share.
func (e *Engine) distrustSlow(now time.Time) {
	for _, it := range e.held {
		if it.trusted && !it.started.IsZero() && now.Sub(it.started) > slowAttempt {
			it.trusted = false
			e.slots.distrust()
			if it.lane.trusted {
				it.lane.trusted = false
				e.setRoom(it.lane)
				e.shed(it.lane)
			}
		}
	}
	e.unpark()
}

// shed gives back most of what waits in a lane that has begun to hang, when such lanes hold their share of the node.
func (e *Engine) shed(l *lane) {
	if e.rooms.left(false, minLaneRoom) > 0 {
		return
	}
	kept := 0
	e.releaseQueue(l, func(it *item) bool {
		kept++
		return kept > minLaneRoom && automatic(it)
	})
}

// forgetIdle drops the lanes that held nothing for a while, and the rooms that ingest made for lanes unknown here. There may be
// thousands, so it looks through them now and then.
func (e *Engine) forgetIdle(now time.Time) {
	if now.Sub(e.tidied) < tidyEvery {
		return
	}
	e.tidied = now
	for id, l := range e.lanes {
		held, _ := l.room.state()
		switch {
		case held > 0 || l.inFlight > 0 || l.asking || l.loading:
			l.idleSince = time.Time{}
		case l.idleSince.IsZero():
			l.idleSince = now
		case now.Sub(l.idleSince) >= forgetAfter:
			delete(e.lanes, id)
		}
	}
	e.rooms.tidy(func(id posthorn.SubscriptionID) bool { return e.lanes[id] != nil })
}
