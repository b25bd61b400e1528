// Package inbound turns a provider's signed webhook into an event: whether its signature is the source's, which type, id and
// headers the event gets. It owns the providers' defaults and the templates; how signatures are checked is internal/signing's,
// accepting the event internal/ingest's, and everything about HTTP answers internal/api's.
package inbound

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/signing"
)

// defaults of a provider: what its messages are called, and what tells one from another.
type defaults struct{ eventType, defaultType, messageID string }

// defaultsOf a provider. Slack names what happened within; GitHub's action is part of the type where there is one.
func defaultsOf(p posthorn.Provider) defaults {
	switch p {
	case posthorn.ProviderGitHub:
		return defaults{"github.{header.X-GitHub-Event}.{payload.action}", "github.event", "{header.X-GitHub-Delivery}"}
	case posthorn.ProviderStripe:
		return defaults{"stripe.{payload.type}", "stripe.event", "{payload.id}"}
	case posthorn.ProviderShopify:
		return defaults{"shopify.{header.X-Shopify-Topic}", "shopify.event", "{header.X-Shopify-Webhook-Id}"}
	case posthorn.ProviderSlack:
		return defaults{"slack.{payload.event.type}", "slack.event", "{payload.event_id}"}
	case posthorn.ProviderStandard:
		return defaults{"{payload.type}", "webhook.event", "{header.webhook-id}"}
	}
	return defaults{"{payload.type}", "webhook.event", ""}
}

// SetDefaults fills what a client may leave out.
func SetDefaults(s *posthorn.Source) {
	d := defaultsOf(s.Provider)
	if s.EventType == "" {
		s.EventType = d.eventType
	}
	if s.DefaultType == "" {
		s.DefaultType = d.defaultType
	}
	if s.MessageID == "" {
		s.MessageID = d.messageID
	}
	if s.Tolerance == 0 {
		s.Tolerance = posthorn.DefaultTolerance
	}
	c := s.Scheme
	if c == nil {
		return
	}
	for _, field := range []struct {
		value *string
		or    string
	}{{&c.Encoding, "hex"}, {&c.Algorithm, "sha256"}, {&c.SecretEncoding, "text"}, {&c.Signed, "{body}"}} {
		if *field.value == "" {
			*field.value = field.or
		}
	}
}

// Check says what is wrong with a source as a whole, its secrets apart. The error is Invalid.
func Check(s *posthorn.Source) error {
	var v posthorn.Violations
	if err, ok := s.Validate().(*posthorn.Error); ok {
		v = append(v, err.Fields...)
	}
	if _, ok := parseTemplate(s.EventType); !ok {
		v.Add("event_type", templateRule)
	}
	if _, ok := parseTemplate(s.MessageID); !ok {
		v.Add("message_id", templateRule)
	}
	return v.Err()
}

// CheckSecret says what is wrong with a secret of a source, or "".
func CheckSecret(s *posthorn.Source, secret string) string {
	if secret == "" || len(secret) > posthorn.MaxSourceSecret || strings.TrimSpace(secret) != secret {
		return "must be 1 to 512 characters without spaces around them"
	}
	switch s.Provider {
	case posthorn.ProviderStandard:
		if _, err := verifier(secret); err != nil {
			return "must be whsec_ and the base64 of 24 to 64 bytes, or whpk_ and the base64 of an Ed25519 public key"
		}
	case posthorn.ProviderHMAC:
		if s.Scheme != nil {
			if _, ok := scheme(s.Scheme).Key(secret); !ok {
				return "must be spelt as scheme.secret_encoding says"
			}
		}
	}
	return ""
}

