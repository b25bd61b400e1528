package signing

import (
	"crypto/ed25519"
	"crypto/subtle"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Tolerance is how far the timestamp may be from now, either way and inclusive.
const Tolerance = 5 * time.Minute

const (
	// maxSignatures bounds the work one request can ask for; a rotation sends two or three.
	maxSignatures = 32
	// maxTimestampDigits reaches the year 9999.
	maxTimestampDigits = 12
)

// Why a webhook was not accepted.
var (
	ErrMissingHeader     = errors.New("webhook-id, webhook-timestamp and webhook-signature are all needed")
	ErrID                = errors.New("webhook-id must not contain a dot")
	ErrTimestamp         = errors.New("webhook-timestamp must be Unix seconds in decimal digits")
	ErrTooOld            = errors.New("webhook-timestamp is more than 5 minutes ago")
	ErrTooNew            = errors.New("webhook-timestamp is more than 5 minutes ahead")
	ErrTooManySignatures = errors.New("webhook-signature holds more than 32 signatures")
	ErrNoMatch           = errors.New("no signature in webhook-signature matches")
)

// Verifier checks signatures: a *Key or a PublicKey.
type Verifier interface {
	// verifies reports whether one of the space-separated signatures is over preamble and body.
	verifies(signatures string, preamble, body []byte) bool
}

// Verify accepts an incoming webhook if one of its signatures was made with one of the keys and its timestamp is within
// Tolerance of now. The body must be the bytes as they came. The errors are the package's Err values.
func Verify(header http.Header, body []byte, now time.Time, keys ...Verifier) error {
	id, timestamp, signatures := header.Get(HeaderID), header.Get(HeaderTimestamp), header.Get(HeaderSignature)
	if id == "" || timestamp == "" || signatures == "" {
		return ErrMissingHeader
	}
	// With a dot in the id two different messages could be signed as the same text.
	if strings.Contains(id, ".") {
		return ErrID
	}
	if err := checkTimestamp(timestamp, now); err != nil {
		return err
	}
	if strings.Count(signatures, " ") >= maxSignatures {
		return ErrTooManySignatures
	}
	preamble := appendPreamble(nil, id, timestamp)
	for _, key := range keys {
		if key.verifies(signatures, preamble, body) {
			return nil
		}
	}
	return ErrNoMatch
}

// checkTimestamp takes the one spelling that signers write: no sign, no leading zero, no overflow.
func checkTimestamp(text string, now time.Time) error {
	if len(text) > maxTimestampDigits || len(text) > 1 && text[0] == '0' {
		return ErrTimestamp
	}
	seconds, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return ErrTimestamp
	}
	at := time.Unix(int64(seconds), 0)
	switch {
	case at.Before(now.Add(-Tolerance)):
		return ErrTooOld
	case at.After(now.Add(Tolerance)):
		return ErrTooNew
	}
	return nil
}

func (k *Key) verifies(signatures string, preamble, body []byte) bool {
	if k.material == nil {
		return false
	}
	if k.private != nil {
		return PublicKey{ed25519.PublicKey(k.private[ed25519.SeedSize:])}.verifies(signatures, preamble, body)
	}
	// The whole text is compared, so that neither a prefix nor another spelling of the same bytes passes.
	expected := k.appendSignature(nil, preamble, body)
	for signature := range strings.SplitSeq(signatures, " ") {
		if subtle.ConstantTimeCompare([]byte(signature), expected) == 1 {
			return true
		}
	}
	return false
}

func (k PublicKey) verifies(signatures string, preamble, body []byte) bool {
	if len(k.key) != ed25519.PublicKeySize {
		return false
	}
	signed := message(preamble, body)
	for signature := range strings.SplitSeq(signatures, " ") {
		encoded, ok := strings.CutPrefix(signature, ed25519Mark)
		if !ok {
			continue
		}
		decoded, ok := decode(encoded, ed25519.SignatureSize)
		if ok && len(decoded) == ed25519.SignatureSize && ed25519.Verify(k.key, signed, decoded) {
			return true
		}
	}
	return false
}
