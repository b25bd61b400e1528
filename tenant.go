package posthorn

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
	"unicode/utf8"
)

// DefaultTenant is the name of the tenant a fresh install has.
const DefaultTenant = "default"

// Tenant owns subscriptions and events. An API key belongs to one tenant.
type Tenant struct {
	ID        TenantID
	Name      string
	CreatedAt time.Time
	// RateLimit bounds publishing by the whole tenant; nil is the configured default.
	RateLimit *RateLimit
	// IPAllowlist admits only these networks to the tenant's keys; empty admits all.
	IPAllowlist []netip.Prefix
}

// ParseNetwork reads a network like 203.0.113.0/24; a bare address is a network of one. An IPv4 address mapped into IPv6 means
// that address (RFC 4291, section 2.5.5.2), as clients' addresses do.
func ParseNetwork(text string) (netip.Prefix, error) {
	const mapped = 96
	p, err := netip.ParsePrefix(text)
	if a, e := netip.ParseAddr(text); e == nil && a.Zone() == "" {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	if err != nil {
		return netip.Prefix{}, err
	}
	if p.Addr().Is4In6() && p.Bits() >= mapped {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p.Masked(), nil
}

// MaxName is how long names of keys and tenants may be, in characters.
const MaxName = 128

// CheckName says what is wrong with the name of a key or a tenant; "" is nothing.
func CheckName(name string) string {
	if name == "" || utf8.RuneCountInString(name) > MaxName {
		return fmt.Sprintf("must be 1 to %d characters", MaxName)
	}
	return ""
}

// Scope is what a key may do. Each includes those before it except that read and publish are apart.
type Scope string

const (
	// ScopePublish publishes events.
	ScopePublish Scope = "publish"
	// ScopeRead reads everything of the tenant but secrets.
	ScopeRead Scope = "read"
	// ScopeManage changes subscriptions and deliveries, and reads secrets; it includes read and publish.
	ScopeManage Scope = "manage"
	// ScopeAdmin manages keys, tenants and workers; it includes all others.
	ScopeAdmin Scope = "admin"
)

// Key is an API key as stored: its secret is kept only as a SHA-256.
type Key struct {
	ID       KeyID
	TenantID TenantID
	Name     string
	// Prefix is the first characters of the key, enough for a person to recognise it.
	Prefix string
	// Hash is the SHA-256 of the whole key. A key is 256 random bits, so a fast hash is enough.
	Hash        [32]byte
	Scopes      []Scope
	RateLimit   *RateLimit
	IPAllowlist []netip.Prefix
	CreatedAt   time.Time
	ExpiresAt   time.Time
	LastUsedAt  time.Time
	RevokedAt   time.Time
}

// Allows reports whether the key's scopes include s.
func (k *Key) Allows(s Scope) bool {
	if slices.Contains(k.Scopes, ScopeAdmin) || slices.Contains(k.Scopes, s) {
		return true
	}
	return (s == ScopeRead || s == ScopePublish) && slices.Contains(k.Scopes, ScopeManage)
}

// Usable reports whether the key is neither revoked nor expired at a moment.
func (k *Key) Usable(at time.Time) bool {
	return k.RevokedAt.IsZero() && (k.ExpiresAt.IsZero() || at.Before(k.ExpiresAt))
}
