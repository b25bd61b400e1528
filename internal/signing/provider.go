package signing

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Why a provider's webhook was not accepted, beside the errors of Verify.
var (
	ErrNoSignature = errors.New("the signature's header is missing, or there are several")
	ErrSignature   = errors.New("the signature's header cannot be read")
	ErrTimestampAt = errors.New("the signed timestamp is missing or cannot be read")
)

// maxSignatureHeader bounds the header that holds a signature.
const maxSignatureHeader = 4096

// VerifyGitHub accepts what GitHub signs: X-Hub-Signature-256 is sha256= and the hex HMAC-SHA256 of the body under the
// secret's text ("Validating webhook deliveries" in GitHub's documentation). There is no timestamp.
func VerifyGitHub(header http.Header, body []byte, secrets ...string) error {
	return Scheme{Header: "X-Hub-Signature-256", Prefix: "sha256="}.Verify(header, body, time.Time{}, 0, secrets...)
}

// VerifyShopify accepts what Shopify signs: X-Shopify-Hmac-SHA256 is the base64 HMAC-SHA256 of the body under the app's client
// secret ("Verify webhook deliveries" in Shopify's documentation). There is no timestamp.
func VerifyShopify(header http.Header, body []byte, secrets ...string) error {
	return Scheme{Header: "X-Shopify-Hmac-Sha256", Encoding: "base64"}.Verify(header, body, time.Time{}, 0, secrets...)
}

// VerifySlack accepts what Slack signs: X-Slack-Signature is v0= and the hex HMAC-SHA256 of v0:timestamp:body under the signing
// secret, X-Slack-Request-Timestamp the time ("Verifying requests from Slack" in Slack's documentation).
func VerifySlack(header http.Header, body []byte, now time.Time, tolerance time.Duration, secrets ...string) error {
	return Scheme{
		Header: "X-Slack-Signature", Prefix: "v0=", TimestampHeader: "X-Slack-Request-Timestamp", Signed: "v0:{timestamp}:{body}",
	}.Verify(header, body, now, tolerance, secrets...)
}

// VerifyStripe accepts what Stripe signs: Stripe-Signature is t=timestamp and one or more v1=hex, each the HMAC-SHA256 of
// timestamp.body under the endpoint's secret, whsec_ included ("Verify webhook signatures manually" in Stripe's documentation).
func VerifyStripe(header http.Header, body []byte, now time.Time, tolerance time.Duration, secrets ...string) error {
	text, err := only(header, "Stripe-Signature")
	if err != nil {
		return err
	}
	timestamp, signatures, err := parseStripe(text)
	if err != nil {
		return err
	}
	if err := checkSigned(timestamp, now, tolerance); err != nil {
		return err
	}
	return match(sha256.New, plainKeys(secrets), signatures, []byte(timestamp+"."), body)
}

// parseStripe reads t=…,v1=…,v0=…: the time, once, and every v1.
func parseStripe(text string) (timestamp string, signatures [][]byte, err error) {
	if strings.Count(text, ",") >= maxSignatures {
		return "", nil, ErrTooManySignatures
	}
	for item := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(item), "=")
		switch name {
		case "t":
			if timestamp != "" || value == "" {
				return "", nil, ErrSignature
			}
			timestamp = value
		case "v1":
			// One that is not hex is another's business, as an unknown scheme is.
			if signature, err := hex.DecodeString(value); err == nil {
				signatures = append(signatures, signature)
			}
		}
	}
	if timestamp == "" || len(signatures) == 0 {
		return "", nil, ErrSignature
	}
	return timestamp, signatures, nil
}

// Scheme is an HMAC over the body, alone or within a text, in a header.
type Scheme struct {
	// Header holds the signature after Prefix, in Encoding: hex (also when empty) or base64.
	Header, Prefix, Encoding string
	// Algorithm is sha256 (also when empty), sha512 or sha1. SecretEncoding is how the key is spelt in a secret: text (also
	// when empty), hex or base64.
	Algorithm, SecretEncoding string
	// TimestampHeader holds Unix seconds or milliseconds; empty is none.
	TimestampHeader string
	// Signed is what is signed: {timestamp} and {body} stand for those; empty is the body alone.
	Signed string
}

