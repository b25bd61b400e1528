package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/delivery"
	. "github.com/posthorn/posthorn/internal/hooktest"
)

// faltering is an announcer that cannot publish the first time.
type faltering struct {
	delivery.Announcer
	failed bool
}

func (f *faltering) Announce(ctx context.Context, tenant posthorn.TenantID, e *posthorn.Event) error {
	if e.Type == "posthorn.subscription.failing" && !f.failed {
		f.failed = true
		return errors.New("no room")
	}
	return f.Announcer.Announce(ctx, tenant, e)
}

// TestStorySparseSubscriberIsWarned: one that is sent something once in a while is warned, and has a day from then, however
// long it has been failing. A warning that cannot be published comes with the next failure, and once with two nodes.
func TestStorySparseSubscriberIsWarned(t *testing.T) {
	const day = 24 * time.Hour
	s := NewStory(t)
	s.Setup(func(setup *Setup) {
		setup.Quiet = true
		setup.Tune = func(o *delivery.Options) { o.Announcer = &faltering{Announcer: o.Announcer} }
	})
	owner := s.Subscribe("owner", func(s *posthorn.Subscription) { s.EventTypes = []string{"posthorn.subscription.*"} })
	shop := s.Subscribe("shop", schedule(), func(s *posthorn.Subscription) { s.EventTypes = []string{"invoice.*"} })
	s.Reply(shop, 500)
	s.Do(At(0), "another node", func(n *Node) {
		second := StartNode(n.T, Setup{Beside: n, Quiet: true})
		n.T.Cleanup(func() { second.Stop(time.Minute) })
	})
	for _, at := range []time.Duration{0, 6 * day, 6*day + time.Hour, 6*day + 2*time.Hour, 7 * day} {
		s.Publish(At(at), "invoice.paid")
	}
	s.Publish(At(7*day+2*time.Hour), "invoice.paid")
	s.WantStatus(At(7*day+time.Hour), shop, posthorn.StatusActive)
	s.WantStatus(At(7*day+3*time.Hour), shop, posthorn.StatusDisabled, posthorn.DisabledFailing)
	s.Do(At(8*day), "read the warning", func(*Node) {
		got := owner.Receiver.Requests()
		if len(got) != 2 || got[0].Header.Get("webhook-event-type") != "posthorn.subscription.failing" {
			t.Fatalf("%d notices, want a warning and the end", len(got))
		}
		var warning struct {
			Since time.Time `json:"failing_since"`
			Ends  time.Time `json:"disabled_at"`
		}
		if err := json.Unmarshal(got[0].Body, &warning); err != nil {
			t.Fatal(err)
		}
		if ends := warning.Ends.Sub(warning.Since).Round(time.Minute); ends != 7*day+time.Hour {
			t.Errorf("it says that the subscription is disabled %s after its first failure", ends)
		}
	})
	s.Run()
}

// changing counts the lanes' changes that are recorded.
type changing struct {
	delivery.Store
	recovered, failed atomic.Int32
}

func (c *changing) RecordAttempts(ctx context.Context, b posthorn.RecordBatch) (posthorn.RecordReport, error) {
	for _, l := range b.Lanes {
		if l.Recovered {
			c.recovered.Add(1)
		}
		if l.Failed {
			c.failed.Add(1)
		}
	}
	return c.Store.RecordAttempts(ctx, b)
}

// TestStorySoundLaneIsLeftAlone: successes of a lane that does not fail change nothing about it, however seldom they are; after a
// failure that was forgotten on this node, the next is a recovery.
func TestStorySoundLaneIsLeftAlone(t *testing.T) {
	s := NewStory(t)
	var store *changing
	s.Setup(func(setup *Setup) {
		setup.Tune = func(o *delivery.Options) {
			store = &changing{Store: o.Store}
			o.Store = store
		}
	})
	shop := s.Subscribe("shop", schedule())
	want := func(at time.Duration, failed, recovered int32) {
		s.Do(At(at), "count the changes", func(*Node) {
			if f, r := store.failed.Load(), store.recovered.Load(); f != failed || r != recovered {
				t.Errorf("after %s the lane failed %d times and recovered %d times, want %d and %d", at, f, r, failed, recovered)
			}
		})
	}
	for i := range 5 {
		s.Publish(At(time.Duration(i)*20*time.Second), "invoice.paid")
		s.Publish(At(time.Duration(i+1)*time.Hour), "invoice.paid")
	}
	want(6*time.Hour, 0, 0)
	s.ReplyFrom(At(7*time.Hour), shop, 500)
	s.Publish(At(7*time.Hour+time.Minute), "invoice.paid")
	want(8*time.Hour, 1, 0)
	s.ReplyFrom(At(9*time.Hour), shop, 200)
	s.Publish(At(9*time.Hour+time.Minute), "invoice.paid")
	s.Publish(At(10*time.Hour), "invoice.paid")
	want(11*time.Hour, 1, 1)
	s.Run()
}
