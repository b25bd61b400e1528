package posthorn

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Status of a subscription. Only an active one is sent to; the others hold their deliveries.
type Status string

// The statuses: paused by a person, disabled by Posthorn with a reason.
const (
	StatusActive   Status = "active"
	StatusPaused   Status = "paused"
	StatusDisabled Status = "disabled"
)

// Why Posthorn disabled a subscription.
const (
	DisabledGone    = "gone"    // the receiver answered 410
	DisabledFailing = "failing" // not one success for the configured time
)

// Ordering of a lane.
type Ordering string

// The orderings: none delivers in parallel, fifo one after the other (per ordering key where events have one).
const (
	OrderingNone Ordering = "none"
	OrderingFIFO Ordering = "fifo"
)

// FailureMode says what a failed delivery means for those behind it in a FIFO lane.
type FailureMode string

// The ways: block lets them wait for its retries, skip lets them pass while it goes on with its own schedule.
const (
	FailureBlocks FailureMode = "block"
	FailureSkips  FailureMode = "skip"
)

// Bounds and defaults of a subscription.
const (
	DefaultTimeout     = 15 * time.Second
	MinTimeout         = 1 * time.Second
	MaxTimeout         = 60 * time.Second
	DefaultMaxInFlight = 64
	MaxMaxInFlight     = 1024
	MaxEventTypes      = 100
	MaxHeaders         = 32
	MaxMetadata        = 50
	// MaxFilter bounds a filter's expression, in characters.
	MaxFilter = 4096
	// MaxNumbered bounds the pending deliveries of a subscription that becomes FIFO: they get their numbers in one transaction.
	MaxNumbered = 10_000
)

// Subscription is a URL, its signing secrets, the event types it wants, and its delivery policy.
type Subscription struct {
	ID             SubscriptionID
	TenantID       TenantID
	Status         Status
	DisabledReason string
	// Version is the tenant's subscriptions version at the last change of this one.
	Version   int64
	CreatedAt time.Time
	UpdatedAt time.Time
	// DeletedAt marks a tombstone: it matches nothing and its history stays readable.
	DeletedAt time.Time
	// SkipHeld, set by a change that makes it active again, gives up what it held: SkippedAt of its lane. It is not stored.
	SkipHeld bool
	Policy
	Confidential
}