// NewSecret makes a secret for a provider that lets its users choose one.
func NewSecret(s *posthorn.Source) string {
	if s.Provider == posthorn.ProviderStandard {
		return signing.GenerateHMAC().Secret().Reveal()
	}
	if s.Scheme != nil && s.Scheme.SecretEncoding == "base64" {
		return strings.TrimPrefix(signing.GenerateHMAC().Secret().Reveal(), "whsec_")
	}
	var b [32]byte
	// crypto/rand never fails on the platforms Go supports: it ends the process instead.
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func scheme(c *posthorn.SigningScheme) signing.Scheme {
	return signing.Scheme{
		Header: c.Header, Prefix: c.Prefix, Encoding: c.Encoding, Algorithm: c.Algorithm, SecretEncoding: c.SecretEncoding,
		TimestampHeader: c.TimestampHeader, Signed: c.Signed,
	}
}

// verifier reads a secret of the Standard Webhooks: a shared one, or a public key.
func verifier(secret string) (signing.Verifier, error) {
	if strings.HasPrefix(secret, "whpk_") {
		return signing.ParsePublicKey(secret)
	}
	return signing.ImportSecret(secret)
}

// Verify accepts a request that one of the source's secrets has signed, and lately. The error is for the log: whoever sent the
// request learns only that it was refused.
func Verify(s *posthorn.Source, header http.Header, body []byte, now time.Time) error {
	live := s.Live(now)
	secrets := make([]string, len(live))
	for i := range live {
		secrets[i] = string(live[i].Value)
	}
	switch s.Provider {
	case posthorn.ProviderGitHub:
		return signing.VerifyGitHub(header, body, secrets...)
	case posthorn.ProviderShopify:
		return signing.VerifyShopify(header, body, secrets...)
	case posthorn.ProviderStripe:
		return signing.VerifyStripe(header, body, now, s.Tolerance, secrets...)
	case posthorn.ProviderSlack:
		return signing.VerifySlack(header, body, now, s.Tolerance, secrets...)
	case posthorn.ProviderHMAC:
		if s.Scheme != nil {
			return scheme(s.Scheme).Verify(header, body, now, s.Tolerance, secrets...)
		}
	case posthorn.ProviderStandard:
		var keys []signing.Verifier
		for _, secret := range secrets {
			if key, err := verifier(secret); err == nil {
				keys = append(keys, key)
			}
		}
		return signing.Verify(header, body, now, keys...)
	}
	return signing.ErrNoMatch
}

// Event is the event that a verified request becomes: its bytes as they came, with what the templates make of them. It shares
// nothing with the request.
func Event(s *posthorn.Source, header http.Header, body []byte) *posthorn.Event {
	e := &posthorn.Event{
		TenantID: s.TenantID, Type: eventType(s, header, body), Payload: bytes.Clone(body), ContentType: contentType(header, body),
		Headers: kept(s, header),
	}
	if id := messageID(s, header, body); id != "" {
		e.IdempotencyKey, e.KeyAlone = s.ID.String()+":"+id, true
	}
	return e
}

// eventType is what the template makes, where at least one of its placeholders has a value, else the default.
func eventType(s *posthorn.Source, header http.Header, body []byte) string {
	t, ok := parseTemplate(s.EventType)
	if !ok {
		return s.DefaultType
	}
	text, found, missing := t.render(header, body)
	made := typeOf(text)
	if found == 0 && missing > 0 || made == "" || strings.HasPrefix(made, posthorn.OperationalPrefix) {
		return s.DefaultType
	}
	return made
}

// maxMessageID is what is left of an idempotency key after the source's id.
const maxMessageID = 200

// messageID is the provider's own, or "": half of one would take two messages for the same.
func messageID(s *posthorn.Source, header http.Header, body []byte) string {
	t, ok := parseTemplate(s.MessageID)
	if !ok {
		return ""
	}
	text, found, missing := t.render(header, body)
	if found == 0 || missing > 0 {
		return ""
	}
	if len(text) > maxMessageID || posthorn.CheckIdempotencyKey(text) != "" {
		sum := sha256.Sum256([]byte(text))
		return "sha256:" + hex.EncodeToString(sum[:])
	}
	return text
}

// contentType is the request's own where it is one.
func contentType(header http.Header, body []byte) string {
	if values := header.Values("Content-Type"); len(values) == 1 && len(values[0]) <= 255 && posthorn.IsHeaderValue(values[0]) {
		if media, _, err := mime.ParseMediaType(values[0]); err == nil && strings.Contains(media, "/") {
			return values[0]
		}
	}
	if jsontext.Value(body).IsValid() {
		return posthorn.DefaultContentType
	}
	return "application/octet-stream"
}

// maxKept bounds the headers let through, in bytes of names and values; one that does not fit is left out.
const maxKept = 8 << 10

// kept are the headers that the source lets through, where they can be sent on.
func kept(s *posthorn.Source, header http.Header) map[string]string {
	var headers map[string]string
	size := 0
	for _, name := range s.KeepHeaders {
		value := strings.TrimSpace(header.Get(name))
		if value == "" || !posthorn.IsHeaderValue(value) || size+len(name)+len(value) > maxKept {
			continue
		}
		size += len(name) + len(value)
		if headers == nil {
			headers = make(map[string]string, len(s.KeepHeaders))
		}
		headers[http.CanonicalHeaderKey(name)] = value
	}
	return headers
}

// challenge is what Slack sends once to see whether a URL is its app's.
var challengeType, challengeText = path{{name: "type"}}, path{{name: "challenge"}}

// Challenge is the text that a verified request of Slack asks for; false when it asks for none.
func Challenge(s *posthorn.Source, body []byte) (string, bool) {
	if s.Provider != posthorn.ProviderSlack {
		return "", false
	}
	if kind, ok := challengeType.find(body); !ok || kind != "url_verification" {
		return "", false
	}
	return challengeText.find(body)
}
