package api

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/auth"
)

const (
	keyNoun = "key"
	// maxNetworks bounds an allowlist.
	maxNetworks = 100
)

func (h *Handler) registerKeys() {
	handleBody(h, operation{
		method: http.MethodPost, path: "/keys", id: "createKey", tag: "Keys", scope: posthorn.ScopeAdmin,
		audit: "key.create", summary: "Create a key", status: http.StatusCreated,
		example:     map[string]any{"name": "billing", "scopes": []string{"publish"}},
		description: "The answer holds the key, which is shown this once: only its hash is kept.",
	}, h.createKey)
	handle(h, operation{
		method: http.MethodGet, path: "/keys", id: "listKeys", tag: "Keys", scope: posthorn.ScopeAdmin,
		summary: "List keys", description: "Revoked and expired ones included.",
	}, h.listKeys)
	handle(h, operation{
		method: http.MethodDelete, path: "/keys/{id}", id: "revokeKey", tag: "Keys", scope: posthorn.ScopeAdmin,
		audit: "key.revoke", summary: "Revoke a key", status: http.StatusNoContent, description: "Takes effect within 5 seconds on all nodes.",
		refusals: []int{http.StatusConflict},
	}, h.revokeKey)
}

// apiKey is a key as it is shown.
type apiKey struct {
	ID          posthorn.KeyID    `json:"id" example:"key_06f1kz9qj4v3g7c8n2m5x0y1za"`
	TenantID    posthorn.TenantID `json:"tenant_id"`
	Name        string            `json:"name"`
	Prefix      string            `json:"prefix" example:"phk_k7w2m" doc:"Its first characters, to recognise it by."`
	Scopes      []posthorn.Scope  `json:"scopes" enum:"publish,read,manage,admin"`
	RateLimit   *rateLimit        `json:"rate_limit"`
	IPAllowlist []string          `json:"ip_allowlist"`
	CreatedAt   time.Time         `json:"created_at"`
	ExpiresAt   *time.Time        `json:"expires_at"`
	LastUsedAt  *time.Time        `json:"last_used_at" doc:"To the minute."`
	RevokedAt   *time.Time        `json:"revoked_at"`
}

// newAPIKey answers the creation of a key.
type newAPIKey struct {
	ID          posthorn.KeyID    `json:"id"`
	Key         string            `json:"key" example:"phk_k7w2m…" doc:"The key itself, this once."`
	TenantID    posthorn.TenantID `json:"tenant_id"`
	Name        string            `json:"name"`
	Prefix      string            `json:"prefix"`
	Scopes      []posthorn.Scope  `json:"scopes" enum:"publish,read,manage,admin"`
	RateLimit   *rateLimit        `json:"rate_limit"`
	IPAllowlist []string          `json:"ip_allowlist"`
	CreatedAt   time.Time         `json:"created_at"`
	ExpiresAt   *time.Time        `json:"expires_at"`
}

type keyInput struct {
	Name        string             `json:"name" required:"true" maxLength:"128"`
	Scopes      []posthorn.Scope   `json:"scopes" required:"true" enum:"publish,read,manage,admin" minItems:"1"`
	TenantID    *posthorn.TenantID `json:"tenant_id,omitempty" doc:"The key's tenant; your own by default."`
	ExpiresAt   *time.Time         `json:"expires_at,omitempty" null:"ok"`
	RateLimit   *rateLimit         `json:"rate_limit,omitempty" null:"ok" doc:"Bounds all requests with this key; a batch counts its events."`
	IPAllowlist []string           `json:"ip_allowlist,omitempty" maxItems:"100" doc:"Addresses and networks (CIDR) it may be used from; empty is everywhere." example:"[\"203.0.113.0/24\"]"`
}

type tenantQuery struct {
	TenantID string `query:"tenant_id" doc:"Another tenant than your own."`
}

// tenant is the tenant named, or the key's own.
func (q *tenantQuery) tenant(c *call) (posthorn.TenantID, error) {
	if q.TenantID == "" {
		return c.tenant(), nil
	}
	return filterID[posthorn.TenantID]("query.tenant_id", "tnt_", q.TenantID)
}

type keyQuery struct {
	Paging
	TenantID string `query:"tenant_id" doc:"Another tenant than your own."`
}

type keyPath struct {
	ID       string `path:"id" doc:"The key's id." example:"key_06f1kz9qj4v3g7c8n2m5x0y1za"`
	TenantID string `query:"tenant_id" doc:"Another tenant than your own."`
}

