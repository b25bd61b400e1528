package egress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/posthorn/posthorn"
)

const (
	// DefaultTimeout is the deadline of a request that names none.
	DefaultTimeout = 15 * time.Second
	// MaxHeaderBytes and MaxBodyBytes are how much of an answer is read at most; then the connection is closed.
	MaxHeaderBytes = 64 << 10
	MaxBodyBytes   = 64 << 10

	// A busy lane returns its connections in bursts; what does not fit is closed and dialled again.
	maxIdlePerHost = 512
	maxIdle        = 4096
	idleTimeout    = 90 * time.Second
	tlsSessions    = 1024
)

// Options are what a Client needs. Only the policy is required.
type Options struct {
	Policy *Policy
	// Resolver looks names up; the default is Go's own resolver.
	Resolver Resolver
	// Proxy, when set, makes every connection.
	Proxy *Proxy
	// Dial replaces resolving and dialling, and with them the check of the address: for tests over net.Pipe.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS is where tests put their roots. Versions below 1.2 are never spoken.
	TLS *tls.Config
}

// Resolver is what a Client needs of a *net.Resolver.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Request is one HTTP request to be made once.
type Request struct {
	// Method is POST when empty; otherwise POST, PUT, PATCH or GET.
	Method string
	// URL is checked by the policy, whatever it went through before.
	URL *URL
	// Header is sent as it is; Host and the framing are the client's. It must not change until Do returns.
	Header http.Header
	Body   []byte
	// Identity is a client certificate and authorities of the request's own; nil is the public ones.
	Identity *Identity
	// Timeout is the one deadline over DNS, connect, TLS, headers and body; zero means DefaultTimeout.
	Timeout time.Duration
}

// Result is what became of a Request. A failure is a value here: it is the receiver's, the network's or ours, and OurFault
// tells ours.
type Result struct {
	Outcome posthorn.Outcome
	// Code is a short, stable, machine-readable reason; empty on success. Detail is a sentence about it that a tenant may
	// read: it never holds an address.
	Code, Detail string
	// OurFault says that the receiver is not to blame: refused by the policy, interrupted, out of local resources, or
	// failed by our resolver.
	OurFault   bool
	StatusCode int
	Header     http.Header
	// Body is the first posthorn.KeptBody bytes; BodyTruncated says there was more.
	Body          []byte
	BodyTruncated bool
	Timing        posthorn.Timing
	// Remote is the address of the connection, where there was one, and Err the error behind a failure: both for the
	// operator only.
	Remote netip.AddrPort
	Err    error
}

// Client sends requests under a Policy; safe for concurrent use.
type Client struct {
	policy   *Policy
	resolver Resolver
	proxy    *Proxy
	dialHook func(ctx context.Context, network, address string) (net.Conn, error)
	// public are for all requests that have no identity of their own; identities for the others, so that connections are
	// shared by TLS identity only.
	public     transports
	identities pools
	tls        *tls.Config
	// idle are the connections without TLS; the pools are memory for requests.
	idle                       idleConns
	writers, incoming, buffers sync.Pool
}

