package api

import (
	"bytes"
	"encoding"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/signing"
)

// decode reads a body into a struct as strictly as JSON allows: one object in UTF-8 and nothing after it, no name
// twice, none unknown or in other letter case, no null where a value is needed, no NUL in text. Every field is tried,
// so that one answer names all that is wrong. `required:"true"` fields must be there.
func decode(body []byte, into any) error {
	fields, err := splitObject(body)
	if err != nil {
		return err
	}
	return assign(fields, into)
}

// member is one name of an object with its raw value.
type member struct {
	name  string
	value jsontext.Value
}

// splitObject reads the outermost object of a body without looking into its values.
func splitObject(body []byte) ([]member, error) {
	if err := checkEmpty(body); err != nil {
		return nil, err
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(body))
	if k := d.PeekKind(); k != jsontext.BeginObject.Kind() && k != jsontext.KindInvalid {
		return nil, posthorn.NewError(posthorn.Malformed, "the body must be a JSON object")
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, syntax(err)
	}
	var list []member
	for d.PeekKind() == jsontext.KindString {
		name, err := d.ReadToken()
		if err != nil {
			return nil, syntax(err)
		}
		// Read before the next value moves the buffer.
		m := member{name: name.String()}
		value, err := d.ReadValue()
		if err != nil {
			return nil, syntax(err)
		}
		m.value = value.Clone()
		list = append(list, m)
	}
	return list, endObject(d)
}

// assign gives each member to the struct's field of its name, and collects what is wrong.
func assign(members []member, into any) error {
	target := reflect.ValueOf(into).Elem()
	fields := fieldsOf(target.Type())
	var v posthorn.Violations
	given := make(map[string]bool, len(members))
	for _, m := range members {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == m.name })
		if i < 0 {
			v.Add("body."+shown(m.name), "%s", unknownField(m.name, fields))
			continue
		}
		given[m.name] = true
		if m.value.Kind() == jsontext.KindNull && !fields[i].nullable {
			v.Add("body."+m.name, "must be %s, not null", strings.TrimSuffix(wanted(fields[i].of), " or null"))
			continue
		}
		if err := decodeValue(m.value, target.FieldByIndex(fields[i].index).Addr().Interface()); err != nil {
			location, message := explainDecode(err)
			v.Add("body."+m.name+location, "%s", message)
		}
	}
	for _, f := range fields {
		if f.required && !given[f.name] {
			v.Add("body."+f.name, "is required")
		}
	}
	return v.Err()
}

// field of a struct that a body is read into. Its tag `null:"ok"` admits null.
type field struct {
	name               string
	index              []int
	of                 reflect.Type
	required, nullable bool
}

func fieldsOf(t reflect.Type) []field {
	list := make([]field, 0, t.NumField())
	for f := range t.Fields() {
		if f.Anonymous {
			for _, inner := range fieldsOf(f.Type) {
				inner.index = append(slices.Clone(f.Index), inner.index...)
				list = append(list, inner)
			}
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		list = append(list, field{name, f.Index, f.Type, f.Tag.Get("required") == "true", f.Tag.Get("null") == "ok"})
	}
	return list
}

func unknownField(name string, fields []field) string {
	known := make([]string, len(fields))
	for i, f := range fields {
		if strings.EqualFold(f.name, name) {
			return "is not a field here; names are case-sensitive, and it is spelt " + f.name
		}
		known[i] = f.name
	}
	return "is not a field here; known are " + strings.Join(known, ", ")
}

// refused is why a value was not decoded, in words for the client.
type refused string

func (r refused) Error() string { return string(r) }

// strict looks at every value, however deep, before it is decoded.
func strict(d *jsontext.Decoder, v any) error {
	t := reflect.TypeOf(v).Elem()
	switch d.PeekKind() {
	case jsontext.KindNull:
		if t.Kind() != reflect.Pointer {
			return refused("must be " + wanted(t) + ", not null")
		}
	case jsontext.KindString:
		if t.Kind() == reflect.String {
			return decodeText(d, reflect.ValueOf(v).Elem())
		}
		switch into := v.(type) {
		case *time.Time:
			return decodeMoment(d, into)
		case identifier:
			return decodeID(d, into)
		}
	}
	return errors.ErrUnsupported
}

// decodeMoment refuses times that could not be shown again, and the zero time, which would be as if the field were not there.
func decodeMoment(d *jsontext.Decoder, into *time.Time) error {
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	t, ok := readMoment([]byte(token.String()))
	if !ok {
		return refused("must be " + wanted(reflect.TypeFor[time.Time]()))
	}
	*into = t
	return nil
}

// readMoment reads a time (RFC 3339) of the years from 1970 to 9999, in UTC too: others have no such form (section 5.6).
func readMoment(text []byte) (t time.Time, ok bool) {
	err := t.UnmarshalText(text)
	year := t.UTC().Year()
	return t, err == nil && year >= 1970 && year <= 9999
}

// identifier is an id of any kind. It reads itself, the empty text too, as none.
type identifier interface {
	encoding.TextUnmarshaler
	Prefix() string
}

// decodeID refuses the empty text: a filter by it would be none.
func decodeID(d *jsontext.Decoder, into identifier) error {
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	text := token.String()
	if text == "" {
		return refused("must not be empty; leave it out where there is none")
	}
	if into.UnmarshalText([]byte(text)) != nil {
		return refused("must be an id like " + into.Prefix() + "…")
	}
	return nil
}

// decodeText refuses NUL, which no header, URL or database text can hold, and the empty text where one of several words is
// wanted: that would be as if the field were not there.
func decodeText(d *jsontext.Decoder, into reflect.Value) error {
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	text := token.String()
	if text == "" && into.Type() == reflect.TypeFor[secretText]() {
		return refused(signing.ErrSecretForm.Error())
	}
	if text == "" && into.Type() != reflect.TypeFor[string]() {
		return refused("must not be empty; leave it out for the default")
	}
	if strings.IndexByte(text, 0) >= 0 {
		return refused("must not contain NUL characters")
	}
	into.SetString(text)
	return nil
}

func decodeValue(value jsontext.Value, into any) error {
	return json.Unmarshal(value, into, json.RejectUnknownMembers(true), json.WithUnmarshalers(json.UnmarshalFromFunc(strict)))
}

// explainDecode says where within a field decoding failed and what would be right, never what was there.
func explainDecode(err error) (location, message string) {
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return place(e.JSONPointer), "stands twice in its object"
		}
		return place(e.JSONPointer), "is not valid JSON"
	}
	e, ok := errors.AsType[*json.SemanticError](err)
	if !ok {
		return "", "cannot be read"
	}
	if r, ok := errors.AsType[refused](err); ok {
		return place(e.JSONPointer), string(r)
	}
	if errors.Is(err, json.ErrUnknownName) {
		return place(e.JSONPointer), "is not a field here; known are " + strings.Join(fieldNames(e.GoType), ", ")
	}
	return place(e.JSONPointer), "must be " + wanted(e.GoType)
}

