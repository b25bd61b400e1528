package storetest

import (
	"errors"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/posthorn/posthorn"
)

func subscriptionTests() group {
	return group{"Subscription", []test{
		{"KeepsEveryField", subscriptionKeepsFields},
		{"Update", subscriptionUpdate},
		{"UpdateIsAtomic", subscriptionUpdateAtomic},
		{"UpdateConcurrently", subscriptionUpdateConcurrent},
		{"Delete", subscriptionDelete},
		{"VersionMoves", subscriptionVersion},
		{"Since", subscriptionSince},
		{"Find", subscriptionFind},
		{"List", subscriptionList},
		{"ListFilters", subscriptionFilters},
		{"ForeignNotFound", subscriptionForeign},
		{"UnknownTenant", subscriptionUnknownTenant},
	}}
}

func subscriptionKeepsFields(f *Fixture) {
	now := f.Store.Now()
	want := f.NewSubscription(func(s *posthorn.Subscription) {
		s.Status = posthorn.StatusDisabled
		s.DisabledReason = posthorn.DisabledGone
		s.URL = "https://user@receiver.example:8443/hook?a=1&b=<2>"
		s.Description = "Größe \"zählt\""
		s.EventTypes = []string{"a.*", "b"}
		s.Retry = posthorn.RetryPolicy{Initial: 0.5, Multiplier: 1.5, Maximum: 60, Attempts: 7}
		s.Timeout = 7500 * time.Millisecond
		s.RateLimit = &posthorn.RateLimit{Limit: 10, Per: "minute"}
		s.MaxInFlight = 3
		s.Ordering = posthorn.OrderingFIFO
		s.Metadata = map[string]string{"team": "billing"}
		s.Secrets = []posthorn.Secret{
			{Value: "whsec_bmV3", CreatedAt: now}, {Value: "whsk_b2xk", CreatedAt: now.Add(-time.Hour), ExpiresAt: now.Add(time.Hour)},
		}
		s.Headers = map[string]string{"X-Key": "value", "Authorization": "Bearer x"}
	})
	f.must(f.Store.CreateSubscription(f.Context(), want))
	f.wantIn("answered created_at", want.CreatedAt, 0)
	f.wantIn("answered updated_at", want.UpdatedAt, 0)
	if want.Version <= 0 {
		f.T.Fatalf("answered version is %d", want.Version)
	}
	got := f.Subscription(want.ID)
	if !got.CreatedAt.Equal(want.CreatedAt) || !got.UpdatedAt.Equal(want.UpdatedAt) {
		f.T.Fatalf("stored %s and %s, answered %s and %s", got.CreatedAt, got.UpdatedAt, want.CreatedAt, want.UpdatedAt)
	}
	for i := range got.Secrets {
		if !got.Secrets[i].CreatedAt.Equal(want.Secrets[i].CreatedAt) || !got.Secrets[i].ExpiresAt.Equal(want.Secrets[i].ExpiresAt) {
			f.T.Fatalf("times of secret %d changed", i)
		}
		got.Secrets[i].CreatedAt, got.Secrets[i].ExpiresAt = want.Secrets[i].CreatedAt, want.Secrets[i].ExpiresAt
	}
	got.CreatedAt, got.UpdatedAt = want.CreatedAt, want.UpdatedAt
	if !reflect.DeepEqual(got, want) {
		f.T.Fatalf("stored\n%+v, want\n%+v", got, want)
	}
}

func subscriptionUpdate(f *Fixture) {
	id := f.Subscribe()
	f.Elapse(time.Hour)
	before := f.Version()
	answered, err := f.Store.UpdateSubscription(f.Context(), f.Tenant, id, func(s *posthorn.Subscription) error {
		s.URL = "https://other.example/"
		s.Secrets = append([]posthorn.Secret{{Value: "whsec_bmV3"}}, s.Secrets...)
		s.EventTypes = []string{"x"}
		// What is not the caller's to change stays.
		s.ID, s.TenantID, s.Version, s.CreatedAt = posthorn.SubscriptionID{}, posthorn.TenantID{}, 1000, time.Time{}
		return nil
	})
	f.must(err)
	got := f.Subscription(id)
	for _, s := range []*posthorn.Subscription{answered, got} {
		equal(f, "id", s.ID, id)
		equal(f, "tenant", s.TenantID, f.Tenant)
		equal(f, "url", s.URL, "https://other.example/")
		equal(f, "secrets", len(s.Secrets), 2)
		equal(f, "version", s.Version, before+1)
		f.wantIn("created_at", s.CreatedAt, -time.Hour)
		f.wantIn("updated_at", s.UpdatedAt, 0)
		if !slices.Equal(s.EventTypes, []string{"x"}) {
			f.T.Fatalf("types are %v", s.EventTypes)
		}
	}
}

