package app_test

import (
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	. "github.com/posthorn/posthorn/internal/hooktest"
)

// TestStoryOwnWindowRunsThroughAThrottle: a receiver that asks for an hour does not keep what its subscription wants to be tried
// for less than half a minute, though nothing is sent meanwhile.
func TestStoryOwnWindowRunsThroughAThrottle(t *testing.T) {
	s := NewStory(t)
	s.Setup(func(setup *Setup) { setup.Hold = 30 * 24 * time.Hour })
	shop := s.Subscribe("shop", func(s *posthorn.Subscription) {
		s.Retry = posthorn.RetryPolicy{Schedule: []float64{5, 5, 5}, Window: 25}
	})
	s.Reply(shop, Respond(503).Header("Retry-After", "3600"))
	first := s.Publish(At(0), "invoice.paid")
	second := s.Publish(At(time.Second), "invoice.paid")
	s.Want(shop, At(0), Of(first), Attempt(1))
	s.WantState(At(2*time.Second), first, shop, posthorn.Exhausted, posthorn.ReasonWindow)
	s.WantState(At(24*time.Second), second, shop, posthorn.Pending)
	s.WantState(At(90*time.Second), second, shop, posthorn.Exhausted, posthorn.ReasonWindow)
	s.Run()
}

// TestStoryEndedByTheWindowIsAnnounced: what an open breaker keeps until its window is past ends without another attempt, and
// its owner hears of each once.
func TestStoryEndedByTheWindowIsAnnounced(t *testing.T) {
	s := NewStory(t)
	s.Setup(func(setup *Setup) { setup.Hold, setup.Quiet = 30*24*time.Hour, true })
	owner := s.Subscribe("owner", func(s *posthorn.Subscription) { s.EventTypes = []string{"posthorn.delivery.*"} })
	shop := s.Subscribe("shop", func(s *posthorn.Subscription) {
		s.EventTypes, s.Retry = []string{"invoice.*"}, posthorn.RetryPolicy{Schedule: []float64{5, 5, 5}, Window: 600}
	})
	s.Reply(shop, Respond(503).Header("Retry-After", "3600"))
	first := s.Publish(At(0), "invoice.paid")
	waiting := many(s, time.Second, 40)
	s.WantState(At(time.Minute), first, shop, posthorn.Exhausted, posthorn.ReasonWindow)
	for _, p := range waiting {
		s.WantState(At(12*time.Minute), p, shop, posthorn.Exhausted, posthorn.ReasonWindow)
	}
	s.Do(At(30*time.Minute), "count what the owner heard", func(*Node) {
		if got := owner.Receiver.Count(); got != 41 {
			t.Errorf("%d notices of 41 exhausted deliveries", got)
		}
		for _, q := range owner.Receiver.Requests() {
			if !strings.Contains(string(q.Body), `"reason":"window"`) {
				t.Errorf("the owner got %s", q.Body)
			}
		}
	})
	s.Run()
}

// TestStoryEndedByLostLeasesIsAnnounced: a delivery that its nodes do not survive ends with a claim, and its owner hears of it.
func TestStoryEndedByLostLeasesIsAnnounced(t *testing.T) {
	s := NewStory(t)
	s.Setup(func(setup *Setup) { setup.Quiet = true })
	owner := s.Subscribe("owner", func(s *posthorn.Subscription) { s.EventTypes = []string{"posthorn.delivery.*"} })
	shop := s.Subscribe("shop", schedule(), func(s *posthorn.Subscription) { s.EventTypes = []string{"invoice.*"} })
	s.Reply(shop, Hang())
	paid := s.Publish(At(0), "invoice.paid")
	for i := range posthorn.FreeInterruptions + 1 {
		s.Crash(At(time.Duration(i+1) * time.Second))
	}
	s.WantState(At(time.Minute), paid, shop, posthorn.Exhausted, posthorn.ReasonAttempts)
	s.Do(At(time.Minute), "count what the owner heard", func(*Node) {
		if got := owner.Receiver.Count(); got != 1 {
			t.Errorf("%d notices of an exhausted delivery", got)
		}
	})
	s.Run()
}
