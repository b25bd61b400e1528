package egress

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
)

// maxCertificates bounds a chain, and a bundle of authorities.
const maxCertificates = 32

// Identity is what the connections of some subscriptions use beside the rest: a client certificate, authorities that are
// trusted besides the public ones, or both. It is never changed. Equal ones share connections, and others never do.
type Identity struct {
	// id is a hash of all that makes it.
	id          [sha256.Size]byte
	certificate *tls.Certificate
	authorities []*x509.Certificate
}

// ParseIdentity reads the PEM texts of TLS settings. The error is a posthorn.Violations with what would be right, and
// never holds a text. It does not look at the clock: see Expired.
func ParseIdentity(s *posthorn.TLS) (*Identity, error) {
	i := &Identity{}
	var v posthorn.Violations
	if s.CA != "" {
		certs, fault := parseCertificates(s.CA)
		if fault != "" {
			v.Add("tls.ca", "%s", fault)
		}
		i.authorities = certs
	}
	if s.Certificate != "" || s.Key != "" {
		i.readCertificate(s, &v)
	}
	if err := v.Err(); err != nil {
		return nil, err
	}
	h := sha256.New()
	for _, c := range i.authorities {
		h.Write([]byte{'a'})
		h.Write(c.Raw)
	}
	if i.certificate != nil {
		for _, der := range i.certificate.Certificate {
			h.Write([]byte{'c'})
			h.Write(der)
		}
		h.Write([]byte{'k'})
		h.Write([]byte(s.Key))
	}
	h.Sum(i.id[:0])
	return i, nil
}

func (i *Identity) readCertificate(s *posthorn.TLS, v *posthorn.Violations) {
	before := len(*v)
	if _, fault := parseCertificates(s.Certificate); fault != "" {
		v.Add("tls.certificate", "%s", fault)
	}
	if fault := checkKey(string(s.Key)); fault != "" {
		v.Add("tls.key", "%s", fault)
	}
	if len(*v) > before {
		return
	}
	pair, err := tls.X509KeyPair([]byte(s.Certificate), []byte(s.Key))
	switch {
	case err == nil:
		i.certificate = &pair
	case strings.Contains(err.Error(), "does not match"):
		v.Add("tls.key", "is not the key of tls.certificate; the certificate itself must come first in its chain")
	default:
		v.Add("tls.key", "must be an RSA, ECDSA or Ed25519 private key in PEM (PKCS #8, PKCS #1 or SEC 1)")
	}
}

// parseCertificates reads a chain or a bundle: certificates in PEM and nothing else.
func parseCertificates(text string) ([]*x509.Certificate, string) {
	var certs []*x509.Certificate
	for rest := []byte(text); len(bytes.TrimSpace(rest)) > 0; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		switch {
		case block == nil:
			return nil, "must be certificates in PEM: -----BEGIN CERTIFICATE-----, base64, -----END CERTIFICATE-----"
		case strings.Contains(block.Type, "PRIVATE KEY"):
			return nil, "must hold certificates only; a private key belongs in tls.key"
		case block.Type != "CERTIFICATE":
			return nil, "must hold certificates only"
		case len(certs) == maxCertificates:
			return nil, "must hold at most 32 certificates"
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, "holds a certificate that cannot be read (X.509 in PEM)"
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, "must be certificates in PEM: -----BEGIN CERTIFICATE-----, base64, -----END CERTIFICATE-----"
	}
	return certs, ""
}

func checkKey(text string) string {
	block, rest := pem.Decode([]byte(text))
	switch {
	case block != nil && block.Type == "EC PARAMETERS":
		// openssl writes them before the key.
		return checkKey(string(rest))
	case block == nil || !strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return "must be a private key in PEM: -----BEGIN PRIVATE KEY-----, base64, -----END PRIVATE KEY-----"
	case strings.Contains(block.Type, "ENCRYPTED") || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
		return "is encrypted with a passphrase; send it decrypted (it is sealed at rest)"
	case len(bytes.TrimSpace(rest)) > 0:
		return "must be one private key and nothing after it"
	}
	return ""
}

// Expired says which part of an identity is not valid at a moment: "certificate", "ca" when none of its authorities is, or "".
func (i *Identity) Expired(at time.Time) string {
	if i.certificate != nil && !validAt(i.certificate.Leaf, at) {
		return "certificate"
	}
	for _, c := range i.authorities {
		if validAt(c, at) {
			return ""
		}
	}
	if len(i.authorities) > 0 {
		return "ca"
	}
	return ""
}

// Certificate is the client certificate's own, or nil.
func (i *Identity) Certificate() *x509.Certificate {
	if i == nil || i.certificate == nil {
		return nil
	}
	return i.certificate.Leaf
}

func validAt(c *x509.Certificate, at time.Time) bool {
	return !at.Before(c.NotBefore) && !at.After(c.NotAfter)
}

// config is the base configuration with the identity in it.
func (i *Identity) config(base *tls.Config) *tls.Config {
	config := base.Clone()
	// Tickets must not cross: a resumed session shows no certificate of its own.
	config.ClientSessionCache = tls.NewLRUClientSessionCache(identitySessions)
	if i.certificate != nil {
		// Always, also where the receiver's list of authorities does not name ours: then it can say what is wrong.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return i.certificate, nil }
	}
	if len(i.authorities) > 0 {
		config.RootCAs = roots(base.RootCAs)
		for _, c := range i.authorities {
			config.RootCAs.AddCert(c)
		}
	}
	return config
}

// noCertificate notes that the receiver asks for a certificate, and shows none.
func noCertificate(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if a, ok := asked.Context().Value(attemptKey{}).(*attempt); ok {
		a.wantedCertificate()
	}
	return &tls.Certificate{}, nil
}

// roots is a copy of a pool, nil standing for the system's.
func roots(pool *x509.CertPool) *x509.CertPool {
	if pool != nil {
		return pool.Clone()
	}
	system, err := x509.SystemCertPool()
	if err != nil {
		return x509.NewCertPool()
	}
	return system
}
