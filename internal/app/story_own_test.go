package app_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/egress"
	. "github.com/posthorn/posthorn/internal/hooktest"
)

// share is the value below which a share of them lies.
func share(list []time.Duration, part float64) time.Duration {
	slices.Sort(list)
	return list[min(int(part*float64(len(list))), len(list)-1)]
}

// TestStoryOurFaultDisablesNobody: a week of failures that are our own — no resolver, no network, an address that the
// operator does not allow — warns nobody and disables nothing.
func TestStoryOurFaultDisablesNobody(t *testing.T) {
	for name, hurt := range map[string]func(n *Node){
		"ResolverDown": func(n *Node) {
			for i := range 4 {
				n.Network.FailDial(fmt.Sprintf("shop%d.test", i), NoAnswerFromDNS)
			}
		},
		"NoNetwork": func(n *Node) { n.Network.Cut(true) },
		"Blocked":   nil,
	} {
		t.Run(name, func(t *testing.T) {
			s := NewStory(t)
			s.Setup(func(setup *Setup) { setup.Quiet, setup.Window = true, 14*24*time.Hour })
			owner := s.Subscribe("owner", func(s *posthorn.Subscription) { s.EventTypes = []string{"posthorn.subscription.*"} })
			var shops []*Subscriber
			for i := range 4 {
				shops = append(shops, s.Subscribe(fmt.Sprintf("shop%d", i), schedule(3600), func(s *posthorn.Subscription) {
					s.EventTypes = []string{"invoice.*"}
					if hurt == nil {
						s.URL = "http://192.168.7.7/hook"
					}
				}))
			}
			if hurt != nil {
				s.Do(At(0), "trouble of our own", hurt)
			}
			for hour := 1; hour < 7*24; hour += 6 {
				s.Publish(At(time.Duration(hour)*time.Hour), "invoice.paid")
			}
			for _, shop := range shops {
				s.WantStatus(At(7*24*time.Hour), shop, posthorn.StatusActive)
				s.Do(At(7*24*time.Hour), "look at the lane", func(n *Node) {
					if lane := n.Lane(shop.ID); lane.BreakerOpens != 0 || !lane.WarnedAt.IsZero() {
						t.Errorf("%s: the breaker was opened %d times, and its owner warned at %s", shop.Name, lane.BreakerOpens, lane.WarnedAt)
					}
				})
			}
			s.WantNothing(owner)
			s.Run()
		})
	}
}

// TestStoryPolicyChangeDisablesNobody: an operator forbids the network a receiver is in for a week. That is no failure of the
// receiver's, and what it missed comes when it is allowed again.
func TestStoryPolicyChangeDisablesNobody(t *testing.T) {
	const day = 24 * time.Hour
	s := NewStory(t)
	forbidden := false
	s.Setup(func(setup *Setup) {
		setup.Quiet, setup.Window = true, 14*day
		setup.Egress = func(o *egress.Options) {
			if forbidden {
				o.Policy = egress.NewPolicy(nil, true)
			}
		}
	})
	turn := func(at time.Duration, off bool) {
		s.Do(At(at), "change the policy", func(*Node) { forbidden = off })
		s.Restart(At(at))
	}
	owner := s.Subscribe("owner", func(s *posthorn.Subscription) { s.EventTypes = []string{"posthorn.subscription.*"} })
	shop := s.Subscribe("shop", schedule(slices.Repeat([]float64{day.Seconds()}, 10)...), func(s *posthorn.Subscription) {
		s.EventTypes, s.URL = []string{"invoice.*"}, "http://10.1.2.3/hook"
	})
	s.Do(At(0), "a receiver by its address", func(n *Node) { n.Network.Add("10.1.2.3") })
	before := s.Publish(At(time.Second), "invoice.paid")
	s.WantState(At(time.Minute), before, shop, posthorn.Delivered)
	turn(time.Hour, true)
	var missed []*Published
	for i := range 28 {
		missed = append(missed, s.Publish(At(2*time.Hour+time.Duration(i)*6*time.Hour), "invoice.paid"))
	}
	s.Do(At(7*day), "look at what was refused", func(n *Node) {
		if a := n.Attempts(n.Delivery(missed[0].Accepted.EventID, shop.ID).ID); len(a) < 5 || a[0].Outcome != posthorn.Blocked || !a[0].OurFault {
			t.Errorf("the attempts are %+v", a)
		}
		if lane := n.Lane(shop.ID); lane.BreakerOpens != 0 || !lane.FailingSince.IsZero() || !lane.WarnedAt.IsZero() {
			t.Errorf("it counts against the receiver: %+v", lane)
		}
	})
	s.WantStatus(At(7*day), shop, posthorn.StatusActive)
	turn(7*day+time.Hour, false)
	for _, p := range missed {
		s.WantState(At(9*day), p, shop, posthorn.Delivered)
	}
	s.WantNothing(owner)
	s.Run()
}

