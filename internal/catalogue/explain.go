package catalogue

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/posthorn/posthorn"
)

// maxViolations bounds what one answer names.
const maxViolations = 20

// violations are the places where a value breaks a schema, under a location.
func violations(location string, broken *jsonschema.ValidationError) error {
	x := explanation{location: location}
	x.add(broken)
	// The validator walks over properties in no order.
	slices.SortStableFunc([]posthorn.FieldError(x.v), func(a, b posthorn.FieldError) int { return cmp.Compare(a.Location, b.Location) })
	return x.v.Err()
}

type explanation struct {
	location string
	v        posthorn.Violations
}

// add goes down to the errors that say what is wrong, and stops where there are alternatives.
func (x *explanation) add(e *jsonschema.ValidationError) {
	if len(x.v) >= maxViolations {
		return
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		for _, cause := range e.Causes {
			x.add(cause)
		}
		if len(e.Causes) > 0 {
			return
		}
	case *kind.AnyOf:
		if meant := likeliest(e); meant != nil {
			x.add(meant)
			return
		}
	case *kind.OneOf:
		if meant := likeliest(e); meant != nil && len(k.Subschemas) == 0 {
			x.add(meant)
			return
		}
	case *kind.Required:
		x.names(e, k.Missing, "is required by the type's schema")
		return
	case *kind.DependentRequired:
		x.names(e, k.Missing, "is required beside "+shown(k.Prop)+" by the type's schema")
		return
	case *kind.Dependency:
		x.names(e, k.Missing, "is required beside "+shown(k.Prop)+" by the type's schema")
		return
	case *kind.AdditionalProperties:
		x.names(e, k.Properties, "is not a property that the type's schema knows")
		return
	}
	x.note(e.InstanceLocation, message(e.ErrorKind))
}

func (x *explanation) names(e *jsonschema.ValidationError, names []string, text string) {
	for _, name := range names {
		x.note(append(e.InstanceLocation[:len(e.InstanceLocation):len(e.InstanceLocation)], name), text)
	}
}

func (x *explanation) note(tokens []string, text string) {
	if len(x.v) < maxViolations {
		x.v.Add(x.location+place(tokens), "%s", text)
	}
}

// likeliest is the alternative that was meant: the only one that does not already fail at the value itself.
func likeliest(e *jsonschema.ValidationError) *jsonschema.ValidationError {
	var meant *jsonschema.ValidationError
	for _, cause := range e.Causes {
		if failsAt(cause, len(e.InstanceLocation)) {
			continue
		}
		if meant != nil {
			return nil
		}
		meant = cause
	}
	return meant
}

// failsAt reports whether a value of a depth is of the wrong type, or not one of those listed.
func failsAt(e *jsonschema.ValidationError, depth int) bool {
	switch e.ErrorKind.(type) {
	case *kind.Type, *kind.Enum, *kind.Const, *kind.FalseSchema:
		return len(e.InstanceLocation) == depth
	case *kind.Group, *kind.Reference, *kind.AllOf, *kind.Schema:
		for _, cause := range e.Causes {
			if failsAt(cause, depth) {
				return true
			}
		}
	}
	return false
}

// message says what would be right, by the schema alone: never what was there.
func message(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return "must be " + typeNames(k.Want)
	case *kind.Enum:
		return listed(k.Want)
	case *kind.Const:
		return listed([]any{k.Want})
	case *kind.Format:
		return "must be in the format " + k.Want
	case *kind.FalseSchema:
		return "is not allowed by the type's schema"
	case *kind.PropertyNames:
		return "has a property whose name the type's schema does not allow"
	case *kind.RefCycle:
		return "cannot be checked: the type's schema refers to itself without end"
	case *kind.Not:
		return "is what the type's schema excludes (not)"
	case *kind.AnyOf:
		return "must be one of the alternatives of the type's schema (anyOf)"
	case *kind.OneOf:
		return "must be exactly one of the alternatives of the type's schema (oneOf)"
	case *kind.UniqueItems:
		return "must not hold an item twice"
	case *kind.Contains:
		return "must hold an item that the type's schema asks for (contains)"
	case *kind.InvalidJsonValue:
		return "must be JSON"
	}
	if text := sizeMessage(k); text != "" {
		return text
	}
	if path := k.KeywordPath(); len(path) > 0 {
		return "must fulfil " + quoted(path[:1]) + " of the type's schema"
	}
	return "must fulfil the type's schema"
}

// sizeMessage is about what is too short, too long, too small or too large.
func sizeMessage(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Pattern:
		return "must match " + clipped(k.Want)
	case *kind.MinLength:
		return "must be at least " + plural(k.Want, "character")
	case *kind.MaxLength:
		return "must be at most " + plural(k.Want, "character")
	case *kind.MinItems:
		return "must have at least " + plural(k.Want, "item")
	case *kind.MaxItems:
		return "must have at most " + plural(k.Want, "item")
	case *kind.AdditionalItems:
		return "has more items than the type's schema knows"
	case *kind.MinProperties:
		return "must have at least " + plural(k.Want, "member")
	case *kind.MaxProperties:
		return "must have at most " + plural(k.Want, "member")
	case *kind.MinContains:
		return "must hold at least " + plural(k.Want, "item") + " that the type's schema asks for (contains)"
	case *kind.MaxContains:
		return "must hold at most " + plural(k.Want, "item") + " that the type's schema asks for (contains)"
	case *kind.Minimum:
		return "must be at least " + clipped(k.Want.RatString())
	case *kind.Maximum:
		return "must be at most " + clipped(k.Want.RatString())
	case *kind.ExclusiveMinimum:
		return "must be more than " + clipped(k.Want.RatString())
	case *kind.ExclusiveMaximum:
		return "must be less than " + clipped(k.Want.RatString())
	case *kind.MultipleOf:
		return "must be a multiple of " + clipped(k.Want.RatString())
	}
	return ""
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// maxShown bounds what a message repeats of the schema.
const maxShown = 120

func clipped(s string) string {
	if len(s) > maxShown {
		return strings.ToValidUTF8(s[:maxShown], "") + "…"
	}
	return s
}

// listed names the values a schema lists, if they are few and short.
func listed(values []any) string {
	texts := make([]string, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case nil:
			texts[i] = "null"
		case string:
			texts[i] = strconv.Quote(v)
		case map[string]any, []any:
			return "must be one of the values that the type's schema lists"
		default:
			texts[i] = fmt.Sprint(v)
		}
	}
	all := strings.Join(texts, ", ")
	if len(all) > maxShown {
		return "must be one of the values that the type's schema lists"
	}
	if len(texts) == 1 {
		return "must be " + all
	}
	return "must be one of " + all
}

func typeNames(types []string) string {
	names := map[string]string{
		"object": "an object", "array": "an array", "string": "a string", "number": "a number", "integer": "a whole number",
		"boolean": "true or false", "null": "null",
	}
	list := make([]string, len(types))
	for i, t := range types {
		if list[i] = names[t]; list[i] == "" {
			list[i] = t
		}
	}
	return strings.Join(list, " or ")
}
