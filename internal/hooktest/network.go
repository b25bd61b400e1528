package hooktest

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
)

// Listen makes a receiver on a free port of loopback and gives its URL. It ends with the test.
func Listen(t testing.TB, name string) (*Receiver, string) {
	t.Helper()
	return listen(t, name, nil)
}

// ListenTLS is Listen behind TLS.
func ListenTLS(t testing.TB, name string, config *tls.Config) (*Receiver, string) {
	t.Helper()
	return listen(t, name, config)
}

func listen(t testing.TB, name string, config *tls.Config) (*Receiver, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := newReceiver(name)
	r.listener, r.tls = l, config
	scheme := "http://"
	if config != nil {
		scheme = "https://"
	}
	r.serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.serve(c)
		}
	})
	t.Cleanup(r.Close)
	return r, scheme + l.Addr().String() + "/hook"
}

// Network is a network in memory for fake time: receivers by host name, reached over net.Pipe through its Dial. Hosts it
// does not know refuse connections.
type Network struct {
	mu    sync.Mutex
	hosts map[string]*Receiver
	fails map[string]func(context.Context) error
	down  bool
	dials int
}

// NewNetwork makes an empty network. Close it before its bubble ends.
func NewNetwork() *Network {
	return &Network{hosts: make(map[string]*Receiver), fails: make(map[string]func(context.Context) error)}
}

// Add makes a receiver under a host name and gives its URL.
func (n *Network) Add(host string) (*Receiver, string) {
	r := newReceiver(host)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[host] = r
	return r, "http://" + host + "/hook"
}

// AddTLS is Add behind TLS.
func (n *Network) AddTLS(host string, config *tls.Config) (*Receiver, string) {
	r, _ := n.Add(host)
	r.tls = config
	return r, "https://" + host + "/hook"
}

// FailDial makes every connection to a host fail as f says; nil lets it work again.
func (n *Network) FailDial(host string, f func(ctx context.Context) error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fails[host] = f
}

// Cut takes the whole network away, or gives it back: with it away every connection is refused by the nearest router.
func (n *Network) Cut(down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = down
}

// Dials is how many connections were asked for.
func (n *Network) Dials() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials
}

// Dial is for egress.Options.
func (n *Network) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.dials++
	r, fail, down := n.hosts[host], n.fails[host], n.down
	n.mu.Unlock()
	switch {
	case down:
		return nil, dialError(network, syscall.ENETUNREACH)
	case fail != nil:
		if err := fail(ctx); err != nil {
			return nil, err
		}
	case r == nil:
		return nil, dialError(network, syscall.ECONNREFUSED)
	}
	near, far := net.Pipe()
	if r.tls != nil {
		far = newBuffered(far)
	}
	r.serve(far)
	return near, nil
}

// buffered is a connection whose writes do not wait for the reader, as the system's sockets: the two sides of a failing TLS
// handshake write at the same time.
type buffered struct {
	net.Conn
	mu      sync.Mutex
	more    sync.Cond
	waiting []byte
	ended   bool
}

func newBuffered(c net.Conn) *buffered {
	b := &buffered{Conn: c}
	b.more.L = &b.mu
	go b.flush()
	return b
}

func (b *buffered) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return 0, net.ErrClosed
	}
	b.waiting = append(b.waiting, p...)
	b.more.Signal()
	return len(p), nil
}

// Close lets what was written reach the other side first, unless that is gone.
func (b *buffered) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	b.more.Signal()
	return nil
}

func (b *buffered) flush() {
	defer func() { _ = b.Conn.Close() }()
	for {
		b.mu.Lock()
		for len(b.waiting) == 0 && !b.ended {
			b.more.Wait()
		}
		p := b.waiting
		b.waiting = nil
		b.mu.Unlock()
		if len(p) == 0 {
			return
		}
		if _, err := b.Conn.Write(p); err != nil {
			return
		}
	}
}

// Close ends all receivers.
func (n *Network) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.hosts {
		r.Close()
	}
}

func dialError(network string, errno syscall.Errno) error {
	return &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", errno)}
}

// Refused is for FailDial: nothing listens there.
func Refused(context.Context) error { return dialError("tcp", syscall.ECONNREFUSED) }

// Swallowed is for FailDial: SYN packets are dropped, so that connecting takes until the deadline.
func Swallowed(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// NoSuchHost is for FailDial: DNS knows no such name.
func NoSuchHost(context.Context) error {
	return &net.DNSError{Err: "no such host", Name: "receiver", IsNotFound: true}
}

// NoAnswerFromDNS is for FailDial: the resolver does not answer.
func NoAnswerFromDNS(context.Context) error {
	return &net.DNSError{Err: "timeout", Name: "receiver", IsTimeout: true}
}
