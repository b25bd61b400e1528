package app_test

import (
	"net/http"
	"testing"
	"time"

	. "github.com/posthorn/posthorn/internal/hooktest"
)

// TestForRealErase: an erased payload is not sent any more, though a node holds it already, waiting for its turn in the lane.
func TestForRealErase(t *testing.T) {
	s := startService(t)
	shop, url := Listen(t, "shop")
	s.subscribe(shop, url, map[string]any{"max_in_flight": 1})
	shop.Reply(Status(200).After(time.Second), Status(200))
	first := s.publish("order.created", "first")
	if !shop.Await(1, 10*time.Second) {
		t.Fatal("nothing arrived")
	}
	erased := s.publish("order.created", "4929-1234-5678-9012")
	var answer struct{ Cancelled int }
	s.ask(http.MethodDelete, "/events/"+erased+"/payload", nil, http.StatusOK, &answer)
	if answer.Cancelled != 1 {
		t.Errorf("%d deliveries were cancelled, want 1", answer.Cancelled)
	}
	last := s.publish("order.created", "last")
	if !shop.Await(2, 10*time.Second) {
		t.Fatal("the next one did not arrive")
	}
	s.attemptsOf(last)
	for i, want := range []string{first, last} {
		if got := shop.Requests(); len(got) != 2 || got[i].Event != want {
			t.Errorf("%d requests; request %d is of %s, want %s", len(got), i+1, got[i].Event, want)
		}
	}
}
