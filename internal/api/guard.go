package api

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/auth"
)

// unknownKeys bounds, per client address, how many keys a second are looked up in the store that the cache does not
// know: a flood of made-up keys must not become a flood of queries.
var unknownKeys = posthorn.RateLimit{Limit: 100, Per: "second"}

// guard stands before every operation: the key, its scope, the limits, and the names of the query's parameters.
func (h *Handler) guard(ctx huma.Context, next func(huma.Context)) {
	c, op := callOf(ctx.Context()), operationOf(ctx.Operation())
	c.path, c.object = op.path, ctx.Param("id")
	err := h.admit(c, op)
	if err == nil && !op.open {
		err = checkQuery(c.request.URL, ctx.Operation().Parameters)
	}
	if err != nil {
		writeProblem(c, problemOf(err))
		return
	}
	next(ctx)
}

func (h *Handler) admit(c *call, op *operation) error {
	if op.open {
		return h.admitOpen(c, op)
	}
	id, err := h.recognise(c)
	if err != nil {
		h.refused(c, err)
		return err
	}
	c.identity = id
	if err := h.charge(c, op.publishes, 1, 0); err != nil {
		return err
	}
	if op.scope != anyScope && !id.Key.Allows(op.scope) {
		return posthorn.NewError(posthorn.Forbidden, "this key does not have the scope %s; use one that has it", op.scope)
	}
	return nil
}

// recognise finds out who is asking: by the key of the Authorization header, or without one by the session's cookie.
func (h *Handler) recognise(c *call) (*auth.Identity, error) {
	ctx := c.request.Context()
	known, authenticate, text := h.opts.Auth.Known, h.opts.Auth.Authenticate, bearerKey(c.request.Header)
	if len(c.request.Header["Authorization"]) == 0 {
		if token := sessionToken(c.request); token != "" {
			if err := checkSite(c.request); err != nil {
				return nil, err
			}
			known, authenticate, text = h.opts.Auth.KnownSession, h.opts.Auth.AuthenticateSession, token
		}
	}
	if h.opts.Limiter != nil && !known(text) {
		ok, _, wait := h.opts.Limiter.Allow(ctx, "unknown:"+c.from.String(), unknownKeys, 1, 0)
		if !ok {
			return nil, limited(wait)
		}
	}
	return authenticate(ctx, text, c.from)
}

// refused counts a failed sign-in by its kind. They are not stored: strangers could make any number.
func (h *Handler) refused(c *call, err error) {
	if h.opts.Refused == nil {
		return
	}
	switch kind := posthorn.KindOf(err); {
	case kind == posthorn.Unauthenticated && len(c.request.Header["Authorization"]) == 0 && sessionToken(c.request) == "":
		h.opts.Refused("nothing")
	case kind == posthorn.Unauthenticated && len(c.request.Header["Authorization"]) == 0:
		h.opts.Refused("session")
	case kind == posthorn.Unauthenticated:
		h.opts.Refused("key")
	case kind == posthorn.Forbidden:
		h.opts.Refused("origin")
	case kind == posthorn.RateLimited:
		h.opts.Refused("rate")
	}
}

// bearerKey is the key of an Authorization header, or "" when there is none, or more than one.
func bearerKey(header http.Header) string {
	values := header["Authorization"]
	if len(values) != 1 {
		return ""
	}
	scheme, key, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(key)
}

func limited(wait time.Duration) error {
	return &posthorn.Error{
		Kind: posthorn.RateLimited, RetryAfter: wait,
		Message: "too many requests; wait as long as Retry-After says",
	}
}

// bound is one limit that applies to a request.
type bound struct {
	name, counter string
	limit         posthorn.RateLimit
}

// charge counts a request, or the events in it, against every limit that applies, and says in the RateLimit headers
// (draft-ietf-httpapi-ratelimit-headers) what is left. A key's limit counts all its requests, the tenant's and the
// global one what is published. Already is how many of the request's events were counted before.
func (h *Handler) charge(c *call, publishes bool, n, already int) error {
	if h.opts.Limiter == nil || n == 0 {
		return nil
	}
	return h.count(c, h.bounds(c, publishes), n, already)
}

