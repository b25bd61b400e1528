package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/posthorn/posthorn"
)

// problem is the body of every error answer (RFC 9457).
type problem struct {
	Type      string       `json:"type" format:"uri-reference" example:"urn:posthorn:problem:invalid" doc:"What kind of problem it is; stable, for programs."`
	Title     string       `json:"title" example:"Invalid values" doc:"The type in words."`
	Status    int          `json:"status" example:"422" doc:"The HTTP status."`
	Detail    string       `json:"detail" example:"the request has invalid values" doc:"What happened and what to do, for people."`
	Errors    []fieldError `json:"errors,omitempty" doc:"One entry per bad field. A value that was sent is never repeated."`
	RequestID string       `json:"request_id,omitempty" example:"req_06f1kz9qj4" doc:"As in the X-Request-Id header: name it when asking for help."`

	headers http.Header
	cause   error
}

// fieldError is one bad field.
type fieldError struct {
	Location string `json:"location" example:"body.url" doc:"Where the field is: body.…, query.…, header.… or path.…"`
	Message  string `json:"message" example:"must be an absolute https URL" doc:"What would be right."`
}

// Error, GetStatus, GetHeaders and ContentType are how huma writes a problem.
func (p *problem) Error() string             { return p.Detail }
func (p *problem) Unwrap() error             { return p.cause }
func (p *problem) GetStatus() int            { return p.Status }
func (p *problem) GetHeaders() http.Header   { return p.headers }
func (p *problem) ContentType(string) string { return problemType }
func (p *problem) header(name, value string) *problem {
	if p.headers == nil {
		p.headers = http.Header{}
	}
	p.headers.Set(name, value)
	return p
}

const problemType = "application/problem+json"

// answer is how a kind of error is answered.
type answer struct {
	status      int
	name, title string
}

// answers is the one map from kinds of error to HTTP.
var answers = map[posthorn.Kind]answer{
	posthorn.Internal:        {http.StatusInternalServerError, "internal", "Internal error"},
	posthorn.Malformed:       {http.StatusBadRequest, "malformed", "Malformed request"},
	posthorn.Invalid:         {http.StatusUnprocessableEntity, "invalid", "Invalid values"},
	posthorn.Unauthenticated: {http.StatusUnauthorized, "unauthenticated", "No valid API key"},
	posthorn.Forbidden:       {http.StatusForbidden, "forbidden", "Not allowed"},
	posthorn.NotFound:        {http.StatusNotFound, "not-found", "Not found"},
	posthorn.Conflict:        {http.StatusConflict, "conflict", "Conflict"},
	posthorn.TooLarge:        {http.StatusRequestEntityTooLarge, "too-large", "Too large"},
	posthorn.RateLimited:     {http.StatusTooManyRequests, "rate-limited", "Too many requests"},
	posthorn.Unavailable:     {http.StatusServiceUnavailable, "unavailable", "Temporarily unavailable"},
	posthorn.Stale:           {http.StatusServiceUnavailable, "unavailable", "Temporarily unavailable"},
}

// The problems that only HTTP knows.
var (
	answerMethod   = answer{http.StatusMethodNotAllowed, "method-not-allowed", "Method not allowed"}
	answerTimeout  = answer{http.StatusRequestTimeout, "timeout", "Request timeout"}
	answerMedia    = answer{http.StatusUnsupportedMediaType, "unsupported-media-type", "Unsupported media type"}
	answerNotReady = answer{http.StatusServiceUnavailable, "not-ready", "Not ready"}
)

func newProblem(a answer, detail string, args ...any) *problem {
	if len(args) > 0 {
		detail = fmt.Sprintf(detail, args...)
	}
	return &problem{Type: "urn:posthorn:problem:" + a.name, Title: a.title, Status: a.status, Detail: detail}
}

