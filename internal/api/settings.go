package api

import (
	"context"
	"time"

	"github.com/posthorn/posthorn"
)

// Settings are what GET /settings shows of a node's configuration. Nothing in it may be a secret.
type Settings struct {
	// Store is sqlite or postgres; Redis says whether a cluster's parts are connected by it.
	Store string
	Redis bool
	Dev   bool
	Roles []string
	// Node is the node that answers; Runtime its language's version and platform.
	Node                                        posthorn.NodeID
	Runtime                                     string
	Retention, CleanupEvery, Hold, DisableAfter time.Duration
	// Variables are all settings in force, for administrators.
	Variables []Variable
}

// Variable is one setting as it is in force, masked where it is secret.
type Variable struct {
	Name        string `json:"name" example:"POSTHORN_RETENTION"`
	Value       string `json:"value" example:"72h0m0s" doc:"A secret is masked."`
	Description string `json:"description"`
	Changed     bool   `json:"changed" doc:"It is not the default."`
}

// settingsView is the effective configuration.
type settingsView struct {
	Version             string          `json:"version"`
	Runtime             string          `json:"runtime" example:"go1.26 linux/amd64"`
	Node                posthorn.NodeID `json:"node"`
	Roles               []string        `json:"roles" example:"[\"api\",\"worker\",\"janitor\"]"`
	Store               string          `json:"store" enum:"sqlite,postgres"`
	Redis               bool            `json:"redis"`
	Development         bool            `json:"development"`
	RetentionSeconds    int64           `json:"retention_seconds" doc:"How long events, deliveries and attempts are kept; also the longest retry window."`
	CleanupSeconds      int64           `json:"cleanup_seconds" doc:"Between two cleanups."`
	HoldSeconds         int64           `json:"hold_seconds" doc:"How long a paused or disabled subscription holds its deliveries."`
	DisableAfterSeconds int64           `json:"disable_after_seconds" doc:"How long a subscription may fail without one success."`
	MaxEventBytes       int             `json:"max_event_bytes"`
	MaxBatchEvents      int             `json:"max_batch_events"`
	MaxBatchBytes       int             `json:"max_batch_bytes"`
	PublishLimit        *rateLimit      `json:"publish_limit" doc:"Of all tenants together."`
	TenantLimit         *rateLimit      `json:"tenant_limit" doc:"The tenant's own limit on publishing."`
	Variables           []Variable      `json:"variables" doc:"Every setting; empty without the scope admin."`
}

func (h *Handler) getSettings(ctx context.Context, c *call, _ *nothing) (*reply[settingsView], error) {
	tenant, err := h.store.GetTenant(ctx, c.tenant())
	if err != nil {
		return nil, err
	}
	limit := tenant.RateLimit
	if limit == nil {
		limit = h.opts.TenantLimit
	}
	s := &h.opts.Settings
	seconds := func(d time.Duration) int64 { return int64(d.Seconds()) }
	view := settingsView{
		Version: h.opts.Version, Runtime: s.Runtime, Node: s.Node, Roles: s.Roles, Store: s.Store, Redis: s.Redis, Development: s.Dev,
		RetentionSeconds: seconds(s.Retention), CleanupSeconds: seconds(s.CleanupEvery), HoldSeconds: seconds(s.Hold),
		DisableAfterSeconds: seconds(s.DisableAfter), MaxEventBytes: h.opts.MaxEventBytes,
		MaxBatchEvents: posthorn.MaxBatchEvents, MaxBatchBytes: posthorn.MaxBatchBytes,
		PublishLimit: (*rateLimit)(h.opts.GlobalLimit), TenantLimit: (*rateLimit)(limit), Variables: []Variable{},
	}
	if c.identity.Key.Allows(posthorn.ScopeAdmin) {
		view.Variables = s.Variables
	}
	return replyWith(view), nil
}
