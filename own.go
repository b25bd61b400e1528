package posthorn

import (
	"encoding/json"
	"strconv"
	"strings"
)

// typeExhausted is the type of the event that says that a delivery ended without success.
const typeExhausted = OperationalPrefix + "delivery.exhausted"

// Exhausted is Posthorn's own event about an update that ends a delivery as exhausted, and nil about any other. Its key is the
// same whoever announces that end. The delivery of one of Posthorn's own events makes none: that would be a loop.
func (u *Update) Exhausted() *Event {
	if u.State != Exhausted || strings.HasPrefix(u.EventType, OperationalPrefix) {
		return nil
	}
	payload, err := json.Marshal(map[string]any{
		"delivery_id": u.DeliveryID.String(), "event_id": u.EventID.String(), "event_type": u.EventType,
		"subscription_id": u.SubscriptionID.String(), "attempts": u.Attempts, "reason": u.Reason,
	})
	if err != nil {
		return nil
	}
	key := typeExhausted + ":" + u.DeliveryID.String() + ":" + strconv.Itoa(u.Attempts)
	return &Event{Type: typeExhausted, Payload: payload, IdempotencyKey: key}
}
