// Package egress is the one way out: the HTTP client that cannot be talked into addresses the operator has not allowed.
//
// It owns the address policy (guard.go), the policy for URLs at registration (url.go, names.go), and one attempt at one
// request: dialling, limits, timings and what went wrong (client.go, dial.go, classify.go), without TLS over connections of
// its own (plain.go, idle.go), else over net/http's, with a client certificate and authorities of a subscription's own
// where it has them (identity.go, pool.go). It leaves to others what is sent and when to try again (delivery), and the
// subscribers' status codes, Retry-After and reputation (decide, there).
//
// The rules: names are judged by their text at registration, never resolved there; the numeric address is checked at
// every dial; no redirects, proxies, cookies or decompression; 64 KiB of headers and of body; one deadline for all of it.
package egress

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/net/idna"
)

// The settings that widen the policy, as the errors name them.
const (
	settingPrivate = "POSTHORN_ALLOW_PRIVATE"
	settingHTTP    = "POSTHORN_ALLOW_HTTP"
)

// Policy decides which URLs and addresses may be reached. It never changes and is safe for concurrent use.
type Policy struct {
	guard     guard
	allowHTTP bool
	// loopback and private say whether the allowed prefixes make such names worth resolving.
	loopback, private bool
	idna              *idna.Profile
}

// NewPolicy makes a policy that allows the Internet and, besides, the operator's prefixes; http:// only if told.
func NewPolicy(allowPrivate []netip.Prefix, allowHTTP bool) *Policy {
	p := &Policy{
		guard: newGuard(allowPrivate), allowHTTP: allowHTTP,
		idna: idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false)),
	}
	p.loopback = p.guard.allows(netip.AddrFrom4([4]byte{127, 0, 0, 1})) || p.guard.allows(netip.IPv6Loopback())
	p.private = slices.ContainsFunc(p.guard.allowed, func(prefix netip.Prefix) bool { return !prefix.Addr().IsLoopback() })
	return p
}

// CheckAddr is nil for an address that may be dialled, or a *Refusal.
func (p *Policy) CheckAddr(addr netip.Addr) error { return p.guard.check(addr) }

// Refusal is the policy's no. Its text may be shown to a tenant: it names the rule and the setting that would allow it,
// and neither the URL nor an address.
type Refusal struct {
	// Code is short, stable and for machines.
	Code string
	// Message completes "the URL …": must not …
	Message string
}

func (r *Refusal) Error() string { return r.Message }

func refuse(code, format string, args ...any) error {
	return &Refusal{code, fmt.Sprintf(format, args...)}
}
