package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	. "github.com/posthorn/posthorn/internal/hooktest"
)

func TestStoryPauseHoldsAndResumeDrains(t *testing.T) {
	s := NewStory(t)
	shop, other := s.Subscribe("shop"), s.Subscribe("other")
	before := s.Publish(At(0), "invoice.paid")
	s.Pause(At(time.Minute), shop)
	var held []*Published
	for i := range 100 {
		held = append(held, s.Publish(At(time.Minute+time.Duration(i+1)*time.Second), "invoice.paid"))
	}
	s.WantState(At(time.Hour), held[0], shop, posthorn.Pending)
	s.WantState(At(time.Hour), held[99], other, posthorn.Delivered)
	s.Resume(At(100*time.Hour), shop)
	s.Want(shop, At(0), Of(before), Attempt(1))
	for _, p := range held {
		s.Want(shop, Between(100*time.Hour, 100*time.Hour+time.Second), Of(p), Attempt(1))
	}
	s.Run()
}

// TestStoryHoldStopsWhatWaitsInItsLane: a pause, and a 410 amid a burst, let what is on its way end and nothing else go out,
// though a node holds it already. A resumption sends each once.
func TestStoryHoldStopsWhatWaitsInItsLane(t *testing.T) {
	for name, first := range map[string]int{"Paused": 200, "Gone": 410} {
		t.Run(name, func(t *testing.T) {
			s := NewStory(t)
			shop := s.Subscribe("shop", func(s *posthorn.Subscription) { s.MaxInFlight = 1 })
			s.Reply(shop, Status(first).After(2*time.Second), 200)
			burst := many(s, 0, 10)
			if first == 200 {
				s.Pause(At(time.Second), shop)
			}
			s.Want(shop, At(0), Attempt(1))
			s.Resume(At(time.Hour), shop)
			for _, p := range burst {
				s.WantState(At(time.Hour+time.Minute), p, shop, posthorn.Delivered)
			}
			if first == 410 {
				s.Want(shop, Between(time.Hour, time.Hour+time.Second), Of(burst[0]), Attempt(2))
			}
			for _, p := range burst[1:] {
				s.Want(shop, Between(time.Hour, time.Hour+time.Second), Of(p), Attempt(1))
			}
			s.Run()
		})
	}
}

func TestStoryResumeWithoutTheBacklog(t *testing.T) {
	s := NewStory(t)
	s.Setup(func(setup *Setup) { setup.Hold = 1000 * time.Hour })
	shop := s.Subscribe("shop")
	s.Pause(At(0), shop)
	var held []*Published
	for i := range 1000 {
		held = append(held, s.Publish(At(time.Minute+time.Duration(i)*time.Second), "invoice.paid"))
	}
	s.Do(At(10*time.Hour), "resume without them", func(n *Node) {
		n.Update(shop.ID, func(s *posthorn.Subscription) { s.Status, s.SkipHeld = posthorn.StatusActive, true })
	})
	fresh := s.Publish(At(10*time.Hour+time.Second), "invoice.paid")
	s.Want(shop, Between(10*time.Hour+time.Second, 10*time.Hour+2*time.Second), Of(fresh), Attempt(1))
	for _, p := range held {
		s.WantState(At(10*time.Hour+5*time.Minute), p, shop, posthorn.Cancelled, posthorn.ReasonSkipped)
	}
	s.Run()
}

func TestStoryHeldTooLong(t *testing.T) {
	s := NewStory(t)
	s.Setup(func(setup *Setup) { setup.Hold = 6 * time.Hour })
	shop := s.Subscribe("shop")
	s.Pause(At(0), shop)
	paid := s.Publish(At(time.Minute), "invoice.paid")
	s.WantNothing(shop)
	s.WantState(At(5*time.Hour+59*time.Minute), paid, shop, posthorn.Pending)
	s.WantState(At(6*time.Hour+10*time.Minute), paid, shop, posthorn.Cancelled, posthorn.ReasonHeldTooLong)
	s.Run()
}

