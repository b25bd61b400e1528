package app_test

import (
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	. "github.com/posthorn/posthorn/internal/hooktest"
)

func schedule(seconds ...float64) func(*posthorn.Subscription) {
	return func(s *posthorn.Subscription) {
		s.Retry = posthorn.RetryPolicy{Schedule: append([]float64{}, seconds...)}
	}
}

func TestStoryRecoversAfterTwoFailures(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop")
	s.Reply(shop, 503, 503, 200)
	paid := s.Publish(At(0), "invoice.paid")
	s.Want(shop, At(0), Of(paid), Attempt(1))
	s.Want(shop, Between(4*time.Second, 6*time.Second), Of(paid), Attempt(2))
	s.Want(shop, Between(52*time.Second, 78*time.Second), Of(paid), Attempt(3))
	s.WantState(At(30*time.Second), paid, shop, posthorn.Pending)
	s.WantState(At(2*time.Minute), paid, shop, posthorn.Delivered)
	s.Run()
}

func TestStoryExhausts(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop", schedule(10, 20))
	s.Reply(shop, 500)
	paid := s.Publish(At(0), "invoice.paid")
	s.Want(shop, At(0), Attempt(1))
	s.Want(shop, Between(8*time.Second, 12*time.Second), Attempt(2))
	s.Want(shop, Between(24*time.Second, 36*time.Second), Attempt(3))
	s.WantState(At(time.Hour), paid, shop, posthorn.Exhausted, posthorn.ReasonAttempts)
	s.WantStatus(At(time.Hour), shop, posthorn.StatusActive)
	s.Run()
}

func TestStoryOneAttemptOnly(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop", schedule())
	s.Reply(shop, 500)
	paid := s.Publish(At(0), "invoice.paid")
	s.Want(shop, At(0), Attempt(1))
	s.WantState(At(time.Second), paid, shop, posthorn.Exhausted, posthorn.ReasonAttempts)
	s.Until(time.Hour)
	s.Run()
}

func TestStoryGoneDisablesAtOnce(t *testing.T) {
	s := NewStory(t)
	shop, other := s.Subscribe("shop"), s.Subscribe("other")
	s.Reply(shop, 410)
	first := s.Publish(At(0), "invoice.paid")
	second := s.Publish(At(time.Second), "invoice.paid")
	s.Want(shop, At(0), Attempt(1))
	s.WantStatus(At(2*time.Second), shop, posthorn.StatusDisabled, posthorn.DisabledGone)
	s.WantState(At(2*time.Second), first, shop, posthorn.Pending)
	s.WantState(At(2*time.Second), second, shop, posthorn.Pending)
	s.WantState(At(2*time.Second), second, other, posthorn.Delivered)
	// Re-enabling drains what was held.
	s.ReplyFrom(At(time.Hour), shop, 200)
	s.Resume(At(time.Hour), shop)
	s.Want(shop, Between(time.Hour, time.Hour+time.Second), Of(first), Attempt(2))
	s.Want(shop, Between(time.Hour, time.Hour+time.Second), Of(second), Attempt(1))
	s.Run()
}

// TestStoryFailingForDays disables a subscription that had not one success within the configured time, and tells its owner
// half-way, a day ahead and at the end. One call enables it again, and what it held comes.
func TestStoryFailingForDays(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop", func(s *posthorn.Subscription) { s.EventTypes = []string{"invoice.*"} })
	owner := s.Subscribe("owner", func(s *posthorn.Subscription) { s.EventTypes = []string{"posthorn.*"} })
	s.Reply(shop, 500)
	var last *Published
	for day := range 7 {
		for hour := range 4 {
			last = s.Publish(At(time.Duration(24*day+6*hour)*time.Hour), "invoice.paid")
		}
	}
	s.WantStatus(At(119*time.Hour), shop, posthorn.StatusActive)
	s.WantStatus(At(122*time.Hour), shop, posthorn.StatusDisabled, posthorn.DisabledFailing)
	s.Do(At(170*time.Hour), "count what the owner heard", func(n *Node) {
		heard := map[string]int{}
		for _, q := range owner.Receiver.Requests() {
			heard[q.Header.Get("webhook-event-type")]++
			if q.Header.Get("webhook-event-type") == "posthorn.subscription.failing" {
				if at := q.At.Sub(owner.Receiver.Requests()[0].At); at > 100*time.Hour {
					t.Errorf("a warning came %s after the first exhausted delivery", at)
				}
			}
		}
		if heard["posthorn.subscription.failing"] != 2 || heard["posthorn.subscription.disabled"] != 1 || heard["posthorn.delivery.exhausted"] == 0 {
			t.Errorf("the owner heard %v", heard)
		}
	})
	s.WantState(At(170*time.Hour), last, shop, posthorn.Pending)
	s.ReplyFrom(At(171*time.Hour), shop, 200)
	s.Resume(At(171*time.Hour), shop)
	s.WantState(At(172*time.Hour), last, shop, posthorn.Delivered)
	s.Do(At(172*time.Hour), "look at the lane", func(n *Node) {
		if lane := n.Lane(shop.ID); !lane.FailingSince.IsZero() || lane.BreakerOpens != 0 {
			t.Errorf("enabled again and well, the lane is %+v", lane)
		}
	})
	s.Run()
}

