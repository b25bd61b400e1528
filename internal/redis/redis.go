// Package redis owns the connection to Redis that the cache, the bus and the limiter share: reading the URL, connecting
// in the background, noticing within a moment that Redis is gone or hangs, and coming back by itself. Redis is never
// needed: while it is down every use answers ErrUnavailable at once, and the rooms do without. What is kept in Redis,
// and under which names below Name, is the rooms' own business.
package redis

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// ErrUnavailable says that Redis is down, or not connected yet. It comes without waiting.
var ErrUnavailable = errors.New("redis is not available")

// Options of a Client. URL is required.
type Options struct {
	// URL names the server; ParseURL knows the forms.
	URL string
	// Timeout bounds one use, and a ping while Redis is up; 250 ms by default. A use that exceeds it marks Redis down.
	Timeout time.Duration
	// Heartbeat is the time between pings while Redis is up; 500 ms by default.
	Heartbeat time.Duration
	// Prefix begins every name; "posthorn" by default.
	Prefix string
	// Observe, when set, is told of each use: how long it took, and whether it failed for want of a connection or of time.
	Observe func(took time.Duration, failed bool)
	Log     *slog.Logger
}

// Client is a connection to Redis that may be down at any time. It is safe for concurrent use.
type Client struct {
	timeout, heartbeat time.Duration
	observe            func(took time.Duration, failed bool)
	log                *slog.Logger
	namespace          string
	password           string
	option             rueidis.ClientOption
	sockets            sockets

	life   context.Context
	end    context.CancelFunc
	ended  chan struct{}
	faults chan struct{} // wakes the keeper when a use has failed

	mu    sync.Mutex
	state State
	conn  rueidis.Client // nil until the first connection
	term  uint64         // counts the times Redis came up, so that a late failure cannot end a newer term
	risen chan struct{}  // closed while Redis is up, and at the end
}

// State is how Redis is, for the health report.
type State struct {
	Up bool
	// Since is when Redis came up or went down; at first, when the Client was made.
	Since time.Time
	// Latency is the last successful ping's.
	Latency time.Duration
	// LastError is why it went down or did not come up, without the password; it may name hosts. It stays after recovery.
	LastError   string
	LastErrorAt time.Time
}

// New makes a Client and begins to connect. The error is about the URL only: that Redis cannot be reached is a State.
func New(o Options) (*Client, error) {
	option, err := ParseURL(o.URL)
	if err != nil {
		return nil, err
	}
	c := &Client{
		timeout: o.Timeout, heartbeat: o.Heartbeat, log: o.Log, observe: o.Observe,
		password: option.Password, option: option,
		ended: make(chan struct{}), faults: make(chan struct{}, 1), risen: make(chan struct{}),
		state: State{Since: time.Now()},
	}
	if c.timeout <= 0 {
		c.timeout = 250 * time.Millisecond
	}
	if c.heartbeat <= 0 {
		c.heartbeat = 500 * time.Millisecond
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if o.Prefix == "" {
		o.Prefix = "posthorn"
	}
	c.namespace = o.Prefix + ":" + strconv.Itoa(option.SelectDB) + ":"
	c.life, c.end = context.WithCancel(context.Background())
	c.setDialing()
	go c.keep()
	return c, nil
}

// setDialing says how connections behave, whatever the URL says of where they lead.
func (c *Client) setDialing() {
	o := &c.option
	o.ClientName = "posthorn"
	// Nobody uses client-side caching, and without it servers that lack RESP3 need no switch.
	o.DisableCache = true
	// A failed use falls back at once instead of being repeated.
	o.DisableRetry = true
	// Commands wait in a queue and not in a read, so that one that times out does not cost the connection.
	o.AlwaysPipelining = true
	o.PipelineMultiplex = -1
	o.ReadBufferEachConn, o.WriteBufferEachConn = 64<<10, 64<<10
	o.Dialer = net.Dialer{Timeout: probeTimeout, KeepAlive: probeTimeout}
	o.ConnWriteTimeout = probeTimeout
	o.Sentinel.Dialer, o.Sentinel.TLSConfig, o.Sentinel.ClientName = o.Dialer, o.TLSConfig, o.ClientName
	// A missed failover message would otherwise bind the client to the old primary for good.
	o.Sentinel.TopologyRefreshInterval = 5 * time.Second
	o.DialCtxFn = c.sockets.dial(c.life)
}

// Name is the full name of a key or channel. It holds the number of the database, which channels do not know by themselves.
func (c *Client) Name(name string) string { return c.namespace + name }

// Do lets use work with Redis for at most the timeout. The answer is ErrUnavailable while Redis is down, else use's own.
// When use fails in any other way than by an answer of Redis, Redis counts as down until a ping succeeds.
func (c *Client) Do(ctx context.Context, use func(context.Context, rueidis.Client) error) error {
	c.mu.Lock()
	conn, term, up := c.conn, c.term, c.state.Up
	c.mu.Unlock()
	if !up {
		return ErrUnavailable
	}
	bounded, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	start := time.Now()
	err := use(bounded, conn)
	failed := ctx.Err() == nil && isFault(err)
	if c.observe != nil {
		c.observe(time.Since(start), failed)
	}
	if failed {
		c.fail(term, err)
	}
	return err
}

// isFault tells a broken connection from an answer that is an error, or cannot be read.
func isFault(err error) bool {
	if err == nil || rueidis.IsParseErr(err) {
		return false
	}
	_, answered := errors.AsType[*rueidis.RedisError](err)
	return !answered
}

// Client is the connection itself, for uses of any length; false while Redis is down.
func (c *Client) Client() (rueidis.Client, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn, c.state.Up
}

// Await waits until Redis is up. The error is ctx's, or ErrUnavailable after Close.
func (c *Client) Await(ctx context.Context) (rueidis.Client, error) {
	for {
		c.mu.Lock()
		conn, up, risen := c.conn, c.state.Up, c.risen
		c.mu.Unlock()
		if c.life.Err() != nil {
			return nil, ErrUnavailable
		}
		if up {
			return conn, nil
		}
		select {
		case <-risen:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// State is how Redis is.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Close ends the connection and everything that was started for it; uses under way fail.
func (c *Client) Close() {
	c.end()
	c.sockets.drop()
	<-c.ended
}

// redact keeps the password out of a text.
func (c *Client) redact(err error) string {
	if c.password == "" {
		return err.Error()
	}
	return strings.ReplaceAll(err.Error(), c.password, "[password]")
}
