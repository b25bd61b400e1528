package api

import (
	"bufio"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

// signIn exchanges a key for a session's cookie.
func (s *site) signIn(key string) *http.Cookie {
	s.t.Helper()
	a := s.call(http.MethodPost, "/session", key, nil).want(http.StatusCreated)
	return (&http.Response{Header: a.header}).Cookies()[0]
}

// by calls as a page of the dashboard does.
func (s *site) by(cookie *http.Cookie, method, path string, body any) answered {
	s.t.Helper()
	return s.callWith(method, path, "", body, http.Header{
		"Cookie": {cookie.Name + "=" + cookie.Value}, dashboardHeader: {"1"}, "Sec-Fetch-Site": {"same-origin"},
	})
}

func TestSession(t *testing.T) {
	s := open(t, nil)
	cookie := s.signIn(s.admin)
	if cookie.Name != sessionCookie || !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || cookie.Secure ||
		cookie.MaxAge != int(posthorn.SessionLife.Seconds()) {
		t.Errorf("the cookie is %s", cookie)
	}
	var who session
	s.by(cookie, http.MethodGet, "/session", nil).want(http.StatusOK).into(&who)
	if who.TenantName != "home" || who.KeyName != "test" || !slices.Equal(who.Scopes, []posthorn.Scope{posthorn.ScopeAdmin}) || who.Via != posthorn.ViaSession ||
		who.ExpiresAt == nil || time.Until(*who.ExpiresAt) > posthorn.SessionIdle || time.Until(*who.ExpiresAt) < posthorn.SessionIdle-time.Minute {
		t.Errorf("who am I: %+v", who)
	}
	s.call(http.MethodGet, "/session", s.admin, nil).want(http.StatusOK).into(&who)
	if who.Via != posthorn.ViaKey || who.ExpiresAt != nil {
		t.Errorf("who am I by key: %+v", who)
	}
	s.by(cookie, http.MethodPost, "/session", nil).want(http.StatusUnauthorized)
	s.by(cookie, http.MethodPost, "/subscriptions", map[string]any{"url": "https://example.com"}).want(http.StatusCreated)
	if e := s.logged("?action=subscription.create")[0]; e.Via != posthorn.ViaSession || e.KeyID == nil {
		t.Errorf("logged as %+v", e)
	}
	gone := s.by(cookie, http.MethodDelete, "/session", nil).want(http.StatusNoContent)
	if taken := (&http.Response{Header: gone.header}).Cookies(); len(taken) != 1 || taken[0].MaxAge >= 0 || taken[0].Name != cookie.Name {
		t.Errorf("the cookie is not taken away: %v", taken)
	}
	s.by(cookie, http.MethodGet, "/session", nil).want(http.StatusUnauthorized)
	s.call(http.MethodDelete, "/session", s.admin, nil).want(http.StatusNoContent)
	s.call(http.MethodGet, "/session", s.admin, nil).want(http.StatusOK)
}

func TestSessionCookieOverTLS(t *testing.T) {
	s := open(t, func(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	for _, header := range []http.Header{{"Origin": {"https://posthorn.example"}}, {"X-Forwarded-Proto": {"https"}}} {
		a := s.callWith(http.MethodPost, "/session", s.admin, nil, header).want(http.StatusCreated)
		cookie := (&http.Response{Header: a.header}).Cookies()[0]
		if cookie.Name != "__Host-posthorn" || !cookie.Secure {
			t.Errorf("over https the cookie is %s", cookie)
		}
		s.by(cookie, http.MethodGet, "/session", nil).want(http.StatusOK)
	}
	untrusting := open(t, nil)
	a := untrusting.callWith(http.MethodPost, "/session", untrusting.admin, nil, http.Header{"X-Forwarded-Proto": {"https"}})
	if (&http.Response{Header: a.header}).Cookies()[0].Secure {
		t.Error("anybody's X-Forwarded-Proto is believed")
	}
}

// TestSessionIsOfOneCookie plants another host's cookie beside the session's.
func TestSessionIsOfOneCookie(t *testing.T) {
	s := open(t, nil)
	good, planted := s.signIn(s.admin), s.signIn(s.foreign)
	s.callWith(http.MethodGet, "/session", "", nil,
		http.Header{"Cookie": {"posthorn=" + planted.Value + "; posthorn=" + good.Value}}).want(http.StatusUnauthorized)
	var who session
	s.callWith(http.MethodGet, "/session", "", nil,
		http.Header{"Cookie": {"posthorn=" + planted.Value + "; __Host-posthorn=" + good.Value}}).want(http.StatusOK).into(&who)
	if who.TenantName != "home" {
		t.Errorf("the planted cookie wins: %+v", who)
	}
	// A key goes before a cookie.
	s.callWith(http.MethodGet, "/session", s.foreign, nil, http.Header{"Cookie": {"posthorn=" + good.Value}}).want(http.StatusOK).into(&who)
	if who.TenantName != "other" {
		t.Errorf("the cookie goes before the key: %+v", who)
	}
	s.callWith(http.MethodGet, "/session", "phk_x", nil, http.Header{"Cookie": {"posthorn=" + good.Value}}).want(http.StatusUnauthorized)
}

func TestSessionEndsWithItsKey(t *testing.T) {
	s := open(t, nil)
	var made newAPIKey
	s.call(http.MethodPost, "/keys", s.admin, map[string]any{"name": "brief", "scopes": []string{"read"}}).want(http.StatusCreated).into(&made)
	cookie := s.signIn(made.Key)
	s.by(cookie, http.MethodGet, "/events", nil).want(http.StatusOK)
	s.call(http.MethodDelete, "/keys/"+made.ID.String(), s.admin, nil).want(http.StatusNoContent)
	s.by(cookie, http.MethodGet, "/events", nil).want(http.StatusUnauthorized)
}

func TestSessionWatches(t *testing.T) {
	s := open(t, nil)
	cookie := s.signIn(s.admin)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.server.URL+"/live", nil)
	must(t, err)
	r.AddCookie(cookie)
	resp, err := s.server.Client().Do(r)
	must(t, err)
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	if !lines.Scan() || resp.StatusCode != http.StatusOK {
		t.Fatalf("the stream answers %d", resp.StatusCode)
	}
	s.subscribe(s.admin, nil)
	s.publish(s.admin, "a.b")
	s.work(nil)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "event: attempt") {
			return
		}
	}
	t.Error("the stream ends without the attempt")
}