func (h *Handler) createKey(ctx context.Context, c *call, _ *nothing, in *keyInput) (*created[newAPIKey], error) {
	now := h.store.Now()
	text := auth.Generate()
	key := auth.NewKey(text, in.Name, in.Scopes...)
	key.ID, key.TenantID, key.CreatedAt = posthorn.KeyID{UUID: posthorn.NewUUID(now)}, c.tenant(), now
	key.RateLimit = (*posthorn.RateLimit)(in.RateLimit)
	if in.ExpiresAt != nil {
		key.ExpiresAt = in.ExpiresAt.UTC()
	}
	if err := in.check(key, now); err != nil {
		return nil, err
	}
	if in.TenantID != nil && !in.TenantID.IsZero() {
		if _, err := h.store.GetTenant(ctx, *in.TenantID); err != nil {
			return nil, err
		}
		key.TenantID = *in.TenantID
	}
	if err := h.store.CreateKey(ctx, key); err != nil {
		return nil, err
	}
	is := showKey(key)
	c.alteredFor(key.TenantID, key.ID.String(), nil, is)
	return &created[newAPIKey]{Location: "/keys", Body: newAPIKey{
		ID: is.ID, Key: text, TenantID: is.TenantID, Name: is.Name, Prefix: is.Prefix, Scopes: is.Scopes, RateLimit: is.RateLimit,
		IPAllowlist: is.IPAllowlist, CreatedAt: is.CreatedAt, ExpiresAt: is.ExpiresAt,
	}}, nil
}

func (in *keyInput) check(key *posthorn.Key, now time.Time) error {
	var v posthorn.Violations
	checkName(&v, in.Name)
	known := []posthorn.Scope{posthorn.ScopePublish, posthorn.ScopeRead, posthorn.ScopeManage, posthorn.ScopeAdmin}
	if len(in.Scopes) == 0 {
		v.Add("scopes", "must name at least one of %s", joined(known))
	}
	for i, s := range in.Scopes {
		if !slices.Contains(known, s) {
			v.Add("scopes["+strconv.Itoa(i)+"]", "must be one of %s", joined(known))
		}
	}
	slices.Sort(key.Scopes)
	key.Scopes = slices.Compact(key.Scopes)
	if in.ExpiresAt != nil && !in.ExpiresAt.After(now) {
		v.Add("expires_at", "must be later than now")
	}
	(*posthorn.RateLimit)(in.RateLimit).Check(&v, "rate_limit")
	key.IPAllowlist = networks(&v, in.IPAllowlist)
	return under("body", v.Err())
}

func checkName(v *posthorn.Violations, name string) {
	if fault := posthorn.CheckName(name); fault != "" {
		v.Add("name", "%s", fault)
	}
}

// networks reads an allowlist; a single address is a network of one.
func networks(v *posthorn.Violations, list []string) []netip.Prefix {
	if len(list) > maxNetworks {
		v.Add("ip_allowlist", "must have at most %d entries", maxNetworks)
		return nil
	}
	var parsed []netip.Prefix
	for i, text := range list {
		p, err := posthorn.ParseNetwork(text)
		if err != nil {
			v.Add("ip_allowlist["+strconv.Itoa(i)+"]", "must be an address or a network like 203.0.113.0/24")
			continue
		}
		parsed = append(parsed, p)
	}
	return parsed
}

func (h *Handler) listKeys(ctx context.Context, c *call, q *keyQuery) (*reply[list[apiKey]], error) {
	page, err := pageOf(c, &q.Paging)
	if err != nil {
		return nil, err
	}
	tenant, err := (&tenantQuery{q.TenantID}).tenant(c)
	if err != nil {
		return nil, err
	}
	rows, next, err := h.store.ListKeys(ctx, tenant, page)
	if err != nil {
		return nil, err
	}
	return pageWith(c, rows, next, showKey), nil
}

func (h *Handler) revokeKey(ctx context.Context, c *call, p *keyPath) (*nothing, error) {
	tenant, err := (&tenantQuery{p.TenantID}).tenant(c)
	if err != nil {
		return nil, err
	}
	id, err := pathID[posthorn.KeyID](keyNoun, p.ID)
	if err != nil {
		return nil, err
	}
	if id == c.identity.Key.ID {
		return nil, posthorn.NewError(posthorn.Conflict, "a key cannot revoke itself; use another one, or the command posthorn keys revoke")
	}
	if err := h.store.RevokeKey(ctx, tenant, id); err != nil {
		return nil, err
	}
	c.alteredFor(tenant, id.String(), nil, nil)
	h.opts.Auth.Invalidate()
	h.opts.Bus.Publish(ctx, posthorn.Signal{Keys: true})
	return nil, nil
}

func showKey(k *posthorn.Key) apiKey {
	return apiKey{
		ID: k.ID, TenantID: k.TenantID, Name: k.Name, Prefix: k.Prefix, Scopes: k.Scopes, RateLimit: (*rateLimit)(k.RateLimit),
		IPAllowlist: prefixes(k.IPAllowlist), CreatedAt: k.CreatedAt.UTC(), ExpiresAt: optional(k.ExpiresAt),
		LastUsedAt: optional(k.LastUsedAt), RevokedAt: optional(k.RevokedAt),
	}
}

func prefixes(list []netip.Prefix) []string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = p.String()
	}
	return texts
}
