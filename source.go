package posthorn

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Provider is who signs what comes in at a source, and so how.
type Provider string

// The providers. Standard is the Standard Webhooks specification, HMAC whatever the source's own scheme describes.
const (
	ProviderStandard Provider = "standard"
	ProviderGitHub   Provider = "github"
	ProviderStripe   Provider = "stripe"
	ProviderShopify  Provider = "shopify"
	ProviderSlack    Provider = "slack"
	ProviderHMAC     Provider = "hmac"
)

// Providers lists every provider, in the order they are shown.
var Providers = []Provider{ProviderStandard, ProviderGitHub, ProviderStripe, ProviderShopify, ProviderSlack, ProviderHMAC}

// Issues reports whether the provider makes the signing secret itself, so that Posthorn cannot.
func (p Provider) Issues() bool {
	return p == ProviderStripe || p == ProviderShopify || p == ProviderSlack
}

// Bounds and defaults of a source.
const (
	// DefaultTolerance is how far a signed timestamp may be from now.
	DefaultTolerance = 5 * time.Minute
	MaxTolerance     = time.Hour
	// MaxTemplate bounds a template's text.
	MaxTemplate = 512
	// MaxKeptHeaders bounds the provider's headers that an event keeps.
	MaxKeptHeaders = 16
	// MaxSourceSecrets bounds the secrets that verify at once, MaxSourceSecret the length of one.
	MaxSourceSecrets = 5
	MaxSourceSecret  = 512
)

// Source is a URL at which a provider's signed webhooks come in as events.
type Source struct {
	ID        SourceID
	TenantID  TenantID
	CreatedAt time.Time
	UpdatedAt time.Time
	SourcePolicy
	// Secrets verify, newest first; those past their ExpiresAt no longer do. They are sealed at rest and never shown.
	Secrets []Secret
	// Unreadable is why they could not be opened, for the operator; then there are none, and a store refuses to change them.
	Unreadable string
	SourceCounts
}

// SourcePolicy is what a client writes and anyone who may read the source sees. Stores keep it as one JSON document.
type SourcePolicy struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Disabled    bool     `json:"disabled,omitempty"`
	Provider    Provider `json:"provider"`
	// Scheme is ProviderHMAC's, nil for all others.
	Scheme *SigningScheme `json:"scheme,omitempty"`
	// Tolerance is for the signed timestamp, where there is one.
	Tolerance time.Duration `json:"tolerance"`
	// EventType and MessageID are templates (internal/inbound). An event whose type cannot be made has DefaultType; one
	// without a message id is not recognised when it comes again.
	EventType   string `json:"event_type"`
	DefaultType string `json:"default_type"`
	MessageID   string `json:"message_id,omitempty"`
	// KeepHeaders are the provider's headers that go along with each delivery.
	KeepHeaders []string   `json:"keep_headers,omitempty"`
	RateLimit   *RateLimit `json:"rate_limit,omitempty"`
}

// SigningScheme describes an HMAC over what a request brings.
type SigningScheme struct {
	// Header holds the signature, after Prefix, in Encoding (hex, base64).
	Header   string `json:"header"`
	Prefix   string `json:"prefix,omitempty"`
	Encoding string `json:"encoding"`
	// Algorithm is sha256, sha512 or sha1; SecretEncoding how the key is spelt in the secret: text, hex or base64.
	Algorithm      string `json:"algorithm"`
	SecretEncoding string `json:"secret_encoding"`
	// TimestampHeader holds Unix seconds or milliseconds.
	TimestampHeader string `json:"timestamp_header,omitempty"`
	// Signed is what the HMAC is over: text with {body} once, and {timestamp} where there is one.
	Signed string `json:"signed"`
}

// SourceCounts is what came in.
type SourceCounts struct {
	// Accepted were stored, Duplicates recognised, Refused had no valid signature.
	Accepted, Duplicates, Refused int64
	LastAcceptedAt, LastRefusedAt time.Time
}