func TestStoryHeldTooLongIsAnnouncedADayBefore(t *testing.T) {
	s := NewStory(t)
	s.Setup(func(setup *Setup) { setup.Hold = 48 * time.Hour })
	shop := s.Subscribe("shop")
	desk := s.Subscribe("desk", func(s *posthorn.Subscription) { s.EventTypes = []string{"posthorn.*"} })
	// It would hear of itself, and of what it holds for hearing of itself.
	deaf := s.Subscribe("deaf", func(s *posthorn.Subscription) { s.EventTypes = []string{"posthorn.*", "invoice.*"} })
	s.Pause(At(0), shop)
	s.Pause(At(time.Hour), deaf)
	paid := s.Publish(At(2*time.Hour), "invoice.paid")
	s.Publish(At(3*time.Hour), "invoice.paid")
	s.WantState(At(49*time.Hour), paid, shop, posthorn.Pending)
	s.WantState(At(51*time.Hour), paid, shop, posthorn.Cancelled, posthorn.ReasonHeldTooLong)
	s.Do(At(100*time.Hour), "look", func(n *Node) {
		heard := map[string]int{}
		for _, r := range desk.Receiver.Requests() {
			var said struct {
				SubscriptionID string    `json:"subscription_id"`
				ExpiresAt      time.Time `json:"expires_at"`
				Deliveries     int
			}
			if err := json.Unmarshal(r.Body, &said); err != nil {
				t.Error(err)
			}
			if said.Deliveries != 1 && said.Deliveries != 2 {
				t.Errorf("heard %s", r.Body)
			}
			if early := said.ExpiresAt.Sub(r.At); early < 23*time.Hour || early > 24*time.Hour {
				t.Errorf("heard %s before", early)
			}
			heard[said.SubscriptionID]++
		}
		if len(heard) != 2 || heard[shop.ID.String()] != 1 || heard[deaf.ID.String()] != 1 {
			t.Errorf("heard %v", heard)
		}
	})
	s.Run()
}

func TestStoryDeletedSubscription(t *testing.T) {
	s := NewStory(t)
	s.Setup(func(setup *Setup) { setup.Hold = time.Hour })
	shop := s.Subscribe("shop")
	s.Reply(shop, 500)
	paid := s.Publish(At(0), "invoice.paid")
	s.Do(At(time.Second), "delete", func(n *Node) {
		if err := n.Store.DeleteSubscription(context.Background(), n.Tenant, shop.ID); err != nil {
			t.Error(err)
		}
	})
	later := s.Publish(At(2*time.Second), "invoice.paid")
	s.Want(shop, At(0), Attempt(1))
	s.WantState(At(3*time.Minute), paid, shop, posthorn.Cancelled, posthorn.ReasonSubscriptionDeleted)
	s.Do(At(3*time.Minute), "look at what came later", func(n *Node) {
		if later.Accepted.Deliveries != 0 {
			t.Errorf("an event after the deletion has %d deliveries", later.Accepted.Deliveries)
		}
	})
	s.Until(time.Hour)
	s.Run()
}

func TestStoryMatchesNobody(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop", func(s *posthorn.Subscription) { s.EventTypes = []string{"order.*", "invoice.paid"} })
	nobody := s.Publish(At(0), "customer.created")
	wanted := s.Publish(At(time.Second), "order.item.added")
	s.Want(shop, At(time.Second), Of(wanted))
	s.Do(At(time.Minute), "look at the events", func(n *Node) {
		if nobody.Accepted.Deliveries != 0 || len(n.Deliveries(nobody.Accepted.EventID)) != 0 {
			t.Errorf("an event that matches nobody has %d deliveries", nobody.Accepted.Deliveries)
		}
		list, _, err := n.Store.ListEvents(context.Background(), n.Tenant, posthorn.EventFilter{}, posthorn.Page{Limit: 10})
		if err != nil || len(list) != 2 {
			t.Errorf("%d events are kept, %v", len(list), err)
		}
		if list[1].Status != posthorn.EventUnmatched || list[0].Status != posthorn.EventSucceeded {
			t.Errorf("the events are %s and %s", list[1].Status, list[0].Status)
		}
	})
	s.Run()
}

func TestStoryManualRetryBesideTheSchedule(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop", schedule(600, 600))
	s.Reply(shop, 500, 500, 500, 500, 500, 200)
	paid := s.Publish(At(0), "invoice.paid")
	// While pending: an attempt more, and the schedule stays.
	s.Retry(At(time.Minute), paid, shop)
	s.Want(shop, At(0), Attempt(1))
	s.Want(shop, Between(time.Minute, time.Minute+100*time.Millisecond), Attempt(2))
	s.Want(shop, Between(480*time.Second, 720*time.Second), Attempt(3))
	s.Want(shop, Between(960*time.Second, 1440*time.Second), Attempt(4))
	s.WantState(At(1500*time.Second), paid, shop, posthorn.Exhausted, posthorn.ReasonAttempts)
	// After the end: a failure ends it again, a success delivers it.
	s.Retry(At(time.Hour), paid, shop)
	s.Want(shop, Between(time.Hour, time.Hour+100*time.Millisecond), Attempt(5))
	s.WantState(At(time.Hour+time.Minute), paid, shop, posthorn.Exhausted, posthorn.ReasonManual)
	s.Retry(At(2*time.Hour), paid, shop)
	s.Want(shop, Between(2*time.Hour, 2*time.Hour+100*time.Millisecond), Attempt(6))
	s.WantState(At(2*time.Hour+time.Minute), paid, shop, posthorn.Delivered)
	s.Retry(At(3*time.Hour), paid, shop, posthorn.Conflict)
	s.Until(4 * time.Hour)
	s.Run()
}

