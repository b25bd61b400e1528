package api

import (
	"context"
	"net/http"
	"slices"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/filter"
)

func (h *Handler) registerFilters() {
	handleRaw[subscriptionPath, filterTrial](h, operation{
		method: http.MethodPost, path: "/subscriptions/{id}/filter/test", id: "testFilter", tag: "Subscriptions", scope: posthorn.ScopeRead,
		unaudited: "it changes nothing", summary: "Try a filter", maxBody: filter.MaxPayload + subscriptionBody,
		example:     map[string]any{"filter": "payload.amount > 100", "type": "order.created", "payload": map[string]any{"amount": 150}},
		description: "Says what the subscription's filter, or another one, would do with an event. Nothing is stored or sent, and event_types are not looked at.",
	}, h.testFilter)
}

// filterTrial is a filter and an event to try it on. Its payload is read apart, as events' payloads are.
type filterTrial struct {
	Filter  *string           `json:"filter,omitempty" null:"ok" nullable:"true" maxLength:"4096" doc:"The filter to try; absent or null tries the subscription's own."`
	Type    string            `json:"type" required:"true" maxLength:"128" example:"order.created"`
	Payload any               `json:"payload" doc:"Any JSON."`
	Headers map[string]string `json:"headers,omitempty" doc:"The event's own headers."`
}

// filterVerdict is what a filter says of an event.
type filterVerdict struct {
	Matches bool    `json:"matches" doc:"Whether the event would be delivered."`
	Error   *string `json:"error" doc:"Why the filter fails on this event, which would make its delivery be born cancelled; null when it does not."`
}

func (h *Handler) testFilter(ctx context.Context, c *call, p *subscriptionPath, body []byte) (*reply[filterVerdict], error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	s, err := h.store.GetSubscription(ctx, c.tenant(), id)
	if err != nil {
		return nil, err
	}
	in, e, err := readTrial(body)
	if err != nil {
		return nil, err
	}
	expression := s.Filter
	if in.Filter != nil {
		expression = *in.Filter
	}
	if expression == "" {
		return replyWith(filterVerdict{Matches: true}), nil
	}
	compiled, err := filter.Compile(expression)
	if err != nil {
		return nil, invalid("body.filter", "%s", err.Error())
	}
	matches, err := compiled.Match(filter.Of(e))
	if err != nil {
		why := err.Error()
		return replyWith(filterVerdict{Error: &why}), nil
	}
	return replyWith(filterVerdict{Matches: matches}), nil
}

// readTrial reads the body of a trial and the event that it describes.
func readTrial(body []byte) (*filterTrial, *posthorn.Event, error) {
	if err := checkText(body, maxNesting+1); err != nil {
		return nil, nil, err
	}
	members, err := splitObject(body)
	if err != nil {
		return nil, nil, err
	}
	var v posthorn.Violations
	e := &posthorn.Event{}
	if i := slices.IndexFunc(members, func(m member) bool { return m.name == "payload" }); i >= 0 {
		e.Payload = members[i].value
		members = slices.Delete(members, i, i+1)
	} else {
		v.Add("body.payload", "is required: any JSON")
	}
	var in filterTrial
	if err := assign(members, &in); err != nil {
		collect(&v, err)
	} else if fault := posthorn.CheckType(in.Type); fault != "" {
		v.Add("body.type", "%s", fault)
	}
	e.Type, e.Headers = in.Type, in.Headers
	return &in, e, v.Err()
}

// checkFilter adds what is wrong with a subscription's filter, whose length is checked elsewhere.
func checkFilter(v *posthorn.Violations, expression string) {
	if expression == "" || len([]rune(expression)) > posthorn.MaxFilter {
		return
	}
	if _, err := filter.Compile(expression); err != nil {
		v.Add("filter", "%s", err.Error())
	}
}
