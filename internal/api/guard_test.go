package api

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"github.com/posthorn/posthorn"
)

// route is one operation of the document.
type route struct {
	method, path string
	op           *huma.Operation
}

func routes(h *Handler) []route {
	var list []route
	for path, item := range h.OpenAPI().Paths {
		for method, op := range map[string]*huma.Operation{
			http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodPatch: item.Patch,
			http.MethodDelete: item.Delete,
		} {
			if op != nil {
				list = append(list, route{method, path, op})
			}
		}
	}
	slices.SortFunc(list, func(a, b route) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return list
}

// absent is an id that nothing has, of the noun a path is about.
func absent(path string) string {
	prefix := map[string]string{
		"subscriptions": "sub", "events": "evt", "deliveries": "dlv", "keys": "key", "workers": "node", "replays": "rpl",
		"sources": "src", "ingest": "src",
	}
	noun, _, _ := strings.Cut(path[1:], "/")
	return strings.ReplaceAll(path, "{id}", prefix[noun]+"_01m8547nx0e1qbsjvyf4n6x9ff")
}

// TestEveryRouteIsGuarded sends each operation with no key, and with a key of each scope: what a key may do is what the
// operation declares, and nothing is left out.
func TestEveryRouteIsGuarded(t *testing.T) {
	s := open(t, nil)
	scopes := map[posthorn.Scope][]posthorn.Scope{
		posthorn.ScopePublish: {posthorn.ScopePublish},
		posthorn.ScopeRead:    {posthorn.ScopeRead},
		posthorn.ScopeManage:  {posthorn.ScopePublish, posthorn.ScopeRead, posthorn.ScopeManage},
		posthorn.ScopeAdmin:   {posthorn.ScopePublish, posthorn.ScopeRead, posthorn.ScopeManage, posthorn.ScopeAdmin},
	}
	keys := map[posthorn.Scope]string{}
	cookies := map[posthorn.Scope]*http.Cookie{}
	for scope := range scopes {
		keys[scope] = s.addKey(s.home, nil, scope)
		cookies[scope] = s.signIn(keys[scope])
	}
	for _, r := range routes(s.handler) {
		t.Run(r.method+strings.ReplaceAll(r.path, "/", "-"), func(t *testing.T) {
			needs, _ := r.op.Extensions["x-scope"].(string)
			status := s.status(r, nil)
			if needs == "" {
				if r.op.Tags[0] != "Health" && r.path != "/ingest/{id}" || status == http.StatusUnauthorized {
					t.Fatalf("an operation without a scope answers %d; only health and what is signed are open", status)
				}
				return
			}
			if status != http.StatusUnauthorized {
				t.Errorf("without a key it answers %d", status)
			}
			for scope, key := range keys {
				allowed := needs == string(anyScope) || slices.Contains(scopes[scope], posthorn.Scope(needs))
				if status := s.status(r, http.Header{"Authorization": {"Bearer " + key}}); allowed != (status != http.StatusForbidden) || status == 401 || status >= 500 {
					t.Errorf("needs %s, with a key for %s it answers %d", needs, scope, status)
				}
				s.checkCookie(r, cookies[scope], scope, allowed)
			}
		})
	}
}

// checkCookie sends an operation with a session's cookie: it may do what its key may, from the dashboard's own pages alone.
func (s *site) checkCookie(r route, cookie *http.Cookie, scope posthorn.Scope, allowed bool) {
	s.t.Helper()
	header := func(site, dashboard string) http.Header {
		h := http.Header{"Cookie": {cookie.Name + "=" + cookie.Value}}
		if site != "" {
			h.Set("Sec-Fetch-Site", site)
		}
		if dashboard != "" {
			h.Set(dashboardHeader, dashboard)
		}
		return h
	}
	if r.path == "/session" && r.method != http.MethodGet {
		// These two are about the session itself: TestSession.
		return
	}
	if status := s.status(r, header("same-origin", "1")); allowed != (status != http.StatusForbidden) || status == 401 || status >= 500 {
		s.t.Errorf("%s %s answers a session for %s with %d", r.method, r.path, scope, status)
	}
	for _, foreign := range []http.Header{header("cross-site", "1"), header("same-site", "1")} {
		if status := s.status(r, foreign); status != http.StatusForbidden {
			s.t.Errorf("%s %s from a foreign page is answered %d", r.method, r.path, status)
		}
	}
	if status := s.status(r, header("", "")); r.method != http.MethodGet && status != http.StatusForbidden {
		s.t.Errorf("%s %s by cookie alone is answered %d", r.method, r.path, status)
	}
}

// status sends an operation with an empty object about nothing there is. The live stream is left once it began.
func (s *site) status(r route, header http.Header) int {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, s.server.URL+absent(r.path), strings.NewReader("{}"))
	must(s.t, err)
	req.Header.Set("Content-Type", "application/json")
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := s.server.Client().Do(req)
	must(s.t, err)
	resp.Body.Close()
	return resp.StatusCode
}

