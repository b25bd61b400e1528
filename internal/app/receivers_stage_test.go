package app_test

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/egress"
	. "github.com/posthorn/posthorn/internal/hooktest"
)

// receiverRow is a receiver as a case describes it.
type receiverRow struct {
	Status     json.RawMessage   `json:"status"`
	Headers    map[string]string `json:"headers"`
	HeadersGen map[string]struct {
		Repeat string `json:"repeat"`
		Times  int    `json:"times"`
	} `json:"headers_gen"`
	Body      string          `json:"body"`
	Framing   string          `json:"framing"`
	Raw       string          `json:"raw"`
	RepeatRaw string          `json:"repeat_raw"`
	EveryMS   int             `json:"every_ms"`
	Delay     json.RawMessage `json:"delay_s"`
	Drip      string          `json:"drip"`
	Rate      float64         `json:"bytes_per_s"`
	ReadRate  string          `json:"read_rate"`
	TLS       string          `json:"tls"`
	DNS       string          `json:"dns"`
	Sequence  []any           `json:"sequence"`
	Chain     int             `json:"chain"`

	Connection struct {
		TCP string `json:"tcp"`
	} `json:"connection"`
}

// stage is where a case plays: a network with its receiver on it, or without.
type stage struct {
	network  *Network
	receiver *Receiver
	url      string
	egress   func(*egress.Options)
}

const stageHost = "receiver.test"

// stage sets the case up, or gives nil where it is not understood.
func (r receiverRow) stage(t *testing.T) *stage {
	t.Helper()
	s := &stage{network: NewNetwork(), url: "http://" + stageHost + "/hook"}
	t.Cleanup(s.network.Close)
	switch {
	case r.DNS != "":
		return r.stageDNS(s)
	case r.TLS != "":
		return r.stageTLS(t, s)
	case r.Connection.TCP != "":
		return r.stageConnection(s)
	}
	reply, ok := r.reply()
	if !ok {
		return nil
	}
	s.receiver, _ = s.network.Add(stageHost)
	s.receiver.Reply(reply)
	return s
}

// reply is what the receiver answers.
func (r receiverRow) reply() (Reply, bool) {
	if r.Raw != "" {
		return Raw(r.Raw), true
	}
	if r.RepeatRaw != "" {
		return Endless("", r.RepeatRaw, time.Duration(max(r.EveryMS, 1))*time.Millisecond), true
	}
	status := 200
	if r.Status != nil && json.Unmarshal(r.Status, &status) != nil {
		return Reply{}, false
	}
	response := r.body(Respond(status))
	for name, value := range r.Headers {
		if name != "Content-Length" && name != "Content-Encoding" {
			response = response.Header(name, value)
		}
	}
	for name, gen := range r.HeadersGen {
		response = response.Header(name, strings.Repeat(gen.Repeat, gen.Times))
	}
	perByte := time.Second
	if r.Rate > 0 {
		perByte = time.Duration(float64(time.Second) / r.Rate)
	}
	switch r.Drip {
	case "headers":
		response = response.Drip(perByte)
	case "body":
		response = response.DripBody(perByte)
	}
	if r.Framing == "eof" {
		response = response.UntilEOF()
	}
	reply := response.Reply()
	if r.ReadRate != "" {
		reply = reply.ReadingAt(1000)
	}
	wait, ok := r.delay()
	return reply.After(wait), ok
}

func (r receiverRow) body(response Response) Response {
	switch {
	case r.Body == "10 GB":
		return response.Big(10_000_000_000)
	case strings.HasPrefix(r.Body, "gzip("):
		return response.Body("ok").Gzipped(1)
	case r.Body == "bomb":
		return response.Big(50 << 20).Gzipped(max(1, strings.Count(r.Headers["Content-Encoding"], "gzip")))
	}
	return response.Body(r.Body)
}

// delay reads seconds, or the timeout and what is added to it.
func (r receiverRow) delay() (time.Duration, bool) {
	if r.Delay == nil {
		return 0, true
	}
	var seconds float64
	if json.Unmarshal(r.Delay, &seconds) == nil {
		return time.Duration(seconds * float64(time.Second)), true
	}
	var text string
	if json.Unmarshal(r.Delay, &text) != nil {
		return 0, false
	}
	rest, ok := strings.CutPrefix(text, "timeout")
	if rest != "" {
		_, err := fmt.Sscanf(rest, "%g", &seconds)
		ok = ok && err == nil
	}
	return receiverTimeout + time.Duration(seconds*float64(time.Second)), ok
}

