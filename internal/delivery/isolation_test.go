package delivery_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/delivery"
	. "github.com/posthorn/posthorn/internal/hooktest"
)

func event() *posthorn.Event {
	return &posthorn.Event{Type: "invoice.paid", Payload: []byte(`{"amount":1200}`)}
}

// waits are the times from each publish to the arrival of its request, in order of length.
func waits(r *Receiver, published map[string]time.Time) []time.Duration {
	var waits []time.Duration
	for _, q := range r.Requests() {
		if at, ok := published[q.Event]; ok {
			waits = append(waits, q.At.Sub(at))
		}
	}
	slices.Sort(waits)
	return waits
}

// TestHangingLanesDelayNobody publishes to many subscribers that hang and to one that answers, which is as unknown to the
// node as they are.
func TestHangingLanesDelayNobody(t *testing.T) {
	for _, hanging := range []int{1, 20, 200} {
		t.Run(fmt.Sprintf("Hanging%d", hanging), func(t *testing.T) {
			Play(t, Setup{Quiet: true}, func(t *testing.T, n *Node) {
				for i := range hanging {
					r, _ := n.Receive(fmt.Sprintf("hangs%d", i))
					r.Reply(Hang())
				}
				well, _ := n.Receive("well")
				published := make(map[string]time.Time)
				for range 40 {
					at := time.Now()
					published[n.Publish(event()).EventID.String()] = at
					time.Sleep(500 * time.Millisecond)
				}
				synctest.Wait()
				got := waits(well, published)
				if len(got) != 40 {
					t.Fatalf("%d of 40 arrived", len(got))
				}
				if worst := got[39]; worst > 50*time.Millisecond {
					t.Errorf("the slowest took %s", worst)
				}
				t.Logf("beside %d that hang: median %s, slowest %s", hanging, got[20], got[39])
			})
		})
	}
}

