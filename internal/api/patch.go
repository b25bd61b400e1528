package api

import (
	"reflect"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn"
)

// subscriptionPatch documents a merge patch: every field optional, null for the default.
type subscriptionPatch struct {
	URL            string             `json:"url,omitempty" format:"uri"`
	Description    *string            `json:"description,omitempty" nullable:"true" maxLength:"1024"`
	EventTypes     []string           `json:"event_types,omitempty" doc:"Replaces the whole list; null or empty is all."`
	Status         string             `json:"status,omitempty" enum:"active,paused"`
	Secret         string             `json:"secret,omitempty" doc:"Another secret rotates with the usual overlap."`
	Headers        map[string]*string `json:"headers,omitempty" doc:"Merged: null removes a header."`
	Retry          retryPolicy        `json:"retry,omitzero"`
	TimeoutSeconds *float64           `json:"timeout_seconds,omitempty" nullable:"true"`
	RateLimit      *rateLimit         `json:"rate_limit"  required:"false" doc:"null lifts it."`
	MaxInFlight    *int               `json:"max_in_flight,omitempty" nullable:"true"`
	Ordering       string             `json:"ordering,omitempty" enum:"none,fifo"`
	OnFailure      string             `json:"on_failure,omitempty" enum:"block,skip"`
	Auth           *endpointAuth      `json:"auth" required:"false" doc:"Merged into auth of the same type, otherwise it replaces; null removes it."`
	TLS            *endpointTLS       `json:"tls" required:"false" doc:"Merged: null removes one part, or all."`
	Signature      *signatureProfile  `json:"signature" required:"false" doc:"Merged; a profile replaces the whole. null is the Standard Webhooks alone."`
	Filter         *string            `json:"filter,omitempty" nullable:"true" maxLength:"4096" doc:"null lifts it."`
	Metadata       map[string]*string `json:"metadata,omitempty" doc:"Merged: null removes a key."`
}

// writable is the part of a subscription a patch is merged into, as JSON.
type writable struct {
	URL            string               `json:"url"`
	Description    string               `json:"description"`
	EventTypes     []string             `json:"event_types"`
	Headers        map[string]string    `json:"headers"`
	Retry          retryPolicy          `json:"retry"`
	TimeoutSeconds float64              `json:"timeout_seconds"`
	RateLimit      *rateLimit           `json:"rate_limit"`
	MaxInFlight    int                  `json:"max_in_flight"`
	Ordering       posthorn.Ordering    `json:"ordering"`
	OnFailure      posthorn.FailureMode `json:"on_failure"`
	Auth           *endpointAuth        `json:"auth"`
	TLS            *endpointTLS         `json:"tls"`
	Signature      signatureProfile     `json:"signature"`
	Filter         *string              `json:"filter"`
	Metadata       map[string]string    `json:"metadata"`
}

