package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http/httptrace"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn"
)

// phase is how far an attempt has come.
type phase uint8

const (
	waiting phase = iota
	resolving
	connecting
	shaking
	// sending begins when the request has a connection, answering with the first byte that comes back.
	sending
	answering
)

// attempt watches one request. The transport calls it from several goroutines, some of which outlive the request.
type attempt struct {
	start, deadline time.Time

	mu       sync.Mutex
	phase    phase
	tlsSince time.Time
	timing   posthorn.Timing
	remote   netip.AddrPort
	conn     net.Conn
	stray    bool
	tlsErr   error
	asked    bool
}

// attemptKey finds the attempt in the context of its dial.
type attemptKey struct{}

// context lets a transport report to the attempt.
func (a *attempt) context(ctx context.Context) context.Context {
	trace := &httptrace.ClientTrace{
		GetConn: a.wanting, GotConn: a.connected, GotFirstResponseByte: a.answered,
		TLSHandshakeStart: a.tlsStarted, TLSHandshakeDone: a.tlsDone,
	}
	return httptrace.WithClientTrace(context.WithValue(ctx, attemptKey{}, a), trace)
}

// wanting begins again when the transport finds a pooled connection closed.
func (a *attempt) wanting(string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.phase = waiting
}

// enter notes a step of dialling, unless the request has found another connection in the meantime.
func (a *attempt) enter(p phase) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.phase < sending {
		a.phase = p
	}
}

// took notes how long a step of dialling lasted.
func (a *attempt) took(of *time.Duration, since time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.phase < sending {
		*of = time.Since(since)
	}
}

func (a *attempt) tlsStarted() {
	a.enter(shaking)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tlsSince = time.Now()
}

func (a *attempt) tlsDone(_ tls.ConnectionState, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.phase < sending {
		a.timing.TLS, a.tlsErr = time.Since(a.tlsSince), err
	}
}

func (a *attempt) wantedCertificate() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = true
}

func (a *attempt) connected(info httptrace.GotConnInfo) {
	if c := watched(info.Conn); c != nil {
		c.claim()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.phase, a.conn, a.tlsErr = sending, info.Conn, nil
	if tcp, ok := info.Conn.RemoteAddr().(*net.TCPAddr); ok {
		a.remote = tcp.AddrPort()
	}
	if a.timing.Reused = info.Reused; info.Reused {
		// A dial may have begun before another request gave its connection back.
		a.timing.DNS, a.timing.Connect, a.timing.TLS = 0, 0, 0
	}
}

func (a *attempt) answered() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.phase = answering
	a.timing.FirstByte = time.Since(a.start)
	if c := watched(a.conn); c != nil && c.hasStray() && !speaksHTTP2(a.conn) {
		a.stray = true
		_ = c.Close()
	}
}

// isAnswered reports that the answer has begun.
func (a *attempt) isAnswered() bool { return a.at().phase == answering }

// isStray reports that the answer was there before the question.
func (a *attempt) isStray() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stray
}

// isWorthAnother reports a pooled connection that was dead, or held bytes that belong to nobody: faults of the time
// since its last request, and not of this one.
func (a *attempt) isWorthAnother(err error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stray || a.timing.Reused && a.phase == sending && isLost(err)
}

// progress is what classifying an error needs to know of the attempt.
type progress struct {
	phase  phase
	tlsErr error
	// asked says that the receiver asked for a client certificate.
	asked bool
}

func (a *attempt) at() progress {
	a.mu.Lock()
	defer a.mu.Unlock()
	return progress{a.phase, a.tlsErr, a.asked}
}

func (a *attempt) report(r *Result) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r.Timing, r.Remote = a.timing, a.remote
}

var errStray = errors.New("bytes before the request was sent")

// conn watches a connection for what HTTP/1.1 cannot tell by itself: an answer that was there before the request. A
// receiver that sends two responses to one request leaves the second in a buffer, where the next request on that
// connection would take it for its own. Reads and writes are counted below TLS, so buffers there do not matter.
type conn struct {
	net.Conn
	// bounded says that the deadline set while dialling is still there.
	bounded atomic.Bool
	// claimed says that a request has the connection and has written nothing; reads counts reads that ended, and before
	// how many there were when that request's first byte was written.
	claimed       atomic.Bool
	reads, before atomic.Int64
}

// claim gives the connection to a request, free of the deadline of the one that dialled.
func (c *conn) claim() {
	if c.bounded.CompareAndSwap(true, false) {
		_ = c.SetDeadline(time.Time{})
	}
	c.claimed.Store(true)
}

// hasStray reports, at the first byte of an answer, that nothing was read since the request was written.
func (c *conn) hasStray() bool {
	return c.claimed.Load() || c.reads.Load() == c.before.Load()
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.reads.Add(1)
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	if c.claimed.CompareAndSwap(true, false) {
		c.before.Store(c.reads.Load())
	}
	return c.Conn.Write(b)
}

// watched is the conn below a connection of the transport's.
func watched(nc net.Conn) *conn {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	c, _ := nc.(*conn)
	return c
}

// speaksHTTP2: there, answers name their request.
func speaksHTTP2(nc net.Conn) bool {
	t, ok := nc.(*tls.Conn)
	return ok && t.ConnectionState().NegotiatedProtocol == "h2"
}
