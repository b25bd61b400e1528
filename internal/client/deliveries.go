package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/posthorn/posthorn"
)

// Delivery as it is shown. In an EventStatus only the fields named there are set.
type Delivery struct {
	ID             posthorn.DeliveryID     `json:"id"`
	EventID        posthorn.EventID        `json:"event_id"`
	EventType      string                  `json:"event_type"`
	SubscriptionID posthorn.SubscriptionID `json:"subscription_id"`
	URL            string                  `json:"url"`
	Status         posthorn.State          `json:"status"`
	Reason         *posthorn.Reason        `json:"reason"`
	Attempts       int                     `json:"attempts"`
	NextAttemptAt  *time.Time              `json:"next_attempt_at"`
	InFlight       bool                    `json:"in_flight"`
	LastOutcome    *posthorn.Outcome       `json:"last_outcome"`
	LastStatusCode *int                    `json:"last_status_code"`
	LastError      *string                 `json:"last_error"`
	Explanation    string                  `json:"explanation"`
	CreatedAt      time.Time               `json:"created_at"`
	UpdatedAt      time.Time               `json:"updated_at"`
}

// Attempt is one HTTP request and what came back, as far as the commands show it.
type Attempt struct {
	ID         posthorn.AttemptID `json:"id"`
	Number     int                `json:"number"`
	Manual     bool               `json:"manual"`
	Outcome    posthorn.Outcome   `json:"outcome"`
	StatusCode *int               `json:"status_code"`
	Error      *string            `json:"error"`
	Detail     *string            `json:"detail"`
	Timings    struct {
		Total float64 `json:"total_ms"`
	} `json:"timings"`
	StartedAt time.Time `json:"started_at"`
}

// Deliveries lists at most most deliveries, newest first; zero is all that the filter finds.
func (c *Client) Deliveries(ctx context.Context, filter url.Values, most int) ([]Delivery, error) {
	return List[Delivery](ctx, c, "/deliveries", filter, most)
}

// Delivery reads a delivery.
func (c *Client) Delivery(ctx context.Context, id posthorn.DeliveryID) (Delivery, error) {
	var d Delivery
	err := c.Do(ctx, http.MethodGet, "/deliveries/"+id.String(), nil, nil, &d)
	return d, err
}

// Attempts lists a delivery's attempts, oldest first.
func (c *Client) Attempts(ctx context.Context, id posthorn.DeliveryID) ([]Attempt, error) {
	var p Page[Attempt]
	err := c.Do(ctx, http.MethodGet, "/deliveries/"+id.String()+"/attempts", nil, nil, &p)
	return p.Data, err
}
