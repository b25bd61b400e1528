// Package signing signs deliveries and verifies incoming webhooks by the Standard Webhooks specification: `v1`
// HMAC-SHA256 and `v1a` Ed25519 over `id.timestamp.body`, the three webhook- headers, and the secrets' spelling. For
// receivers that verify another sender's signatures it signs by profiles too (profile.go, preset.go, template.go).
//
// It owns parsing, generating and masking secrets. It leaves to others which secrets a subscription has and for how long
// (the store), how they are sealed at rest (seal), and every other header (delivery).
package signing

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"strconv"
	"time"
)

// The headers of a signed webhook, as they are sent. Their canonical form in an http.Header differs: use Get.
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderSignature = "webhook-signature"
)

// The marks before a signature: HMAC-SHA256 and Ed25519.
const (
	hmacMark    = "v1,"
	ed25519Mark = "v1a,"
)

// Sign is the value of webhook-signature: one signature for each key in the order given, which is newest first, with
// spaces between. The timestamp signed is at in whole Unix seconds; it must be what webhook-timestamp says.
func Sign(id string, at time.Time, body []byte, keys ...*Key) string {
	preamble := appendPreamble(make([]byte, 0, len(id)+maxTimestampDigits+2), id, strconv.FormatInt(at.Unix(), 10))
	header := make([]byte, 0, len(keys)*(len(ed25519Mark)+base64.StdEncoding.EncodedLen(ed25519.SignatureSize)+1))
	for i, key := range keys {
		if i > 0 {
			header = append(header, ' ')
		}
		header = key.appendSignature(header, preamble, body)
	}
	return string(header)
}

// appendPreamble writes what is signed before the body.
func appendPreamble(b []byte, id, timestamp string) []byte {
	b = append(b, id...)
	b = append(b, '.')
	b = append(b, timestamp...)
	return append(b, '.')
}

func (k *Key) appendSignature(header, preamble, body []byte) []byte {
	if k.private != nil {
		signature := ed25519.Sign(k.private, message(preamble, body))
		return base64.StdEncoding.AppendEncode(append(header, ed25519Mark...), signature)
	}
	var sum [sha256.Size]byte
	return base64.StdEncoding.AppendEncode(append(header, hmacMark...), k.mac(sum[:0], preamble, body))
}

// mac appends an HMAC-SHA256. What hashing the key gave is kept for the next.
func (m *material) mac(sum, preamble, body []byte) []byte {
	h := m.spare.Swap(nil)
	if h == nil {
		h = &keyed{Hash: hmac.New(sha256.New, m.hmac)}
	}
	h.Write(preamble)
	h.Write(body)
	sum = append(sum, h.Sum(h.sum[:0])...)
	h.Reset()
	m.spare.Store(h)
	return sum
}

// keyed is an HMAC whose key is hashed, with room for what it gives.
type keyed struct {
	hash.Hash
	sum [sha256.Size]byte
}

// message joins what Ed25519 signs: it reads its input twice and so cannot be fed in pieces.
func message(preamble, body []byte) []byte {
	return append(append(make([]byte, 0, len(preamble)+len(body)), preamble...), body...)
}
