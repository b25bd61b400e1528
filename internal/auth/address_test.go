package auth

import (
	"net/http"
	"net/netip"
	"testing"
)

// FuzzClientAddr holds what any header may do: without a trusted proxy nothing, and with one it gives an address in the form
// that networks are compared with.
func FuzzClientAddr(f *testing.F) {
	for _, seed := range []string{
		"203.0.113.7", "203.0.113.7, 127.0.0.2", "[2001:db8::1]:443", "::ffff:127.0.0.1", "fe80::1%eth0", ",", "unknown", "127.0.0.1,,1.2.3.4", " 1.2.3.4 ",
	} {
		f.Add(seed)
	}
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	f.Fuzz(func(t *testing.T, hops string) {
		r := &http.Request{RemoteAddr: "198.51.100.1:1234", Header: http.Header{"X-Forwarded-For": {hops}}}
		if got := ClientAddr(r, trusted); got != netip.MustParseAddr("198.51.100.1") {
			t.Fatalf("%q makes a stranger %s", hops, got)
		}
		r.RemoteAddr = "127.0.0.1:1234"
		got := ClientAddr(r, trusted)
		if !got.IsValid() || got.Zone() != "" || got.Is4In6() {
			t.Fatalf("%q gives %v, which no network contains", hops, got)
		}
	})
}
