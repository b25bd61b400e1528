package hooktest

import (
	"context"
	"log/slog"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/replay"
)

func (n *Node) buildReplays(log *slog.Logger) {
	n.Replays = replay.New(replay.Options{Store: n.Store, Matcher: matched{matcher{n.Cache}}, Bus: n.Bus, Node: n.ID, Log: log})
	n.Bus.Subscribe(func(s posthorn.Signal) {
		if s.Replays {
			n.Replays.Wake()
		}
	})
}

// matched answers replays.
type matched struct{ matcher }

func (m matched) Match(ctx context.Context, tenant posthorn.TenantID, e *posthorn.Event) (wanted, failed []posthorn.SubscriptionID, err error) {
	found, err := m.matcher.Match(ctx, tenant, e, 0)
	for _, s := range found.Subscriptions {
		wanted = append(wanted, s.ID)
	}
	return wanted, nil, err
}

// Replay makes a replay, as the API does.
func (n *Node) Replay(plan posthorn.ReplayPlan) posthorn.ReplayID {
	n.T.Helper()
	r := &posthorn.Replay{ID: posthorn.ReplayID{UUID: posthorn.NewUUID(n.Store.Now())}, TenantID: n.Tenant, ReplayPlan: plan}
	if err := n.Store.CreateReplay(context.Background(), r); err != nil {
		n.T.Fatal(err)
	}
	n.Bus.Publish(context.Background(), posthorn.Signal{Replays: true})
	return r.ID
}

// Replayed reads a replay.
func (n *Node) Replayed(id posthorn.ReplayID) *posthorn.Replay {
	n.T.Helper()
	r, err := n.Store.GetReplay(context.Background(), n.Tenant, id)
	if err != nil {
		n.T.Fatal(err)
	}
	return r
}
