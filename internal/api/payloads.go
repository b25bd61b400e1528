package api

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/catalogue"
)

// payloadTrial is a payload to hold against a schema. It is read apart, as events' payloads are.
type payloadTrial struct {
	Payload any      `json:"payload" doc:"Any JSON."`
	Schema  *anyJSON `json:"schema,omitempty" null:"ok" doc:"The schema to try; absent or null tries the type's own."`
}

// payloadVerdict is what a schema says of a payload.
type payloadVerdict struct {
	Valid    bool         `json:"valid" doc:"Whether the payload fulfils the schema; true without a schema."`
	Enforced bool         `json:"enforced" doc:"Whether a publish would be refused for it."`
	Errors   []fieldError `json:"errors" doc:"One entry per place, at most 20."`
}

func (h *Handler) validatePayload(ctx context.Context, c *call, p *eventTypePath, body []byte) (*reply[payloadVerdict], error) {
	name, err := p.name()
	if err != nil {
		return nil, err
	}
	t, err := h.store.GetEventType(ctx, c.tenant(), name)
	if err != nil {
		return nil, err
	}
	k, err := h.store.Catalogue(ctx, c.tenant(), math.MaxInt64)
	if err != nil {
		return nil, err
	}
	verdict := payloadVerdict{Valid: true, Enforced: len(t.Schema) > 0 && (t.Enforce || h.showCatalogue(k.Strict).StrictInForce)}
	schema, payload, err := readPayloadTrial(body, t.Schema)
	if err != nil || len(schema) == 0 {
		return replyWith(verdict), err
	}
	compiled, err := catalogue.Compile("body.schema", schema)
	if err != nil {
		return nil, err
	}
	if e, ok := errors.AsType[*posthorn.Error](compiled.Check("body.payload", payload)); ok {
		verdict.Valid, verdict.Errors = false, fieldErrors(e.Fields)
	}
	return replyWith(verdict), nil
}

// readPayloadTrial reads the body of a trial: the schema in it or the type's own, and the payload.
func readPayloadTrial(body, own []byte) (schema, payload []byte, err error) {
	if err := checkText(body, maxNesting+1); err != nil {
		return nil, nil, err
	}
	members, err := splitObject(body)
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(members, func(m member) bool { return m.name == "payload" })
	if i < 0 {
		return nil, nil, invalid("body.payload", "is required: any JSON")
	}
	payload = members[i].value
	var in payloadTrial
	if err := assign(slices.Delete(members, i, i+1), &in); err != nil {
		return nil, nil, err
	}
	if in.Schema != nil {
		return in.Schema.text(), payload, nil
	}
	return own, payload, nil
}
