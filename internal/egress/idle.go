package egress

import (
	"net"
	"slices"
	"sync"
	"time"
)

// idleConns keeps connections without TLS for the next request to the same host, the last one used to be used first. They
// have no goroutine and no buffer: an idle one is looked at when it is wanted, and closed when nobody wanted it for long.
type idleConns struct {
	mu sync.Mutex
	// of has an address's connections, the one used longest ago first; total counts all.
	of    map[string][]idleConn
	total int
	// swept says that a sweep is planned, as one is while there are any.
	swept bool
}

type idleConn struct {
	net.Conn
	since time.Time
}

// take gives a connection to an address, on which nothing has happened since it was last used, with a new deadline; or nil.
func (p *idleConns) take(address string, deadline time.Time) net.Conn {
	for {
		nc := p.pop(address)
		if nc == nil {
			return nil
		}
		if nc.SetDeadline(deadline) == nil && isQuiet(nc) {
			return nc
		}
		// The receiver has closed it, or sent what nobody asked for.
		_ = nc.Close()
	}
}

func (p *idleConns) pop(address string) net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	conns := p.of[address]
	if len(conns) == 0 {
		return nil
	}
	last := len(conns) - 1
	nc := conns[last].Conn
	conns[last] = idleConn{}
	p.of[address] = conns[:last]
	p.total--
	return nc
}

// put keeps a connection that a request has left clean, or closes it where its address has enough. Where there are enough in
// all another gives way, of any address, so that those who have many cannot keep the others from having one.
func (p *idleConns) put(address string, nc net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.of[address]) >= maxIdlePerHost {
		_ = nc.Close()
		return
	}
	if p.total >= maxIdle {
		p.drop()
	}
	if p.of == nil {
		p.of = make(map[string][]idleConn)
	}
	p.of[address] = append(p.of[address], idleConn{nc, time.Now()})
	p.total++
	if !p.swept {
		p.swept = true
		time.AfterFunc(idleTimeout, p.sweep)
	}
}

// drop closes one connection: the oldest of an address, of which the map gives any.
func (p *idleConns) drop() {
	for address, conns := range p.of {
		if len(conns) > 0 {
			_ = conns[0].Close()
			p.of[address] = slices.Delete(conns, 0, 1)
			p.total--
			return
		}
	}
}

// sweep closes what is idle for too long, and comes back when the next one will be.
func (p *idleConns) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, next := time.Now(), idleTimeout
	for address, conns := range p.of {
		old := 0
		for old < len(conns) && now.Sub(conns[old].since) >= idleTimeout {
			_ = conns[old].Close()
			old++
		}
		p.total -= old
		if conns = slices.Delete(conns, 0, old); len(conns) == 0 {
			delete(p.of, address)
			continue
		}
		p.of[address] = conns
		next = min(next, idleTimeout-now.Sub(conns[0].since))
	}
	if p.swept = p.total > 0; p.swept {
		time.AfterFunc(max(next, time.Second), p.sweep)
	}
}

// close closes all that are idle.
func (p *idleConns) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conns := range p.of {
		for _, c := range conns {
			_ = c.Close()
		}
	}
	clear(p.of)
	p.total = 0
}
