package storetest

import (
	"testing"

	"github.com/posthorn/posthorn"
)

// OpenVault opens one and the same store with the keys of the names given, the first of which seals; a store that was
// opened before is closed.
type OpenVault func(t *testing.T, keys ...string) (posthorn.Store, posthorn.Keyring)

// RunVault is the part of the suite that needs a store under changing keys.
func RunVault(t *testing.T, open OpenVault) {
	store, _ := open(t, "old")
	f := NewFixture(t, store)
	header := func(s *posthorn.Subscription) { s.Headers = map[string]string{"X-Token": "value"} }
	var kept []posthorn.SubscriptionID
	for range 5 {
		kept = append(kept, f.Subscribe(header))
	}
	deleted := f.Subscribe(header)
	f.must(store.DeleteSubscription(f.Context(), f.Tenant, deleted))
	source := &posthorn.Source{
		ID: posthorn.SourceID{UUID: f.ID()}, TenantID: f.Tenant, Secrets: []posthorn.Secret{{Value: "s3cret"}},
		SourcePolicy: posthorn.SourcePolicy{Name: "in", Provider: posthorn.ProviderGitHub},
	}
	f.must(store.CreateSource(f.Context(), source))

	var keys posthorn.Keyring
	f.Store, keys = open(t, "new")
	f.lockedOut(kept, deleted, source.ID)
	report := f.reseal(keys, false)
	equal(f, "resealed without the old key", report.Resealed, 0)
	equal(f, "unreadable", report.Unreadable, 6)
	equal(f, "none opens", f.glance(keys), "6 of 6 secrets looked at do not open")
	one := f.Subscribe(header)
	equal(f, "one opens", f.glance(keys), "6 of 7 secrets looked at do not open")
	f.must(f.Store.DeleteSubscription(f.Context(), f.Tenant, one))

	f.Store, keys = open(t, "new", "old")
	f.must(must1(f.Store.UpdateSubscription(f.Context(), f.Tenant, kept[0], func(*posthorn.Subscription) error { return nil })))
	version := f.Version()
	report = f.reseal(keys, true)
	equal(f, "to be resealed", report.Resealed, 5)
	equal(f, "keys still needed", len(report.Keys), 1)
	equal(f, "to be resealed after a look", f.reseal(keys, true).Resealed, 5)
	report = f.reseal(keys, false)
	equal(f, "resealed", report.Resealed, 5)
	equal(f, "to be resealed afterwards", f.reseal(keys, true).Resealed, 0)
	equal(f, "version", f.Version(), version)

	f.Store, _ = open(t, "new")
	for _, id := range kept {
		equal(f, "header", f.Subscription(id).Headers["X-Token"], "value")
	}
	found, err := f.Store.FindSource(f.Context(), source.ID)
	f.must(err)
	equal(f, "source's secret", string(found.Secrets[0].Value), "s3cret")
}

// glance says what of the oldest secrets does not open.
func (f *Fixture) glance(keys posthorn.Keyring) string {
	f.T.Helper()
	report, err := posthorn.Glance(f.Context(), keys, f.Store.Reseal)
	f.must(err)
	equal(f, "none opens", report.NoneOpens(), report.Readable == 0)
	return report.Unopened()
}

func must1[V any](_ V, err error) error { return err }

// reseal runs all steps, in small ones.
func (f *Fixture) reseal(keys posthorn.Keyring, check bool) (sum posthorn.ResealReport) {
	f.T.Helper()
	step := posthorn.ResealStep{Limit: 2, Check: check}
	for !sum.Done {
		r, err := f.Store.Reseal(f.Context(), keys, step)
		f.must(err)
		sum.Add(r)
		step.At = r.Next
	}
	return sum
}

// lockedOut looks at a store whose key is missing: everything can be read and done but what needs the secrets.
func (f *Fixture) lockedOut(kept []posthorn.SubscriptionID, deleted posthorn.SubscriptionID, source posthorn.SourceID) {
	f.T.Helper()
	list, _, err := f.Store.ListSubscriptions(f.Context(), f.Tenant, posthorn.SubscriptionFilter{}, posthorn.Page{Limit: 10})
	f.must(err)
	equal(f, "subscriptions listed", len(list), len(kept))
	all, err := f.Store.FindSubscriptions(f.Context(), f.Tenant, append(kept[:len(kept):len(kept)], deleted))
	f.must(err)
	for _, s := range all {
		if locked := s.Unreadable != ""; locked == (s.ID == deleted) || len(s.Secrets) > 0 {
			f.T.Fatalf("%s is unreadable for %q", s.ID, s.Unreadable)
		}
	}
	_, since, err := f.Store.SubscriptionsSince(f.Context(), f.Tenant, 1)
	f.must(err)
	equal(f, "subscriptions since", len(since) >= len(kept), true)
	_, err = f.Store.UpdateSubscription(f.Context(), f.Tenant, kept[1], func(s *posthorn.Subscription) error {
		s.Status = posthorn.StatusPaused
		return nil
	})
	f.must(err)
	_, err = f.Store.UpdateSubscription(f.Context(), f.Tenant, kept[1], func(s *posthorn.Subscription) error {
		s.Secrets = []posthorn.Secret{{Value: "whsec_bmV3"}}
		return nil
	})
	f.wantKind(err, posthorn.Unavailable, "change secrets that cannot be opened")
	_, _, err = f.Store.ListSources(f.Context(), f.Tenant, posthorn.Page{Limit: 10})
	f.must(err)
	_, err = f.Store.FindSource(f.Context(), source)
	f.wantKind(err, posthorn.Unavailable, "find a source whose secrets are needed")
}