// TestEveryPathIsDocumented finds what the router knows and the document does not.
func TestEveryPathIsDocumented(t *testing.T) {
	s := open(t, nil)
	known := map[string]bool{}
	for _, r := range routes(s.handler) {
		known[r.method+" "+r.path] = true
	}
	for _, page := range []string{
		"/", "/docs", "/docs/", "/docs/start.js", "/docs/reference.js", "/openapi.json", "/openapi.yaml", "/openapi-3.0.json", "/openapi-3.0.yaml",
	} {
		known["GET "+page] = true
	}
	known["HEAD /live"] = true
	must(t, chi.Walk(s.handler.router, func(method, path string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if !known[method+" "+path] {
			t.Errorf("%s %s is served and neither documented nor a page", method, path)
		}
		return nil
	}))
}

// TestOtherTenantsAreAbsent asks for each thing of one tenant with an admin key of another: as if it were not there.
func TestOtherTenantsAreAbsent(t *testing.T) {
	s := open(t, nil)
	subscription := s.subscribe(s.admin, nil)
	event := s.publish(s.admin, "a.b")
	dlv := s.deliveries(s.admin, event)[0].ID.String()
	key := s.call(http.MethodPost, "/keys", s.admin, map[string]any{"name": "k", "scopes": []string{"read"}}).want(201).object()["id"].(string)
	source := s.call(http.MethodPost, "/sources", s.admin, map[string]any{"name": "s", "provider": "github"}).want(201).object()["id"].(string)
	replay := s.call(http.MethodPost, "/replays", s.admin, `{"filter":{"event_type":["a.b"]}}`).want(202).object()["id"].(string)
	ids := map[string]string{
		"subscriptions": subscription, "events": event, "deliveries": dlv, "keys": key, "sources": source, "replays": replay,
	}
	tried := 0
	for _, r := range routes(s.handler) {
		noun, _, _ := strings.Cut(r.path[1:], "/")
		// Workers belong to the operator, not to a tenant.
		if !strings.Contains(r.path, "{id}") || noun == "workers" || noun == "ingest" {
			continue
		}
		tried++
		body := any(map[string]any{"url": "https://example.com"})
		if !strings.HasPrefix(r.path, "/subscriptions/{id}") || strings.HasSuffix(r.path, "rotate") || strings.HasSuffix(r.path, "resume") {
			body = map[string]any{}
		}
		if noun == "sources" && r.method == http.MethodPut {
			body = map[string]any{"name": "s", "provider": "github"}
		}
		theirs := s.call(r.method, strings.ReplaceAll(r.path, "{id}", ids[noun]), s.foreign, body)
		none := s.call(r.method, absent(r.path), s.foreign, body)
		if r.path == "/keys/{id}" {
			// Revoking is idempotent and says nothing about whether there was such a key.
			if theirs.status != none.status {
				t.Errorf("%s %s: %d for another tenant's, %d for none", r.method, r.path, theirs.status, none.status)
			}
			continue
		}
		if theirs.status != http.StatusNotFound || withoutID(theirs) != withoutID(none) {
			t.Errorf("%s %s: another tenant's is answered %d %s, an absent one %d %s", r.method, r.path, theirs.status, theirs.body, none.status, none.body)
		}
	}
	if tried < 15 {
		t.Errorf("only %d routes were tried", tried)
	}
	s.call(http.MethodGet, "/subscriptions/"+subscription, s.admin, nil).want(http.StatusOK)
	for _, path := range []string{"/subscriptions", "/events", "/deliveries", "/replays"} {
		var l list[any]
		s.call(http.MethodGet, path, s.foreign, nil).want(http.StatusOK).into(&l)
		if len(l.Data) != 0 {
			t.Errorf("%s shows another tenant's: %v", path, l.Data)
		}
	}
	for _, k := range s.keyList(s.admin) {
		if k.ID.String() == key && k.RevokedAt != nil {
			t.Error("another tenant revoked the key")
		}
	}
}

