package api

import (
	"context"
	"time"

	"github.com/posthorn/posthorn"
)

// queueView is the backlog.
type queueView struct {
	Pending          int        `json:"pending" doc:"All pending deliveries."`
	Due              int        `json:"due" doc:"Those that could be sent now."`
	Held             int        `json:"held" doc:"Those of paused and disabled subscriptions."`
	Capped           bool       `json:"capped" doc:"The counts are lower bounds."`
	OldestDueSeconds float64    `json:"oldest_due_seconds" doc:"How long the oldest due delivery has been waiting past its time; held and throttled ones, and those of subscriptions with a rate_limit, not counted."`
	Retries          []int      `json:"retries" doc:"Retries scheduled in each of the next hours."`
	Lanes            []laneView `json:"lanes" doc:"The lanes with the longest backlogs."`
}

// laneView is one subscription's deliveries that wait.
type laneView struct {
	SubscriptionID   posthorn.SubscriptionID `json:"subscription_id"`
	URL              string                  `json:"url"`
	Status           posthorn.Status         `json:"status" enum:"active,paused,disabled"`
	Backlog          int                     `json:"backlog"`
	Capped           bool                    `json:"capped" doc:"backlog is a lower bound."`
	InFlight         int                     `json:"in_flight"`
	OldestDueSeconds float64                 `json:"oldest_due_seconds"`
	NextDueAt        *time.Time              `json:"next_due_at"`
	RateLimit        *rateLimit              `json:"rate_limit"`
	Breaker          string                  `json:"breaker" enum:"closed,open,probing"`
	Lane             laneState               `json:"lane"`
}

type queueQuery struct {
	Limit pageLimit `query:"limit" doc:"How many lanes at most."`
	All   string    `query:"all" enum:"true,false" doc:"true sums all tenants; needs the scope admin."`
}

func (h *Handler) getQueue(ctx context.Context, c *call, q *queueQuery) (*reply[queueView], error) {
	tenant, err := tenantOrAll(c, q.All)
	if err != nil {
		return nil, err
	}
	most := int(q.Limit.length)
	if most == 0 {
		most = defaultLimit
	}
	queue, err := h.store.Queue(ctx, tenant)
	if err != nil {
		return nil, err
	}
	lanes, err := h.store.LaneBacklogs(ctx, tenant, most)
	if err != nil {
		return nil, err
	}
	now := h.store.Now()
	view := queueView{
		Pending: queue.Pending, Due: queue.Due, Held: queue.Held, Capped: queue.Capped,
		OldestDueSeconds: queue.OldestDue.Seconds(), Retries: queue.Retries, Lanes: make([]laneView, len(lanes)),
	}
	for i := range lanes {
		view.Lanes[i] = showBacklog(&lanes[i], now)
	}
	return replyWith(view), nil
}

// tenantOrAll is the key's tenant, or the zero id for all tenants, which only an administrator may see.
func tenantOrAll(c *call, all string) (posthorn.TenantID, error) {
	switch all {
	case "", "false":
		return c.tenant(), nil
	case "true":
		if !c.identity.Key.Allows(posthorn.ScopeAdmin) {
			return posthorn.TenantID{}, posthorn.NewError(posthorn.Forbidden, "only a key with the scope admin may see all tenants")
		}
		return posthorn.TenantID{}, nil
	}
	return posthorn.TenantID{}, invalid("query.all", "must be true or false")
}

func showBacklog(l *posthorn.LaneBacklog, now time.Time) laneView {
	return laneView{
		SubscriptionID: l.SubscriptionID, URL: l.URL, Status: l.Status, Backlog: l.Backlog, Capped: l.Capped,
		InFlight: l.InFlight, OldestDueSeconds: l.OldestDue.Seconds(), NextDueAt: optional(l.NextDue),
		RateLimit: (*rateLimit)(l.RateLimit), Breaker: breakerState(&l.Lane, now), Lane: *showLane(&l.Lane, now),
	}
}

func breakerState(l *posthorn.Lane, now time.Time) string {
	switch {
	case l.BreakerOpens == 0:
		return "closed"
	case l.BreakerUntil.After(now):
		return "open"
	}
	return "probing"
}
