package egress

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/net/http/httpguts"
)

const (
	// alongside is the size from which a body is written while the answer is read: a receiver may answer before it has read
	// everything. What is smaller fits into the buffers of most connections.
	alongside = 32 << 10
	// sendGrace is how long a whole answer waits for the writer to say that it has ended too.
	sendGrace = 50 * time.Millisecond
)

var (
	errHeader       = errors.New("a header's name or value is invalid")
	errHeadersLarge = fmt.Errorf("response headers exceeded %d bytes", MaxHeaderBytes)
)

// exchangePlain is exchange without TLS: HTTP/1.1 over a connection that is idle, unless it is to be a new one, in the goroutine
// of the attempt: a Transport's two goroutines and buffers for each connection take twice the processor time (docs/adr/0005).
func (c *Client) exchangePlain(ctx context.Context, a *attempt, to *judged, r *Request, anew bool) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	if !isValidHeader(r.Header) {
		return Result{}, errHeader
	}
	nc, reused, err := c.plainConn(ctx, a, to.address, anew)
	if err != nil {
		return Result{}, err
	}
	a.connected(httptrace.GotConnInfo{Conn: nc, Reused: reused})
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	result, clean, err := c.exchangeOver(nc, a, to.normal, r)
	if stop() && clean {
		c.idle.put(to.address, nc)
	} else {
		_ = nc.Close()
	}
	return result, err
}

// plainConn gives a connection with the attempt's deadline.
func (c *Client) plainConn(ctx context.Context, a *attempt, address string, anew bool) (nc net.Conn, reused bool, err error) {
	if !anew {
		if nc = c.idle.take(address, a.deadline); nc != nil {
			return nc, true, nil
		}
	}
	ctx, cancel := context.WithDeadline(ctx, a.deadline)
	defer cancel()
	if nc, err = c.connect(ctx, a, "tcp", address); err == nil {
		_ = nc.SetDeadline(a.deadline)
	}
	return nc, false, err
}

// exchangeOver has one request and its answer on a connection. Clean says that the connection can be used again.
func (c *Client) exchangeOver(nc net.Conn, a *attempt, u *url.URL, r *Request) (result Result, clean bool, err error) {
	if len(r.Body) > alongside {
		return c.exchangeAlongside(nc, a, u, r)
	}
	sent := c.send(nc, u, r)
	if sent != nil && !isLost(sent) {
		return Result{}, false, sent
	}
	// Who closes the connection may have answered before.
	if result, clean, err = c.receive(nc, a); err != nil && sent != nil && !a.isAnswered() {
		err = sent
	}
	return result, clean && sent == nil, err
}

// exchangeAlongside is exchangeOver with the answer read while the body is written.
func (c *Client) exchangeAlongside(nc net.Conn, a *attempt, u *url.URL, r *Request) (result Result, clean bool, err error) {
	sent := make(chan error, 1)
	go func() { sent <- c.send(nc, u, r) }()
	result, clean, err = c.receive(nc, a)
	grace := time.Duration(0)
	if clean {
		grace = sendGrace
	}
	select {
	case failed := <-sent:
		clean = clean && failed == nil
	case <-time.After(grace):
		// Whoever has answered already need not be sent the rest.
		_ = nc.Close()
		<-sent
		clean = false
	}
	return result, clean, err
}

// send writes a request. Its buffer is another's again before the answer comes: of a thousand requests that wait, none has one.
func (c *Client) send(nc net.Conn, u *url.URL, r *Request) error {
	w := c.writers.Get().(*bufio.Writer)
	w.Reset(nc)
	writeHead(w, u, r)
	_, _ = w.Write(r.Body)
	err := w.Flush() // the first error of all
	w.Reset(nil)
	c.writers.Put(w)
	return err
}

