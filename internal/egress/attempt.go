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
	// begun counts the requests written before the one on conn, wrote says that this one is, where conn speaks HTTP/2, and
	// upgraded how many dials led to that. Once refused, stop has ended the exchange.
	begun, upgraded int
	wrote, refused  bool
	stop            context.CancelFunc
}

// A transport repeats by itself, for as long as there is time, what an HTTP/2 receiver refuses unread (RFC 9113, section 8.7): by
// a GOAWAY it dials again at once. Receivers that are in order refuse too, while the streams that they allow are fewer than those
// that begin before they could say so: of 64 requests for 10 streams some are sent four times, of 512 some are dialled for six times.
const (
	maxBegun    = 5
	maxUpgraded = 10
)

var errRefused = errors.New("the request was refused unread too often")

// attemptKey finds the attempt in the context of its dial.
type attemptKey struct{}

// context lets a transport report to the attempt.
func (a *attempt) context(ctx context.Context) context.Context {
	trace := &httptrace.ClientTrace{
		GetConn: a.wanting, GotConn: a.connected, GotFirstResponseByte: a.answered,
		TLSHandshakeStart: a.tlsStarted, TLSHandshakeDone: a.tlsDone, WroteHeaders: a.began,
	}
	return httptrace.WithClientTrace(context.WithValue(ctx, attemptKey{}, a), trace)
}

// wanting begins again when the transport finds a pooled connection closed.
func (a *attempt) wanting(string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.phase = waiting
	a.leave()
}

// began is told that the headers are written: in HTTP/1.1 only to a buffer.
func (a *attempt) began() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wrote = true
}

// leave counts the request on a connection that did not answer, if it was written at all.
func (a *attempt) leave() {
	if a.conn == nil {
		return
	}
	asked := a.wrote
	if c := watched(a.conn); c != nil && !speaksHTTP2(a.conn) {
		asked = !c.claimed.Load()
	}
	if asked {
		a.begun++
	}
	a.conn, a.wrote = nil, false
}

// another is the attempt on a connection of its own, with what it has had before.
func (a *attempt) another() *attempt {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leave()
	return &attempt{start: a.start, deadline: a.deadline, begun: a.begun, upgraded: a.upgraded}
}

// mayDial reports that another connection is not one too many.
func (a *attempt) mayDial() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.begun < maxBegun && a.upgraded < maxUpgraded
}

// isRefused reports that the exchange was ended because the receiver had refused it before.
func (a *attempt) isRefused() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refused
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

func (a *attempt) tlsDone(s tls.ConnectionState, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.phase < sending {
		a.timing.TLS, a.tlsErr = time.Since(a.tlsSince), err
	}
	if s.NegotiatedProtocol == protocolHTTP2 {
		a.upgraded++
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
	if a.leave(); a.begun >= maxBegun {
		a.refused = true
		a.stop()
		if !speaksHTTP2(info.Conn) {
			// It is this request's alone, which might be on its way already.
			_ = info.Conn.Close()
		}
		return
	}
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

// protocolHTTP2 is its name in a TLS handshake.
const protocolHTTP2 = "h2"

// speaksHTTP2: there, answers name their request.
func speaksHTTP2(nc net.Conn) bool {
	t, ok := nc.(*tls.Conn)
	return ok && t.ConnectionState().NegotiatedProtocol == protocolHTTP2
}
