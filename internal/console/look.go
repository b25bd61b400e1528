package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/client"
)

// Events lists the newest events that a filter in the API's words finds.
func (c *Console) Events(ctx context.Context, filter url.Values, most int) error {
	if c.json {
		return c.list(ctx, "/events", filter, most)
	}
	events, err := c.client.Events(ctx, filter, most)
	if err != nil {
		return err
	}
	rows := make([][]string, len(events))
	for i, e := range events {
		rows[i] = []string{
			e.ID.String(), e.Type, string(e.Status), strconv.Itoa(e.Deliveries), strconv.Itoa(e.PayloadBytes), when(e.CreatedAt),
		}
	}
	return c.table("ID TYPE STATUS DELIVERIES BYTES CREATED", rows)
}

// Event shows an event, its payload and what became of it.
func (c *Console) Event(ctx context.Context, id posthorn.EventID) error {
	if c.json {
		return c.raw(ctx, "/events/"+id.String())
	}
	e, err := c.client.Event(ctx, id)
	if err != nil {
		return err
	}
	s, err := c.client.EventStatus(ctx, id)
	if err != nil {
		return err
	}
	err = c.fields("id", e.ID.String(), "type", e.Type, "status", string(s.Status), "created", when(e.CreatedAt),
		"idempotency key", show(e.IdempotencyKey), "ordering key", show(e.OrderingKey), "content type", e.ContentType)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "\n%s\n\n", body(e.Payload))
	for _, d := range s.Deliveries {
		fmt.Fprintf(c.out, "%s  %s  %s\n  %s\n", d.ID, d.Status, plain(d.URL), plain(d.Explanation))
	}
	return nil
}

// Deliveries lists the newest deliveries that a filter in the API's words finds.
func (c *Console) Deliveries(ctx context.Context, filter url.Values, most int) error {
	if c.json {
		return c.list(ctx, "/deliveries", filter, most)
	}
	deliveries, err := c.client.Deliveries(ctx, filter, most)
	if err != nil {
		return err
	}
	rows := make([][]string, len(deliveries))
	for i, d := range deliveries {
		rows[i] = []string{
			d.ID.String(), string(d.Status), d.EventType, strconv.Itoa(d.Attempts), answer(d.LastOutcome, d.LastStatusCode),
			whenever(d.NextAttemptAt), d.URL,
		}
	}
	return c.table("ID STATUS TYPE ATTEMPTS LAST NEXT URL", rows)
}

// Delivery shows a delivery, why it is in its state, and its attempts.
func (c *Console) Delivery(ctx context.Context, id posthorn.DeliveryID) error {
	if c.json {
		return c.raw(ctx, "/deliveries/"+id.String())
	}
	d, err := c.client.Delivery(ctx, id)
	if err != nil {
		return err
	}
	attempts, err := c.client.Attempts(ctx, id)
	if err != nil {
		return err
	}
	err = c.fields("id", d.ID.String(), "event", d.EventID.String()+" "+d.EventType, "subscription", d.SubscriptionID.String(),
		"url", d.URL, "status", string(d.Status), "reason", show(d.Reason), "next attempt", whenever(d.NextAttemptAt),
		"created", when(d.CreatedAt))
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "\n%s\n\n", plain(d.Explanation))
	rows := make([][]string, len(attempts))
	for i, a := range attempts {
		rows[i] = []string{
			strconv.Itoa(a.Number), when(a.StartedAt), answer(&a.Outcome, a.StatusCode), fmt.Sprintf("%.1f", a.Timings.Total), show(a.Detail),
		}
	}
	return c.table("ATTEMPT STARTED OUTCOME MS DETAIL", rows)
}

// Subscriptions lists the newest subscriptions that a filter in the API's words finds.
func (c *Console) Subscriptions(ctx context.Context, filter url.Values, most int) error {
	if c.json {
		return c.list(ctx, "/subscriptions", filter, most)
	}
	subscriptions, err := c.client.Subscriptions(ctx, filter, most)
	if err != nil {
		return err
	}
	rows := make([][]string, len(subscriptions))
	for i, s := range subscriptions {
		rows[i] = []string{s.ID.String(), string(s.Status), types(s.EventTypes), s.URL, s.Description}
	}
	return c.table("ID STATUS TYPES URL DESCRIPTION", rows)
}

// Subscription shows a subscription.
func (c *Console) Subscription(ctx context.Context, id posthorn.SubscriptionID) error {
	if c.json {
		return c.raw(ctx, "/subscriptions/"+id.String())
	}
	s, err := c.client.Subscription(ctx, id)
	if err != nil {
		return err
	}
	retry, err := json.Marshal(s.Retry)
	if err != nil {
		return err
	}
	limit := ""
	if s.RateLimit != nil {
		limit = fmt.Sprintf("%d/%s", s.RateLimit.Limit, s.RateLimit.Per)
	}
	return c.fields("id", s.ID.String(), "url", s.URL, "description", s.Description, "status", string(s.Status),
		"disabled because", show(s.DisabledReason), "event types", types(s.EventTypes), "retry", string(retry),
		"timeout", fmt.Sprintf("%g s", s.TimeoutSeconds), "rate limit", limit, "in flight", strconv.Itoa(s.MaxInFlight),
		"ordering", string(s.Ordering), "created", when(s.CreatedAt), "updated", when(s.UpdatedAt))
}

// Secret prints the secret that signs a subscription's deliveries at present.
func (c *Console) Secret(ctx context.Context, id posthorn.SubscriptionID) error {
	secret, err := c.client.Secret(ctx, id)
	if err == nil {
		fmt.Fprintln(c.out, secret)
	}
	return err
}

// Act does what a POST does, such as /deliveries/{id}/retry without a body, and shows the answer's status.
func (c *Console) Act(ctx context.Context, path string, body any) error {
	var is json.RawMessage
	if err := c.client.Do(ctx, http.MethodPost, path, nil, body, &is); err != nil {
		return err
	}
	if c.json {
		return c.asJSON(is)
	}
	var in struct {
		ID          string `json:"id"`
		Status      string `json:"status"`
		Explanation string `json:"explanation"`
	}
	if err := json.Unmarshal(is, &in); err != nil {
		return err
	}
	fmt.Fprintln(c.out, strings.TrimSpace(in.ID+"  "+in.Status+"  "+plain(in.Explanation)))
	return nil
}

// raw prints an answer as it came.
func (c *Console) raw(ctx context.Context, path string) error {
	var is json.RawMessage
	if err := c.client.Do(ctx, http.MethodGet, path, nil, nil, &is); err != nil {
		return err
	}
	return c.asJSON(is)
}

// list prints a list as it came, page after page, as one.
func (c *Console) list(ctx context.Context, path string, filter url.Values, most int) error {
	rows, err := client.List[json.RawMessage](ctx, c.client, path, filter, most)
	if err != nil {
		return err
	}
	return c.asJSON(map[string]any{"data": rows})
}

func types(list []string) string {
	if len(list) == 0 {
		return "*"
	}
	return strings.Join(list, ",")
}
