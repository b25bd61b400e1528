package app_test

import (
	"context"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	. "github.com/posthorn/posthorn/internal/hooktest"
)

// TestStoryErasedPayload: what waits in its lane or for a retry is called back; a request under way is not, but its delivery has
// ended, and of an answer that comes later nothing is kept that could repeat the payload. Nothing of it is sent again.
func TestStoryErasedPayload(t *testing.T) {
	const secret = "4929-1234-5678-9012"
	s := NewStory(t)
	shop := s.Subscribe("shop", func(s *posthorn.Subscription) { s.MaxInFlight = 1 })
	flaky := s.Subscribe("flaky", schedule(600), func(s *posthorn.Subscription) { s.EventTypes = []string{"card.retried"} })
	s.Reply(shop, Respond(200).Body("got "+secret).After(6*time.Second), 200)
	s.Reply(flaky, Respond(500).Body("no "+secret), 200)
	private := func(e *posthorn.Event) { e.Payload = []byte(`{"card":"` + secret + `"}`) }
	flying := s.Publish(At(0), "card.added", private)
	waiting := s.Publish(At(time.Second), "card.added", private)
	retried := s.Publish(At(time.Second), "card.retried", private)
	kept := s.Publish(At(2*time.Second), "card.added")
	erase := func(p *Published, want int) {
		s.Do(At(4*time.Second), "erase", func(n *Node) {
			_, ended, err := n.Store.ErasePayload(context.Background(), n.Tenant, p.Accepted.EventID)
			if err != nil || len(ended) != want {
				t.Errorf("%d deliveries of %s ended, %v; want %d", len(ended), p.Accepted.EventID, err, want)
			}
			n.Bus.Publish(context.Background(), posthorn.Signal{Recall: true})
		})
	}
	erase(flying, 1)
	erase(waiting, 1)
	erase(retried, 2)

	s.Want(shop, At(0), Of(flying), Attempt(1), Body(string(flying.Event.Payload)))
	s.Want(shop, Between(6*time.Second, 7*time.Second), Of(kept), Attempt(1))
	s.Want(flaky, At(time.Second), Of(retried), Attempt(1))
	s.Do(At(time.Hour), "look at what is kept", func(n *Node) {
		for sub, p := range map[*Subscriber]*Published{shop: flying, flaky: retried} {
			a := n.Attempts(n.Delivery(p.Accepted.EventID, sub.ID).ID)
			if len(a) != 1 || len(a[0].Body) != 0 || a[0].StatusCode == 0 {
				t.Errorf("attempts at %s: %+v, want one with its status and no body", sub.Name, a)
			}
		}
		e, err := n.Store.GetEvent(context.Background(), n.Tenant, flying.Accepted.EventID)
		if err != nil || len(e.Payload) != 0 || e.PayloadErased.IsZero() {
			t.Errorf("the event has %q, %v", e.Payload, err)
		}
	})
	for _, p := range []*Published{flying, waiting, retried} {
		s.WantState(At(time.Hour), p, shop, posthorn.Cancelled, posthorn.ReasonPayloadErased)
		s.Retry(At(2*time.Hour), p, shop, posthorn.Conflict)
	}
	s.WantState(At(time.Hour), retried, flaky, posthorn.Cancelled, posthorn.ReasonPayloadErased)
	s.Until(100 * time.Hour)
	s.Run()
}
