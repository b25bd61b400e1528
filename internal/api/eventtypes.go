package api

import (
	"bytes"
	"context"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/catalogue"
)

const (
	eventTypeNoun = "event type"
	eventTypesTag = "Event types"
	// eventTypeBody bounds an event type's JSON: schema, example and the rest.
	eventTypeBody = posthorn.MaxSchemaBytes + posthorn.MaxExampleBytes + 64<<10
)

func (h *Handler) registerEventTypes() {
	schema := map[string]any{
		"type": "object", "required": []string{"id", "total"},
		"properties": map[string]any{"id": map[string]any{"type": "integer"}, "total": map[string]any{"type": "string"}},
	}
	full := map[string]any{
		"name": "order.created", "description": "A customer has placed an order.", "schema": schema,
		"example": map[string]any{"id": 4711, "total": "12.50"}, "enforce": true,
	}
	handleBody(h, operation{
		method: http.MethodPost, path: "/event-types", id: "createEventType", tag: eventTypesTag, scope: posthorn.ScopeManage,
		audit: "event_type.create", summary: "Create an event type", status: http.StatusCreated, example: full, maxBody: eventTypeBody, refusals: []int{http.StatusConflict},
		description: "An entry of the catalogue: what events of a type mean and look like. With enforce, or in a strict catalogue, events whose payload breaks the schema are refused with 422 and the place.",
	}, h.createEventType)
	handle(h, operation{
		method: http.MethodGet, path: "/event-types", id: "listEventTypes", tag: eventTypesTag, scope: posthorn.ScopeRead,
		summary: "List event types",
	}, h.listEventTypes)
	handle(h, operation{
		method: http.MethodGet, path: "/event-types/{name}", id: "getEventType", tag: eventTypesTag, scope: posthorn.ScopeRead,
		summary: "Read an event type",
	}, h.getEventType)
	handleBody(h, operation{
		method: http.MethodPut, path: "/event-types/{name}", id: "putEventType", tag: eventTypesTag, scope: posthorn.ScopeManage,
		audit: "event_type.replace", summary: "Write an event type", example: full, maxBody: eventTypeBody, refusals: []int{http.StatusConflict},
		description: "Creates it, or replaces what there is; fields left out go back to their defaults.",
	}, h.putEventType)
	handleRaw[eventTypePath, eventTypePatch](h, operation{
		method: http.MethodPatch, path: "/event-types/{name}", id: "patchEventType", tag: eventTypesTag, scope: posthorn.ScopeManage,
		audit: "event_type.update", summary: "Change an event type", example: map[string]any{"deprecated": true}, maxBody: eventTypeBody, mergePatch: true,
		refusals:    []int{http.StatusConflict},
		description: "Fields left out stay, null removes. A schema and an example are replaced whole.",
	}, h.patchEventType)
	handle(h, operation{
		method: http.MethodDelete, path: "/event-types/{name}", id: "deleteEventType", tag: eventTypesTag, scope: posthorn.ScopeManage,
		audit: "event_type.delete", summary: "Delete an event type", status: http.StatusNoContent,
		description: "Events and subscriptions are not touched; a strict catalogue refuses the type from now on. To say that a type goes away, set deprecated.",
	}, h.deleteEventType)
	handleRaw[eventTypePath, payloadTrial](h, operation{
		method: http.MethodPost, path: "/event-types/{name}/validate", id: "validatePayload", tag: eventTypesTag, scope: posthorn.ScopeRead,
		unaudited: "it changes nothing", summary: "Try a payload", maxBody: h.maxEventBody() + eventTypeBody, example: map[string]any{"payload": map[string]any{"id": "x"}},
		description: "Says whether a payload fulfils the type's schema, or another one. Nothing is stored or sent.",
	}, h.validatePayload)
	handle(h, operation{
		method: http.MethodGet, path: "/catalogue", id: "getCatalogue", tag: eventTypesTag, scope: posthorn.ScopeRead,
		summary: "Read how strict the catalogue is",
	}, h.getCatalogue)
	handleBody(h, operation{
		method: http.MethodPut, path: "/catalogue", id: "putCatalogue", tag: eventTypesTag, scope: posthorn.ScopeManage,
		audit: "catalogue.update", summary: "Say how strict the catalogue is", example: map[string]any{"strict": true},
		description: "A strict catalogue refuses events of types it does not have, and enforces every schema. It holds for the next event on every node.",
	}, h.putCatalogue)
}