func subscriptionUpdateAtomic(f *Fixture) {
	id := f.Subscribe()
	before, version := f.Subscription(id), f.Version()
	refused := errors.New("refused")
	_, err := f.Store.UpdateSubscription(f.Context(), f.Tenant, id, func(s *posthorn.Subscription) error {
		s.URL = "https://other.example/"
		s.Status = posthorn.StatusPaused
		return refused
	})
	if !errors.Is(err, refused) {
		f.T.Fatalf("error is %v, want the change's own", err)
	}
	if got := f.Subscription(id); !reflect.DeepEqual(got, before) {
		f.T.Fatalf("stored\n%+v, want\n%+v", got, before)
	}
	equal(f, "version", f.Version(), version)
	_, err = f.Store.UpdateSubscription(f.Context(), f.Tenant, id, func(*posthorn.Subscription) error {
		return posthorn.NewError(posthorn.Invalid, "bad")
	})
	f.wantKind(err, posthorn.Invalid, "an error with a kind")
}

func subscriptionUpdateConcurrent(f *Fixture) {
	id := f.Subscribe(func(s *posthorn.Subscription) { s.MaxInFlight = 1 })
	const writers = 10
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			_, errs[i] = f.Store.UpdateSubscription(f.Context(), f.Tenant, id, func(s *posthorn.Subscription) error {
				s.MaxInFlight++
				return nil
			})
		})
	}
	wg.Wait()
	f.must(errors.Join(errs...))
	equal(f, "sum of the changes", f.Subscription(id).MaxInFlight, 1+writers)
}

func subscriptionDelete(f *Fixture) {
	id := f.Subscribe()
	delivery := f.PublishOne(id)
	f.must(f.Store.DeleteSubscription(f.Context(), f.Tenant, id))
	_, err := f.Store.GetSubscription(f.Context(), f.Tenant, id)
	f.wantKind(err, posthorn.NotFound, "get a deleted one")
	_, err = f.Store.UpdateSubscription(f.Context(), f.Tenant, id, func(*posthorn.Subscription) error { return nil })
	f.wantKind(err, posthorn.NotFound, "update a deleted one")
	f.wantKind(f.Store.DeleteSubscription(f.Context(), f.Tenant, id), posthorn.NotFound, "delete a deleted one")
	list, _, err := f.Store.ListSubscriptions(f.Context(), f.Tenant, posthorn.SubscriptionFilter{}, posthorn.Page{Limit: 10})
	f.must(err)
	equal(f, "listed", len(list), 0)
	// The tombstone and its history stay readable.
	found, err := f.Store.FindSubscriptions(f.Context(), f.Tenant, []posthorn.SubscriptionID{id})
	f.must(err)
	equal(f, "found", len(found), 1)
	f.wantIn("deleted_at", found[0].DeletedAt, 0)
	equal(f, "url", found[0].URL, "https://receiver.example/hook")
	f.Lane(id)
	f.Delivery(delivery)
	f.ClaimNone()
}

func subscriptionVersion(f *Fixture) {
	version := f.Version()
	moved := func(what string) {
		f.T.Helper()
		now := f.Version()
		if now <= version {
			f.T.Fatalf("%s: version went from %d to %d", what, version, now)
		}
		version = now
	}
	id := f.Subscribe()
	moved("create")
	f.SetStatus(id, posthorn.StatusPaused)
	moved("pause")
	f.SetStatus(id, posthorn.StatusActive)
	moved("resume")
	f.Change(id, posthorn.LaneChange{Disable: posthorn.DisabledGone})
	moved("disable")
	f.must(f.Store.DeleteSubscription(f.Context(), f.Tenant, id))
	moved("delete")
	// What concerns only the lane, or another tenant, does not move it.
	other := f.Subscribe()
	moved("create")
	f.Change(other, posthorn.LaneChange{Throttle: time.Hour, OpenFor: time.Hour, Failed: true})
	f.As(f.NewTenant("other")).Subscribe()
	equal(f, "version", f.Version(), version)
}

func subscriptionSince(f *Fixture) {
	ids := func(list []posthorn.Subscription) []posthorn.SubscriptionID {
		var out []posthorn.SubscriptionID
		for i := range list {
			out = append(out, list[i].ID)
		}
		return out
	}
	since := func(version int64) (int64, []posthorn.Subscription) {
		f.T.Helper()
		present, list, err := f.Store.SubscriptionsSince(f.Context(), f.Tenant, version)
		f.must(err)
		return present, list
	}
	a, b, c := f.Subscribe(), f.Subscribe(), f.Subscribe()
	first, list := since(0)
	wantSet(f, "all", ids(list), a, b, c)
	for _, s := range list {
		equal(f, "secrets", len(s.Secrets), 1)
		if s.Version > first {
			f.T.Fatalf("a subscription has version %d, the tenant %d", s.Version, first)
		}
	}
	present, list := since(first)
	equal(f, "version", present, first)
	equal(f, "changes", len(list), 0)
	f.SetStatus(a, posthorn.StatusPaused)
	f.must(f.Store.DeleteSubscription(f.Context(), f.Tenant, b))
	present, list = since(first)
	wantSet(f, "changed", ids(list), a, b)
	for _, s := range list {
		equal(f, "is a tombstone", !s.DeletedAt.IsZero(), s.ID == b)
	}
	_, list = since(present - 1)
	wantSet(f, "changed last", ids(list), b)
	_, list = since(0)
	wantSet(f, "all without tombstones", ids(list), a, c)
}

