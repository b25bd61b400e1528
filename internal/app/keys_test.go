package app_test

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/seal"
)

// TestStartWithForeignKeys: a node whose keys open nothing of the store does not start, unless told that the right ones are lost;
// one whose keys open a part of it starts and says so.
func TestStartWithForeignKeys(t *testing.T) {
	right, wrong := seal.Generate(), seal.Generate()
	settings := func(keys string) *config.Settings {
		return &config.Settings{
			DatabaseURL: "sqlite://" + filepath.Join(t.TempDir(), "posthorn.db"), EncryptionKeys: keys,
			Roles: []string{config.RoleAPI}, Host: "127.0.0.1", Retention: 72 * time.Hour, CleanupEvery: time.Hour, Hold: 72 * time.Hour,
			DisableAfter: time.Hour, MaxEventBytes: 1024,
		}
	}
	here := settings(right)
	subscribe := func(keys string) {
		t.Helper()
		s := *here
		s.EncryptionKeys = keys
		store, err := app.OpenStore(t.Context(), &s, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		tenant := posthorn.Tenant{ID: posthorn.TenantID{UUID: posthorn.NewUUID(store.Now())}, Name: seal.Generate()}
		sub := posthorn.Subscription{ID: posthorn.SubscriptionID{UUID: posthorn.NewUUID(store.Now())}, TenantID: tenant.ID}
		sub.SetDefaults()
		if err := store.CreateTenant(t.Context(), &tenant); err != nil {
			t.Fatal(err)
		}
		if err := store.CreateSubscription(t.Context(), &sub); err != nil {
			t.Fatal(err)
		}
	}
	start := func(keys string, lost bool) (string, error) {
		t.Helper()
		s := *here
		s.EncryptionKeys, s.LostKeys = keys, lost
		var logged bytes.Buffer
		a, err := app.New(t.Context(), &s, slog.New(slog.NewTextHandler(&logged, nil)), "test")
		if err == nil {
			if err := a.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			a.Stop()
		}
		return logged.String(), err
	}
	if _, err := start(wrong, false); err != nil {
		t.Fatalf("over an empty store: %v", err)
	}
	subscribe(right)
	if log, err := start(right, false); err != nil || strings.Contains(log, "do not open") {
		t.Errorf("with the right key: %v\n%s", err, log)
	}
	if _, err := start(wrong, false); err == nil || !strings.Contains(err.Error(), "POSTHORN_ENCRYPTION_KEYS") || !strings.Contains(err.Error(), "1 of 1") {
		t.Errorf("with another key: %v", err)
	}
	if log, err := start(wrong, true); err != nil || !strings.Contains(log, "unopened=1") {
		t.Errorf("with another key and leave to go on: %v\n%s", err, log)
	}
	subscribe(wrong)
	log, err := start(wrong, false)
	if err != nil || strings.Count(log, "level=ERROR") != 1 || !strings.Contains(log, "looked_at=2 unopened=1") || !strings.Contains(log, "keys reseal --check") {
		t.Errorf("with one of two keys: %v\n%s", err, log)
	}
}
