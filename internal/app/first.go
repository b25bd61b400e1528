package app

import (
	"context"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/auth"
)

// FirstKey is the key a first start has made: the only time its text is known.
type FirstKey struct {
	Text string
	// Generated is false when the key was given by POSTHORN_API_KEY.
	Generated bool
}

// firstKeyLease keeps two nodes that start at once from printing a key each.
const firstKeyLease = time.Minute

// firstRun gives an empty store the tenant `default` and an admin key; nil when the store has them. Of several nodes
// that start at once on an empty store, one makes them.
func firstRun(ctx context.Context, store posthorn.Store, given string) (*FirstKey, error) {
	tenant, err := defaultTenant(ctx, store)
	if err != nil {
		return nil, err
	}
	keys, _, err := store.ListKeys(ctx, tenant.ID, posthorn.Page{Limit: 1})
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	if len(keys) > 0 {
		return nil, nil
	}
	first := &FirstKey{Text: given}
	if given == "" {
		first.Text, first.Generated = auth.Generate(), true
	} else if fault := auth.CheckKey(given); fault != "" {
		return nil, fmt.Errorf("POSTHORN_API_KEY %s", fault)
	}
	if first.Generated {
		held, err := store.AcquireLease(ctx, "first-key", posthorn.NodeID{UUID: posthorn.NewUUID(store.Now())}, firstKeyLease)
		if err != nil || !held {
			return nil, err
		}
	}
	key := auth.NewKey(first.Text, "first", posthorn.ScopeAdmin)
	key.ID, key.TenantID = posthorn.KeyID{UUID: posthorn.NewUUID(store.Now())}, tenant.ID
	err = store.CreateKey(ctx, key)
	if posthorn.KindOf(err) == posthorn.Conflict && err != nil {
		return nil, nil
	}
	return first, err
}

// defaultTenant finds or makes the tenant of a fresh install.
func defaultTenant(ctx context.Context, store posthorn.Store) (*posthorn.Tenant, error) {
	tenant, err := store.FindTenant(ctx, posthorn.DefaultTenant)
	if err == nil || posthorn.KindOf(err) != posthorn.NotFound {
		return tenant, err
	}
	tenant = &posthorn.Tenant{ID: posthorn.TenantID{UUID: posthorn.NewUUID(store.Now())}, Name: posthorn.DefaultTenant}
	err = store.CreateTenant(ctx, tenant)
	if err != nil && posthorn.KindOf(err) == posthorn.Conflict {
		return store.FindTenant(ctx, posthorn.DefaultTenant)
	}
	if err != nil {
		return nil, fmt.Errorf("create the default tenant: %w", err)
	}
	return tenant, nil
}
