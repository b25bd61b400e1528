package egress

import (
	"fmt"
	"net/netip"
	"syscall"

	"code.dny.dev/ssrf"
)

// guard judges numeric addresses: only global ones pass, and those in the prefixes the operator allowed.
type guard struct {
	registry *ssrf.Guardian
	allowed  []netip.Prefix
	nat64    netip.Prefix
}

func newGuard(allowed []netip.Prefix) guard {
	g := guard{
		nat64: ssrf.IPv6NAT64Prefix,
		// The registries of special addresses are the library's; 168.63.129.16 is Azure's host, reachable only from
		// inside, in a range that is public.
		registry: ssrf.New(ssrf.WithAnyPort(), ssrf.WithDeniedV4Prefixes(netip.MustParsePrefix("168.63.129.16/32"))),
	}
	for _, prefix := range allowed {
		// A prefix over mapped addresses means the IPv4 ones: that is how addresses are compared.
		if prefix.Addr().Is4In6() && prefix.Bits() >= 96 {
			prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
		}
		g.allowed = append(g.allowed, prefix.Masked())
	}
	return g
}

// check is nil for an address that may be dialled. The zone is dropped, since no prefix contains a zoned address; a mapped
// address is its IPv4 address; a NAT64 address goes to the IPv4 address inside it, and is judged by that. An ISATAP address
// (RFC 5214, section 6.1) may go to the one inside it, and both must pass.
func (g guard) check(addr netip.Addr) error {
	addr = addr.WithZone("").Unmap()
	if g.allows(addr) {
		return nil
	}
	if g.nat64.Contains(addr) {
		bytes := addr.As16()
		addr = netip.AddrFrom4([4]byte(bytes[12:]))
		if g.allows(addr) {
			return nil
		}
	}
	if inner, ok := isatap(addr); ok && !g.allows(inner) && g.registry.SafeAddr(inner) != nil {
		return errNotPublic
	}
	if !addr.IsValid() || g.registry.SafeAddr(addr) != nil {
		return errNotPublic
	}
	return nil
}

// isatap is the IPv4 address inside an address whose interface identifier is ISATAP's.
func isatap(addr netip.Addr) (netip.Addr, bool) {
	if !addr.Is6() {
		return netip.Addr{}, false
	}
	b := addr.As16()
	is := b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
	return netip.AddrFrom4([4]byte(b[12:])), is
}

// checkLiteral judges an address that was written into a URL. The disguises are refused whatever they stand for: there is
// always a plain way to write the same.
func (g guard) checkLiteral(addr netip.Addr) error {
	switch {
	case addr.Zone() != "" || addr.Is4In6():
		return errDisguised
	case g.nat64.Contains(addr) && !g.allows(addr):
		return errDisguised
	}
	return g.check(addr)
}

// allows reports an address in the operator's prefixes.
func (g guard) allows(addr netip.Addr) bool {
	for _, prefix := range g.allowed {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// control is the guard as net.Dialer.Control: the last look, at the very address the system is about to connect to.
func (g guard) control(network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return errNotPublic
	}
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address to dial: %w", err)
	}
	return g.check(target.Addr())
}

// The refusals that both registration and dialling give. They are never changed.
var (
	errNotPublic = &Refusal{"address_not_public", "must lead to a public address; the operator can allow private networks with " + settingPrivate}
	errDisguised = &Refusal{"address_form", "must write an IP address plainly: no mapped, translated or zoned form; no setting allows those"}
)
