package console

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/client"
)

// Tail prints deliveries and attempts as they happen until ctx ends, across restarts of the server. The filter is in the
// words of GET /live.
func (c *Console) Tail(ctx context.Context, filter url.Values) error {
	names := map[posthorn.SubscriptionID]string{}
	c.note("following %s; Ctrl-C ends it", c.client.URL())
	err := c.client.Watch(ctx, client.Watch{Filter: filter, Changed: c.connection}, func(l client.Live) error {
		switch {
		case l.Reset:
			c.note("too much happened meanwhile to be told again; what follows is from now on")
			return nil
		case c.json:
			return c.asLine(l.Data)
		case l.Attempt != nil:
			c.printAttempt(l.Attempt, c.name(ctx, names, l.Attempt.SubscriptionID))
		case l.Delivery != nil:
			c.printDelivery(l.Delivery, c.name(ctx, names, l.Delivery.SubscriptionID))
		}
		return nil
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// connection tells that the server is gone, and that it is back.
func (c *Console) connection(err error) {
	if err != nil {
		c.note("connection lost, trying again: %v", err)
		return
	}
	c.note("connected again")
}

func (c *Console) printAttempt(a *client.LiveAttempt, to string) {
	fmt.Fprintf(c.out, "%s  attempt %d  %-20s %s → %s  %s  %.1f ms\n",
		clock(a.RecordedAt), a.Number, a.EventType, a.DeliveryID, to, answer(&a.Outcome, a.StatusCode), a.TotalMS)
}

func (c *Console) printDelivery(d *client.LiveDelivery, to string) {
	what := string(d.Status)
	switch {
	case d.Reason != nil:
		what += " (" + string(*d.Reason) + ")"
	case d.Attempts > 0 && d.NextAttemptAt != nil:
		what = fmt.Sprintf("retry in %s", d.NextAttemptAt.Sub(d.UpdatedAt).Round(100*time.Millisecond))
	}
	fmt.Fprintf(c.out, "%s  delivery   %-20s %s → %s  %s\n", clock(d.UpdatedAt), d.EventType, d.ID, to, what)
}

// name is how a person knows a subscription: its URL, read once, or its id where it cannot be read.
func (c *Console) name(ctx context.Context, names map[posthorn.SubscriptionID]string, id posthorn.SubscriptionID) string {
	name, ok := names[id]
	if ok {
		return name
	}
	name = id.String()
	if s, err := c.client.Subscription(ctx, id); err == nil {
		name = plain(s.URL)
	}
	names[id] = name
	return name
}

// clock is a moment as the person at the terminal has it.
func clock(t time.Time) string { return t.Local().Format("15:04:05.000") }
