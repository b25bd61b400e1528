package egress

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/posthorn/posthorn"
)

// nameServer answers over UDP what a script says: each lookup of a name takes the next answer, the last repeats. Like any
// recursive server it follows an alias itself.
type nameServer struct {
	addr string

	mu     sync.Mutex
	script []answer
	// asked counts the questions of each type.
	asked map[dnsmessage.Type]int
	code  dnsmessage.RCode
}

func serveNames(t *testing.T, script ...answer) *nameServer {
	t.Helper()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	s := &nameServer{addr: pc.LocalAddr().String(), script: script, asked: map[dnsmessage.Type]int{}}
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			var query dnsmessage.Message
			if query.Unpack(b[:n]) != nil || len(query.Questions) != 1 {
				continue
			}
			if packed, err := s.reply(query).Pack(); err == nil {
				_, _ = pc.WriteTo(packed, from)
			}
		}
	}()
	return s
}

func (s *nameServer) reply(query dnsmessage.Message) *dnsmessage.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := query.Questions[0]
	turn := s.asked[q.Type]
	s.asked[q.Type]++
	m := &dnsmessage.Message{
		Header:    dnsmessage.Header{ID: query.ID, Response: true, RecursionAvailable: true, RCode: s.code},
		Questions: query.Questions,
	}
	if len(s.script) == 0 {
		return m
	}
	a := s.script[min(turn, len(s.script)-1)]
	owner := q.Name
	if a.CNAME != "" {
		owner = dnsmessage.MustNewName(a.CNAME)
		m.Answers = append(m.Answers, record(q.Name, &dnsmessage.CNAMEResource{CNAME: owner}))
		if strings.HasPrefix(a.CNAME, "localhost") {
			a.A, a.AAAA = []string{"127.0.0.1"}, []string{"::1"}
		}
	}
	addrs := a.A
	if q.Type == dnsmessage.TypeAAAA {
		addrs = a.AAAA
	}
	for i := range addrs {
		if a.Rotate {
			i = (i + turn) % len(addrs)
		}
		addr, err := netip.ParseAddr(addrs[i])
		if err != nil {
			// The corpus writes <address of Postgres> for one of this network.
			addr = netip.MustParseAddr("10.0.0.5")
		}
		if addr.Is4() {
			m.Answers = append(m.Answers, record(owner, &dnsmessage.AResource{A: addr.As4()}))
		} else {
			m.Answers = append(m.Answers, record(owner, &dnsmessage.AAAAResource{AAAA: addr.As16()}))
		}
	}
	return m
}

func record(name dnsmessage.Name, body dnsmessage.ResourceBody) dnsmessage.Resource {
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET}, Body: body}
}

// resolver asks the stub and nobody else.
func (s *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp4", s.addr)
	}}
}

// at is a URL of a name, with the port of a receiver on this machine.
func at(t *testing.T, raw string, port uint16) *URL {
	t.Helper()
	u := parse(raw)
	return parse(u.Scheme + "://" + u.Hostname() + ":" + strconv.Itoa(int(port)) + u.Path)
}

func TestCorpusDNS(t *testing.T) {
	eachCorpus(t, "ssrf.json", func(t *testing.T, corpus ssrfCorpus) {
		for _, c := range corpus.DNS {
			t.Run(c.ID, func(t *testing.T) {
				inside := listen(t, "127.0.0.1:0", replying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true))
				script := c.DNS
				if len(script) > 1 {
					// Registration asks nothing, so the delivery may come at any moment of the script: at the last.
					script = script[len(script)-1:]
				}
				client := New(Options{Policy: NewPolicy(nil, true), Resolver: serveNames(t, script...).resolver()})
				for range 3 {
					r := client.Do(context.Background(), Request{URL: at(t, c.URL, inside.addr.Port())})
					if r.Outcome != posthorn.Blocked || r.Code != "address_not_public" || !r.OurFault {
						t.Errorf("%s: %s %s (%v)", c.Reason, r.Outcome, r.Code, r.Err)
					}
					if !strings.Contains(r.Detail, settingPrivate) {
						t.Errorf("the detail does not name the setting: %s", r.Detail)
					}
					wantNoAddress(t, r)
				}
				if n := inside.connections.Load(); n != 0 {
					t.Errorf("%d connections were made", n)
				}
			})
		}
	})
}

// The name first leads to an allowed address, then to another: the address checked is the address dialled, each time.
func TestRebinding(t *testing.T) {
	const closing = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	public := listen(t, "127.0.0.2:0", replying(closing, true))
	private := listen(t, "127.0.0.1:"+strconv.Itoa(int(public.addr.Port())), replying(closing, true))
	names := serveNames(t, answer{A: []string{"127.0.0.2"}}, answer{A: []string{"127.0.0.1"}}, answer{A: []string{"127.0.0.2"}})
	client := New(Options{Policy: NewPolicy(prefixes("127.0.0.2/32"), true), Resolver: names.resolver()})
	u := at(t, "http://hooks.example.com/hook", public.addr.Port())
	for i, want := range []posthorn.Outcome{posthorn.Succeeded, posthorn.Blocked, posthorn.Succeeded} {
		r := client.Do(context.Background(), Request{URL: u})
		if r.Outcome != want {
			t.Errorf("attempt %d: %s %s (%v), want %s", i, r.Outcome, r.Code, r.Err, want)
		}
		if want == posthorn.Succeeded && (r.Timing.DNS <= 0 || r.Remote != public.addr) {
			t.Errorf("attempt %d: remote %v, timing %+v", i, r.Remote, r.Timing)
		}
	}
	if public.connections.Load() != 2 || private.connections.Load() != 0 {
		t.Errorf("%d and %d connections, want 2 and 0", public.connections.Load(), private.connections.Load())
	}
}

