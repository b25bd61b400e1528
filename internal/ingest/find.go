package ingest

import (
	"context"

	"github.com/posthorn/posthorn"
)

// finder finds the subscriptions of one request's events, and what the catalogue has against them.
type finder struct {
	*Publisher
	tenant    posthorn.TenantID
	catalogue Catalogue
	// atLeast is the version below which the matching set is known to be old; current says that it was asked for since the
	// request came.
	atLeast int64
	current bool
}

// find matches one event. An Invalid error is the catalogue's: an event is only refused by the present one, for the type or
// schema that it wants may have been written on another node a moment ago. What an old catalogue lets pass, the store
// refuses as stale.
func (f *finder) find(ctx context.Context, e *posthorn.Event) (Matched, error) {
	found, err := f.opts.Matcher.Match(ctx, f.tenant, e, f.atLeast)
	if err != nil || f.catalogue == nil {
		return found, err
	}
	err = f.catalogue.Check(ctx, f.tenant, e, found.Version)
	if f.current || posthorn.KindOf(err) != posthorn.Invalid {
		return found, err
	}
	// The store has the last word about a version that there may not be.
	f.current = true
	if found, err = f.opts.Matcher.Match(ctx, f.tenant, e, found.Version+1); err != nil {
		return found, err
	}
	return found, f.catalogue.Check(ctx, f.tenant, e, found.Version)
}
