package api

import (
	"context"
	"time"
)

type queueHistoryQuery struct {
	Since moment `query:"since" doc:"24 hours ago by default."`
	Until moment `query:"until" doc:"Now by default."`
	Step  string `query:"step" enum:"1m,5m,15m,1h,6h,1d" doc:"By default the shortest that gives at most 300 points."`
	All   string `query:"all" enum:"true,false" doc:"true sums all tenants; needs the scope admin."`
}

// queueHistory is the backlog over time.
type queueHistory struct {
	Since       time.Time    `json:"since"`
	Until       time.Time    `json:"until"`
	StepSeconds int          `json:"step_seconds"`
	Data        []queuePoint `json:"data" doc:"Steps without a sample, because no node looked, are left out."`
}

// queuePoint is the backlog at its largest in one step.
type queuePoint struct {
	At               time.Time `json:"at"`
	Pending          int       `json:"pending"`
	Due              int       `json:"due" doc:"Those that could have been sent."`
	Held             int       `json:"held" doc:"Those of paused and disabled subscriptions."`
	OldestDueSeconds float64   `json:"oldest_due_seconds"`
}

func (h *Handler) getQueueHistory(ctx context.Context, c *call, q *queueHistoryQuery) (*reply[queueHistory], error) {
	tenant, err := tenantOrAll(c, q.All)
	if err != nil {
		return nil, err
	}
	series := statsQuery{Since: q.Since, Until: q.Until, Step: q.Step}
	f, err := series.filter(h.store.Now().UTC())
	if err != nil {
		return nil, err
	}
	points, err := h.store.QueueHistory(ctx, tenant, f)
	if err != nil {
		return nil, err
	}
	view := queueHistory{Since: f.Since, Until: f.Until, StepSeconds: int(f.Step.Seconds()), Data: make([]queuePoint, len(points))}
	for i, p := range points {
		view.Data[i] = queuePoint{p.At.UTC(), p.Pending, p.Due, p.Held, p.OldestDue.Seconds()}
	}
	return replyWith(view), nil
}