func withoutID(a answered) string {
	return strings.ReplaceAll(string(a.body), a.header.Get(requestIDHeader), "")
}

func (s *site) keyList(key string) []apiKey {
	var l list[apiKey]
	s.call(http.MethodGet, "/keys", key, nil).want(http.StatusOK).into(&l)
	return l.Data
}

func TestKeysEnd(t *testing.T) {
	s := open(t, nil)
	revoked := s.addKey(s.home, func(k *posthorn.Key) { k.RevokedAt = s.store.Now() }, posthorn.ScopeAdmin)
	expired := s.addKey(s.home, func(k *posthorn.Key) { k.ExpiresAt = s.store.Now().Add(-time.Second) }, posthorn.ScopeAdmin)
	for _, key := range []string{revoked, expired, "phk_", s.admin + "x", strings.ToUpper(s.admin)} {
		a := s.call(http.MethodGet, "/events", key, nil).want(http.StatusUnauthorized)
		if a.header.Get("WWW-Authenticate") == "" {
			t.Error("a 401 does not say how to authenticate")
		}
	}
	var made newAPIKey
	s.call(http.MethodPost, "/keys", s.admin, map[string]any{"name": "brief", "scopes": []string{"read"}}).want(http.StatusCreated).into(&made)
	s.call(http.MethodGet, "/events", made.Key, nil).want(http.StatusOK)
	s.call(http.MethodDelete, "/keys/"+made.ID.String(), s.admin, nil).want(http.StatusNoContent)
	s.call(http.MethodGet, "/events", made.Key, nil).want(http.StatusUnauthorized)
}

func TestTwoAuthorizationsAreNone(t *testing.T) {
	s := open(t, nil)
	s.callWith(http.MethodGet, "/events", "", nil, http.Header{"Authorization": {"Bearer " + s.admin, "Bearer " + s.admin}}).want(http.StatusUnauthorized)
	s.callWith(http.MethodGet, "/events", "", nil, http.Header{"Authorization": {"bearer " + s.admin}}).want(http.StatusOK)
	s.callWith(http.MethodGet, "/events", "", nil, http.Header{"Authorization": {"Basic " + s.admin}}).want(http.StatusUnauthorized)
}

