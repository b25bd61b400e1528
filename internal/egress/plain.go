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
	"time"

	"golang.org/x/net/http/httpguts"
)

// alongside is the size from which a body is written while the answer is read: a receiver may answer before it has read
// everything. A smaller one fits into the buffers of a connection, so that writing it never waits.
const alongside = 32 << 10

var (
	errHeader       = errors.New("a header's name or value is invalid")
	errHeadersLarge = fmt.Errorf("response headers exceeded %d bytes", MaxHeaderBytes)
)

// exchangePlain is exchange without TLS: HTTP/1.1 over a connection that is idle, unless it is to be a new one. It is net/http's
// own writing and reading, in the goroutine of the attempt: a Transport's two goroutines and buffers for each connection take
// twice the processor time (docs/adr/0005).
func (c *Client) exchangePlain(ctx context.Context, a *attempt, req *http.Request, anew bool) (Result, error) {
	if !isValidHeader(req.Header) {
		return Result{}, errHeader
	}
	address := hostPort(req.URL)
	nc, reused, err := c.plainConn(ctx, a, address, anew)
	if err != nil {
		return Result{}, err
	}
	a.connected(httptrace.GotConnInfo{Conn: nc, Reused: reused})
	_ = nc.SetDeadline(a.deadline)
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	t := c.talks.Get().(*talk)
	t.begin(nc)
	result, clean, err := c.talk(t, a, req)
	t.end()
	c.talks.Put(t)
	if stop() && clean {
		c.idle.put(address, nc)
	} else {
		_ = nc.Close()
	}
	return result, err
}

func (c *Client) plainConn(ctx context.Context, a *attempt, address string, anew bool) (nc net.Conn, reused bool, err error) {
	if !anew {
		if nc = c.idle.take(address); nc != nil {
			return nc, true, nil
		}
	}
	ctx, cancel := context.WithDeadline(ctx, a.deadline)
	defer cancel()
	nc, err = c.connect(ctx, a, "tcp", address)
	return nc, false, err
}

// talk has one request and its answer on a connection. Clean says that the connection can be used again.
func (c *Client) talk(t *talk, a *attempt, req *http.Request) (result Result, clean bool, err error) {
	if req.ContentLength <= alongside {
		if err := t.send(req); err != nil {
			return Result{}, false, err
		}
		return c.listen(t, a, req)
	}
	sent := make(chan error, 1)
	go func() { sent <- t.send(req) }()
	result, clean, err = c.listen(t, a, req)
	select {
	case failed := <-sent:
		if err != nil && failed != nil {
			// What the answer lacks follows from that.
			err = failed
		}
		return result, clean && failed == nil, err
	default:
		// Whoever has answered already need not be sent the rest.
		_ = t.conn.Close()
		<-sent
		return result, false, err
	}
}

// listen reads the answer.
func (c *Client) listen(t *talk, a *attempt, req *http.Request) (result Result, clean bool, err error) {
	if _, err := t.answer.Peek(1); err != nil {
		return Result{}, false, err
	}
	a.answered()
	resp, err := t.read(req)
	if err != nil {
		return Result{}, false, err
	}
	result = Result{StatusCode: resp.StatusCode, Header: resp.Header}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		// Nobody asked for another protocol; what follows has no end of its own.
		return result, false, nil
	}
	var whole bool
	result.Body, result.BodyTruncated, whole, err = c.read(resp)
	return result, whole && !resp.Close && t.answer.Buffered() == 0, err
}

// talk is what one request needs of memory, kept for the next one.
type talk struct {
	conn net.Conn
	// left is how many bytes may still be read.
	left     int64
	question *bufio.Writer
	answer   *bufio.Reader
}

func newTalk() *talk {
	t := &talk{}
	t.question, t.answer = bufio.NewWriter(nil), bufio.NewReader(t)
	return t
}

func (t *talk) begin(nc net.Conn) {
	t.conn, t.left = nc, MaxHeaderBytes
	t.question.Reset(nc)
	t.answer.Reset(t)
}

// end lets go of the connection.
func (t *talk) end() {
	t.conn = nil
	t.question.Reset(nil)
}

func (t *talk) send(req *http.Request) error {
	if err := req.Write(t.question); err != nil {
		return err
	}
	return t.question.Flush()
}

// Read gives the answer's bytes to its buffer.
func (t *talk) Read(b []byte) (int, error) {
	if t.left <= 0 {
		return 0, errHeadersLarge
	}
	n, err := t.conn.Read(b[:min(int64(len(b)), t.left)])
	t.left -= int64(n)
	return n, err
}

// read takes the head of the final answer, past those that only inform (RFC 9110, section 15.2).
func (t *talk) read(req *http.Request) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(t.answer, req)
		switch {
		case err != nil && t.left <= 0:
			// What was cut off looks malformed.
			return nil, errHeadersLarge
		case err != nil:
			return nil, err
		case resp.StatusCode < 100:
			return nil, errStatus
		case resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols:
			t.left = math.MaxInt64
			return resp, nil
		}
	}
}

// isValidHeader reports that a header can be sent as it is. Request.Write would leave out or change what it cannot send.
func isValidHeader(h http.Header) bool {
	for name, values := range h {
		if !httpguts.ValidHeaderFieldName(name) {
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

// hostPort is the address to dial for a URL without TLS.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}
