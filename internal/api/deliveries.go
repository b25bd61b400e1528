package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/posthorn/posthorn"
)

const deliveryNoun = "delivery"

func (h *Handler) registerDeliveries() {
	handle(h, operation{
		method: http.MethodGet, path: "/deliveries", id: "listDeliveries", tag: "Deliveries", scope: posthorn.ScopeRead,
		summary: "List deliveries",
	}, h.listDeliveries)
	handle(h, operation{
		method: http.MethodGet, path: "/deliveries/{id}", id: "getDelivery", tag: "Deliveries", scope: posthorn.ScopeRead,
		summary: "Read a delivery",
	}, h.getDelivery)
	handle(h, operation{
		method: http.MethodGet, path: "/deliveries/{id}/attempts", id: "listAttempts", tag: "Deliveries", scope: posthorn.ScopeRead,
		summary: "List a delivery's attempts", description: "Every request as sent, with secrets masked, and what came back. Oldest first.",
	}, h.listAttempts)
	handle(h, operation{
		method: http.MethodPost, path: "/deliveries/{id}/retry", id: "retryDelivery", tag: "Deliveries", scope: posthorn.ScopeManage,
		audit: "delivery.retry", summary: "Attempt a delivery now", status: http.StatusAccepted, refusals: []int{http.StatusConflict},
		description: "One attempt outside the automatic schedule, which stays as it is. Also revives an exhausted or cancelled delivery. 409 when it has succeeded, is being sent, or its event has expired.",
	}, h.retryDelivery)
	handle(h, operation{
		method: http.MethodPost, path: "/deliveries/{id}/cancel", id: "cancelDelivery", tag: "Deliveries", scope: posthorn.ScopeManage,
		audit: "delivery.cancel", summary: "Cancel a pending delivery", refusals: []int{http.StatusConflict},
	}, h.cancelDelivery)
	handleBody(h, operation{
		method: http.MethodPost, path: "/deliveries/bulk", id: "changeDeliveries", tag: "Deliveries", scope: posthorn.ScopeManage,
		audit: "delivery.bulk", summary: "Retry or cancel many deliveries",
		example: map[string]any{"action": "retry", "filter": map[string]any{"status": []string{"exhausted"}}, "dry_run": true},
		description: "Changes all deliveries that the filter finds; those that do not allow it are passed over. With `dry_run` it only counts. " +
			"A large set takes several requests: repeat with `cursor` while `next_cursor` is set.",
	}, h.changeDeliveries)
}

// delivery as it is shown.
type delivery struct {
	ID             posthorn.DeliveryID     `json:"id" example:"dlv_06f1kz9qj4v3g7c8n2m5x0y1za"`
	EventID        posthorn.EventID        `json:"event_id"`
	EventType      string                  `json:"event_type" example:"order.created"`
	SubscriptionID posthorn.SubscriptionID `json:"subscription_id"`
	URL            string                  `json:"url" doc:"The subscription's present URL."`
	Status         posthorn.State          `json:"status" enum:"pending,succeeded,exhausted,cancelled"`
	Reason         *posthorn.Reason        `json:"reason" doc:"Why it ended without success."`
	Attempts       int                     `json:"attempts"`
	NextAttemptAt  *time.Time              `json:"next_attempt_at" doc:"When it is due; null once it has ended."`
	InFlight       bool                    `json:"in_flight" doc:"A worker holds it at present."`
	LastOutcome    *posthorn.Outcome       `json:"last_outcome" enum:"succeeded,http_error,timeout,dns_error,connect_error,tls_error,blocked,invalid_response,interrupted"`
	LastStatusCode *int                    `json:"last_status_code"`
	LastError      *string                 `json:"last_error"`
	Explanation    string                  `json:"explanation" doc:"Why it is in this state and what happens next."`
	OrderingKey    *string                 `json:"ordering_key"`
	ReplayID       *posthorn.ReplayID      `json:"replay_id" doc:"Set on deliveries that a replay made."`
	CreatedAt      time.Time               `json:"created_at"`
	UpdatedAt      time.Time               `json:"updated_at"`
	CompletedAt    *time.Time              `json:"completed_at"`
}

