package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

// asked are the targets a proxy was asked for.
type asked struct {
	mu      sync.Mutex
	targets []string
}

func (a *asked) note(target string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.targets = append(a.targets, target)
}

func (a *asked) all() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.targets
}

// splice connects two ends until one closes.
func splice(a, b net.Conn) {
	go func() { _, _ = io.Copy(a, b); _ = a.Close() }()
	_, _ = io.Copy(b, a)
	_ = b.Close()
}

// connectProxy is an HTTP proxy that makes tunnels, for those who know the password.
func connectProxy(t *testing.T, authorization string) (*asked, *receiver) {
	seen := &asked{}
	return seen, listen(t, "127.0.0.1:0", func(_ *receiver, nc net.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(nc))
		if err != nil {
			return
		}
		seen.note(req.Host)
		if req.Method != http.MethodConnect || req.Header.Get("Proxy-Authorization") != authorization {
			_, _ = io.WriteString(nc, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
			return
		}
		to, err := net.Dial("tcp", req.Host)
		if err != nil {
			_, _ = io.WriteString(nc, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
			return
		}
		_, _ = io.WriteString(nc, "HTTP/1.1 200 Connection established\r\n\r\n")
		splice(to, nc)
	})
}

// socksProxy is a SOCKS5 server (RFC 1928) that wants a user and password (RFC 1929), or nothing where user is empty.
func socksProxy(t *testing.T, user, password string) (*asked, *receiver) {
	seen := &asked{}
	return seen, listen(t, "127.0.0.1:0", func(_ *receiver, nc net.Conn) {
		in := bufio.NewReader(nc)
		take := func(n int) []byte {
			b := make([]byte, n)
			_, _ = io.ReadFull(in, b)
			return b
		}
		take(int(take(2)[1]))
		if user == "" {
			_, _ = nc.Write([]byte{5, 0})
		} else {
			_, _ = nc.Write([]byte{5, 2})
			name := take(int(take(2)[1]))
			secret := take(int(take(1)[0]))
			if string(name) != user || string(secret) != password {
				_, _ = nc.Write([]byte{1, 1})
				return
			}
			_, _ = nc.Write([]byte{1, 0})
		}
		head := take(4)
		if head[1] != 1 || head[3] != 1 {
			// Names are not for the proxy to look up.
			_, _ = nc.Write([]byte{5, 8, 0, 1, 0, 0, 0, 0, 0, 0})
			return
		}
		addr, _ := netip.AddrFromSlice(take(4))
		target := netip.AddrPortFrom(addr, binary.BigEndian.Uint16(take(2))).String()
		seen.note(target)
		to, err := net.Dial("tcp", target)
		if err != nil {
			_, _ = nc.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
			return
		}
		_, _ = nc.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		splice(to, nc)
	})
}

func proxied(t *testing.T, proxy string, o Options) *Client {
	t.Helper()
	p, err := ParseProxy(proxy)
	if err != nil {
		t.Fatal(err)
	}
	o.Policy, o.Proxy = NewPolicy(prefixes("127.0.0.0/8"), true), p
	c := New(o)
	t.Cleanup(c.Close)
	return c
}

func TestProxy(t *testing.T) {
	const basic = "Basic dTpwIHc=" // u:p w
	httpSeen, plain := connectProxy(t, "")
	lockedSeen, locked := connectProxy(t, basic)
	socksSeen, socks := socksProxy(t, "", "")
	keyedSeen, keyed := socksProxy(t, "u", "p w")
	for name, c := range map[string]struct {
		url  string
		seen *asked
	}{
		"HTTP":             {"http://" + plain.addr.String(), httpSeen},
		"HTTPWithPassword": {"http://u:p%20w@" + locked.addr.String(), lockedSeen},
		"SOCKS":            {"socks5://" + socks.addr.String(), socksSeen},
		"SOCKSWithUser":    {"socks5://u:p%20w@" + keyed.addr.String(), keyedSeen},
	} {
		t.Run(name, func(t *testing.T) {
			r := listen(t, "127.0.0.1:0", replying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false))
			client := proxied(t, c.url, Options{Resolver: fixed("127.0.0.1")})
			to := r.url()
			to.Host = "receiver.example.com:" + to.Port()
			for range 2 {
				if got := post(client, to); got.Outcome != posthorn.Succeeded {
					t.Fatalf("%s: %s %v", got.Outcome, got.Detail, got.Err)
				}
			}
			if all := c.seen.all(); len(all) != 1 || all[0] != r.addr.String() {
				t.Errorf("the proxy was asked for %v, want once the numeric address %s", all, r.addr)
			}
		})
	}
}

