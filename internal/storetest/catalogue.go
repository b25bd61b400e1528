package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/posthorn/posthorn"
)

func catalogueTests() group {
	return group{"Catalogue", []test{
		{"KeepsEveryField", eventTypeKeepsFields},
		{"NameTaken", eventTypeTaken},
		{"Update", eventTypeUpdate},
		{"UpdateIsAtomic", eventTypeUpdateAtomic},
		{"UpdateConcurrently", eventTypeUpdateConcurrent},
		{"Delete", eventTypeDelete},
		{"List", eventTypeList},
		{"ListFilters", eventTypeFilters},
		{"ForeignNotFound", eventTypeForeign},
		{"Bounded", eventTypeBounded},
		{"Strict", catalogueStrict},
		{"Since", catalogueSince},
		{"StaleAcceptance", catalogueStale},
	}}
}

// NewEventType stores an entry of the tenant's catalogue.
func (f *Fixture) NewEventType(name string, change ...func(*posthorn.EventType)) *posthorn.EventType {
	f.T.Helper()
	e := &posthorn.EventType{TenantID: f.Tenant, Name: name, Row: f.ID()}
	for _, c := range change {
		c(e)
	}
	f.must(f.Store.CreateEventType(f.Context(), e))
	return e
}

func (f *Fixture) eventType(name string) *posthorn.EventType {
	f.T.Helper()
	e, err := f.Store.GetEventType(f.Context(), f.Tenant, name)
	f.must(err)
	return e
}

func (f *Fixture) catalogue(since int64) *posthorn.Catalogue {
	f.T.Helper()
	c, err := f.Store.Catalogue(f.Context(), f.Tenant, since)
	f.must(err)
	return c
}

func eventTypeKeepsFields(f *Fixture) {
	want := f.NewEventType("order.created", func(e *posthorn.EventType) {
		e.Description = "Größe \"zählt\""
		e.Schema = json.RawMessage(`{ "type" : "object", "title": "\u0000 \u00e4 ä" }`)
		e.Example = json.RawMessage(`{"id": 1e3}`)
		e.Enforce, e.Deprecated = true, true
	})
	f.wantIn("created_at", want.CreatedAt, 0)
	f.wantIn("updated_at", want.UpdatedAt, 0)
	got := f.eventType("order.created")
	if !got.CreatedAt.Equal(want.CreatedAt) || !got.UpdatedAt.Equal(want.UpdatedAt) {
		f.T.Fatalf("stored %s and %s, answered %s and %s", got.CreatedAt, got.UpdatedAt, want.CreatedAt, want.UpdatedAt)
	}
	got.CreatedAt, got.UpdatedAt = want.CreatedAt, want.UpdatedAt
	if !reflect.DeepEqual(got, want) {
		f.T.Fatalf("stored\n%+v, want\n%+v", got, want)
	}
	bare := f.NewEventType("order.paid")
	if got := f.eventType("order.paid"); got.Schema != nil || got.Example != nil || bare.Enforce {
		f.T.Fatalf("stored %+v, want it without schema and example", got)
	}
}

func eventTypeTaken(f *Fixture) {
	f.NewEventType("a")
	before := f.Version()
	err := f.Store.CreateEventType(f.Context(), &posthorn.EventType{TenantID: f.Tenant, Name: "a", Row: f.ID(), Description: "other"})
	f.wantRefusal(err, posthorn.NameTaken("event type"), "create with a name that is taken")
	equal(f, "description", f.eventType("a").Description, "")
	equal(f, "version", f.Version(), before)
	f.NewEventType("A")
	f.As(f.NewTenant("other")).NewEventType("a")
}

func eventTypeUpdate(f *Fixture) {
	made := f.NewEventType("a", func(e *posthorn.EventType) { e.Schema = json.RawMessage(`true`) })
	f.Elapse(time.Hour)
	before := f.Version()
	answered, err := f.Store.UpdateEventType(f.Context(), f.Tenant, "a", func(e *posthorn.EventType) error {
		e.Schema, e.Example, e.Enforce, e.Deprecated, e.Description = nil, json.RawMessage(`1`), true, true, "b"
		// What is not the caller's to change stays.
		e.TenantID, e.Name, e.Row, e.CreatedAt = posthorn.TenantID{}, "c", posthorn.UUID{}, time.Time{}
		return nil
	})
	f.must(err)
	for _, e := range []*posthorn.EventType{answered, f.eventType("a")} {
		equal(f, "name", e.Name, "a")
		equal(f, "tenant", e.TenantID, f.Tenant)
		equal(f, "row", e.Row, made.Row)
		equal(f, "schema", string(e.Schema), "")
		equal(f, "example", string(e.Example), "1")
		equal(f, "enforce", e.Enforce, true)
		equal(f, "deprecated", e.Deprecated, true)
		equal(f, "description", e.Description, "b")
		f.wantIn("created_at", e.CreatedAt, -time.Hour)
		f.wantIn("updated_at", e.UpdatedAt, 0)
	}
	equal(f, "version", f.Version(), before+1)
	_, err = f.Store.UpdateEventType(f.Context(), f.Tenant, "a", func(*posthorn.EventType) error { return nil })
	f.must(err)
	equal(f, "version after a change of nothing", f.Version(), before+1)
}

func eventTypeUpdateAtomic(f *Fixture) {
	f.NewEventType("a")
	version, refused := f.Version(), errors.New("refused")
	_, err := f.Store.UpdateEventType(f.Context(), f.Tenant, "a", func(e *posthorn.EventType) error {
		e.Description = "b"
		return refused
	})
	if !errors.Is(err, refused) {
		f.T.Fatalf("error is %v, want the change's own", err)
	}
	equal(f, "description", f.eventType("a").Description, "")
	equal(f, "version", f.Version(), version)
}

func eventTypeUpdateConcurrent(f *Fixture) {
	f.NewEventType("a")
	const writers = 8
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			_, errs[i] = f.Store.UpdateEventType(f.Context(), f.Tenant, "a", func(e *posthorn.EventType) error {
				e.Description += "x"
				return nil
			})
		})
	}
	wg.Wait()
	f.must(errors.Join(errs...))
	equal(f, "sum of the changes", len(f.eventType("a").Description), writers)
}

func eventTypeDelete(f *Fixture) {
	f.NewEventType("a")
	before := f.Version()
	f.must(f.Store.DeleteEventType(f.Context(), f.Tenant, "a"))
	equal(f, "version", f.Version(), before+1)
	f.wantKind(f.Store.DeleteEventType(f.Context(), f.Tenant, "a"), posthorn.NotFound, "delete a deleted one")
	equal(f, "version", f.Version(), before+1)
	_, err := f.Store.GetEventType(f.Context(), f.Tenant, "a")
	f.wantKind(err, posthorn.NotFound, "get a deleted one")
	_, err = f.Store.UpdateEventType(f.Context(), f.Tenant, "a", func(*posthorn.EventType) error { return nil })
	f.wantKind(err, posthorn.NotFound, "update a deleted one")
	equal(f, "types", len(f.catalogue(before).Types), 0)
	f.NewEventType("a")
}

func eventTypeList(f *Fixture) {
	var want []posthorn.UUID
	for i := range 5 {
		// Names run against the order of creation.
		want = append([]posthorn.UUID{f.NewEventType(string(rune('e' - i))).Row}, want...)
	}
	f.As(f.NewTenant("other")).NewEventType("x")
	more := 0
	walk(f, want, func(p posthorn.Page) (ids []posthorn.UUID, next posthorn.UUID) {
		f.T.Helper()
		list, next, err := f.Store.ListEventTypes(f.Context(), f.Tenant, posthorn.EventTypeFilter{}, p)
		f.must(err)
		for _, e := range list {
			ids = append(ids, e.Row)
		}
		return ids, next
	}, func() {
		more++
		f.NewEventType(fmt.Sprintf("more.%d", more))
	})
}

func eventTypeFilters(f *Fixture) {
	f.NewEventType("order.created", func(e *posthorn.EventType) { e.Description = "A new one" })
	f.NewEventType("order.paid", func(e *posthorn.EventType) { e.Deprecated = true })
	f.NewEventType("user.new")
	count := func(filter posthorn.EventTypeFilter) int {
		f.T.Helper()
		list, _, err := f.Store.ListEventTypes(f.Context(), f.Tenant, filter, posthorn.Page{Limit: 10})
		f.must(err)
		return len(list)
	}
	yes, no := true, false
	equal(f, "all", count(posthorn.EventTypeFilter{}), 3)
	equal(f, "by text", count(posthorn.EventTypeFilter{Text: "NEW"}), 2)
	equal(f, "deprecated", count(posthorn.EventTypeFilter{Deprecated: &yes}), 1)
	equal(f, "not deprecated", count(posthorn.EventTypeFilter{Deprecated: &no, Text: "order"}), 1)
}

func eventTypeForeign(f *Fixture) {
	f.NewEventType("a")
	other := f.As(f.NewTenant("other"))
	_, err := f.Store.GetEventType(f.Context(), other.Tenant, "a")
	f.wantKind(err, posthorn.NotFound, "get another tenant's")
	_, err = f.Store.UpdateEventType(f.Context(), other.Tenant, "a", func(*posthorn.EventType) error { return nil })
	f.wantKind(err, posthorn.NotFound, "update another tenant's")
	f.wantKind(f.Store.DeleteEventType(f.Context(), other.Tenant, "a"), posthorn.NotFound, "delete another tenant's")
	equal(f, "another tenant's types", len(other.catalogue(-1).Types), 0)
	_, err = f.Store.Catalogue(f.Context(), posthorn.TenantID{UUID: f.ID()}, 0)
	f.wantKind(err, posthorn.NotFound, "the catalogue of an unknown tenant")
	f.eventType("a")
}

func eventTypeBounded(f *Fixture) {
	for i := range posthorn.MaxCatalogue {
		f.NewEventType(fmt.Sprintf("type.%d", i))
	}
	err := f.Store.CreateEventType(f.Context(), &posthorn.EventType{TenantID: f.Tenant, Name: "one.more", Row: f.ID()})
	f.wantKind(err, posthorn.Conflict, "create one too many")
	equal(f, "types", len(f.catalogue(0).Types), posthorn.MaxCatalogue)
}

func catalogueStrict(f *Fixture) {
	before := f.Version()
	c := f.catalogue(0)
	if c.Strict != nil || c.Changed != 0 || c.Version != before {
		f.T.Fatalf("a catalogue never written is %+v", c)
	}
	for i, strict := range []bool{true, false} {
		f.must(f.Store.SetStrict(f.Context(), f.Tenant, &strict))
		c = f.catalogue(before)
		if c.Strict == nil || *c.Strict != strict {
			f.T.Fatalf("strict is %v, want %v", c.Strict, strict)
		}
		equal(f, "version", c.Version, before+int64(i)+1)
		equal(f, "changed", c.Changed, c.Version)
	}
	f.must(f.Store.SetStrict(f.Context(), f.Tenant, nil))
	if c := f.catalogue(0); c.Strict != nil {
		f.T.Fatalf("strict is %v, want it left to the configuration", *c.Strict)
	}
}

func catalogueSince(f *Fixture) {
	schema := json.RawMessage(`{"type":"object"}`)
	f.NewEventType("a", func(e *posthorn.EventType) { e.Schema, e.Enforce = schema, true })
	f.NewEventType("b")
	c := f.catalogue(0)
	equal(f, "version", c.Version, f.Version())
	equal(f, "changed", c.Changed, c.Version)
	equal(f, "types", len(c.Types), 2)
	for _, e := range c.Types {
		if e.Name == "a" && (string(e.Schema) != string(schema) || !e.Enforce) || e.Name == "b" && (e.Schema != nil || e.Enforce) {
			f.T.Fatalf("read %+v", e)
		}
	}
	changed := c.Changed
	f.Subscribe()
	c = f.catalogue(changed)
	equal(f, "version after a subscription", c.Version, changed+1)
	equal(f, "changed after a subscription", c.Changed, changed)
	if c.Types != nil {
		f.T.Fatalf("types that did not change were read: %v", c.Types)
	}
	f.must(f.Store.DeleteEventType(f.Context(), f.Tenant, "a"))
	f.must(f.Store.DeleteEventType(f.Context(), f.Tenant, "b"))
	if c = f.catalogue(changed); c.Types == nil || len(c.Types) != 0 {
		f.T.Fatalf("types after the last was deleted are %v, want none, and read", c.Types)
	}
}

// catalogueStale is the promise that a change made on one node holds for the next event on every other.
func catalogueStale(f *Fixture) {
	f.NewEventType("a")
	version := f.Version()
	accept := func(version int64) error {
		f.T.Helper()
		answers, err := f.Store.AcceptEvents(f.Context(), f.Node, []posthorn.Acceptance{{Event: f.NewEvent(), Version: version}})
		f.must(err)
		return answers[0].Err
	}
	f.must(accept(version))
	yes := true
	for _, change := range []func(){
		func() { f.NewEventType("b") },
		func() {
			_, err := f.Store.UpdateEventType(f.Context(), f.Tenant, "b", func(e *posthorn.EventType) error {
				e.Deprecated = true
				return nil
			})
			f.must(err)
		},
		func() { f.must(f.Store.DeleteEventType(f.Context(), f.Tenant, "b")) },
		func() { f.must(f.Store.SetStrict(f.Context(), f.Tenant, &yes)) },
	} {
		change()
		f.wantKind(accept(version), posthorn.Stale, "accept by an older catalogue")
		version = f.Version()
		f.must(accept(version))
	}
}