type deliveryPath struct {
	ID string `path:"id" doc:"The delivery's id." example:"dlv_06f1kz9qj4v3g7c8n2m5x0y1za"`
}

func (p *deliveryPath) id() (posthorn.DeliveryID, error) {
	return pathID[posthorn.DeliveryID](deliveryNoun, p.ID)
}

type deliveryQuery struct {
	Paging
	Status         string          `query:"status" doc:"One or more of pending, succeeded, exhausted, cancelled, separated by commas."`
	Outcome        string          `query:"outcome" enum:"succeeded,http_error,timeout,dns_error,connect_error,tls_error,blocked,invalid_response,interrupted" doc:"Of the last attempt."`
	StatusCode     string          `query:"status_code" doc:"HTTP status of the last attempt." example:"503"`
	SubscriptionID subscriptionRef `query:"subscription_id"`
	EventID        string          `query:"event_id"`
	EventType      string          `query:"event_type" doc:"Types and patterns, separated by commas."`
	ReplayID       string          `query:"replay_id"`
	Since          moment          `query:"since" doc:"Created at or after."`
	Until          moment          `query:"until" doc:"Created before."`
}

func (q *deliveryQuery) filter() (posthorn.DeliveryFilter, error) {
	f := posthorn.DeliveryFilter{SubscriptionID: q.SubscriptionID.SubscriptionID, Since: q.Since.Time, Until: q.Until.Time}
	var v posthorn.Violations
	var err error
	f.States, err = choices("query.status", q.Status, states())
	collect(&v, err)
	f.Outcome, err = choice("query.outcome", q.Outcome, posthorn.Outcomes)
	collect(&v, err)
	f.StatusCode, err = statusCode("query.status_code", q.StatusCode)
	collect(&v, err)
	f.EventID, err = filterID[posthorn.EventID]("query.event_id", "evt_", q.EventID)
	collect(&v, err)
	f.Replay, err = filterID[posthorn.ReplayID]("query.replay_id", "rpl_", q.ReplayID)
	collect(&v, err)
	f.Types, err = patterns("query.event_type", q.EventType)
	collect(&v, err)
	collect(&v, span(q.Since, q.Until))
	return f, v.Err()
}

func states() []posthorn.State {
	return []posthorn.State{posthorn.Pending, posthorn.Delivered, posthorn.Exhausted, posthorn.Cancelled}
}

func statusCode(location, text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	code, err := strconv.ParseUint(text, 10, 10)
	if err != nil || code < 100 || code > 599 || len(text) != 3 {
		return 0, invalid(location, wrongStatus)
	}
	return int(code), nil
}

func (h *Handler) listDeliveries(ctx context.Context, c *call, q *deliveryQuery) (*reply[list[delivery]], error) {
	page, form := pageOf(c, &q.Paging)
	f, err := q.filter()
	if err = further(form, err); err != nil {
		return nil, err
	}
	rows, next, err := h.store.ListDeliveries(ctx, c.tenant(), f, page)
	if err != nil {
		return nil, err
	}
	shown, err := h.showDeliveries(ctx, c.tenant(), rows)
	if err != nil {
		return nil, err
	}
	answer := list[delivery]{Data: shown}
	if !next.IsZero() {
		cursor := writeCursor(c, next)
		answer.NextCursor = &cursor
	}
	return replyWith(answer), nil
}