func TestStoryASuccessResetsTheFailingTime(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop", schedule(3600))
	s.Reply(shop, 500)
	for hour := range 7 * 6 {
		s.Publish(At(time.Duration(4*hour)*time.Hour), "invoice.paid")
	}
	s.ReplyFrom(At(97*time.Hour), shop, 200, 500)
	s.WantStatus(At(160*time.Hour), shop, posthorn.StatusActive)
	s.Run()
}

func TestStoryRetryAfterPausesTheLane(t *testing.T) {
	for name, header := range map[string]string{
		"Seconds": "300", "Date": "Sat, 01 Jan 2000 00:05:00 GMT",
	} {
		t.Run(name, func(t *testing.T) {
			s := NewStory(t)
			shop, other := s.Subscribe("shop"), s.Subscribe("other")
			s.Reply(shop, Respond(429).Header("Retry-After", header), 200)
			first := s.Publish(At(0), "invoice.paid")
			second := s.Publish(At(time.Minute), "invoice.paid")
			s.Want(shop, At(0), Of(first), Attempt(1))
			s.Want(shop, Between(5*time.Minute, 6*time.Minute), Of(first), Attempt(2))
			s.Want(shop, Between(5*time.Minute, 5*time.Minute+time.Second), Of(second), Attempt(1))
			s.WantState(At(2*time.Minute), second, other, posthorn.Delivered)
			s.Run()
		})
	}
}

func TestStoryTimeout(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop", func(s *posthorn.Subscription) { s.Timeout = 10 * time.Second })
	s.Reply(shop, Hang(), Status(200).After(9*time.Second))
	paid := s.Publish(At(0), "invoice.paid")
	s.Want(shop, At(0), Attempt(1))
	s.Want(shop, Between(14*time.Second, 16100*time.Millisecond), Attempt(2))
	s.WantState(At(30*time.Second), paid, shop, posthorn.Delivered)
	s.Do(At(30*time.Second), "look at the attempts", func(n *Node) {
		a := n.Attempts(n.Delivery(paid.Accepted.EventID, shop.ID).ID)
		if a[0].Outcome != posthorn.Timeout || a[0].Timing.Total != 10*time.Second {
			t.Errorf("the attempt that hung is %s after %s", a[0].Outcome, a[0].Timing.Total)
		}
	})
	s.Run()
}

func TestStoryDroppedConnections(t *testing.T) {
	for name, reply := range map[string]Reply{
		"AfterTheRequest": Drop(), "BeforeTheRequest": Refuse(), "WithinTheHeaders": RawClose("HTTP/1.1 200 OK\r\nConte"),
	} {
		t.Run(name, func(t *testing.T) {
			s := NewStory(t)
			shop := s.Subscribe("shop")
			s.Reply(shop, reply, 200)
			paid := s.Publish(At(0), "invoice.paid")
			s.WantState(At(time.Second), paid, shop, posthorn.Pending)
			s.WantState(At(10*time.Second), paid, shop, posthorn.Delivered)
			s.Run()
		})
	}
}

func TestStoryWindowEnds(t *testing.T) {
	s := NewStory(t)
	s.Setup(func(setup *Setup) { setup.Window = time.Hour })
	shop := s.Subscribe("shop", schedule(60, 60, 60, 60))
	// Throttled for longer than the window leaves: the limit does not stop the window.
	s.Reply(shop, Respond(503).Header("Retry-After", "7200"))
	paid := s.Publish(At(0), "invoice.paid")
	s.Want(shop, At(0), Attempt(1))
	s.WantState(At(time.Second), paid, shop, posthorn.Exhausted, posthorn.ReasonWindow)
	s.Run()
}

// TestStoryWindowIsLookedAfter lets the window end while nothing is sent: the node's regular look ends the delivery.
func TestStoryWindowIsLookedAfter(t *testing.T) {
	s := NewStory(t)
	s.Setup(func(setup *Setup) { setup.Window, setup.Hold = time.Hour, 30*24*time.Hour })
	shop := s.Subscribe("shop", schedule(60, 60, 60, 60))
	s.Reply(shop, Respond(503).Header("Retry-After", "3000"), 200)
	first := s.Publish(At(0), "invoice.paid")
	held := s.Subscribe("held", schedule(60))
	s.Pause(At(time.Second), held)
	second := s.Publish(At(2*time.Second), "invoice.paid")
	s.WantState(At(2*time.Hour), first, shop, posthorn.Delivered)
	s.WantState(At(2*time.Hour), second, shop, posthorn.Delivered)
	// A pause stops the window.
	s.WantState(At(2*time.Hour), second, held, posthorn.Pending)
	s.Resume(At(2*time.Hour), held)
	s.WantState(At(2*time.Hour+time.Second), second, held, posthorn.Delivered)
	s.Run()
}
