package app

import (
	"context"

	"github.com/maypok86/otter/v2"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/cache"
	"github.com/posthorn/posthorn/internal/filter"
	"github.com/posthorn/posthorn/internal/ingest"
)

// maxFilters bounds the compiled filters that are kept, of some kilobytes each.
const maxFilters = 4096

// matcher answers ingest from the cache.
type matcher struct {
	cache *cache.Cache
	// filters are compiled ones by their text: one for every subscription and version that says the same.
	filters *otter.Cache[string, compiled]
}

// compiled is a filter, or why there is none: a later version of the language may refuse what an earlier one stored.
type compiled struct {
	filter *filter.Filter
	err    error
}

func newMatcher(c *cache.Cache) matcher {
	return matcher{c, otter.Must(&otter.Options[string, compiled]{MaximumSize: maxFilters})}
}

// Match finds the subscriptions that want an event in a set of at least a version.
func (m matcher) Match(ctx context.Context, tenant posthorn.TenantID, e *posthorn.Event, atLeast int64) (ingest.Matched, error) {
	set, err := m.cache.Refresh(ctx, tenant, atLeast)
	if err != nil {
		return ingest.Matched{}, err
	}
	found := ingest.Matched{Version: set.Version, Subscriptions: set.Match(e.Type)}
	for i, s := range found.Subscriptions {
		if s.Filter != "" {
			m.filter(&found, e, i)
			break
		}
	}
	return found, nil
}

// filter sorts what matched by type, of which the first so many have no filter. The list found is the set's own and is not
// changed. The payload is read at most once, when a filter first asks for it.
func (m matcher) filter(found *ingest.Matched, e *posthorn.Event, unfiltered int) {
	all, event := found.Subscriptions, filter.Of(e)
	found.Subscriptions = append(make([]*posthorn.Subscription, 0, len(all)), all[:unfiltered]...)
	for _, s := range all[unfiltered:] {
		wants, err := m.wants(s.Filter, event)
		switch {
		case err != nil:
			found.Failed = append(found.Failed, s)
		case wants:
			found.Subscriptions = append(found.Subscriptions, s)
		}
	}
}

func (m matcher) wants(expression string, e *filter.Event) (bool, error) {
	if expression == "" {
		return true, nil
	}
	c, ok := m.filters.GetIfPresent(expression)
	if !ok {
		c.filter, c.err = filter.Compile(expression)
		m.filters.Set(expression, c)
	}
	if c.err != nil {
		return false, c.err
	}
	return c.filter.Match(e)
}

// replayMatcher answers replays as matcher answers publishing.
type replayMatcher struct{ matcher }

// Match names the subscriptions that want an event now, and those whose filter failed on it.
func (m replayMatcher) Match(ctx context.Context, tenant posthorn.TenantID, e *posthorn.Event) (wanted, failed []posthorn.SubscriptionID, err error) {
	found, err := m.matcher.Match(ctx, tenant, e, 0)
	for _, s := range found.Subscriptions {
		wanted = append(wanted, s.ID)
	}
	for _, s := range found.Failed {
		failed = append(failed, s.ID)
	}
	return wanted, failed, err
}
