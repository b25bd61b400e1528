package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/bubble"
)

// inBubble runs a receiver at the far end of a pipe, and everything in fake time.
func inBubble(t *testing.T, handle func(nc net.Conn), test func(t *testing.T, c *Client)) {
	bubble.Test(t, func(t *testing.T) {
		var receivers sync.WaitGroup
		c := New(Options{
			Policy: NewPolicy(nil, true),
			Dial: func(_ context.Context, network, address string) (net.Conn, error) {
				if network != "tcp" || !strings.HasPrefix(address, "receiver.example.com:") {
					return nil, errors.New("dialled " + network + " " + address)
				}
				near, far := net.Pipe()
				receivers.Go(func() {
					defer far.Close()
					handle(far)
				})
				return near, nil
			},
		})
		test(t, c)
		c.Close()
		receivers.Wait()
	})
}

// drip writes a byte each second.
func drip(w io.Writer, text string) {
	for i := range len(text) {
		if _, err := io.WriteString(w, text[i:i+1]); err != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

func TestDeadlines(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	cases := map[string]struct {
		scheme string
		// answer follows the request; raw replaces reading the request as well.
		answer func(nc net.Conn)
		raw    func(nc net.Conn)
		body   int
		code   string
		status int
	}{
		"NoAnswer":      {answer: func(nc net.Conn) { hang(nc) }, code: "response_timeout"},
		"JustInTime":    {answer: func(nc net.Conn) { time.Sleep(14 * time.Second); _, _ = io.WriteString(nc, ok+"\r\n") }, status: 200},
		"HeadersDrip":   {answer: func(nc net.Conn) { drip(nc, ok+"Content-Length: 2\r\n\r\nok") }, code: "response_timeout"},
		"BodyDrips":     {answer: func(nc net.Conn) { _, _ = io.WriteString(nc, ok+"\r\n"); drip(nc, strings.Repeat("x", 60)) }, code: "body_timeout", status: 200},
		"BodyNeverEnds": {answer: func(nc net.Conn) { _, _ = io.WriteString(nc, ok+"Content-Length: 3\r\n\r\nxx"); hang(nc) }, code: "body_timeout", status: 200},
		"EndlessInformational": {answer: func(nc net.Conn) {
			for {
				if _, err := io.WriteString(nc, "HTTP/1.1 102 Processing\r\n\r\n"); err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
		}, code: "response_timeout"},
		"NeverReads": {raw: func(net.Conn) { time.Sleep(time.Minute) }, body: 1 << 20, code: "response_timeout"},
		"ReadsSlowly": {raw: func(nc net.Conn) {
			b := make([]byte, 1000)
			for {
				if _, err := nc.Read(b); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, body: 1 << 20, code: "response_timeout"},
		"SilentHandshake": {scheme: "https", raw: hang, code: "tls_timeout"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			handle := c.raw
			if handle == nil {
				handle = func(nc net.Conn) {
					reader := bufio.NewReader(nc)
					if req, err := http.ReadRequest(reader); err == nil {
						_, _ = io.Copy(io.Discard, req.Body)
						c.answer(nc)
					}
				}
			}
			inBubble(t, handle, func(t *testing.T, client *Client) {
				if c.scheme == "" {
					c.scheme = "http"
				}
				start := time.Now()
				r := client.Do(context.Background(), Request{URL: parse(c.scheme + "://receiver.example.com/"), Body: make([]byte, c.body)})
				want := posthorn.Timeout
				if c.code == "" {
					want = posthorn.Succeeded
				}
				if r.Outcome != want || r.Code != c.code || r.StatusCode != c.status || r.OurFault {
					t.Errorf("%s %s %d (%v), want %s %s %d", r.Outcome, r.Code, r.StatusCode, r.Err, want, c.code, c.status)
				}
				if took := time.Since(start); took > DefaultTimeout || c.code != "" && took != DefaultTimeout || r.Timing.Total != took {
					t.Errorf("it took %v and says %v", took, r.Timing.Total)
				}
				wantNoAddress(t, r)
			})
		})
	}
}

// hang keeps a connection open and reads, until the other side closes it.
func hang(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) }

func TestTimeoutOfTheRequest(t *testing.T) {
	inBubble(t, hang, func(t *testing.T, c *Client) {
		start := time.Now()
		r := c.Do(context.Background(), Request{URL: parse("http://receiver.example.com/"), Timeout: 60 * time.Second})
		if took := time.Since(start); took != 60*time.Second || r.Outcome != posthorn.Timeout || !strings.Contains(r.Detail, "1m0s") {
			t.Errorf("%s after %v: %s", r.Outcome, took, r.Detail)
		}
	})
}

func TestInterrupted(t *testing.T) {
	inBubble(t, hang, func(t *testing.T, c *Client) {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		r := c.Do(ctx, Request{URL: parse("http://receiver.example.com/")})
		if r.Outcome != posthorn.Interrupted || !r.OurFault || r.Timing.Total != 3*time.Second {
			t.Errorf("%s, our fault %v, after %v", r.Outcome, r.OurFault, r.Timing.Total)
		}
	})
}

func TestIdleConnectionsEnd(t *testing.T) {
	connections := make(chan net.Conn, 4)
	handle := func(nc net.Conn) {
		connections <- nc
		replying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false)(new(receiver), nc)
	}
	inBubble(t, handle, func(t *testing.T, c *Client) {
		for _, pause := range []time.Duration{0, time.Minute, 2 * time.Minute} {
			time.Sleep(pause)
			r := c.Do(context.Background(), Request{URL: parse("http://receiver.example.com/")})
			if want := pause == time.Minute; r.Outcome != posthorn.Succeeded || r.Timing.Reused != want {
				t.Errorf("after %v: %s, reused %v", pause, r.Outcome, r.Timing.Reused)
			}
		}
		if len(connections) != 2 {
			t.Errorf("%d connections, want 2", len(connections))
		}
	})
}

// A connection that never opens is not waited for beyond the deadline, not even in the background.
func TestDialEndsWithTheDeadline(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		ended := make(chan time.Duration, 1)
		start := time.Now()
		c := New(Options{Policy: NewPolicy(nil, true), Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			ended <- time.Since(start)
			return nil, ctx.Err()
		}})
		r := c.Do(context.Background(), Request{URL: parse("http://receiver.example.com/"), Timeout: 7 * time.Second})
		if r.Outcome != posthorn.Timeout || r.Code != "connect_timeout" || r.OurFault {
			t.Errorf("%s %s (%v)", r.Outcome, r.Code, r.Err)
		}
		if took := <-ended; took != 7*time.Second {
			t.Errorf("the dial went on for %v", took)
		}
	})
}

