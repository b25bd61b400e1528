package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
)

const tenantColumns = `id, name, created_at, rate_limit, ip_allowlist`

func scanTenant(rows interface{ Scan(...any) error }) (*posthorn.Tenant, error) {
	var t posthorn.Tenant
	var limit, allowlist string
	err := rows.Scan(&t.ID, &t.Name, instant{&t.CreatedAt}, &limit, &allowlist)
	if err == nil {
		err = decode(limit, &t.RateLimit)
	}
	if err == nil {
		err = decode(allowlist, &t.IPAllowlist)
	}
	return &t, err
}

// CreateTenant stores a tenant.
func (s *Store) CreateTenant(ctx context.Context, tenant *posthorn.Tenant) error {
	var now time.Time
	err := s.write(ctx, func(t *tx) error {
		now = t.now
		_, err := t.exec(`INSERT INTO tenants (`+tenantColumns+`, version) VALUES (?, ?, ?, ?, ?, 1)`, tenant.ID, tenant.Name,
			stamp(t.now), document(tenant.RateLimit, tenant.RateLimit == nil),
			document(tenant.IPAllowlist, len(tenant.IPAllowlist) == 0))
		if constraint(err) {
			return posthorn.NameTaken("tenant")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("create tenant: %w", err)
	}
	tenant.CreatedAt = now
	return nil
}

// FindTenant reads the tenant with a name.
func (s *Store) FindTenant(ctx context.Context, name string) (*posthorn.Tenant, error) {
	t, err := scanTenant(s.read(ctx).queryRow(`SELECT `+tenantColumns+` FROM tenants WHERE name = ?`, name))
	if err != nil {
		return nil, fmt.Errorf("read tenant: %w", fault(absent("tenant", err)))
	}
	return t, nil
}

// GetTenant reads a tenant.
func (s *Store) GetTenant(ctx context.Context, id posthorn.TenantID) (*posthorn.Tenant, error) {
	t, err := scanTenant(s.read(ctx).queryRow(`SELECT `+tenantColumns+` FROM tenants WHERE id = ?`, id))
	if err != nil {
		return nil, fmt.Errorf("read tenant: %w", fault(absent("tenant", err)))
	}
	return t, nil
}

// ListTenants lists newest first.
func (s *Store) ListTenants(ctx context.Context, p posthorn.Page) ([]posthorn.Tenant, posthorn.UUID, error) {
	list := newListing[posthorn.Tenant](p)
	rows, err := s.read(ctx).query(`SELECT `+tenantColumns+` FROM tenants WHERE id < ? ORDER BY id DESC LIMIT ?`,
		list.before[:], list.limit+1)
	err = each(rows, err, func(rows *sql.Rows) error {
		t, err := scanTenant(rows)
		if err != nil {
			return err
		}
		return list.add(*t, t.ID.UUID, true)
	})
	if err != nil {
		return nil, posthorn.UUID{}, fmt.Errorf("list tenants: %w", fault(err))
	}
	return list.rows, list.next, nil
}

const keyColumns = `id, tenant_id, hash, name, prefix, scopes, rate_limit, ip_allowlist, created_at, expires_at, last_used_at,
	revoked_at`

func scanKey(rows interface{ Scan(...any) error }) (*posthorn.Key, error) {
	var k posthorn.Key
	var hash, scopes []byte
	var limit, allowlist string
	err := rows.Scan(&k.ID, &k.TenantID, &hash, &k.Name, &k.Prefix, &scopes, &limit, &allowlist, instant{&k.CreatedAt},
		instant{&k.ExpiresAt}, instant{&k.LastUsedAt}, instant{&k.RevokedAt})
	copy(k.Hash[:], hash)
	if err == nil {
		err = json.Unmarshal(scopes, &k.Scopes)
	}
	if err == nil {
		err = decode(limit, &k.RateLimit)
	}
	if err == nil {
		err = decode(allowlist, &k.IPAllowlist)
	}
	return &k, err
}

// CreateKey stores a key.
func (s *Store) CreateKey(ctx context.Context, k *posthorn.Key) error {
	var now time.Time
	err := s.write(ctx, func(t *tx) error {
		now = t.now
		if _, err := t.version(k.TenantID); err != nil {
			return err
		}
		_, err := t.exec(`INSERT INTO keys (`+keyColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, k.ID, k.TenantID,
			k.Hash[:], k.Name, k.Prefix, document(k.Scopes, false), document(k.RateLimit, k.RateLimit == nil),
			document(k.IPAllowlist, len(k.IPAllowlist) == 0), stamp(now), stamp(k.ExpiresAt), stamp(k.LastUsedAt),
			stamp(k.RevokedAt))
		if constraint(err) {
			return posthorn.NewError(posthorn.Conflict, "this key exists")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("create key: %w", err)
	}
	k.CreatedAt = now
	return nil
}

// FindKey reads the key with a hash.
func (s *Store) FindKey(ctx context.Context, hash [32]byte) (*posthorn.Key, error) {
	k, err := scanKey(s.read(ctx).queryRow(`SELECT `+keyColumns+` FROM keys WHERE hash = ?`, hash[:]))
	if err != nil {
		return nil, fmt.Errorf("read key: %w", fault(absent("key", err)))
	}
	return k, nil
}

// ListKeys lists a tenant's newest first.
func (s *Store) ListKeys(ctx context.Context, tenant posthorn.TenantID, p posthorn.Page) ([]posthorn.Key, posthorn.UUID, error) {
	list := newListing[posthorn.Key](p)
	rows, err := s.read(ctx).query(`SELECT `+keyColumns+` FROM keys WHERE tenant_id = ? AND id < ? ORDER BY id DESC LIMIT ?`,
		tenant, list.before[:], list.limit+1)
	err = each(rows, err, func(rows *sql.Rows) error {
		k, err := scanKey(rows)
		if err != nil {
			return err
		}
		return list.add(*k, k.ID.UUID, true)
	})
	if err != nil {
		return nil, posthorn.UUID{}, fmt.Errorf("list keys: %w", fault(err))
	}
	return list.rows, list.next, nil
}

// RevokeKey ends a key.
func (s *Store) RevokeKey(ctx context.Context, tenant posthorn.TenantID, id posthorn.KeyID) error {
	err := s.write(ctx, func(t *tx) error {
		answer, err := t.exec(`UPDATE keys SET revoked_at = CASE revoked_at WHEN 0 THEN ? ELSE revoked_at END
			WHERE id = ? AND tenant_id = ?`, stamp(t.now), id, tenant)
		if err != nil {
			return err
		}
		if n, err := answer.RowsAffected(); n == 0 && err == nil {
			return posthorn.Absent("key")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("revoke key: %w", err)
	}
	return nil
}

// TouchKeys notes when keys were last used.
func (s *Store) TouchKeys(ctx context.Context, used map[posthorn.KeyID]time.Time) error {
	if len(used) == 0 {
		return nil
	}
	err := s.write(ctx, func(t *tx) error {
		for id, when := range used {
			_, err := t.exec(`UPDATE keys SET last_used_at = max(last_used_at, ?) WHERE id = ?`, stamp(when), id)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("touch keys: %w", err)
	}
	return nil
}
