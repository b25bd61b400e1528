package filter

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn"
)

// MaxPayload bounds the payloads that are looked into, in bytes; a filter that asks for a larger one fails.
const MaxPayload = 1 << 20

// Event is an event as filters see it. Its payload is read when a filter first asks for it, and once. It serves one
// goroutine at a time.
type Event struct {
	event   *posthorn.Event
	headers map[string]string
	payload any
}

// Of is the view of an event, which must not change while it is in use.
func Of(e *posthorn.Event) *Event { return &Event{event: e} }

// ResolveName gives a variable's value to an evaluation.
func (e *Event) ResolveName(name string) (any, bool) {
	switch name {
	case "type":
		return e.event.Type, true
	case "headers":
		if e.headers == nil {
			e.headers = lowered(e.event.Headers)
		}
		return e.headers, true
	case "payload":
		if e.payload == nil {
			e.payload = read(e.event.Payload)
		}
		return e.payload, true
	}
	return nil, false
}

// Parent is no further place to look for variables.
func (*Event) Parent() cel.Activation { return nil }

func lowered(headers map[string]string) map[string]string {
	lower := make(map[string]string, len(headers))
	for name, value := range headers {
		lower[strings.ToLower(name)] = value
	}
	return lower
}

// read is a payload as CEL's values, or as the error of every expression that asks for it.
func read(payload []byte) any {
	if len(payload) > MaxPayload {
		return types.NewErr("the payload is larger than the %d bytes that filters look into", MaxPayload)
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(payload), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	value, err := readValue(d)
	if err == nil {
		if _, end := d.ReadToken(); end == nil {
			err = errors.New("more than one value")
		}
	}
	if err != nil {
		return types.NewErr("the payload is not JSON")
	}
	return value
}

func readValue(d *jsontext.Decoder) (any, error) {
	token, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case jsontext.KindNull:
		return types.NullValue, nil
	case jsontext.KindTrue, jsontext.KindFalse:
		return token.Bool(), nil
	case jsontext.KindString:
		return token.String(), nil
	case jsontext.KindNumber:
		return number(token.String()), nil
	case jsontext.KindBeginArray:
		return readArray(d)
	default:
		return readObject(d)
	}
}

func readArray(d *jsontext.Decoder) (any, error) {
	list := []any{}
	for d.PeekKind() != jsontext.KindEndArray {
		value, err := readValue(d)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	_, err := d.ReadToken()
	return list, err
}

// readObject lets the last of the members with one name count, as most readers of JSON do.
func readObject(d *jsontext.Decoder) (any, error) {
	object := map[string]any{}
	for d.PeekKind() != jsontext.KindEndObject {
		token, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		name := token.String()
		if object[name], err = readValue(d); err != nil {
			return nil, err
		}
	}
	_, err := d.ReadToken()
	return object, err
}

// exact is how far a double holds every whole number.
const exact = 1 << 53

// number is a double, as CEL reads JSON, but for whole numbers that a double cannot hold: those are ids, and must be
// compared exactly.
func number(text string) any {
	if whole, err := strconv.ParseInt(text, 10, 64); err == nil && (whole > exact || whole < -exact) {
		return whole
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil && !math.IsInf(value, 0) {
		return types.NewErr("the payload has a number that cannot be read")
	}
	return value
}
