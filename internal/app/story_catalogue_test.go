package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	. "github.com/posthorn/posthorn/internal/hooktest"
)

// TestStoryStrictCatalogue: what the catalogue does not have, and what breaks its schema, is refused with the exact place and
// reaches nobody; the rest is delivered. A change of the catalogue holds for the next event.
func TestStoryStrictCatalogue(t *testing.T) {
	const paid = "invoice.paid"
	const schema = `{"type":"object","required":["amount"],"properties":{"amount":{"type":"integer"},
		"lines":{"type":"array","items":{"type":"object","properties":{"sku":{"type":"string"}}}}}}`
	s := NewStory(t)
	s.Setup(func(setup *Setup) { setup.Strict = true })
	shop := s.Subscribe("shop")
	payload := func(text string) func(*posthorn.Event) {
		return func(e *posthorn.Event) { e.Payload = []byte(text) }
	}
	refused := func(at time.Duration, eventType, text, place string) {
		s.Do(At(at), "publish what is refused", func(n *Node) {
			_, err := n.Publisher.Publish(context.Background(), n.Tenant, &posthorn.Event{Type: eventType, Payload: []byte(text)})
			e, ok := errors.AsType[*posthorn.Error](err)
			if !ok || e.Kind != posthorn.Invalid || len(e.Fields) != 1 || e.Fields[0].Location != place {
				t.Errorf("%s of %s: %v, want it refused at %s", text, eventType, err, place)
			}
		})
	}

	refused(0, paid, `{"amount":12}`, "type")
	s.Do(At(time.Minute), "add the type", func(n *Node) {
		added := &posthorn.EventType{
			TenantID: n.Tenant, Name: paid, Row: posthorn.NewUUID(n.Store.Now()), Schema: json.RawMessage(schema),
		}
		if err := n.Store.CreateEventType(context.Background(), added); err != nil {
			t.Error(err)
		}
	})
	refused(2*time.Minute, "invoice.pald", `{"amount":12}`, "type")
	refused(3*time.Minute, paid, `{}`, "payload.amount")
	refused(4*time.Minute, paid, `{"amount":12,"lines":[{"sku":"a"},{"sku":7}]}`, "payload.lines[1].sku")
	whole := s.Publish(At(time.Hour), paid, payload(`{"amount":12,"lines":[{"sku":"a"}]}`))
	s.Want(shop, At(time.Hour), Of(whole), Attempt(1))
	part := s.Publish(At(2*time.Hour), paid, payload(`{"amount":0}`))
	s.Want(shop, At(2*time.Hour), Of(part), Attempt(1))

	s.Do(At(3*time.Hour), "ask for more", func(n *Node) {
		_, err := n.Store.UpdateEventType(context.Background(), n.Tenant, paid, func(e *posthorn.EventType) error {
			e.Schema = json.RawMessage(`{"properties":{"amount":{"type":"integer","minimum":100}}}`)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	refused(3*time.Hour+time.Second, paid, `{"amount":12}`, "payload.amount")
	more := s.Publish(At(3*time.Hour+time.Minute), paid, payload(`{"amount":120}`))
	s.Want(shop, At(3*time.Hour+time.Minute), Of(more), Attempt(1))
	s.Do(At(4*time.Hour), "delete the type", func(n *Node) {
		if err := n.Store.DeleteEventType(context.Background(), n.Tenant, paid); err != nil {
			t.Error(err)
		}
	})
	refused(4*time.Hour+time.Second, paid, `{"amount":120}`, "type")
	s.Do(At(5*time.Hour), "look at the events", func(n *Node) {
		list, _, err := n.Store.ListEvents(context.Background(), n.Tenant, posthorn.EventFilter{}, posthorn.Page{Limit: 10})
		if err != nil || len(list) != 3 {
			t.Errorf("%d events are kept, %v; want the 3 accepted", len(list), err)
		}
	})
	s.Run()
}
