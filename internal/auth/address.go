package auth

import (
	"net/http"
	"net/netip"
	"strings"
)

// Admits reports whether an allowlist admits an address; an empty list admits all, an unknown address none but that.
func Admits(list []netip.Prefix, from netip.Addr) bool {
	if len(list) == 0 {
		return true
	}
	return contains(list, from)
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// ClientAddr is the address a request came from: the socket's, or, where that is a trusted proxy, the rightmost address
// of X-Forwarded-For that is not one. An entry that cannot be read ends the search at the proxy that passed it on, as
// everything left of it is hearsay. Addresses are unmapped and without zone, so that they compare with networks.
func ClientAddr(r *http.Request, trusted []netip.Prefix) netip.Addr {
	addr := parseAddr(r.RemoteAddr)
	if len(trusted) == 0 || !contains(trusted, addr) {
		return addr
	}
	lines := r.Header.Values("X-Forwarded-For")
	for i := len(lines) - 1; i >= 0; i-- {
		hops := strings.Split(lines[i], ",")
		for k := len(hops) - 1; k >= 0; k-- {
			hop := parseAddr(strings.TrimSpace(hops[k]))
			if !hop.IsValid() {
				return addr
			}
			addr = hop
			if !contains(trusted, addr) {
				return addr
			}
		}
	}
	return addr
}

// parseAddr reads an address with or without a port; the zero Addr when it cannot.
func parseAddr(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}
