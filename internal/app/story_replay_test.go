package app_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	. "github.com/posthorn/posthorn/internal/hooktest"
)

// replaying makes the story's node run replays.
func replaying(s *Story) { s.Setup(func(setup *Setup) { setup.Replays = true }) }

func plan(to posthorn.ReplayTarget, perSecond int, filter posthorn.DeliveryFilter) posthorn.ReplayPlan {
	return posthorn.ReplayPlan{To: to, Filter: filter, RateLimit: posthorn.RateLimit{Limit: perSecond, Per: "second"}}
}

var failures = posthorn.DeliveryFilter{States: []posthorn.State{posthorn.Exhausted}}

func TestStoryReplayOfWhatFailed(t *testing.T) {
	s := NewStory(t)
	replaying(s)
	shop, other := s.Subscribe("shop", schedule()), s.Subscribe("other")
	s.Reply(shop, 500)
	var failed []*Published
	for i := range 20 {
		failed = append(failed, s.Publish(At(time.Duration(i)*time.Minute), "invoice.paid"))
	}
	s.ReplyFrom(At(time.Hour), shop, 500, 200)
	fine := s.Publish(At(time.Hour+time.Second), "invoice.paid")
	var id posthorn.ReplayID
	var count posthorn.ReplayCount
	s.Do(At(2*time.Hour), "replay", func(n *Node) {
		var err error
		r := posthorn.Replay{ID: posthorn.ReplayID{UUID: posthorn.NewUUID(n.Store.Now())}, TenantID: n.Tenant, ReplayPlan: plan(posthorn.ToOriginal, 5, failures)}
		if count, err = n.Replays.Count(context.Background(), r, time.Second); err != nil {
			t.Error(err)
		}
		id = n.Replay(r.ReplayPlan)
	})
	s.Do(At(3*time.Hour), "look at it", func(n *Node) {
		r := n.Replayed(id)
		if r.State != posthorn.ReplayCompleted || r.Created != 21 || r.Skipped.Sum() != 0 {
			t.Errorf("%+v", r)
		}
		if count.Deliveries != r.Created || count.Matched != r.Matched || !count.Complete {
			t.Errorf("counted %+v", count)
		}
		// 21 at 5 a second, the first at once.
		if took := r.CompletedAt.Sub(r.StartedAt); took < 3*time.Second || took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
		for _, p := range append(failed, fine) {
			if d := n.Delivery(p.Accepted.EventID, shop.ID); d.Replay != id || d.State != posthorn.Delivered {
				t.Errorf("the latest delivery is %s of replay %q", d.State, d.Replay)
			}
			if got := len(n.Deliveries(p.Accepted.EventID)); got != 3 {
				t.Errorf("the event has %d deliveries", got)
			}
		}
	})
	s.Want(other, At(time.Hour+time.Second), Of(fine))
	for i, p := range failed {
		s.Want(other, At(time.Duration(i)*time.Minute), Of(p))
		s.Want(shop, At(time.Duration(i)*time.Minute), Of(p), Attempt(1))
		s.Want(shop, Between(2*time.Hour, 2*time.Hour+5*time.Second), Of(p), Attempt(1))
	}
	s.Want(shop, At(time.Hour+time.Second), Of(fine), Attempt(1))
	s.Want(shop, Between(2*time.Hour, 2*time.Hour+5*time.Second), Of(fine), Attempt(1))
	s.Run()
}

func TestStoryReplayHasTheFullRetryPolicy(t *testing.T) {
	s := NewStory(t)
	replaying(s)
	shop := s.Subscribe("shop", schedule(60))
	s.Reply(shop, 500, 500, 500, 200)
	paid := s.Publish(At(0), "invoice.paid")
	s.Do(At(time.Hour), "replay", func(n *Node) { n.Replay(plan(posthorn.ToOriginal, 5, failures)) })
	s.Want(shop, At(0), Attempt(1))
	s.Want(shop, Between(48*time.Second, 72*time.Second), Attempt(2))
	s.Want(shop, Between(time.Hour, time.Hour+time.Second), Of(paid), Attempt(1))
	s.Want(shop, Between(time.Hour+48*time.Second, time.Hour+73*time.Second), Of(paid), Attempt(2))
	s.WantState(At(2*time.Hour), paid, shop, posthorn.Delivered)
	s.Run()
}

