package delivery

import (
	"context"
	"encoding/json"
	"time"

	"github.com/posthorn/posthorn"
)

// The types of the events that the engine publishes about its own work.
const (
	typeFailing  = "posthorn.subscription.failing"
	typeDisabled = "posthorn.subscription.disabled"
)

// announceResults publishes the ends that someone may want to hear of.
func (e *Engine) announceResults(batch []outcome, report posthorn.RecordReport) {
	if e.opts.Announcer == nil {
		return
	}
	disabled := make(map[posthorn.SubscriptionID]bool, len(report.Disabled))
	for _, id := range report.Disabled {
		disabled[id] = true
	}
	for i, o := range batch {
		if o.change != nil && o.change.Disable != "" && disabled[o.item.lane.id] {
			delete(disabled, o.item.lane.id)
			e.announceDisabled(o.item.lane, o.change.Disable)
		}
		if r := report.Results[i]; r.Moved {
			e.announceEnd(update(o, r))
		}
	}
}

func (e *Engine) announceDisabled(l *lane, reason string) {
	e.announce(l.tenant, &posthorn.Event{Type: typeDisabled, Payload: content(map[string]any{
		"subscription_id": l.id.String(), "reason": reason,
	})})
}

// content is the payload of one of Posthorn's own events, of texts and times, which can always be written.
func content(data map[string]any) []byte {
	payload, _ := json.Marshal(data)
	return payload
}

// announceTimeout bounds the publishing of one event.
const announceTimeout = 5 * time.Second

// announceEnd publishes that a delivery ended without success, where it did.
func (e *Engine) announceEnd(u posthorn.Update) {
	if event := u.Exhausted(); event != nil {
		e.announce(u.TenantID, event)
	}
}

// announce publishes in the background; losing an announcement loses no delivery.
func (e *Engine) announce(tenant posthorn.TenantID, event *posthorn.Event) {
	e.background.Go(func() {
		ctx, cancel := context.WithTimeout(e.life, announceTimeout)
		defer cancel()
		if err := e.publish(ctx, tenant, event); err != nil && e.life.Err() == nil {
			e.opts.Log.Warn("not announced", "type", event.Type, "error", err)
		}
	})
}

// publish publishes one of Posthorn's own events, once under a key where it has one.
func (e *Engine) publish(ctx context.Context, tenant posthorn.TenantID, event *posthorn.Event) error {
	if e.opts.Announcer == nil {
		return nil
	}
	return e.opts.Announcer.Announce(ctx, tenant, event)
}
