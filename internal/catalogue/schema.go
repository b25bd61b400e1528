package catalogue

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/posthorn/posthorn"
)

const (
	// maxPattern and maxProgram bound a regular expression: its text, and what it compiles to.
	maxPattern = 1024
	maxProgram = 2000
	// schemaURL is what a schema is called inside; references resolve against it.
	schemaURL = "https://schema.invalid/type"
)

// Schema is a compiled JSON Schema. It may be used by many at once, which take turns: its meter is one.
type Schema struct {
	mu    sync.Mutex
	root  *jsonschema.Schema
	meter *meter
}

// refuse is the loader of schemas: there are none but the embedded ones of JSON Schema itself, which it is not asked for.
type refuse struct{}

var errRemote = errors.New("schemas elsewhere are not loaded")

func (refuse) Load(string) (any, error) { return nil, errRemote }

// Compile reads a JSON Schema: draft 2020-12 unless its $schema names 2019-09, 7, 6 or 4. Formats are checked. The error is
// Invalid, its places under a location.
func Compile(location string, text []byte) (*Schema, error) {
	if len(text) > posthorn.MaxSchemaBytes {
		return nil, invalid(location, fmt.Sprintf("must be at most %d bytes", posthorn.MaxSchemaBytes))
	}
	document, err := read(text, maxSchemaDepth, maxSchemaValues)
	if err != nil {
		return nil, unread(location, err)
	}
	switch document.(type) {
	case bool, map[string]any:
	default:
		return nil, invalid(location, "must be a JSON Schema: an object, or true or false")
	}
	if name := dynamic(document); name != "" {
		return nil, invalid(location, name+" is not known here; use $ref and $defs")
	}
	m := &meter{}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(refuse{})
	c.UseRegexpEngine(m.pattern)
	if err := c.AddResource(schemaURL, document); err != nil {
		return nil, invalid(location, "must be a JSON Schema")
	}
	root, err := c.Compile(schemaURL)
	if err != nil {
		return nil, explainCompile(location, err)
	}
	m.install(root, map[*jsonschema.Schema]bool{})
	return &Schema{root: root, meter: m}, nil
}

// dynamic finds a keyword that resolves while validating: those need the whole scope, which the meter cannot see.
func dynamic(v any) string {
	switch v := v.(type) {
	case []any:
		for _, part := range v {
			if name := dynamic(part); name != "" {
				return name
			}
		}
	case map[string]any:
		for _, name := range []string{"$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"} {
			if _, ok := v[name]; ok {
				return name
			}
		}
		for _, part := range v {
			if name := dynamic(part); name != "" {
				return name
			}
		}
	}
	return ""
}

func unread(location string, err error) error {
	p, ok := errors.AsType[*problem](err)
	if !ok {
		return invalid(location, "must be JSON (RFC 8259)")
	}
	return invalid(location+p.location, p.message)
}

// explainCompile says what is wrong with a schema, and where.
func explainCompile(location string, err error) error {
	if e, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		if broken, ok := errors.AsType[*jsonschema.ValidationError](e.Err); ok {
			return violations(location, broken)
		}
	}
	if e, ok := errors.AsType[*jsonschema.LoadURLError](err); ok && errors.Is(e.Err, errRemote) {
		return invalid(location, "must not refer to schemas elsewhere, which are not loaded; put them into $defs")
	}
	if _, ok := errors.AsType[*jsonschema.UnsupportedDraftError](err); ok {
		return invalid(location+".$schema", "must be a draft from 4 to 2020-12")
	}
	if _, ok := errors.AsType[*jsonschema.JSONPointerNotFoundError](err); ok {
		return invalid(location, "has a $ref to something that is not in it")
	}
	if _, ok := errors.AsType[*jsonschema.AnchorNotFoundError](err); ok {
		return invalid(location, "has a $ref to an anchor that is not in it")
	}
	if _, ok := errors.AsType[*jsonschema.InvalidRegexError](err); ok {
		return invalid(location, "has a regular expression that cannot be used: "+patternRule)
	}
	return invalid(location, "must be a JSON Schema that can be compiled")
}

const patternRule = "at most 1024 characters of RE2 syntax, without look-around or back-references"

var errPattern = errors.New(patternRule)

// pattern compiles a regular expression whose use is charged.
func (m *meter) pattern(text string) (jsonschema.Regexp, error) {
	if len(text) > maxPattern {
		return nil, errPattern
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, errPattern
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil || len(program.Inst) > maxProgram {
		return nil, errPattern
	}
	compiled, err := regexp.Compile(text)
	if err != nil {
		return nil, errPattern
	}
	return &meteredPattern{compiled, m, 1 + len(program.Inst)/4}, nil
}

// meteredPattern is a regular expression and what a look at 8 bytes by it costs.
type meteredPattern struct {
	*regexp.Regexp
	meter *meter
	cost  int
}

// MatchString charges and matches.
func (p *meteredPattern) MatchString(s string) bool {
	p.meter.charge((len(s) + 8) / 8 * p.cost)
	return p.Regexp.MatchString(s)
}

// Check says where a payload breaks the schema: nil, or an Invalid error whose places are under a location. It never
// repeats a value. It takes time in proportion to the payload, whatever the schema: one that asks for more is refused.
func (s *Schema) Check(location string, payload []byte) error {
	value, err := read(payload, maxPayloadDepth, 0)
	if err != nil {
		return unread(location, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.check(location, value, len(payload))
}

func (s *Schema) check(location string, value any, size int) (err error) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case any(errSpent):
			err = invalid(location, errSpent.Error())
		default:
			panic(v)
		}
	}()
	s.meter.left = budget(size)
	if e, ok := errors.AsType[*jsonschema.ValidationError](s.root.Validate(value)); ok {
		return violations(location, e)
	}
	return nil
}

// quoted are names with commas between.
func quoted(names []string) string {
	list := make([]string, len(names))
	for i, n := range names {
		list[i] = shown(n)
	}
	return strings.Join(list, ", ")
}
