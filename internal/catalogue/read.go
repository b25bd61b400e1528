package catalogue

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn"
)

const (
	// maxPayloadDepth bounds a payload's nesting: validation recurses that deep.
	maxPayloadDepth = 512
	// maxSchemaDepth and maxSchemaValues bound a schema's document: compiling looks through its subschemas over and over.
	maxSchemaDepth  = 64
	maxSchemaValues = 5000
	// maxDigits bounds numbers, which are compared exactly: 1e999999999 would be written out.
	maxDigits = 400
)

// reader turns JSON into the values that schemas look at: maps, lists, strings, json.Number, booleans and nil.
type reader struct {
	json   *jsontext.Decoder
	depth  int
	values int
	most   int
}

// problem is why a text is not read, with its place.
type problem struct{ location, message string }

func (p *problem) Error() string { return p.location + " " + p.message }

// read reads one JSON text. A name that stands twice is refused: what is checked must be what a receiver reads.
func read(text []byte, depth, values int) (any, error) {
	r := reader{json: jsontext.NewDecoder(bytes.NewReader(text)), depth: depth, most: values}
	v, err := r.value()
	if err == nil {
		if _, end := r.json.ReadToken(); errors.Is(end, io.EOF) {
			return v, nil
		}
		err = &problem{message: "must be one JSON value and nothing after it"}
	}
	if p, ok := errors.AsType[*problem](err); ok {
		return nil, p
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		e, _ := errors.AsType[*jsontext.SyntacticError](err)
		return nil, &problem{pointer(e.JSONPointer), "stands twice in its object"}
	}
	return nil, &problem{message: "must be JSON (RFC 8259)"}
}

func (r *reader) fail(message string) error {
	return &problem{pointer(r.json.StackPointer()), message}
}

func (r *reader) value() (any, error) {
	if r.values++; r.most > 0 && r.values > r.most {
		return nil, &problem{message: "must have at most " + strconv.Itoa(r.most) + " values"}
	}
	token, err := r.json.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case jsontext.KindNull:
		return nil, nil
	case jsontext.KindTrue, jsontext.KindFalse:
		return token.Bool(), nil
	case jsontext.KindString:
		return token.String(), nil
	case jsontext.KindNumber:
		number := token.String()
		if !bounded(number) {
			return nil, r.fail("is a number of more digits than can be checked")
		}
		return json.Number(number), nil
	}
	if r.json.StackDepth() > r.depth {
		return nil, r.fail("nests deeper than " + strconv.Itoa(r.depth) + " levels")
	}
	if token.Kind() == jsontext.KindBeginArray {
		return r.array()
	}
	return r.object()
}

func (r *reader) array() (any, error) {
	list := []any{}
	for r.json.PeekKind() != jsontext.KindEndArray {
		v, err := r.value()
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := r.json.ReadToken()
	return list, err
}

func (r *reader) object() (any, error) {
	object := map[string]any{}
	for r.json.PeekKind() != jsontext.KindEndObject {
		token, err := r.json.ReadToken()
		if err != nil {
			return nil, err
		}
		name := token.String()
		if object[name], err = r.value(); err != nil {
			return nil, err
		}
	}
	_, err := r.json.ReadToken()
	return object, err
}

// bounded reports whether a number can be written out in maxDigits.
func bounded(number string) bool {
	mantissa, exponent := number, ""
	if i := strings.IndexAny(number, "eE"); i >= 0 {
		mantissa, exponent = number[:i], number[i+1:]
	}
	if len(mantissa) > maxDigits {
		return false
	}
	if exponent == "" {
		return true
	}
	e, err := strconv.Atoi(exponent)
	return err == nil && e >= -maxDigits && e <= maxDigits
}

// pointer turns a JSON pointer into the notation of locations: /items/0/id is .items[0].id.
func pointer(p jsontext.Pointer) string {
	var tokens []string
	for token := range p.Tokens() {
		tokens = append(tokens, token)
	}
	return place(tokens)
}

// maxPlace bounds a location: a payload's names may be as long as the payload.
const maxPlace = 512

func place(tokens []string) string {
	var b strings.Builder
	for _, token := range tokens {
		if b.Len() > maxPlace {
			b.WriteString(".…")
			break
		}
		if _, err := strconv.ParseUint(token, 10, 24); err == nil {
			b.WriteString("[" + token + "]")
			continue
		}
		b.WriteString("." + shown(token))
	}
	return b.String()
}

// shown is a name from a payload, fit to be repeated: short and printable.
func shown(name string) string {
	if len(name) > 64 {
		name = name[:64]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, name)
}

// invalid is the error about one place.
func invalid(location, message string) error {
	var v posthorn.Violations
	v.Add(location, "%s", message)
	return v.Err()
}
