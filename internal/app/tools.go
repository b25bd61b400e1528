package app

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/auth"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/janitor"
)

// CreateKey makes a key of a tenant; the text is known only now. A ttl of zero is no expiry.
func CreateKey(ctx context.Context, store posthorn.Store, tenantName, name string, scopes []string, ttl time.Duration) (string, *posthorn.Key, error) {
	if fault := posthorn.CheckName(name); fault != "" {
		return "", nil, errors.New("the name " + fault)
	}
	find := store.FindTenant
	if tenantName == posthorn.DefaultTenant {
		find = func(ctx context.Context, _ string) (*posthorn.Tenant, error) { return defaultTenant(ctx, store) }
	}
	tenant, err := find(ctx, tenantName)
	if err != nil {
		return "", nil, err
	}
	text := auth.Generate()
	list := make([]posthorn.Scope, len(scopes))
	for i, s := range scopes {
		list[i] = posthorn.Scope(s)
	}
	key := auth.NewKey(text, name, list...)
	now := store.Now()
	key.ID, key.TenantID = posthorn.KeyID{UUID: posthorn.NewUUID(now)}, tenant.ID
	if ttl > 0 {
		key.ExpiresAt = now.Add(ttl)
	}
	if err := store.CreateKey(ctx, key); err != nil {
		return "", nil, err
	}
	return text, key, recordCommand(ctx, store, tenant.ID, "key.create", key.ID)
}

// RevokeKey ends a key of a tenant; every node refuses it within five seconds.
func RevokeKey(ctx context.Context, store posthorn.Store, tenantName, id string) error {
	tenant, err := store.FindTenant(ctx, tenantName)
	if err != nil {
		return err
	}
	var key posthorn.KeyID
	if err := key.UnmarshalText([]byte(id)); err != nil || key.IsZero() {
		return posthorn.Absent("key")
	}
	if err := store.RevokeKey(ctx, tenant.ID, key); err != nil {
		return err
	}
	return recordCommand(ctx, store, tenant.ID, "key.revoke", key)
}

// recordCommand writes into the audit log what a command on the store did to a key.
func recordCommand(ctx context.Context, store posthorn.Store, tenant posthorn.TenantID, action string, key posthorn.KeyID) error {
	return store.RecordAudit(ctx, &posthorn.AuditEntry{
		ID: posthorn.AuditID{UUID: posthorn.NewUUID(store.Now())}, TenantID: tenant, Via: posthorn.ViaCommand, Action: action,
		Object: key.String(),
	})
}

// Cleanup removes what is older than the retention, once.
func Cleanup(ctx context.Context, s *config.Settings, store posthorn.Store) (posthorn.CleanupReport, error) {
	j := janitor.New(janitor.Options{
		Store: store, Log: slog.New(slog.DiscardHandler), Retention: s.Retention, Hold: s.Hold, Window: s.Retention,
		AuditRetention: s.AuditRetention,
	})
	return j.Cleanup(ctx)
}
