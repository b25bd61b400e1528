package api

import (
	"reflect"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/inbound"
)

// source as it is shown: never with its secrets, but for the one that was made by this very request.
type source struct {
	ID               posthorn.SourceID `json:"id" example:"src_06f1kz9qj4v3g7c8n2m5x0y1za"`
	Secret           string            `json:"secret,omitempty" doc:"The secret that was made, in the answer to the request that made it and nowhere else."`
	IngestPath       string            `json:"ingest_path" example:"/ingest/src_06f1kz9qj4v3g7c8n2m5x0y1za" doc:"Where the provider sends, below this server's public address."`
	Name             string            `json:"name" example:"our repositories"`
	Description      string            `json:"description"`
	Provider         posthorn.Provider `json:"provider" enum:"standard,github,stripe,shopify,slack,hmac"`
	Enabled          bool              `json:"enabled" doc:"A disabled source answers as one that is not there."`
	Scheme           *signingScheme    `json:"scheme"`
	ToleranceSeconds float64           `json:"tolerance_seconds" example:"300"`
	EventType        string            `json:"event_type" example:"github.{header.X-GitHub-Event}.{payload.action}"`
	DefaultType      string            `json:"default_type" example:"github.event"`
	MessageID        string            `json:"message_id" example:"{header.X-GitHub-Delivery}"`
	KeepHeaders      []string          `json:"keep_headers"`
	RateLimit        *rateLimit        `json:"rate_limit"`
	Secrets          []sourceSecret    `json:"secrets" doc:"Those that verify, newest first. They cannot be read."`
	Accepted         int64             `json:"accepted" doc:"Events that came in. Counts are a few seconds late."`
	Duplicates       int64             `json:"duplicates" doc:"Messages that came again."`
	Refused          int64             `json:"refused" doc:"Requests without a valid signature."`
	LastAcceptedAt   *time.Time        `json:"last_accepted_at"`
	LastRefusedAt    *time.Time        `json:"last_refused_at"`
	CreatedAt        time.Time         `json:"created_at"`
	UpdatedAt        time.Time         `json:"updated_at"`
}

type sourceSecret struct {
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"`
}

// signingScheme is how an HMAC is made and where it stands.
type signingScheme struct {
	Header          string `json:"header" required:"true" example:"X-Signature" doc:"The header that holds the signature."`
	Prefix          string `json:"prefix,omitempty" example:"v1=" doc:"What stands before it in there."`
	Encoding        string `json:"encoding,omitempty" enum:"hex,base64" doc:"hex by default."`
	Algorithm       string `json:"algorithm,omitempty" enum:"sha256,sha512,sha1" doc:"sha256 by default; sha1 only where nothing else is offered."`
	SecretEncoding  string `json:"secret_encoding,omitempty" enum:"text,hex,base64" doc:"How the key is spelt in the secret; text by default."`
	TimestampHeader string `json:"timestamp_header,omitempty" doc:"Unix seconds or milliseconds; needs {timestamp} in signed."`
	Signed          string `json:"signed,omitempty" example:"{timestamp}.{body}" doc:"What the HMAC is over; {body} by default."`
}

// sourceInput is what a client writes. What was read may be sent back.
type sourceInput struct {
	Name             string            `json:"name" required:"true" maxLength:"128"`
	Description      string            `json:"description,omitempty" maxLength:"1024"`
	Provider         posthorn.Provider `json:"provider" required:"true" enum:"standard,github,stripe,shopify,slack,hmac" doc:"Who signs, and so how. standard is Standard Webhooks, hmac what scheme describes."`
	Enabled          *bool             `json:"enabled,omitempty" doc:"true by default."`
	Secret           secretText        `json:"secret,omitempty" doc:"Write-only. Later, another one rotates with an overlap of 24 hours."`
	Scheme           *signingScheme    `json:"scheme,omitempty" null:"ok" doc:"For the provider hmac."`
	ToleranceSeconds *float64          `json:"tolerance_seconds,omitempty" minimum:"1" maximum:"3600" doc:"How far a signed timestamp may be from now; 300 by default, and always with standard."`
	EventType        string            `json:"event_type,omitempty" maxLength:"512" doc:"Text with {header.NAME} and {payload.path.to[0]}; the provider's usual by default. What cannot stand in a type becomes _."`
	DefaultType      string            `json:"default_type,omitempty" maxLength:"128" doc:"The type where event_type finds nothing."`
	MessageID        string            `json:"message_id,omitempty" maxLength:"512" doc:"What tells one message from another, in the same notation: a message that comes again is a duplicate. Where something is missing none is recognised."`
	KeepHeaders      []string          `json:"keep_headers,omitempty" maxItems:"16" doc:"The provider's headers that go along with each delivery, as far as they take 8 KiB together."`
	RateLimit        *rateLimit        `json:"rate_limit,omitempty" null:"ok"`
	sourceReadOnly
}