// TestStoryOwnEventsNeverLoop: those who ask for Posthorn's own events get them by the same engine, and their failing to take
// them makes no further ones.
func TestStoryOwnEventsNeverLoop(t *testing.T) {
	s := NewStory(t)
	s.Setup(func(setup *Setup) { setup.Quiet = true })
	shop := s.Subscribe("shop", schedule(), func(s *posthorn.Subscription) { s.EventTypes = []string{"invoice.*"} })
	owner := s.Subscribe("owner", schedule(60), func(s *posthorn.Subscription) { s.EventTypes = []string{"posthorn.*"} })
	s.Reply(shop, 500)
	s.Reply(owner, 500)
	for i := range 5 {
		s.Publish(At(time.Duration(i)*time.Minute), "invoice.paid")
	}
	s.Do(At(24*time.Hour), "count the events", func(n *Node) {
		list, _, err := n.Store.ListEvents(context.Background(), n.Tenant, posthorn.EventFilter{Types: []string{"posthorn.*"}}, posthorn.Page{Limit: 200})
		if err != nil || len(list) != 5 {
			t.Errorf("%d events of Posthorn's own after 5 exhausted deliveries, %v", len(list), err)
		}
		// Each was tried as often as the owner's policy says.
		if got := owner.Receiver.Count(); got != 10 {
			t.Errorf("the owner got %d requests, want 10", got)
		}
		for _, q := range owner.Receiver.Requests() {
			if kind := q.Header.Get("webhook-event-type"); kind != "posthorn.delivery.exhausted" {
				t.Errorf("the owner got %s", kind)
			}
		}
	})
	s.Run()
}

// TestStoryReservedHeadersAreRefused: neither a subscription nor an event can set what is ours, the transport's, or a key to
// something behind the receiver.
func TestStoryReservedHeadersAreRefused(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop")
	s.Do(At(0), "try reserved names", func(n *Node) {
		for _, name := range []string{
			"webhook-id", "Webhook-Signature", "webhook-anything", "Host", "content-length", "Content-Type", "User-Agent", "Connection",
			"Transfer-Encoding", "Proxy-Authorization", "X-Forwarded-For", "Cookie", "Metadata-Flavor", "traceparent", "not a name", "",
		} {
			e := &posthorn.Event{Type: "invoice.paid", Payload: []byte("{}"), Headers: map[string]string{name: "x"}}
			if _, err := n.Publisher.Publish(context.Background(), n.Tenant, e); posthorn.KindOf(err) != posthorn.Invalid {
				t.Errorf("an event with the header %q: %v", name, err)
			}
			sub := n.Subscription(shop.ID)
			sub.Headers = map[string]string{name: "x"}
			if err := sub.Validate(72 * time.Hour); posthorn.KindOf(err) != posthorn.Invalid {
				t.Errorf("a subscription with the header %q: %v", name, err)
			}
		}
	})
	s.WantNothing(shop)
	s.Until(time.Minute)
	s.Run()
}

// TestStoryFilterFails: an event that a filter fails on is not lost: its delivery is born cancelled, and can be retried.
func TestStoryFilterFails(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop", func(s *posthorn.Subscription) { s.Filter = `payload.amount > 100` })
	other := s.Subscribe("other")
	amount := func(text string) func(*posthorn.Event) {
		return func(e *posthorn.Event) { e.Payload = []byte(text) }
	}
	large := s.Publish(At(0), "invoice.paid", amount(`{"amount":1200}`))
	small := s.Publish(At(time.Second), "invoice.paid", amount(`{"amount":12}`))
	odd := s.Publish(At(2*time.Second), "invoice.paid", amount(`{"total":1200}`))
	s.Want(shop, At(0), Of(large))
	s.WantState(At(time.Minute), odd, shop, posthorn.Cancelled, posthorn.ReasonFilterError)
	s.WantState(At(time.Minute), odd, other, posthorn.Delivered)
	s.Do(At(time.Minute), "count the deliveries", func(*Node) {
		if small.Accepted.Deliveries != 1 || odd.Accepted.Deliveries != 2 {
			t.Errorf("%d deliveries of what the filter keeps out, %d of what it fails on", small.Accepted.Deliveries, odd.Accepted.Deliveries)
		}
	})
	s.Retry(At(time.Hour), odd, shop)
	s.Want(shop, Between(time.Hour, time.Hour+100*time.Millisecond), Of(odd), Attempt(1), Body(`{"total":1200}`))
	s.WantState(At(time.Hour+time.Minute), odd, shop, posthorn.Delivered)
	s.Run()
}

// TestStoryExpiresWhileFailing ends the retries of an event that is worth nothing any more.
func TestStoryExpiresWhileFailing(t *testing.T) {
	s := NewStory(t)
	s.Setup(func(setup *Setup) { setup.Hold = 24 * time.Hour })
	shop := s.Subscribe("shop", schedule(60, 60, 60, 60))
	s.Reply(shop, 500)
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	code := s.Publish(At(0), "code.sent", func(e *posthorn.Event) { e.ExpiresAt = start.Add(90 * time.Second) })
	s.Want(shop, At(0), Attempt(1))
	s.Want(shop, Between(48*time.Second, 72*time.Second), Attempt(2))
	s.WantState(At(10*time.Minute), code, shop, posthorn.Cancelled, posthorn.ReasonExpired)
	s.Run()
}

// TestStoryExponentialPolicy grows the delays up to the longest.
func TestStoryExponentialPolicy(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop", func(s *posthorn.Subscription) {
		s.Retry = posthorn.RetryPolicy{Initial: 10, Multiplier: 3, Maximum: 60, Attempts: 5}
	})
	s.Reply(shop, 500)
	paid := s.Publish(At(0), "invoice.paid")
	from, to := time.Duration(0), time.Duration(0)
	s.Want(shop, At(0), Attempt(1))
	for i, delay := range []time.Duration{10, 30, 60, 60} {
		from, to = from+delay*8*time.Second/10, to+delay*12*time.Second/10+time.Millisecond
		s.Want(shop, Between(from, to), Attempt(i+2))
	}
	s.WantState(At(time.Hour), paid, shop, posthorn.Exhausted, posthorn.ReasonAttempts)
	s.Run()
}