func subscriptionFind(f *Fixture) {
	var ids []posthorn.SubscriptionID
	for range 250 {
		ids = append(ids, f.Subscribe())
	}
	foreign := f.As(f.NewTenant("other")).Subscribe()
	unknown := posthorn.SubscriptionID{UUID: f.ID()}
	found, err := f.Store.FindSubscriptions(f.Context(), f.Tenant, append(slices.Clone(ids), foreign, unknown))
	f.must(err)
	equal(f, "found", len(found), len(ids))
	lanes, err := f.Store.Lanes(f.Context(), f.Tenant, append(slices.Clone(ids), foreign, unknown))
	f.must(err)
	equal(f, "lanes", len(lanes), len(ids))
	none, err := f.Store.FindSubscriptions(f.Context(), f.Tenant, nil)
	f.must(err)
	equal(f, "found of none", len(none), 0)
}

func subscriptionList(f *Fixture) {
	var want []posthorn.UUID
	for range 7 {
		want = append([]posthorn.UUID{f.Subscribe().UUID}, want...)
	}
	page := func(p posthorn.Page) (ids []posthorn.UUID, next posthorn.UUID) {
		f.T.Helper()
		list, next, err := f.Store.ListSubscriptions(f.Context(), f.Tenant, posthorn.SubscriptionFilter{}, p)
		f.must(err)
		for _, s := range list {
			ids = append(ids, s.ID.UUID)
			equal(f, "secrets", len(s.Secrets), 1)
		}
		return ids, next
	}
	walk(f, want, page, func() { f.Subscribe() })
}

func subscriptionFilters(f *Fixture) {
	invoices := f.Subscribe(func(s *posthorn.Subscription) { s.URL = "https://billing.example/Invoices" })
	orders := f.Subscribe(func(s *posthorn.Subscription) { s.Description = "Orders for BILLING, 100% _all_" })
	paused := f.Subscribe(WithStatus(posthorn.StatusPaused))
	for _, c := range []struct {
		filter posthorn.SubscriptionFilter
		want   []posthorn.SubscriptionID
	}{
		{posthorn.SubscriptionFilter{}, []posthorn.SubscriptionID{invoices, orders, paused}},
		{posthorn.SubscriptionFilter{Status: posthorn.StatusPaused}, []posthorn.SubscriptionID{paused}},
		{posthorn.SubscriptionFilter{Status: posthorn.StatusActive}, []posthorn.SubscriptionID{invoices, orders}},
		{posthorn.SubscriptionFilter{Text: "billing"}, []posthorn.SubscriptionID{invoices, orders}},
		{posthorn.SubscriptionFilter{Text: "INVOICES"}, []posthorn.SubscriptionID{invoices}},
		{posthorn.SubscriptionFilter{Text: "100% _"}, []posthorn.SubscriptionID{orders}},
		{posthorn.SubscriptionFilter{Text: "%"}, []posthorn.SubscriptionID{orders}},
		{posthorn.SubscriptionFilter{Text: "billing", Status: posthorn.StatusPaused}, nil},
	} {
		list, _, err := f.Store.ListSubscriptions(f.Context(), f.Tenant, c.filter, posthorn.Page{Limit: 10})
		f.must(err)
		var got []posthorn.SubscriptionID
		for _, s := range list {
			got = append(got, s.ID)
		}
		wantSet(f, "filtered", got, c.want...)
	}
}

func subscriptionForeign(f *Fixture) {
	id := f.Subscribe()
	other := f.As(f.NewTenant("other"))
	_, err := f.Store.GetSubscription(f.Context(), other.Tenant, id)
	f.wantKind(err, posthorn.NotFound, "get another tenant's")
	_, err = f.Store.UpdateSubscription(f.Context(), other.Tenant, id, func(*posthorn.Subscription) error { return nil })
	f.wantKind(err, posthorn.NotFound, "update another tenant's")
	f.wantKind(f.Store.DeleteSubscription(f.Context(), other.Tenant, id), posthorn.NotFound, "delete another tenant's")
	list, _, err := f.Store.ListSubscriptions(f.Context(), other.Tenant, posthorn.SubscriptionFilter{}, posthorn.Page{Limit: 10})
	f.must(err)
	equal(f, "another tenant's listed", len(list), 0)
	_, list, err = f.Store.SubscriptionsSince(f.Context(), other.Tenant, 0)
	f.must(err)
	equal(f, "another tenant's since", len(list), 0)
	f.Subscription(id)
}

func subscriptionUnknownTenant(f *Fixture) {
	_, _, err := f.Store.SubscriptionsSince(f.Context(), posthorn.TenantID{UUID: f.ID()}, 0)
	f.wantKind(err, posthorn.NotFound, "subscriptions of an unknown tenant")
}