// sourceReadOnly are the fields that may come back as they were read, and are not looked at.
type sourceReadOnly struct {
	ID             *ignored `json:"id" null:"ok"`
	IngestPath     *ignored `json:"ingest_path" null:"ok"`
	Secrets        *ignored `json:"secrets" null:"ok"`
	Accepted       *ignored `json:"accepted" null:"ok"`
	Duplicates     *ignored `json:"duplicates" null:"ok"`
	Refused        *ignored `json:"refused" null:"ok"`
	LastAcceptedAt *ignored `json:"last_accepted_at" null:"ok"`
	LastRefusedAt  *ignored `json:"last_refused_at" null:"ok"`
	CreatedAt      *ignored `json:"created_at" null:"ok"`
	UpdatedAt      *ignored `json:"updated_at" null:"ok"`
}

// sourcePatch documents a merge patch.
type sourcePatch struct {
	Name             string         `json:"name,omitempty" maxLength:"128"`
	Description      *string        `json:"description,omitempty" nullable:"true" maxLength:"1024"`
	Provider         string         `json:"provider,omitempty" enum:"standard,github,stripe,shopify,slack,hmac"`
	Enabled          *bool          `json:"enabled,omitempty" nullable:"true"`
	Secret           string         `json:"secret,omitempty" doc:"Rotates with an overlap of 24 hours."`
	Scheme           *signingScheme `json:"scheme,omitempty" null:"ok"`
	ToleranceSeconds *float64       `json:"tolerance_seconds,omitempty" nullable:"true"`
	EventType        *string        `json:"event_type,omitempty" nullable:"true" maxLength:"512"`
	DefaultType      *string        `json:"default_type,omitempty" nullable:"true" maxLength:"128"`
	MessageID        *string        `json:"message_id,omitempty" nullable:"true" maxLength:"512"`
	KeepHeaders      []string       `json:"keep_headers,omitempty"`
	RateLimit        *rateLimit     `json:"rate_limit" required:"false" doc:"null lifts it."`
}

func (h *Handler) showSource(s *posthorn.Source) source {
	counts := s.SourceCounts
	counts.Add(h.counter.Waiting(s.ID))
	is := source{
		ID: s.ID, IngestPath: "/ingest/" + s.ID.String(), Name: s.Name, Description: s.Description, Provider: s.Provider,
		Enabled: !s.Disabled, Scheme: (*signingScheme)(s.Scheme), ToleranceSeconds: s.Tolerance.Seconds(), EventType: s.EventType,
		DefaultType: s.DefaultType, MessageID: s.MessageID, KeepHeaders: s.KeepHeaders, RateLimit: (*rateLimit)(s.RateLimit),
		Accepted: counts.Accepted, Duplicates: counts.Duplicates, Refused: counts.Refused,
		LastAcceptedAt: optional(counts.LastAcceptedAt), LastRefusedAt: optional(counts.LastRefusedAt),
		CreatedAt: s.CreatedAt.UTC(), UpdatedAt: s.UpdatedAt.UTC(),
	}
	for _, secret := range s.Live(h.store.Now()) {
		is.Secrets = append(is.Secrets, sourceSecret{secret.CreatedAt.UTC(), optional(secret.ExpiresAt)})
	}
	return is
}