func TestAllowlists(t *testing.T) {
	proxy := netip.MustParsePrefix("127.0.0.0/8")
	s := open(t, func(o *Options) { o.TrustedProxies = []netip.Prefix{proxy} })
	key := s.addKey(s.home, func(k *posthorn.Key) { k.IPAllowlist = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")} }, posthorn.ScopeRead)
	s.call(http.MethodGet, "/events", key, nil).want(http.StatusForbidden)
	from := func(hops string) answered {
		return s.callWith(http.MethodGet, "/events", key, nil, http.Header{"X-Forwarded-For": {hops}})
	}
	from("203.0.113.7").want(http.StatusOK)
	from("198.51.100.1, 203.0.113.7, 127.0.0.2").want(http.StatusOK)
	from("203.0.113.7, 198.51.100.1").want(http.StatusForbidden)
}

func TestRateLimits(t *testing.T) {
	s := open(t, func(o *Options) { o.TenantLimit = &posthorn.RateLimit{Limit: 3, Per: "minute"} })
	body := map[string]any{"type": "a", "payload": 1}
	first := s.call(http.MethodPost, "/events", s.admin, body).want(http.StatusAccepted)
	if got := first.header.Get("RateLimit"); got != `"tenant";r=2` {
		t.Errorf("RateLimit: %s", got)
	}
	if got := first.header.Get("RateLimit-Policy"); got != `"tenant";q=3;w=60` {
		t.Errorf("RateLimit-Policy: %s", got)
	}
	batch := map[string]any{"events": []any{body, body, body}}
	s.call(http.MethodPost, "/events/batch", s.admin, batch).want(http.StatusTooManyRequests)
	s.call(http.MethodPost, "/events", s.admin, body).want(http.StatusAccepted)
	over := s.call(http.MethodPost, "/events", s.admin, body).want(http.StatusTooManyRequests)
	if after := over.header.Get("Retry-After"); after == "" || after == "0" {
		t.Errorf("Retry-After: %q", after)
	}
	s.call(http.MethodGet, "/events", s.admin, nil).want(http.StatusOK)
	s.call(http.MethodPost, "/events", s.foreign, body).want(http.StatusAccepted)

	slow := s.addKey(s.other, func(k *posthorn.Key) { k.RateLimit = &posthorn.RateLimit{Limit: 1, Per: "minute"} }, posthorn.ScopeRead)
	s.call(http.MethodGet, "/events", slow, nil).want(http.StatusOK)
	s.call(http.MethodGet, "/events", slow, nil).want(http.StatusTooManyRequests)
}

// TestBatchAboveTheLimit lets a batch of more events than a limit through where nothing else was asked for: it could be sent never else.
func TestBatchAboveTheLimit(t *testing.T) {
	s := open(t, func(o *Options) { o.TenantLimit = &posthorn.RateLimit{Limit: 3, Per: "minute"} })
	body := map[string]any{"type": "a", "payload": 1}
	batch := map[string]any{"events": []any{body, body, body, body, body}}
	s.call(http.MethodPost, "/events/batch", s.admin, batch).want(http.StatusOK)
	over := s.call(http.MethodPost, "/events", s.admin, body).want(http.StatusTooManyRequests)
	if after, err := strconv.Atoi(over.header.Get("Retry-After")); err != nil || after <= 60 {
		t.Errorf("Retry-After is %d (%v), want more than the minute that three events take", after, err)
	}
	s.call(http.MethodPost, "/events", s.foreign, body).want(http.StatusAccepted)
	s.call(http.MethodPost, "/events/batch", s.foreign, batch).want(http.StatusTooManyRequests)
}

func TestUnknownKeysAreSlowedDown(t *testing.T) {
	s := open(t, nil)
	slowed := false
	for range unknownKeys.Limit + 20 {
		slowed = slowed || s.call(http.MethodGet, "/events", "phk_"+strings.Repeat("x", 52), nil).status == http.StatusTooManyRequests
	}
	if !slowed {
		t.Error("made-up keys are looked up without bound")
	}
	s.call(http.MethodGet, "/health/live", "", nil).want(http.StatusOK)
}

func TestQueriesAreStrict(t *testing.T) {
	known := []*huma.Param{{Name: "limit", In: "query"}, {Name: "cursor", In: "query"}, {Name: "id", In: "path"}}
	tests := []struct{ name, query, want string }{
		{"None", "", "none"},
		{"Known", "limit=1&cursor=x", "none"},
		{"Unknown", "order=sideways", "422\nquery.order is not a parameter of this operation; it knows limit, cursor"},
		{"OtherCase", "Limit=1", "422\nquery.Limit is not a parameter of this operation; it knows limit, cursor"},
		{"NotTheQuerys", "id=1", "422\nquery.id is not a parameter of this operation; it knows limit, cursor"},
		{"Twice", "limit=1&limit=2", "422\nquery.limit must be given once; separate several values by commas where a list is expected"},
		{"BadEscape", "limit=%zz", "400 the query cannot be read; percent-encode its values (RFC 3986, section 2.1)"},
		{"Semicolon", "limit=1;cursor=2", "400 the query cannot be read; percent-encode its values (RFC 3986, section 2.1)"},
		{"NotUTF8", "cursor=%ff%fe", "422\nquery.cursor must be UTF-8 text without NUL"},
		{"NUL", "cursor=%00", "422\nquery.cursor must be UTF-8 text without NUL"},
		{"NameUnprintable", "%00%ff=1", "422\nquery.(a name of 2 bytes) is not a parameter of this operation; it knows limit, cursor"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := faults(checkQuery(&url.URL{RawQuery: test.query}, known)); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
