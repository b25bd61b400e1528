package delivery

import (
	"context"
	"time"

	"github.com/posthorn/posthorn"
)

const (
	// claimLimit bounds one claim.
	claimLimit   = 1000
	claimTimeout = 10 * time.Second
	// claimGap is the least time between two claims when the first found nothing: wake-ups can come with every commit.
	claimGap = 10 * time.Millisecond
	// claimFull is the wait for more room after a claim on a full node.
	claimFull = 100 * time.Millisecond
	// claimBackoff is the wait after a failed claim, doubled up to the longest.
	claimBackoff, claimBackoffMax = 250 * time.Millisecond, 5 * time.Second
)

// claims is the state of claiming: at most one claim is under way.
type claims struct {
	timer *time.Timer
	// due is when the timer fires.
	due time.Time
	// under way, and wanted again when it returns.
	busy, again bool
	// full says that the last claim asked for less than the lanes could hold, as the node had no room.
	full     bool
	empty    time.Time
	failures int
}

// claimSoon claims now, or as soon as the claim under way has returned.
func (e *Engine) claimSoon() {
	if e.claims.busy {
		e.claims.again = true
		return
	}
	e.claimIn(claimGap - time.Since(e.claims.empty))
}

// claimIn claims after a wait, unless it is due earlier already.
func (e *Engine) claimIn(wait time.Duration) {
	due := time.Now().Add(max(wait, 0))
	if !e.claims.due.IsZero() && !due.Before(e.claims.due) {
		return
	}
	e.claims.due = due
	e.claims.timer.Reset(max(wait, 0))
}

// claim asks the store for what this node has room for.
func (e *Engine) claim() {
	e.claims.due = time.Time{}
	if e.draining {
		return
	}
	if e.claims.busy {
		// What made it due may be younger than what the claim under way sees.
		e.claims.again = true
		return
	}
	held, bytes := e.rooms.all.held.Load(), e.rooms.maxBytes-e.rooms.all.bytes.Load()
	limit := int(min(e.rooms.maxHeld-held, claimLimit, max(e.rooms.maxHeld/4, 1)))
	e.claims.full = e.rooms.left(true, 1) == 0 || e.rooms.left(false, 1) == 0
	if limit <= 0 || bytes <= 0 {
		// refill claims again when there is room.
		e.claimIn(e.opts.Poll)
		return
	}
	perLane := min(newLaneRoom, e.rooms.left(false, 0))
	req := posthorn.ClaimRequest{
		Node: e.opts.Node, Limit: limit, PerLane: perLane, MaxBytes: bytes, Rooms: e.laneRooms(perLane),
	}
	e.claims.busy, e.claims.again = true, false
	e.background.Go(func() {
		ctx, cancel := context.WithTimeout(e.life, claimTimeout)
		defer cancel()
		leased := time.Now()
		batch, err := e.opts.Store.ClaimDeliveries(ctx, req)
		if err == nil && e.opts.Observer != nil {
			e.opts.Observer.Claimed(len(batch.Claims), time.Since(leased))
		}
		e.call(func() { e.claimed(req, batch, err, leased) })
	})
}

// laneRooms tells the store which lanes of this node have another room than perLane. Of thousands most hold nothing: those
// begin with perLane like lanes nobody knows, where they may hold as much.
func (e *Engine) laneRooms(perLane int) map[posthorn.SubscriptionID]int {
	rooms := make(map[posthorn.SubscriptionID]int)
	roomy := perLane > 0 && e.rooms.left(true, 0) >= perLane
	for id, l := range e.lanes {
		held, limit := l.room.state()
		if roomy && l.trusted && held == 0 && limit >= perLane && !l.more {
			continue
		}
		e.setRoom(l)
		_, limit = l.room.state()
		if limit == 0 && !l.unreadable {
			// Blocked: the store knows until when, and which manual retries pass.
			limit = minLaneRoom
		}
		if room := min(max(limit-held, 0), e.rooms.left(l.trusted, held)); room != perLane {
			rooms[id] = room
		}
	}
	return rooms
}

