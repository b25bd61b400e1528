package delivery_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/bubble"
	. "github.com/posthorn/posthorn/internal/hooktest"
)

func timeout(d time.Duration) func(*posthorn.Subscription) {
	return func(s *posthorn.Subscription) { s.Timeout = d }
}

// TestLeaseIsRenewedWhileHanging lets an attempt last longer than a lease, with another node waiting for work.
func TestLeaseIsRenewedWhileHanging(t *testing.T) {
	Play(t, Setup{}, func(t *testing.T, n *Node) {
		StartNode(t, Setup{Beside: n})
		r, sub := n.Receive("slow", timeout(time.Minute))
		r.Reply(Status(200).After(50 * time.Second))
		accepted := n.Publish(event())
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		d := n.Delivery(accepted.EventID, sub.ID)
		if r.Count() != 1 || d.State != posthorn.Delivered || d.Attempts != 1 {
			t.Errorf("%d requests; the delivery is %s after %d attempts", r.Count(), d.State, d.Attempts)
		}
	})
}

// TestQueuedLeasesAreRenewed holds deliveries in a lane for far longer than a lease, because of its rate limit.
func TestQueuedLeasesAreRenewed(t *testing.T) {
	Play(t, Setup{}, func(t *testing.T, n *Node) {
		StartNode(t, Setup{Beside: n})
		r, _ := n.Receive("shop", func(s *posthorn.Subscription) {
			s.RateLimit = &posthorn.RateLimit{Limit: 1, Per: "minute"}
		})
		for range 5 {
			n.Publish(event())
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if r.Count() != 5 {
			t.Errorf("%d requests for 5 deliveries", r.Count())
		}
		for _, q := range r.Requests() {
			if q.Attempt != 1 {
				t.Errorf("attempt %d: a lease was lost while its delivery waited", q.Attempt)
			}
		}
	})
}

// TestLostLeaseIsNotSent cuts a node off from the store while it holds a queue: when the leases have run out another node
// has the deliveries, and the first must not send them, whether it is still cut off or not.
func TestLostLeaseIsNotSent(t *testing.T) {
	for name, back := range map[string]time.Duration{"StillCutOff": 10 * time.Minute, "BackAgain": 45 * time.Second} {
		t.Run(name, func(t *testing.T) {
			Play(t, Setup{Quiet: true}, func(t *testing.T, n *Node) {
				r, _ := n.Receive("slow", func(s *posthorn.Subscription) { s.MaxInFlight, s.Timeout = 1, time.Minute })
				r.Reply(Status(200).After(40*time.Second), Status(200))
				for range 4 {
					n.Publish(event())
				}
				time.Sleep(time.Second)
				n.Store.Shut(true)
				StartNode(t, Setup{Beside: n, Quiet: true})
				time.Sleep(back - time.Second)
				n.Store.Shut(false)
				time.Sleep(20 * time.Minute)
				synctest.Wait()
				seen := make(map[string]int)
				for _, q := range r.Requests() {
					seen[q.Event]++
				}
				// Only the one in flight when the node was cut off may come twice.
				if len(seen) != 4 || r.Count() != 5 {
					t.Errorf("%d requests for %d events, want 5 for 4", r.Count(), len(seen))
				}
			})
		})
	}
}

// TestLateResultFillsItsRowOnly lets a result come after its lease was lost: the row is filled in, the delivery stays as the
// other node left it.
func TestLateResultFillsItsRowOnly(t *testing.T) {
	Play(t, Setup{Quiet: true}, func(t *testing.T, n *Node) {
		r, sub := n.Receive("slow", timeout(time.Minute), func(s *posthorn.Subscription) {
			s.Retry = posthorn.RetryPolicy{Schedule: []float64{600, 600}}
		})
		r.Reply(Status(200).After(50*time.Second), Status(500))
		accepted := n.Publish(event())
		time.Sleep(time.Second)
		n.Store.Shut(true)
		StartNode(t, Setup{Beside: n, Quiet: true})
		time.Sleep(34 * time.Second)
		synctest.Wait()
		d := n.Delivery(accepted.EventID, sub.ID)
		attempts := n.Attempts(d.ID)
		if len(attempts) != 2 || attempts[0].Outcome != posthorn.Interrupted || attempts[1].StatusCode != 500 {
			t.Fatalf("after the lease: %+v", attempts)
		}
		if d.Spent != 1 {
			t.Errorf("%d attempts of the budget are spent, want 1: an interruption is free", d.Spent)
		}
		n.Store.Shut(false)
		time.Sleep(20 * time.Second) // the late 200
		synctest.Wait()
		attempts = n.Attempts(d.ID)
		if attempts[0].Outcome != posthorn.Succeeded || attempts[0].StatusCode != 200 {
			t.Errorf("the late result is not kept: %s %d", attempts[0].Outcome, attempts[0].StatusCode)
		}
		if after := n.Delivery(accepted.EventID, sub.ID); after.State != posthorn.Pending || !after.DueAt.Equal(d.DueAt) {
			t.Errorf("the late result moved the delivery to %s, due at %s", after.State, after.DueAt)
		}
	})
}

// TestStopGivesBackAndFinishes stops a node that has one request in flight and a queue behind it.
func TestStopGivesBackAndFinishes(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n := StartNode(t, Setup{})
		r, sub := n.Receive("slow", func(s *posthorn.Subscription) { s.MaxInFlight = 1 })
		r.Reply(Status(200).After(10*time.Second), Status(200))
		var events []posthorn.EventID
		for range 4 {
			events = append(events, n.Publish(event()).EventID)
		}
		time.Sleep(2 * time.Second)
		start := time.Now()
		n.Stop(time.Minute)
		if took := time.Since(start); took < 7*time.Second || took > 9*time.Second {
			t.Errorf("stopping took %s, want the 8 s that were left of the request", took)
		}
		if r.Count() != 1 {
			t.Errorf("%d requests before the restart, want 1", r.Count())
		}
		n = n.Restart()
		first := n.Delivery(events[0], sub.ID)
		if first.State != posthorn.Delivered {
			t.Errorf("the delivery in flight is %s", first.State)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for _, id := range events[1:] {
			if d := n.Delivery(id, sub.ID); d.State != posthorn.Delivered || d.Attempts != 1 || len(n.Attempts(d.ID)) != 1 {
				t.Errorf("a delivery that was given back is %s after %d attempts", d.State, d.Attempts)
			}
		}
	})
}