// TestHangingLanesBeyondTheSlots makes far more subscribers hang than the node has slots and room for: one that is known to
// answer goes on, and a newcomer waits for no more than a turn.
func TestHangingLanesBeyondTheSlots(t *testing.T) {
	small := func(o *delivery.Options) { o.Slots, o.MaxHeld = 64, 256 }
	Play(t, Setup{Quiet: true, Tune: small}, func(t *testing.T, n *Node) {
		well, _ := n.Receive("well")
		n.Publish(event())
		synctest.Wait()
		for i := range 150 {
			r, _ := n.Receive(fmt.Sprintf("hangs%d", i))
			r.Reply(Hang())
		}
		n.Publish(event())
		n.Publish(event())
		time.Sleep(time.Second)
		newcomer, _ := n.Receive("newcomer")
		published := make(map[string]time.Time)
		for range 20 {
			at := time.Now()
			published[n.Publish(event()).EventID.String()] = at
			time.Sleep(3 * time.Second)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		got := waits(well, published)
		if len(got) != 20 || got[19] > 50*time.Millisecond {
			t.Errorf("the subscriber that answers got %d of 20: %s", len(got), got)
		}
		late := waits(newcomer, published)
		if len(late) != 20 {
			t.Fatalf("the newcomer got %d of 20", len(late))
		}
		if late[0] > 2*time.Minute {
			t.Errorf("the newcomer's first came after %s", late[0])
		}
		t.Logf("known: slowest %s; newcomer: first after %s, slowest %s", got[19], late[0], late[19])
	})
}

// TestLongBacklogsShutOutNobody gives some lanes more than the node can hold and looks at a lane with one delivery.
func TestLongBacklogsShutOutNobody(t *testing.T) {
	small := func(o *delivery.Options) { o.Slots, o.MaxHeld = 64, 256 }
	Play(t, Setup{Quiet: true, Tune: small}, func(t *testing.T, n *Node) {
		var busy []*Receiver
		for i := range 4 {
			r, _ := n.Receive(fmt.Sprintf("busy%d", i), func(s *posthorn.Subscription) { s.EventTypes = []string{"bulk.item"} })
			r.Reply(Status(200).After(200 * time.Millisecond))
			busy = append(busy, r)
		}
		little, _ := n.Receive("little", func(s *posthorn.Subscription) { s.EventTypes = []string{"alarm"} })
		for range 500 {
			n.Publish(&posthorn.Event{Type: "bulk.item", Payload: []byte(`{}`)})
		}
		time.Sleep(time.Second)
		published := make(map[string]time.Time)
		for range 5 {
			at := time.Now()
			published[n.Publish(&posthorn.Event{Type: "alarm", Payload: []byte(`{}`)}).EventID.String()] = at
			time.Sleep(400 * time.Millisecond)
		}
		got := waits(little, published)
		if len(got) != 5 || got[4] > 400*time.Millisecond {
			t.Errorf("beside the backlogs %d of 5 came, the slowest after %s", len(got), got)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for _, r := range busy {
			if r.Count() != 500 {
				t.Errorf("%s got %d of 500", r.Name, r.Count())
			}
		}
	})
}

// TestBurstNeedsNoPoll publishes much more to one lane than it may hold: what did not fit is fetched as the lane drains, not
// at the next poll, half a minute later.
func TestBurstNeedsNoPoll(t *testing.T) {
	for _, size := range []int{17, 100, 1000} {
		t.Run(fmt.Sprintf("Events%d", size), func(t *testing.T) {
			Play(t, Setup{}, func(t *testing.T, n *Node) {
				r, _ := n.Receive("shop")
				batch := make([]*posthorn.Event, size)
				for i := range batch {
					batch[i] = event()
				}
				start := time.Now()
				if _, err := n.Publisher.PublishBatch(t.Context(), n.Tenant, batch); err != nil {
					t.Fatal(err)
				}
				if !r.Await(size, time.Hour) {
					t.Fatalf("%d of %d arrived", r.Count(), size)
				}
				if took := time.Since(start); took > time.Second {
					t.Errorf("a subscriber that answers at once got %d in %s", size, took)
				}
				synctest.Wait()
				seen := make(map[string]bool)
				for _, q := range r.Requests() {
					if seen[q.Event] {
						t.Errorf("%s came twice", q.Event)
					}
					seen[q.Event] = true
				}
			})
		})
	}
}

// TestRateLimitSpreads sends a backlog at the rate of the subscription, and other lanes at theirs.
func TestRateLimitSpreads(t *testing.T) {
	Play(t, Setup{}, func(t *testing.T, n *Node) {
		limited, _ := n.Receive("limited", func(s *posthorn.Subscription) {
			s.RateLimit = &posthorn.RateLimit{Limit: 10, Per: "second"}
		})
		free, _ := n.Receive("free")
		start := time.Now()
		for range 300 {
			n.Publish(event())
		}
		free.Await(300, time.Minute)
		if took := time.Since(start); took > time.Second {
			t.Errorf("the lane without a limit took %s", took)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		got := limited.Requests()
		if len(got) != 300 {
			t.Fatalf("%d of 300 arrived within a minute", len(got))
		}
		for i := 10; i < len(got); i++ {
			if gap := got[i].At.Sub(got[i-10].At); gap < time.Second {
				t.Errorf("requests %d to %d came within %s", i-9, i+1, gap)
				break
			}
		}
		took := got[299].At.Sub(start)
		if took < 29*time.Second || took > 31*time.Second {
			t.Errorf("300 at 10 a second took %s", took)
		}
		for _, q := range got {
			if q.Attempt != 1 {
				t.Fatalf("waiting for the limit cost an attempt: %d", q.Attempt)
			}
		}
	})
}

// TestRateLimitIsReachedBySlowReceivers: what is in flight takes nothing from what a limited lane may hold, so that it comes to
// its limit with as many requests at once as that takes.
func TestRateLimitIsReachedBySlowReceivers(t *testing.T) {
	for name, c := range map[string]struct {
		limit posthorn.RateLimit
		// want is how many requests five minutes allow.
		want int
	}{
		"Minute": {posthorn.RateLimit{Limit: 60, Per: "minute"}, 300},
		"Second": {posthorn.RateLimit{Limit: 4, Per: "second"}, 1200},
		"Seldom": {posthorn.RateLimit{Limit: 12, Per: "minute"}, 60},
	} {
		t.Run(name, func(t *testing.T) {
			Play(t, Setup{}, func(t *testing.T, n *Node) {
				r, _ := n.Receive("limited", func(s *posthorn.Subscription) { s.RateLimit = &c.limit })
				r.Reply(Status(200).After(7 * time.Second))
				start := time.Now()
				for range 2 * c.want {
					n.Publish(event())
				}
				time.Sleep(7 * time.Minute)
				synctest.Wait()
				// At first the lane learns how many at once its receiver takes.
				if got := within(r, start, 2*time.Minute, 7*time.Minute); got < c.want*98/100 || got > c.want+1 {
					t.Errorf("%d requests in five minutes, want %d", got, c.want)
				}
			})
		})
	}
}

// TestRateLimitEdited: what an older limit has granted is not used under a lower one.
func TestRateLimitEdited(t *testing.T) {
	Play(t, Setup{}, func(t *testing.T, n *Node) {
		r, sub := n.Receive("limited", func(s *posthorn.Subscription) {
			s.RateLimit = &posthorn.RateLimit{Limit: 1000, Per: "second"}
			s.MaxInFlight = 4
		})
		r.Reply(Status(200).After(time.Second))
		for range 100 {
			n.Publish(event())
		}
		time.Sleep(2500 * time.Millisecond)
		n.Update(sub.ID, func(s *posthorn.Subscription) { s.RateLimit = &posthorn.RateLimit{Limit: 1, Per: "minute"} })
		synctest.Wait()
		before := r.Count()
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if got := r.Count() - before; got > 1 {
			t.Errorf("%d requests within a minute of a limit of one", got)
		}
	})
}

// TestLimitedLanesHoldLittle: backlogs of limited lanes must not fill the node, or they would stop the others.
func TestLimitedLanesHoldLittle(t *testing.T) {
	small := func(o *delivery.Options) { o.MaxHeld = 256 }
	Play(t, Setup{Quiet: true, Tune: small}, func(t *testing.T, n *Node) {
		for i := range 20 {
			n.Receive(fmt.Sprintf("limited%d", i), func(s *posthorn.Subscription) {
				s.RateLimit = &posthorn.RateLimit{Limit: 6, Per: "minute"}
			})
		}
		free, _ := n.Receive("free")
		published := make(map[string]time.Time)
		for range 60 {
			at := time.Now()
			published[n.Publish(event()).EventID.String()] = at
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if got := waits(free, published); len(got) != 60 || got[59] > 50*time.Millisecond {
			t.Errorf("%d of 60 came: %s", len(got), got)
		}
	})
}
