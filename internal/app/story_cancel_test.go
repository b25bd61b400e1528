package app_test

import (
	"context"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	. "github.com/posthorn/posthorn/internal/hooktest"
)

// TestStoryCancelledWhileItWaitsInItsLane: what a person cancels is not sent any more, though a node holds it already.
// Found by the simulation, seed 43.
func TestStoryCancelledWhileItWaitsInItsLane(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop", func(s *posthorn.Subscription) { s.MaxInFlight = 1 })
	s.Reply(shop, Status(200).After(6*time.Second), 200)
	first := s.Publish(At(0), "invoice.paid")
	second := s.Publish(At(time.Second), "invoice.paid")
	third := s.Publish(At(time.Second), "invoice.paid")
	s.Do(At(4*time.Second), "cancel", func(n *Node) {
		if _, err := n.Store.CancelDelivery(context.Background(), n.Tenant, n.Delivery(second.Accepted.EventID, shop.ID).ID); err != nil {
			t.Error(err)
		}
		n.Bus.Publish(context.Background(), posthorn.Signal{Recall: true})
	})
	s.Want(shop, At(0), Of(first), Attempt(1))
	s.Want(shop, Between(6*time.Second, 7*time.Second), Of(third), Attempt(1))
	s.WantState(At(time.Hour), second, shop, posthorn.Cancelled, posthorn.ReasonRequested)
	s.Run()
}