func TestStoryReplayToWhatMatchesNow(t *testing.T) {
	s := NewStory(t)
	replaying(s)
	old := s.Subscribe("old")
	for i := range 30 {
		s.Publish(At(time.Duration(i)*time.Second), "invoice.paid")
		s.Publish(At(time.Duration(i)*time.Second), "order.created")
	}
	var receiver *Receiver
	s.Do(At(time.Hour), "a new one wants the past", func(n *Node) {
		made, fresh := n.Receive("fresh", func(s *posthorn.Subscription) { s.EventTypes = []string{"invoice.*"} })
		receiver = made
		p := plan(posthorn.ToMatching, 100, posthorn.DeliveryFilter{Types: []string{"invoice.paid", "order.*"}})
		p.Only = []posthorn.SubscriptionID{fresh.ID}
		n.Replay(p)
	})
	s.Do(At(2*time.Hour), "look", func(n *Node) {
		if got := len(receiver.Requests()); got != 30 {
			t.Errorf("the new one got %d requests", got)
		}
		if got := len(old.Receiver.Requests()); got != 60 {
			t.Errorf("the old one got %d requests", got)
		}
	})
	s.Run()
}

func TestStoryReplayIsCancelled(t *testing.T) {
	s := NewStory(t)
	replaying(s)
	shop := s.Subscribe("shop", schedule())
	s.Reply(shop, 500)
	for i := range 100 {
		s.Publish(At(time.Duration(i)*time.Millisecond), "invoice.paid")
	}
	s.ReplyFrom(At(time.Minute), shop, 200)
	var id posthorn.ReplayID
	s.Do(At(time.Hour), "replay", func(n *Node) { id = n.Replay(plan(posthorn.ToOriginal, 1, failures)) })
	s.Do(At(time.Hour+10*time.Second+time.Millisecond), "cancel", func(n *Node) {
		r, err := n.Store.CancelReplay(context.Background(), n.Tenant, id)
		if err != nil || r.Created < 9 || r.Created > 12 {
			t.Errorf("cancelled after %+v, %v", r, err)
		}
	})
	s.Do(At(2*time.Hour), "look", func(n *Node) {
		r := n.Replayed(id)
		if got := len(shop.Receiver.Requests()); r.State != posthorn.ReplayCancelled || got != 100+r.Created {
			t.Errorf("%d requests, %+v", got, r)
		}
	})
	s.Run()
}

// TestStoryReplayGoesOnAfterACrash cuts the power three times in the middle of a replay.
func TestStoryReplayGoesOnAfterACrash(t *testing.T) {
	const events = 3000
	Play(t, Setup{Replays: true, Quiet: true}, func(t *testing.T, n *Node) {
		receiver, shop := n.Receive("shop")
		n.Pause(shop.ID)
		for i := range events {
			n.Publish(&posthorn.Event{Type: "invoice.paid", Payload: fmt.Appendf(nil, "%d", i)})
		}
		_, err := n.Store.ChangeDeliveries(context.Background(), n.Tenant, posthorn.BulkChange{
			Filter: posthorn.DeliveryFilter{SubscriptionID: shop.ID}, On: posthorn.OnCancel, Limit: events,
		})
		if err != nil {
			t.Fatal(err)
		}
		n.Resume(shop.ID)
		time.Sleep(time.Hour)
		id := n.Replay(plan(posthorn.ToOriginal, 100, posthorn.DeliveryFilter{SubscriptionID: shop.ID}))
		for range 3 {
			time.Sleep(5*time.Second + 137*time.Millisecond)
			n.Crash()
			n = n.Restart()
		}
		time.Sleep(time.Hour)
		r := n.Replayed(id)
		if r.State != posthorn.ReplayCompleted || r.Created != events || r.Skipped.Sum() != 0 {
			t.Errorf("%+v", r)
		}
		made := map[posthorn.EventID]int{}
		page := posthorn.Page{Limit: 200}
		for {
			list, next, err := n.Store.ListDeliveries(context.Background(), n.Tenant, posthorn.DeliveryFilter{Replay: id}, page)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range list {
				made[d.EventID]++
				if d.State != posthorn.Delivered || d.SubscriptionID != shop.ID {
					t.Errorf("a delivery is %s", d.State)
				}
			}
			if page.Before = next; next.IsZero() {
				break
			}
		}
		for event, times := range made {
			if times != 1 {
				t.Errorf("%s was replayed %d times", event, times)
			}
		}
		if got := len(receiver.Requests()); got < events {
			t.Errorf("%d requests", got)
		}
		if len(made) != events {
			t.Errorf("%d of %d events were replayed", len(made), events)
		}
	})
}
