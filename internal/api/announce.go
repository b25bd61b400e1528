package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/posthorn/posthorn"
)

// The types of the events that tell what people did here.
const (
	typeSecretRotated = "posthorn.secret.rotated"
	typeSecretRevoked = "posthorn.secret.revoked"
	typeEnabled       = "posthorn.subscription.enabled"
)

// announceTimeout bounds an announcement, which the answer to a request waits for.
const announceTimeout = 5 * time.Second

// alter changes a subscription atomically, tells the other parts, and announces what subscribers may want to hear of.
func (h *Handler) alter(ctx context.Context, tenant posthorn.TenantID, id posthorn.SubscriptionID, change func(*posthorn.Subscription) error) (*posthorn.Subscription, error) {
	var was posthorn.Subscription
	s, err := h.store.UpdateSubscription(ctx, tenant, id, func(s *posthorn.Subscription) error {
		was = *s
		return change(s)
	})
	shownWas := auditView(&was, &was)
	if err != nil {
		return nil, err
	}
	callOf(ctx).altered(s.ID.String(), shownWas, auditView(s, &was))
	h.changed(ctx, s)
	if newest(s) != newest(&was) {
		h.announceRotation(ctx, s)
	}
	if was.Status == posthorn.StatusDisabled && s.Status == posthorn.StatusActive {
		h.announce(ctx, s.TenantID, typeEnabled, map[string]any{
			"subscription_id": s.ID.String(), "disabled_reason": was.DisabledReason, "at": s.UpdatedAt.UTC(),
		})
	}
	return s, nil
}

func newest(s *posthorn.Subscription) string {
	if len(s.Secrets) == 0 {
		return ""
	}
	return string(s.Secrets[0].Value)
}

// announceRotation says when the secrets before the newest cease to sign; what they are stays here.
func (h *Handler) announceRotation(ctx context.Context, s *posthorn.Subscription) {
	var end time.Time
	for i, old := range s.Live(h.store.Now()) {
		if i > 0 && old.ExpiresAt.After(end) {
			end = old.ExpiresAt
		}
	}
	h.announce(ctx, s.TenantID, typeSecretRotated, map[string]any{
		"subscription_id": s.ID.String(), "previous_expires_at": optional(end), "at": s.UpdatedAt.UTC(),
	})
}

// announce publishes one of Posthorn's own events. What it tells of is done, so failing to tell fails no request.
func (h *Handler) announce(ctx context.Context, tenant posthorn.TenantID, eventType string, data map[string]any) {
	if h.opts.Announcer == nil {
		return
	}
	payload, err := json.Marshal(data)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), announceTimeout)
	defer cancel()
	if err := h.opts.Announcer.Announce(ctx, tenant, &posthorn.Event{Type: eventType, Payload: payload}); err != nil {
		h.log.Warn("not announced", "type", eventType, "error", err)
	}
}
