package api

import (
	"cmp"
	"maps"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn"
)

// subscription as it is shown.
type subscription struct {
	ID             posthorn.SubscriptionID `json:"id" example:"sub_06f1kz9qj4v3g7c8n2m5x0y1za"`
	URL            string                  `json:"url" format:"uri" example:"https://example.com/webhooks"`
	Description    string                  `json:"description"`
	EventTypes     []string                `json:"event_types" doc:"Types and patterns; empty is all." example:"[\"order.*\"]"`
	Status         posthorn.Status         `json:"status" enum:"active,paused,disabled"`
	DisabledReason *string                 `json:"disabled_reason" doc:"Why Posthorn disabled it: gone (the receiver answered 410) or failing."`
	Headers        map[string]string       `json:"headers" doc:"Sent with every delivery. Values are masked."`
	Retry          retryPolicy             `json:"retry"`
	TimeoutSeconds float64                 `json:"timeout_seconds" example:"15"`
	RateLimit      *rateLimit              `json:"rate_limit"`
	MaxInFlight    int                     `json:"max_in_flight" example:"64"`
	Ordering       posthorn.Ordering       `json:"ordering" enum:"none,fifo"`
	OnFailure      posthorn.FailureMode    `json:"on_failure" enum:"block,skip" doc:"With fifo: whether a failed delivery holds those behind it until it succeeds or is given up, or lets them pass."`
	Auth           *endpointAuth           `json:"auth" doc:"How the receiver knows the sender, besides the signature; null is not at all. Secret parts are masked."`
	TLS            *endpointTLS            `json:"tls" doc:"A client certificate and authorities of its own; null is none."`
	Signature      signatureProfile        `json:"signature" doc:"How deliveries are signed."`
	Filter         *string                 `json:"filter" doc:"The CEL expression that an event must fulfil; null is none."`
	Metadata       map[string]string       `json:"metadata"`
	PublicKey      *string                 `json:"public_key" doc:"The whpk_… key that verifies its v1a signatures; null with a shared secret."`
	Lane           *laneState              `json:"lane,omitempty" doc:"What holds its deliveries back at present."`
	CreatedAt      time.Time               `json:"created_at"`
	UpdatedAt      time.Time               `json:"updated_at"`
}

// subscriptionWithSecret answers the creation of a subscription, the one time its secret comes unasked.
type subscriptionWithSecret struct {
	ID             posthorn.SubscriptionID `json:"id" example:"sub_06f1kz9qj4v3g7c8n2m5x0y1za"`
	Secret         string                  `json:"secret" example:"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD" doc:"Signs the deliveries. It is not shown in any list; read it again at /subscriptions/{id}/secret."`
	URL            string                  `json:"url" format:"uri" example:"https://example.com/webhooks"`
	Description    string                  `json:"description"`
	EventTypes     []string                `json:"event_types"`
	Status         posthorn.Status         `json:"status" enum:"active,paused,disabled"`
	DisabledReason *string                 `json:"disabled_reason"`
	Headers        map[string]string       `json:"headers"`
	Retry          retryPolicy             `json:"retry"`
	TimeoutSeconds float64                 `json:"timeout_seconds"`
	RateLimit      *rateLimit              `json:"rate_limit"`
	MaxInFlight    int                     `json:"max_in_flight"`
	Ordering       posthorn.Ordering       `json:"ordering" enum:"none,fifo"`
	OnFailure      posthorn.FailureMode    `json:"on_failure" enum:"block,skip"`
	Auth           *endpointAuth           `json:"auth"`
	TLS            *endpointTLS            `json:"tls"`
	Signature      signatureProfile        `json:"signature"`
	Filter         *string                 `json:"filter"`
	Metadata       map[string]string       `json:"metadata"`
	PublicKey      *string                 `json:"public_key"`
	CreatedAt      time.Time               `json:"created_at"`
	UpdatedAt      time.Time               `json:"updated_at"`
}

