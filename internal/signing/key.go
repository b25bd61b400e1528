package signing

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
)

// The prefixes of the Standard Webhooks: a shared HMAC secret, an Ed25519 private key, an Ed25519 public key.
const (
	hmacPrefix    = "whsec_"
	privatePrefix = "whsk_"
	publicPrefix  = "whpk_"
)

const (
	minSecretBytes = 24
	maxSecretBytes = 64
	// newSecretBytes is the length of SHA-256's output: more adds nothing to an HMAC.
	newSecretBytes = 32
)

// What is wrong with a secret. The texts say what would be right and never hold the secret.
var (
	ErrSecretForm   = errors.New("a secret is whsec_ and the base64 of 24 to 64 bytes, or whsk_ and the base64 of an Ed25519 key")
	ErrSecretLength = errors.New("a whsec_ secret must be the base64 of 24 to 64 bytes")
	ErrPrivateKey   = errors.New("a whsk_ key must be the base64 of an Ed25519 seed (32 bytes), or of a seed and its public key (64 bytes)")
	ErrText         = errors.New("a secret of your own is 8 to 256 visible ASCII characters")
	ErrNotShared    = errors.New("a signature profile needs a shared secret; an Ed25519 key signs by the Standard Webhooks only")
	ErrPublicKey    = errors.New("a whpk_ key must be the base64 of an Ed25519 public key (32 bytes)")
)

// Key is a parsed secret, ready to sign and to verify; safe for concurrent use. It prints as a mask.
type Key struct {
	secret Secret
	// Behind a pointer for the same reason as a Secret's text.
	*material
}

// material is what signs: either hmac or private.
type material struct {
	hmac    []byte
	private ed25519.PrivateKey
	// spare is of the shared secret, ready to be written to.
	spare atomic.Pointer[keyed]
}

// ParseSecret reads a `whsec_` or `whsk_` secret in its one right spelling. Errors are ErrSecretForm, ErrSecretLength
// and ErrPrivateKey.
func ParseSecret(text string) (*Key, error) {
	if encoded, ok := strings.CutPrefix(text, hmacPrefix); ok {
		return parseHMAC(NewSecret(text), encoded)
	}
	if encoded, ok := strings.CutPrefix(text, privatePrefix); ok {
		return parsePrivate(NewSecret(text), encoded)
	}
	return nil, ErrSecretForm
}

// ImportSecret is ParseSecret for secrets brought from elsewhere: the bare base64 of a shared secret, which other senders
// and the reference libraries know, is taken as if it had its prefix.
func ImportSecret(text string) (*Key, error) {
	if key, err := ParseSecret(text); !errors.Is(err, ErrSecretForm) {
		return key, err
	}
	key, err := parseHMAC(NewSecret(hmacPrefix+text), text)
	if err != nil {
		return nil, ErrSecretForm
	}
	return key, nil
}

// minText and maxText bound a secret that is used as it is written.
const minText, maxText = 8, 256

// ParseText is ParseSecret for secrets that receivers of another sender have: what has no form of ours is the key as it is
// written. The errors are ErrText and ErrPrivateKey.
func ParseText(text string) (*Key, error) {
	key, err := ParseSecret(text)
	if err == nil || strings.HasPrefix(text, privatePrefix) {
		return key, err
	}
	if len(text) < minText || len(text) > maxText || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return nil, ErrText
	}
	return &Key{NewSecret(text), &material{hmac: []byte(text)}}, nil
}

// GenerateHMAC makes a new shared secret of 32 random bytes.
func GenerateHMAC() *Key {
	key := random(newSecretBytes)
	return &Key{NewSecret(hmacPrefix + base64.StdEncoding.EncodeToString(key)), &material{hmac: key}}
}

// GenerateEd25519 makes a new asymmetric key, whose secret is written with both halves (64 bytes).
func GenerateEd25519() *Key {
	private := ed25519.NewKeyFromSeed(random(ed25519.SeedSize))
	return &Key{NewSecret(privatePrefix + base64.StdEncoding.EncodeToString(private)), &material{private: private}}
}

// Secret is the text the key was parsed from, prefix included: for sealing, and for the one answer that shows it.
func (k *Key) Secret() Secret { return k.secret }

// Public is the `whpk_` text that receivers verify v1a signatures with; empty for a shared secret.
func (k *Key) Public() string {
	if k.private == nil {
		return ""
	}
	return publicPrefix + base64.StdEncoding.EncodeToString(k.private[ed25519.SeedSize:])
}

// Format is a mask for every verb.
func (*Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, mask) }

// LogValue is a mask in log/slog.
func (*Key) LogValue() slog.Value { return slog.StringValue(mask) }

// MarshalText is a mask in every encoder, JSON included.
func (*Key) MarshalText() ([]byte, error) { return []byte(mask), nil }

// PublicKey verifies v1a signatures and cannot sign.
type PublicKey struct{ key ed25519.PublicKey }

// ParsePublicKey reads a `whpk_` key. The error is ErrPublicKey.
func ParsePublicKey(text string) (PublicKey, error) {
	encoded, ok := strings.CutPrefix(text, publicPrefix)
	if !ok {
		return PublicKey{}, ErrPublicKey
	}
	key, ok := decode(encoded, ed25519.PublicKeySize)
	if !ok || len(key) != ed25519.PublicKeySize {
		return PublicKey{}, ErrPublicKey
	}
	return PublicKey{key}, nil
}

func parseHMAC(secret Secret, encoded string) (*Key, error) {
	key, ok := decode(encoded, maxSecretBytes)
	if !ok || len(key) < minSecretBytes {
		return nil, ErrSecretLength
	}
	return &Key{secret, &material{hmac: key}}, nil
}

func parsePrivate(secret Secret, encoded string) (*Key, error) {
	key, ok := decode(encoded, ed25519.PrivateKeySize)
	if !ok || len(key) != ed25519.SeedSize && len(key) != ed25519.PrivateKeySize {
		return nil, ErrPrivateKey
	}
	private := ed25519.NewKeyFromSeed(key[:ed25519.SeedSize])
	// A wrong public half would not only fail to verify: signing with it gives the private key away.
	if len(key) == ed25519.PrivateKeySize && subtle.ConstantTimeCompare(key, private) != 1 {
		return nil, ErrPrivateKey
	}
	return &Key{secret, &material{private: private}}, nil
}

// decode reads padded standard base64 of at most limit bytes in its only spelling: the library would also skip line
// breaks, and its length is checked first so that a long text costs nothing.
func decode(encoded string, limit int) ([]byte, bool) {
	if len(encoded) > base64.StdEncoding.EncodedLen(limit) || strings.ContainsAny(encoded, "\r\n") {
		return nil, false
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(encoded)
	return decoded, err == nil && len(decoded) <= limit
}

func random(n int) []byte {
	b := make([]byte, n)
	// crypto/rand never fails on the platforms Go supports: it ends the process instead.
	_, _ = rand.Read(b)
	return b
}
