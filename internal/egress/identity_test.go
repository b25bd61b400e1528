package egress

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

func pemOf(t *testing.T, c tls.Certificate) (certificate, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return encodePEM("CERTIFICATE", c.Certificate[0]), encodePEM("PRIVATE KEY", der)
}

func encodePEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// clientIdentity is a certificate for a client, signed by an authority.
func clientIdentity(t *testing.T, a *authority, change func(*x509.Certificate)) *posthorn.TLS {
	t.Helper()
	certificate, key := pemOf(t, a.issue(t, func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		if change != nil {
			change(c)
		}
	}))
	return &posthorn.TLS{Certificate: certificate, Key: posthorn.SecretText(key)}
}

func mustParse(t *testing.T, s *posthorn.TLS) *Identity {
	t.Helper()
	i, err := ParseIdentity(s)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestParseIdentity(t *testing.T) {
	a := newAuthority(t)
	good, other := clientIdentity(t, a, nil), clientIdentity(t, a, nil)
	ca := encodePEM("CERTIFICATE", a.cert.Raw)
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(a.issue(t, nil).PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		s     posthorn.TLS
		field string
	}{
		"Good":              {*good, ""},
		"Chain":             {posthorn.TLS{Certificate: good.Certificate + ca, Key: good.Key}, ""},
		"AuthorityAlone":    {posthorn.TLS{CA: ca}, ""},
		"All":               {posthorn.TLS{CA: ca + "\n\n" + ca, Certificate: good.Certificate, Key: good.Key}, ""},
		"ParametersFirst":   {posthorn.TLS{Certificate: good.Certificate, Key: posthorn.SecretText(encodePEM("EC PARAMETERS", []byte{6, 0})) + good.Key}, ""},
		"OtherKey":          {posthorn.TLS{Certificate: good.Certificate, Key: other.Key}, "tls.key"},
		"OtherKindOfKey":    {posthorn.TLS{Certificate: good.Certificate, Key: posthorn.SecretText(encodePEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(weak)))}, "tls.key"},
		"OtherECKey":        {posthorn.TLS{Certificate: good.Certificate, Key: posthorn.SecretText(encodePEM("EC PRIVATE KEY", sec1))}, "tls.key"},
		"NotPEM":            {posthorn.TLS{Certificate: "certificate", Key: good.Key}, "tls.certificate"},
		"KeyNotPEM":         {posthorn.TLS{Certificate: good.Certificate, Key: "key"}, "tls.key"},
		"Swapped":           {posthorn.TLS{Certificate: string(good.Key), Key: posthorn.SecretText(good.Certificate)}, "tls.certificate"},
		"NoCertificate":     {posthorn.TLS{Key: good.Key}, "tls.certificate"},
		"NotACertificate":   {posthorn.TLS{CA: encodePEM("CERTIFICATE", []byte("certificate"))}, "tls.ca"},
		"KeyAmongCA":        {posthorn.TLS{CA: ca + string(good.Key)}, "tls.ca"},
		"RequestAmongCA":    {posthorn.TLS{CA: encodePEM("CERTIFICATE REQUEST", a.cert.Raw)}, "tls.ca"},
		"TextAfterCA":       {posthorn.TLS{CA: ca + "and so on"}, "tls.ca"},
		"OnlySpaces":        {posthorn.TLS{CA: " \n"}, "tls.ca"},
		"TooMany":           {posthorn.TLS{CA: strings.Repeat(ca, 33)}, "tls.ca"},
		"Encrypted":         {posthorn.TLS{Certificate: good.Certificate, Key: posthorn.SecretText(encodePEM("ENCRYPTED PRIVATE KEY", []byte{1}))}, "tls.key"},
		"EncryptedOldStyle": {posthorn.TLS{Certificate: good.Certificate, Key: "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"}, "tls.key"},
		"TwoKeys":           {posthorn.TLS{Certificate: good.Certificate, Key: good.Key + good.Key}, "tls.key"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := ParseIdentity(&c.s)
			if c.field == "" && err != nil {
				t.Fatalf("ParseIdentity: %v", err)
			}
			if c.field != "" && (err == nil || !strings.Contains(err.Error(), c.field+": ")) {
				t.Fatalf("ParseIdentity = %v, want a fault of %s", err, c.field)
			}
			if err != nil && (strings.Contains(err.Error(), "MI") || strings.Contains(err.Error(), "and so on")) {
				t.Errorf("the error quotes what was sent: %v", err)
			}
		})
	}
}

func TestIdentityExpired(t *testing.T) {
	a := newAuthority(t)
	old := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	}
	past, future := clientIdentity(t, a, old), clientIdentity(t, a, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })
	oldCA, _ := pemOf(t, a.issue(t, old))
	for name, c := range map[string]struct {
		s          posthorn.TLS
		part, code string
	}{
		"Valid":       {*clientIdentity(t, a, nil), "", ""},
		"Past":        {*past, "certificate", "client_certificate_expired"},
		"NotYet":      {*future, "certificate", "client_certificate_expired"},
		"Authority":   {posthorn.TLS{CA: oldCA}, "ca", "ca_expired"},
		"OneOfTwoCAs": {posthorn.TLS{CA: oldCA + encodePEM("CERTIFICATE", a.cert.Raw)}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			i := mustParse(t, &c.s)
			if got := i.Expired(time.Now()); got != c.part {
				t.Errorf("Expired = %q, want %q", got, c.part)
			}
			if c.part == "" {
				return
			}
			r := loopbackClient(t).Do(t.Context(), Request{URL: parse("https://127.0.0.1:1/"), Identity: i, Timeout: time.Second})
			if r.Outcome != posthorn.TLSError || r.Code != c.code || r.OurFault || r.Remote.IsValid() {
				t.Errorf("Do = %s %s, want tls_error %s and no connection", r.Outcome, r.Code, c.code)
			}
		})
	}
}

