package hooktest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Reply is one thing a receiver does with a request. Make one with a function below and alter it with its methods.
type Reply struct {
	// early replies are given before anything is read.
	early    bool
	delay    time.Duration
	readRate int
	act      func(x *exchange) bool
}

// exchange is the connection a reply is played on.
type exchange struct {
	conn   net.Conn
	ending <-chan struct{}
}

// play does what the reply says and reports whether the connection can take another request.
func (r Reply) play(x *exchange) bool {
	if r.delay > 0 && !sleep(r.delay, x.ending) {
		return false
	}
	return r.act(x)
}

// After makes the receiver wait before it answers.
func (r Reply) After(d time.Duration) Reply {
	r.delay = d
	return r
}

// ReadingAt makes the receiver read the request at so many bytes a second.
func (r Reply) ReadingAt(bytesPerSecond int) Reply {
	r.readRate = bytesPerSecond
	return r
}

// Response is an HTTP response in the making. It is a Reply once Reply is called.
type Response struct {
	status  int
	headers []string
	body    func(io.Writer) error
	length  int64 // -1: the body ends with the connection
	perByte time.Duration
	// dripsBody drips from the body on, instead of from the first byte.
	dripsBody bool
	// cut is how many bytes of the body are sent before the connection is dropped; -1 is all.
	cut int64
}

// Respond begins a response with a status and no body.
func Respond(status int) Response {
	return Response{status: status, cut: -1, body: func(io.Writer) error { return nil }}
}

// Status is a reply with a status and an empty body.
func Status(status int) Reply { return Respond(status).Reply() }

// Statuses are replies, one for each status.
func Statuses(statuses ...int) []Reply {
	replies := make([]Reply, len(statuses))
	for i, s := range statuses {
		replies[i] = Status(s)
	}
	return replies
}

// Header adds a header as it is, without looking at it.
func (r Response) Header(name, value string) Response {
	r.headers = append(slices.Clone(r.headers), name+": "+value)
	return r
}

// Body sets the body.
func (r Response) Body(text string) Response {
	r.body = func(w io.Writer) error { _, err := io.WriteString(w, text); return err }
	r.length = int64(len(text))
	return r
}

// Big makes the body n bytes long without holding them in memory.
func (r Response) Big(n int64) Response {
	r.length = n
	r.body = func(w io.Writer) error {
		block := bytes.Repeat([]byte("posthorn"), 8<<10)
		for left := n; left > 0; left -= int64(len(block)) {
			if _, err := w.Write(block[:min(int64(len(block)), left)]); err != nil {
				return err
			}
		}
		return nil
	}
	return r
}

// Gzipped compresses the body so many times and says so.
func (r Response) Gzipped(times int) Response {
	var plain bytes.Buffer
	_ = r.body(&plain)
	coding := ""
	for range times {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, _ = w.Write(plain.Bytes())
		_ = w.Close()
		plain = packed
		coding += ", gzip"
	}
	return r.Body(plain.String()).Header("Content-Encoding", coding[2:])
}

// UntilEOF sends no length: the body ends with the connection.
func (r Response) UntilEOF() Response {
	r.length = -1
	return r
}

// Cut drops the connection after so many bytes of the body.
func (r Response) Cut(after int64) Response {
	r.cut = after
	return r
}

// Drip sends the whole response a byte at a time.
func (r Response) Drip(perByte time.Duration) Response {
	r.perByte, r.dripsBody = perByte, false
	return r
}

// DripBody sends the headers at once and the body a byte at a time.
func (r Response) DripBody(perByte time.Duration) Response {
	r.perByte, r.dripsBody = perByte, true
	return r
}

// Reply is the finished response.
func (r Response) Reply() Reply {
	return Reply{act: r.send}
}

// After is Reply().After(d).
func (r Response) After(d time.Duration) Reply { return r.Reply().After(d) }

func (r Response) send(x *exchange) bool {
	var head bytes.Buffer
	fmt.Fprintf(&head, "HTTP/1.1 %d %s\r\n", r.status, http.StatusText(r.status))
	for _, h := range r.headers {
		head.WriteString(h + "\r\n")
	}
	if r.length >= 0 && r.status != http.StatusNoContent && !r.names("Content-Length") {
		head.WriteString("Content-Length: " + strconv.FormatInt(r.length, 10) + "\r\n")
	}
	if r.length < 0 {
		head.WriteString("Connection: close\r\n")
	}
	head.WriteString("\r\n")
	var out io.Writer = x.conn
	if r.perByte > 0 && !r.dripsBody {
		out = &dripper{x, r.perByte}
	}
	if _, err := out.Write(head.Bytes()); err != nil {
		return false
	}
	if r.perByte > 0 {
		out = &dripper{x, r.perByte}
	}
	if r.cut >= 0 {
		out = &cutter{out, r.cut}
	}
	return r.body(out) == nil && r.length >= 0
}

func (r Response) names(header string) bool {
	return slices.ContainsFunc(r.headers, func(h string) bool {
		return len(h) > len(header) && http.CanonicalHeaderKey(h[:len(header)]) == header && h[len(header)] == ':'
	})
}

// dripper writes a byte at a time.
type dripper struct {
	x       *exchange
	perByte time.Duration
}

func (d *dripper) Write(b []byte) (int, error) {
	for i := range b {
		if !sleep(d.perByte, d.x.ending) {
			return i, net.ErrClosed
		}
		if _, err := d.x.conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

// cutter fails after so many bytes.
type cutter struct {
	to   io.Writer
	left int64
}

func (c *cutter) Write(b []byte) (int, error) {
	n, err := c.to.Write(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return n, err
}

// Raw sends these bytes as they are, and then expects the next request on the same connection.
func Raw(text string) Reply {
	return Reply{act: func(x *exchange) bool {
		_, err := io.WriteString(x.conn, text)
		return err == nil
	}}
}

// RawClose sends these bytes as they are and closes the connection.
func RawClose(text string) Reply {
	return Reply{act: func(x *exchange) bool {
		_, _ = io.WriteString(x.conn, text)
		return false
	}}
}

// Endless sends the same bytes again and again until the connection ends: 1xx responses, header lines.
func Endless(first, text string, every time.Duration) Reply {
	return Reply{act: func(x *exchange) bool {
		_, err := io.WriteString(x.conn, first)
		for err == nil && sleep(every, x.ending) {
			_, err = io.WriteString(x.conn, text)
		}
		return false
	}}
}

// Hang reads the request and never answers.
func Hang() Reply {
	return Reply{act: func(x *exchange) bool {
		_, _ = io.Copy(io.Discard, x.conn)
		return false
	}}
}

// Drop closes the connection after the request, without an answer.
func Drop() Reply { return Reply{act: func(*exchange) bool { return false }} }

// Reset ends the connection after the request with an RST, where there is TCP below.
func Reset() Reply {
	return Reply{act: func(x *exchange) bool {
		reset(x.conn)
		return false
	}}
}

// Refuse closes the connection before anything is read.
func Refuse() Reply {
	return Reply{early: true, act: func(x *exchange) bool {
		reset(x.conn)
		return false
	}}
}

// NeverRead accepts the connection and never reads from it: to the sender the receive window stays shut.
func NeverRead() Reply {
	return Reply{early: true, act: func(x *exchange) bool {
		<-x.ending
		return false
	}}
}

func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}
