package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/posthorn/posthorn"
)

// Publish is what POST /events takes.
type Publish struct {
	Type string `json:"type"`
	// Payload are the exact bytes to deliver; base64 keeps the encoder from spacing JSON its own way.
	Payload        []byte `json:"payload_base64"`
	ContentType    string `json:"content_type,omitempty"`
	IdempotencyKey string `json:"idempotency_key,omitempty"`
	OrderingKey    string `json:"ordering_key,omitempty"`
}

// Published answers a publish.
type Published struct {
	ID         posthorn.EventID `json:"id"`
	Type       string           `json:"type"`
	CreatedAt  time.Time        `json:"created_at"`
	Deliveries int              `json:"deliveries"`
	Duplicate  bool             `json:"duplicate"`
}

// Event as it is listed; Payload is there when it was read by its id.
type Event struct {
	ID             posthorn.EventID     `json:"id"`
	Type           string               `json:"type"`
	Status         posthorn.EventStatus `json:"status"`
	ContentType    string               `json:"content_type"`
	IdempotencyKey *string              `json:"idempotency_key"`
	OrderingKey    *string              `json:"ordering_key"`
	Headers        map[string]string    `json:"headers"`
	PayloadBytes   int                  `json:"payload_bytes"`
	// Payload are the exact bytes; nil where they were erased on request.
	Payload    []byte    `json:"payload_base64"`
	Deliveries int       `json:"deliveries"`
	CreatedAt  time.Time `json:"created_at"`
}

// EventStatus is what became of an event.
type EventStatus struct {
	EventID    posthorn.EventID     `json:"event_id"`
	Type       string               `json:"type"`
	Status     posthorn.EventStatus `json:"status"`
	Deliveries []Delivery           `json:"deliveries"`
}

// Publish stores an event.
func (c *Client) Publish(ctx context.Context, e Publish) (Published, error) {
	var p Published
	err := c.Do(ctx, http.MethodPost, "/events", nil, e, &p)
	return p, err
}

// Events lists at most most events, newest first; zero is all that the filter, in the API's own words, finds.
func (c *Client) Events(ctx context.Context, filter url.Values, most int) ([]Event, error) {
	return List[Event](ctx, c, "/events", filter, most)
}

// Event reads an event with its payload.
func (c *Client) Event(ctx context.Context, id posthorn.EventID) (Event, error) {
	var e Event
	err := c.Do(ctx, http.MethodGet, "/events/"+id.String(), nil, nil, &e)
	return e, err
}

// EventStatus reads what became of an event.
func (c *Client) EventStatus(ctx context.Context, id posthorn.EventID) (EventStatus, error) {
	var s EventStatus
	err := c.Do(ctx, http.MethodGet, "/events/"+id.String()+"/status", nil, nil, &s)
	return s, err
}
