package delivery

import (
	"sync"
	"sync/atomic"

	"github.com/posthorn/posthorn"
)

// rooms counts the deliveries held in memory, by lane and altogether. It is the one thing that ingest's goroutines share
// with the loop.
//
// No kind of lane can take the node from the others: lanes that are trusted, having answered their last attempt well and
// quickly, have three quarters of it, and the others half. The last third of the one and half of the other is for lanes
// that hold nothing, one delivery each, so that long backlogs do not shut out a lane that has little.
type rooms struct {
	maxHeld, maxBytes int64
	// all counts every lane's deliveries, suspect those of lanes that are not trusted.
	all, suspect tally
	closed       atomic.Bool

	mu     sync.RWMutex
	byLane map[posthorn.SubscriptionID]*room
}

// tally counts deliveries and the bytes of their payloads.
type tally struct{ held, bytes atomic.Int64 }

func (t *tally) add(held, bytes int64) {
	t.held.Add(held)
	t.bytes.Add(bytes)
}

// room is one lane's share: how many deliveries it holds, reserved ones included, and how many it may.
type room struct {
	mu      sync.Mutex
	held    int
	bytes   int64
	limit   int
	trusted bool
}

func (r *rooms) init(maxHeld int, maxBytes int64) {
	r.maxHeld, r.maxBytes = int64(maxHeld), maxBytes
	r.byLane = make(map[posthorn.SubscriptionID]*room)
}

// close refuses every further reservation.
func (r *rooms) close() { r.closed.Store(true) }

// left is how many more deliveries of a lane that holds so many the node has room for: for one that holds nothing there
// may be one when there is none for the others.
func (r *rooms) left(trusted bool, holds int) int {
	all, bytes := r.all.held.Load(), r.all.bytes.Load()
	if all >= r.maxHeld || bytes >= r.maxBytes {
		return 0
	}
	held, load := r.suspect.held.Load(), r.suspect.bytes.Load()
	quarters := int64(1)
	if trusted {
		held, load, quarters = all-held, bytes-load, 2
	}
	if left := r.maxHeld*quarters/4 - held; left > 0 && load < r.maxBytes*quarters/4 {
		return int(min(left, r.maxHeld-all))
	}
	if holds == 0 && held < r.maxHeld*(quarters+1)/4 && load < r.maxBytes*(quarters+1)/4 {
		return 1
	}
	return 0
}

// spare is how much a lane may hold while the lanes leave most of the node free: a quarter of it, less what the others hold.
func (r *rooms) spare(lane *room) int {
	held, _ := lane.state()
	return int(r.maxHeld/4-r.all.held.Load()) + held
}

// of is a lane's room, which it makes where there is none. Who keeps it must know the lane: see tidy.
func (r *rooms) of(id posthorn.SubscriptionID) *room {
	r.mu.Lock()
	defer r.mu.Unlock()
	lane := r.byLane[id]
	if lane == nil {
		lane = &room{limit: newLaneRoom}
		r.byLane[id] = lane
	}
	return lane
}

// use does something with the room of a lane that nobody may know. Rooms are forgotten only while nobody uses them.
func (r *rooms) use(id posthorn.SubscriptionID, do func(*room)) {
	r.mu.RLock()
	lane := r.byLane[id]
	if lane == nil {
		r.mu.RUnlock()
		r.of(id)
		r.use(id, do)
		return
	}
	defer r.mu.RUnlock()
	do(lane)
}

// add counts deliveries on or off, as long as the room is locked.
func (r *rooms) add(lane *room, held int, bytes int64) {
	lane.held += held
	lane.bytes += bytes
	r.all.add(int64(held), bytes)
	if !lane.trusted {
		r.suspect.add(int64(held), bytes)
	}
}

// reserve counts one more delivery where there is room for it.
func (r *rooms) reserve(id posthorn.SubscriptionID, bytes int) (ok bool) {
	if r.closed.Load() {
		return false
	}
	r.use(id, func(lane *room) {
		lane.mu.Lock()
		defer lane.mu.Unlock()
		if ok = lane.held < lane.limit && r.left(lane.trusted, lane.held) > 0; ok {
			r.add(lane, 1, int64(bytes))
		}
	})
	return ok
}

// unreserve counts off what was reserved and will not be held.
func (r *rooms) unreserve(id posthorn.SubscriptionID, bytes int) {
	r.use(id, func(lane *room) { r.free(lane, bytes) })
}

// take counts a delivery that was claimed, whatever the limits: it is held already.
func (r *rooms) take(lane *room, bytes int) {
	lane.mu.Lock()
	defer lane.mu.Unlock()
	r.add(lane, 1, int64(bytes))
}

// free counts a delivery off.
func (r *rooms) free(lane *room, bytes int) {
	lane.mu.Lock()
	defer lane.mu.Unlock()
	r.add(lane, -1, int64(-bytes))
}

// set says how much a lane may hold from now on, and whether it is trusted.
func (r *rooms) set(lane *room, limit int, trusted bool) {
	lane.mu.Lock()
	defer lane.mu.Unlock()
	lane.limit = limit
	if lane.trusted == trusted {
		return
	}
	moved := int64(1)
	if trusted {
		moved = -1
	}
	r.suspect.add(moved*int64(lane.held), moved*lane.bytes)
	lane.trusted = trusted
}

// state is how much the lane holds and may hold.
func (l *room) state() (held, limit int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held, l.limit
}

// tidy forgets the rooms that hold nothing, but for those of lanes that are known.
func (r *rooms) tidy(known func(posthorn.SubscriptionID) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, lane := range r.byLane {
		if lane.held == 0 && !known(id) {
			delete(r.byLane, id)
		}
	}
}