// Verify accepts a request whose signature was made with one of the secrets and, where there is a timestamp, not further from
// now than the tolerance. The body must be the bytes as they came.
func (s Scheme) Verify(header http.Header, body []byte, now time.Time, tolerance time.Duration, secrets ...string) error {
	text, err := only(header, s.Header)
	if err != nil {
		return err
	}
	signature, err := s.parse(text)
	if err != nil {
		return err
	}
	before, after, found := strings.Cut(s.Signed, "{body}")
	if !found {
		before = ""
	}
	if s.TimestampHeader != "" {
		timestamp, err := only(header, s.TimestampHeader)
		if err != nil {
			return ErrTimestampAt
		}
		if err := checkSigned(timestamp, now, tolerance); err != nil {
			return err
		}
		before = strings.ReplaceAll(before, "{timestamp}", timestamp)
		after = strings.ReplaceAll(after, "{timestamp}", timestamp)
	}
	keys := make([][]byte, 0, len(secrets))
	for _, secret := range secrets {
		if key, ok := s.Key(secret); ok {
			keys = append(keys, key)
		}
	}
	return match(s.hash(), keys, [][]byte{signature}, []byte(before), body, []byte(after))
}

// Key reads a secret; false when it is not spelt as the scheme says.
func (s Scheme) Key(secret string) ([]byte, bool) {
	var key []byte
	var err error
	switch s.SecretEncoding {
	case "hex":
		key, err = hex.DecodeString(secret)
	case "base64":
		key, err = base64.StdEncoding.DecodeString(secret)
	default:
		key = []byte(secret)
	}
	return key, err == nil && len(key) > 0
}

func (s Scheme) hash() func() hash.Hash {
	switch s.Algorithm {
	case "sha512":
		return sha512.New
	case "sha1":
		return sha1.New
	}
	return sha256.New
}

// parse reads the signature's header.
func (s Scheme) parse(text string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(text, s.Prefix)
	if !ok {
		return nil, ErrSignature
	}
	decode := hex.DecodeString
	if s.Encoding == "base64" {
		decode = base64.StdEncoding.DecodeString
	}
	signature, err := decode(encoded)
	if err != nil || len(signature) == 0 {
		return nil, ErrSignature
	}
	return signature, nil
}

// only is the value of a header that is there once.
func only(header http.Header, name string) (string, error) {
	values := header.Values(name)
	if len(values) != 1 || values[0] == "" || len(values[0]) > maxSignatureHeader {
		return "", ErrNoSignature
	}
	return values[0], nil
}

// checkSigned takes Unix seconds, or milliseconds where there are 13 digits, within a tolerance of now.
func checkSigned(text string, now time.Time, tolerance time.Duration) error {
	if len(text) > 13 || len(text) > 1 && text[0] == '0' {
		return ErrTimestampAt
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return ErrTimestampAt
	}
	at := time.Unix(int64(n), 0)
	if len(text) == 13 {
		at = time.UnixMilli(int64(n))
	}
	switch {
	case at.Before(now.Add(-tolerance)):
		return ErrTooOld
	case at.After(now.Add(tolerance)):
		return ErrTooNew
	}
	return nil
}

func plainKeys(secrets []string) [][]byte {
	keys := make([][]byte, 0, len(secrets))
	for _, s := range secrets {
		if s != "" {
			keys = append(keys, []byte(s))
		}
	}
	return keys
}

// match compares in constant time, every key with every signature: how long it takes says nothing about which was near.
func match(algorithm func() hash.Hash, keys, signatures [][]byte, parts ...[]byte) error {
	found := false
	for _, key := range keys {
		h := hmac.New(algorithm, key)
		for _, part := range parts {
			h.Write(part)
		}
		sum := h.Sum(nil)
		for _, signature := range signatures {
			found = hmac.Equal(sum, signature) || found
		}
	}
	if !found {
		return ErrNoMatch
	}
	return nil
}

// Waste takes about as long as a verification with one key, for callers that must not show that there is none.
func Waste(body []byte) {
	h := hmac.New(sha256.New, bytes.Repeat([]byte{1}, sha256.Size))
	h.Write(body)
	h.Sum(nil)
}
