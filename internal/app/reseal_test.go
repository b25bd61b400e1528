package app_test

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/seal"
)

// TestReseal gives a store a new first key: once its secrets are resealed, the old one is not needed.
func TestReseal(t *testing.T) {
	old, first, dir := seal.Generate(), seal.Generate(), t.TempDir()
	settings := func(keys string) *config.Settings {
		return &config.Settings{DatabaseURL: "sqlite://" + filepath.Join(dir, "posthorn.db"), EncryptionKeys: keys}
	}
	with := func(keys string, do func(posthorn.Store)) {
		t.Helper()
		store, err := app.OpenStore(t.Context(), settings(keys), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		do(store)
	}
	with(old, func(store posthorn.Store) {
		tenant := posthorn.Tenant{ID: posthorn.TenantID{UUID: posthorn.NewUUID(store.Now())}, Name: "home"}
		sub := posthorn.Subscription{ID: posthorn.SubscriptionID{UUID: posthorn.NewUUID(store.Now())}, TenantID: tenant.ID}
		sub.SetDefaults()
		if err := store.CreateTenant(t.Context(), &tenant); err != nil {
			t.Fatal(err)
		}
		if err := store.CreateSubscription(t.Context(), &sub); err != nil {
			t.Fatal(err)
		}
	})
	check := func(keys string) (needed error) {
		with(keys, func(store posthorn.Store) {
			r, err := app.Reseal(t.Context(), settings(keys), store, true, nil)
			if err != nil {
				t.Fatal(err)
			}
			needed = app.OldKeysNeeded(r)
		})
		return needed
	}
	if check(first+","+old) == nil {
		t.Error("the old key is not said to be needed")
	}
	with(first+","+old, func(store posthorn.Store) {
		if r, err := app.Reseal(t.Context(), settings(first+","+old), store, false, nil); err != nil || r.Resealed != 1 {
			t.Errorf("resealed %+v, %v", r, err)
		}
	})
	if err := check(first); err != nil {
		t.Error(err)
	}
}
