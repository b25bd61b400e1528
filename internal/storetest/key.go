package storetest

import (
	"crypto/sha256"
	"net/netip"
	"reflect"
	"time"

	"github.com/posthorn/posthorn"
)

func keyTests() group {
	return group{"Key", []test{
		{"Tenant", tenantKept},
		{"TenantNameTaken", tenantTaken},
		{"TenantUnknown", tenantUnknown},
		{"Tenants", tenantList},
		{"KeepsEveryField", keyKept},
		{"FoundByHash", keyFound},
		{"List", keyList},
		{"Revoke", keyRevoke},
		{"Touch", keyTouch},
	}}
}

func tenantKept(f *Fixture) {
	want := &posthorn.Tenant{
		ID: posthorn.TenantID{UUID: f.ID()}, Name: "globex", RateLimit: &posthorn.RateLimit{Limit: 5, Per: "second"},
		IPAllowlist: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
	}
	f.must(f.Store.CreateTenant(f.Context(), want))
	byName, err := f.Store.FindTenant(f.Context(), "globex")
	f.must(err)
	byID, err := f.Store.GetTenant(f.Context(), want.ID)
	f.must(err)
	for _, got := range []*posthorn.Tenant{byName, byID} {
		f.wantIn("created_at", got.CreatedAt, 0)
		got.CreatedAt = want.CreatedAt
		if !reflect.DeepEqual(got, want) {
			f.T.Fatalf("tenant is\n%+v, want\n%+v", got, want)
		}
	}
}

func tenantTaken(f *Fixture) {
	err := f.Store.CreateTenant(f.Context(), &posthorn.Tenant{ID: posthorn.TenantID{UUID: f.ID()}, Name: "acme"})
	f.wantRefusal(err, posthorn.NameTaken("tenant"), "create with a name that is taken")
	t, err := f.Store.FindTenant(f.Context(), "acme")
	f.must(err)
	equal(f, "tenant", t.ID, f.Tenant)
}

func tenantUnknown(f *Fixture) {
	_, err := f.Store.FindTenant(f.Context(), "nobody")
	f.wantKind(err, posthorn.NotFound, "find")
	_, err = f.Store.GetTenant(f.Context(), posthorn.TenantID{UUID: f.ID()})
	f.wantKind(err, posthorn.NotFound, "get")
}

func tenantList(f *Fixture) {
	want := []posthorn.UUID{f.NewTenant("c").UUID, f.NewTenant("b").UUID, f.Tenant.UUID}
	want[0], want[1] = want[1], want[0]
	names := 0
	page := func(p posthorn.Page) (ids []posthorn.UUID, next posthorn.UUID) {
		f.T.Helper()
		list, next, err := f.Store.ListTenants(f.Context(), p)
		f.must(err)
		for _, t := range list {
			ids = append(ids, t.ID.UUID)
		}
		return ids, next
	}
	walk(f, want, page, func() {
		names++
		f.NewTenant("later-" + string(rune('a'+names)))
	})
}

// NewKey stores an API key of the tenant.
func (f *Fixture) NewKey(secret string, change ...func(*posthorn.Key)) *posthorn.Key {
	f.T.Helper()
	k := &posthorn.Key{
		ID: posthorn.KeyID{UUID: f.ID()}, TenantID: f.Tenant, Name: "ci", Prefix: "phk_abcd", Hash: sha256.Sum256([]byte(secret)),
		Scopes: []posthorn.Scope{posthorn.ScopePublish},
	}
	for _, c := range change {
		c(k)
	}
	f.must(f.Store.CreateKey(f.Context(), k))
	return k
}