// above are the headers that have a place of their own in the head: User-Agent, and those that are the client's, whatever a
// request's say.
var above = map[string]bool{"Host": true, "User-Agent": true, "Content-Length": true, "Transfer-Encoding": true, "Trailer": true}

// writeHead writes a request's first line and headers (RFC 9112, section 3) in the order of a Transport. The policy has checked
// the URL, isValidHeader the headers.
func writeHead(w *bufio.Writer, u *url.URL, r *Request) {
	for _, s := range [...]string{r.Method, " ", u.RequestURI(), " HTTP/1.1\r\nHost: ", u.Host} {
		_, _ = w.WriteString(s)
	}
	if agent := r.Header.Get("User-Agent"); agent != "" {
		_, _ = w.WriteString("\r\nUser-Agent: ")
		_, _ = w.WriteString(agent)
	}
	if len(r.Body) > 0 || r.Method != http.MethodGet {
		_, _ = w.WriteString("\r\nContent-Length: ")
		_, _ = w.Write(strconv.AppendInt(w.AvailableBuffer(), int64(len(r.Body)), 10))
	}
	_, _ = w.WriteString("\r\n")
	_ = r.Header.WriteSubset(w, above)
	_, _ = w.WriteString("\r\n")
}

// receive reads the answer.
func (c *Client) receive(nc net.Conn, a *attempt) (result Result, clean bool, err error) {
	in := c.incoming.Get().(*incoming)
	defer c.incoming.Put(in)
	in.begin(nc)
	defer in.end()
	if _, err := in.Peek(1); err != nil {
		return Result{}, false, err
	}
	a.answered()
	resp, err := in.readHead()
	if err != nil {
		return Result{}, false, err
	}
	result = Result{StatusCode: resp.StatusCode, Header: resp.Header}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		// Nobody asked for another protocol; what follows has no end of its own.
		return result, false, nil
	}
	var whole bool
	result.Body, result.BodyTruncated, whole, err = c.readBody(resp)
	return result, whole && !resp.Close && in.Buffered() == 0, err
}

// incoming buffers what a connection sends while one request has it.
type incoming struct {
	*bufio.Reader
	from limited
}

// limited is a connection of which no more than left bytes may be read.
type limited struct {
	conn net.Conn
	left int64
}

func newIncoming() *incoming {
	in := &incoming{}
	in.Reader = bufio.NewReader(&in.from)
	return in
}

func (in *incoming) begin(nc net.Conn) {
	in.from = limited{nc, MaxHeaderBytes}
	in.Reset(&in.from)
}

// end lets go of the connection.
func (in *incoming) end() { in.from.conn = nil }

func (l *limited) Read(b []byte) (int, error) {
	if l.left <= 0 {
		return 0, errHeadersLarge
	}
	n, err := l.conn.Read(b[:min(int64(len(b)), l.left)])
	l.left -= int64(n)
	return n, err
}

// readHead takes the head of the final answer, past those that only inform (RFC 9110, section 15.2).
func (in *incoming) readHead() (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(in.Reader, nil)
		switch {
		case err != nil && in.from.left <= 0:
			// What was cut off looks malformed.
			return nil, errHeadersLarge
		case err != nil:
			return nil, err
		case resp.StatusCode < 100:
			return nil, errStatus
		case resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols:
			in.from.left = math.MaxInt64
			return resp, nil
		}
	}
}

// isValidHeader reports that a header can be sent as it is.
func isValidHeader(h http.Header) bool {
	for name, values := range h {
		if !httpguts.ValidHeaderFieldName(name) || isDisguised(name) {
			return false
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return false
			}
		}
	}
	return true
}

// isDisguised reports a header of above in other letters, which would go out beside ours.
func isDisguised(name string) bool {
	switch len(name) {
	case len("Host"), len("Trailer"), len("User-Agent"), len("Content-Length"), len("Transfer-Encoding"):
		canonical := http.CanonicalHeaderKey(name)
		return name != canonical && above[canonical]
	}
	return false
}