// A live connection stays good while the name moves on: it is not dialled again.
func TestPooledConnectionNeedsNoName(t *testing.T) {
	rec := listen(t, "127.0.0.2:0", replying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false))
	names := serveNames(t, answer{A: []string{"127.0.0.2"}}, answer{A: []string{"127.0.0.1"}})
	client := New(Options{Policy: NewPolicy(prefixes("127.0.0.2/32"), true), Resolver: names.resolver()})
	t.Cleanup(client.Close)
	for i := range 3 {
		r := client.Do(context.Background(), Request{URL: at(t, "http://hooks.example.com/", rec.addr.Port())})
		if r.Outcome != posthorn.Succeeded || r.Timing.Reused != (i > 0) {
			t.Errorf("attempt %d: %s %s, reused %v (%v)", i, r.Outcome, r.Code, r.Timing.Reused, r.Err)
		}
	}
}

func TestNameServerAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		rcode dnsmessage.RCode
		code  string
		ours  bool
	}{
		"NameError":     {dnsmessage.RCodeNameError, "dns_not_found", false},
		"NoData":        {dnsmessage.RCodeSuccess, "dns_not_found", false},
		"ServerFailure": {dnsmessage.RCodeServerFailure, "dns_failed", true},
		"Refused":       {dnsmessage.RCodeRefused, "dns_failed", true},
	} {
		t.Run(name, func(t *testing.T) {
			names := serveNames(t)
			names.mu.Lock()
			names.code = c.rcode
			names.mu.Unlock()
			client := New(Options{Policy: NewPolicy(nil, true), Resolver: names.resolver()})
			r := client.Do(context.Background(), Request{URL: parse("http://hooks.example.com/")})
			if r.Outcome != posthorn.DNSError || r.Code != c.code || r.OurFault != c.ours {
				t.Errorf("%s %s, our fault %v (%v)", r.Outcome, r.Code, r.OurFault, r.Err)
			}
			wantNoAddress(t, r)
		})
	}
}

// Of several addresses the ones that do not answer are passed over, in one family and across both.
func TestNextAddress(t *testing.T) {
	rec := listen(t, "127.0.0.3:0", replying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true))
	for name, a := range map[string]answer{
		"SameFamily":  {A: []string{"127.0.0.2", "127.0.0.3"}},
		"OtherFamily": {A: []string{"127.0.0.3"}, AAAA: []string{"::1"}},
	} {
		t.Run(name, func(t *testing.T) {
			client := New(Options{Policy: NewPolicy(prefixes("127.0.0.0/8", "::1/128"), true), Resolver: serveNames(t, a).resolver()})
			r := client.Do(context.Background(), Request{URL: at(t, "http://hooks.example.com/", rec.addr.Port())})
			if r.Outcome != posthorn.Succeeded || r.Remote != rec.addr {
				t.Errorf("%s %s at %v (%v)", r.Outcome, r.Code, r.Remote, r.Err)
			}
		})
	}
	t.Run("None", func(t *testing.T) {
		names := serveNames(t, answer{A: []string{"127.0.0.2", "127.0.0.4"}, AAAA: []string{"::1"}})
		client := New(Options{Policy: NewPolicy(prefixes("127.0.0.0/8", "::1/128"), true), Resolver: names.resolver()})
		r := client.Do(context.Background(), Request{URL: at(t, "http://hooks.example.com/", rec.addr.Port())})
		if r.Outcome != posthorn.ConnectError || r.Code != "connection_refused" && r.Code != "connect_local" && r.Code != "unreachable" {
			t.Errorf("%s %s (%v)", r.Outcome, r.Code, r.Err)
		}
	})
}

func TestLocalhostNeedsNoDNS(t *testing.T) {
	rec := listen(t, "127.0.0.1:0", replying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true))
	names := serveNames(t, answer{A: []string{"10.0.0.1"}})
	client := New(Options{Policy: NewPolicy(prefixes("127.0.0.0/8"), true), Resolver: names.resolver()})
	for _, host := range []string{"localhost", "app.localhost"} {
		r := client.Do(context.Background(), Request{URL: at(t, "http://"+host+"/", rec.addr.Port())})
		if r.Outcome != posthorn.Succeeded || r.Remote != rec.addr {
			t.Errorf("%s: %s %s (%v)", host, r.Outcome, r.Code, r.Err)
		}
	}
	names.mu.Lock()
	defer names.mu.Unlock()
	if len(names.asked) != 0 {
		t.Errorf("asked %v", names.asked)
	}
}
