package app_test

import (
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	. "github.com/posthorn/posthorn/internal/hooktest"
)

func TestStoryFinalStatus(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop", func(s *posthorn.Subscription) { s.Retry.FinalStatuses = []int{404} })
	s.Reply(shop, 503, 404)
	paid := s.Publish(At(0), "invoice.paid")
	s.Want(shop, At(0), Attempt(1))
	s.Want(shop, Between(4*time.Second, 6*time.Second), Attempt(2))
	s.WantState(At(time.Minute), paid, shop, posthorn.Exhausted, posthorn.ReasonFinalStatus)
	s.WantStatus(At(time.Minute), shop, posthorn.StatusActive)
	s.Until(72 * time.Hour)
	s.Run()
}

// The third attempt is within 24 s at the latest, a fourth would be made after 32 s at the earliest.
func TestStoryWindowOfASubscription(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop", schedule(10, 10, 20, 20), func(s *posthorn.Subscription) { s.Retry.Window = 25 })
	s.Reply(shop, 503)
	paid := s.Publish(At(0), "invoice.paid")
	s.Want(shop, At(0), Attempt(1))
	s.Want(shop, Between(8*time.Second, 12*time.Second), Attempt(2))
	s.Want(shop, Between(16*time.Second, 24*time.Second), Attempt(3))
	s.WantState(At(time.Minute), paid, shop, posthorn.Exhausted, posthorn.ReasonWindow)
	s.Until(time.Hour)
	s.Run()
}

// TestStoryDeferredByTheRetention publishes what is due only when its retry window would have ended, counted from then.
func TestStoryDeferredByTheRetention(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop")
	s.Setup(func(setup *Setup) { setup.Hold = 30 * 24 * time.Hour })
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	due := s.Publish(At(0), "invoice.due", func(e *posthorn.Event) { e.DeliverAt = start.Add(72 * time.Hour) })
	s.Reply(shop, 503, 200)
	s.Want(shop, Between(72*time.Hour, 72*time.Hour+time.Second), Of(due), Attempt(1))
	s.Want(shop, Between(72*time.Hour+4*time.Second, 72*time.Hour+7*time.Second), Of(due), Attempt(2))
	s.WantState(At(73*time.Hour), due, shop, posthorn.Delivered)
	s.Run()
}
