// Package seal keeps secrets unreadable at rest: AES-256-GCM under a list of keys, the first of which seals while all of
// them open, so that a key can be rotated without stopping.
//
// It owns the keys and the sealed format. It leaves to others where the keys come from (config), what is worth sealing
// and where it lies (the stores), and walking the rows to seal them anew (the command that does).
//
// Sealed, in order: a version byte (1), the first 4 bytes of the key's SHA-256, a random nonce of 12 bytes, and the
// ciphertext with its tag of 16 bytes. The version, the key's id and the binding are authenticated with it.
package seal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
)

const (
	version  = 1
	idLength = 4
	// headerLength is what precedes the nonce.
	headerLength = 1 + idLength
	nonceLength  = 12
	tagLength    = 16
	// Overhead is how many bytes longer the sealed form is.
	Overhead = headerLength + nonceLength + tagLength
)

// Why sealed bytes did not open; the texts are for the operator.
var (
	ErrNotSealed  = errors.New("sealed value is cut short or of an unknown version")
	ErrUnknownKey = errors.New("sealed under a key that is not in POSTHORN_ENCRYPTION_KEYS (or encryption.key beside the database): put that key back at the end of the list")
	ErrTampered   = errors.New("sealed value was changed, or belongs to another row")
)

// Seal encrypts a plaintext under the first key. The binding (tenant, row and field) is not stored: the value opens only
// with the same one, so it cannot be moved to another row. A key may seal 2^32 values before its nonces could repeat.
func (k *Keys) Seal(plaintext []byte, bind string) []byte {
	key := k.list[0]
	sealed := make([]byte, 0, Overhead+len(plaintext))
	sealed = append(sealed, version)
	sealed = append(sealed, key.id[:]...)
	return key.aead.Seal(sealed, nil, plaintext, additional(sealed, bind))
}

// Open decrypts what Seal made with any of the keys. The errors are ErrNotSealed, ErrUnknownKey (naming the key's id)
// and ErrTampered.
func (k *Keys) Open(sealed []byte, bind string) ([]byte, error) {
	if !wellFormed(sealed) {
		return nil, ErrNotSealed
	}
	id, err := KeyID(sealed), ErrUnknownKey
	for _, key := range k.list {
		if !bytes.Equal(sealed[1:headerLength], key.id[:]) {
			continue
		}
		plaintext, failure := key.aead.Open(nil, nil, sealed[headerLength:], additional(sealed[:headerLength], bind))
		if failure == nil {
			return plaintext, nil
		}
		err = ErrTampered
	}
	return nil, fmt.Errorf("open with key %s: %w", id, err)
}

// NeedsReseal reports whether sealed bytes would be sealed differently today: under the first key, in this version.
func (k *Keys) NeedsReseal(sealed []byte) bool {
	return !wellFormed(sealed) || !bytes.Equal(sealed[1:headerLength], k.list[0].id[:])
}

// KeyOf is KeyID.
func (k *Keys) KeyOf(sealed []byte) string { return KeyID(sealed) }

// KeyID names the key that sealed the bytes, in hex; empty if they were not sealed. It tells nothing about the key.
func KeyID(sealed []byte) string {
	if !wellFormed(sealed) {
		return ""
	}
	return hex.EncodeToString(sealed[1:headerLength])
}

func wellFormed(sealed []byte) bool { return len(sealed) >= Overhead && sealed[0] == version }

// additional is authenticated and not encrypted. The header has a fixed length, so the two parts cannot run together.
func additional(header []byte, bind string) []byte {
	return append(append(make([]byte, 0, len(header)+len(bind)), header...), bind...)
}
