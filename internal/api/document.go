package api

import (
	"io"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn"
)

const (
	bearer       = "bearer"
	cookie       = "session"
	schemaPrefix = "#/components/schemas/"
)

// jsonOptions of every answer: receivers' headers may hold invalid UTF-8 and payloads names twice, which must not fail it.
var jsonOptions = json.JoinOptions(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true),
	jsontext.PreserveRawStrings(true), json.Deterministic(true))

// appender is an answer so frequent that it writes its own JSON, which a test compares with what its fields say.
type appender interface{ appendJSON(b []byte) []byte }

func writeJSON(w io.Writer, v any) error {
	if a, ok := v.(appender); ok {
		_, err := w.Write(a.appendJSON(make([]byte, 0, 256)))
		return err
	}
	return json.MarshalWrite(w, v, jsonOptions)
}

// newAPI makes huma's part: the document, and the writing of answers. Requests are read here, strictly, not by huma.
func newAPI(router chi.Router, version string) huma.API {
	format := huma.Format{
		Marshal:   writeJSON,
		Unmarshal: func(data []byte, v any) error { return json.Unmarshal(data, v) },
	}
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Posthorn", Version: version, Description: introduction,
			},
			Servers:    []*huma.Server{{URL: "/"}},
			Tags:       tags(),
			Components: components(),
		},
		OpenAPIPath:  "/openapi",
		Formats:      map[string]huma.Format{"application/json": format, "json": format},
		Transformers: []huma.Transformer{finishProblem},
	}
	config.DefaultFormat = jsonType
	return humachi.New(router, config)
}

const introduction = `Posthorn delivers webhooks. Publish an event; every subscription that wants its type gets it, signed, retried with
exponential backoff until it succeeds or is given up, and every attempt can be read here.

- A 2xx to a publish means that the event and all its deliveries are on disk. Publish with an idempotency key and repeat after any other answer.
- Lists are newest first: ` + "`limit` 1 to 200, `cursor` from the `next_cursor` of the page before" + `. A page may be short, even empty, while ` +
	"`next_cursor`" + ` is set.
- Errors are problem details (RFC 9457) with one entry in ` + "`errors`" + ` per bad field. Unknown fields and parameters are refused.
- Times are RFC 3339 in UTC.`

func tags() []*huma.Tag {
	return []*huma.Tag{
		{Name: "Subscriptions", Description: "Who gets which events, where, and how."},
		{Name: "Events", Description: "Publish what happened and see what became of it."},
		{Name: "Event types", Description: "A catalogue of what events mean and look like, and how strictly it is kept."},
		{Name: "Sources", Description: "URLs at which signed webhooks of others come in as events."},
		{Name: "Deliveries", Description: "One event to one subscription: its state, its attempts, and what a person can do about it."},
		{Name: "Replays", Description: "Deliver many events again, in the background."},
		{Name: "Live", Description: "What happens, as it happens."},
		{Name: "Operations", Description: "Workers, the queue and statistics."},
		{Name: "Keys", Description: "API keys."},
		{Name: "Tenants", Description: "Owners of subscriptions and events."},
		{Name: "Health", Description: "How the service is."},
	}
}

func components() *huma.Components {
	c := &huma.Components{
		Schemas:   huma.NewMapRegistry(schemaPrefix, schemaName),
		Responses: map[string]*huma.Response{},
		SecuritySchemes: map[string]*huma.SecurityScheme{bearer: {
			Type: "http", Scheme: "bearer", BearerFormat: "phk_…",
			Description: "An API key. Its scopes say what it may do: publish, read, manage (includes both), admin (includes all).",
		}, cookie: {
			Type: "apiKey", In: "cookie", Name: secureSessionCookie,
			Description: "A session of the dashboard, from POST /session; without https the cookie is called " + sessionCookie + ".",
		}},
	}
	schema := c.Schemas.Schema(reflect.TypeFor[problem](), true, "")
	for status, description := range responseDescriptions {
		r := &huma.Response{
			Description: description,
			Content:     map[string]*huma.MediaType{problemType: {Schema: schema}},
		}
		if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
			r.Headers = map[string]*huma.Param{"Retry-After": {
				Description: "Seconds to wait.", Schema: &huma.Schema{Type: huma.TypeInteger},
			}}
		}
		c.Responses[responseName(status)] = r
	}
	return c
}

