package egress

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

func TestStatuses(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.URL.Path[1:])
		w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
		w.WriteHeader(status)
		if status >= 200 && status != 204 && status != 304 {
			_, _ = fmt.Fprint(w, "ok")
		}
	}))
	t.Cleanup(server.Close)
	c := loopbackClient(t)
	for status := 200; status <= 599; status++ {
		r := post(c, parse(server.URL+"/"+strconv.Itoa(status)))
		want := posthorn.HTTPError
		if status <= 299 {
			want = posthorn.Succeeded
		}
		if r.Outcome != want || r.StatusCode != status || r.OurFault {
			t.Errorf("%d: %s %d %s (%v)", status, r.Outcome, r.StatusCode, r.Code, r.Err)
		}
		if status != 204 && status != 304 && string(r.Body) != "ok" {
			t.Errorf("%d: body %q", status, r.Body)
		}
		wantNoAddress(t, r)
	}
}

func TestRequestOnTheWire(t *testing.T) {
	got := make(chan string, 2)
	rec := listen(t, "127.0.0.1:0", func(_ *receiver, nc net.Conn) {
		b := make([]byte, 4096)
		n, _ := io.ReadAtLeast(nc, b, 1)
		for !strings.HasSuffix(string(b[:n]), "body") {
			m, err := nc.Read(b[n:])
			if n += m; err != nil {
				break
			}
		}
		got <- string(b[:n])
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	c := loopbackClient(t)
	r := c.Do(context.Background(), Request{
		URL:    parse("http://" + rec.addr.String() + "/a%2Fb/c%20d?e=f&g=%2f"),
		Header: http.Header{"webhook-id": {"evt_1"}, "User-Agent": {"Posthorn/1"}, "Content-Type": {"application/json"}},
		Body:   []byte("body"),
	})
	if r.Outcome != posthorn.Succeeded {
		t.Fatalf("%s %s (%v)", r.Outcome, r.Code, r.Err)
	}
	want := "POST /a%2Fb/c%20d?e=f&g=%2f HTTP/1.1\r\nHost: " + rec.addr.String() +
		"\r\nUser-Agent: Posthorn/1\r\nContent-Length: 4\r\nContent-Type: application/json\r\nwebhook-id: evt_1\r\n\r\nbody"
	if text := <-got; text != want {
		t.Errorf("sent\n%q, want\n%q", text, want)
	}
}

func TestRawResponses(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	cases := map[string]struct {
		raw     string
		close   bool
		outcome posthorn.Outcome
		code    string
		body    string
	}{
		"NoReason":          {"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", false, posthorn.Succeeded, "", ""},
		"UntilClose":        {ok + "\r\nuntil the end", true, posthorn.Succeeded, "", "until the end"},
		"HTTP10":            {"HTTP/1.0 200 OK\r\n\r\nold", true, posthorn.Succeeded, "", "old"},
		"Chunked":           {ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", false, posthorn.Succeeded, "", "ok"},
		"GzipStays":         {ok + "Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00", false, posthorn.Succeeded, "", "\x1f\x8b\x08\x00"},
		"NestedGzip":        {ok + "Content-Encoding: gzip, gzip, gzip\r\nContent-Length: 4\r\n\r\nbomb", false, posthorn.Succeeded, "", "bomb"},
		"AltSvc":            {ok + "Alt-Svc: h3=\"127.0.0.1:443\"\r\nStrict-Transport-Security: max-age=1\r\nContent-Length: 0\r\n\r\n", false, posthorn.Succeeded, "", ""},
		"Informational":     {"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok + "Content-Length: 0\r\n\r\n", false, posthorn.Succeeded, "", ""},
		"SwitchProtocols":   {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", false, posthorn.HTTPError, "http_status", ""},
		"Status999":         {"HTTP/1.1 999 Custom\r\nContent-Length: 0\r\n\r\n", false, posthorn.HTTPError, "http_status", ""},
		"StatusWord":        {"HTTP/1.1 abc X\r\n\r\n", true, posthorn.InvalidResponse, "malformed_response", ""},
		"StatusZero":        {"HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n", true, posthorn.InvalidResponse, "malformed_response", ""},
		"Status99":          {"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n", true, posthorn.InvalidResponse, "malformed_response", ""},
		"StatusTwoDigits":   {"HTTP/1.1 99 X\r\n\r\n", true, posthorn.InvalidResponse, "malformed_response", ""},
		"NoColon":           {ok + "broken\r\nContent-Length: 0\r\n\r\n", true, posthorn.InvalidResponse, "malformed_response", ""},
		"TwoLengths":        {ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxy", true, posthorn.InvalidResponse, "malformed_response", ""},
		"NotHTTP":           {"SSH-2.0-OpenSSH_9.9\r\n", true, posthorn.InvalidResponse, "malformed_response", ""},
		"HeadersCutShort":   {ok + "X-A: b\r\n", true, posthorn.InvalidResponse, "malformed_response", ""},
		"BodyCutShort":      {ok + "Content-Length: 10\r\n\r\nhalf", true, posthorn.InvalidResponse, "body_truncated", "half"},
		"ChunksCutShort":    {ok + "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", true, posthorn.InvalidResponse, "body_truncated", "half"},
		"ErrorCutShort":     {"HTTP/1.1 503 X\r\nContent-Length: 10\r\n\r\nhalf", true, posthorn.HTTPError, "http_status", "half"},
		"BadChunk":          {ok + "Transfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n", true, posthorn.InvalidResponse, "body_truncated", ""},
		"OneHugeHeader":     {ok + "X-Big: " + strings.Repeat("a", 1000000) + "\r\n\r\n", true, posthorn.InvalidResponse, "headers_too_large", ""},
		"ManyHeaders":       {ok + strings.Repeat("X-A: b\r\n", 10000) + "\r\n", true, posthorn.InvalidResponse, "headers_too_large", ""},
		"HugeInformational": {strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 10000), true, posthorn.InvalidResponse, "headers_too_large", ""},
		"Nothing":           {"", true, posthorn.ConnectError, "connection_closed", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			rec := listen(t, "127.0.0.1:0", replying(c.raw, c.close))
			client := loopbackClient(t)
			r := post(client, rec.url())
			if r.Outcome != c.outcome || r.Code != c.code || string(r.Body) != c.body || r.OurFault {
				t.Errorf("%s %q, body %q, our fault %v (%v); want %s %q, body %q", r.Outcome, r.Code, r.Body, r.OurFault, r.Err, c.outcome, c.code, c.body)
			}
			wantNoAddress(t, r)
			if n := rec.requests.Load(); n != 1 {
				t.Errorf("%d requests were made", n)
			}
		})
	}
}

func TestBodyLimits(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	chunked := func(n int) string {
		return ok + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", n, strings.Repeat("x", n))
	}
	sized := func(n int) string { return ok + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", n, strings.Repeat("x", n)) }
	cases := map[string]struct {
		raw    string
		kept   int
		more   bool
		reused bool
	}{
		"Empty":         {sized(0), 0, false, true},
		"One":           {sized(1), 1, false, true},
		"Kept":          {sized(16 << 10), 16 << 10, false, true},
		"KeptAndOne":    {sized(16<<10 + 1), 16 << 10, true, true},
		"Limit":         {sized(64 << 10), 16 << 10, true, true},
		"LimitChunked":  {chunked(64 << 10), 16 << 10, true, true},
		"PastChunked":   {chunked(64<<10 + 9), 16 << 10, true, false},
		"Past":          {sized(64<<10 + 1), 16 << 10, true, false},
		"TenGigabytes":  {ok + "Content-Length: 10000000000\r\n\r\n" + strings.Repeat("x", 100<<10), 16 << 10, true, false},
		"EndlessChunks": {ok + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("400\r\n"+strings.Repeat("x", 0x400)+"\r\n", 200), 16 << 10, true, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			rec := listen(t, "127.0.0.1:0", replying(c.raw, false))
			client := loopbackClient(t)
			for try := range 2 {
				r := post(client, rec.url())
				if r.Outcome != posthorn.Succeeded || len(r.Body) != c.kept || r.BodyTruncated != c.more {
					t.Fatalf("%s %s, %d bytes, truncated %v (%v); want %d, %v", r.Outcome, r.Code, len(r.Body), r.BodyTruncated, r.Err, c.kept, c.more)
				}
				if want := try == 1 && c.reused; r.Timing.Reused != want {
					t.Errorf("try %d: reused %v, want %v", try, r.Timing.Reused, want)
				}
			}
			want := int32(2)
			if c.reused {
				want = 1
			}
			if n := rec.connections.Load(); n != want {
				t.Errorf("%d connections, want %d", n, want)
			}
		})
	}
}

// A receiver's second response to one request must never answer the next one, however soon that comes.
func TestStrayResponse(t *testing.T) {
	const first = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright"
	const stray = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"
	for name, raw := range map[string]string{"WithBody": first + stray, "Empty": "HTTP/1.1 204 OK\r\n\r\n" + stray} {
		t.Run(name, func(t *testing.T) {
			rec := listen(t, "127.0.0.1:0", replying(raw, false))
			client := loopbackClient(t)
			done := make(chan string)
			// More requests than connections, so that some get a connection in the moment it is given back.
			for range 8 {
				go func() {
					fault := ""
					for range 50 {
						if r := post(client, rec.url()); r.Outcome != posthorn.Succeeded || string(r.Body) == "wrong" {
							fault = fmt.Sprintf("%s %s %q (%v)", r.Outcome, r.Code, r.Body, r.Err)
						}
					}
					done <- fault
				}()
			}
			for range 8 {
				if fault := <-done; fault != "" {
					t.Error(fault)
				}
			}
			if n := rec.requests.Load(); n < 400 {
				t.Errorf("400 requests succeeded, the receiver saw %d", n)
			}
		})
	}
}

// The stray answer lies in a buffer when the next request gets the connection: the race above, made certain.
func TestStrayIsSeenBelowTheBuffers(t *testing.T) {
	near, far := net.Pipe()
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	c := &conn{Conn: near}
	go func() {
		b := make([]byte, 10)
		for {
			if _, err := far.Read(b); err != nil {
				return
			}
			_, _ = far.Write([]byte("answer"))
		}
	}()
	b := make([]byte, 10)
	exchange := func(readsAnswer bool) {
		c.claim()
		_, _ = c.Write([]byte("request"))
		if readsAnswer {
			_, _ = c.Read(b)
		}
	}
	exchange(true)
	if c.hasStray() {
		t.Error("an answer was taken for a stray one")
	}
	exchange(false)
	if !c.hasStray() {
		t.Error("nothing was read since the request, and its answer is not stray")
	}
	c.claim()
	if !c.hasStray() {
		t.Error("nothing was written, and the answer is not stray")
	}
}

// A pooled connection that the receiver has closed in the meantime is no failure of the next attempt.
func TestConnectionLostInThePool(t *testing.T) {
	resets := map[string]func(nc net.Conn){
		"Closed": func(nc net.Conn) { _ = nc.Close() },
		"Reset":  func(nc net.Conn) { _ = nc.(*net.TCPConn).SetLinger(0); _ = nc.Close() },
	}
	for name, end := range resets {
		t.Run(name, func(t *testing.T) {
			rec := listen(t, "127.0.0.1:0", func(r *receiver, nc net.Conn) {
				reader := bufio.NewReader(nc)
				if !readRequest(r, reader) {
					return
				}
				_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				// The second request on a connection is read and not answered.
				if readRequest(r, reader) {
					end(nc)
				}
			})
			client := loopbackClient(t)
			for try := range 3 {
				r := post(client, rec.url())
				if r.Outcome != posthorn.Succeeded {
					t.Fatalf("try %d: %s %s (%v)", try, r.Outcome, r.Code, r.Err)
				}
			}
		})
	}
}

func TestConnectionFailures(t *testing.T) {
	cases := map[string]struct {
		handle func(*receiver, net.Conn)
		code   string
	}{
		"ResetBeforeAnswer": {func(r *receiver, nc net.Conn) {
			readRequest(r, bufio.NewReader(nc))
			_ = nc.(*net.TCPConn).SetLinger(0)
		}, "connection_reset"},
		"ResetInBody": {func(r *receiver, nc net.Conn) {
			readRequest(r, bufio.NewReader(nc))
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
			// The reset must not overtake what was written.
			_, _ = nc.Read(make([]byte, 1))
			_ = nc.(*net.TCPConn).SetLinger(0)
		}, ""},
		"ClosedAtOnce": {func(*receiver, net.Conn) {}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			rec := listen(t, "127.0.0.1:0", c.handle)
			client := loopbackClient(t)
			r := client.Do(context.Background(), Request{URL: rec.url(), Body: []byte("x"), Timeout: time.Second})
			if r.Outcome == posthorn.Succeeded || r.OurFault || c.code != "" && (r.Outcome != posthorn.ConnectError || r.Code != c.code) {
				t.Errorf("%s %s (%v), want connect_error %s", r.Outcome, r.Code, r.Err, c.code)
			}
			if !r.Remote.IsValid() {
				t.Error("a connection was made, and its address is not told")
			}
			if rec.requests.Load() > 1 {
				t.Errorf("%d requests on connections that were new", rec.requests.Load())
			}
			wantNoAddress(t, r)
		})
	}
	t.Run("Refused", func(t *testing.T) {
		rec := listen(t, "127.0.0.1:0", func(*receiver, net.Conn) {})
		l, err := net.Listen("tcp4", "127.0.0.2:"+strconv.Itoa(int(rec.addr.Port())))
		if err != nil {
			t.Fatal(err)
		}
		closed := l.Addr().String()
		_ = l.Close()
		r := post(loopbackClient(t), parse("http://"+closed+"/"))
		if r.Outcome != posthorn.ConnectError || r.Code != "connection_refused" || r.OurFault || r.Remote.IsValid() {
			t.Errorf("%s %s %v (%v)", r.Outcome, r.Code, r.Remote, r.Err)
		}
		wantNoAddress(t, r)
	})
}

func TestInvalidHeader(t *testing.T) {
	rec := listen(t, "127.0.0.1:0", replying("HTTP/1.1 200 OK\r\n\r\n", true))
	client := loopbackClient(t)
	for _, header := range []http.Header{{"X-A": {"b\r\nX-Injected: 1"}}, {"X A": {"b"}}, {"": {"b"}}} {
		r := client.Do(context.Background(), Request{URL: rec.url(), Header: header})
		if r.Outcome != posthorn.Blocked || r.Code != "request_invalid" || !r.OurFault || rec.connections.Load() != 0 {
			t.Errorf("%v: %s %s, %d connections (%v)", header, r.Outcome, r.Code, rec.connections.Load(), r.Err)
		}
	}
}

func TestTimings(t *testing.T) {
	rec := listen(t, "127.0.0.1:0", replying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false))
	client := loopbackClient(t)
	first, second := post(client, rec.url()), post(client, rec.url())
	if first.Timing.Connect <= 0 || first.Timing.FirstByte < first.Timing.Connect || first.Timing.Total < first.Timing.FirstByte || first.Timing.Reused {
		t.Errorf("first: %+v", first.Timing)
	}
	if second.Timing.Connect != 0 || second.Timing.FirstByte <= 0 || !second.Timing.Reused {
		t.Errorf("second: %+v", second.Timing)
	}
	if first.Remote != rec.addr || second.Remote != rec.addr {
		t.Errorf("remote %v and %v, want %v", first.Remote, second.Remote, rec.addr)
	}
}

func TestProxiesInTheEnvironmentAreIgnored(t *testing.T) {
	proxy := listen(t, "127.0.0.1:0", replying("HTTP/1.1 502 Proxy\r\nContent-Length: 0\r\n\r\n", true))
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(name, "http://"+proxy.addr.String())
	}
	t.Setenv("NO_PROXY", "")
	rec := listen(t, "127.0.0.1:0", replying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true))
	if r := post(loopbackClient(t), rec.url()); r.Outcome != posthorn.Succeeded {
		t.Errorf("%s %s (%v)", r.Outcome, r.Code, r.Err)
	}
	closed := New(Options{Policy: NewPolicy(nil, true)})
	if r := post(closed, rec.url()); r.Outcome != posthorn.Blocked || r.Code != "address_not_public" {
		t.Errorf("with the guard closed: %s %s", r.Outcome, r.Code)
	}
	if proxy.connections.Load() != 0 {
		t.Error("the proxy was asked")
	}
}

