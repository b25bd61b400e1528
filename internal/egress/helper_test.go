package egress

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// loopbackClient reaches receivers on this machine.
func loopbackClient(t testing.TB) *Client {
	t.Helper()
	c := New(Options{Policy: NewPolicy(prefixes("127.0.0.0/8"), true)})
	t.Cleanup(c.Close)
	return c
}

// receiver is a TCP listener whose connections are handled one by one, each as the test says.
type receiver struct {
	addr        netip.AddrPort
	connections atomic.Int32
	requests    atomic.Int32
}

// listen starts a receiver on a loopback address and a free port.
func listen(t testing.TB, address string, handle func(r *receiver, nc net.Conn)) *receiver {
	t.Helper()
	l, err := net.Listen("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	r := &receiver{addr: l.Addr().(*net.TCPAddr).AddrPort()}
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			r.connections.Add(1)
			go func() {
				defer nc.Close()
				handle(r, nc)
			}()
		}
	}()
	return r
}

func (r *receiver) url() *URL { return parse("http://" + r.addr.String() + "/hook") }

// replying answers every request on a connection with the same bytes; it closes the connection when told so.
func replying(raw string, thenClose bool) func(*receiver, net.Conn) {
	return func(r *receiver, nc net.Conn) {
		reader := bufio.NewReader(nc)
		for readRequest(r, reader) {
			if _, err := io.WriteString(nc, raw); err != nil || thenClose {
				return
			}
		}
	}
}

// readRequest takes one whole request off a connection.
func readRequest(r *receiver, reader *bufio.Reader) bool {
	req, err := http.ReadRequest(reader)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, req.Body)
	r.requests.Add(1)
	return err == nil
}

func parse(raw string) *URL {
	u, err := ParseURL(raw)
	if err != nil {
		panic(err)
	}
	return u
}

// post makes one attempt with a short body.
func post(c *Client, u *URL) Result {
	return c.Do(context.Background(), Request{URL: u, Header: http.Header{"webhook-id": {"evt_1"}}, Body: []byte(`{"a":1}`), Timeout: 10 * time.Second})
}

// wantNoAddress checks what a tenant may read of a result.
func wantNoAddress(t *testing.T, r Result) {
	t.Helper()
	for _, part := range []string{"127.", "::", "10.0.", "dial tcp", "lookup"} {
		if strings.Contains(r.Detail, part) {
			t.Errorf("the detail holds %q: %s", part, r.Detail)
		}
	}
	if r.Outcome != "succeeded" && (r.Code == "" || r.Detail == "") {
		t.Errorf("%s without a code or a detail: %q %q", r.Outcome, r.Code, r.Detail)
	}
}