// New makes a client.
func New(o Options) *Client {
	c := &Client{policy: o.Policy, resolver: o.Resolver, proxy: o.Proxy, dialHook: o.Dial}
	if c.resolver == nil {
		c.resolver = &net.Resolver{PreferGo: true}
	}
	config := &tls.Config{}
	if o.TLS != nil {
		config = o.TLS.Clone()
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	config.ClientSessionCache = tls.NewLRUClientSessionCache(tlsSessions)
	config.GetClientCertificate = noCertificate
	c.tls = config
	c.public = c.newTransports(config)
	c.writers.New = func() any { return bufio.NewWriter(nil) }
	c.incoming.New = func() any { return newIncoming() }
	c.buffers.New = func() any { return new([posthorn.KeptBody]byte) }
	return c
}

func (c *Client) transport(config *tls.Config) *http.Transport {
	return &http.Transport{
		// No Proxy: the environment's must not be used, as it would be told names that we would not dial.
		DialContext:            c.dial,
		TLSClientConfig:        config.Clone(),
		DisableCompression:     true,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: MaxHeaderBytes,
		ForceAttemptHTTP2:      true,
		HTTP2: &http.HTTP2Config{
			// What a receiver may send before anyone reads it; the defaults are 4 MiB and 1 GiB.
			MaxReceiveBufferPerStream:     2 * MaxBodyBytes,
			MaxReceiveBufferPerConnection: 4 << 20,
			// A connection that died in silence would fail every request until its deadline.
			SendPingTimeout: 15 * time.Second,
			PingTimeout:     5 * time.Second,
		},
	}
}

// Close closes the connections that no request is using.
func (c *Client) Close() {
	c.idle.close()
	c.public.close()
	c.identities.close()
}

// Do makes one request and says what became of it; it never panics on what a receiver sends. A request whose pooled
// connection turns out dead before a byte came back is sent once more on a new one: the receiver may then have it twice,
// under the same webhook-id, as with any retry. What an HTTP/2 receiver says it has not read, its limit of streams being reached or
// its connection about to close, is sent again up to four times.
func (c *Client) Do(ctx context.Context, r Request) Result {
	start := time.Now()
	to := r.URL.judgedBy(c.policy)
	if to.err != nil {
		return refused(to.err)
	}
	if r.Method == "" {
		r.Method = http.MethodPost
	}
	if r.Identity != nil {
		if part := r.Identity.Expired(start); part != "" {
			return expired(part)
		}
	}
	if r.Timeout <= 0 {
		r.Timeout = DefaultTimeout
	}
	a := &attempt{start: start, deadline: start.Add(r.Timeout)}
	result, err := c.exchange(ctx, a, to, &r, false)
	if err != nil && ctx.Err() == nil && time.Now().Before(a.deadline) && a.isWorthAnother(err) {
		a = a.another()
		result, err = c.exchange(ctx, a, to, &r, true)
	}
	a.report(&result)
	switch {
	case result.StatusCode >= 200 && result.StatusCode <= 299 && err == nil:
		result.Outcome = posthorn.Succeeded
	case result.StatusCode != 0 && (result.StatusCode < 200 || result.StatusCode > 299):
		// Whatever happened to the rest of the answer, the status decides.
		httpError(&result)
	default:
		result.Err = err
		classify(&result, err, a.at(), ctx.Err() != nil, !time.Now().Before(a.deadline), r.Timeout)
		if alert := alertOf(err); alert != "" && result.Outcome != posthorn.Timeout && result.Outcome != posthorn.Interrupted {
			alerted(&result, alert, r.Identity.Certificate() != nil, a.at().asked)
		}
	}
	result.Timing.Total = time.Since(start)
	return result
}

// exchange sends a request, over a new connection if told so, and reads the answer. With an error, what came before it is
// in the result. A proxy's connections cannot be looked at while they are idle, so a Transport, which reads from them, keeps them.
func (c *Client) exchange(ctx context.Context, a *attempt, to *judged, r *Request, anew bool) (Result, error) {
	if to.normal.Scheme == "http" && looksAtIdle && c.proxy == nil {
		return c.exchangePlain(ctx, a, to, r, anew)
	}
	over := c.public
	if r.Identity != nil {
		over = c.identities.of(r.Identity, func() transports { return c.newTransports(r.Identity.config(c.tls)) })
	}
	transport := over.pooled
	if anew {
		transport = over.single
	}
	ctx, cancel := context.WithDeadline(ctx, a.deadline)
	defer cancel()
	a.stop = cancel
	resp, err := transport.RoundTrip(newRequest(a.context(ctx), to.normal, r))
	if err != nil {
		if a.isRefused() {
			err = errRefused
		}
		return Result{}, err
	}
	if a.isStray() {
		_ = resp.Body.Close()
		return Result{}, errStray
	}
	if resp.StatusCode < 100 {
		_ = resp.Body.Close()
		return Result{}, errStatus
	}
	result := Result{StatusCode: resp.StatusCode, Header: resp.Header}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		// Nobody asked for another protocol; what follows has no end of its own.
		return result, resp.Body.Close()
	}
	result.Body, result.BodyTruncated, _, err = c.readBody(resp)
	// Closing before the end closes the connection too; after the end it is already back in the pool.
	_ = resp.Body.Close()
	return result, err
}

func newRequest(ctx context.Context, u *url.URL, r *Request) *http.Request {
	req := new(http.Request).WithContext(ctx)
	req.Method, req.URL, req.Host, req.Header = r.Method, u, u.Host, r.Header
	req.Proto, req.ProtoMajor, req.ProtoMinor = "HTTP/1.1", 1, 1
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.ContentLength = int64(len(r.Body))
	if len(r.Body) > 0 {
		// The transport asks again when it finds a pooled connection closed before it wrote anything.
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.Body)), nil }
		req.Body, _ = req.GetBody()
	}
	return req
}

// readBody takes at most MaxBodyBytes, to the end if it comes by then, which whole tells: only then the connection can be used
// again. Of a body that is announced to be longer, only what is kept.
func (c *Client) readBody(resp *http.Response) (kept []byte, truncated, whole bool, err error) {
	buffer := c.buffers.Get().(*[posthorn.KeptBody]byte)
	defer c.buffers.Put(buffer)
	limit, cut := MaxBodyBytes, resp.ContentLength > MaxBodyBytes
	if cut {
		limit = len(buffer)
	}
	filled, total := 0, 0
	for err == nil && total < limit {
		n := 0
		if filled < len(buffer) {
			n, err = resp.Body.Read(buffer[filled:])
			if filled += n; filled == len(buffer) {
				kept = bytes.Clone(buffer[:])
			}
		} else {
			n, err = resp.Body.Read(buffer[:min(len(buffer), limit-total)])
		}
		total += n
	}
	if err == nil && !cut {
		// Only reading past the limit tells whether the answer ends there.
		var n int
		n, err = resp.Body.Read(buffer[:1])
		total += n
	}
	if kept == nil && filled > 0 {
		kept = bytes.Clone(buffer[:filled])
	}
	if whole = errors.Is(err, io.EOF); whole {
		err = nil
	}
	return kept, cut || total > len(kept), whole, err
}