func TestCorpusRedirects(t *testing.T) {
	elsewhere := listen(t, "127.0.0.1:0", replying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true))
	eachCorpus(t, "ssrf.json", func(t *testing.T, corpus ssrfCorpus) {
		for _, c := range corpus.Redirects {
			raw := fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: 0\r\n", c.Status)
			if c.Location != nil {
				raw += "Location: " + strings.ReplaceAll(*c.Location, "127.0.0.1:6379", elsewhere.addr.String()) + "\r\n"
			}
			for name, value := range c.Headers {
				raw += name + ": " + value + "\r\n"
			}
			rec := listen(t, "127.0.0.1:0", replying(raw+"\r\n", false))
			want := posthorn.HTTPError
			if c.Status <= 299 {
				want = posthorn.Succeeded
			}
			r := post(loopbackClient(t), rec.url())
			if r.Outcome != want || r.StatusCode != c.Status || rec.requests.Load() != 1 || elsewhere.connections.Load() != 0 {
				t.Errorf("%s: %s %d after %d requests, %d elsewhere", c.ID, r.Outcome, r.StatusCode, rec.requests.Load(), elsewhere.connections.Load())
			}
		}
	})
}

func TestNoCookies(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
		if len(r.Cookies()) > 0 || r.Header.Get("Accept-Encoding") != "" {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	t.Cleanup(server.Close)
	c := loopbackClient(t)
	for range 2 {
		if r := post(c, parse(server.URL)); r.Outcome != posthorn.Succeeded {
			t.Errorf("%d: a cookie or Accept-Encoding was sent", r.StatusCode)
		}
	}
}

func TestConcurrentRequestsToOneHost(t *testing.T) {
	rec := listen(t, "127.0.0.1:0", replying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false))
	client := loopbackClient(t)
	const workers, each = 64, 20
	done := make(chan error, workers)
	for range workers {
		go func() {
			var err error
			for range each {
				if r := post(client, rec.url()); r.Outcome != posthorn.Succeeded {
					err = fmt.Errorf("%s %s: %w", r.Outcome, r.Code, r.Err)
				}
			}
			done <- err
		}()
	}
	for range workers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := rec.connections.Load(); n > 2*workers {
		t.Errorf("%d connections for %d workers: they are not kept", n, workers)
	}
}

func BenchmarkDo(b *testing.B) {
	rec := listen(b, "127.0.0.1:0", replying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false))
	client := loopbackClient(b)
	body, u := []byte(strings.Repeat("x", 1024)), rec.url()
	b.ReportAllocs()
	for b.Loop() {
		header := http.Header{"webhook-id": {"evt_1"}, "Content-Type": {"application/json"}}
		if r := client.Do(context.Background(), Request{URL: u, Header: header, Body: body}); r.Outcome != posthorn.Succeeded {
			b.Fatal(r.Outcome, r.Err)
		}
	}
}