// showDeliveries shows deliveries with the URL and the lane of their subscriptions: two queries for all of them.
func (h *Handler) showDeliveries(ctx context.Context, tenant posthorn.TenantID, rows []posthorn.Delivery) ([]delivery, error) {
	ids := make([]posthorn.SubscriptionID, 0, len(rows))
	seen := make(map[posthorn.SubscriptionID]bool, len(rows))
	for i := range rows {
		if id := rows[i].SubscriptionID; !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	subscriptions := make(map[posthorn.SubscriptionID]*posthorn.Subscription, len(ids))
	if len(ids) > 0 {
		found, err := h.store.FindSubscriptions(ctx, tenant, ids)
		if err != nil {
			return nil, err
		}
		for i := range found {
			subscriptions[found[i].ID] = &found[i]
		}
	}
	lanes, err := h.lanes(ctx, tenant, ids)
	if err != nil {
		return nil, err
	}
	now := h.store.Now()
	unattended := h.opts.Unattended != nil && h.opts.Unattended()
	shown := make([]delivery, len(rows))
	for i := range rows {
		d := &rows[i]
		shown[i] = showDelivery(d, subscriptions[d.SubscriptionID], lanes[d.SubscriptionID], now, unattended)
	}
	return shown, nil
}

// showDelivery shows one delivery. The subscription is nil when its tombstone is gone too.
func showDelivery(d *posthorn.Delivery, s *posthorn.Subscription, lane *posthorn.Lane, now time.Time, unattended bool) delivery {
	is := delivery{
		ID: d.ID, EventID: d.EventID, EventType: d.EventType, SubscriptionID: d.SubscriptionID, Status: d.State,
		Reason: nonEmpty(d.Reason), Attempts: d.Attempts, LastOutcome: nonEmpty(d.LastOutcome), LastError: nonEmpty(d.LastError),
		Explanation: explain(d, s, lane, now, unattended), OrderingKey: nonEmpty(d.OrderingKey),
		CreatedAt: d.CreatedAt.UTC(), UpdatedAt: d.UpdatedAt.UTC(), CompletedAt: optional(d.CompletedAt),
	}
	if s != nil {
		is.URL = s.URL
	}
	if d.State == posthorn.Pending {
		is.NextAttemptAt = optional(d.DueAt)
		is.InFlight = d.ClaimedUntil.After(now)
	}
	if d.LastStatusCode != 0 {
		is.LastStatusCode = &d.LastStatusCode
	}
	if !d.Replay.IsZero() {
		is.ReplayID = &d.Replay
	}
	return is
}

func (h *Handler) showDelivery(ctx context.Context, d *posthorn.Delivery) (*reply[delivery], error) {
	shown, err := h.showDeliveries(ctx, d.TenantID, []posthorn.Delivery{*d})
	if err != nil {
		return nil, err
	}
	return replyWith(shown[0]), nil
}

func (h *Handler) getDelivery(ctx context.Context, c *call, p *deliveryPath) (*reply[delivery], error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	d, err := h.store.GetDelivery(ctx, c.tenant(), id)
	if err != nil {
		return nil, err
	}
	return h.showDelivery(ctx, d)
}

func (h *Handler) retryDelivery(ctx context.Context, c *call, p *deliveryPath) (*reply[delivery], error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	d, err := h.store.RetryDelivery(ctx, c.tenant(), id)
	if err != nil {
		return nil, err
	}
	c.altered(d.ID.String(), nil, nil)
	h.moved(ctx, d)
	return h.showDelivery(ctx, d)
}

func (h *Handler) cancelDelivery(ctx context.Context, c *call, p *deliveryPath) (*reply[delivery], error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	d, err := h.store.CancelDelivery(ctx, c.tenant(), id)
	if err != nil {
		return nil, err
	}
	c.altered(d.ID.String(), nil, nil)
	h.moved(ctx, d)
	return h.showDelivery(ctx, d)
}

// moved tells those who watch what a person did to a delivery, and the workers when it is due now.
func (h *Handler) moved(ctx context.Context, d *posthorn.Delivery) {
	h.opts.Bus.Publish(ctx, posthorn.Signal{
		Wake: d.State == posthorn.Pending, Recall: d.State == posthorn.Cancelled, Updates: []posthorn.Update{posthorn.UpdateOf(d, d.UpdatedAt)},
	})
}