func TestStoryManualRetryOfWhatIsInFlight(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop")
	s.Reply(shop, Status(200).After(10*time.Second))
	paid := s.Publish(At(0), "invoice.paid")
	s.Retry(At(5*time.Second), paid, shop, posthorn.Conflict)
	s.Want(shop, At(0), Attempt(1))
	s.WantState(At(11*time.Second), paid, shop, posthorn.Delivered)
	s.Run()
}

func TestStoryCancel(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop")
	s.Reply(shop, 500, 200)
	paid := s.Publish(At(0), "invoice.paid")
	s.Do(At(time.Second), "cancel", func(n *Node) {
		if _, err := n.Store.CancelDelivery(context.Background(), n.Tenant, n.Delivery(paid.Accepted.EventID, shop.ID).ID); err != nil {
			t.Error(err)
		}
	})
	s.Want(shop, At(0), Attempt(1))
	s.WantState(At(time.Hour), paid, shop, posthorn.Cancelled, posthorn.ReasonRequested)
	s.Retry(At(2*time.Hour), paid, shop)
	s.Want(shop, Between(2*time.Hour, 2*time.Hour+100*time.Millisecond), Attempt(2))
	s.WantState(At(3*time.Hour), paid, shop, posthorn.Delivered)
	s.Run()
}

func TestStoryReplay(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop")
	paid := s.Publish(At(0), "invoice.paid")
	s.Do(At(time.Hour), "replay", func(n *Node) {
		made, err := n.Publisher.Replay(context.Background(), n.Tenant, paid.Accepted.EventID, nil)
		if err != nil || len(made) != 1 {
			t.Errorf("%d deliveries, %v", len(made), err)
		}
	})
	s.Want(shop, At(0), Of(paid), Attempt(1))
	s.Want(shop, Between(time.Hour, time.Hour+100*time.Millisecond), Of(paid), Attempt(1), Body(string(paid.Event.Payload)))
	s.Run()
}

func TestStoryBornWithADeliveryTime(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop")
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	later := s.Publish(At(0), "invoice.due", func(e *posthorn.Event) { e.DeliverAt = start.Add(3 * time.Hour) })
	never := s.Publish(At(0), "invoice.due", func(e *posthorn.Event) {
		e.DeliverAt, e.ExpiresAt = start.Add(3*time.Hour), start.Add(2*time.Hour)
	})
	s.Setup(func(setup *Setup) { setup.Hold = time.Hour })
	s.Want(shop, Between(3*time.Hour, 3*time.Hour+time.Second), Of(later), Attempt(1))
	s.WantState(At(4*time.Hour), never, shop, posthorn.Cancelled, posthorn.ReasonExpired)
	s.Run()
}

// TestStoryHangingSubscriber prints what one that hangs costs the others: the same timeline with and without it.
func TestStoryHangingSubscriber(t *testing.T) {
	slowest := map[bool]time.Duration{}
	for _, hanging := range []bool{false, true} {
		t.Run(fmt.Sprintf("Hanging%v", hanging), func(t *testing.T) {
			s := NewStory(t)
			s.Setup(func(setup *Setup) { setup.Quiet = true })
			well := s.Subscribe("well")
			if hanging {
				s.Reply(s.Subscribe("hangs"), Hang())
			}
			published := map[string]time.Duration{}
			for i := range 200 {
				at := At(time.Duration(i) * 100 * time.Millisecond)
				p := s.Publish(at, "invoice.paid")
				s.Do(at, "note", func(*Node) { published[p.Accepted.EventID.String()] = at.From })
			}
			s.Until(time.Minute)
			s.Run()
			requests := well.Receiver.Requests()
			if len(requests) != 200 {
				t.Errorf("%d of 200 arrived", len(requests))
			}
			start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
			for _, q := range requests {
				slowest[hanging] = max(slowest[hanging], q.At.Sub(start)-published[q.Event])
			}
		})
	}
	t.Logf("slowest delivery to the others: %s alone, %s beside one that hangs", slowest[false], slowest[true])
	if slowest[true] > slowest[false]+time.Millisecond {
		t.Error("a subscriber that hangs delays the others")
	}
}