func (r receiverRow) stageConnection(s *stage) *stage {
	s.receiver, _ = s.network.Add(stageHost)
	switch tcp := r.Connection.TCP; {
	case tcp == "drop SYN":
		s.network.FailDial(stageHost, Swallowed)
	case strings.Contains(tcp, "refused"):
		s.network.FailDial(stageHost, Refused)
	case tcp == "never read":
		s.receiver.Reply(NeverRead())
	case strings.HasPrefix(tcp, "RST"):
		s.receiver.Reply(Reset())
	case strings.HasPrefix(tcp, "close"), strings.HasPrefix(tcp, "FIN"):
		s.receiver.Reply(Drop())
	default:
		return nil
	}
	return s
}

func (r receiverRow) stageTLS(t *testing.T, s *stage) *stage {
	t.Helper()
	authority := NewAuthority(t)
	issue := func(change ...func(*x509.Certificate)) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{authority.Issue(t, stageHost, change...)}}
	}
	var config *tls.Config
	switch {
	case strings.Contains(r.TLS, "expired"):
		config = issue(func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)
		})
	case strings.Contains(r.TLS, "not yet valid"):
		config = issue(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(30 * time.Minute) })
	case strings.Contains(r.TLS, "untrusted"), strings.Contains(r.TLS, "self-signed"):
		config = &tls.Config{Certificates: []tls.Certificate{NewAuthority(t).Issue(t, stageHost)}}
	case strings.Contains(r.TLS, "SNI"):
		config = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("unknown name") }}
	case strings.Contains(r.TLS, "weak"):
		config = &tls.Config{Certificates: []tls.Certificate{weak(authority.Issue(t, stageHost))}}
	case strings.Contains(r.TLS, "SANs"):
		config = issue(func(c *x509.Certificate) {
			for i := range 100_000 {
				c.DNSNames = append(c.DNSNames, fmt.Sprintf("h%d.%s", i, stageHost))
			}
		})
	case strings.Contains(r.TLS, "host"), strings.Contains(r.TLS, "name"):
		config = issue(func(c *x509.Certificate) { c.DNSNames = []string{"other.test"} })
	default:
		return nil
	}
	s.receiver, s.url = s.network.AddTLS(stageHost, config)
	s.egress = func(o *egress.Options) { o.TLS = authority.Roots() }
	return s
}

// weak shows a certificate with a key of 512 bits.
func weak(certificate tls.Certificate) tls.Certificate {
	n := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 512), big.NewInt(569))
	certificate.PrivateKey = weakKey{&rsa.PublicKey{N: n, E: 65537}}
	return certificate
}

// weakKey is only ever shown: no version of TLS spoken here has a signature short enough for it.
type weakKey struct{ public *rsa.PublicKey }

func (k weakKey) Public() crypto.PublicKey { return k.public }

func (weakKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the key is too short to sign")
}

func (r receiverRow) stageDNS(s *stage) *stage {
	s.url = "http://receiver.hooks.net/hook"
	var lookUp resolver
	switch {
	case r.DNS == "drop", strings.Contains(r.DNS, "timeout"):
		lookUp = func(ctx context.Context) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, &net.DNSError{Err: "timeout", IsTimeout: true}
		}
	case strings.EqualFold(r.DNS, "NXDOMAIN"):
		lookUp = func(context.Context) ([]netip.Addr, error) {
			return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
		}
	case strings.EqualFold(r.DNS, "SERVFAIL"):
		lookUp = func(context.Context) ([]netip.Addr, error) {
			return nil, &net.DNSError{Err: "server misbehaving", IsTemporary: true}
		}
	case r.DNS == "rebind", strings.Contains(r.DNS, "private"):
		lookUp = func(context.Context) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("93.184.216.34"), netip.MustParseAddr("192.168.1.1")}, nil
		}
	default:
		return nil
	}
	s.egress = func(o *egress.Options) { o.Dial, o.Resolver = nil, lookUp }
	return s
}

// resolver is DNS in a test.
type resolver func(ctx context.Context) ([]netip.Addr, error)

func (r resolver) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) { return r(ctx) }
