//go:build unix

package chaos_test

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// proxy stands between nodes and a server, and does to their connections what networks do.
type proxy struct {
	listener net.Listener
	server   string
	mode     atomic.Int32
	// delayed is how long each piece is held back, in nanoseconds.
	delayed atomic.Int64
	// lost counts the answers that a commit's reset and the forgetting of answers kept from the nodes.
	lost atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// What a proxy does.
const (
	passing   int32 = iota
	refusing        // new connections and old ones are reset
	silent          // nothing arrives any more and nobody is told: half-open
	answering       // what the nodes send arrives, the answers do not
	severing        // the next commit is sent on, and its answer is a reset
)

func newProxy(t testing.TB, server string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, server: server, conns: map[net.Conn]struct{}{}}
	go p.accept()
	t.Cleanup(func() {
		l.Close()
		p.reset()
	})
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

// become changes what it does. Connections that it went silent on stay so: they are reset where they may pass again.
func (p *proxy) become(mode int32) {
	before := p.mode.Swap(mode)
	if mode == refusing || before == silent || before == answering {
		p.reset()
	}
}

// reset ends all connections with RST.
func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
	clear(p.conns)
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		if p.mode.Load() == refusing {
			_ = client.(*net.TCPConn).SetLinger(0)
			_ = client.Close()
			continue
		}
		go p.serve(client)
	}
}

func (p *proxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		_ = client.Close()
		return
	}
	p.mu.Lock()
	p.conns[client], p.conns[server] = struct{}{}, struct{}{}
	p.mu.Unlock()
	var cut atomic.Bool
	done := make(chan struct{}, 2)
	go func() { p.pump(client, server, true, &cut); done <- struct{}{} }()
	go func() { p.pump(server, client, false, &cut); done <- struct{}{} }()
	<-done
	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, server)
	p.mu.Unlock()
	_ = client.Close()
	_ = server.Close()
	<-done
}

// writes are what the requests that change something have in them: a COMMIT by itself, and the pipelines that end with one.
var writes = [][]byte{[]byte("commit\x00"), []byte("set_config('enable_seqscan'")}

// pump carries bytes one way. Where a commit is to be severed it is sent on whole, and the answer becomes a reset.
func (p *proxy) pump(from, to net.Conn, request bool, cut *atomic.Bool) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if d := time.Duration(p.delayed.Load()); d > 0 {
			after(d)
		}
		mode := p.mode.Load()
		switch {
		case mode == answering && !request:
			p.lost.Add(1)
			continue // read and forgotten
		case mode == silent:
			continue
		case mode == severing && request && p.commits(buffer[:n]):
			cut.Store(true)
		case !request && cut.Load():
			p.lost.Add(1)
			_ = to.(*net.TCPConn).SetLinger(0)
			_ = to.Close()
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) commits(piece []byte) bool {
	for _, w := range writes {
		if bytes.Contains(piece, w) {
			return true
		}
	}
	return false
}
