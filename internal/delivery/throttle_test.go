package delivery_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn"
	. "github.com/posthorn/posthorn/internal/hooktest"
)

// within are the requests of a stretch of time after a start.
func within(r *Receiver, start time.Time, from, to time.Duration) (n int) {
	for _, q := range r.Requests() {
		if at := q.At.Sub(start); at >= from && at < to {
			n++
		}
	}
	return n
}

// TestThrottleReleasesTheQueue: one 429 pauses the lane on every node, with all that waited in it, and costs no attempt of
// what was not sent.
func TestThrottleReleasesTheQueue(t *testing.T) {
	Play(t, Setup{Quiet: true}, func(t *testing.T, n *Node) {
		StartNode(t, Setup{Beside: n, Quiet: true})
		r, sub := n.Receive("shop", func(s *posthorn.Subscription) { s.MaxInFlight = 1 })
		r.Reply(Respond(429).Header("Retry-After", "120").After(time.Second), Status(200))
		start := time.Now()
		var events []posthorn.EventID
		for range 10 {
			events = append(events, n.Publish(event()).EventID)
		}
		time.Sleep(30 * time.Second)
		events = append(events, n.Publish(event()).EventID)
		synctest.Wait()
		if got := r.Count(); got != 1 {
			t.Errorf("%d requests before the pause, want 1", got)
		}
		for _, id := range events[1:] {
			if d := n.Delivery(id, sub.ID); !d.Claim.IsZero() || d.Attempts != 0 {
				t.Errorf("a delivery of the throttled lane is claimed, after %d attempts", d.Attempts)
			}
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if early := within(r, start, 2*time.Second, 121*time.Second); early != 0 {
			t.Errorf("%d requests during the pause", early)
		}
		if soon := within(r, start, 121*time.Second, 125*time.Second); soon < 10 {
			t.Errorf("%d of 10 requests soon after the pause", soon)
		}
		if r.Count() != 12 {
			t.Errorf("%d requests for 11 deliveries of which one failed once", r.Count())
		}
	})
}

// TestThrottleSpreadsOnEveryNode: a node that only hears of a pause, or of an open breaker, begins as carefully afterwards as if it
// had been told itself.
func TestThrottleSpreadsOnEveryNode(t *testing.T) {
	Play(t, Setup{Quiet: true}, func(t *testing.T, n *Node) {
		other := StartNode(t, Setup{Beside: n, Quiet: true})
		n.Bus.Subscribe(func(s posthorn.Signal) {
			if s.From == n.ID {
				other.Bus.Publish(t.Context(), s)
			}
		})
		r, _ := n.Receive("shop")
		for range 200 {
			n.Publish(event())
			other.Publish(event())
		}
		time.Sleep(time.Minute)
		r.ReplyBy(func(q Request) Reply {
			if r.Count() == 401 {
				return Respond(429).Header("Retry-After", "60").Reply()
			}
			return Status(200).After(100 * time.Millisecond)
		})
		n.Publish(event())
		synctest.Wait()
		for range 200 {
			other.Publish(event())
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		got := r.Requests()[401:]
		if len(got) != 201 {
			t.Fatalf("%d requests after the pause", len(got))
		}
		first := 0
		for _, q := range got {
			if q.At.Sub(got[0].At) < 50*time.Millisecond {
				first++
			}
		}
		if first > 34 {
			t.Errorf("%d requests at once after the pause", first)
		}
	})
}

// TestThrottleCrossesClaims throttles while claims and publishes are under way all the time: whatever crosses, nothing is
// sent during the pause but what was on its way.
func TestThrottleCrossesClaims(t *testing.T) {
	Play(t, Setup{Quiet: true}, func(t *testing.T, n *Node) {
		r, _ := n.Receive("shop", func(s *posthorn.Subscription) { s.MaxInFlight = 4 })
		var mu sync.Mutex
		var refused []Request
		r.ReplyBy(func(q Request) Reply {
			// Others may have come since this one was counted.
			if r.Count()%20 == 0 {
				mu.Lock()
				defer mu.Unlock()
				refused = append(refused, q)
				return Respond(429).Header("Retry-After", "10").After(50 * time.Millisecond)
			}
			return Status(200).After(50 * time.Millisecond)
		})
		for range 300 {
			n.Publish(event())
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		got := r.Requests()
		if len(refused) < 10 {
			t.Errorf("only %d requests were answered 429", len(refused))
		}
		for _, q := range refused {
			for _, later := range got {
				if gap := later.At.Sub(q.At); gap > 51*time.Millisecond && gap < 10*time.Second {
					t.Errorf("a request %s after the one that was answered 429", gap)
				}
			}
		}
		seen := make(map[string]bool)
		for _, q := range got {
			seen[q.Event] = true
		}
		if len(seen) != 300 {
			t.Errorf("%d of 300 events arrived", len(seen))
		}
	})
}

func TestManualRetryPassesTheThrottle(t *testing.T) {
	Play(t, Setup{}, func(t *testing.T, n *Node) {
		r, sub := n.Receive("shop")
		r.Reply(Respond(503).Header("Retry-After", "600").Reply(), Status(200))
		accepted := n.Publish(event())
		time.Sleep(10 * time.Second)
		if err := n.Retry(n.Delivery(accepted.EventID, sub.ID).ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if d := n.Delivery(accepted.EventID, sub.ID); d.State != posthorn.Delivered {
			t.Errorf("a manual retry during the throttle left the delivery %s", d.State)
		}
	})
}

// TestBreaker fails everything until the breaker opens, lets single probes fail, and then answers well.
func TestBreaker(t *testing.T) {
	Play(t, Setup{Quiet: true}, func(t *testing.T, n *Node) {
		StartNode(t, Setup{Beside: n, Quiet: true})
		r, sub := n.Receive("shop", func(s *posthorn.Subscription) {
			s.Retry = posthorn.RetryPolicy{Initial: 1, Multiplier: 1, Maximum: 1, Attempts: 50}
		})
		r.Reply(Status(500))
		start := time.Now()
		for range 100 {
			n.Publish(event())
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		opened := r.Count()
		if opened < 20 || opened > 40 {
			t.Errorf("%d requests until the breaker opened, want 20 and what was under way", opened)
		}
		lane := n.Lane(sub.ID)
		if lane.BreakerOpens != 1 {
			t.Errorf("one burst of failures opened the breaker %d times", lane.BreakerOpens)
		}
		// Probes at about 10, 30 and 70 s fail, each alone.
		time.Sleep(95 * time.Second)
		synctest.Wait()
		if probes := r.Count() - opened; probes != 3 {
			t.Errorf("%d probes within 100 s, want 3", probes)
		}
		for _, around := range []time.Duration{10 * time.Second, 30 * time.Second, 70 * time.Second} {
			if got := within(r, start, around-2*time.Second, around+4*time.Second); got != 1 {
				t.Errorf("%d requests around %s, want one probe", got, around)
			}
		}
		r.Reply(Status(200))
		well := r.Count()
		time.Sleep(55 * time.Second)
		synctest.Wait()
		if got := r.Count() - well; got != 100 {
			t.Errorf("%d requests after the probe that succeeded, want the 100 that waited", got)
		}
		if lane := n.Lane(sub.ID); lane.BreakerOpens != 0 || !lane.FailingSince.IsZero() {
			t.Errorf("the breaker is not closed: %+v", lane)
		}
		if d := r.Requests()[r.Count()-1]; d.Attempt > 6 {
			t.Errorf("waiting for the breaker cost attempts: the last was attempt %d", d.Attempt)
		}
	})
}

// TestBreakerBurstOfHangingRequests is the same with requests that time out together: 64 failures are one opening.
func TestBreakerBurstOfHangingRequests(t *testing.T) {
	Play(t, Setup{Quiet: true}, func(t *testing.T, n *Node) {
		r, sub := n.Receive("shop")
		for range 80 {
			n.Publish(event())
		}
		synctest.Wait()
		r.Reply(Hang())
		for range 200 {
			n.Publish(event())
		}
		time.Sleep(16 * time.Second)
		synctest.Wait()
		lane := n.Lane(sub.ID)
		if lane.BreakerOpens != 1 || lane.BreakerUntil.Sub(n.Store.Now()) > 10*time.Second {
			t.Errorf("opened %d times, until %s from now", lane.BreakerOpens, lane.BreakerUntil.Sub(n.Store.Now()))
		}
	})
}

// TestOrder sends one at a time and in order, through failures, restarts of lanes and a second node.
func TestOrder(t *testing.T) {
	Play(t, Setup{Quiet: true}, func(t *testing.T, n *Node) {
		StartNode(t, Setup{Beside: n, Quiet: true})
		r, _ := n.Receive("ledger", func(s *posthorn.Subscription) { s.Ordering = posthorn.OrderingFIFO })
		r.ReplyBy(func(q Request) Reply {
			if r.Count()%7 == 0 && q.Attempt == 1 {
				return Status(500)
			}
			return Status(200).After(30 * time.Millisecond)
		})
		var order []string
		for i := range 60 {
			order = append(order, n.Publish(&posthorn.Event{Type: "entry", Payload: fmt.Appendf(nil, `{"n":%d}`, i)}).EventID.String())
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		requests, early := r.Requests(), 0
		var got []string
		for i, q := range requests {
			if i == 0 || requests[i-1].Event != q.Event {
				got = append(got, q.Event)
			}
			if i > 0 && requests[i-1].Event != q.Event && q.At.Sub(requests[i-1].At) < 30*time.Millisecond {
				early++
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(order) {
			t.Errorf("the order is\n%v, want\n%v", got, order)
		}
		if early > 0 {
			t.Errorf("%d requests were sent before the one before them was answered", early)
		}
	})
}

// TestOrderByKey keeps the order within a key, and lets no key wait for another.
func TestOrderByKey(t *testing.T) {
	Play(t, Setup{Quiet: true}, func(t *testing.T, n *Node) {
		r, _ := n.Receive("ledger", func(s *posthorn.Subscription) { s.Ordering = posthorn.OrderingFIFO })
		r.ReplyBy(func(q Request) Reply {
			if string(q.Body) == `"a0"` && q.Attempt < 3 {
				return Status(500)
			}
			return Status(200)
		})
		start := time.Now()
		for i := range 5 {
			for _, key := range []string{"a", "b", "c"} {
				n.Publish(&posthorn.Event{Type: "entry", Payload: fmt.Appendf(nil, `"%s%d"`, key, i), OrderingKey: key})
			}
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		got := map[byte]string{}
		for _, q := range r.Requests() {
			key := q.Body[1]
			got[key] += string(q.Body[2])
			if key != 'a' && q.At.Sub(start) > time.Second {
				t.Errorf("%s came at %s: it waited for another key", q.Body, q.At.Sub(start))
			}
		}
		for key, want := range map[byte]string{'a': "0001234", 'b': "01234", 'c': "01234"} {
			if got[key] != want {
				t.Errorf("key %c came as %s, want %s", key, got[key], want)
			}
		}
	})
}

// TestDrain: a drained node claims nothing more and gives back what waits; another takes over at once.
func TestDrain(t *testing.T) {
	Play(t, Setup{}, func(t *testing.T, n *Node) {
		r, _ := n.Receive("slow", func(s *posthorn.Subscription) { s.MaxInFlight = 1 })
		r.Reply(Status(200).After(5 * time.Second))
		for range 6 {
			n.Publish(event())
		}
		time.Sleep(time.Second)
		n.Engine.Drain()
		time.Sleep(29 * time.Second)
		if got := r.Count(); got != 1 {
			t.Errorf("%d requests by a node that drains, want the one in flight", got)
		}
		report := &posthorn.Node{}
		n.Engine.Describe(report)
		if !report.Draining || report.Held != 0 || report.InFlight != 0 {
			t.Errorf("after draining: %+v", report)
		}
		StartNode(t, Setup{Beside: n})
		n.Publish(event())
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := r.Count(); got != 7 {
			t.Errorf("%d requests for 7 deliveries", got)
		}
		for _, q := range r.Requests() {
			if q.Attempt != 1 {
				t.Errorf("what was given back came as attempt %d", q.Attempt)
			}
		}
	})
}

func TestDescribe(t *testing.T) {
	Play(t, Setup{}, func(t *testing.T, n *Node) {
		r, sub := n.Receive("slow")
		r.Reply(Status(200).After(10 * time.Second))
		for range 3 {
			n.Publish(event())
		}
		time.Sleep(time.Second)
		report := &posthorn.Node{}
		n.Engine.Describe(report)
		if report.InFlight != 3 || report.Held != 3 || len(report.Doing) != 3 || report.Lanes != 1 {
			t.Errorf("with three requests under way: %+v", report)
		}
		if d := report.Doing[0]; d.SubscriptionID != sub.ID || d.Number != 1 || time.Since(d.Since) != time.Second {
			t.Errorf("doing %+v", d)
		}
		time.Sleep(19 * time.Second)
		n.Engine.Describe(report)
		if report.InFlight != 0 || report.DeliveredPerSecond != 3.0/19 {
			t.Errorf("afterwards: %+v", report)
		}
		n.Stop(time.Second)
		n.Engine.Describe(report)
	})
}
