package delivery_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/delivery"
	. "github.com/posthorn/posthorn/internal/hooktest"
)

// withoutKey reads no subscription until the key is there, like a node whose list of encryption keys lacks one.
type withoutKey struct {
	delivery.Subscriptions
	key *atomic.Bool
}

func (s withoutKey) Subscription(ctx context.Context, tenant posthorn.TenantID, id posthorn.SubscriptionID, version int64) (*posthorn.Subscription, error) {
	sub, err := s.Subscriptions.Subscription(ctx, tenant, id, version)
	if err == nil && !s.key.Load() {
		locked := *sub
		locked.Unreadable = "no key opens the secret"
		sub = &locked
	}
	return sub, err
}

// TestSubscriptionThatOnlyOthersCanRead wants a node to leave to others what it cannot sign, and to try again later.
func TestSubscriptionThatOnlyOthersCanRead(t *testing.T) {
	var key atomic.Bool
	setup := Setup{Quiet: true, Tune: func(o *delivery.Options) { o.Subscriptions = withoutKey{o.Subscriptions, &key} }}
	Play(t, setup, func(t *testing.T, n *Node) {
		receiver, sub := n.Receive("well")
		accepted := n.Publish(event())
		time.Sleep(time.Second)
		synctest.Wait()
		if d := n.Delivery(accepted.EventID, sub.ID); !d.ClaimedBy.IsZero() || d.State != posthorn.Pending || d.Attempts != 0 {
			t.Errorf("the delivery is kept by a node that cannot send it: %+v", d)
		}
		// Nothing is taken meanwhile.
		second := n.Publish(event())
		synctest.Wait()
		if d := n.Delivery(second.EventID, sub.ID); !d.ClaimedBy.IsZero() {
			t.Errorf("another is claimed: %+v", d)
		}
		key.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := len(receiver.Requests()); got != 2 {
			t.Errorf("%d of 2 arrived once it can read the subscription", got)
		}
	})
}
