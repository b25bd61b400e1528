package api

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/posthorn/posthorn"
)

// eventStatus is what became of an event.
type eventStatus struct {
	EventID    posthorn.EventID     `json:"event_id"`
	Type       string               `json:"type"`
	Status     posthorn.EventStatus `json:"status" enum:"pending,succeeded,partial,failed,unmatched"`
	Deliveries []deliveryStatus     `json:"deliveries" doc:"Oldest first, at most 10,000."`
	Capped     bool                 `json:"capped" doc:"There may be more deliveries, which GET /deliveries?event_id= lists. The status is derived from all."`
}

// deliveryStatus is a delivery in short.
type deliveryStatus struct {
	ID             posthorn.DeliveryID     `json:"id"`
	SubscriptionID posthorn.SubscriptionID `json:"subscription_id"`
	URL            string                  `json:"url"`
	Status         posthorn.State          `json:"status" enum:"pending,succeeded,exhausted,cancelled"`
	Attempts       int                     `json:"attempts"`
	NextAttemptAt  *time.Time              `json:"next_attempt_at"`
	LastOutcome    *posthorn.Outcome       `json:"last_outcome"`
	LastStatusCode *int                    `json:"last_status_code"`
	Explanation    string                  `json:"explanation" doc:"Why it is in this state and what happens next."`
}

func (h *Handler) getEventStatus(ctx context.Context, c *call, p *eventPath) (*reply[eventStatus], error) {
	// The status comes first: one that says that all has ended is not beside deliveries of before.
	e, derived, err := h.readEvent(ctx, c, p)
	if err != nil {
		return nil, err
	}
	rows, err := h.store.EventDeliveries(ctx, c.tenant(), e.ID)
	if err != nil {
		return nil, err
	}
	shown, err := h.showDeliveries(ctx, c.tenant(), rows)
	if err != nil {
		return nil, err
	}
	status := eventStatus{
		EventID: e.ID, Type: e.Type, Status: derived, Capped: len(rows) >= posthorn.MaxEventDeliveries,
		Deliveries: make([]deliveryStatus, len(shown)),
	}
	for i, d := range shown {
		status.Deliveries[i] = deliveryStatus{
			ID: d.ID, SubscriptionID: d.SubscriptionID, URL: d.URL, Status: d.Status, Attempts: d.Attempts,
			NextAttemptAt: d.NextAttemptAt, LastOutcome: d.LastOutcome, LastStatusCode: d.LastStatusCode, Explanation: d.Explanation,
		}
	}
	return replyWith(status), nil
}

type replayInput struct {
	SubscriptionIDs []posthorn.SubscriptionID `json:"subscription_ids,omitempty" maxItems:"1000" doc:"Absent or empty: all that want the event now."`
}

type deliveryData struct {
	Data []delivery `json:"data"`
}

func (h *Handler) replayEvent(ctx context.Context, c *call, p *eventPath, in *replayInput) (*reply[deliveryData], error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	if err := h.checkTargets(ctx, c.tenant(), in.SubscriptionIDs); err != nil {
		return nil, err
	}
	rows, err := h.opts.Publisher.Replay(ctx, c.tenant(), id, in.SubscriptionIDs)
	if err != nil {
		return nil, err
	}
	c.altered(id.String(), nil, replayAudit{in.SubscriptionIDs, len(rows)})
	shown, err := h.showDeliveries(ctx, c.tenant(), rows)
	if err != nil {
		return nil, err
	}
	return replyWith(deliveryData{shown}), nil
}

// replayAudit is what the audit log keeps of a replay.
type replayAudit struct {
	SubscriptionIDs []posthorn.SubscriptionID `json:"subscription_ids"`
	Deliveries      int                       `json:"deliveries"`
}

// checkTargets refuses subscriptions that are not there: replaying to them would do nothing, silently.
func (h *Handler) checkTargets(ctx context.Context, tenant posthorn.TenantID, ids []posthorn.SubscriptionID) error {
	const most = 1000
	if len(ids) > most {
		return invalid("body.subscription_ids", "must have at most %d entries", most)
	}
	if len(ids) == 0 {
		return nil
	}
	found, err := h.store.FindSubscriptions(ctx, tenant, ids)
	if err != nil {
		return err
	}
	live := make(map[posthorn.SubscriptionID]bool, len(found))
	for i := range found {
		live[found[i].ID] = found[i].DeletedAt.IsZero()
	}
	var v posthorn.Violations
	for i, id := range ids {
		at := "body.subscription_ids[" + strconv.Itoa(i) + "]"
		if !live[id] {
			v.Add(at, "is not a subscription, or was deleted")
		} else if slices.Contains(ids[:i], id) {
			v.Add(at, "stands twice")
		}
	}
	return v.Err()
}
