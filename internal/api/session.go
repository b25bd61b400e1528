package api

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/auth"
)

const (
	// sessionCookie carries a session's token. On https it has the prefix that browsers give to no other host's cookie
	// (RFC 6265bis, section 4.1.3.2).
	sessionCookie       = "posthorn"
	secureSessionCookie = "__Host-posthorn"
	// dashboardHeader must be sent, with any value, by a request that authenticates by cookie and may change something: a
	// foreign page cannot set it without a CORS preflight, which is never granted.
	dashboardHeader = "X-Posthorn-Dashboard"
	// anyScope is the scope of operations that every key may use.
	anyScope posthorn.Scope = "any"
)

func (h *Handler) registerSession() {
	handle(h, operation{
		method: http.MethodPost, path: "/session", id: "startSession", tag: "Keys", scope: anyScope, status: http.StatusCreated,
		audit: "session.start", summary: "Sign in to the dashboard",
		description: "Exchanges the key for a session in a cookie that scripts cannot read, so that the browser need not keep the key. " +
			"It ends after 12 hours without use, after 7 days, or with the key. Requests that authenticate by it and may change something " +
			"must have the header " + dashboardHeader + ".",
	}, h.startSession)
	handle(h, operation{
		method: http.MethodGet, path: "/session", id: "getSession", tag: "Keys", scope: anyScope,
		summary: "Who am I", description: "What the key, or the session that stands for it, may do.",
	}, h.getSession)
	handle(h, operation{
		method: http.MethodDelete, path: "/session", id: "endSession", tag: "Keys", scope: anyScope, status: http.StatusNoContent,
		audit: "session.end", summary: "Sign out", description: "Ends the session on all nodes within 5 seconds. With a key instead of a session nothing ends.",
	}, h.endSession)
}

// session says who is asking.
type session struct {
	TenantID   posthorn.TenantID `json:"tenant_id"`
	TenantName string            `json:"tenant_name" example:"acme"`
	KeyID      posthorn.KeyID    `json:"key_id"`
	KeyName    string            `json:"key_name" example:"billing"`
	KeyPrefix  string            `json:"key_prefix" example:"phk_k7w2m"`
	Scopes     []posthorn.Scope  `json:"scopes" enum:"publish,read,manage,admin"`
	Via        posthorn.Via      `json:"via" enum:"key,session"`
	ExpiresAt  *time.Time        `json:"expires_at" doc:"When the session ends if it is not used again, or the key ends; null for a key without an end."`
}

func showSession(id *auth.Identity) session {
	is := session{
		TenantID: id.Tenant.ID, TenantName: id.Tenant.Name, KeyID: id.Key.ID, KeyName: id.Key.Name, KeyPrefix: id.Key.Prefix,
		Scopes: id.Key.Scopes, Via: viaOf(id), ExpiresAt: optional(id.Key.ExpiresAt),
	}
	if id.Session != nil {
		if end := id.Session.ExpiresAt(); is.ExpiresAt == nil || end.Before(*is.ExpiresAt) {
			is.ExpiresAt = optional(end)
		}
	}
	return is
}

func viaOf(id *auth.Identity) posthorn.Via {
	if id.Session != nil {
		return posthorn.ViaSession
	}
	return posthorn.ViaKey
}

func (h *Handler) startSession(ctx context.Context, c *call, _ *nothing) (*reply[session], error) {
	if c.identity.Session != nil {
		return nil, posthorn.NewError(posthorn.Unauthenticated, "a session cannot make another one; send the API key as `Authorization: Bearer phk_…`")
	}
	token, s, err := h.opts.Auth.StartSession(ctx, c.identity)
	if err != nil {
		return nil, err
	}
	c.altered(c.identity.Key.ID.String(), nil, nil)
	h.setCookie(c, token, posthorn.SessionLife)
	return replyWith(showSession(&auth.Identity{Key: c.identity.Key, Tenant: c.identity.Tenant, Session: s})), nil
}

func (h *Handler) getSession(_ context.Context, c *call, _ *nothing) (*reply[session], error) {
	return replyWith(showSession(c.identity)), nil
}

func (h *Handler) endSession(ctx context.Context, c *call, _ *nothing) (*nothing, error) {
	if c.identity.Session == nil {
		c.unaltered()
		return nil, nil
	}
	if err := h.opts.Auth.EndSession(ctx, c.identity); err != nil {
		return nil, err
	}
	c.altered(c.identity.Key.ID.String(), nil, nil)
	h.opts.Bus.Publish(ctx, posthorn.Signal{Keys: true})
	h.setCookie(c, "", 0)
	return nil, nil
}

// setCookie gives the browser a token for a time, or takes it away.
func (h *Handler) setCookie(c *call, token string, life time.Duration) {
	cookie := &http.Cookie{
		Name: sessionCookie, Value: token, Path: "/", MaxAge: int(life.Seconds()), HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
	if life == 0 {
		cookie.MaxAge = -1
	}
	if h.overTLS(c) {
		cookie.Name, cookie.Secure = secureSessionCookie, true
	}
	http.SetCookie(c, cookie)
}

// overTLS reports whether the browser reached us by https: as it says itself in Origin, as the connection is, or as a trusted
// proxy says. Origin could only be forged by who holds the key, to no end.
func (h *Handler) overTLS(c *call) bool {
	r := c.request
	if r.TLS != nil || strings.HasPrefix(r.Header.Get("Origin"), "https://") {
		return true
	}
	socket := auth.ClientAddr(r, nil)
	return containsAddr(h.opts.TrustedProxies, socket) && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

func containsAddr(list []netip.Prefix, a netip.Addr) bool {
	return len(list) > 0 && auth.Admits(list, a)
}

// sessionToken is the token of a request's cookie, or "". Where several cookies have the name, which only a foreign host
// can bring about, none counts.
func sessionToken(r *http.Request) string {
	for _, name := range []string{secureSessionCookie, sessionCookie} {
		switch found := r.CookiesNamed(name); len(found) {
		case 0:
		case 1:
			return found[0].Value
		default:
			return ""
		}
	}
	return ""
}

// checkSite refuses what a foreign page may have sent along with the cookie. SameSite=Strict keeps the cookie from other
// sites already; this keeps other origins of the same site out, and older browsers.
func checkSite(r *http.Request) error {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return posthorn.NewError(posthorn.Forbidden, "a session is for the dashboard's own pages; use an API key from elsewhere")
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Header.Get(dashboardHeader) == "" {
		return posthorn.NewError(posthorn.Forbidden,
			"a request by session that may change something must have the header "+dashboardHeader+"; programs use an API key")
	}
	return nil
}