// claimed takes what the store gave and plans the next claim.
func (e *Engine) claimed(req posthorn.ClaimRequest, batch posthorn.ClaimBatch, err error, leased time.Time) {
	e.claims.busy = false
	defer e.checkIdle()
	if err != nil {
		e.claims.failures++
		e.fault("deliveries not claimed", err)
		e.claimIn(min(claimBackoff<<min(e.claims.failures-1, 8), claimBackoffMax))
		return
	}
	e.claims.failures = 0
	e.takeClaims(req, batch, leased)
	switch {
	case e.claims.again:
		e.claims.again = false
		e.claimSoon()
	case len(batch.Claims) > 0 && batch.Next == 0:
		e.claimIn(0)
	case len(batch.Claims) > 0:
		// Of a lane that gave something the store may not know when it has more; a search that finds nothing tells.
		e.claimIn(claimGap)
	case batch.Next > 0:
		e.claimIn(min(batch.Next, e.opts.Poll))
	default:
		e.claimIn(e.opts.Poll)
	}
}

func (e *Engine) takeClaims(req posthorn.ClaimRequest, batch posthorn.ClaimBatch, leased time.Time) {
	if len(batch.Claims) == 0 {
		e.claims.empty = time.Now()
	}
	e.tellEnded(batch.Ended)
	known := e.takeLaneStates(batch.Lanes, leased)
	now := e.opts.Store.Now()
	got := make(map[posthorn.SubscriptionID]int)
	var fresh, back []*item
	for _, c := range batch.Claims {
		got[c.Delivery.SubscriptionID]++
		it := e.hold(c, leased)
		e.rooms.take(it.lane.room, it.bytes())
		if e.draining || it.lane.unreadable || known[it.lane.id] && automatic(it) && it.lane.blocked(now) {
			back = append(back, it)
		} else {
			fresh = append(fresh, it)
		}
	}
	e.releaseAll(back)
	for _, it := range fresh {
		e.queue(it)
	}
	e.noteMore(req, got)
}

// noteMore notes which lanes gave as much as was asked of them, be it nothing.
func (e *Engine) noteMore(req posthorn.ClaimRequest, got map[posthorn.SubscriptionID]int) {
	for _, l := range e.lanes {
		l.more = req.PerLane <= 0
	}
	for id, n := range got {
		e.lanes[id].more = n >= req.PerLane
	}
	for id, room := range req.Rooms {
		if l := e.lanes[id]; l != nil {
			l.more = got[id] >= room
		}
	}
}

// tellEnded shows and announces the deliveries that a claim has ended.
func (e *Engine) tellEnded(ended []posthorn.Update) {
	if len(ended) > 0 && e.opts.Bus.Watched() {
		e.opts.Bus.Publish(e.life, posthorn.Signal{From: e.opts.Node, Updates: ended})
	}
	for _, u := range ended {
		e.announceEnd(u)
	}
}

// takeLaneStates takes the states that came with a claim, but for lanes of which this node has heard since the claim was
// sent: what it sent and what it was told may cross. It returns those.
func (e *Engine) takeLaneStates(states []posthorn.Lane, leased time.Time) map[posthorn.SubscriptionID]bool {
	known := make(map[posthorn.SubscriptionID]bool)
	for _, state := range states {
		l := e.lane(state.SubscriptionID, state.TenantID)
		if l.changing > 0 || l.stateAt.After(leased) {
			known[l.id] = true
		} else {
			e.hearLaneState(l, state)
		}
	}
	return known
}

// refill claims again for a lane that had more and has used up half of its room (a limited one of what may wait), or for a node that was full.
func (e *Engine) refill(l *lane) {
	if l.more {
		held, limit := l.room.state()
		if l.limited() {
			held, limit = held-l.inFlight, limit-l.inFlight
		}
		if limit > 0 && held <= limit/2 {
			l.more = false
			e.claimSoon()
		}
	}
	if e.claims.full {
		e.claims.full = false
		e.claimIn(claimFull)
	}
}
