package app_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	. "github.com/posthorn/posthorn/internal/hooktest"
)

// many publishes a burst of events and gives them in order.
func many(s *Story, at time.Duration, n int, change ...func(*posthorn.Event)) []*Published {
	all := make([]*Published, n)
	for i := range all {
		all[i] = s.Publish(At(at), "invoice.paid", append([]func(*posthorn.Event){func(e *posthorn.Event) {
			e.Payload = fmt.Appendf(nil, `{"n":%d}`, i)
		}}, change...)...)
	}
	return all
}

// most is the greatest number of requests that a receiver had at once between two moments, each taking so long.
func most(sub *Subscriber, from, to time.Time, takes time.Duration) (peak int) {
	requests := sub.Receiver.Requests()
	for i, q := range requests {
		if q.At.Before(from) || !q.At.Before(to) {
			continue
		}
		together := 0
		for _, o := range requests[:i+1] {
			if q.At.Sub(o.At) < takes {
				together++
			}
		}
		peak = max(peak, together)
	}
	return peak
}

// TestStoryConcurrencyAdaptsAndRecovers: failures make a lane careful, down to one request at a time; successes let it have
// its max_in_flight again, never more.
func TestStoryConcurrencyAdaptsAndRecovers(t *testing.T) {
	const limit, takes = 20, 100 * time.Millisecond
	s := NewStory(t)
	shop := s.Subscribe("shop", schedule(3600), func(s *posthorn.Subscription) { s.MaxInFlight = limit })
	s.Reply(shop, Status(200).After(takes))
	many(s, 0, 300)
	s.ReplyFrom(At(time.Minute), shop, Status(500).After(takes))
	many(s, time.Minute, 12)
	s.ReplyFrom(At(2*time.Minute), shop, Status(200).After(takes))
	many(s, 2*time.Minute, 300)
	s.Do(At(10*time.Minute), "look at what came at once", func(n *Node) {
		start := n.Store.Now().Add(-10 * time.Minute)
		phase := func(from, to time.Duration) int { return most(shop, start.Add(from), start.Add(to), takes) }
		if before := phase(0, time.Minute); before != limit {
			t.Errorf("%d requests at once while all was well, want %d", before, limit)
		}
		if first := phase(2*time.Minute, 2*time.Minute+takes); first != 1 {
			t.Errorf("%d requests at once after the failures, want 1", first)
		}
		if after := phase(2*time.Minute, 3*time.Minute); after != limit {
			t.Errorf("%d requests at once when all was well again, want %d", after, limit)
		}
	})
	s.Run()
}

// TestStoryRateLimitSpreadsAndCostsNoAttempt holds the drain of a pause to the subscription's limit, evenly.
func TestStoryRateLimitSpreadsAndCostsNoAttempt(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop", schedule(), func(s *posthorn.Subscription) {
		s.RateLimit = &posthorn.RateLimit{Limit: 5, Per: "second"}
	})
	s.Pause(At(0), shop)
	all := many(s, time.Second, 100)
	s.Resume(At(time.Hour), shop)
	for _, p := range all {
		s.Want(shop, Between(time.Hour, time.Hour+21*time.Second), Of(p), Attempt(1))
	}
	s.Do(At(2*time.Hour), "look at the distances", func(*Node) {
		got := shop.Receiver.Requests()
		for i := 5; i < len(got); i++ {
			if within := got[i].At.Sub(got[i-5].At); within < time.Second {
				t.Fatalf("requests %d to %d came within %s", i-4, i+1, within)
			}
		}
		for i := 1; i < len(got); i++ {
			if gap := got[i].At.Sub(got[i-1].At); gap > 500*time.Millisecond {
				t.Errorf("%s went by before request %d: the limit bunches", gap, i+1)
			}
		}
	})
	s.Run()
}

// TestStoryHeldOrderDrainsInOrder: what a paused FIFO lane held comes in order, one at a time for each key.
func TestStoryHeldOrderDrainsInOrder(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop", ordered(posthorn.FailureBlocks))
	s.Reply(shop, Status(200).After(100*time.Millisecond))
	s.Pause(At(0), shop)
	for i := range 20 {
		many(s, time.Second+time.Duration(i)*time.Millisecond, 1, func(e *posthorn.Event) {
			e.OrderingKey, e.Payload = string(rune('a'+i%2)), fmt.Appendf(nil, `"%c%02d"`, 'a'+i%2, i/2)
		})
	}
	s.Resume(At(time.Hour), shop)
	s.Do(At(2*time.Hour), "look at the order", func(*Node) {
		last := map[byte]Request{}
		for _, q := range shop.Receiver.Requests() {
			key := q.Body[1]
			if before, ok := last[key]; ok {
				if string(before.Body) >= string(q.Body) {
					t.Errorf("%s came after %s", q.Body, before.Body)
				}
				if q.At.Sub(before.At) < 100*time.Millisecond {
					t.Errorf("%s was sent before %s was answered", q.Body, before.Body)
				}
			}
			last[key] = q
		}
		if n := shop.Receiver.Count(); n != 20 {
			t.Errorf("%d of 20 came", n)
		}
	})
	s.Run()
}

