package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

const (
	// dnsTimeout is the share of the deadline that looking a name up may take.
	dnsTimeout = 5 * time.Second
	// maxAddresses bounds how many addresses of a name are tried; all of them are checked.
	maxAddresses = 16
	// fallbackDelay is the head start of the first address family over the other (RFC 8305, section 5).
	fallbackDelay = 300 * time.Millisecond
	// minConnect is the least time an address gets while others wait.
	minConnect = 2 * time.Second
)

// dial is the transports' DialContext. Their context lives on when the request has ended, for the sake of the next one;
// the deadline of the request that asked holds all the same, over the TLS handshake too.
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	a := ctx.Value(attemptKey{}).(*attempt)
	if !a.mayDial() {
		return nil, errRefused
	}
	ctx, cancel := context.WithDeadline(ctx, a.deadline)
	defer cancel()
	nc, err := c.connect(ctx, a, network, address)
	if err != nil {
		return nil, err
	}
	watched := &conn{Conn: nc}
	watched.bounded.Store(nc.SetDeadline(a.deadline) == nil)
	return watched, nil
}

func (c *Client) connect(ctx context.Context, a *attempt, network, address string) (net.Conn, error) {
	var addrs []netip.AddrPort
	if c.dialHook == nil {
		var err error
		if addrs, err = c.resolve(ctx, a, address); err != nil {
			return nil, err
		}
	}
	a.enter(connecting)
	defer a.took(&a.timing.Connect, time.Now())
	if c.dialHook != nil {
		return c.dialHook(ctx, network, address)
	}
	return c.race(ctx, addrs)
}

// resolve gives the addresses to try. One that the policy refuses refuses them all: a name that leads to both sides is
// about to be rebound, or would be dialled inside every other time.
func (c *Client) resolve(ctx context.Context, a *attempt, address string) ([]netip.AddrPort, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("address to dial: %w", err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("port to dial: %w", err)
	}
	found, err := c.lookUp(ctx, a, host)
	if err != nil {
		return nil, err
	}
	var addrs []netip.AddrPort
	for _, addr := range found {
		addr = addr.Unmap()
		if err := c.policy.CheckAddr(addr); err != nil {
			return nil, fmt.Errorf("dial %s: %w", addr, err)
		}
		if target := netip.AddrPortFrom(addr, uint16(port)); len(addrs) < maxAddresses && !slices.Contains(addrs, target) {
			addrs = append(addrs, target)
		}
	}
	return addrs, nil
}

// lookUp gives at least one address, or a *net.DNSError.
func (c *Client) lookUp(ctx context.Context, a *attempt, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	if isLoopbackName(host) {
		// Not a question for DNS (RFC 6761, section 6.3), and of the two answers only the allowed one is meant.
		loopback := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
		allowed := slices.DeleteFunc(loopback, func(addr netip.Addr) bool { return c.policy.CheckAddr(addr) != nil })
		if len(allowed) == 0 {
			return nil, errNotPublic
		}
		return allowed, nil
	}
	if !isPrivateName(host) {
		// Rooted, so that no search list turns a public name into one of this network's.
		host += "."
	}
	a.enter(resolving)
	defer a.took(&a.timing.DNS, time.Now())
	ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
	defer cancel()
	addrs, err := c.resolver.LookupNetIP(ctx, "ip", host)
	if err == nil && len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	if err == nil {
		return addrs, nil
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return nil, dns
	}
	return nil, &net.DNSError{Err: err.Error(), Name: host, IsTimeout: ctx.Err() != nil}
}

// race connects to the first address family, and after a moment to the other one too; the first connection wins.
func (c *Client) race(ctx context.Context, addrs []netip.AddrPort) (net.Conn, error) {
	var first, second []netip.AddrPort
	for _, addr := range addrs {
		if addr.Addr().Is4() == addrs[0].Addr().Is4() {
			first = append(first, addr)
		} else {
			second = append(second, addr)
		}
	}
	if len(second) == 0 {
		return c.inTurn(ctx, first)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type outcome struct {
		conn net.Conn
		err  error
	}
	outcomes := make(chan outcome)
	try := func(addrs []netip.AddrPort) {
		nc, err := c.inTurn(ctx, addrs)
		select {
		case outcomes <- outcome{nc, err}:
		case <-ctx.Done():
			if nc != nil {
				_ = nc.Close()
			}
		}
	}
	go try(first)
	delay := time.NewTimer(fallbackDelay)
	defer delay.Stop()
	started, failed := 1, 0
	var firstErr error
	for {
		select {
		case <-delay.C:
		case o := <-outcomes:
			if o.err == nil {
				return o.conn, nil
			}
			if failed++; firstErr == nil {
				firstErr = o.err
			}
			if failed == 2 {
				return nil, firstErr
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if started == 1 {
			started = 2
			go try(second)
		}
	}
}

// inTurn tries addresses one after the other, each with a fair share of the time that is left.
func (c *Client) inTurn(ctx context.Context, addrs []netip.AddrPort) (net.Conn, error) {
	var firstErr error
	for i, addr := range addrs {
		var within time.Duration
		if end, ok := ctx.Deadline(); ok && i < len(addrs)-1 {
			within = max(time.Until(end)/time.Duration(len(addrs)-i), minConnect)
		}
		nc, err := c.reach(ctx, within, addr)
		if err == nil {
			return nc, nil
		}
		if firstErr == nil {
			firstErr = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, firstErr
}

// reach connects to one address that was judged, within a time unless it is zero: directly, where the address is judged
// once more as the kernel gets it, or through the proxy.
func (c *Client) reach(ctx context.Context, within time.Duration, addr netip.AddrPort) (net.Conn, error) {
	if c.proxy == nil {
		dialer := net.Dialer{Control: c.policy.guard.control, Timeout: within}
		return dialer.DialContext(ctx, "tcp", addr.String())
	}
	if within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, within)
		defer cancel()
	}
	return c.proxy.dial(ctx, addr)
}
