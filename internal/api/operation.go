package api

import (
	"context"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/posthorn/posthorn"
)

// operation declares one operation: what the router, the guard and the document must know of it.
type operation struct {
	method, path         string
	id, tag              string
	summary, description string
	// scope is what a key must have; open marks the operations that need no key. Exactly one of the two is set.
	scope posthorn.Scope
	open  bool
	// publishes says that the limits on publishing apply.
	publishes bool
	// status of success: 200 unless set.
	status int
	// refusals are the statuses of errors beyond those that follow from the rest.
	refusals []int
	// maxBody bounds the body in bytes: 64 KiB unless set.
	maxBody int64
	// mergePatch admits application/merge-patch+json beside application/json.
	mergePatch bool
	// anyMedia admits bodies of every media type: they are not JSON of ours but what somebody else sends.
	anyMedia bool
	// optionalBody says that no body is an empty object.
	optionalBody bool
	// example of the body.
	example any
	// audit is the action under which each success goes into the audit log: a noun and a verb. An operation that can change
	// something has it, or says in unaudited why it needs none; so does one that shows a secret.
	audit, unaudited string
}

const defaultMaxBody = 64 << 10

// operationKey finds an operation in huma's metadata.
const operationKey = "posthorn"

// handle registers an operation without a body. P holds its parameters.
func handle[P, O any](h *Handler, op operation, do func(ctx context.Context, c *call, params *P) (*O, error)) {
	huma.Register(h.api, describe(op, false, hasQuery(reflect.TypeFor[P]())), func(ctx context.Context, params *P) (*O, error) {
		c := callOf(ctx)
		out, err := do(ctx, c, params)
		if err = h.audit(ctx, c, &op, err); err != nil {
			return nil, problemOf(err)
		}
		return out, nil
	})
}

// handleRaw registers an operation that reads its own body, which B documents.
func handleRaw[P, B, O any](h *Handler, op operation, do func(ctx context.Context, c *call, params *P, body []byte) (*O, error)) {
	if op.maxBody == 0 {
		op.maxBody = defaultMaxBody
	}
	registered := describe(op, true, hasQuery(reflect.TypeFor[P]()))
	huma.Register(h.api, registered, func(ctx context.Context, params *P) (*O, error) {
		c := callOf(ctx)
		text := []byte("{}")
		if !op.optionalBody || c.request.ContentLength != 0 {
			body, err := h.readBody(c, &op)
			if err != nil {
				return nil, problemOf(err)
			}
			defer body.free()
			text = body.Bytes()
		}
		out, err := do(ctx, c, params, text)
		if err = h.audit(ctx, c, &op, err); err != nil {
			return nil, problemOf(err)
		}
		return out, nil
	})
	// Documented only after huma has registered the operation: it would read the body otherwise.
	documented := h.api.OpenAPI().Paths[op.path]
	documentBody(h.api.OpenAPI().Components.Schemas, methodOf(documented, op.method), &op, reflect.TypeFor[B]())
}

// handleBody registers an operation whose body is decoded strictly into B.
func handleBody[P, B, O any](h *Handler, op operation, do func(ctx context.Context, c *call, params *P, body *B) (*O, error)) {
	handleRaw[P, B, O](h, op, func(ctx context.Context, c *call, params *P, raw []byte) (*O, error) {
		var body B
		if err := decode(raw, &body); err != nil {
			return nil, err
		}
		return do(ctx, c, params, &body)
	})
}

// reply is the output of an operation with a body.
type reply[T any] struct{ Body T }

func replyWith[T any](body T) *reply[T] { return &reply[T]{body} }

// created is a reply with the place of what was created.
type created[T any] struct {
	Location string `header:"Location" doc:"Where to read what was created."`
	Body     T
}

// nothing is the input without parameters and the output without a body.
type nothing struct{}

func describe(op operation, body, query bool) huma.Operation {
	if op.open == (op.scope != "") {
		panic("operation " + op.id + " must either be open or have a scope")
	}
	if op.status == 0 {
		op.status = http.StatusOK
	}
	d := huma.Operation{
		Method: op.method, Path: op.path, OperationID: op.id, Tags: []string{op.tag},
		Summary: op.summary, Description: op.description, DefaultStatus: op.status, SkipValidateParams: true,
		Metadata: map[string]any{operationKey: &op}, Responses: map[string]*huma.Response{},
	}
	if op.scope != "" {
		d.Security = []map[string][]string{{bearer: {}}, {cookie: {}}}
		d.Extensions = map[string]any{"x-scope": string(op.scope)}
		needs := "Needs a key with the scope `" + string(op.scope) + "`."
		if op.scope == anyScope {
			needs = "Needs a key, whatever its scopes."
		}
		d.Description = strings.TrimSpace(d.Description + "\n\n" + needs)
	}
	for _, status := range refusals(&op, body, query) {
		d.Responses[strconv.Itoa(status)] = &huma.Response{Ref: "#/components/responses/" + responseName(status)}
	}
	return d
}

// refusals are the statuses of an operation's errors.
func refusals(op *operation, body, query bool) []int {
	list := append([]int{http.StatusServiceUnavailable}, op.refusals...)
	if !op.open {
		list = append(list, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests)
	}
	if strings.Contains(op.path, "{") {
		list = append(list, http.StatusNotFound)
	}
	if query && !op.open {
		list = append(list, http.StatusUnprocessableEntity)
	}
	if body {
		list = append(list, http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
			http.StatusUnprocessableEntity)
	}
	return list
}

func hasQuery(t reflect.Type) bool {
	for f := range t.Fields() {
		if _, ok := f.Tag.Lookup("query"); ok || f.Anonymous && hasQuery(f.Type) {
			return true
		}
	}
	return false
}

func documentBody(schemas huma.Registry, d *huma.Operation, op *operation, t reflect.Type) {
	if op.anyMedia {
		binary := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
		d.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"*/*": binary}}
		return
	}
	media := &huma.MediaType{Schema: schemas.Schema(t, true, ""), Example: op.example}
	d.RequestBody = &huma.RequestBody{Required: !op.optionalBody, Content: map[string]*huma.MediaType{"application/json": media}}
	if op.mergePatch {
		d.RequestBody.Content[mergePatchType] = media
	}
}

func methodOf(p *huma.PathItem, method string) *huma.Operation {
	switch method {
	case http.MethodGet:
		return p.Get
	case http.MethodPost:
		return p.Post
	case http.MethodPut:
		return p.Put
	case http.MethodPatch:
		return p.Patch
	default:
		return p.Delete
	}
}

// operationOf is what an operation was declared as.
func operationOf(d *huma.Operation) *operation {
	op, _ := d.Metadata[operationKey].(*operation)
	return op
}
