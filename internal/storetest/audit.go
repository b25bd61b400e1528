package storetest

import (
	"net/netip"
	"reflect"
	"time"

	"github.com/posthorn/posthorn"
)

func auditTests() group {
	return group{"Audit", []test{
		{"KeepsEveryField", auditKept},
		{"List", auditList},
		{"Filters", auditFilters},
		{"OfAllTenants", auditOfAll},
		{"Cleaned", auditCleaned},
	}}
}

// NewEntry writes an audit entry of the tenant.
func (f *Fixture) NewEntry(change ...func(*posthorn.AuditEntry)) *posthorn.AuditEntry {
	f.T.Helper()
	e := &posthorn.AuditEntry{
		ID: posthorn.AuditID{UUID: f.ID()}, TenantID: f.Tenant, Via: posthorn.ViaCommand, Action: "subscription.update",
	}
	for _, c := range change {
		c(e)
	}
	f.must(f.Store.RecordAudit(f.Context(), e))
	return e
}

// auditIDs are the ids of a page of the tenant's entries.
func (f *Fixture) auditIDs(filter posthorn.AuditFilter, p posthorn.Page) (ids []posthorn.UUID, next posthorn.UUID) {
	f.T.Helper()
	list, next, err := f.Store.ListAudit(f.Context(), f.Tenant, filter, p)
	f.must(err)
	for i := range list {
		ids = append(ids, list[i].ID.UUID)
	}
	return ids, next
}

func auditKept(f *Fixture) {
	want := f.NewEntry(func(e *posthorn.AuditEntry) {
		e.Via, e.KeyID, e.KeyName = posthorn.ViaSession, posthorn.KeyID{UUID: f.ID()}, "Größe \"zählt\""
		e.Address, e.Client = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
		e.RequestID, e.Object = "req_1", "sub_1"
		e.Before, e.After = []byte(`{"a":"\u0000"}`), []byte(`{"a":"<2>"}`)
	})
	f.wantIn("answered at", want.At, 0)
	list, _, err := f.Store.ListAudit(f.Context(), f.Tenant, posthorn.AuditFilter{}, posthorn.Page{Limit: 10})
	f.must(err)
	if len(list) != 1 {
		f.T.Fatalf("%d entries, want 1", len(list))
	}
	if !list[0].At.Equal(want.At) {
		f.T.Fatalf("written at %s, answered %s", list[0].At, want.At)
	}
	list[0].At = want.At
	if !reflect.DeepEqual(&list[0], want) {
		f.T.Fatalf("stored\n%+v, want\n%+v", list[0], want)
	}
}

func auditList(f *Fixture) {
	var want []posthorn.UUID
	for range 5 {
		want = append([]posthorn.UUID{f.NewEntry().ID.UUID}, want...)
	}
	f.As(f.NewTenant("other")).NewEntry()
	walk(f, want, func(p posthorn.Page) ([]posthorn.UUID, posthorn.UUID) {
		return f.auditIDs(posthorn.AuditFilter{}, p)
	}, func() { f.NewEntry() })
}

func auditFilters(f *Fixture) {
	key := posthorn.KeyID{UUID: f.ID()}
	var old posthorn.UUID
	f.Aged(2*time.Hour, func() {
		old = f.NewEntry(func(e *posthorn.AuditEntry) { e.Action = "key.create" }).ID.UUID
	})
	mine := f.NewEntry(func(e *posthorn.AuditEntry) { e.KeyID = key }).ID.UUID
	about := f.NewEntry(func(e *posthorn.AuditEntry) { e.Object, e.Action = "key_1", "key.revoke" }).ID.UUID
	now := f.Store.Now()
	for name, test := range map[string]struct {
		filter posthorn.AuditFilter
		want   []posthorn.UUID
	}{
		"none":   {posthorn.AuditFilter{}, []posthorn.UUID{about, mine, old}},
		"key":    {posthorn.AuditFilter{KeyID: key}, []posthorn.UUID{mine}},
		"object": {posthorn.AuditFilter{Object: "key_1"}, []posthorn.UUID{about}},
		"action": {posthorn.AuditFilter{Action: "key.create"}, []posthorn.UUID{old}},
		"noun":   {posthorn.AuditFilter{Action: "key.*"}, []posthorn.UUID{about, old}},
		"since":  {posthorn.AuditFilter{Since: now.Add(-time.Hour)}, []posthorn.UUID{about, mine}},
		"until":  {posthorn.AuditFilter{Until: now.Add(-time.Hour)}, []posthorn.UUID{old}},
	} {
		if got, _ := f.auditIDs(test.filter, posthorn.Page{Limit: 10}); !reflect.DeepEqual(got, test.want) {
			f.T.Fatalf("by %s: %x, want %x", name, got, test.want)
		}
	}
}

func auditOfAll(f *Fixture) {
	f.NewEntry()
	f.As(f.NewTenant("other")).NewEntry()
	list, _, err := f.Store.ListAudit(f.Context(), posthorn.TenantID{}, posthorn.AuditFilter{}, posthorn.Page{Limit: 10})
	f.must(err)
	equal(f, "entries of all tenants", len(list), 2)
}

func auditCleaned(f *Fixture) {
	f.Aged(48*time.Hour, func() {
		for range 5 {
			f.NewEntry()
		}
	})
	kept := f.NewEntry().ID.UUID
	steps, sum := 0, 0
	for done := false; !done; steps++ {
		if steps > 10 {
			f.T.Fatal("the cleanup does not end")
		}
		var removed int
		var err error
		removed, done, err = f.Store.CleanAccess(f.Context(), 24*time.Hour, 2)
		f.must(err)
		if removed > 2 {
			f.T.Fatalf("a step of 2 removed %d", removed)
		}
		sum += removed
	}
	equal(f, "removed", sum, 5)
	if got, _ := f.auditIDs(posthorn.AuditFilter{}, posthorn.Page{Limit: 10}); len(got) != 1 || got[0] != kept {
		f.T.Fatalf("%x is left, want %x", got, kept)
	}
}