func TestRefusalsAreCounted(t *testing.T) {
	var reasons counted
	s := open(t, func(o *Options) { o.Refused = reasons.add })
	cookie := s.signIn(s.admin)
	s.call(http.MethodGet, "/events", "", nil)
	s.call(http.MethodGet, "/events", "phk_"+strings.Repeat("x", 52), nil)
	s.callWith(http.MethodGet, "/events", "", nil, http.Header{"Cookie": {"posthorn=" + strings.Repeat("x", 52)}})
	s.callWith(http.MethodGet, "/events", "", nil, http.Header{"Cookie": {"posthorn=" + cookie.Value}, "Sec-Fetch-Site": {"cross-site"}})
	s.call(http.MethodGet, "/events", s.admin, nil)
	if got := reasons.all(); !slices.Equal(got, []string{"nothing", "key", "session", "origin"}) {
		t.Errorf("counted %v", got)
	}
}

// TestNoForeignPage checks what keeps other origins and frames out of every answer.
func TestNoForeignPage(t *testing.T) {
	s := open(t, nil)
	for _, path := range []string{"/", "/docs", "/events", "/openapi.json", "/nowhere"} {
		for _, method := range []string{http.MethodGet, http.MethodOptions} {
			a := s.callWith(method, path, "", nil, http.Header{"Origin": {"https://evil.example"}, "Access-Control-Request-Method": {"POST"}})
			for name := range a.header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s %s grants %s", method, path, name)
				}
			}
			policy := a.header.Get("Content-Security-Policy")
			if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") ||
				strings.Contains(policy, "script-src 'self' 'unsafe-inline'") || a.header.Get("X-Frame-Options") != "DENY" {
				t.Errorf("%s %s: the policy is %q", method, path, policy)
			}
		}
	}
}

// counted gathers reasons in order.
type counted struct {
	mu   sync.Mutex
	list []string
}

func (c *counted) add(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, why)
}

func (c *counted) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.list)
}
