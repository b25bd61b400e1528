package egress

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

// authority signs the certificates of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

func (a *authority) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// issue makes a certificate for hooks.example.com, as the change to the template would have it.
func (a *authority) issue(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"hooks.example.com"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// tlsClient trusts an authority and finds hooks.example.com on this machine.
func tlsClient(t *testing.T, a *authority) *Client {
	t.Helper()
	c := New(Options{
		Policy: NewPolicy(prefixes("127.0.0.0/8"), true), TLS: &tls.Config{RootCAs: a.roots()},
		Resolver: serveNames(t, answer{A: []string{"127.0.0.1"}}).resolver(),
	})
	t.Cleanup(c.Close)
	return c
}

func TestTLSFailures(t *testing.T) {
	good, other := newAuthority(t), newAuthority(t)
	serving := func(cert tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{cert}} }
	cases := map[string]struct {
		config *tls.Config
		code   string
	}{
		"Good": {serving(good.issue(t, nil)), ""},
		"Expired": {serving(good.issue(t, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
		})), "tls_certificate_expired"},
		"NotYetValid": {serving(good.issue(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })), "tls_certificate_expired"},
		"WrongHost":   {serving(good.issue(t, func(c *x509.Certificate) { c.DNSNames = []string{"other.example.com"} })), "tls_certificate_name"},
		"NoNames":     {serving(good.issue(t, func(c *x509.Certificate) { c.DNSNames = nil })), "tls_certificate_name"},
		"Untrusted":   {serving(other.issue(t, nil)), "tls_certificate_untrusted"},
		"ClientCertificateOnly": {serving(good.issue(t, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		})), "tls_certificate_invalid"},
		"ManyNames": {serving(good.issue(t, func(c *x509.Certificate) {
			for i := range 30000 {
				c.DNSNames = append(c.DNSNames, fmt.Sprintf("h%d.example.com", i))
			}
		})), "tls_handshake"},
		"AlertForTheName": {&tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return nil, errors.New("unknown name")
		}}, "tls_alert"},
		"OldVersion":        {&tls.Config{Certificates: []tls.Certificate{good.issue(t, nil)}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "tls_alert"},
		"AsksForOurs":       {&tls.Config{Certificates: []tls.Certificate{good.issue(t, nil)}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}, "client_certificate_required"},
		"WithoutEncryption": {nil, "tls_not_spoken"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var plaintext atomic.Bool
			rec := listen(t, "127.0.0.1:0", func(r *receiver, nc net.Conn) {
				if c.config == nil {
					_, _ = nc.Read(make([]byte, 1))
					_, _ = io.WriteString(nc, "HTTP/1.1 400 Bad Request\r\n\r\n")
					return
				}
				server := tls.Server(nc, c.config)
				if server.Handshake() != nil {
					return
				}
				if readRequest(r, bufio.NewReader(server)) {
					plaintext.Store(true)
					_, _ = io.WriteString(server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			})
			r := post(tlsClient(t, good), at(t, "https://hooks.example.com/", rec.addr.Port()))
			if c.code == "" {
				if r.Outcome != posthorn.Succeeded || r.Timing.TLS <= 0 || !plaintext.Load() {
					t.Errorf("%s %s, timing %+v (%v)", r.Outcome, r.Code, r.Timing, r.Err)
				}
				return
			}
			if r.Outcome != posthorn.TLSError || r.Code != c.code || r.OurFault || plaintext.Load() {
				// An alert may also arrive as a closed connection.
				if c.code != "tls_alert" || r.Outcome != posthorn.TLSError || r.Code != "tls_closed" {
					t.Errorf("%s %s, request sent: %v (%v); want tls_error %s", r.Outcome, r.Code, plaintext.Load(), r.Err, c.code)
				}
			}
			wantNoAddress(t, r)
		})
	}
	t.Run("ClosedInHandshake", func(t *testing.T) {
		rec := listen(t, "127.0.0.1:0", func(_ *receiver, nc net.Conn) { _, _ = nc.Read(make([]byte, 1024)) })
		r := post(tlsClient(t, good), at(t, "https://hooks.example.com/", rec.addr.Port()))
		if r.Outcome != posthorn.TLSError || r.Code != "tls_closed" {
			t.Errorf("%s %s (%v)", r.Outcome, r.Code, r.Err)
		}
	})
}

