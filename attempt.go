package posthorn

import (
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// Outcome of an attempt.
type Outcome string

// The outcomes. Only the first is a success; Blocked, Interrupted and some DNS errors are our own fault.
const (
	Succeeded       Outcome = "succeeded"
	HTTPError       Outcome = "http_error"
	Timeout         Outcome = "timeout"
	DNSError        Outcome = "dns_error"
	ConnectError    Outcome = "connect_error"
	TLSError        Outcome = "tls_error"
	Blocked         Outcome = "blocked"
	InvalidResponse Outcome = "invalid_response"
	Interrupted     Outcome = "interrupted"
)

// The error and detail of an interrupted attempt whose claim was lost, by a crash or a lease that ran out.
const (
	ClaimLost       = "claim_lost"
	ClaimLostDetail = "The claim ended before a result was recorded; the request may have been sent."
)

// Outcomes lists every outcome, in the order they are shown.
var Outcomes = []Outcome{
	Succeeded, HTTPError, Timeout, DNSError, ConnectError, TLSError, Blocked, InvalidResponse, Interrupted,
}

// KeptBody is how many bytes of a response body an attempt keeps.
const KeptBody = 16 << 10

// Attempt is one HTTP request and what came back. Rows are append-only; only a late result may fill in an interrupted one.
type Attempt struct {
	// ID is also the claim token that fences the result.
	ID             AttemptID
	TenantID       TenantID
	DeliveryID     DeliveryID
	EventID        EventID
	SubscriptionID SubscriptionID
	// Number counts a delivery's attempts from 1, without gaps.
	Number    int
	Manual    bool
	StartedAt time.Time
	// RecordedAt is the store's clock when the result was written.
	RecordedAt time.Time
	Outcome    Outcome
	// OurFault attempts never count against the subscriber: no breaker, no warning, no disabling.
	OurFault   bool
	StatusCode int
	// Error is a short machine code and Detail a sentence a tenant may read: never an internal address.
	Error, Detail string
	Request       Headers
	Response      Headers
	// Body holds the first KeptBody bytes; BodyTruncated says there was more.
	Body          []byte
	BodyTruncated bool
	Timing        Timing
	Node          NodeID
}

// Headers as sent or received, in order of name; secret values are masked before they get here.
type Headers map[string][]string

// AppendJSON appends the headers as json.Marshal writes them. Every attempt is stored with two of these, nearly always plain
// text, for which reflection would be a tenth of what recording costs.
func (h Headers) AppendJSON(b []byte) []byte {
	if h == nil {
		return append(b, "null"...)
	}
	names := slices.AppendSeq(make([]string, 0, 16), maps.Keys(h))
	slices.Sort(names)
	b = append(b, '{')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendJSONText(b, name), ':')
		for j, value := range h[name] {
			b = append(b, "[,"[min(j, 1)])
			b = appendJSONText(b, value)
		}
		if len(h[name]) == 0 {
			b = append(b, '[')
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

// appendJSONText appends a JSON string.
func appendJSONText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // text always encodes
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// Timing of an attempt's phases. A phase that did not happen is zero, as are DNS, Connect and TLS on a reused connection.
type Timing struct {
	DNS, Connect, TLS, FirstByte, Total time.Duration
	Reused                              bool
}