// retryPolicy is a schedule, or the four fields of an exponential policy.
type retryPolicy struct {
	Schedule   []float64 `json:"schedule,omitzero" doc:"Seconds to wait after each failed attempt." example:"[5,60,300]"`
	Initial    float64   `json:"initial,omitzero" doc:"Seconds before the first retry."`
	Multiplier float64   `json:"multiplier,omitzero" doc:"By which each delay grows."`
	Maximum    float64   `json:"maximum,omitzero" doc:"The longest delay in seconds."`
	Attempts   int       `json:"attempts,omitzero" doc:"All attempts, the first included."`

	FinalStatuses []int   `json:"final_statuses,omitzero" doc:"HTTP statuses, from 300 to 599, after which no automatic retry is made." example:"[400,404]"`
	Window        float64 `json:"window_seconds,omitzero" doc:"Ends the automatic retries this long after acceptance; at most the retention, which is the default."`
}

// UnmarshalJSONFrom tells a zero that was sent from a field that was not: a policy of no attempts is not the default one. What
// was sent as zero becomes negative, which the check of the policy refuses.
func (p *retryPolicy) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	type plain retryPolicy
	absent := math.Inf(-1) // which JSON cannot say
	in := plain{Initial: absent, Multiplier: absent, Maximum: absent, Attempts: math.MinInt, Window: absent}
	err := json.UnmarshalDecode(d, &in)
	for _, n := range []*float64{&in.Initial, &in.Multiplier, &in.Maximum, &in.Window} {
		switch *n {
		case absent:
			*n = 0
		case 0:
			*n = -1
		}
	}
	switch in.Attempts {
	case math.MinInt:
		in.Attempts = 0
	case 0:
		in.Attempts = -1
	}
	*p = retryPolicy(in)
	return err
}

// rateLimit is how many deliveries a second or a minute.
type rateLimit struct {
	Limit int    `json:"limit" required:"true" minimum:"1" maximum:"1000000" example:"10"`
	Per   string `json:"per" required:"true" enum:"second,minute"`
}

// laneState is what a whole subscription's deliveries wait for.
type laneState struct {
	HeldSince      *time.Time `json:"held_since" doc:"Since when it is paused or disabled."`
	ThrottledUntil *time.Time `json:"throttled_until" doc:"The receiver asked for a pause (Retry-After or 429)."`
	BreakerUntil   *time.Time `json:"breaker_until" doc:"Too many failures: until then nothing is sent, then one probe."`
	FailingSince   *time.Time `json:"failing_since" doc:"The first failure since the last success."`
	Backlog        *int       `json:"backlog,omitempty" doc:"How many deliveries wait; only where one subscription is read."`
	Capped         *bool      `json:"capped,omitempty" doc:"backlog is a lower bound."`
}

// subscriptionInput is what a client writes: the body of POST and PUT, and what a PATCH results in.
type subscriptionInput struct {
	URL            string               `json:"url" required:"true" format:"uri" maxLength:"2048" doc:"Where deliveries are POSTed: an absolute https URL (http where the operator allows it)." example:"https://example.com/webhooks"`
	Description    string               `json:"description,omitempty" maxLength:"1024"`
	EventTypes     []string             `json:"event_types,omitempty" maxItems:"100" doc:"Types like order.created and patterns like order.* or *; empty or absent is all."`
	Status         posthorn.Status      `json:"status,omitempty" enum:"active,paused,disabled" doc:"active or paused; absent leaves it, and creates active."`
	Secret         secretText           `json:"secret,omitempty" doc:"whsec_ and the base64 of 24 to 64 bytes, or whsk_ and an Ed25519 key. Absent at creation makes one; later, another one rotates with the usual overlap."`
	Headers        map[string]string    `json:"headers,omitempty" doc:"Sent with every delivery, at most 32. The mask as a value leaves that value unchanged."`
	Retry          retryPolicy          `json:"retry,omitzero"`
	TimeoutSeconds *float64             `json:"timeout_seconds,omitempty" minimum:"1" maximum:"60" doc:"One deadline for the whole attempt; 15 by default."`
	RateLimit      *rateLimit           `json:"rate_limit,omitempty" null:"ok"`
	MaxInFlight    *int                 `json:"max_in_flight,omitempty" minimum:"1" maximum:"1024" doc:"64 by default."`
	Ordering       posthorn.Ordering    `json:"ordering,omitempty" enum:"none,fifo" doc:"fifo delivers one after the other, per ordering_key where events have one."`
	OnFailure      posthorn.FailureMode `json:"on_failure,omitempty" enum:"block,skip" doc:"With fifo: block (the default) lets those behind a failed delivery wait for its retries, skip lets them pass while it goes on with its own."`
	Auth           *endpointAuth        `json:"auth,omitempty" null:"ok" doc:"How the receiver knows the sender, besides the signature. Absent or null is not at all."`
	TLS            *endpointTLS         `json:"tls,omitempty" null:"ok" doc:"A client certificate (certificate and key), authorities of its own (ca), or both; it goes with any auth. Absent or null is neither."`
	Signature      *signatureProfile    `json:"signature,omitempty" null:"ok" doc:"How deliveries are signed. Absent or null is by the Standard Webhooks alone."`
	Filter         *string              `json:"filter,omitempty" null:"ok" nullable:"true" maxLength:"4096" doc:"A CEL expression over type, headers (names in lower case) and payload, beyond event_types: only events that fulfil it are delivered. Where it fails, as on a field that is not there, the delivery is born cancelled with the reason filter_error." example:"payload.amount > 100 && headers['x-region'] == 'eu'"`
	Metadata       map[string]string    `json:"metadata,omitempty" doc:"Your own keys and values, at most 50."`
	readOnly
}

