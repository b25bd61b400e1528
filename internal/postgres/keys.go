package postgres

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

const tenantColumns = `id, name, created_at, rate_limit, ip_allowlist`

func scanTenant(row pgx.CollectableRow) (posthorn.Tenant, error) {
	var t posthorn.Tenant
	var limit *string
	var networks []string
	err := row.Scan((*uuid)(&t.ID.UUID), &t.Name, (*moment)(&t.CreatedAt), &limit, &networks)
	if err == nil {
		err = fromDocument(limit, &t.RateLimit)
	}
	if err == nil {
		t.IPAllowlist, err = parseNetworks(networks)
	}
	return t, err
}

func networkTexts(networks []netip.Prefix) []string {
	texts := make([]string, len(networks))
	for i, n := range networks {
		texts[i] = n.String()
	}
	return texts
}

func parseNetworks(texts []string) ([]netip.Prefix, error) {
	var networks []netip.Prefix
	for _, text := range texts {
		n, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("stored network: %w", err)
		}
		networks = append(networks, n)
	}
	return networks, nil
}

// CreateTenant implements posthorn.KeyStore.
func (s *Store) CreateTenant(ctx context.Context, t *posthorn.Tenant) error {
	err := s.do(ctx, "create tenant", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, `
			INSERT INTO tenants (id, name, created_at, rate_limit, ip_allowlist) VALUES ($1, $2, now(), $3, $4)
			RETURNING created_at`,
			uuid(t.ID.UUID), t.Name, document(t.RateLimit), networkTexts(t.IPAllowlist)).Scan((*moment)(&t.CreatedAt))
	})
	if codeOf(err) == codeUnique {
		return posthorn.NameTaken("tenant")
	}
	return err
}

// FindTenant implements posthorn.KeyStore.
func (s *Store) FindTenant(ctx context.Context, name string) (*posthorn.Tenant, error) {
	return one(ctx, s, "tenant", scanTenant, `SELECT `+tenantColumns+` FROM tenants WHERE name = $1`, name)
}

// GetTenant implements posthorn.KeyStore.
func (s *Store) GetTenant(ctx context.Context, id posthorn.TenantID) (*posthorn.Tenant, error) {
	return one(ctx, s, "tenant", scanTenant, `SELECT `+tenantColumns+` FROM tenants WHERE id = $1`, uuid(id.UUID))
}

// ListTenants implements posthorn.KeyStore.
func (s *Store) ListTenants(ctx context.Context, p posthorn.Page) ([]posthorn.Tenant, posthorn.UUID, error) {
	return page(p, func(t *posthorn.Tenant) posthorn.UUID { return t.ID.UUID }, nil,
		func(before posthorn.UUID, n int) ([]posthorn.Tenant, error) {
			return many(ctx, s, "list tenants", scanTenant,
				`SELECT `+tenantColumns+` FROM tenants WHERE id < $1 ORDER BY id DESC LIMIT $2`, uuid(before), n)
		})
}

const keyColumns = `id, tenant_id, name, prefix, hash, scopes, rate_limit, ip_allowlist, created_at, expires_at, last_used_at,
	revoked_at`

func scanKey(row pgx.CollectableRow) (posthorn.Key, error) {
	var k posthorn.Key
	var limit *string
	var networks []string
	var hash []byte
	err := row.Scan((*uuid)(&k.ID.UUID), (*uuid)(&k.TenantID.UUID), &k.Name, &k.Prefix, &hash, &k.Scopes, &limit, &networks,
		(*moment)(&k.CreatedAt), (*moment)(&k.ExpiresAt), (*moment)(&k.LastUsedAt), (*moment)(&k.RevokedAt))
	copy(k.Hash[:], hash)
	if err == nil {
		err = fromDocument(limit, &k.RateLimit)
	}
	if err == nil {
		k.IPAllowlist, err = parseNetworks(networks)
	}
	return k, err
}

// CreateKey implements posthorn.KeyStore; Conflict when the key exists.
func (s *Store) CreateKey(ctx context.Context, k *posthorn.Key) error {
	scopes := make([]string, len(k.Scopes))
	for i, scope := range k.Scopes {
		scopes[i] = string(scope)
	}
	err := s.do(ctx, "create key", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, `
			INSERT INTO keys (id, tenant_id, name, prefix, hash, scopes, rate_limit, ip_allowlist, created_at, expires_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now(), $9) RETURNING created_at`,
			uuid(k.ID.UUID), uuid(k.TenantID.UUID), plain(k.Name), k.Prefix, k.Hash[:], scopes, document(k.RateLimit),
			networkTexts(k.IPAllowlist), moment(k.ExpiresAt)).Scan((*moment)(&k.CreatedAt))
	})
	if codeOf(err) == codeUnique {
		return posthorn.NewError(posthorn.Conflict, "this key exists")
	}
	return err
}

// FindKey implements posthorn.KeyStore.
func (s *Store) FindKey(ctx context.Context, hash [32]byte) (*posthorn.Key, error) {
	return one(ctx, s, "key", scanKey, `SELECT `+keyColumns+` FROM keys WHERE hash = $1`, hash[:])
}

// ListKeys implements posthorn.KeyStore.
func (s *Store) ListKeys(ctx context.Context, tenant posthorn.TenantID, p posthorn.Page) ([]posthorn.Key, posthorn.UUID, error) {
	return page(p, func(k *posthorn.Key) posthorn.UUID { return k.ID.UUID }, nil,
		func(before posthorn.UUID, n int) ([]posthorn.Key, error) {
			return many(ctx, s, "list keys", scanKey,
				`SELECT `+keyColumns+` FROM keys WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3`,
				uuid(tenant.UUID), uuid(before), n)
		})
}

// RevokeKey implements posthorn.KeyStore.
func (s *Store) RevokeKey(ctx context.Context, tenant posthorn.TenantID, id posthorn.KeyID) error {
	return s.do(ctx, "revoke key", func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx,
			`UPDATE keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1 AND tenant_id = $2`,
			uuid(id.UUID), uuid(tenant.UUID))
		if err == nil && tag.RowsAffected() == 0 {
			return posthorn.Absent("key")
		}
		return err
	})
}

// TouchKeys implements posthorn.KeyStore.
func (s *Store) TouchKeys(ctx context.Context, used map[posthorn.KeyID]time.Time) error {
	var ids uuids
	for id := range used {
		ids = append(ids, id.UUID)
	}
	slices.SortFunc(ids, compareIDs)
	at := make(moments, len(ids))
	for i, id := range ids {
		at[i] = used[posthorn.KeyID{UUID: id}]
	}
	return s.do(ctx, "touch keys", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `
			UPDATE keys k SET last_used_at = greatest(k.last_used_at, u.at)
			FROM (SELECT k.id, u.at FROM unnest($1::uuid[], $2::timestamptz[]) AS u(id, at) JOIN keys k ON k.id = u.id
				ORDER BY k.id FOR UPDATE OF k) u
			WHERE k.id = u.id`, ids, at)
		return err
	})
}
