package delivery

import (
	"context"
	"time"

	"github.com/posthorn/posthorn"
)

const (
	// claimLimit bounds one claim, claimPerLane what a lane that this node does not know may give.
	claimLimit   = 1000
	claimPerLane = 32
	claimTimeout = 10 * time.Second
	// claimGap is the least time between two claims when the first found nothing: wake-ups can come with every commit.
	claimGap = 10 * time.Millisecond
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
	empty       time.Time
	failures    int
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
	if e.claims.busy || e.stopping || e.draining {
		return
	}
	perLane := claimPerLane
	if !e.rooms.left(false) {
		// What is left is for the lanes that answer.
		perLane = 0
	}
	limit := min(int(e.rooms.maxHeld-e.rooms.held.Load()), claimLimit)
	bytes := e.rooms.maxBytes - e.rooms.bytes.Load()
	if limit <= 0 || bytes <= 0 {
		// finish claims again when there is room.
		e.claims.again = true
		return
	}
	req := posthorn.ClaimRequest{
		Node: e.opts.Node, Limit: limit, PerLane: perLane, MaxBytes: bytes, Rooms: e.laneRooms(time.Now(), perLane),
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

// laneRooms tells the store which lanes of this node have another room than perLane.
func (e *Engine) laneRooms(now time.Time, perLane int) map[posthorn.SubscriptionID]int {
	rooms := make(map[posthorn.SubscriptionID]int)
	for id, l := range e.lanes {
		l.setRoom(now)
		limit := int(l.room.limit.Load())
		if perLane == 0 && !l.trusted {
			continue
		}
		if limit == 0 {
			// Throttled or open: the store knows until when, and which manual retries pass.
			limit = minLaneRoom
		}
		if room := max(limit-int(l.room.held.Load()), 0); room != perLane {
			rooms[id] = room
		}
	}
	return rooms
}

// claimed takes what the store gave and plans the next claim.
func (e *Engine) claimed(req posthorn.ClaimRequest, batch posthorn.ClaimBatch, err error, leased time.Time) {
	e.claims.busy = false
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
	case batch.Next == 0 && len(batch.Claims) > 0:
		e.claimIn(0)
	case batch.Next > 0:
		e.claimIn(min(batch.Next, e.opts.Poll))
	default:
		e.claimIn(e.opts.Poll)
	}
}

func (e *Engine) takeClaims(req posthorn.ClaimRequest, batch posthorn.ClaimBatch, leased time.Time) {
	if len(batch.Claims) == 0 {
		e.claims.empty = time.Now()
		return
	}
	for i := range batch.Lanes {
		state := batch.Lanes[i]
		e.setLaneState(e.lane(state.SubscriptionID, state.TenantID), state)
	}
	got := make(map[posthorn.SubscriptionID]int)
	for _, c := range batch.Claims {
		got[c.Delivery.SubscriptionID]++
		e.rooms.take(c.Delivery.SubscriptionID, len(c.Event.Payload))
		e.hold(c, leased)
	}
	for id, n := range got {
		asked, ok := req.Rooms[id]
		if !ok {
			asked = req.PerLane
		}
		if l := e.lanes[id]; l != nil {
			l.more = n >= asked
		}
	}
}

// refill claims again for a lane that had more and has used up half of its room, or for a node that was full.
func (e *Engine) refill(l *lane) {
	if l.more && l.room.held.Load() <= l.room.limit.Load()/2 {
		l.more = false
		e.claimSoon()
	}
	if e.claims.again && !e.claims.busy && e.rooms.held.Load() < e.rooms.maxHeld*3/4 {
		e.claims.again = false
		e.claimSoon()
	}
}
