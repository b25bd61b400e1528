package app_test

import (
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	. "github.com/posthorn/posthorn/internal/hooktest"
)

func ordered(mode posthorn.FailureMode) func(*posthorn.Subscription) {
	return func(s *posthorn.Subscription) { s.Ordering, s.OnFailure = posthorn.OrderingFIFO, mode }
}

// soon is At for what is claimed first: two searches of a node have a gap between them.
func soon(d time.Duration) Span { return Between(d, d+20*time.Millisecond) }

func TestStoryOrderBlocks(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop", schedule(60), ordered(posthorn.FailureBlocks))
	s.Reply(shop, 500, 200)
	first := s.Publish(At(0), "order.created")
	second := s.Publish(At(time.Second), "order.paid")
	s.Want(shop, soon(0), Of(first), Attempt(1))
	s.Want(shop, Between(48*time.Second, 72*time.Second), Of(first), Attempt(2))
	s.Want(shop, Between(48*time.Second, 72*time.Second), Of(second), Attempt(1))
	s.Run()
}

// TestStoryOrderSkips: the ones behind a failed delivery pass in their order, while it goes on with its own schedule.
func TestStoryOrderSkips(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop", schedule(60, 60), ordered(posthorn.FailureSkips))
	s.Reply(shop, 500, Status(200).After(2*time.Second))
	first := s.Publish(At(0), "order.created")
	second := s.Publish(At(time.Second), "order.paid")
	third := s.Publish(At(time.Second+time.Millisecond), "order.sent")
	s.Want(shop, soon(0), Of(first), Attempt(1))
	s.Want(shop, soon(time.Second), Of(second), Attempt(1))
	s.Want(shop, Between(3*time.Second, 3100*time.Millisecond), Of(third), Attempt(1))
	s.Want(shop, Between(48*time.Second, 72*time.Second), Of(first), Attempt(2))
	s.WantState(At(2*time.Minute), first, shop, posthorn.Delivered)
	s.Run()
}

// TestStoryOrderSkipsAnOutage: all of a long outage's deliveries are retried, and what comes after it is in order.
func TestStoryOrderSkipsAnOutage(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop", schedule(30), ordered(posthorn.FailureSkips))
	s.Reply(shop, 500, 500, 500, 200)
	var lost []*Published
	for i := range 3 {
		lost = append(lost, s.Publish(At(time.Duration(i)*time.Second), "order.created"))
		s.Want(shop, soon(time.Duration(i)*time.Second), Of(lost[i]), Attempt(1))
		s.Want(shop, Between(24*time.Second, 40*time.Second), Of(lost[i]), Attempt(2))
	}
	next := s.Publish(At(5*time.Second), "order.created")
	s.Want(shop, soon(5*time.Second), Of(next), Attempt(1))
	s.Until(time.Minute)
	s.Run()
}

// TestStoryExhaustedReleases: a head that is given up holds nobody, in either mode.
func TestStoryExhaustedReleases(t *testing.T) {
	for name, mode := range map[string]posthorn.FailureMode{"Block": posthorn.FailureBlocks, "Skip": posthorn.FailureSkips} {
		t.Run(name, func(t *testing.T) {
			s := NewStory(t)
			shop := s.Subscribe("shop", ordered(mode), func(s *posthorn.Subscription) { s.Retry.FinalStatuses = []int{400} })
			s.Reply(shop, 400, 200)
			first := s.Publish(At(0), "order.created")
			second := s.Publish(At(0), "order.paid")
			s.Want(shop, soon(0), Of(first), Attempt(1))
			s.Want(shop, soon(0), Of(second), Attempt(1))
			s.WantState(At(time.Minute), first, shop, posthorn.Exhausted, posthorn.ReasonFinalStatus)
			s.Run()
		})
	}
}

// TestStoryManualRetryCutByARestart: the node's end is no failure of a retry by hand; the next node makes it.
func TestStoryManualRetryCutByARestart(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop", func(s *posthorn.Subscription) { s.Retry.FinalStatuses = []int{400} })
	s.Reply(shop, 400, Status(200).After(10*time.Second), 200)
	paid := s.Publish(At(0), "invoice.paid")
	s.Retry(At(time.Minute), paid, shop)
	s.Restart(At(time.Minute + 2*time.Second))
	s.Want(shop, At(0), Of(paid), Attempt(1))
	s.Want(shop, At(time.Minute), Of(paid), Attempt(2))
	s.Want(shop, Between(time.Minute+2*time.Second, time.Minute+3*time.Second), Of(paid), Attempt(3))
	s.WantState(At(2*time.Minute), paid, shop, posthorn.Delivered)
	s.Do(At(2*time.Minute), "look at the attempts", func(n *Node) {
		a := n.Attempts(n.Delivery(paid.Accepted.EventID, shop.ID).ID)
		if len(a) != 3 || a[1].Outcome != posthorn.Interrupted || !a[2].Manual {
			t.Errorf("the attempts are %+v", a)
		}
	})
	s.Run()
}

// TestStoryRetryAfterZero: a receiver that says 0 is asked again by the policy's own schedule, without a pause of the lane.
func TestStoryRetryAfterZero(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop", schedule(5))
	s.Reply(shop, Respond(429).Header("Retry-After", "0"), 200)
	first := s.Publish(At(0), "invoice.paid")
	second := s.Publish(At(time.Second), "invoice.paid")
	s.Want(shop, At(0), Of(first), Attempt(1))
	s.Want(shop, At(time.Second), Of(second), Attempt(1))
	s.Want(shop, Between(4*time.Second, 6*time.Second), Of(first), Attempt(2))
	s.Run()
}
