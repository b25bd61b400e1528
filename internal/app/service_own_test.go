package app_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	. "github.com/posthorn/posthorn/internal/hooktest"
)

// backlogOf is a subscription's lane as the queue shows it.
type backlogOf struct {
	SubscriptionID string `json:"subscription_id"`
	Status         string
	Backlog        int
	Lane           struct {
		HeldSince *time.Time `json:"held_since"`
	}
}

func (s *service) backlog(id string) backlogOf {
	s.t.Helper()
	var queue struct{ Lanes []backlogOf }
	s.ask(http.MethodGet, "/queue", nil, http.StatusOK, &queue)
	for _, l := range queue.Lanes {
		if l.SubscriptionID == id {
			return l
		}
	}
	return backlogOf{}
}

// TestForRealOwnEvents follows a subscription that fails, is gone, is enabled again and gets another secret: what it holds is
// shown and drained by one call, and its owner, who takes nothing, is told of each once and of nothing about that.
func TestForRealOwnEvents(t *testing.T) {
	s := startService(t)
	shop, url := Listen(t, "shop")
	id := s.subscribe(shop, url, map[string]any{
		"event_types": []string{"order.*"}, "retry": map[string]any{"schedule": []float64{0.2}, "final_statuses": []int{500}},
	})
	owner, ownURL := Listen(t, "owner")
	owner.Reply(Status(500))
	s.subscribe(owner, ownURL, map[string]any{"event_types": []string{"posthorn.*"}, "retry": map[string]any{"schedule": []float64{}}})
	told := func(want ...string) {
		t.Helper()
		owner.Await(len(want), 10*time.Second)
		var got []string
		for _, q := range owner.Requests() {
			got = append(got, q.Header.Get("webhook-event-type"))
			if q.Signature != nil {
				t.Errorf("%s: %v", got[len(got)-1], q.Signature)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("told %v, want %v", got, want)
		}
	}
	shop.Reply(Status(500), Status(410), Status(200))
	s.publish("order.created", 1)
	told("posthorn.delivery.exhausted")
	s.publish("order.created", 2)
	told("posthorn.delivery.exhausted", "posthorn.subscription.disabled")
	s.publish("order.created", 3)
	s.publish("order.created", 4)
	if l := s.backlog(id); l.Status != "disabled" || l.Backlog != 3 || l.Lane.HeldSince == nil {
		t.Errorf("while it is disabled the queue shows %+v", l)
	}
	s.ask(http.MethodPost, "/subscriptions/"+id+"/resume", nil, http.StatusOK, nil)
	if !shop.Await(5, 10*time.Second) {
		t.Errorf("%d of 5 requests arrived", shop.Count())
	}
	told("posthorn.delivery.exhausted", "posthorn.subscription.disabled", "posthorn.subscription.enabled")
	s.ask(http.MethodPost, "/subscriptions/"+id+"/secret/rotate", map[string]any{}, http.StatusOK, nil)
	told("posthorn.delivery.exhausted", "posthorn.subscription.disabled", "posthorn.subscription.enabled", "posthorn.secret.rotated")
	var list struct{ Data []struct{ Type string } }
	s.ask(http.MethodGet, "/events?type=posthorn.*", nil, http.StatusOK, &list)
	if len(list.Data) != 4 {
		t.Errorf("%d events of Posthorn's own, want 4", len(list.Data))
	}
}
