package egress

import (
	"net/netip"
	"testing"
)

func TestGuard(t *testing.T) {
	refused := []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "100.100.100.200", "127.0.0.1",
		"127.255.255.255", "168.63.129.16", "169.254.169.254", "169.254.0.0", "172.16.0.1", "172.31.255.255", "192.0.0.1",
		"192.0.0.170", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
		"224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:168.63.129.16", "::ffff:0:7f00:1", "64:ff9b::7f00:1",
		"64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "100::1", "100:0:0:1::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
		"2001:10::1", "2001:20::1", "2001:1ff:ffff::1", "2001:db8::1", "2002:7f00:1::1", "2620:4f:8000::1", "3fff::1", "3fff:fff::1",
		"4000::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "::1%lo",
		"2a00::5efe:7f00:1", "2a00::200:5efe:a00:1",
	}
	allowed := []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1",
		"168.63.129.15", "168.63.129.17", "169.253.255.255", "169.255.0.1", "172.15.255.255", "172.32.0.0", "192.167.255.255",
		"192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.254", "::ffff:8.8.8.8", "64:ff9b::808:808",
		"2001:200::1", "2001:4860:4860::8888", "2003::1", "2606:4700:4700::1111", "2a00::1", "3fff:1000::1", "2606:4700::1%eth0",
		"2a00::5efe:808:808", "2a00::100:5efe:7f00:1",
	}
	policy := NewPolicy(nil, false)
	for _, text := range refused {
		if policy.CheckAddr(netip.MustParseAddr(text)) == nil {
			t.Errorf("%s may be dialled", text)
		}
	}
	for _, text := range allowed {
		if err := policy.CheckAddr(netip.MustParseAddr(text)); err != nil {
			t.Errorf("%s may not be dialled: %v", text, err)
		}
	}
	if policy.CheckAddr(netip.Addr{}) == nil {
		t.Error("the absent address may be dialled")
	}
}

func TestGuardAllowedPrefixes(t *testing.T) {
	policy := NewPolicy(prefixes("10.1.0.0/16", "::ffff:192.168.7.0/120", "fd00::/8", "64:ff9b:1::/48"), false)
	for text, want := range map[string]bool{
		"10.1.2.3": true, "10.2.0.1": false, "::ffff:10.1.2.3": true, "64:ff9b::a01:203": true, "64:ff9b::a02:1": false,
		"192.168.7.9": true, "192.168.8.1": false, "fd12::1": true, "fd12::1%eth0": true, "fe80::1": false,
		"64:ff9b:1::7f00:1": true, "127.0.0.1": false, "8.8.8.8": true,
	} {
		if got := policy.CheckAddr(netip.MustParseAddr(text)) == nil; got != want {
			t.Errorf("%s may be dialled: %v, want %v", text, got, want)
		}
	}
}

func TestGuardControl(t *testing.T) {
	g := newGuard(nil)
	for _, c := range []struct {
		network, address string
		want             bool
	}{
		{"tcp4", "8.8.8.8:443", true},
		{"tcp6", "[2606:4700::1]:443", true},
		{"tcp4", "127.0.0.1:443", false},
		{"tcp6", "[::1]:443", false},
		{"tcp6", "[fe80::1%eth0]:443", false},
		{"tcp6", "[::ffff:127.0.0.1]:443", false},
		{"udp4", "8.8.8.8:443", false},
		{"unix", "/run/docker.sock", false},
		{"tcp4", "localhost:443", false},
	} {
		if err := g.control(c.network, c.address, nil); (err == nil) != c.want {
			t.Errorf("control(%s, %s) = %v, want allowed %v", c.network, c.address, err, c.want)
		}
	}
}

// FuzzGuard compares with what net/netip knows of addresses, and with every other way to write the same one.
func FuzzGuard(f *testing.F) {
	for _, seed := range []string{"127.0.0.1", "8.8.8.8", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2606:4700::1", "fe80::1"} {
		f.Add(netip.MustParseAddr(seed).AsSlice())
	}
	policy := NewPolicy(nil, false)
	f.Fuzz(func(t *testing.T, b []byte) {
		addr, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		err := policy.CheckAddr(addr)
		plain := addr.Unmap()
		if err == nil && (!plain.IsGlobalUnicast() || plain.IsPrivate() || plain.IsLoopback() || plain.IsLinkLocalUnicast()) {
			t.Fatalf("%s may be dialled", addr)
		}
		if (policy.CheckAddr(plain) == nil) != (err == nil) || addr.Is6() && (policy.CheckAddr(addr.WithZone("eth0")) == nil) != (err == nil) {
			t.Fatalf("%s is judged by its spelling", addr)
		}
		if plain.Is4() {
			nat64 := netip.MustParseAddr("64:ff9b::").As16()
			v4 := plain.As4()
			copy(nat64[12:], v4[:])
			if (policy.CheckAddr(netip.AddrFrom16(nat64)) == nil) != (err == nil) {
				t.Fatalf("%s is judged otherwise behind NAT64", addr)
			}
		}
	})
}
