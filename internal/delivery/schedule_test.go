package delivery_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn"
	. "github.com/posthorn/posthorn/internal/hooktest"
)

// TestWholeSchedule crosses the 48 hours of the default policy: ten attempts, each within its jitter.
func TestWholeSchedule(t *testing.T) {
	Play(t, Setup{}, func(t *testing.T, n *Node) {
		r, sub := n.Receive("shop")
		r.Reply(Status(500))
		accepted := n.Publish(&posthorn.Event{Type: "invoice.paid", Payload: []byte(`{}`)})
		time.Sleep(72 * time.Hour)
		synctest.Wait()

		got := r.Requests()
		steps := posthorn.DefaultRetryPolicy().Schedule
		if len(got) != len(steps)+1 {
			t.Fatalf("%d attempts, want %d", len(got), len(steps)+1)
		}
		for i, step := range steps {
			gap, want := got[i+1].At.Sub(got[i].At), time.Duration(step*float64(time.Second))
			if low, high := want*8/10, want*12/10+20*time.Millisecond; gap < low || gap > high {
				t.Errorf("attempt %d came %s after the one before, want %s ± 20 %%", i+2, gap, want)
			}
			if got[i+1].Attempt != i+2 {
				t.Errorf("the request after attempt %d says it is attempt %d", got[i].Attempt, got[i+1].Attempt)
			}
			if got[i+1].Event != got[0].Event {
				t.Error("the webhook-id changed between attempts")
			}
		}
		d := n.Delivery(accepted.EventID, sub.ID)
		if d.State != posthorn.Exhausted || d.Reason != posthorn.ReasonAttempts || d.Attempts != 10 {
			t.Errorf("the delivery is %s (%s) after %d attempts", d.State, d.Reason, d.Attempts)
		}
		if attempts := n.Attempts(d.ID); len(attempts) != 10 || attempts[9].Number != 10 || attempts[9].StatusCode != 500 {
			t.Errorf("%d attempts are kept", len(attempts))
		}
		t.Logf("ten attempts over %s", got[9].At.Sub(got[0].At).Round(time.Minute))
	})
}

func TestExponentialPolicy(t *testing.T) {
	Play(t, Setup{}, func(t *testing.T, n *Node) {
		r, _ := n.Receive("shop", func(s *posthorn.Subscription) {
			s.Retry = posthorn.RetryPolicy{Initial: 2, Multiplier: 3, Maximum: 30, Attempts: 6}
		})
		r.Reply(Status(500))
		n.Publish(&posthorn.Event{Type: "invoice.paid", Payload: []byte(`{}`)})
		time.Sleep(time.Hour)
		synctest.Wait()
		got := r.Requests()
		if len(got) != 6 {
			t.Fatalf("%d attempts, want 6", len(got))
		}
		for i, seconds := range []float64{2, 6, 18, 30, 30} {
			gap := got[i+1].At.Sub(got[i].At).Seconds()
			if gap < seconds*0.8 || gap > seconds*1.2+0.02 {
				t.Errorf("attempt %d came %.2f s after the one before, want %g ± 20 %%", i+2, gap, seconds)
			}
		}
	})
}

// TestJitterSpreads looks at many first retries: they must not come in a herd, nor outside of their bounds.
func TestJitterSpreads(t *testing.T) {
	Play(t, Setup{Quiet: true}, func(t *testing.T, n *Node) {
		r, _ := n.Receive("shop", func(s *posthorn.Subscription) { s.Retry = posthorn.RetryPolicy{Schedule: []float64{100}} })
		r.ReplyBy(func(q Request) Reply {
			if q.Attempt == 1 && r.Count() < 20 {
				return Status(500)
			}
			return Status(200)
		})
		start := time.Now()
		for range 19 {
			n.Publish(&posthorn.Event{Type: "invoice.paid", Payload: []byte(`{}`)})
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		early, late := 0, 0
		for _, q := range r.Requests() {
			if q.Attempt != 2 {
				continue
			}
			switch at := q.At.Sub(start).Seconds(); {
			case at < 80 || at > 121:
				t.Errorf("a retry at %.1f s", at)
			case at < 100:
				early++
			default:
				late++
			}
		}
		if early+late != 19 || early < 2 || late < 2 {
			t.Errorf("%d retries before 100 s and %d after, want 19 on both sides", early, late)
		}
	})
}