// TestStopInterruptsAtItsDeadline stops a node whose request does not end in time.
func TestStopInterruptsAtItsDeadline(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n := StartNode(t, Setup{})
		r, sub := n.Receive("hangs", timeout(time.Minute))
		r.Reply(Hang(), Status(200))
		accepted := n.Publish(event())
		time.Sleep(time.Second)
		start := time.Now()
		n.Stop(5 * time.Second)
		if took := time.Since(start); took < 5*time.Second || took > 5*time.Second+100*time.Millisecond {
			t.Errorf("stopping took %s, want 5 s", took)
		}
		n = n.Restart()
		d := n.Delivery(accepted.EventID, sub.ID)
		attempts := n.Attempts(d.ID)
		if len(attempts) != 1 || attempts[0].Outcome != posthorn.Interrupted || !attempts[0].OurFault || d.Spent != 0 {
			t.Errorf("what was interrupted is not written so: %+v, %d spent", attempts, d.Spent)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if d := n.Delivery(accepted.EventID, sub.ID); d.State != posthorn.Delivered || d.Attempts != 2 {
			t.Errorf("after the restart the delivery is %s after %d attempts", d.State, d.Attempts)
		}
		if !n.Lane(sub.ID).FailingSince.IsZero() {
			t.Error("an interruption counts against the subscriber")
		}
	})
}

// TestStopDoesNotWaitForTheStore stops a node whose store hangs with results of several batches waiting for it.
func TestStopDoesNotWaitForTheStore(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n := StartNode(t, Setup{})
		r, _ := n.Receive("shop", func(s *posthorn.Subscription) { s.MaxInFlight = 1000 })
		r.Reply(Status(200).After(time.Second))
		for range 1200 {
			n.Publish(event())
		}
		n.Store.Freeze(true)
		time.Sleep(2 * time.Second)
		start := time.Now()
		n.Stop(5 * time.Second)
		if took := time.Since(start); took > 9*time.Second {
			t.Errorf("stopping took %s", took)
		}
	})
}

