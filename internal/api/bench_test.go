package api

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/auth"
)

// What BenchmarkPublish puts around the handler, so that it measures the handler alone.
type (
	allowAll struct{ Authenticator }
	instant  struct{ Publisher }
	timed    struct{ Store }
	discard  struct {
		header http.Header
		status int
	}
)

func (allowAll) Authenticate(context.Context, string, netip.Addr) (*auth.Identity, error) {
	return &auth.Identity{Key: &posthorn.Key{Scopes: []posthorn.Scope{posthorn.ScopePublish, posthorn.ScopeRead}}, Tenant: &posthorn.Tenant{}}, nil
}
func (allowAll) Check(context.Context, *auth.Identity, netip.Addr) error { return nil }
func (allowAll) Known(string) bool                                       { return true }
func (allowAll) Invalidate()                                             {}

func (instant) Publish(_ context.Context, _ posthorn.TenantID, e *posthorn.Event) (posthorn.Accepted, error) {
	return posthorn.Accepted{EventID: e.ID, CreatedAt: e.CreatedAt}, nil
}

func (timed) Now() time.Time { return time.Now() }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }
