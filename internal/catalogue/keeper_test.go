package catalogue

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/sqlite"
)

func openStore(t *testing.T) (*sqlite.Store, posthorn.TenantID) {
	t.Helper()
	keys, err := seal.ParseKeys(seal.Generate())
	if err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "posthorn.db"), Sealer: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	tenant := &posthorn.Tenant{ID: posthorn.TenantID{UUID: posthorn.NewUUID(time.Now())}, Name: "acme"}
	if err := store.CreateTenant(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
	return store, tenant.ID
}

func TestTenantsWithoutCataloguePayNothing(t *testing.T) {
	store, tenant := openStore(t)
	k := New(Options{Store: store})
	e := &posthorn.Event{Type: "a.b", Payload: []byte(`{}`)}
	check := func() {
		if err := k.Check(t.Context(), tenant, e, 1); err != nil {
			t.Fatal(err)
		}
	}
	check()
	if n := testing.AllocsPerRun(100, check); n > 0 {
		t.Errorf("%v allocations for each event", n)
	}
}

func TestStrictByConfiguration(t *testing.T) {
	store, tenant := openStore(t)
	k := New(Options{Store: store, Strict: true})
	e := &posthorn.Event{Type: "a.b", Payload: []byte(`{}`)}
	if got := faults(t, k.Check(t.Context(), tenant, e, 1)); got == "" {
		t.Error("an unknown type is let through")
	}
	no := false
	if err := store.SetStrict(t.Context(), tenant, &no); err != nil {
		t.Fatal(err)
	}
	if got := faults(t, k.Check(t.Context(), tenant, e, 2)); got != "" {
		t.Errorf("the tenant's own choice is not heard: %s", got)
	}
}

// TestCheckTogether changes the catalogue while many check: whoever names a version gets one at least as new.
func TestCheckTogether(t *testing.T) {
	store, tenant := openStore(t)
	k := New(Options{Store: store})
	err := store.CreateEventType(t.Context(), &posthorn.EventType{TenantID: tenant, Name: "a", Row: posthorn.NewUUID(time.Now())})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 20 {
		_, err := store.UpdateEventType(t.Context(), tenant, "a", func(e *posthorn.EventType) error {
			e.Schema, e.Enforce = json.RawMessage(fmt.Sprintf(`{"const": %d}`, round)), true
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		c, err := store.Catalogue(t.Context(), tenant, 0)
		if err != nil {
			t.Fatal(err)
		}
		right := &posthorn.Event{Type: "a", Payload: fmt.Append(nil, round)}
		wrong := &posthorn.Event{Type: "a", Payload: fmt.Append(nil, round-1)}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if err := k.Check(t.Context(), tenant, right, c.Version); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
				if k.Check(t.Context(), tenant, wrong, c.Version) == nil {
					t.Errorf("round %d: checked by an older schema", round)
				}
			})
		}
		all.Wait()
	}
}

// away is a store that answers once, and then says that it is away or nothing at all.
type away struct {
	asked  int
	silent bool
}

func (a *away) Catalogue(_ context.Context, _ posthorn.TenantID, _ int64) (*posthorn.Catalogue, error) {
	a.asked++
	switch {
	case a.silent:
		time.Sleep(20 * time.Second)
		return nil, posthorn.Silent()
	case a.asked > 1:
		return nil, posthorn.Silent()
	}
	return &posthorn.Catalogue{Version: 1, Types: []posthorn.EventType{}}, nil
}

// TestStoreAway: what is known is used for as long as the store cannot be asked, but not for a version that it is older than.
func TestStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &away{}
		k := New(Options{Store: store})
		var tenant posthorn.TenantID
		e := &posthorn.Event{Type: "a.b", Payload: []byte(`{}`)}
		for range 2 {
			if err := k.Check(t.Context(), tenant, e, 1); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * keptFor)
		}
		if err := k.Check(t.Context(), tenant, e, 2); posthorn.KindOf(err) != posthorn.Unavailable || store.asked != 3 {
			t.Errorf("of an older version, asked %d times: %v", store.asked, err)
		}
	})
}

// TestStoreSilent: nobody waits longer than the patience of a request for a store that does not answer, and it is asked once for all.
func TestStoreSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &away{silent: true}
		k := New(Options{Store: store})
		start := time.Now()
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				err := k.Check(t.Context(), posthorn.TenantID{}, &posthorn.Event{Type: "a.b"}, 1)
				if posthorn.KindOf(err) != posthorn.Unavailable {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if took := time.Since(start); took > posthorn.FirstPatience || store.asked != 1 {
			t.Errorf("%d asked, answered after %s", store.asked, took)
		}
		time.Sleep(time.Minute) // until the store gives up
	})
}