// Add sums counts; of the times the later holds.
func (c *SourceCounts) Add(o SourceCounts) {
	c.Accepted += o.Accepted
	c.Duplicates += o.Duplicates
	c.Refused += o.Refused
	if o.LastAcceptedAt.After(c.LastAcceptedAt) {
		c.LastAcceptedAt = o.LastAcceptedAt
	}
	if o.LastRefusedAt.After(c.LastRefusedAt) {
		c.LastRefusedAt = o.LastRefusedAt
	}
}

// Live are the secrets that verify at a moment, newest first.
func (s *Source) Live(at time.Time) []Secret { return Confidential{Secrets: s.Secrets}.Live(at) }

// Validate checks all but the templates and the secrets' form, which are internal/inbound's.
func (s *Source) Validate() error {
	var v Violations
	if s.Name == "" || utf8.RuneCountInString(s.Name) > 128 {
		v.Add("name", "must be 1 to 128 characters")
	}
	if utf8.RuneCountInString(s.Description) > 1024 {
		v.Add("description", "must be at most 1024 characters")
	}
	if !slices.Contains(Providers, s.Provider) {
		v.Add("provider", "must be one of standard, github, stripe, shopify, slack, hmac")
	}
	if s.Tolerance < time.Second || s.Tolerance > MaxTolerance {
		v.Add("tolerance_seconds", "must be from 1 to 3600")
	}
	if fault := CheckType(s.DefaultType); fault != "" {
		v.Add("default_type", "%s", fault)
	} else if strings.HasPrefix(s.DefaultType, OperationalPrefix) {
		v.Add("default_type", "must not begin with posthorn., which is kept for Posthorn's own events")
	}
	s.checkScheme(&v)
	s.checkKept(&v)
	s.RateLimit.Check(&v, "rate_limit")
	return v.Err()
}

func (s *Source) checkScheme(v *Violations) {
	c := s.Scheme
	if c == nil {
		if s.Provider == ProviderHMAC {
			v.Add("scheme", "is required with the provider hmac")
		}
		return
	}
	if s.Provider != ProviderHMAC {
		v.Add("scheme", "is only for the provider hmac; the others have their own")
		return
	}
	if !isToken(c.Header) || len(c.Header) > 128 {
		v.Add("scheme.header", "must be the name of a header")
	}
	if len(c.Prefix) > 64 || !isPrintable(c.Prefix) {
		v.Add("scheme.prefix", "must be at most 64 printable ASCII characters")
	}
	oneOf := func(location, value string, known ...string) {
		if !slices.Contains(known, value) {
			v.Add(location, "must be one of %s", strings.Join(known, ", "))
		}
	}
	oneOf("scheme.encoding", c.Encoding, "hex", "base64")
	oneOf("scheme.algorithm", c.Algorithm, "sha256", "sha512", "sha1")
	oneOf("scheme.secret_encoding", c.SecretEncoding, "text", "hex", "base64")
	if c.TimestampHeader != "" && (!isToken(c.TimestampHeader) || len(c.TimestampHeader) > 128) {
		v.Add("scheme.timestamp_header", "must be the name of a header")
	}
	timestamps := strings.Count(c.Signed, "{timestamp}")
	switch {
	case utf8.RuneCountInString(c.Signed) > 256 || strings.Count(c.Signed, "{body}") != 1 || timestamps > 1:
		v.Add("scheme.signed", "must be at most 256 characters with {body} once and {timestamp} at most once, such as {timestamp}.{body}")
	case timestamps == 1 && c.TimestampHeader == "":
		v.Add("scheme.timestamp_header", "is required where {timestamp} is signed")
	case timestamps == 0 && c.TimestampHeader != "":
		v.Add("scheme.signed", "must have {timestamp}: one that is not signed proves nothing")
	}
}

func (s *Source) checkKept(v *Violations) {
	if len(s.KeepHeaders) > MaxKeptHeaders {
		v.Add("keep_headers", "must have at most %d names", MaxKeptHeaders)
		return
	}
	for i, name := range s.KeepHeaders {
		if fault := CheckHeaderName(name); fault != "" {
			v.Add("keep_headers["+strconv.Itoa(i)+"]", "%s", fault)
		}
	}
}