// merge applies a merge patch (RFC 7396) to a subscription and gives the members of the result, to be read as a PUT is.
func merge(s *posthorn.Subscription, patch []member) ([]member, error) {
	is := showSubscription(s)
	text, err := json.Marshal(writable{
		URL: is.URL, Description: is.Description, EventTypes: is.EventTypes, Headers: is.Headers, Retry: is.Retry,
		TimeoutSeconds: is.TimeoutSeconds, RateLimit: is.RateLimit, MaxInFlight: is.MaxInFlight, Ordering: is.Ordering,
		OnFailure: is.OnFailure, Auth: is.Auth, TLS: is.TLS, Signature: is.Signature, Filter: is.Filter, Metadata: is.Metadata,
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
		switch p.name {
		case "headers":
			p.value = sameNames(had, p.value)
		case "retry":
			had = sameForm(had, p.value)
		case "auth":
			had = sameKind(had, p.value, "type")
		case "signature":
			had = sameKind(had, p.value, "profile")
		}
		value, err := mergeValue(had, p.value)
		switch {
		case err != nil:
			return nil, invalid("body."+shown(p.name), "is not valid JSON: a name stands twice in an object")
		case value == nil && i >= 0:
			members = slices.Delete(members, i, i+1)
		case value == nil:
			// Null for a field that has no default to go back to, or is not known: the reading decides.
			if !knownField(p.name) {
				members = append(members, p)
			}
		case i >= 0:
			members[i].value = value
		default:
			members = append(members, member{p.name, value})
		}
	}
	return members, nil
}

// mergeValue is RFC 7396, section 2; nil stands for a removed value.
func mergeValue(had, patch jsontext.Value) (jsontext.Value, error) {
	switch patch.Kind() {
	case jsontext.KindNull:
		return nil, nil
	case jsontext.KindBeginObject:
	default:
		return patch, nil
	}
	var changes, merged map[string]jsontext.Value
	if err := json.Unmarshal(patch, &changes); err != nil {
		return nil, err
	}
	if had.Kind() == jsontext.KindBeginObject {
		if err := json.Unmarshal(had, &merged); err != nil {
			return nil, err
		}
	}
	if merged == nil {
		merged = map[string]jsontext.Value{}
	}
	for name, change := range changes {
		value, err := mergeValue(merged[name], change)
		if err != nil {
			return nil, err
		}
		if value == nil {
			delete(merged, name)
			continue
		}
		merged[name] = value
	}
	return json.Marshal(merged, jsonOptions)
}

// scheduleField and exponentialFields are the two forms of a retry policy.
const scheduleField = "schedule"

var exponentialFields = []string{"initial", "multiplier", "maximum", "attempts"}

// sameForm is a retry policy to merge into: without its form when the patch brings the other one, which then replaces it.
func sameForm(had, patch jsontext.Value) jsontext.Value {
	var old, change map[string]jsontext.Value
	if json.Unmarshal(had, &old) != nil || json.Unmarshal(patch, &change) != nil || change == nil {
		return had
	}
	if _, brings := change[scheduleField]; brings {
		for _, name := range exponentialFields {
			delete(old, name)
		}
	}
	if slices.ContainsFunc(exponentialFields, func(name string) bool { return change[name] != nil }) {
		delete(old, scheduleField)
	}
	kept, err := json.Marshal(old, jsonOptions)
	if err != nil {
		return had
	}
	return kept
}

// sameNames is a patch of headers with the names as they stand in what it is merged into, where only the case of a letter differs:
// to HTTP those are the same. A name that the patch also has as it stands is left to that one.
func sameNames(had, patch jsontext.Value) jsontext.Value {
	var old, change map[string]jsontext.Value
	if patch.Kind() != jsontext.KindBeginObject || json.Unmarshal(had, &old) != nil || json.Unmarshal(patch, &change) != nil {
		return patch
	}
	for name := range old {
		if _, exact := change[name]; exact {
			continue
		}
		var others []string
		for other := range change {
			if strings.EqualFold(other, name) {
				others = append(others, other)
			}
		}
		if len(others) == 1 {
			change[name] = change[others[0]]
			delete(change, others[0])
		}
	}
	renamed, err := json.Marshal(change, jsonOptions)
	if err != nil {
		return patch
	}
	return renamed
}

// sameKind is an object to merge into: none when the patch brings another kind of it, whose fields are others, or a
// profile, which is the whole.
func sameKind(had, patch jsontext.Value, kind string) jsontext.Value {
	var old, change map[string]jsontext.Value
	if json.Unmarshal(had, &old) != nil || json.Unmarshal(patch, &change) != nil {
		return had
	}
	if now, brings := change[kind]; brings && (kind == "profile" || string(now) != string(old[kind])) {
		return nil
	}
	if kind == "profile" && string(old[kind]) == `"standard"` {
		return nil
	}
	return had
}

func knownField(name string) bool {
	return slices.Contains(fieldNames(reflect.TypeFor[subscriptionInput]()), name)
}
