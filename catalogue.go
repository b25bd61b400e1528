package posthorn

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of the catalogue of event types.
const (
	// MaxCatalogue is how many event types a tenant's catalogue may hold.
	MaxCatalogue = 1000
	// MaxSchemaBytes bounds a type's JSON Schema, MaxExampleBytes its example.
	MaxSchemaBytes  = 64 << 10
	MaxExampleBytes = 64 << 10
)

// EventType is an entry of a tenant's catalogue: what its events of this type mean and look like.
type EventType struct {
	TenantID TenantID
	// Name is the type, of the grammar CheckType knows.
	Name        string
	Description string
	// Schema is a JSON Schema of the payload and Example a payload, both as they were written; empty is none.
	Schema, Example json.RawMessage
	// Enforce refuses events whose payload breaks the schema. A strict catalogue enforces every schema.
	Enforce bool
	// Deprecated types are accepted and shown as such.
	Deprecated bool
	// Row orders lists: the UUIDv7 of the moment the entry was made. It is shown to nobody.
	Row       UUID
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Validate checks all but the schema itself and whether the example fulfils it, which are internal/catalogue's.
func (t *EventType) Validate() error {
	var v Violations
	if fault := CheckType(t.Name); fault != "" {
		v.Add("name", "%s", fault)
	} else if strings.HasPrefix(t.Name, OperationalPrefix) {
		v.Add("name", "must not begin with posthorn., which is kept for Posthorn's own events")
	}
	if utf8.RuneCountInString(t.Description) > 4096 {
		v.Add("description", "must be at most 4096 characters")
	}
	if len(t.Schema) > MaxSchemaBytes {
		v.Add("schema", "must be at most %d bytes", MaxSchemaBytes)
	}
	if len(t.Example) > MaxExampleBytes {
		v.Add("example", "must be at most %d bytes", MaxExampleBytes)
	}
	if t.Enforce && len(t.Schema) == 0 {
		v.Add("enforce", "needs a schema to enforce")
	}
	return v.Err()
}

// SameEntry reports whether two entries say the same, so that writing one over the other changes nothing.
func (t *EventType) SameEntry(o *EventType) bool {
	return t.Description == o.Description && t.Enforce == o.Enforce && t.Deprecated == o.Deprecated &&
		bytes.Equal(t.Schema, o.Schema) && bytes.Equal(t.Example, o.Example)
}

// EventTypeFilter narrows a list of event types; zero fields do not.
type EventTypeFilter struct {
	// Text is found in the name or the description, regardless of case.
	Text string
	// Deprecated selects by that field; nil takes both.
	Deprecated *bool
}

// Wants reports whether a type is in a list so narrowed.
func (f EventTypeFilter) Wants(t *EventType) bool {
	if f.Deprecated != nil && *f.Deprecated != t.Deprecated {
		return false
	}
	text := strings.ToLower(f.Text)
	return strings.Contains(strings.ToLower(t.Name), text) || strings.Contains(strings.ToLower(t.Description), text)
}

// Catalogue is what publishing is checked against.
type Catalogue struct {
	// Version is the tenant's subscriptions version of the moment this was read, Changed the one at the catalogue's last
	// change: 0 when nothing was ever written.
	Version, Changed int64
	// Strict refuses types that are not in the catalogue and enforces every schema; nil leaves it to the configuration.
	Strict *bool
	// Types have their Name, Schema and Enforce set. nil when nothing has changed since the version asked about.
	Types []EventType
}