// problemOf is the answer to an error. What an internal error says stays in its cause, for the log.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	e, ok := errors.AsType[*posthorn.Error](err)
	if !ok {
		return unexpected(err)
	}
	a, ok := answers[e.Kind]
	if !ok || e.Kind == posthorn.Internal {
		return unexpected(err)
	}
	p := newProblem(a, "%s", e.Message)
	p.cause = err
	if p.Errors = fieldErrors(e.Fields); p.Errors != nil {
		p.Detail += "; correct what errors names, and send it again"
	}
	switch e.Kind {
	case posthorn.Unauthenticated:
		p.header("WWW-Authenticate", `Bearer realm="posthorn"`)
	case posthorn.RateLimited, posthorn.Unavailable, posthorn.Stale:
		p.header("Retry-After", seconds(e.RetryAfter))
	}
	return p
}

// unexpected answers an error without a kind. A stream whose client is gone, or a request that outlived its time, is not our fault.
func unexpected(err error) *problem {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		p := newProblem(answers[posthorn.Unavailable],
			"the request ended before it was answered, possibly carried out; try again, publishing with the same idempotency key")
		p.cause = err
		return p.header("Retry-After", "1")
	}
	p := newProblem(answers[posthorn.Internal],
		"something went wrong on our side; try again, and report the request id if it goes on")
	p.cause = err
	return p
}

// fieldErrors are the entries of an answer: one for each place, in the order of places.
func fieldErrors(fields []posthorn.FieldError) []fieldError {
	if len(fields) == 0 {
		return nil
	}
	list := make([]fieldError, len(fields))
	for i, f := range fields {
		list[i] = fieldError{f.Location, f.Message}
	}
	slices.SortStableFunc(list, func(a, b fieldError) int { return cmp.Compare(a.Location, b.Location) })
	merged := list[:1]
	for _, f := range list[1:] {
		last := &merged[len(merged)-1]
		switch {
		case f.Location != last.Location:
			merged = append(merged, f)
		case !strings.Contains(last.Message, f.Message):
			last.Message += "; " + f.Message
		}
	}
	return merged
}

// seconds is a Retry-After: whole seconds, rounded up, at least one.
func seconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}

// under prefixes the locations of an Invalid error's fields with the place the object checked stands at.
func under(place string, err error) error {
	e, ok := errors.AsType[*posthorn.Error](err)
	if !ok || len(e.Fields) == 0 {
		return err
	}
	moved := *e
	moved.Fields = make([]posthorn.FieldError, len(e.Fields))
	for i, f := range e.Fields {
		moved.Fields[i] = posthorn.FieldError{Location: place + "." + f.Location, Message: f.Message}
	}
	return &moved
}

// further joins what is wrong with the form of a request and what is wrong with its values as far as they could be read, so
// that one answer names both. About a place whose form is wrong there is nothing more to say.
func further(form, values error) error {
	e, bad := errors.AsType[*posthorn.Error](form)
	w, worse := errors.AsType[*posthorn.Error](values)
	switch {
	case form == nil:
		return values
	case !bad || !worse || e.Kind != posthorn.Invalid || w.Kind != posthorn.Invalid:
		return form
	}
	all := *e
	all.Fields = slices.Clone(e.Fields)
	for _, f := range w.Fields {
		if !slices.ContainsFunc(e.Fields, func(known posthorn.FieldError) bool { return within(known.Location, f.Location) }) {
			all.Fields = append(all.Fields, f)
		}
	}
	return &all
}

// within reports that one of two places is the other, or in it.
func within(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	rest, ok := strings.CutPrefix(b, a)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// collect adds an Invalid error's fields.
func collect(v *posthorn.Violations, err error) {
	if e, ok := errors.AsType[*posthorn.Error](err); ok {
		*v = append(*v, e.Fields...)
	}
}

// invalid is an Invalid error about one place.
func invalid(location, format string, args ...any) error {
	var v posthorn.Violations
	v.Add(location, format, args...)
	return v.Err()
}

// writeProblem answers with a problem outside of huma's own writing.
func writeProblem(w http.ResponseWriter, p *problem) {
	header := w.Header()
	for name, values := range p.headers {
		header[name] = values
	}
	header.Set("Content-Type", problemType)
	p.RequestID = header.Get(requestIDHeader)
	if c, ok := w.(*call); ok {
		c.cause = p.cause
	}
	w.WriteHeader(p.Status)
	// The client may be gone; there is nobody else to tell.
	_ = json.MarshalWrite(w, p, jsonOptions)
}