// resolverFunc is a scripted resolver.
type resolverFunc func(ctx context.Context, host string) ([]netip.Addr, error)

func (f resolverFunc) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	return f(ctx, host)
}

func TestResolverFailures(t *testing.T) {
	hanging := func(ctx context.Context, _ string) ([]netip.Addr, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	failing := func(err error) resolverFunc {
		return func(context.Context, string) ([]netip.Addr, error) { return nil, err }
	}
	cases := map[string]struct {
		resolver resolverFunc
		timeout  time.Duration
		code     string
		ours     bool
		took     time.Duration
	}{
		"Hangs":         {hanging, 0, "dns_timeout", true, 5 * time.Second},
		"HangsForShort": {hanging, 2 * time.Second, "dns_timeout", true, 2 * time.Second},
		"NotFound":      {failing(&net.DNSError{Err: "no such host", Name: "10.0.0.1", IsNotFound: true}), 0, "dns_not_found", false, 0},
		"NoAddresses":   {func(context.Context, string) ([]netip.Addr, error) { return nil, nil }, 0, "dns_not_found", false, 0},
		"ServerFailed":  {failing(&net.DNSError{Err: "server misbehaving", Server: "10.0.0.2:53", IsTemporary: true}), 0, "dns_failed", true, 0},
		"TimedOut":      {failing(&net.DNSError{Err: "i/o timeout", Server: "10.0.0.2:53", IsTimeout: true}), 0, "dns_timeout", true, 0},
		"Other":         {failing(errors.New("no resolver at 10.0.0.2")), 0, "dns_failed", true, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				client := New(Options{Policy: NewPolicy(nil, true), Resolver: c.resolver})
				start := time.Now()
				r := client.Do(context.Background(), Request{URL: parse("http://receiver.example.com/"), Timeout: c.timeout})
				if r.Outcome != posthorn.DNSError || r.Code != c.code || r.OurFault != c.ours || time.Since(start) != c.took {
					t.Errorf("%s %s, our fault %v, after %v (%v)", r.Outcome, r.Code, r.OurFault, time.Since(start), r.Err)
				}
				wantNoAddress(t, r)
				// The dial goroutine of a request that gave up ends with its deadline.
				time.Sleep(time.Second)
				synctest.Wait()
			})
		})
	}
}

func TestNamesAreRooted(t *testing.T) {
	asked := make(chan string, 1)
	resolver := resolverFunc(func(_ context.Context, host string) ([]netip.Addr, error) {
		asked <- host
		return nil, nil
	})
	for url, want := range map[string]string{
		"http://receiver.example.com/": "receiver.example.com.",
		"http://receiver.example.com.": "receiver.example.com.",
		"http://例え.jp/":                "xn--r8jz45g.jp.",
		"http://receiver:8080/":        "receiver",
		"http://hooks.internal/":       "hooks.internal",
	} {
		client := New(Options{Policy: NewPolicy(prefixes("10.0.0.0/8"), true), Resolver: resolver})
		if r := client.Do(context.Background(), Request{URL: parse(url)}); r.Outcome != posthorn.DNSError {
			t.Fatalf("%s: %s %s (%v)", url, r.Outcome, r.Code, r.Err)
		}
		if got := <-asked; got != want {
			t.Errorf("%s: asked for %q, want %q", url, got, want)
		}
	}
}

func TestVersionsBelowTLS12AreNotSpoken(t *testing.T) {
	c := New(Options{Policy: NewPolicy(nil, false), TLS: &tls.Config{MinVersion: tls.VersionTLS10}})
	for _, transport := range []*http.Transport{c.public.pooled, c.public.single} {
		if transport.TLSClientConfig.MinVersion != tls.VersionTLS12 || transport.Proxy != nil || transport.MaxIdleConnsPerHost < 256 {
			t.Errorf("%+v", transport)
		}
	}
}
