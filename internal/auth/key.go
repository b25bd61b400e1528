package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"strings"

	"github.com/posthorn/posthorn"
)

// KeyPrefix begins every API key, so that secret scanners can find leaked ones.
const KeyPrefix = "phk_"

const (
	// alphabet is base 32 without the letters people confuse: 5 bits a character.
	alphabet = "abcdefghijkmnpqrstuvwxyz23456789"
	// keyLength is 256 bits in groups of five, rounded up.
	keyLength = 52
	// shownLength is how much of a key is kept to recognise it by: the prefix and 25 of its 256 bits.
	shownLength = len(KeyPrefix) + 5
)

// Generate makes a new API key of 256 random bits.
func Generate() string { return KeyPrefix + random() }

// random is text of 256 random bits.
func random() string {
	text := make([]byte, keyLength)
	// crypto/rand never fails on the platforms Go supports: it ends the process instead.
	_, _ = rand.Read(text)
	for i, r := range text {
		text[i] = alphabet[r&31]
	}
	return string(text)
}

// Hash is what is stored of a key. A key is random enough that a fast hash cannot be reversed.
func Hash(text string) [32]byte { return sha256.Sum256([]byte(text)) }

// Shown is the beginning of a key by which a person recognises it.
func Shown(text string) string {
	if len(text) < shownLength {
		return KeyPrefix
	}
	return text[:shownLength]
}

// CheckKey says what is wrong with a key an operator brings, or "".
func CheckKey(text string) string {
	if !wellFormed(text) {
		return "must be 32 to 132 letters, digits and -._~+/=; begin it with phk_ and secret scanners can find it"
	}
	return ""
}

// wellFormed admits keys that Generate made and those an operator chose (POSTHORN_API_KEY), which a platform may have
// generated without the prefix, and spares the store the rest. The characters are those of a bearer token (RFC 6750).
func wellFormed(text string) bool {
	if len(text) < 32 || len(text) > 132 {
		return false
	}
	for i := range len(text) {
		c := text[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && !('0' <= c && c <= '9') && strings.IndexByte("-._~+/=", c) < 0 {
			return false
		}
	}
	return true
}

// NewKey is a Key to be stored for a text, without its id.
func NewKey(text, name string, scopes ...posthorn.Scope) *posthorn.Key {
	return &posthorn.Key{Name: name, Prefix: Shown(text), Hash: Hash(text), Scopes: scopes}
}
