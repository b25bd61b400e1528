package app

import (
	"context"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/cache"
	"github.com/posthorn/posthorn/internal/ingest"
)

// matcher answers ingest from the cache.
type matcher struct{ cache *cache.Cache }

// Match finds the subscriptions that want an event in a set of at least a version.
func (m matcher) Match(ctx context.Context, tenant posthorn.TenantID, e *posthorn.Event, atLeast int64) (ingest.Matched, error) {
	set, err := m.cache.Refresh(ctx, tenant, atLeast)
	if err != nil {
		return ingest.Matched{}, err
	}
	return ingest.Matched{Version: set.Version, Subscriptions: set.Match(e.Type)}, nil
}
