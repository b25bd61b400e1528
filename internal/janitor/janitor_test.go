package janitor_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	. "github.com/posthorn/posthorn/internal/hooktest"
	"github.com/posthorn/posthorn/internal/janitor"
)

// heard counts the announcements of what nears its end.
type heard struct{ expiring atomic.Int64 }

func (h *heard) Announce(_ context.Context, _ posthorn.TenantID, e *posthorn.Event) error {
	if e.Type == "posthorn.subscription.backlog_expiring" {
		h.expiring.Add(1)
	}
	return nil
}

// TestLateAnnouncement has a hold that is long over when a janitor comes, as where none ran or POSTHORN_HOLD was made shorter: what it
// held has the notice all the same, half of a hold that is short. Where nobody announces there is nothing to wait for.
func TestLateAnnouncement(t *testing.T) {
	for name, c := range map[string]struct {
		hold, notice time.Duration
		silent       bool
	}{
		"Long":   {hold: 240 * time.Hour, notice: 24 * time.Hour},
		"Short":  {hold: 6 * time.Hour, notice: 3 * time.Hour},
		"Silent": {hold: 240 * time.Hour, silent: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewStory(t)
			shop := s.Subscribe("shop")
			s.Pause(At(0), shop)
			paid := s.Publish(At(time.Hour), "invoice.paid")
			const come = 300 * time.Hour
			var h heard
			var j *janitor.Janitor
			s.Do(At(come), "a janitor comes", func(n *Node) {
				o := janitor.Options{
					Store: n.Store, Bus: n.Bus, Node: n.ID, Announcer: &h, Retention: 72 * time.Hour, Window: 72 * time.Hour, Hold: c.hold,
					WithdrawEvery: 10 * time.Minute,
				}
				if c.silent {
					o.Announcer = nil
				}
				j = janitor.New(o)
				j.Start()
			})
			if !c.silent {
				s.WantState(At(come+c.notice-time.Minute), paid, shop, posthorn.Pending)
			}
			s.WantState(At(come+c.notice+11*time.Minute), paid, shop, posthorn.Cancelled, posthorn.ReasonHeldTooLong)
			s.Do(At(come+c.notice+12*time.Minute), "it goes", func(*Node) {
				j.Stop()
				if n := h.expiring.Load(); n != 1 && !c.silent {
					t.Errorf("announced %d times", n)
				}
			})
			s.Run()
		})
	}
}