// eventType as it is shown.
type eventType struct {
	Name        string    `json:"name" example:"order.created"`
	Description string    `json:"description"`
	Schema      *rawJSON  `json:"schema" doc:"A JSON Schema (draft 2020-12 unless it says otherwise) of the payload; null is none."`
	Example     *rawJSON  `json:"example" doc:"A payload that fulfils the schema."`
	Enforce     bool      `json:"enforce" doc:"Whether payloads that break the schema are refused; a strict catalogue refuses them all the same."`
	Deprecated  bool      `json:"deprecated" doc:"Accepted still, and on its way out."`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
}

// eventTypeInput is what a client writes. What was read may be sent back.
type eventTypeInput struct {
	Name        string   `json:"name,omitempty" maxLength:"128" pattern:"^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$" doc:"Required to create one; in a path it need not be repeated." example:"order.created"`
	Description string   `json:"description,omitempty" maxLength:"4096"`
	Schema      *anyJSON `json:"schema,omitempty" null:"ok" doc:"A JSON Schema of the payload, at most 64 KiB: draft 2020-12, or the one its $schema names. References lead nowhere but into itself."`
	Example     *anyJSON `json:"example,omitempty" null:"ok" doc:"A payload; it must fulfil the schema."`
	Enforce     bool     `json:"enforce,omitempty" doc:"Refuse events whose payload breaks the schema."`
	Deprecated  bool     `json:"deprecated,omitempty"`
	CreatedAt   *ignored `json:"created_at,omitempty" doc:"Ignored, so that what was read may be sent back."`
	UpdatedAt   *ignored `json:"updated_at,omitempty" doc:"Ignored, so that what was read may be sent back."`
}

// eventTypePatch documents a change: every field optional.
type eventTypePatch struct {
	Description *string  `json:"description,omitempty" null:"ok" nullable:"true" maxLength:"4096"`
	Schema      *anyJSON `json:"schema,omitempty" null:"ok"`
	Example     *anyJSON `json:"example,omitempty" null:"ok"`
	Enforce     *bool    `json:"enforce,omitempty"`
	Deprecated  *bool    `json:"deprecated,omitempty"`
}

// anyJSON is JSON in a body, kept as it was written.
type anyJSON struct{ jsontext.Value }

// Schema documents any JSON.
func (*anyJSON) Schema(huma.Registry) *huma.Schema { return &huma.Schema{} }

// text is what is stored; none is nil.
func (j *anyJSON) text() []byte {
	if j == nil {
		return nil
	}
	return bytes.Clone(j.Value)
}

// ignored is JSON that is not looked into, documented as a time.
type ignored struct{ anything }

// Schema documents a time.
func (*ignored) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time"}
}

type eventTypePath struct {
	Name string `path:"name" doc:"The type." example:"order.created"`
}

// name is the path's type. One that cannot be a type is answered as one that is not there.
func (p *eventTypePath) name() (string, error) {
	if posthorn.CheckType(p.Name) != "" {
		return "", posthorn.Absent(eventTypeNoun)
	}
	return p.Name, nil
}

type eventTypeQuery struct {
	Paging
	Deprecated string `query:"deprecated" enum:"true,false"`
	Text       string `query:"q" doc:"Found in the name or the description, regardless of case."`
}

// catalogueState says how strict a catalogue is.
type catalogueState struct {
	Strict        *bool `json:"strict" doc:"The tenant's own choice; null leaves it to POSTHORN_STRICT_TYPES."`
	StrictInForce bool  `json:"strict_in_force" doc:"What holds: unknown types are refused, and every schema is enforced."`
}

type catalogueInput struct {
	Strict *bool `json:"strict" required:"true" null:"ok" nullable:"true" doc:"null leaves it to POSTHORN_STRICT_TYPES."`
}

