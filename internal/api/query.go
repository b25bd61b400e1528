package api

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/posthorn/posthorn"
)

// defaultLimit is the length of a page when the client names none; maxLimit the longest.
const (
	defaultLimit = 50
	maxLimit     = 200
)

// length of a page: decimal digits and nothing else.
type length int

// UnmarshalText reads 1 to 200.
func (l *length) UnmarshalText(b []byte) error {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' || n > maxLimit {
			n = 0
			break
		}
		n = n*10 + int(c-'0')
	}
	if n < 1 || n > maxLimit {
		return errors.New("must be a whole number from 1 to 200")
	}
	*l = length(n)
	return nil
}

// Schema documents a length.
func (*length) Schema(huma.Registry) *huma.Schema {
	low, high := 1.0, float64(maxLimit)
	return &huma.Schema{Type: huma.TypeInteger, Minimum: &low, Maximum: &high, Default: defaultLimit}
}

// Paging are the parameters of every list.
type Paging struct {
	Limit  pageLimit `query:"limit" doc:"How many at most."`
	Cursor string    `query:"cursor" doc:"The next_cursor of the page before, with the same filters."`
}

// pageLimit wraps length: huma reads text into structs, not into numbers.
type pageLimit struct{ length }

// moment is a time in a query.
type moment struct{ time.Time }

// UnmarshalText reads RFC 3339.
func (m *moment) UnmarshalText(b []byte) error {
	t, ok := readMoment(b)
	if !ok {
		return errors.New("must be " + wanted(reflect.TypeFor[time.Time]()))
	}
	m.Time = t.UTC()
	return nil
}

// Schema documents a moment.
func (*moment) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time"}
}

// subscriptionRef is a subscription's id in a query.
type subscriptionRef struct{ posthorn.SubscriptionID }

// UnmarshalText reads an id.
func (r *subscriptionRef) UnmarshalText(b []byte) error {
	if err := r.SubscriptionID.UnmarshalText(b); err != nil {
		return errors.New("must be a subscription's id like sub_…")
	}
	return nil
}

// Schema documents an id.
func (*subscriptionRef) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Pattern: "^sub_[0-9a-z]{26}$"}
}

// textID is any of the ids: what their types have in common.
type textID interface{ UnmarshalText(b []byte) error }

// pathID reads an id from a path. One that cannot be an id is answered as one that is not there.
func pathID[T any, P interface {
	*T
	textID
}](noun, text string) (T, error) {
	var id T
	if text == "" || P(&id).UnmarshalText([]byte(text)) != nil {
		return id, posthorn.Absent(noun)
	}
	return id, nil
}

// filterID reads an optional id from a query or a body.
func filterID[T any, P interface {
	*T
	textID
}](location, like, text string) (T, error) {
	var id T
	if P(&id).UnmarshalText([]byte(text)) != nil {
		return id, invalid(location, "must be an id like %s…", like)
	}
	return id, nil
}

// choices splits a comma-separated filter and checks each against what is known.
func choices[S ~string](location, text string, known []S) ([]S, error) {
	if text == "" {
		return nil, nil
	}
	var list []S
	for part := range strings.SplitSeq(text, ",") {
		if !slices.Contains(known, S(part)) {
			return nil, invalid(location, "must be one or more of %s, separated by commas", joined(known))
		}
		list = append(list, S(part))
	}
	return list, nil
}

// choice is choices of at most one.
func choice[S ~string](location, text string, known []S) (S, error) {
	if text != "" && !slices.Contains(known, S(text)) {
		return "", invalid(location, "must be one of %s", joined(known))
	}
	return S(text), nil
}

func joined[S ~string](known []S) string {
	list := make([]string, len(known))
	for i, k := range known {
		list[i] = string(k)
	}
	return strings.Join(list, ", ")
}

// patterns splits a comma-separated filter of event types and patterns.
func patterns(location, text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	list := strings.Split(text, ",")
	if len(list) > posthorn.MaxEventTypes {
		return nil, invalid(location, "must have at most %d types", posthorn.MaxEventTypes)
	}
	for _, p := range list {
		if fault := posthorn.CheckPattern(p); fault != "" {
			return nil, invalid(location, "%s", fault)
		}
	}
	return list, nil
}

// span checks that a time range does not end before it begins.
func span(since, until moment) error {
	if !since.IsZero() && !until.IsZero() && until.Before(since.Time) {
		return invalid("query.until", "must not be before since")
	}
	return nil
}