func fieldNames(t reflect.Type) []string {
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	var list []string
	for _, f := range fieldsOf(t) {
		list = append(list, f.name)
	}
	return list
}

// wanted names the JSON a type is read from.
func wanted(t reflect.Type) string {
	switch {
	case t == nil:
		return "another value"
	case t == reflect.TypeFor[time.Time]():
		return "a time like 2026-01-31T09:30:00Z (RFC 3339)"
	}
	if id, ok := reflect.New(t).Interface().(identifier); ok {
		return "an id like " + id.Prefix() + "…"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem()) + " or null"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "an array"
	}
	return "an object"
}

// place turns a JSON pointer into the notation of locations: /retry/schedule/0 is .retry.schedule[0].
func place(p jsontext.Pointer) string {
	var b strings.Builder
	for token := range p.Tokens() {
		if _, err := strconv.ParseUint(token, 10, 16); err == nil {
			b.WriteString("[" + token + "]")
			continue
		}
		b.WriteString("." + shown(token))
	}
	return b.String()
}

// syntax is the error for a body that is not JSON, with where it went wrong.
func syntax(err error) error {
	e, ok := errors.AsType[*jsontext.SyntacticError](err)
	if !ok {
		return posthorn.NewError(posthorn.Malformed, "the body is not valid JSON")
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return invalid("body"+place(e.JSONPointer), "stands twice in its object")
	}
	return &posthorn.Error{Kind: posthorn.Malformed, Message: "the body is not valid JSON (RFC 8259), from byte " +
		strconv.FormatInt(e.ByteOffset, 10) + " on"}
}

func checkEmpty(body []byte) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return posthorn.NewError(posthorn.Malformed, "the body is empty; send a JSON object")
	}
	return nil
}

// checkText refuses bodies that are empty, are not UTF-8 or nest too deep, in one pass.
func checkText(body []byte, depth int) error {
	if err := checkEmpty(body); err != nil {
		return err
	}
	if !utf8.Valid(body) {
		return posthorn.NewError(posthorn.Malformed, "the body is not valid UTF-8; send other payloads as payload_base64")
	}
	if nesting(body) > depth {
		return posthorn.NewError(posthorn.Malformed, "the body nests deeper than %d levels", depth)
	}
	return nil
}

// nesting is how deep the objects and arrays of a JSON text nest.
func nesting(text []byte) int {
	depth, deepest := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i += textEnd(text[i+1:]) + 1
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			depth--
		}
	}
	return deepest
}

// textEnd is where a JSON string ends whose opening quote was just before, or the length of the rest.
func textEnd(rest []byte) int {
	for i := 0; ; i++ {
		quote := bytes.IndexByte(rest[i:], '"')
		if quote < 0 {
			return len(rest)
		}
		i += quote
		escapes := i
		for escapes > 0 && rest[escapes-1] == '\\' {
			escapes--
		}
		if (i-escapes)%2 == 0 {
			return i
		}
	}
}