// secretText is a secret in a body, where the empty one is no secret.
type secretText string

// readOnly are the fields that may come back as they were read, so that what was read can be changed and put.
type readOnly struct {
	ID             string    `json:"id"`
	DisabledReason *string   `json:"disabled_reason" null:"ok"`
	PublicKey      *string   `json:"public_key" null:"ok"`
	Lane           *anything `json:"lane" null:"ok"`
	CreatedAt      string    `json:"created_at"`
	UpdatedAt      string    `json:"updated_at"`
}

// anything is JSON that is not looked into.
type anything struct{}

// UnmarshalJSON takes any value.
func (*anything) UnmarshalJSON([]byte) error { return nil }

// optional is a moment that may be absent.
func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	u := t.UTC()
	return &u
}

func nonEmpty[S ~string](s S) *S {
	if s == "" {
		return nil
	}
	return &s
}

// show is a subscription without its secrets.
func showSubscription(s *posthorn.Subscription) subscription {
	headers := make(map[string]string, len(s.Headers))
	for name := range s.Headers {
		headers[name] = posthorn.Mask
	}
	return subscription{
		ID: s.ID, URL: s.URL, Description: s.Description, EventTypes: s.EventTypes, Status: s.Status,
		DisabledReason: nonEmpty(s.DisabledReason), Headers: headers, Retry: retryPolicy(s.Retry),
		TimeoutSeconds: s.Timeout.Seconds(), RateLimit: (*rateLimit)(s.RateLimit), MaxInFlight: s.MaxInFlight,
		Ordering: s.Ordering, OnFailure: cmp.Or(s.OnFailure, posthorn.FailureBlocks), Auth: showAuth(s.Auth), TLS: showTLS(s.TLS),
		Signature: showSignature(s.Signature), Filter: nonEmpty(s.Filter), Metadata: s.Metadata, PublicKey: publicKey(s),
		CreatedAt: s.CreatedAt.UTC(), UpdatedAt: s.UpdatedAt.UTC(),
	}
}

func showLane(l *posthorn.Lane, now time.Time) *laneState {
	state := &laneState{HeldSince: optional(l.HeldSince), FailingSince: optional(l.FailingSince)}
	if l.ThrottledUntil.After(now) {
		state.ThrottledUntil = optional(l.ThrottledUntil)
	}
	if l.BreakerOpens > 0 {
		state.BreakerUntil = optional(l.BreakerUntil)
	}
	return state
}