// Policy is what a client writes and anyone who may read the subscription sees. Stores keep it as one JSON document.
type Policy struct {
	URL         string            `json:"url"`
	Description string            `json:"description,omitempty"`
	EventTypes  []string          `json:"event_types,omitempty"`
	Retry       RetryPolicy       `json:"retry"`
	Timeout     time.Duration     `json:"timeout"`
	RateLimit   *RateLimit        `json:"rate_limit,omitempty"`
	MaxInFlight int               `json:"max_in_flight"`
	Ordering    Ordering          `json:"ordering"`
	OnFailure   FailureMode       `json:"on_failure,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
	// Filter narrows the event types by an expression over type, headers and payload (internal/filter); empty is none.
	Filter string `json:"filter,omitempty"`
	// Signature is signed with beside, or instead of, the Standard Webhooks; nil is them alone.
	Signature *SignatureProfile `json:"signature,omitempty"`
}

// Confidential is the part that is sealed at rest and masked or absent wherever a subscription is shown.
type Confidential struct {
	// Secrets sign, newest first; those past their ExpiresAt no longer do.
	Secrets []Secret `json:"secrets"`
	// Headers are sent with every delivery; their names are shown, their values are not.
	Headers map[string]string `json:"headers,omitempty"`
	// Auth and TLS are how receiver and sender know each other; nil is neither.
	Auth *Auth `json:"auth,omitempty"`
	TLS  *TLS  `json:"tls,omitempty"`
	// Unreadable is why all this could not be opened, for the operator: it is sealed under a key that is missing. Then it is
	// empty, nothing is sent, and a store refuses to change it.
	Unreadable string `json:"-"`
}

// Same reports whether two have the same content.
func (c Confidential) Same(d Confidential) bool {
	a, _ := json.Marshal(c) // strings and times always encode
	b, _ := json.Marshal(d)
	return bytes.Equal(a, b)
}

// Secret is a signing secret in its text form (`whsec_…`, `whsk_…`); internal/signing knows the formats.
type Secret struct {
	// ID names it among those of its subscription; secrets that were made before there were ids have none.
	ID        string     `json:"id,omitempty"`
	Value     SecretText `json:"value"`
	CreatedAt time.Time  `json:"created_at"`
	// ExpiresAt ends a rotated secret's overlap; zero is no end.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// SecretText is text that hides itself from logs and formatting; convert to string to use it.
type SecretText string

func (SecretText) String() string   { return "[secret]" }
func (SecretText) GoString() string { return "[secret]" }

// Live are the secrets that sign at a moment, newest first.
func (c Confidential) Live(at time.Time) []Secret {
	return slices.DeleteFunc(slices.Clone(c.Secrets), func(s Secret) bool {
		return !s.ExpiresAt.IsZero() && !at.Before(s.ExpiresAt)
	})
}

// Yields says that a failed delivery leaves the order of its lane.
func (p *Policy) Yields() bool { return p.Ordering == OrderingFIFO && p.OnFailure == FailureSkips }

// Mask stands for every header value and secret that is read back; written back it leaves the value as it is. It is not ASCII, so
// that no header can be it.
const Mask = "••••••"

// NothingMasked is what is wrong with a Mask in the place of a value that is not there.
const NothingMasked = "has no value yet that the mask could stand for; send the value"

// RateLimit bounds requests: Limit per second or per minute.
type RateLimit struct {
	Limit int    `json:"limit"`
	Per   string `json:"per"`
}

// Interval is the time Limit applies to.
func (r RateLimit) Interval() time.Duration {
	if r.Per == "minute" {
		return time.Minute
	}
	return time.Second
}

// Check adds what is wrong with a limit; nil is none.
func (r *RateLimit) Check(v *Violations, location string) {
	if r == nil {
		return
	}
	if r.Limit < 1 || r.Limit > 1_000_000 {
		v.Add(location+".limit", "must be from 1 to 1000000")
	}
	if r.Per != "second" && r.Per != "minute" {
		v.Add(location+".per", "must be second or minute")
	}
}

// SetDefaults fills what a client may leave out.
func (s *Subscription) SetDefaults() {
	if s.Status == "" {
		s.Status = StatusActive
	}
	s.Retry.setDefaults()
	if s.Timeout == 0 {
		s.Timeout = DefaultTimeout
	}
	if s.MaxInFlight == 0 {
		s.MaxInFlight = DefaultMaxInFlight
	}
	if s.Ordering == "" {
		s.Ordering = OrderingNone
	}
	if s.OnFailure == "" {
		s.OnFailure = FailureBlocks
	}
	s.Auth.setDefaults()
	slices.Sort(s.EventTypes)
	s.EventTypes = slices.Compact(s.EventTypes)
}

// Validate checks all that needs no other room: the URL's address is egress's to judge, the secrets' form signing's.
// Window is the retry window, by default the retention.
func (s *Subscription) Validate(window time.Duration) error {
	var v Violations
	if utf8.RuneCountInString(s.Description) > 1024 {
		v.Add("description", "must be at most 1024 characters")
	}
	if len(s.EventTypes) > MaxEventTypes {
		v.Add("event_types", "must have at most %d entries", MaxEventTypes)
	} else {
		for i, p := range s.EventTypes {
			if fault := CheckPattern(p); fault != "" {
				v.Add("event_types["+strconv.Itoa(i)+"]", "%s", fault)
			}
		}
	}
	checkHeaders(&v, "headers", s.Headers)
	s.Auth.check(&v)
	s.TLS.check(&v)
	s.checkTaken(&v)
	s.Retry.check(&v, window)
	if s.Timeout < MinTimeout || s.Timeout > MaxTimeout {
		v.Add("timeout_seconds", "must be from 1 to 60")
	}
	s.RateLimit.Check(&v, "rate_limit")
	if s.MaxInFlight < 1 || s.MaxInFlight > MaxMaxInFlight {
		v.Add("max_in_flight", "must be from 1 to %d", MaxMaxInFlight)
	}
	if s.Ordering != OrderingNone && s.Ordering != OrderingFIFO {
		v.Add("ordering", "must be none or fifo")
	}
	if s.OnFailure != FailureBlocks && s.OnFailure != FailureSkips {
		v.Add("on_failure", "must be block or skip")
	}
	checkMetadata(&v, s.Metadata)
	if utf8.RuneCountInString(s.Filter) > MaxFilter {
		v.Add("filter", "must be at most %d characters", MaxFilter)
	}
	return v.Err()
}

func checkMetadata(v *Violations, m map[string]string) {
	if len(m) > MaxMetadata {
		v.Add("metadata", "must have at most %d entries", MaxMetadata)
		return
	}
	for key, value := range m {
		if key == "" || len(key) > 64 || len(value) > 512 {
			v.Add("metadata", "keys must be 1 to 64 bytes and values at most 512 bytes")
			return
		}
	}
}

// reservedHeaders are ours, hop-by-hop (RFC 9110, section 7.6.1) or unlock something at the receiving address that a
// subscriber's header must not: another virtual host or path, a proxy, a cloud's metadata service.
var reservedHeaders = map[string]bool{
	"host": true, "content-type": true, "content-length": true, "content-encoding": true, "user-agent": true, "date": true,
	"connection": true, "keep-alive": true, "te": true, "trailer": true, "transfer-encoding": true,
	"upgrade": true, "expect": true, "cookie": true, "set-cookie": true, "accept-encoding": true, "forwarded": true,
	"x-real-ip": true, "x-original-url": true, "x-rewrite-url": true, "via": true, "proxy": true,
	"range": true, "http2-settings": true, "metadata": true, "metadata-flavor": true, "traceparent": true, "tracestate": true,
}

var reservedPrefixes = []string{
	"webhook-", "proxy-", "sec-", "x-forwarded-", "x-aws-ec2-metadata", "x-aliyun-ecs-metadata", "x-metadata-token", "metadata-token",
	"x-google-", "x-posthorn-", ":",
}

// CheckHeaderName says why a subscription or an event cannot send a header, or "".
func CheckHeaderName(name string) string {
	lower := strings.ToLower(name)
	switch {
	case name == "" || len(name) > 128 || !isToken(name):
		return "header names must be 1 to 128 token characters (RFC 9110, section 5.6.2)"
	case reservedHeaders[lower]:
		return "this header is reserved and cannot be set"
	}
	for _, p := range reservedPrefixes {
		if strings.HasPrefix(lower, p) {
			return "headers beginning with " + p + " are reserved and cannot be set"
		}
	}
	return ""
}

func checkHeaders(v *Violations, location string, headers map[string]string) {
	if len(headers) > MaxHeaders {
		v.Add(location, "must have at most %d headers", MaxHeaders)
		return
	}
	seen := make(map[string]bool, len(headers))
	size := 0
	for name, value := range headers {
		size += len(name) + len(value)
		lower := strings.ToLower(name)
		if fault := CheckHeaderName(name); fault != "" && !isToken(name) {
			v.Add(location, "%s", fault)
		} else if fault != "" {
			v.Add(under(location, name), "%s", fault)
		} else if seen[lower] {
			v.Add(under(location, name), "stands twice with different letter case; header names are case-insensitive")
		} else if !IsHeaderValue(value) {
			v.Add(under(location, name), "must be visible ASCII characters, spaces and tabs, at most 4096 (RFC 9110, section 5.5)")
		}
		seen[lower] = true
	}
	if size > 16<<10 {
		v.Add(location, "must be at most 16 KiB together")
	}
}

// under is where a name that a client chose stands. A long one is not repeated: it may be a secret in the wrong place, and all
// that this product makes are longer.
func under(location, name string) string {
	const most = 32
	if len(name) > most {
		return location
	}
	return location + "." + name
}

func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		alphanumeric := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alphanumeric && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// IsHeaderValue reports whether a text can be a header's value: visible ASCII, spaces and tabs, at most 4096.
func IsHeaderValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '\t' && (c < ' ' || c > '~') {
			return false
		}
	}
	return len(s) <= 4096 && strings.TrimSpace(s) == s
}
