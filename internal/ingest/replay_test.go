package ingest_test

import (
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/hooktest"
)

func TestReplay(t *testing.T) {
	play(t, func(t *testing.T, n *hooktest.Node) {
		p := start(t, n)
		one, two := n.Subscribe(receiverURL), n.Subscribe(receiverURL, func(s *posthorn.Subscription) { s.EventTypes = []string{"other"} })
		accepted, err := p.Publish(t.Context(), n.Tenant, event("a"))
		if err != nil {
			t.Fatal(err)
		}
		made, err := p.Replay(t.Context(), n.Tenant, accepted.EventID, nil)
		if err != nil || len(made) != 1 || made[0].SubscriptionID != one.ID {
			t.Errorf("replayed to those that match: %+v, %v", made, err)
		}
		made, err = p.Replay(t.Context(), n.Tenant, accepted.EventID, []posthorn.SubscriptionID{two.ID, one.ID})
		if err != nil || len(made) != 2 || made[0].SubscriptionID != two.ID {
			t.Errorf("replayed to those named: %+v, %v", made, err)
		}
		if _, err := p.Replay(t.Context(), n.Tenant, posthorn.EventID{UUID: posthorn.NewUUID(time.Now())}, nil); posthorn.KindOf(err) != posthorn.NotFound {
			t.Errorf("a replay of nothing: %v", err)
		}
	})
}

func TestReplayWithAFailingFilter(t *testing.T) {
	play(t, func(t *testing.T, n *hooktest.Node) {
		p := start(t, n)
		n.Subscribe(receiverURL)
		failing := n.Subscribe(receiverURL, func(s *posthorn.Subscription) { s.Filter = "payload.missing.field == 1" })
		accepted, err := p.Publish(t.Context(), n.Tenant, event("a"))
		if err != nil {
			t.Fatal(err)
		}
		made, err := p.Replay(t.Context(), n.Tenant, accepted.EventID, nil)
		if err != nil || len(made) != 2 {
			t.Fatalf("replayed: %+v, %v", made, err)
		}
		d := made[1]
		if d.SubscriptionID != failing.ID || d.State != posthorn.Cancelled || d.Reason != posthorn.ReasonFilterError {
			t.Errorf("where the filter fails: %+v", d)
		}
		made, err = p.Replay(t.Context(), n.Tenant, accepted.EventID, []posthorn.SubscriptionID{failing.ID})
		if err != nil || len(made) != 1 || made[0].State != posthorn.Pending {
			t.Errorf("named, it is sent all the same: %+v, %v", made, err)
		}
	})
}
