package api

import (
	"context"
	"net/http"
	"time"

	"github.com/posthorn/posthorn"
)

func (h *Handler) registerTenants() {
	handleBody(h, operation{
		method: http.MethodPost, path: "/tenants", id: "createTenant", tag: "Tenants", scope: posthorn.ScopeAdmin,
		audit: "tenant.create", summary: "Create a tenant", status: http.StatusCreated, refusals: []int{http.StatusConflict},
		example:     map[string]any{"name": "acme"},
		description: "Create its first key with POST /keys and its tenant_id.",
	}, h.createTenant)
	handle(h, operation{
		method: http.MethodGet, path: "/tenants", id: "listTenants", tag: "Tenants", scope: posthorn.ScopeAdmin,
		summary: "List tenants",
	}, h.listTenants)
}

// tenant as it is shown.
type tenant struct {
	ID          posthorn.TenantID `json:"id" example:"tnt_06f1kz9qj4v3g7c8n2m5x0y1za"`
	Name        string            `json:"name" example:"acme"`
	RateLimit   *rateLimit        `json:"rate_limit" doc:"Bounds what the tenant publishes; null is the configured default."`
	IPAllowlist []string          `json:"ip_allowlist"`
	CreatedAt   time.Time         `json:"created_at"`
}

type tenantInput struct {
	Name        string     `json:"name" required:"true" maxLength:"128"`
	RateLimit   *rateLimit `json:"rate_limit,omitempty" null:"ok"`
	IPAllowlist []string   `json:"ip_allowlist,omitempty" maxItems:"100" doc:"Addresses and networks (CIDR) its keys may be used from; empty is everywhere."`
}

func (h *Handler) createTenant(ctx context.Context, c *call, _ *nothing, in *tenantInput) (*created[tenant], error) {
	var v posthorn.Violations
	checkName(&v, in.Name)
	(*posthorn.RateLimit)(in.RateLimit).Check(&v, "rate_limit")
	allowed := networks(&v, in.IPAllowlist)
	if err := under("body", v.Err()); err != nil {
		return nil, err
	}
	now := h.store.Now()
	t := &posthorn.Tenant{
		ID: posthorn.TenantID{UUID: posthorn.NewUUID(now)}, Name: in.Name, CreatedAt: now,
		RateLimit: (*posthorn.RateLimit)(in.RateLimit), IPAllowlist: allowed,
	}
	if err := h.store.CreateTenant(ctx, t); err != nil {
		return nil, err
	}
	is := showTenant(t)
	c.alteredFor(t.ID, t.ID.String(), nil, is)
	return &created[tenant]{Location: "/tenants", Body: is}, nil
}

func (h *Handler) listTenants(ctx context.Context, c *call, q *Paging) (*reply[list[tenant]], error) {
	page, err := pageOf(c, q)
	if err != nil {
		return nil, err
	}
	rows, next, err := h.store.ListTenants(ctx, page)
	if err != nil {
		return nil, err
	}
	return pageWith(c, rows, next, showTenant), nil
}

func showTenant(t *posthorn.Tenant) tenant {
	return tenant{
		ID: t.ID, Name: t.Name, RateLimit: (*rateLimit)(t.RateLimit), IPAllowlist: prefixes(t.IPAllowlist),
		CreatedAt: t.CreatedAt.UTC(),
	}
}
