package posthorn

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"maps"
	"mime"
	"slices"
	"strings"
	"time"
)

const (
	// MaxTypeLength bounds an event type and a pattern, in characters.
	MaxTypeLength = 128
	// MaxIdempotencyKeyLength bounds a producer's key, in characters.
	MaxIdempotencyKeyLength = 255
	// MaxBatchEvents and MaxBatchBytes bound one POST /events/batch.
	MaxBatchEvents = 1000
	MaxBatchBytes  = 4 << 20
	// DefaultContentType is sent when the producer names none.
	DefaultContentType = "application/json"
	// OperationalPrefix begins the types of Posthorn's own events, which clients cannot publish.
	OperationalPrefix = "posthorn."
	// TestEventType is what POST /subscriptions/{id}/test publishes.
	TestEventType = "posthorn.test"
)

// Event is what happened: immutable, its payload kept byte for byte.
type Event struct {
	ID          EventID
	TenantID    TenantID
	Type        string
	Payload     []byte
	ContentType string
	// Headers are the producer's own headers for every delivery of this event.
	Headers map[string]string
	// OrderingKey narrows the order of a FIFO lane to the events that share it.
	OrderingKey string
	// IdempotencyKey is the producer's key, kept for the retention; empty is none.
	IdempotencyKey string
	// KeyAlone lets the idempotency key alone decide what is a duplicate: a provider that sends a message again may have
	// changed it, and still means the same. It is not stored.
	KeyAlone bool
	// DeliverAt holds the first attempts until then; ExpiresAt cancels what is still pending then. Zero is none.
	DeliverAt, ExpiresAt time.Time
	CreatedAt            time.Time
	// Deliveries is how many were created with the event (replays not counted).
	Deliveries int
	// PayloadErased is when the payload was erased on request; zero while it is there.
	PayloadErased time.Time
	// TraceParent is the W3C trace context of the publish; empty without tracing.
	TraceParent string
}

// ContentHash is the SHA-256 of what idempotency compares: type, content type, headers in order of name, ordering key and
// payload bytes, each with its length before it so that no two contents run together alike; of an event whose key alone
// decides, of the key.
func (e *Event) ContentHash() [sha256.Size]byte {
	h := sha256.New()
	if e.KeyAlone {
		_, _ = io.WriteString(h, "any content under "+e.IdempotencyKey)
		return [sha256.Size]byte(h.Sum(nil))
	}
	length := func(n int) {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], uint64(n))
		h.Write(b[:])
	}
	text := func(s string) {
		length(len(s))
		// A hash never fails to write.
		_, _ = io.WriteString(h, s)
	}
	text(e.Type)
	text(e.ContentType)
	length(len(e.Headers))
	for _, name := range slices.Sorted(maps.Keys(e.Headers)) {
		text(name)
		text(e.Headers[name])
	}
	text(e.OrderingKey)
	length(len(e.Payload))
	h.Write(e.Payload)
	return [sha256.Size]byte(h.Sum(nil))
}

// CheckType says what is wrong with an event type, or "". Types are segments of [A-Za-z0-9_-] joined by dots.
func CheckType(t string) string {
	switch {
	case t == "":
		return "must not be empty; use segments of letters, digits, _ and - joined by dots, like order.created"
	case len(t) > MaxTypeLength:
		return "must be at most 128 characters"
	}
	for segment := range strings.SplitSeq(t, ".") {
		if !isSegment(segment) {
			return "must be segments of letters, digits, _ and - joined by dots, like order.created"
		}
	}
	return ""
}

// CheckPattern says what is wrong with a subscription's event type or pattern, or "". `a.*` matches any depth below a.
func CheckPattern(p string) string {
	if p == "*" {
		return ""
	}
	if len(p) > MaxTypeLength {
		return "must be at most 128 characters"
	}
	if fault := CheckType(strings.TrimSuffix(p, ".*")); fault != "" {
		return "must be an event type like order.created, a pattern like order.*, or *"
	}
	return ""
}

func isSegment(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return s != ""
}

// MatchesType reports whether a list of types and patterns wants an event type. An empty list and `*` want all but
// Posthorn's own events, which must be asked for by name or by `posthorn.*`.
func MatchesType(patterns []string, eventType string) bool {
	if len(patterns) == 0 {
		return !strings.HasPrefix(eventType, OperationalPrefix)
	}
	for _, p := range patterns {
		if p == eventType {
			return true
		}
		if p == "*" {
			if !strings.HasPrefix(eventType, OperationalPrefix) {
				return true
			}
			continue
		}
		if stem, ok := strings.CutSuffix(p, "*"); ok && strings.HasPrefix(eventType, stem) {
			return true
		}
	}
	return false
}

// Validate checks what a producer can set, all but the payload's size (internal/ingest knows the limit).
func (e *Event) Validate() error {
	var v Violations
	if fault := CheckType(e.Type); fault != "" {
		v.Add("type", "%s", fault)
	}
	if len(e.ContentType) > 255 {
		v.Add("content_type", "must be at most 255 characters")
	} else if media, _, err := mime.ParseMediaType(e.ContentType); err != nil || !strings.Contains(media, "/") || !IsHeaderValue(e.ContentType) {
		v.Add("content_type", "must be a media type like application/json (RFC 9110, section 8.3.1)")
	}
	if fault := CheckIdempotencyKey(e.IdempotencyKey); fault != "" {
		v.Add("idempotency_key", "%s", fault)
	}
	if len(e.OrderingKey) > 255 || !isPrintable(e.OrderingKey) {
		v.Add("ordering_key", "must be at most 255 printable ASCII characters")
	}
	checkHeaders(&v, "headers", e.Headers)
	return v.Err()
}

// CheckIdempotencyKey says what is wrong with a producer's key, or ""; the empty key is no key.
func CheckIdempotencyKey(key string) string {
	if len(key) > MaxIdempotencyKeyLength || !isPrintable(key) {
		return "must be at most 255 printable ASCII characters"
	}
	return ""
}

func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