func showEventType(t *posthorn.EventType) eventType {
	return eventType{
		Name: t.Name, Description: t.Description, Schema: rawOf(t.Schema), Example: rawOf(t.Example), Enforce: t.Enforce,
		Deprecated: t.Deprecated, CreatedAt: t.CreatedAt.UTC(), UpdatedAt: t.UpdatedAt.UTC(),
	}
}

func rawOf(text []byte) *rawJSON {
	if len(text) == 0 {
		return nil
	}
	return &rawJSON{text}
}

// checkEventType checks an entry as a whole: its schema compiles, and its example fulfils it.
func checkEventType(t *posthorn.EventType) error {
	var v posthorn.Violations
	collect(&v, t.Validate())
	if len(t.Schema) > 0 && len(t.Schema) <= posthorn.MaxSchemaBytes {
		schema, err := catalogue.Compile("schema", t.Schema)
		if collect(&v, err); err == nil && len(t.Example) > 0 && len(t.Example) <= posthorn.MaxExampleBytes {
			collect(&v, schema.Check("example", t.Example))
		}
	}
	return under("body", v.Err())
}

func (h *Handler) createEventType(ctx context.Context, c *call, _ *nothing, in *eventTypeInput) (*created[eventType], error) {
	t := in.entry(c.tenant(), in.Name, h.store.Now())
	if err := checkEventType(t); err != nil {
		return nil, err
	}
	if err := h.store.CreateEventType(ctx, t); err != nil {
		return nil, err
	}
	is := showEventType(t)
	h.catalogueChanged(ctx, c, t.Name, nil, is)
	return &created[eventType]{Location: "/event-types/" + t.Name, Body: is}, nil
}

// entry is a new entry of what a client wrote.
func (in *eventTypeInput) entry(tenant posthorn.TenantID, name string, now time.Time) *posthorn.EventType {
	return &posthorn.EventType{
		TenantID: tenant, Name: name, Description: in.Description, Schema: in.Schema.text(), Example: in.Example.text(),
		Enforce: in.Enforce, Deprecated: in.Deprecated, Row: posthorn.NewUUID(now),
	}
}

// catalogueChanged notes a change for the audit log and tells the other parts that the tenant's version moved; 0 is an unknown
// newer one.
func (h *Handler) catalogueChanged(ctx context.Context, c *call, object string, before, after any) {
	c.altered(object, before, after)
	h.opts.Bus.Publish(ctx, posthorn.Signal{Changed: []posthorn.Change{{TenantID: c.tenant()}}})
}

func (h *Handler) listEventTypes(ctx context.Context, c *call, q *eventTypeQuery) (*reply[list[eventType]], error) {
	page, form := pageOf(c, &q.Paging)
	f := posthorn.EventTypeFilter{Text: q.Text}
	deprecated, err := choice("query.deprecated", q.Deprecated, []string{"true", "false"})
	if err = further(form, err); err != nil {
		return nil, err
	}
	if deprecated != "" {
		yes := deprecated == "true"
		f.Deprecated = &yes
	}
	rows, next, err := h.store.ListEventTypes(ctx, c.tenant(), f, page)
	if err != nil {
		return nil, err
	}
	return pageWith(c, rows, next, showEventType), nil
}

func (h *Handler) getEventType(ctx context.Context, c *call, p *eventTypePath) (*reply[eventType], error) {
	name, err := p.name()
	if err != nil {
		return nil, err
	}
	t, err := h.store.GetEventType(ctx, c.tenant(), name)
	if err != nil {
		return nil, err
	}
	return replyWith(showEventType(t)), nil
}