// count is charge against limits that are known.
func (h *Handler) count(c *call, bounds []bound, n, already int) error {
	var left, policy []string
	for _, b := range bounds {
		ok, remaining, wait := h.opts.Limiter.Allow(c.request.Context(), b.counter, b.limit, n, already)
		state := `"` + b.name + `";r=` + strconv.Itoa(max(remaining, 0))
		if !ok {
			state += ";t=" + seconds(wait)
		}
		left = append(left, state)
		policy = append(policy, `"`+b.name+`";q=`+strconv.Itoa(b.limit.Limit)+
			`;w=`+strconv.Itoa(int(b.limit.Interval().Seconds())))
		if !ok {
			setLimits(c.Header(), left, policy)
			return limited(wait)
		}
	}
	setLimits(c.Header(), left, policy)
	return nil
}

func setLimits(header http.Header, left, policy []string) {
	if len(left) > 0 {
		header.Set("RateLimit", strings.Join(left, ", "))
		header.Set("RateLimit-Policy", strings.Join(policy, ", "))
	}
}

func (h *Handler) bounds(c *call, publishes bool) []bound {
	var list []bound
	if limit := c.identity.Key.RateLimit; limit != nil {
		list = append(list, bound{"key", "key:" + c.identity.Key.ID.String(), *limit})
	}
	if !publishes {
		return list
	}
	return h.publishBounds(list, c.identity.Tenant)
}

// publishBounds adds the limits on what a tenant publishes.
func (h *Handler) publishBounds(list []bound, t *posthorn.Tenant) []bound {
	limit := t.RateLimit
	if limit == nil {
		limit = h.opts.TenantLimit
	}
	if limit != nil {
		list = append(list, bound{"tenant", "tenant:" + t.ID.String(), *limit})
	}
	if h.opts.GlobalLimit != nil {
		list = append(list, bound{"global", "global", *h.opts.GlobalLimit})
	}
	return list
}

// checkQuery refuses a query that cannot be read, and parameters that are unknown, repeated or not text: a misspelt
// filter that is ignored answers another question than the one asked.
func checkQuery(u *url.URL, known []*huma.Param) error {
	if u.RawQuery == "" {
		return nil
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return posthorn.NewError(posthorn.Malformed, "the query cannot be read; percent-encode its values (RFC 3986, section 2.1)")
	}
	var v posthorn.Violations
	for name, values := range query {
		switch {
		case !knows(known, name):
			v.Add("query."+shown(name), "is not a parameter of this operation; it knows %s", names(known))
		case len(values) > 1:
			v.Add("query."+name, "must be given once; separate several values by commas where a list is expected")
		case !utf8.ValidString(values[0]) || strings.ContainsRune(values[0], 0):
			v.Add("query."+name, "must be UTF-8 text without NUL")
		}
	}
	return v.Err()
}

func knows(known []*huma.Param, name string) bool {
	for _, p := range known {
		if p.In == "query" && p.Name == name {
			return true
		}
	}
	return false
}

func names(known []*huma.Param) string {
	var list []string
	for _, p := range known {
		if p.In == "query" {
			list = append(list, p.Name)
		}
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// maxShown is how long a name is repeated: shorter than any secret that this product makes, long enough for a field.
const maxShown = 32

// shown is a name a client made up, fit to be repeated: one that could be a field's. Anything else may be a secret in the
// wrong place, of which only the length is told.
func shown(name string) string {
	if len(name) > maxShown || strings.HasPrefix(name, "whsec_") || strings.HasPrefix(name, auth.KeyPrefix) || !fieldLike(name) {
		return "(a name of " + strconv.Itoa(len(name)) + " bytes)"
	}
	return name
}

// fieldLike reports whether a name has a field's or a header's form.
func fieldLike(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && c != '_' && (i == 0 || c != '-' && c != '.' && (c < '0' || c > '9')) {
			return false
		}
	}
	return name != ""
}