var responseDescriptions = map[int]string{
	http.StatusBadRequest:            "The request cannot be read: it is not JSON, or not well-formed.",
	http.StatusUnauthorized:          "No API key, or one that is unknown, expired or revoked.",
	http.StatusForbidden:             "The key lacks the scope, or the address is not allowed.",
	http.StatusNotFound:              "There is no such thing, or it belongs to another tenant.",
	http.StatusConflict:              "The present state does not allow it.",
	http.StatusRequestEntityTooLarge: "The body or the payload is larger than the limit.",
	http.StatusUnsupportedMediaType:  "The body is not declared as JSON, or is compressed.",
	http.StatusUnprocessableEntity:   "Values break a rule; `errors` names each place.",
	http.StatusTooManyRequests:       "Over a rate limit; repeat after Retry-After seconds.",
	http.StatusServiceUnavailable:    "The store cannot answer now; repeat after Retry-After seconds.",
}

func responseName(status int) string {
	return strings.ReplaceAll(http.StatusText(status), " ", "")
}

// schemaName names schemas after their types; a list[delivery] is a DeliveryList.
func schemaName(t reflect.Type, hint string) string {
	name := t.Name()
	if inner, ok := strings.CutPrefix(name, "list["); ok {
		inner = strings.TrimSuffix(inner, "]")
		return capital(inner[strings.LastIndexByte(inner, '.')+1:]) + "List"
	}
	return capital(huma.DefaultSchemaNamer(t, hint))
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// finishProblem adds the request's id to a problem and notes its cause for the log. What huma itself found wrong with
// parameters becomes a problem of ours, without the value.
func finishProblem(ctx huma.Context, _ string, v any) (any, error) {
	c := callOf(ctx.Context())
	switch p := v.(type) {
	case *problem:
		c.cause, p.RequestID = p.cause, c.id
	case *huma.ErrorModel:
		return problemOfParameters(p, c.id), nil
	}
	return v, nil
}

func problemOfParameters(model *huma.ErrorModel, id string) *problem {
	p := newProblem(answers[posthorn.Invalid], "the request has invalid values; correct what errors names, and send it again")
	p.RequestID = id
	for _, e := range model.Errors {
		p.Errors = append(p.Errors, fieldError{e.Location, strings.TrimPrefix(e.Message, "invalid value: ")})
	}
	return p
}

// finishDocument makes the document say what the answers are: lists are never null, absent objects are.
func finishDocument(doc *huma.OpenAPI) {
	schemas := doc.Components.Schemas
	delete(schemas.Map(), "ErrorModel")
	delete(schemas.Map(), "ErrorDetail")
	written := bodySchemas(doc)
	for name, s := range schemas.Map() {
		// Answers may grow: only what clients write is closed.
		if !written[name] {
			s.AdditionalProperties = nil
		}
		t := schemas.TypeFromRef(schemaPrefix + name)
		for f := range t.Fields() {
			finishProperty(s, f)
		}
	}
}

// bodySchemas names the schemas that requests are made of.
func bodySchemas(doc *huma.OpenAPI) map[string]bool {
	found := map[string]bool{}
	var visit func(s *huma.Schema)
	visit = func(s *huma.Schema) {
		if s == nil {
			return
		}
		if name := strings.TrimPrefix(s.Ref, schemaPrefix); s.Ref != "" && !found[name] {
			found[name] = true
			visit(doc.Components.Schemas.SchemaFromRef(s.Ref))
		}
		visit(s.Items)
		for _, p := range s.Properties {
			visit(p)
		}
	}
	for _, p := range doc.Paths {
		for _, op := range []*huma.Operation{p.Post, p.Put, p.Patch} {
			if op != nil && op.RequestBody != nil {
				if media := op.RequestBody.Content[jsonType]; media != nil {
					visit(media.Schema)
				}
			}
		}
	}
	return found
}

func finishProperty(s *huma.Schema, f reflect.StructField) {
	name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	p := s.Properties[name]
	if p == nil {
		return
	}
	if p.Type == huma.TypeArray {
		p.Nullable = false
	}
	if p.Nullable && p.Enum != nil {
		p.Enum = append(p.Enum, nil)
	}
	if p.Ref != "" && f.Type.Kind() == reflect.Pointer && (!strings.Contains(options, "omit") || f.Tag.Get("null") == "ok") {
		*p = huma.Schema{AnyOf: []*huma.Schema{{Ref: p.Ref}, {Type: "null"}}, Description: p.Description}
	}
}
