package delivery

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

func newSubscriptionID() posthorn.SubscriptionID {
	return posthorn.SubscriptionID{UUID: posthorn.NewUUID(time.Now())}
}

func newRooms(maxHeld int, maxBytes int64) *rooms {
	r := new(rooms)
	r.init(maxHeld, maxBytes)
	return r
}

func TestRoomsLimitOfALane(t *testing.T) {
	r := newRooms(1000, 1<<20)
	id := newSubscriptionID()
	for i := range newLaneRoom {
		if !r.reserve(id, 10) {
			t.Fatalf("reservation %d of a new lane was refused", i+1)
		}
	}
	want(t, "one more than a new lane may hold", r.reserve(id, 10), false)
	lane := r.of(id)
	r.set(lane, newLaneRoom+1, true)
	want(t, "after its limit has grown", r.reserve(id, 10), true)
	r.set(lane, 0, true)
	r.unreserve(id, 10)
	want(t, "with a limit of nothing", r.reserve(id, 10), false)
	r.take(lane, 10)
	held, _ := lane.state()
	want(t, "held, with one taken in spite of the limit", held, newLaneRoom+1)
	r.close()
	r.set(lane, 100, true)
	want(t, "after closing", r.reserve(id, 10), false)
}

func TestRoomsSpare(t *testing.T) {
	r := newRooms(1000, 1<<20)
	one, other := r.of(newSubscriptionID()), r.of(newSubscriptionID())
	want(t, "on an idle node", r.spare(one), 250)
	for range 100 {
		r.take(one, 1)
	}
	want(t, "what the lane holds itself", r.spare(one), 250)
	want(t, "beside one that holds some", r.spare(other), 150)
	for range 300 {
		r.take(other, 1)
	}
	want(t, "beside one that holds more than all should", r.spare(one), -50)
}

// TestRoomsLeaveSomeForEachKind fills a node with one kind of lane and looks at what is left for the other.
func TestRoomsLeaveSomeForEachKind(t *testing.T) {
	fill := func(r *rooms, trusted bool, each, lanes int) (held int) {
		for range lanes {
			id := newSubscriptionID()
			r.set(r.of(id), each, trusted)
			for range each {
				if r.reserve(id, 1) {
					held++
				}
			}
		}
		return held
	}
	t.Run("FewHangingLanes", func(t *testing.T) {
		r := newRooms(1000, 1<<20)
		want(t, "held by lanes with long queues", fill(r, false, 100, 5), 252)
		want(t, "held by lanes with one each", fill(r, false, 1, 1000), 248)
		want(t, "left for the trusted", fill(r, true, 100, 10), 500)
	})
	t.Run("LongBacklogs", func(t *testing.T) {
		r := newRooms(1000, 1<<20)
		want(t, "held by lanes with long queues", fill(r, true, 100, 10), 505)
		want(t, "held by lanes with one each", fill(r, true, 1, 1000), 245)
		want(t, "left for the others", fill(r, false, 1, 1000), 250)
		want(t, "altogether", int(r.all.held.Load()), 1000)
	})
	t.Run("LargePayloads", func(t *testing.T) {
		r := newRooms(1000, 1000)
		id := newSubscriptionID()
		for range 3 {
			r.reserve(id, 100)
		}
		want(t, "a fourth of a lane that is not trusted", r.reserve(id, 100), false)
		want(t, "the first of another", r.reserve(newSubscriptionID(), 250), true)
		want(t, "the first of a third", r.reserve(newSubscriptionID(), 1), false)
		trusted := newSubscriptionID()
		r.set(r.of(trusted), 10, true)
		want(t, "the first of a trusted one", r.reserve(trusted, 100), true)
	})
}

func TestRoomsTrustMovesTheCount(t *testing.T) {
	r := newRooms(1000, 1<<20)
	lane := r.of(newSubscriptionID())
	for range 10 {
		r.take(lane, 7)
	}
	for _, trusted := range []bool{true, true, false, false, true} {
		r.set(lane, 20, trusted)
		held, bytes := int64(10), int64(70)
		if trusted {
			held, bytes = 0, 0
		}
		want(t, "deliveries of lanes not trusted", r.suspect.held.Load(), held)
		want(t, "their bytes", r.suspect.bytes.Load(), bytes)
	}
}

func TestRoomsTidy(t *testing.T) {
	r := newRooms(100, 1<<20)
	idle, busy, known := newSubscriptionID(), newSubscriptionID(), newSubscriptionID()
	for _, id := range []posthorn.SubscriptionID{idle, busy, known} {
		r.take(r.of(id), 1)
	}
	r.free(r.of(idle), 1)
	r.free(r.of(known), 1)
	r.tidy(func(id posthorn.SubscriptionID) bool { return id == known })
	want(t, "rooms left", len(r.byLane), 2)
	if r.byLane[busy] == nil || r.byLane[known] == nil {
		t.Error("a room in use, or of a known lane, was forgotten")
	}
}

// TestRoomsRace uses rooms as ingest and the loop do, all at once, and adds up afterwards.
func TestRoomsRace(t *testing.T) {
	r := newRooms(200, 1<<20)
	ids := make([]posthorn.SubscriptionID, 8)
	for i := range ids {
		ids[i] = newSubscriptionID()
	}
	var users sync.WaitGroup
	for worker := range 8 {
		users.Go(func() { ingestAtRandom(r, ids, rand.New(rand.NewPCG(uint64(worker), 1))) })
	}
	users.Go(func() { loopAtRandom(r, ids, rand.New(rand.NewPCG(8, 1))) })
	users.Wait()
	for name, tally := range map[string]*tally{"all": &r.all, "suspect": &r.suspect} {
		want(t, name+": held", tally.held.Load(), 0)
		want(t, name+": bytes", tally.bytes.Load(), 0)
	}
}

func ingestAtRandom(r *rooms, ids []posthorn.SubscriptionID, random *rand.Rand) {
	reserved := make(map[posthorn.SubscriptionID]int)
	for range 5000 {
		id := ids[random.IntN(len(ids))]
		switch {
		case random.IntN(2) == 0 && reserved[id] > 0:
			r.unreserve(id, 3)
			reserved[id]--
		case r.reserve(id, 3):
			reserved[id]++
		}
	}
	for id, n := range reserved {
		for range n {
			r.unreserve(id, 3)
		}
	}
}

func loopAtRandom(r *rooms, ids []posthorn.SubscriptionID, random *rand.Rand) {
	type lane struct {
		*room
		held int
	}
	lanes := make(map[posthorn.SubscriptionID]*lane)
	known := func(id posthorn.SubscriptionID) bool { return lanes[id] != nil }
	for range 5000 {
		id := ids[random.IntN(len(ids))]
		l := lanes[id]
		if l == nil {
			l = &lane{room: r.of(id)}
			lanes[id] = l
		}
		switch random.IntN(5) {
		case 0, 1:
			r.take(l.room, 3)
			l.held++
		case 2:
			r.set(l.room, random.IntN(40), random.IntN(2) == 0)
		case 3:
			r.tidy(known)
		default:
			if l.held > 0 {
				r.free(l.room, 3)
				l.held--
			} else {
				delete(lanes, id)
			}
		}
	}
	for _, l := range lanes {
		for range l.held {
			r.free(l.room, 3)
		}
	}
}
