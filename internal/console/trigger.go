package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/client"
)

// statusPoll is how often a triggered event's status is read while it is waited for.
const statusPoll = 200 * time.Millisecond

// Trigger is one event to publish.
type Trigger struct {
	Type    string
	Payload []byte
	// ContentType of a payload; a payload that is no JSON needs one other than application/json.
	ContentType                 string
	IdempotencyKey, OrderingKey string
	// Wait is how long to wait for the deliveries to end; zero does not.
	Wait time.Duration
}

// Trigger publishes an event and prints the answer, and with Wait what became of it: an error unless it was delivered to all who want it.
func (c *Console) Trigger(ctx context.Context, t Trigger) error {
	e := client.Publish{
		Type: t.Type, Payload: t.Payload, ContentType: t.ContentType, IdempotencyKey: t.IdempotencyKey, OrderingKey: t.OrderingKey,
	}
	if len(e.Payload) == 0 {
		e.Payload = []byte("{}")
	}
	if t.ContentType == "" && !json.Valid(e.Payload) {
		return errors.New("the payload is not JSON: name its content type with --content-type to send it as it is")
	}
	p, err := c.client.Publish(ctx, e)
	if err != nil {
		return err
	}
	if c.json && t.Wait == 0 {
		return c.asJSON(p)
	}
	if !c.json {
		again := ""
		if p.Duplicate {
			again = " (published before with the same key)"
		}
		fmt.Fprintf(c.out, "%s  %s to %s%s\n", p.ID, p.Type, count(p.Deliveries, "subscription"), again)
	}
	if t.Wait == 0 {
		return nil
	}
	s, err := c.settled(ctx, p.ID, t.Wait)
	if err != nil {
		return err
	}
	if c.json {
		if err := c.asJSON(s); err != nil {
			return err
		}
		return verdict(s.Status, t.Wait)
	}
	fmt.Fprintf(c.out, "%s\n", s.Status)
	for _, d := range s.Deliveries {
		fmt.Fprintf(c.out, "  %s  %s\n    %s\n", d.ID, plain(d.URL), plain(d.Explanation))
	}
	return verdict(s.Status, t.Wait)
}

// verdict is an error unless everything that was wanted arrived: scripts go by the exit code. Nothing was, where nobody wants the event.
func verdict(s posthorn.EventStatus, waited time.Duration) error {
	switch s {
	case posthorn.EventPending:
		return fmt.Errorf("not delivered within %s; it is tried further", waited)
	case posthorn.EventFailed:
		return errors.New("not delivered")
	case posthorn.EventPartial:
		return errors.New("not delivered to every subscription")
	}
	return nil
}

// settled waits for an event's status to be something else than pending, and gives the last one when it takes too long.
func (c *Console) settled(ctx context.Context, id posthorn.EventID, most time.Duration) (client.EventStatus, error) {
	enough := time.After(most)
	for {
		s, err := c.client.EventStatus(ctx, id)
		if err != nil || s.Status != posthorn.EventPending {
			return s, err
		}
		select {
		case <-time.After(statusPoll):
		case <-enough:
			return s, nil
		case <-ctx.Done():
			return s, ctx.Err()
		}
	}
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