// TestStoryBreakerProbesOnce: an open breaker is everybody's. One node probes, the others and all that waits do not, no
// attempt is spent on waiting, and a probe that succeeds lets everything go.
func TestStoryBreakerProbesOnce(t *testing.T) {
	s := NewStory(t)
	s.Setup(func(setup *Setup) { setup.Quiet = true })
	shop := s.Subscribe("shop", schedule(2, 2, 2, 2, 2, 2, 2, 2))
	s.Reply(shop, 500)
	var second *Node
	s.Do(At(0), "another node", func(n *Node) { second = StartNode(n.T, Setup{Beside: n, Quiet: true}) })
	all := many(s, time.Second, 40)
	count := 0
	s.Do(At(9*time.Second), "look at the open breaker", func(n *Node) {
		lane := n.Lane(shop.ID)
		if lane.BreakerOpens != 1 || !lane.BreakerUntil.After(n.Store.Now()) {
			t.Errorf("after 20 failures in a row the breaker is opened %d times, until %s", lane.BreakerOpens, lane.BreakerUntil)
		}
		count = shop.Receiver.Count()
	})
	// Two nodes look for it, and the first probe was due at about 11 s.
	s.Do(At(28*time.Second), "count the probes", func(n *Node) {
		if probes := shop.Receiver.Count() - count; probes != 1 {
			t.Errorf("%d requests while the breaker was open, want one probe", probes)
		}
		if lane := n.Lane(shop.ID); lane.BreakerOpens != 2 {
			t.Errorf("after a probe that failed the breaker was opened %d times", lane.BreakerOpens)
		}
	})
	s.ReplyFrom(At(28*time.Second), shop, 200)
	for _, p := range all {
		s.WantState(At(5*time.Minute), p, shop, posthorn.Delivered)
	}
	s.Do(At(5*time.Minute), "look at the attempts", func(n *Node) {
		for _, p := range all {
			if d := n.Delivery(p.Accepted.EventID, shop.ID); d.Attempts > 5 {
				t.Errorf("waiting for the breaker cost attempts: %d", d.Attempts)
			}
		}
		if lane := n.Lane(shop.ID); lane.BreakerOpens != 0 {
			t.Errorf("the breaker is opened %d times after a success", lane.BreakerOpens)
		}
		second.Stop(time.Minute)
	})
	s.Run()
}

// TestStoryDeadSubscriptionDelaysNobody: one that hangs with 10,000 deliveries waiting does not change when the others'
// deliveries start. What the machine's own work adds is measured by `posthorn bench`, scenario noisy.
func TestStoryDeadSubscriptionDelaysNobody(t *testing.T) {
	p99 := map[bool]time.Duration{}
	for _, dead := range []bool{false, true} {
		t.Run(fmt.Sprintf("Dead%v", dead), func(t *testing.T) {
			s := NewStory(t)
			s.Setup(func(setup *Setup) { setup.Quiet = true })
			var well []*Subscriber
			for i := range 5 {
				well = append(well, s.Subscribe(fmt.Sprintf("well%d", i), func(s *posthorn.Subscription) { s.EventTypes = []string{"order.*"} }))
			}
			if dead {
				grave := s.Subscribe("dead", func(s *posthorn.Subscription) { s.EventTypes = []string{"noise"} })
				s.Reply(grave, Hang())
				s.Do(At(0), "make the backlog", func(n *Node) {
					for range 20 {
						batch := make([]*posthorn.Event, 500)
						for i := range batch {
							batch[i] = &posthorn.Event{Type: "noise", Payload: []byte("{}")}
						}
						if _, err := n.Publisher.PublishBatch(context.Background(), n.Tenant, batch); err != nil {
							t.Error(err)
						}
					}
				})
			}
			at := map[string]time.Time{}
			for i := range 200 {
				moment := At(time.Second + time.Duration(i)*100*time.Millisecond)
				p := s.Publish(moment, "order.paid")
				s.Do(moment, "note", func(*Node) { at[p.Accepted.EventID.String()] = time.Now() })
			}
			s.Run()
			var waited []time.Duration
			for _, sub := range well {
				for _, q := range sub.Receiver.Requests() {
					waited = append(waited, q.At.Sub(at[q.Event]))
				}
			}
			if len(waited) != 1000 {
				t.Fatalf("%d of 1000 came", len(waited))
			}
			p99[dead] = share(waited, 0.99)
		})
	}
	t.Logf("p99 of the healthy: %s alone, %s beside the dead one", p99[false], p99[true])
	if p99[true] > p99[false]+p99[false]/5 {
		t.Error("a dead subscription changes the others' p99 by more than 20 %")
	}
}