// apply writes the input into a subscription that is new or was read: what is absent goes back to its default, except
// the secret and the status.
func (in *subscriptionInput) apply(s *posthorn.Subscription) error {
	var v posthorn.Violations
	in.checkReadOnly(&v, s)
	in.applyStatus(&v, s)
	in.checkTypes(&v)
	s.Headers = in.headers(&v, s.Headers)
	s.Auth, s.TLS = in.Auth.apply(&v, s.Auth), in.TLS.apply(&v, s.TLS)
	s.Policy = posthorn.Policy{
		URL: in.URL, Description: in.Description, EventTypes: in.EventTypes, Retry: posthorn.RetryPolicy(in.Retry),
		RateLimit: (*posthorn.RateLimit)(in.RateLimit), Ordering: in.Ordering, OnFailure: in.OnFailure,
		Signature: in.Signature.apply(&v), Filter: text(in.Filter), Metadata: in.Metadata,
	}
	if in.MaxInFlight != nil {
		s.MaxInFlight = *in.MaxInFlight
		if s.MaxInFlight == 0 {
			v.Add("max_in_flight", "must be from 1 to %d", posthorn.MaxMaxInFlight)
		}
	}
	if in.TimeoutSeconds != nil {
		seconds := *in.TimeoutSeconds
		if seconds >= 1 && seconds <= 60 {
			s.Timeout = time.Duration(seconds * float64(time.Second))
		} else {
			v.Add("timeout_seconds", "must be from 1 to 60")
		}
	}
	s.SetDefaults()
	return v.Err()
}

// checkTypes checks the types where they stand: stored, they are sorted.
func (in *subscriptionInput) checkTypes(v *posthorn.Violations) {
	before := len(*v)
	for i, p := range in.EventTypes {
		if fault := posthorn.CheckPattern(p); fault != "" && i < posthorn.MaxEventTypes {
			v.Add("event_types["+strconv.Itoa(i)+"]", "%s", fault)
		}
	}
	if len(*v) > before {
		in.EventTypes = nil
	}
}

// applyStatus lets a client pause, resume and re-enable; only Posthorn disables.
func (in *subscriptionInput) applyStatus(v *posthorn.Violations, s *posthorn.Subscription) {
	switch {
	case in.Status == "" || in.Status == s.Status:
	case in.Status == posthorn.StatusActive || in.Status == posthorn.StatusPaused:
		s.Status = in.Status
		s.DisabledReason = ""
	case in.Status == posthorn.StatusDisabled:
		v.Add("status", "must be active or paused; only Posthorn disables subscriptions")
	default:
		v.Add("status", "must be active or paused")
	}
}

// headers are the headers wanted; a masked value is the one it masks.
func (in *subscriptionInput) headers(v *posthorn.Violations, had map[string]string) map[string]string {
	wanted := maps.Clone(in.Headers)
	for name, value := range wanted {
		if value != posthorn.Mask {
			continue
		}
		kept, ok := lookup(had, name)
		if !ok {
			v.Add("headers."+shown(name), posthorn.NothingMasked)
		}
		wanted[name] = kept
	}
	return wanted
}

func lookup(headers map[string]string, name string) (string, bool) {
	if value, ok := headers[name]; ok {
		return value, true
	}
	for n, value := range headers {
		if strings.EqualFold(n, name) {
			return value, true
		}
	}
	return "", false
}

// checkReadOnly admits read-only fields that say what is so.
func (in *subscriptionInput) checkReadOnly(v *posthorn.Violations, s *posthorn.Subscription) {
	is := showSubscription(s)
	same := func(name, given, present string) {
		if given != "" && given != present {
			v.Add(name, "is read-only; leave it out, or send it as it was read")
		}
	}
	same("id", in.ID, is.ID.String())
	same("disabled_reason", text(in.DisabledReason), text(is.DisabledReason))
	same("public_key", text(in.PublicKey), text(is.PublicKey))
	sameTime(v, "created_at", in.CreatedAt, is.CreatedAt)
	sameTime(v, "updated_at", in.UpdatedAt, is.UpdatedAt)
}

func sameTime(v *posthorn.Violations, name, given string, present time.Time) {
	if given == "" {
		return
	}
	if t, err := time.Parse(time.RFC3339Nano, given); err != nil || !t.Equal(present) {
		v.Add(name, "is read-only; leave it out, or send it as it was read (it differs also when someone else changed the subscription since)")
	}
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