// fixed is a resolver with one answer.
type fixed string

func (f fixed) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr(string(f))}, nil
}

func TestProxyKeepsTheGuard(t *testing.T) {
	seen, p := connectProxy(t, "")
	c := proxied(t, "http://"+p.addr.String(), Options{Resolver: fixed("10.0.0.1")})
	for _, to := range []string{"https://10.0.0.1/", "https://inside.example.com/"} {
		got := post(c, parse(to))
		if got.Outcome != posthorn.Blocked || !got.OurFault {
			t.Errorf("%s: %s", to, got.Outcome)
		}
		wantNoAddress(t, got)
	}
	if p.connections.Load() != 0 || len(seen.all()) != 0 {
		t.Error("the proxy was asked for what the policy refuses")
	}
}

// TestProxyVerifiesTheReceiver has the receiver's certificate checked against its name, through a tunnel.
func TestProxyVerifiesTheReceiver(t *testing.T) {
	_, p := connectProxy(t, "")
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c := proxied(t, "http://"+p.addr.String(), Options{Resolver: fixed("127.0.0.1"), TLS: &tls.Config{RootCAs: roots}})
	port := parse(s.URL).Port()
	if got := post(c, parse("https://example.com:"+port+"/")); got.Outcome != posthorn.Succeeded {
		t.Errorf("%s: %s", got.Outcome, got.Detail)
	}
	if got := post(c, parse("https://other.example.net:"+port+"/")); got.Code != "tls_certificate_name" {
		t.Errorf("%s: %s", got.Code, got.Detail)
	}
}

func TestProxyFails(t *testing.T) {
	_, locked := connectProxy(t, "Basic other")
	_, keyed := socksProxy(t, "u", "p")
	_, plain := connectProxy(t, "")
	_, socks := socksProxy(t, "", "")
	chatty := listen(t, "127.0.0.1:0", replying("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false))
	endless := listen(t, "127.0.0.1:0", replying("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1<<20), false))
	silent := listen(t, "127.0.0.1:0", func(_ *receiver, nc net.Conn) { _, _ = io.Copy(io.Discard, nc) })
	gone := listen(t, "127.0.0.1:0", func(*receiver, net.Conn) {})
	closed, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nowhere := closed.Addr().String()
	_ = closed.Close()
	for name, c := range map[string]struct {
		proxy, to, code string
		ours            bool
	}{
		"Password":        {"http://u:wrong@" + locked.addr.String(), "", "proxy_failed", true},
		"SOCKSPassword":   {"socks5://u:wrong@" + keyed.addr.String(), "", "proxy_failed", true},
		"NotThere":        {"http://" + nowhere, "", "proxy_failed", true},
		"SOCKSNotThere":   {"socks5://" + nowhere, "", "proxy_failed", true},
		"SpeaksFirst":     {"http://" + chatty.addr.String(), "", "proxy_failed", true},
		"EndlessHeader":   {"http://" + endless.addr.String(), "", "proxy_failed", true},
		"Silent":          {"http://" + silent.addr.String(), "", "connect_timeout", false},
		"ReceiverGone":    {"http://" + plain.addr.String(), nowhere, "unreachable", false},
		"ReceiverRefuses": {"socks5://" + socks.addr.String(), nowhere, "unreachable", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := proxied(t, c.proxy, Options{})
			to := gone.url()
			if c.to != "" {
				to = parse("http://" + c.to + "/")
			}
			got := client.Do(t.Context(), Request{URL: to, Timeout: time.Second})
			if got.Code != c.code || got.OurFault != c.ours {
				t.Errorf("%s, ours %v (%v), want %s, ours %v", got.Code, got.OurFault, got.Err, c.code, c.ours)
			}
			wantNoAddress(t, got)
			if strings.Contains(got.Detail, "wrong") || got.Err != nil && strings.Contains(got.Err.Error(), "wrong") {
				t.Errorf("the password is shown: %v", got.Err)
			}
		})
	}
}

func TestParseProxy(t *testing.T) {
	for _, bad := range []string{"", "proxy:3128", "http://proxy", "ftp://proxy:21", "socks5h://proxy:1080", "http://proxy:3128/path", "http://:3128", "http://u:s3cret@proxy:x"} {
		if _, err := ParseProxy(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the password is shown: %v", err)
		}
	}
}
