package redis

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
)

// sockets knows every open connection, so that all can be dropped at once: the one sure way to free a caller from a
// server that no longer answers.
type sockets struct {
	mu   sync.Mutex
	open map[*socket]struct{}
}

// socket is a connection that is known while it is open.
type socket struct {
	net.Conn
	owner *sockets
	raw   net.Conn
}

// Close forgets the connection and closes it.
func (s *socket) Close() error {
	s.owner.mu.Lock()
	delete(s.owner.open, s)
	s.owner.mu.Unlock()
	return s.Conn.Close()
}

// dial makes connections that are known, and none after life has ended.
func (s *sockets) dial(life context.Context) func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
	return func(ctx context.Context, address string, dialer *net.Dialer, config *tls.Config) (net.Conn, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(life, cancel)()
		network := "tcp"
		if len(address) > 0 && address[0] == '/' {
			network = "unix"
		}
		var conn net.Conn
		var err error
		if config != nil {
			conn, err = (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, network, address)
		} else {
			conn, err = dialer.DialContext(ctx, network, address)
		}
		if err != nil {
			return nil, err
		}
		return s.keep(life, conn)
	}
}

func (s *sockets) keep(life context.Context, conn net.Conn) (net.Conn, error) {
	known := &socket{Conn: conn, owner: s, raw: conn}
	if secure, ok := conn.(*tls.Conn); ok {
		known.raw = secure.NetConn()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := life.Err(); err != nil {
		known.raw.Close()
		return nil, err
	}
	if s.open == nil {
		s.open = make(map[*socket]struct{})
	}
	s.open[known] = struct{}{}
	return known, nil
}

// drop closes every connection without a word to the server.
func (s *sockets) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for known := range s.open {
		known.raw.Close()
	}
	clear(s.open)
}
