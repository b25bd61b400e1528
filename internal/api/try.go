package api

import (
	"context"
	"time"

	"github.com/posthorn/posthorn"
)

// testResult answers a test: the first attempt, when it was made in time.
type testResult struct {
	EventID  posthorn.EventID `json:"event_id"`
	Delivery delivery         `json:"delivery"`
	Attempt  *attempt         `json:"attempt" doc:"null when it was not made in time; look again at the delivery."`
}

// testSlack is how long after the subscription's timeout a test's attempt is waited for, testPoll how often the store
// is asked in case the bus lost the news.
const (
	testSlack = 2 * time.Second
	testPoll  = 500 * time.Millisecond
)

func (h *Handler) testSubscription(ctx context.Context, c *call, p *subscriptionPath) (*reply[testResult], error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	s, err := h.store.GetSubscription(ctx, c.tenant(), id)
	if err != nil {
		return nil, err
	}
	// Watching begins before the event exists, so that its first attempt cannot be missed.
	w := h.hub.join(c.tenant())
	if w != nil {
		defer h.hub.leave(w)
	}
	a, err := h.opts.Publisher.Test(ctx, c.tenant(), id)
	if err != nil {
		return nil, err
	}
	deliveries, err := h.store.EventDeliveries(ctx, c.tenant(), a.EventID)
	if err != nil {
		return nil, err
	}
	if len(deliveries) == 0 {
		return nil, posthorn.NewError(posthorn.Conflict, "the subscription was deleted meanwhile")
	}
	made, err := h.firstAttempt(ctx, w, &deliveries[0], s.Timeout+testSlack)
	if err != nil {
		return nil, err
	}
	return h.showTest(ctx, &deliveries[0], made)
}

// firstAttempt waits for a delivery's first attempt; nil when it takes too long.
func (h *Handler) firstAttempt(ctx context.Context, w *watcher, d *posthorn.Delivery, most time.Duration) (*posthorn.Attempt, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for ctx.Err() == nil {
		poll, stop := context.WithTimeout(ctx, testPoll)
		h.hub.await(poll, w, func(u *posthorn.Update) bool { return u.DeliveryID == d.ID && !u.Attempt.IsZero() })
		stop()
		made, err := h.store.ListAttempts(context.WithoutCancel(ctx), d.TenantID, d.ID)
		if err != nil {
			return nil, err
		}
		if len(made) > 0 {
			return &made[0], nil
		}
		if h.hub.hasStopped() {
			// The node stops: waiting on would only ask again and again.
			break
		}
	}
	return nil, nil
}

func (h *Handler) showTest(ctx context.Context, d *posthorn.Delivery, made *posthorn.Attempt) (*reply[testResult], error) {
	d, err := h.store.GetDelivery(ctx, d.TenantID, d.ID)
	if err != nil {
		return nil, err
	}
	is, err := h.showDelivery(ctx, d)
	if err != nil {
		return nil, err
	}
	result := testResult{EventID: d.EventID, Delivery: is.Body}
	if made != nil {
		a := showAttempt(made)
		result.Attempt = &a
	}
	return replyWith(result), nil
}
