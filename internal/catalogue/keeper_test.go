package catalogue

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
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
