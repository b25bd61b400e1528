package sqlite

import (
	"encoding/json"
	"time"

	"github.com/posthorn/posthorn"
)

// stamp stores a moment; the zero time is 0.
func stamp(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// at is the moment of a stamp.
func at(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// instant, interval and condition scan a column into a field.
type (
	instant   struct{ to *time.Time }
	interval  struct{ to *time.Duration }
	condition struct{ to *posthorn.State }
)

// Scan reads what stamp stored.
func (i instant) Scan(v any) error {
	*i.to = at(v.(int64))
	return nil
}

// Scan reads microseconds.
func (i interval) Scan(v any) error {
	*i.to = span(v.(int64))
	return nil
}

// Scan reads a state's number.
func (c condition) Scan(v any) error {
	*c.to = states[v.(int64)]
	return nil
}

// span is a duration of so many microseconds.
func span(micros int64) time.Duration { return time.Duration(micros) * time.Microsecond }

// blob stores an id; the absent one is NULL. Where statements are hot it spares the driver to find the id's Value by
// reflection.
func blob(u posthorn.UUID) any {
	if u.IsZero() {
		return nil
	}
	return u[:]
}

// document stores a value as JSON; empty says that it is absent.
func document(v any, empty bool) string {
	if empty {
		return ""
	}
	// Maps of strings, lists and the nouns' structs always encode.
	b, _ := json.Marshal(v)
	return string(b)
}

// headers is document for the headers of an attempt.
func headers(h posthorn.Headers) string {
	if len(h) == 0 {
		return ""
	}
	return string(h.AppendJSON(make([]byte, 0, 512)))
}

// decode reads what document stored.
func decode(s string, into any) error {
	if s == "" {
		return nil
	}
	return json.Unmarshal([]byte(s), into)
}

// states are numbered as the schema has them.
var states = [...]posthorn.State{posthorn.Pending, posthorn.Delivered, posthorn.Exhausted, posthorn.Cancelled}

func stateNumber(s posthorn.State) int64 {
	for i := range states {
		if states[i] == s {
			return int64(i)
		}
	}
	return -1
}

// flag stores a bool as 0 or 1.
func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
