package delivery

import (
	"sync"
	"sync/atomic"

	"github.com/posthorn/posthorn"
)

// rooms counts the deliveries held in memory, by lane and altogether. It is the one thing that ingest's goroutines share
// with the loop: counting is atomic, and the lock guards only the map.
type rooms struct {
	maxHeld  int64
	maxBytes int64
	held     atomic.Int64
	bytes    atomic.Int64
	closed   atomic.Bool

	mu     sync.RWMutex
	byLane map[posthorn.SubscriptionID]*room
}

// room is one lane's share: how many deliveries it holds, reserved ones included, and how many it may. As with the slots,
// lanes that are not trusted stop at half of the node's room, so that hanging ones leave the other half to the rest.
type room struct {
	held    atomic.Int32
	limit   atomic.Int32
	trusted atomic.Bool
}

func (r *rooms) init(maxHeld int, maxBytes int64) {
	r.maxHeld, r.maxBytes = int64(maxHeld), maxBytes
	r.byLane = make(map[posthorn.SubscriptionID]*room)
}

// close refuses every further reservation.
func (r *rooms) close() { r.closed.Store(true) }

// of finds or makes a lane's room.
func (r *rooms) of(id posthorn.SubscriptionID) *room {
	r.mu.Lock()
	defer r.mu.Unlock()
	room := r.byLane[id]
	if room == nil {
		room = newRoom()
		r.byLane[id] = room
	}
	return room
}

func newRoom() *room {
	room := new(room)
	room.limit.Store(newLaneRoom)
	return room
}

// reserve counts one more delivery where there is room for it.
func (r *rooms) reserve(id posthorn.SubscriptionID, bytes int) bool {
	if r.closed.Load() {
		return false
	}
	r.mu.RLock()
	room := r.byLane[id]
	if room != nil {
		defer r.mu.RUnlock()
	} else {
		r.mu.RUnlock()
		room = r.of(id)
	}
	if !r.left(room.trusted.Load()) {
		return false
	}
	if room.held.Add(1) > room.limit.Load() {
		room.held.Add(-1)
		return false
	}
	r.held.Add(1)
	r.bytes.Add(int64(bytes))
	return true
}

// left reports whether the node has room for another delivery of a lane.
func (r *rooms) left(trusted bool) bool {
	share := int64(2)
	if trusted {
		share = 1
	}
	return r.held.Load() < r.maxHeld/share && r.bytes.Load() < r.maxBytes/share
}

// take counts a delivery that was claimed, whatever the limits: it is held already.
func (r *rooms) take(id posthorn.SubscriptionID, bytes int) {
	r.of(id).held.Add(1)
	r.held.Add(1)
	r.bytes.Add(int64(bytes))
}

// free counts a delivery off.
func (r *rooms) free(id posthorn.SubscriptionID, bytes int) {
	r.mu.RLock()
	room := r.byLane[id]
	r.mu.RUnlock()
	if room != nil {
		room.held.Add(-1)
	}
	r.held.Add(-1)
	r.bytes.Add(int64(-bytes))
}

// forget drops a lane's room when nothing is held or reserved in it.
func (r *rooms) forget(id posthorn.SubscriptionID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if room := r.byLane[id]; room != nil && room.held.Load() > 0 {
		return false
	}
	delete(r.byLane, id)
	return true
}