// TestStopTakesWhatWasHandedOverLast publishes up to the very moment of stopping: nothing may wait for a lease to run out.
func TestStopTakesWhatWasHandedOverLast(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n := StartNode(t, Setup{})
		r, _ := n.Receive("shop")
		r.Reply(Status(200).After(time.Second))
		for range 50 {
			n.Publish(event())
		}
		n.Stop(time.Minute)
		n.Restart()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		seen := make(map[string]bool)
		for _, q := range r.Requests() {
			seen[q.Event] = true
			if q.Attempt != 1 {
				t.Errorf("attempt %d of %s", q.Attempt, q.Event)
			}
		}
		if len(seen) != 50 || r.Count() != 50 {
			t.Errorf("%d requests for %d of 50 events", r.Count(), len(seen))
		}
	})
}

// TestStopGivesBackWhatAClaimUnderWayBrings stops a node between a claim and its answer: what it brings must not wait for a lease
// to run out.
func TestStopGivesBackWhatAClaimUnderWayBrings(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n := StartNode(t, Setup{})
		r, _ := n.Receive("ledger", func(s *posthorn.Subscription) { s.Ordering = posthorn.OrderingFIFO })
		n.Store.Late(2 * time.Second)
		n.Publish(event())
		time.Sleep(time.Second)
		n.Stop(time.Minute)
		n.Store.Late(0)
		n.Restart()
		time.Sleep(time.Minute)
		synctest.Wait()
		if q := r.Requests(); len(q) != 1 || q[0].Attempt != 1 {
			t.Errorf("the requests are %+v, want one of attempt 1", q)
		}
	})
}

// TestStoreOutage takes the store away for a while, short of a lease and beyond, while requests are under way.
func TestStoreOutage(t *testing.T) {
	for name, outage := range map[string]time.Duration{"ShorterThanALease": 20 * time.Second, "Longer": 3 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			Play(t, Setup{Quiet: true}, func(t *testing.T, n *Node) {
				r, sub := n.Receive("shop")
				r.Reply(Status(200).After(2 * time.Second))
				var events []posthorn.EventID
				for range 30 {
					events = append(events, n.Publish(event()).EventID)
				}
				time.Sleep(time.Second)
				n.Store.Shut(true)
				if _, err := n.Publisher.Publish(t.Context(), n.Tenant, event()); posthorn.KindOf(err) != posthorn.Unavailable {
					t.Errorf("publishing without a store: %v", err)
				}
				time.Sleep(outage)
				n.Store.Shut(false)
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				for _, id := range events {
					if d := n.Delivery(id, sub.ID); d.State != posthorn.Delivered {
						t.Errorf("a delivery is %s after the outage", d.State)
					}
				}
				if r.Count() != 30 {
					t.Errorf("%d requests for 30 deliveries by the only node", r.Count())
				}
			})
		})
	}
}

// TestLostAnswers lets the store do its work and loses its answers: commits whose fate nobody knows.
func TestLostAnswers(t *testing.T) {
	Play(t, Setup{Quiet: true}, func(t *testing.T, n *Node) {
		r, sub := n.Receive("shop")
		var events []posthorn.EventID
		for i := range 20 {
			if i%4 == 0 {
				n.Store.LoseAnswers(1)
			}
			if a, err := n.Publisher.Publish(t.Context(), n.Tenant, event()); err == nil {
				events = append(events, a.EventID)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		for _, id := range events {
			if d := n.Delivery(id, sub.ID); d.State != posthorn.Delivered {
				t.Errorf("an acknowledged delivery is %s", d.State)
			}
		}
		// What was stored without an answer is delivered too: "possibly stored".
		if r.Count() < 20 {
			t.Errorf("%d requests for 20 events that were all stored", r.Count())
		}
	})
}