func keyKept(f *Fixture) {
	expires := f.Store.Now().Add(time.Hour)
	want := f.NewKey("a", func(k *posthorn.Key) {
		k.Scopes = []posthorn.Scope{posthorn.ScopeManage, posthorn.ScopeAdmin}
		k.RateLimit = &posthorn.RateLimit{Limit: 7, Per: "minute"}
		k.IPAllowlist = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		k.ExpiresAt = expires
	})
	got, err := f.Store.FindKey(f.Context(), want.Hash)
	f.must(err)
	f.wantIn("created_at", got.CreatedAt, 0)
	f.wantIn("expires_at", got.ExpiresAt, time.Hour)
	f.wantUnset("last_used_at", got.LastUsedAt)
	f.wantUnset("revoked_at", got.RevokedAt)
	got.CreatedAt, got.ExpiresAt = want.CreatedAt, want.ExpiresAt
	if !reflect.DeepEqual(got, want) {
		f.T.Fatalf("key is\n%+v, want\n%+v", got, want)
	}
}

func keyFound(f *Fixture) {
	a, b := f.NewKey("a"), f.NewKey("b")
	for _, want := range []*posthorn.Key{a, b} {
		got, err := f.Store.FindKey(f.Context(), want.Hash)
		f.must(err)
		equal(f, "key", got.ID, want.ID)
	}
	_, err := f.Store.FindKey(f.Context(), sha256.Sum256([]byte("c")))
	f.wantKind(err, posthorn.NotFound, "find an unknown key")
}

func keyList(f *Fixture) {
	var want []posthorn.UUID
	for i := range 5 {
		want = append([]posthorn.UUID{f.NewKey(string(rune('a' + i))).ID.UUID}, want...)
	}
	other := f.As(f.NewTenant("other"))
	other.NewKey("x")
	more := 0
	walk(f, want, func(p posthorn.Page) (ids []posthorn.UUID, next posthorn.UUID) {
		f.T.Helper()
		list, next, err := f.Store.ListKeys(f.Context(), f.Tenant, p)
		f.must(err)
		for _, k := range list {
			ids = append(ids, k.ID.UUID)
		}
		return ids, next
	}, func() {
		more++
		f.NewKey("more" + string(rune('a'+more)))
	})
}

func keyRevoke(f *Fixture) {
	k := f.NewKey("a")
	other := f.As(f.NewTenant("other"))
	f.wantKind(f.Store.RevokeKey(f.Context(), other.Tenant, k.ID), posthorn.NotFound, "revoke another tenant's")
	f.wantKind(f.Store.RevokeKey(f.Context(), f.Tenant, posthorn.KeyID{UUID: f.ID()}), posthorn.NotFound, "revoke an unknown one")
	f.must(f.Store.RevokeKey(f.Context(), f.Tenant, k.ID))
	f.Elapse(time.Hour)
	f.must(f.Store.RevokeKey(f.Context(), f.Tenant, k.ID))
	got, err := f.Store.FindKey(f.Context(), k.Hash)
	f.must(err)
	f.wantIn("revoked_at", got.RevokedAt, -time.Hour)
	equal(f, "usable", got.Usable(f.Store.Now()), false)
}

func keyTouch(f *Fixture) {
	a, b := f.NewKey("a"), f.NewKey("b")
	now := f.Store.Now()
	touch := func(at time.Time) {
		f.T.Helper()
		f.must(f.Store.TouchKeys(f.Context(), map[posthorn.KeyID]time.Time{a.ID: at, {UUID: f.ID()}: at}))
	}
	used := func(k *posthorn.Key) time.Time {
		f.T.Helper()
		got, err := f.Store.FindKey(f.Context(), k.Hash)
		f.must(err)
		return got.LastUsedAt
	}
	touch(now.Add(-time.Hour))
	f.wantIn("last_used_at", used(a), -time.Hour)
	touch(now.Add(-time.Minute))
	touch(now.Add(-2 * time.Hour))
	f.wantIn("last_used_at", used(a), -time.Minute)
	f.wantUnset("another key's last_used_at", used(b))
	f.must(f.Store.TouchKeys(f.Context(), nil))
}
