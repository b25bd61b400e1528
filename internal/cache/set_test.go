package cache

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"pgregory.net/rapid"
)

func id(n int) posthorn.SubscriptionID {
	return posthorn.SubscriptionID{UUID: posthorn.UUID{14: byte(n >> 8), 15: byte(n)}}
}

func subscription(n int, types ...string) posthorn.Subscription {
	return posthorn.Subscription{ID: id(n), Status: posthorn.StatusActive, Policy: posthorn.Policy{EventTypes: types}}
}

// ids of subscriptions, in order; one that stands twice is there twice.
func ids(list []*posthorn.Subscription) []string {
	texts := []string{}
	for _, s := range list {
		texts = append(texts, s.ID.String())
	}
	slices.Sort(texts)
	return texts
}

// matching is the rule itself, one by one.
func matching(all map[posthorn.SubscriptionID]*posthorn.Subscription, eventType string) []string {
	var list []*posthorn.Subscription
	for s := range maps.Values(all) {
		if s.DeletedAt.IsZero() && posthorn.MatchesType(s.EventTypes, eventType) {
			list = append(list, s)
		}
	}
	return ids(list)
}

var (
	somePatterns = []string{
		"*", "a", "a.*", "a.b", "a.b.*", "a.b.c", "b", "b.*", "b.a", "ab", "ab.*", "posthorn", "posthorn.*", "posthorn.test", "posthorn.a.*",
	}
	someTypes = []string{
		"a", "a.b", "a.b.c", "a.b.c.d", "a.x", "ab", "ab.c", "b", "b.a", "c", "posthorn", "posthorn.test", "posthorn.a", "posthorn.a.b", "posthornx",
	}
)

// Whatever changes come, the index finds what the rule finds, each subscription once, and earlier sets stay as they were.
func TestMatchFindsWhatTheRuleFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		types := rapid.SliceOfN(rapid.SampledFrom(somePatterns), 0, 4)
		draw := func(n int) posthorn.Subscription { return subscription(n, types.Draw(t, "types")...) }
		all := map[posthorn.SubscriptionID]*posthorn.Subscription{}
		var first []posthorn.Subscription
		for n := range rapid.IntRange(0, 40).Draw(t, "size") {
			s := draw(n)
			first = append(first, s)
			all[s.ID] = &s
		}
		set := newSet(1, first)
		check := func(set *Set, all map[posthorn.SubscriptionID]*posthorn.Subscription) {
			for _, eventType := range someTypes {
				if got, want := ids(set.Match(eventType)), matching(all, eventType); !slices.Equal(got, want) {
					t.Fatalf("%s: found %v, want %v", eventType, got, want)
				}
			}
		}
		check(set, all)
		for version := range rapid.Int64Range(1, 8).Draw(t, "steps") {
			before := maps.Clone(all)
			var changed []posthorn.Subscription
			for range rapid.IntRange(0, 3).Draw(t, "changes") {
				s := draw(rapid.IntRange(0, 45).Draw(t, "which"))
				if slices.ContainsFunc(changed, func(c posthorn.Subscription) bool { return c.ID == s.ID }) {
					continue
				}
				if rapid.Bool().Draw(t, "deleted") {
					s.DeletedAt = time.Unix(1, 0)
				}
				changed = append(changed, s)
				all[s.ID] = &s
			}
			next := set.with(version+2, changed)
			check(next, all)
			check(set, before)
			set = next
		}
	})
}

func TestMatchedListsCannotBeSpoiled(t *testing.T) {
	set := newSet(1, []posthorn.Subscription{subscription(1, "a.*"), subscription(2, "a.b"), subscription(3)})
	for _, eventType := range []string{"a.b", "c"} {
		list := set.Match(eventType)
		_ = append(list, nil)
		if again := set.Match(eventType); len(again) != len(list) || slices.Contains(again, nil) {
			t.Errorf("%s: %v", eventType, again)
		}
	}
}

func TestSetHoldsAllButTheDeleted(t *testing.T) {
	paused, disabled, deleted := subscription(1, "a"), subscription(2, "a"), subscription(3, "a")
	paused.Status, disabled.Status, deleted.DeletedAt = posthorn.StatusPaused, posthorn.StatusDisabled, time.Unix(1, 0)
	set := newSet(7, []posthorn.Subscription{paused, disabled, deleted})
	if set.Version != 7 || set.Len() != 2 || len(set.Match("a")) != 2 || set.Get(id(3)) != nil || set.Get(id(1)).Status != posthorn.StatusPaused {
		t.Errorf("%+v", set)
	}
}

// thousands are 10,000 subscriptions of which an event type matches about ten.
func thousands() []posthorn.Subscription {
	list := make([]posthorn.Subscription, 10_000)
	for i := range list {
		list[i] = subscription(i, fmt.Sprintf("customer%d.order.created", i/10), fmt.Sprintf("customer%d.invoice.*", i/10))
	}
	return list
}

func BenchmarkMatchOf10000(b *testing.B) {
	set := newSet(1, thousands())
	for name, eventType := range map[string]string{"Exact": "customer500.order.created", "Pattern": "customer500.invoice.paid", "None": "customer.x"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				set.Match(eventType)
			}
		})
	}
}

func BenchmarkOneChangeOf10000(b *testing.B) {
	set := newSet(1, thousands())
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		set = set.with(int64(i), []posthorn.Subscription{subscription(i%10_000, "changed."+strconv.Itoa(i))})
	}
}
