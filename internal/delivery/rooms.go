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
func (r *rooms) spare(id posthorn.SubscriptionID) int {
	held, _ := r.of(id)
	return int(r.maxHeld/4-r.all.held.Load()) + held
}

// use does something with a lane's room, which it makes where there is none. Rooms are forgotten only while nobody uses
// them.
func (r *rooms) use(id posthorn.SubscriptionID, do func(*room)) {
	r.mu.RLock()
	room := r.byLane[id]
	if room == nil {
		r.mu.RUnlock()
		r.make(id)
		r.use(id, do)
		return
	}
	defer r.mu.RUnlock()
	room.mu.Lock()
	defer room.mu.Unlock()
	do(room)
}

func (r *rooms) make(id posthorn.SubscriptionID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byLane[id] == nil {
		r.byLane[id] = &room{limit: newLaneRoom}
	}
}

// add counts deliveries on or off.
func (r *rooms) add(room *room, held int, bytes int64) {
	room.held += held
	room.bytes += bytes
	r.all.add(int64(held), bytes)
	if !room.trusted {
		r.suspect.add(int64(held), bytes)
	}
}

// reserve counts one more delivery where there is room for it.
func (r *rooms) reserve(id posthorn.SubscriptionID, bytes int) (ok bool) {
	if r.closed.Load() {
		return false
	}
	r.use(id, func(room *room) {
		if ok = room.held < room.limit && r.left(room.trusted, room.held) > 0; ok {
			r.add(room, 1, int64(bytes))
		}
	})
	return ok
}

// take counts a delivery that was claimed, whatever the limits: it is held already.
func (r *rooms) take(id posthorn.SubscriptionID, bytes int) {
	r.use(id, func(room *room) { r.add(room, 1, int64(bytes)) })
}

// free counts a delivery off.
func (r *rooms) free(id posthorn.SubscriptionID, bytes int) {
	r.use(id, func(room *room) { r.add(room, -1, int64(-bytes)) })
}

// set says how much a lane may hold from now on, and whether it is trusted.
func (r *rooms) set(id posthorn.SubscriptionID, limit int, trusted bool) {
	r.use(id, func(room *room) {
		room.limit = limit
		if room.trusted == trusted {
			return
		}
		moved := int64(1)
		if trusted {
			moved = -1
		}
		r.suspect.add(moved*int64(room.held), moved*room.bytes)
		room.trusted = trusted
	})
}

// of is how much a lane holds and may hold.
func (r *rooms) of(id posthorn.SubscriptionID) (held, limit int) {
	r.use(id, func(room *room) { held, limit = room.held, room.limit })
	return held, limit
}

// tidy forgets the rooms that hold nothing, but for those of lanes that are known.
func (r *rooms) tidy(known func(posthorn.SubscriptionID) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, room := range r.byLane {
		if room.held == 0 && !known(id) {
			delete(r.byLane, id)
		}
	}
}