// serveHTTP2 is a receiver that speaks HTTP/2 over TLS.
func serveHTTP2(t *testing.T, a *authority, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{a.issue(t, nil)}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func TestHTTP2(t *testing.T) {
	a := newAuthority(t)
	server := serveHTTP2(t, a, func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			w.WriteHeader(http.StatusHTTPVersionNotSupported)
			return
		}
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/echo":
			w.Header().Set("X-Id", r.Header.Get("webhook-id"))
			_, _ = w.Write(body)
		case "/big":
			for range 64 {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		case "/headers":
			for i := range 3000 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("a", 64))
			}
		case "/abort":
			panic(http.ErrAbortHandler)
		}
	})
	port := server.Listener.Addr().(*net.TCPAddr).AddrPort().Port()
	client := tlsClient(t, a)
	cases := []struct {
		path    string
		outcome posthorn.Outcome
		code    string
		kept    int
	}{
		{"/echo", posthorn.Succeeded, "", 7},
		{"/big", posthorn.Succeeded, "", posthorn.KeptBody},
		{"/headers", posthorn.InvalidResponse, "", 0},
		{"/abort", posthorn.InvalidResponse, "malformed_response", 0},
		{"/echo", posthorn.Succeeded, "", 7},
	}
	for _, c := range cases {
		r := post(client, at(t, "https://hooks.example.com"+c.path, port))
		if r.Outcome != c.outcome || c.code != "" && r.Code != c.code || len(r.Body) != c.kept || r.OurFault {
			t.Errorf("%s: %s %s %d, %d bytes (%v)", c.path, r.Outcome, r.Code, r.StatusCode, len(r.Body), r.Err)
		}
		if c.path == "/echo" && (string(r.Body) != `{"a":1}` || r.Header.Get("X-Id") != "evt_1") {
			t.Errorf("%s: %v %s", c.path, r.Header, r.Body)
		}
	}
	// Many at once share connections, and none takes another's answer.
	done := make(chan error, 32)
	for i := range 32 {
		go func() {
			body := fmt.Sprintf("body %d", i)
			var err error
			for range 20 {
				r := client.Do(context.Background(), Request{URL: at(t, "https://hooks.example.com/echo", port), Body: []byte(body)})
				if r.Outcome != posthorn.Succeeded || string(r.Body) != body {
					err = fmt.Errorf("%s %s %q: %w", r.Outcome, r.Code, r.Body, r.Err)
				}
			}
			done <- err
		}()
	}
	for range 32 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// batched holds back what is written until the next read, so that two TLS records travel together.
type batched struct {
	net.Conn
	held *bufio.Writer
}

func (b batched) Write(p []byte) (int, error) { return b.held.Write(p) }

func (b batched) Read(p []byte) (int, error) {
	if err := b.held.Flush(); err != nil {
		return 0, err
	}
	return b.Conn.Read(p)
}

// Over TLS a stray answer waits in a buffer of its own; it must be seen there too. (One that is still on its way when the
// next request is written cannot be told from that one's answer: HTTP/1.1 has no means for it.)
func TestStrayResponseOverTLS(t *testing.T) {
	a := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{a.issue(t, nil)}}
	rec := listen(t, "127.0.0.1:0", func(r *receiver, nc net.Conn) {
		server := tls.Server(batched{nc, bufio.NewWriter(nc)}, config)
		reader := bufio.NewReader(server)
		for readRequest(r, reader) {
			for _, answer := range []string{"right", "wrong"} {
				_, _ = io.WriteString(server, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"+answer)
			}
		}
	})
	client := tlsClient(t, a)
	done := make(chan string)
	for range 8 {
		go func() {
			fault := ""
			for range 20 {
				if r := post(client, at(t, "https://hooks.example.com/", rec.addr.Port())); r.Outcome != posthorn.Succeeded || string(r.Body) != "right" {
					fault = fmt.Sprintf("%s %s %q (%v)", r.Outcome, r.Code, r.Body, r.Err)
				}
			}
			done <- fault
		}()
	}
	for range 8 {
		if fault := <-done; fault != "" {
			t.Error(fault)
		}
	}
}
