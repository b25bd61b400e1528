package delivery

import (
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

func TestRoomOfALane(t *testing.T) {
	limited := &target{sub: &posthorn.Subscription{}}
	limited.sub.RateLimit = &posthorn.RateLimit{Limit: 10}
	cases := map[string]struct {
		lane  lane
		spare int
		room  int
	}{
		"Least":           {lane{window: 1, most: 64}, 2000, minLaneRoom},
		"FourTimesWindow": {lane{window: 20, most: 64}, 2000, 80},
		"Most":            {lane{window: 500, most: 500}, 2000, maxLaneRoom},
		"Fast":            {lane{window: 10, most: 64, trusted: true, pace: 5 * time.Millisecond}, 2000, 500},
		"FastOneByOne":    {lane{window: 1, most: 1, trusted: true, pace: 5 * time.Millisecond}, 2000, 50},
		"FastNotTrusted":  {lane{window: 10, most: 64, pace: 5 * time.Millisecond}, 2000, 40},
		"FastOnFullNode":  {lane{window: 10, most: 64, trusted: true, pace: 5 * time.Millisecond}, -300, 40},
		"FastLittleSpare": {lane{window: 10, most: 64, trusted: true, pace: 5 * time.Millisecond}, 100, 100},
		"Slow":            {lane{window: 10, most: 64, trusted: true, pace: 200 * time.Millisecond}, 2000, 40},
		"Unmeasured":      {lane{window: 10, most: 64, trusted: true}, 2000, 40},
		"RateLimit":       {lane{window: 10, most: 64, trusted: true, pace: time.Millisecond, inFlight: 3, target: limited}, 2000, 23},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { want(t, "room", c.lane.fittingRoom(c.spare), c.room) })
	}
}

func TestPaceOfALane(t *testing.T) {
	l := lane{window: 1, most: 64}
	answer := func(took time.Duration) {
		l.learn(&posthorn.Attempt{Outcome: posthorn.Succeeded, Timing: posthorn.Timing{Total: took}})
	}
	answer(16 * time.Millisecond)
	want(t, "after the first", l.pace, 16*time.Millisecond)
	answer(32 * time.Millisecond)
	want(t, "after a slower one", l.pace, 17*time.Millisecond)
	for range 200 {
		answer(time.Millisecond)
	}
	want(t, "after many fast ones", l.pace.Round(time.Millisecond), time.Millisecond)
}

// TestLaneRooms shows which lanes a claim speaks of: those that hold something, had more, or may hold less than lanes nobody knows.
func TestLaneRooms(t *testing.T) {
	e := New(Options{Store: clockStore{}, MaxHeld: 1000})
	e.beat = time.NewTimer(time.Hour)
	lane := func(trusted, more bool, held, window int) posthorn.SubscriptionID {
		l := e.lane(newSubscriptionID(), posthorn.TenantID{})
		l.trusted, l.more, l.window = trusted, more, window
		e.setRoom(l)
		for range held {
			e.rooms.take(l.room, 1)
		}
		return l.id
	}
	idle, busy, more := lane(true, false, 0, 20), lane(true, false, 5, 20), lane(true, true, 0, 20)
	tight, unsure := lane(true, false, 0, 1), lane(false, false, 0, 20)
	rooms := e.laneRooms(newLaneRoom)
	for id, room := range map[posthorn.SubscriptionID]int{busy: 75, more: 80, tight: minLaneRoom, unsure: 80} {
		want(t, "room", rooms[id], room)
	}
	if room, told := rooms[idle]; told {
		t.Errorf("a lane that holds nothing is told to have room for %d", room)
	}
	want(t, "its room, where lanes nobody knows get nothing", e.laneRooms(0)[idle], 80)
}

// clockStore is nothing but a clock.
type clockStore struct{ Store }

func (clockStore) Now() time.Time { return time.Now() }
