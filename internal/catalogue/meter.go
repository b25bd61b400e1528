package catalogue

import (
	"errors"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// meter bounds the work of one validation. A schema of a few lines can ask for more steps than there are atoms: two
// references that each lead to two, fifty times. The validator knows no limit, but asks a schema's format first of all, before
// it looks at what is below: so each format is wrapped to charge for its schema, and the charge that finds nothing left stops
// the validation by a panic, which Check catches.
type meter struct{ left int }

var errSpent = errors.New("takes more work to check against the type's schema than is allowed; simplify the schema")

const (
	// baseBudget is for every check, byteBudget for each byte of the payload: a step is a fraction of a microsecond.
	baseBudget = 20_000
	byteBudget = 4
	maxBudget  = 4_000_000
)

func budget(size int) int { return min(baseBudget+byteBudget*size, maxBudget) }

func (m *meter) charge(n int) {
	if m.left -= n; m.left < 0 {
		panic(errSpent)
	}
}

// install wraps the formats of all schemas that can be reached.
func (m *meter) install(s *jsonschema.Schema, done map[*jsonschema.Schema]bool) {
	if s == nil || done[s] {
		return
	}
	done[s] = true
	below := children(s)
	fixed := 1 + len(below) + len(s.Required)
	if s.Enum != nil {
		fixed += size(s.Enum.Values)
	}
	if s.Const != nil {
		fixed += size(*s.Const)
	}
	inner := s.Format
	format := &jsonschema.Format{Validate: func(v any) error {
		m.charge(fixed + m.cost(s, v))
		if inner == nil {
			return nil
		}
		return inner.Validate(v)
	}}
	if inner != nil {
		format.Name = inner.Name
	}
	s.Format = format
	for _, next := range below {
		m.install(next, done)
	}
}

// cost is what a schema costs by the value it looks at, what is below charged apart.
func (m *meter) cost(s *jsonschema.Schema, v any) int {
	switch v := v.(type) {
	case map[string]any:
		return len(v) * (1 + len(s.PatternProperties))
	case []any:
		if s.UniqueItems {
			return 2 * size(v)
		}
		return len(v)
	case string:
		return len(v) / 64
	}
	return 0
}

// size counts all values within one, texts by their length too.
func size(v any) int {
	n := 1
	switch v := v.(type) {
	case string:
		n += len(v) / 64
	case []any:
		for _, part := range v {
			n += size(part)
		}
	case map[string]any:
		for name, part := range v {
			n += size(part) + len(name)/64
		}
	}
	return n
}

// children are the schemas that one leads to.
func children(s *jsonschema.Schema) []*jsonschema.Schema {
	list := []*jsonschema.Schema{
		s.Ref, s.RecursiveRef, s.Not, s.If, s.Then, s.Else, s.PropertyNames, s.UnevaluatedProperties, s.Contains, s.Items2020,
		s.UnevaluatedItems, s.ContentSchema,
	}
	if s.DynamicRef != nil {
		list = append(list, s.DynamicRef.Ref)
	}
	for _, all := range [][]*jsonschema.Schema{s.AllOf, s.AnyOf, s.OneOf, s.PrefixItems} {
		list = append(list, all...)
	}
	for _, all := range []map[string]*jsonschema.Schema{s.Properties, s.DependentSchemas} {
		for _, next := range all {
			list = append(list, next)
		}
	}
	for _, next := range s.PatternProperties {
		list = append(list, next)
	}
	for _, next := range s.Dependencies {
		list = append(list, oneOrMany(next)...)
	}
	for _, next := range []any{s.AdditionalProperties, s.AdditionalItems, s.Items} {
		list = append(list, oneOrMany(next)...)
	}
	var there []*jsonschema.Schema
	for _, next := range list {
		if next != nil {
			there = append(there, next)
		}
	}
	return there
}

func oneOrMany(v any) []*jsonschema.Schema {
	switch v := v.(type) {
	case *jsonschema.Schema:
		return []*jsonschema.Schema{v}
	case []*jsonschema.Schema:
		return v
	}
	return nil
}
