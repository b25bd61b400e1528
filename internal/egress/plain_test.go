package egress

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/bubble"
)

// A receiver that has seen enough of a body answers at once, and is heard although it reads no further.
func TestAnswerBeforeTheBody(t *testing.T) {
	heard := make(chan struct{})
	rec := listen(t, "127.0.0.1:0", func(_ *receiver, nc net.Conn) {
		_, _ = io.ReadFull(nc, make([]byte, 100))
		_, _ = io.WriteString(nc, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
		<-heard
	})
	client := loopbackClient(t)
	r := client.Do(context.Background(), Request{URL: rec.url(), Body: make([]byte, 64<<20)})
	close(heard)
	if r.Outcome != posthorn.HTTPError || r.StatusCode != 413 {
		t.Errorf("%s %s %d (%v)", r.Outcome, r.Code, r.StatusCode, r.Err)
	}
	if client.idle.total != 0 {
		t.Error("the connection is kept, and the rest of the body is not sent")
	}
}

// A request without TLS is read as what net/http would have written.
func TestPlainHead(t *testing.T) {
	policy := NewPolicy([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}, true)
	headers := http.Header{"webhook-id": {"evt_1"}, "X-Twice": {"a", "b"}, "User-Agent": {"Posthorn"}, "Host": {"other"}, "Content-Length": {"7"}, "Transfer-Encoding": {"chunked"}}
	for _, r := range []Request{
		{Method: http.MethodPost, Header: headers, Body: []byte("{}")},
		{Method: http.MethodPost},
		{Method: http.MethodGet, Header: headers},
		{Method: http.MethodPut, Header: headers},
	} {
		for _, raw := range []string{"http://hooks.acme.net", "http://hooks.acme.net:8080/p/%2F?q=1&r=%20;", "http://[2001:db8::1]/a%20b?", "http://192.0.2.1/é"} {
			u, err := policy.CheckURL(raw)
			if err != nil {
				t.Fatal(raw, err)
			}
			var ours, theirs bytes.Buffer
			w := bufio.NewWriter(&ours)
			writeHead(w, u, &r)
			_, _ = w.Write(r.Body)
			_ = w.Flush()
			if err := newRequest(context.Background(), u, &r).Write(&theirs); err != nil {
				t.Fatal(err)
			}
			read := func(b *bytes.Buffer) string {
				req, err := http.ReadRequest(bufio.NewReader(b))
				if err != nil {
					t.Fatal(err)
				}
				if len(r.Header) == 0 {
					req.Header.Del("User-Agent") // net/http's own
				}
				body, _ := io.ReadAll(req.Body)
				return fmt.Sprint(req.Method, req.RequestURI, req.Proto, req.Host, req.ContentLength, req.Header, string(body), b.Len())
			}
			if got, want := read(&ours), read(&theirs); got != want {
				t.Errorf("%s %s:\n got %s\nwant %s", r.Method, raw, got, want)
			}
		}
	}
}

// The client's own headers cannot be sent in other letters either.
func TestDisguisedHeaders(t *testing.T) {
	rec := listen(t, "127.0.0.1:0", replying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false))
	client := loopbackClient(t)
	for _, name := range []string{"host", "content-length", "TRANSFER-ENCODING", "trailer", "user-agent"} {
		if r := client.Do(t.Context(), Request{URL: rec.url(), Header: http.Header{name: {"1"}}}); r.Outcome == posthorn.Succeeded {
			t.Errorf("%s is sent", name)
		}
	}
	if n := rec.requests.Load(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// Bodies arrive byte for byte, on either side of the size from which the answer is read meanwhile.
func TestBodiesArriveWhole(t *testing.T) {
	got := make(chan []byte, 1)
	rec := listen(t, "127.0.0.1:0", func(_ *receiver, nc net.Conn) {
		reader := bufio.NewReader(nc)
		for {
			req, err := http.ReadRequest(reader)
			if err != nil {
				return
			}
			body, _ := io.ReadAll(req.Body)
			got <- body
			_, _ = io.WriteString(nc, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	})
	client := loopbackClient(t)
	for i, size := range []int{0, 1, 4095, 4096, alongside, alongside + 1, 300_000, 5_000_000} {
		body := bytes.Repeat([]byte("posthorn"), size/8+1)[:size]
		r := client.Do(context.Background(), Request{URL: rec.url(), Body: body})
		if r.Outcome != posthorn.Succeeded || !bytes.Equal(<-got, body) {
			t.Errorf("%d bytes: %s %s (%v)", size, r.Outcome, r.Code, r.Err)
		}
		// After a large one that depends on how soon its writer runs.
		if size <= alongside && r.Timing.Reused != (i > 0) {
			t.Errorf("%d bytes: reused %v", size, r.Timing.Reused)
		}
	}
}

// What a receiver does to a connection while nobody uses it costs no request.
func TestIdleConnectionsAreLookedAt(t *testing.T) {
	const ok, unasked = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
	cases := map[string]func(nc net.Conn){
		"Closed":   func(nc net.Conn) { _ = nc.Close() },
		"Reset":    func(nc net.Conn) { _ = nc.(*net.TCPConn).SetLinger(0); _ = nc.Close() },
		"SpokenTo": func(nc net.Conn) { _, _ = io.WriteString(nc, unasked) },
	}
	for name, then := range cases {
		t.Run(name, func(t *testing.T) {
			answered := make(chan struct{})
			rec := listen(t, "127.0.0.1:0", func(r *receiver, nc net.Conn) {
				if readRequest(r, bufio.NewReader(nc)) {
					_, _ = io.WriteString(nc, ok)
					<-answered
					then(nc)
					answered <- struct{}{}
				}
			})
			client := loopbackClient(t)
			for try := range 3 {
				r := post(client, rec.url())
				if r.Outcome != posthorn.Succeeded || r.Timing.Reused {
					t.Errorf("try %d: %s %s, reused %v (%v)", try, r.Outcome, r.Code, r.Timing.Reused, r.Err)
				}
				answered <- struct{}{}
				<-answered
			}
			if n := rec.requests.Load(); n != 3 {
				t.Errorf("%d requests, want 3: some were made in vain", n)
			}
		})
	}
}

// A connection outlives the deadline of the request that used it.
func TestIdleConnectionsAfterTheDeadline(t *testing.T) {
	rec := listen(t, "127.0.0.1:0", replying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false))
	client := loopbackClient(t)
	for try := range 3 {
		r := post(client, rec.url())
		if r.Outcome != posthorn.Succeeded || r.Timing.Reused != (try > 0) {
			t.Errorf("try %d: %s %s, reused %v (%v)", try, r.Outcome, r.Code, r.Timing.Reused, r.Err)
		}
		for _, c := range client.idle.of[rec.addr.String()] {
			_ = c.SetDeadline(time.Unix(1, 0))
		}
	}
}

// An answer that came before the request was written in full is heard, and ends the matter.
func TestAnswerBeforeTheEndOfASmallBody(t *testing.T) {
	rec := listen(t, "127.0.0.1:0", func(r *receiver, nc net.Conn) {
		_, _ = io.ReadFull(nc, make([]byte, 1))
		r.requests.Add(1)
		_, _ = io.WriteString(nc, "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		_, _ = io.Copy(io.Discard, nc)
	})
	client := loopbackClient(t)
	a := &attempt{deadline: time.Now().Add(time.Minute)}
	nc, _, err := client.plainConn(context.Background(), a, rec.addr.String(), true)
	if err != nil {
		t.Fatal(err)
	}
	r := &Request{Method: http.MethodPost, Body: make([]byte, alongside)}
	result, clean, err := client.exchangeOver(breakingConn{nc}, a, rec.url().URL, r)
	if result.StatusCode != 429 || result.Header.Get("Retry-After") != "7" || clean || err != nil {
		t.Errorf("%d, clean %v (%v)", result.StatusCode, clean, err)
	}
	_ = nc.Close()
}

// breakingConn breaks at a second write, when the answer is there.
type breakingConn struct{ net.Conn }

func (c breakingConn) Write(b []byte) (int, error) {
	if len(b) > 4096 {
		return 0, syscall.EPIPE
	}
	return c.Conn.Write(b)
}

// What is interrupted before it begins is not sent.
func TestInterruptedBeforeItBegan(t *testing.T) {
	rec := listen(t, "127.0.0.1:0", replying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false))
	client := loopbackClient(t)
	post(client, rec.url())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if r := client.Do(ctx, Request{URL: rec.url()}); r.Outcome != posthorn.Interrupted || rec.requests.Load() != 1 {
		t.Errorf("%s %s after %d requests", r.Outcome, r.Code, rec.requests.Load())
	}
}

func TestIdleConnectionsAreBounded(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var p idleConns
		var open atomic.Int32
		put := func(address string) {
			near, _ := net.Pipe()
			open.Add(1)
			p.put(address, countedConn{near, &open})
		}
		wantOpen := func(want int) {
			t.Helper()
			synctest.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			if n := int(open.Load()); n != want || p.total != want || want <= 1 && len(p.of) != want {
				t.Errorf("%d connections are open and %d counted, at %d addresses; want %d", n, p.total, len(p.of), want)
			}
		}
		for range maxIdlePerHost + 5 {
			put("a:80")
		}
		wantOpen(maxIdlePerHost)
		for i := range maxIdle {
			put(fmt.Sprintf("%d:80", i))
			if len(p.of[fmt.Sprintf("%d:80", i)]) != 1 {
				t.Fatal("a connection to a new address was not kept")
			}
		}
		wantOpen(maxIdle)
		time.Sleep(idleTimeout / 2)
		put("b:80")
		time.Sleep(idleTimeout/2 + time.Second)
		wantOpen(1)
		time.Sleep(idleTimeout / 2)
		wantOpen(0)
	})
}

// countedConn counts while it is open.
type countedConn struct {
	net.Conn
	open *atomic.Int32
}

func (c countedConn) Close() error {
	c.open.Add(-1)
	return c.Conn.Close()
}

// A connection that a request was interrupted on is not used again.
func TestInterruptedConnectionIsClosed(t *testing.T) {
	started := make(chan struct{}, 1)
	rec := listen(t, "127.0.0.1:0", func(r *receiver, nc net.Conn) {
		if readRequest(r, bufio.NewReader(nc)) {
			started <- struct{}{}
		}
		_, _ = io.Copy(io.Discard, nc)
	})
	client := loopbackClient(t)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-started
		cancel()
	}()
	if r := client.Do(ctx, Request{URL: rec.url(), Body: []byte(strings.Repeat("x", 100))}); r.Outcome != posthorn.Interrupted {
		t.Errorf("%s %s (%v)", r.Outcome, r.Code, r.Err)
	}
	if client.idle.total != 0 {
		t.Error("the connection waits for another request")
	}
}
