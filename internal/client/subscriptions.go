package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/posthorn/posthorn"
)

// Subscription as it is shown: header values are masked and there is no secret.
type Subscription struct {
	ID             posthorn.SubscriptionID `json:"id"`
	Status         posthorn.Status         `json:"status"`
	DisabledReason *string                 `json:"disabled_reason"`
	// Secret is set in the answer to a creation only.
	Secret string `json:"secret,omitempty"`
	Policy
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// Policy is what a client writes of a subscription and reads back.
type Policy struct {
	URL            string               `json:"url"`
	Description    string               `json:"description,omitempty"`
	EventTypes     []string             `json:"event_types,omitempty"`
	Headers        map[string]string    `json:"headers,omitempty"`
	Retry          posthorn.RetryPolicy `json:"retry,omitzero"`
	TimeoutSeconds float64              `json:"timeout_seconds,omitempty"`
	RateLimit      *posthorn.RateLimit  `json:"rate_limit,omitempty"`
	MaxInFlight    int                  `json:"max_in_flight,omitempty"`
	Ordering       posthorn.Ordering    `json:"ordering,omitempty"`
	OnFailure      posthorn.FailureMode `json:"on_failure,omitempty"`
	// Auth, TLS and Signature are objects of the API's, as they are.
	Auth      map[string]any    `json:"auth,omitempty"`
	TLS       map[string]any    `json:"tls,omitempty"`
	Signature map[string]any    `json:"signature,omitempty"`
	Filter    string            `json:"filter,omitempty"`
	Metadata  map[string]string `json:"metadata,omitempty"`
}

// SubscriptionInput is the body of POST and PUT: an empty Status or Secret leaves it as it is, or to the server.
type SubscriptionInput struct {
	Policy
	Status posthorn.Status `json:"status,omitempty"`
	Secret string          `json:"secret,omitempty"`
}

// Subscriptions lists at most most subscriptions, newest first; zero is all that the filter finds.
func (c *Client) Subscriptions(ctx context.Context, filter url.Values, most int) ([]Subscription, error) {
	return List[Subscription](ctx, c, "/subscriptions", filter, most)
}

// Subscription reads a subscription.
func (c *Client) Subscription(ctx context.Context, id posthorn.SubscriptionID) (Subscription, error) {
	return c.subscription(ctx, http.MethodGet, "/subscriptions/"+id.String(), nil)
}

// CreateSubscription makes a subscription; the answer holds its secret.
func (c *Client) CreateSubscription(ctx context.Context, in SubscriptionInput) (Subscription, error) {
	return c.subscription(ctx, http.MethodPost, "/subscriptions", in)
}

// ReplaceSubscription writes all of a subscription: what is empty goes back to its default, status and secret excepted.
func (c *Client) ReplaceSubscription(ctx context.Context, id posthorn.SubscriptionID, in SubscriptionInput) (Subscription, error) {
	return c.subscription(ctx, http.MethodPut, "/subscriptions/"+id.String(), in)
}

// DeleteSubscription deletes a subscription; what is pending is cancelled.
func (c *Client) DeleteSubscription(ctx context.Context, id posthorn.SubscriptionID) error {
	return c.Do(ctx, http.MethodDelete, "/subscriptions/"+id.String(), nil, nil, nil)
}

// Secret reads the secret that signs at present.
func (c *Client) Secret(ctx context.Context, id posthorn.SubscriptionID) (string, error) {
	var s struct {
		Secret string `json:"secret"`
	}
	err := c.Do(ctx, http.MethodGet, "/subscriptions/"+id.String()+"/secret", nil, nil, &s)
	return s.Secret, err
}

func (c *Client) subscription(ctx context.Context, method, path string, body any) (Subscription, error) {
	var s Subscription
	err := c.Do(ctx, method, path, url.Values{}, body, &s)
	return s, err
}
