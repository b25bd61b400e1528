package delivery

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
)

// The types of the events that the engine publishes about its own work.
const (
	typeFailing   = "posthorn.subscription.failing"
	typeDisabled  = "posthorn.subscription.disabled"
	typeExhausted = "posthorn.delivery.exhausted"
)

// announceResults publishes the ends that someone may want to hear of. A delivery of one of Posthorn's own events never
// makes another: that would be a loop.
func (e *Engine) announceResults(batch []outcome, report posthorn.RecordReport) {
	if e.opts.Announcer == nil {
		return
	}
	disabled := make(map[posthorn.SubscriptionID]bool, len(report.Disabled))
	for _, id := range report.Disabled {
		disabled[id] = true
	}
	for i, o := range batch {
		d := &o.item.Delivery
		if o.change != nil && o.change.Disable != "" && disabled[o.item.lane.id] {
			delete(disabled, o.item.lane.id)
			e.announceDisabled(o.item.lane, o.change.Disable)
		}
		if r := report.Results[i]; r.Moved && r.State == posthorn.Exhausted && !strings.HasPrefix(d.EventType, posthorn.OperationalPrefix) {
			e.announce(d.TenantID, typeExhausted, map[string]any{
				"delivery_id": d.ID.String(), "event_id": d.EventID.String(), "event_type": d.EventType,
				"subscription_id": d.SubscriptionID.String(), "attempts": o.item.Number, "reason": o.result.Reason,
			})
		}
	}
}

func (e *Engine) announceDisabled(l *lane, reason string) {
	e.announce(l.tenant, typeDisabled, map[string]any{"subscription_id": l.id.String(), "reason": reason})
}

// announceTimeout bounds the publishing of one event.
const announceTimeout = 5 * time.Second

// announce publishes in the background; losing an announcement loses no delivery.
func (e *Engine) announce(tenant posthorn.TenantID, eventType string, data map[string]any) {
	if e.opts.Announcer == nil {
		return
	}
	e.background.Go(func() {
		ctx, cancel := context.WithTimeout(e.life, announceTimeout)
		defer cancel()
		if err := e.tellOnce(ctx, tenant, eventType, "", data); err != nil && e.life.Err() == nil {
			e.opts.Log.Warn("not announced", "type", eventType, "error", err)
		}
	})
}

// tellOnce publishes one of Posthorn's own events, once under a key where one is given.
func (e *Engine) tellOnce(ctx context.Context, tenant posthorn.TenantID, eventType, key string, data map[string]any) error {
	if e.opts.Announcer == nil {
		return nil
	}
	payload, err := json.Marshal(data)
	if err != nil {
		return err
	}
	err = e.opts.Announcer.Announce(ctx, tenant, &posthorn.Event{Type: eventType, Payload: payload, IdempotencyKey: key})
	if err != nil && posthorn.KindOf(err) == posthorn.Conflict {
		// Told already, in other words.
		return nil
	}
	return err
}
