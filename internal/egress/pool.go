package egress

import (
	"container/list"
	"crypto/sha256"
	"crypto/tls"
	"net/http"
	"sync"
)

const (
	// maxIdentities bounds the identities whose connections are kept; the one used longest ago gives way.
	maxIdentities    = 256
	identitySessions = 16
)

// transports send under one TLS configuration.
type transports struct {
	// pooled keeps connections alive; single opens one for one request: the second try of one that was lost on a pooled
	// connection.
	pooled, single *http.Transport
}

func (c *Client) newTransports(config *tls.Config) transports {
	t := transports{c.transport(config), c.transport(config)}
	t.single.DisableKeepAlives = true
	return t
}

func (t transports) close() {
	t.pooled.CloseIdleConnections()
	t.single.CloseIdleConnections()
}

// pools are the transports of identities, the last used first.
type pools struct {
	mu    sync.Mutex
	order *list.List
	by    map[[sha256.Size]byte]*list.Element
}

type pool struct {
	id [sha256.Size]byte
	transports
}

// of gives the transports of an identity, made when it is new.
func (p *pools) of(i *Identity, make func() transports) transports {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e, ok := p.by[i.id]; ok {
		p.order.MoveToFront(e)
		return e.Value.(*pool).transports
	}
	if p.by == nil {
		p.order, p.by = list.New(), map[[sha256.Size]byte]*list.Element{}
	}
	made := &pool{i.id, make()}
	p.by[i.id] = p.order.PushFront(made)
	if p.order.Len() > maxIdentities {
		last := p.order.Remove(p.order.Back()).(*pool)
		delete(p.by, last.id)
		// What is in flight ends by itself, and its connection when it has been idle for a while.
		last.close()
	}
	return made.transports
}

func (p *pools) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.by {
		e.Value.(*pool).close()
	}
}
