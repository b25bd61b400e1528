package cache

import (
	"maps"
	"slices"
	"strings"

	"github.com/posthorn/posthorn"
)

// Set is a tenant's subscriptions at one version: active, paused and disabled ones, not the deleted. It never changes, and
// neither may what it returns.
type Set struct {
	// Version is the tenant's subscriptions version that the set is of.
	Version int64

	byID map[posthorn.SubscriptionID]*posthorn.Subscription
	// Each subscription stands at most once among the lists that one event type selects: everything for those who want
	// all but Posthorn's own events, exact by event type, stem by the beginning that a pattern asks for, dot included.
	everything []*posthorn.Subscription
	exact      map[string][]*posthorn.Subscription
	stem       map[string][]*posthorn.Subscription
}

func newSet(version int64, subscriptions []posthorn.Subscription) *Set {
	byID := make(map[posthorn.SubscriptionID]*posthorn.Subscription, len(subscriptions))
	for i := range subscriptions {
		if sub := &subscriptions[i]; sub.DeletedAt.IsZero() {
			byID[sub.ID] = sub
		}
	}
	return indexed(version, byID)
}

// indexed takes over byID.
func indexed(version int64, byID map[posthorn.SubscriptionID]*posthorn.Subscription) *Set {
	s := &Set{
		Version: version, byID: byID,
		exact: make(map[string][]*posthorn.Subscription), stem: make(map[string][]*posthorn.Subscription),
	}
	for _, sub := range byID {
		s.place(sub, func(list []*posthorn.Subscription) []*posthorn.Subscription { return append(list, sub) })
	}
	return s
}

// Len is how many subscriptions there are.
func (s *Set) Len() int { return len(s.byID) }

// Get is the subscription with an id, or nil.
func (s *Set) Get(id posthorn.SubscriptionID) *posthorn.Subscription { return s.byID[id] }

// Match finds the subscriptions that want an event type, in no particular order: those for which posthorn.MatchesType
// holds, found by as many look-ups as the type has segments.
func (s *Set) Match(eventType string) []*posthorn.Subscription {
	var found []*posthorn.Subscription
	owned := false
	add := func(list []*posthorn.Subscription) {
		switch {
		case len(list) == 0:
		case found == nil:
			found = list
		case !owned:
			found, owned = slices.Concat(found, list), true
		default:
			found = append(found, list...)
		}
	}
	if !strings.HasPrefix(eventType, posthorn.OperationalPrefix) {
		add(s.everything)
	}
	add(s.exact[eventType])
	for i := range len(eventType) {
		if eventType[i] == '.' {
			add(s.stem[eventType[:i+1]])
		}
	}
	return slices.Clip(found)
}

// with is the set at a later version, with what changed since this one. Lists that do not change are shared.
func (s *Set) with(version int64, changed []posthorn.Subscription) *Set {
	if len(changed) == 0 {
		next := *s
		next.Version = version
		return &next
	}
	next := &Set{Version: version, byID: maps.Clone(s.byID)}
	for i := range changed {
		if sub := &changed[i]; sub.DeletedAt.IsZero() {
			next.byID[sub.ID] = sub
		} else {
			delete(next.byID, sub.ID)
		}
	}
	if 8*len(changed) > len(s.byID) {
		return indexed(version, next.byID)
	}
	next.everything, next.exact, next.stem = s.everything, maps.Clone(s.exact), maps.Clone(s.stem)
	for i := range changed {
		if old := s.byID[changed[i].ID]; old != nil {
			next.place(old, func(list []*posthorn.Subscription) []*posthorn.Subscription {
				return slices.DeleteFunc(slices.Clone(list), func(s *posthorn.Subscription) bool { return s == old })
			})
		}
		if sub := next.byID[changed[i].ID]; sub != nil {
			next.place(sub, func(list []*posthorn.Subscription) []*posthorn.Subscription {
				return append(slices.Clip(list), sub)
			})
		}
	}
	return next
}

// place alters every list that a subscription belongs to.
func (s *Set) place(sub *posthorn.Subscription, alter func([]*posthorn.Subscription) []*posthorn.Subscription) {
	if len(sub.EventTypes) == 0 {
		s.everything = alter(s.everything)
		return
	}
	for i, pattern := range sub.EventTypes {
		if implied(sub.EventTypes, i) {
			continue
		}
		if pattern == "*" {
			s.everything = alter(s.everything)
			continue
		}
		lists, key := s.exact, pattern
		if stem, ok := strings.CutSuffix(pattern, "*"); ok {
			lists, key = s.stem, stem
		}
		if list := alter(lists[key]); len(list) > 0 {
			lists[key] = list
		} else {
			delete(lists, key)
		}
	}
}

// implied reports whether another of the patterns selects all that the i-th does. With those left out, no event type
// selects a subscription by two of its patterns.
func implied(patterns []string, i int) bool {
	p := patterns[i]
	for j, q := range patterns {
		switch {
		case j == i:
		case q == p:
			if j < i {
				return true
			}
		case q == "*":
			if !strings.HasPrefix(p, posthorn.OperationalPrefix) {
				return true
			}
		case p != "*" && strings.HasSuffix(q, "*") && strings.HasPrefix(p, q[:len(q)-1]):
			return true
		}
	}
	return false
}
