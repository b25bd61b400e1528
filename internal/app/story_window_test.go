package app_test

import (
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
