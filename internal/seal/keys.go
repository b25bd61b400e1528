package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
)

// keyLength is AES-256's.
const keyLength = 32

// Keys is a list of keys, the first of which seals; safe for concurrent use. It prints as the keys' ids.
type Keys struct{ list []*key }

type key struct {
	id   [idLength]byte
	aead cipher.AEAD
}

// ParseKeys reads comma-separated keys, each the base64 of 32 bytes. At least one is needed and none may come twice.
// Errors name the place in the list, never the key.
func ParseKeys(text string) (*Keys, error) {
	keys := &Keys{}
	for encoded := range strings.SplitSeq(text, ",") {
		place := len(keys.list) + 1
		raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(encoded))
		if err != nil || len(raw) != keyLength {
			return nil, fmt.Errorf("key %d must be the base64 of 32 bytes, as `openssl rand -base64 32` prints", place)
		}
		k, err := newKey(raw)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", place, err)
		}
		if slices.ContainsFunc(keys.list, func(other *key) bool { return other.id == k.id }) {
			return nil, fmt.Errorf("key %d is in the list twice", place)
		}
		keys.list = append(keys.list, k)
	}
	return keys, nil
}

// Generate makes a new key in the spelling that ParseKeys reads: to be shown once, or written to a file of mode 0600.
func Generate() string {
	raw := make([]byte, keyLength)
	// crypto/rand never fails on the platforms Go supports: it ends the process instead.
	_, _ = rand.Read(raw)
	return base64.StdEncoding.EncodeToString(raw)
}

func newKey(raw []byte) (*key, error) {
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	return &key{[idLength]byte(sum[:idLength]), aead}, nil
}

// IDs are the keys' ids in hex, the sealing one first: what KeyID tells of sealed bytes.
func (k *Keys) IDs() []string {
	var ids []string
	for _, key := range k.list {
		ids = append(ids, hex.EncodeToString(key.id[:]))
	}
	return ids
}

// String lists the keys' ids.
func (k *Keys) String() string { return "keys " + strings.Join(k.IDs(), ", ") }

// Format is String for every verb: the likes of %d would otherwise walk the keys.
func (k *Keys) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// LogValue is String in log/slog.
func (k *Keys) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText is String in every encoder.
func (k *Keys) MarshalText() ([]byte, error) { return []byte(k.String()), nil }