func (h *Handler) putEventType(ctx context.Context, c *call, p *eventTypePath, in *eventTypeInput) (*reply[eventType], error) {
	if in.Name != "" && in.Name != p.Name {
		return nil, invalid("body.name", "differs from the path; leave it out, or send it as it is there")
	}
	t := in.entry(c.tenant(), p.Name, h.store.Now())
	if err := checkEventType(t); err != nil {
		return nil, err
	}
	var before any
	after, err := h.store.UpdateEventType(ctx, c.tenant(), p.Name, func(e *posthorn.EventType) error {
		before = showEventType(e)
		e.Description, e.Schema, e.Example, e.Enforce, e.Deprecated = t.Description, t.Schema, t.Example, t.Enforce, t.Deprecated
		return nil
	})
	if posthorn.KindOf(err) == posthorn.NotFound {
		before, after, err = nil, t, h.store.CreateEventType(ctx, t)
	}
	if err != nil {
		return nil, err
	}
	is := showEventType(after)
	h.catalogueChanged(ctx, c, after.Name, before, is)
	return replyWith(is), nil
}

func (h *Handler) patchEventType(ctx context.Context, c *call, p *eventTypePath, body []byte) (*reply[eventType], error) {
	name, err := p.name()
	if err != nil {
		return nil, err
	}
	members, err := splitObject(body)
	if err != nil {
		return nil, err
	}
	var in eventTypePatch
	if err := assign(members, &in); err != nil {
		return nil, err
	}
	given := func(field string) bool {
		return slices.ContainsFunc(members, func(m member) bool { return m.name == field })
	}
	// Schemas are compiled before the writing transaction, which must be short.
	checked, err := h.store.GetEventType(ctx, c.tenant(), name)
	if err != nil {
		return nil, err
	}
	before := showEventType(checked)
	in.apply(checked, given)
	if err := checkEventType(checked); err != nil {
		return nil, err
	}
	after, err := h.store.UpdateEventType(ctx, c.tenant(), name, func(t *posthorn.EventType) error {
		in.apply(t, given)
		if !t.SameEntry(checked) {
			return posthorn.NewError(posthorn.Conflict, "the event type was changed at the same time; try again")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	is := showEventType(after)
	h.catalogueChanged(ctx, c, name, before, is)
	return replyWith(is), nil
}

func (in *eventTypePatch) apply(t *posthorn.EventType, given func(field string) bool) {
	if given("description") {
		t.Description = text(in.Description)
	}
	if given("schema") {
		t.Schema = in.Schema.text()
	}
	if given("example") {
		t.Example = in.Example.text()
	}
	if in.Enforce != nil {
		t.Enforce = *in.Enforce
	}
	if in.Deprecated != nil {
		t.Deprecated = *in.Deprecated
	}
}

func (h *Handler) deleteEventType(ctx context.Context, c *call, p *eventTypePath) (*nothing, error) {
	name, err := p.name()
	if err != nil {
		return nil, err
	}
	was, err := h.store.GetEventType(ctx, c.tenant(), name)
	if err != nil {
		return nil, err
	}
	if err := h.store.DeleteEventType(ctx, c.tenant(), name); err != nil {
		return nil, err
	}
	h.catalogueChanged(ctx, c, name, showEventType(was), nil)
	return nil, nil
}

func (h *Handler) getCatalogue(ctx context.Context, c *call, _ *nothing) (*reply[catalogueState], error) {
	// Its types are not asked for: none changed after the last version there can be.
	k, err := h.store.Catalogue(ctx, c.tenant(), math.MaxInt64)
	if err != nil {
		return nil, err
	}
	return replyWith(h.showCatalogue(k.Strict)), nil
}

func (h *Handler) showCatalogue(strict *bool) catalogueState {
	state := catalogueState{Strict: strict, StrictInForce: h.opts.StrictTypes}
	if strict != nil {
		state.StrictInForce = *strict
	}
	return state
}

func (h *Handler) putCatalogue(ctx context.Context, c *call, _ *nothing, in *catalogueInput) (*reply[catalogueState], error) {
	was, err := h.store.Catalogue(ctx, c.tenant(), math.MaxInt64)
	if err != nil {
		return nil, err
	}
	if err := h.store.SetStrict(ctx, c.tenant(), in.Strict); err != nil {
		return nil, err
	}
	is := h.showCatalogue(in.Strict)
	h.catalogueChanged(ctx, c, "", h.showCatalogue(was.Strict), is)
	return replyWith(is), nil
}