// serveMutual is a receiver that wants a certificate of an authority; it counts its connections and tells who came.
func serveMutual(t *testing.T, server, clients *authority, config *tls.Config) (s *httptest.Server, connections *atomic.Int32) {
	t.Helper()
	connections = &atomic.Int32{}
	s = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.TLS.PeerCertificates[0].SerialNumber.String())
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	config.Certificates = []tls.Certificate{server.issue(t, nil)}
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, clients.roots()
	s.TLS = config
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, connections
}

func TestMutualTLS(t *testing.T) {
	public, private, clients := newAuthority(t), newAuthority(t), newAuthority(t)
	for name, version := range map[string]uint16{"TLS12": tls.VersionTLS12, "TLS13": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			s, connections := serveMutual(t, private, clients, &tls.Config{MinVersion: version, MaxVersion: version})
			u := at(t, "https://hooks.example.com/", portOf(s))
			client := tlsClient(t, public)
			ca := encodePEM("CERTIFICATE", private.cert.Raw)
			with := func(s *posthorn.TLS) *Identity {
				both := *s
				both.CA = ca
				return mustParse(t, &both)
			}
			good := clientIdentity(t, clients, nil)
			for name, c := range map[string]struct {
				identity *Identity
				code     string
			}{
				"UnknownAuthorityOfTheReceiver": {mustParse(t, good), "tls_certificate_untrusted"},
				"NoCertificate":                 {mustParse(t, &posthorn.TLS{CA: ca}), "client_certificate_required"},
				"CertificateOfAnother":          {with(clientIdentity(t, public, nil)), "client_certificate_refused"},
				"Good":                          {with(good), ""},
			} {
				t.Run(name, func(t *testing.T) {
					r := client.Do(t.Context(), Request{URL: u, Body: []byte("x"), Timeout: 5 * time.Second, Identity: c.identity})
					switch {
					case c.code == "" && r.Outcome == posthorn.Succeeded:
					case r.Code == c.code && r.Outcome == posthorn.TLSError && !r.OurFault:
					case strings.HasPrefix(c.code, "client_") && version == tls.VersionTLS13 && strings.HasPrefix(r.Code, "connection_"):
						// The alert may be overtaken by the end of the connection.
					default:
						t.Errorf("%s %s (%v), want %q", r.Outcome, r.Code, r.Err, c.code)
					}
				})
			}
			// Equal identities share a connection, whoever parsed them.
			before := connections.Load()
			for range 5 {
				if r := client.Do(t.Context(), Request{URL: u, Timeout: 5 * time.Second, Identity: with(good)}); r.Outcome != posthorn.Succeeded {
					t.Fatalf("%s %s (%v)", r.Outcome, r.Code, r.Err)
				}
			}
			if n := connections.Load() - before; n > 1 {
				t.Errorf("%d connections for 5 requests of one identity", n)
			}
		})
	}
}

// TestIdentitiesNeverShare sends under many identities at once: each request arrives under its own certificate.
func TestIdentitiesNeverShare(t *testing.T) {
	a := newAuthority(t)
	s, _ := serveMutual(t, a, a, &tls.Config{})
	client := tlsClient(t, a)
	var wg sync.WaitGroup
	for n := range 8 {
		identity := mustParse(t, clientIdentity(t, a, func(c *x509.Certificate) { c.SerialNumber.SetInt64(int64(100 + n)) }))
		want := "10" + string(rune('0'+n))
		wg.Go(func() {
			for range 20 {
				r := client.Do(t.Context(), Request{URL: at(t, "https://hooks.example.com/", portOf(s)), Timeout: 5 * time.Second, Identity: identity})
				if string(r.Body) != want {
					t.Errorf("sent as %s, arrived as %q: %s (%v)", want, r.Body, r.Code, r.Err)
				}
			}
		})
	}
	wg.Wait()
}

func TestPoolsAreBounded(t *testing.T) {
	a := newAuthority(t)
	client := tlsClient(t, a)
	first := mustParse(t, clientIdentity(t, a, nil))
	under := func(i *Identity) transports {
		return client.identities.of(i, func() transports { return client.newTransports(i.config(client.tls)) })
	}
	was := under(first)
	if under(first) != was {
		t.Error("the same identity got another pool")
	}
	for n := range maxIdentities {
		i := &Identity{}
		i.id[0], i.id[1] = byte(n), 1
		under(i)
	}
	if n := client.identities.order.Len(); n != maxIdentities || len(client.identities.by) != n {
		t.Errorf("%d pools are kept, want %d", n, maxIdentities)
	}
	if under(first) == was {
		t.Error("the pool used longest ago was kept")
	}
}

func portOf(s *httptest.Server) uint16 { return s.Listener.Addr().(*net.TCPAddr).AddrPort().Port() }