// apply writes the input into a source that is new or was read: what is absent goes back to its default, except the secret.
func (in *sourceInput) apply(s *posthorn.Source, now time.Time) error {
	var v posthorn.Violations
	s.SourcePolicy = posthorn.SourcePolicy{
		Name: in.Name, Description: in.Description, Disabled: in.Enabled != nil && !*in.Enabled, Provider: in.Provider,
		Scheme: (*posthorn.SigningScheme)(in.Scheme), EventType: in.EventType, DefaultType: in.DefaultType, MessageID: in.MessageID,
		KeepHeaders: in.KeepHeaders, RateLimit: (*posthorn.RateLimit)(in.RateLimit),
	}
	if in.ToleranceSeconds != nil {
		if seconds := *in.ToleranceSeconds; seconds >= 1 && seconds <= posthorn.MaxTolerance.Seconds() {
			s.Tolerance = time.Duration(seconds * float64(time.Second))
		} else {
			v.Add("tolerance_seconds", "must be from 1 to 3600")
		}
	}
	inbound.SetDefaults(s)
	collect(&v, inbound.Check(s))
	in.applySecret(&v, s, now)
	return under("body", v.Err())
}

// applySecret sets or rotates the secret, and sees that those there are fit a provider that may be another now.
func (in *sourceInput) applySecret(v *posthorn.Violations, s *posthorn.Source, now time.Time) {
	live := s.Live(now)
	if in.Secret == "" {
		for _, secret := range live {
			if fault := inbound.CheckSecret(s, string(secret.Value)); fault != "" {
				v.Add("secret", "must be sent anew: it %s", fault)
				return
			}
		}
		return
	}
	if len(live) > 0 && string(live[0].Value) == string(in.Secret) {
		return
	}
	if fault := inbound.CheckSecret(s, string(in.Secret)); fault != "" {
		v.Add("secret", "%s", fault)
		return
	}
	s.Secrets = rotated(live, string(in.Secret), defaultOverlap, now)
}

// rotated puts a secret before those there are, which expire with the overlap at the latest.
func rotated(live []posthorn.Secret, secret string, overlap time.Duration, now time.Time) []posthorn.Secret {
	end := now.Add(overlap)
	kept := []posthorn.Secret{{Value: posthorn.SecretText(secret), CreatedAt: now}}
	for _, old := range live {
		if old.ExpiresAt.IsZero() || old.ExpiresAt.After(end) {
			old.ExpiresAt = end
		}
		if overlap > 0 && len(kept) < posthorn.MaxSourceSecrets && string(old.Value) != secret {
			kept = append(kept, old)
		}
	}
	return kept
}

// mergeSource applies a merge patch (RFC 7396) to a source and gives the members of the result, to be read as a PUT is. What is
// the provider's default is left out, so that another provider brings its own.
func mergeSource(s *posthorn.Source, patch []member) ([]member, error) {
	bare := posthorn.Source{SourcePolicy: posthorn.SourcePolicy{Provider: s.Provider}}
	inbound.SetDefaults(&bare)
	differing := func(value, usual string) string {
		if value == usual {
			return ""
		}
		return value
	}
	enabled, tolerance := !s.Disabled, s.Tolerance.Seconds()
	text, err := json.Marshal(sourceInput{
		Name: s.Name, Description: s.Description, Provider: s.Provider, Enabled: &enabled, Scheme: (*signingScheme)(s.Scheme),
		ToleranceSeconds: &tolerance, EventType: differing(s.EventType, bare.EventType), DefaultType: differing(s.DefaultType, bare.DefaultType),
		MessageID: differing(s.MessageID, bare.MessageID), KeepHeaders: s.KeepHeaders, RateLimit: (*rateLimit)(s.RateLimit),
	}, jsonOptions)
	if err != nil {
		return nil, err
	}
	members, err := splitObject(text)
	if err != nil {
		return nil, err
	}
	for _, p := range patch {
		i := slices.IndexFunc(members, func(m member) bool { return m.name == p.name })
		var had jsontext.Value
		if i >= 0 {
			had = members[i].value
		}
		value, err := mergeValue(had, p.value)
		if err != nil {
			return nil, invalid("body."+shown(p.name), "is not valid JSON: a name stands twice in an object")
		}
		if i >= 0 {
			members = slices.Delete(members, i, i+1)
		}
		switch {
		case value != nil:
			members = append(members, member{p.name, value})
		case !slices.Contains(fieldNames(reflect.TypeFor[sourceInput]()), p.name):
			// Null for a field that is not known: the reading says so.
			members = append(members, p)
		}
	}
	return members, nil
}
