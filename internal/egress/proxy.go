package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/proxy"
)

// maxProxyAnswer bounds what is read of a proxy's answer to CONNECT.
const maxProxyAnswer = 16 << 10

// Proxy is the operator's way out, where the network has no other. It is asked for numeric addresses that the policy has
// judged, never for names: what is dialled is what was checked. Its own address is not judged, as the operator named it.
type Proxy struct {
	connect func(ctx context.Context, target string) (net.Conn, error)
}

// ParseProxy reads a URL with the scheme http, https (both CONNECT, RFC 9110 section 9.3.6) or socks5 (RFC 1928), with a port
// and perhaps a user and password.
func ParseProxy(text string) (*Proxy, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		// The parser's error repeats the URL, and with it the password.
		return nil, errors.New("must be a URL such as http://proxy.example.com:3128")
	case u.Port() == "" || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("must be a scheme, a host and a port and nothing else, such as http://proxy.example.com:3128")
	}
	switch u.Scheme {
	case "http", "https":
		c := &connector{address: u.Host}
		if u.Scheme == "https" {
			c.tls = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
		}
		if password, _ := u.User.Password(); u.User != nil {
			c.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
		}
		return &Proxy{c.connect}, nil
	case "socks5":
		var auth *proxy.Auth
		if password, _ := u.User.Password(); u.User != nil {
			auth = &proxy.Auth{User: u.User.Username(), Password: password}
		}
		dialer, err := proxy.SOCKS5("tcp", u.Host, auth, &net.Dialer{})
		if err != nil {
			return nil, err
		}
		return &Proxy{func(ctx context.Context, target string) (net.Conn, error) {
			nc, err := dialer.(proxy.ContextDialer).DialContext(ctx, "tcp", target)
			if err != nil {
				return nil, &proxyError{err, isReceiverOfSOCKS(err)}
			}
			return nc, nil
		}}, nil
	}
	return nil, errors.New("must have the scheme http, https or socks5")
}

// dial connects to an address that was judged.
func (p *Proxy) dial(ctx context.Context, target netip.AddrPort) (net.Conn, error) {
	return p.connect(ctx, target.String())
}

// proxyError is a connection that the proxy did not make. Receiver says that the proxy could not reach the receiver; else the
// fault is the proxy's, which is ours.
type proxyError struct {
	err      error
	receiver bool
}

func (e *proxyError) Error() string { return "egress proxy: " + e.err.Error() }
func (e *proxyError) Unwrap() error { return e.err }

// isReceiverOfSOCKS tells the replies of RFC 1928, section 6, that are about the target. The library has no types for them.
func isReceiverOfSOCKS(err error) bool {
	text := err.Error()
	for _, reply := range []string{"network unreachable", "host unreachable", "connection refused", "TTL expired"} {
		if strings.HasSuffix(text, "unknown error "+reply) {
			return true
		}
	}
	return false
}

// connector asks an HTTP proxy for tunnels.
type connector struct {
	address, authorization string
	tls                    *tls.Config
}

func (c *connector) connect(ctx context.Context, target string) (net.Conn, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", c.address)
	if err != nil {
		return nil, &proxyError{err, false}
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	nc := raw
	if c.tls != nil {
		nc = tls.Client(raw, c.tls)
	}
	receiver, err := c.ask(nc, target)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = nc.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &proxyError{err, receiver}
	}
	return nc, nil
}

// ask makes the connection a tunnel. When it fails, receiver says that the proxy could not reach the target.
func (c *connector) ask(nc net.Conn, target string) (receiver bool, err error) {
	request := "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n"
	if c.authorization != "" {
		request += "Proxy-Authorization: " + c.authorization + "\r\n"
	}
	if _, err := io.WriteString(nc, request+"\r\n"); err != nil {
		return false, err
	}
	answer := bufio.NewReader(io.LimitReader(nc, maxProxyAnswer))
	resp, err := http.ReadResponse(answer, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return false, err
	}
	_ = resp.Body.Close()
	switch {
	case resp.StatusCode/100 != 2:
		return resp.StatusCode == http.StatusBadGateway || resp.StatusCode == http.StatusGatewayTimeout,
			fmt.Errorf("CONNECT was answered with status %d", resp.StatusCode)
	case answer.Buffered() > 0:
		return false, errors.New("the proxy spoke before the receiver was asked anything")
	}
	return false, nil
}
