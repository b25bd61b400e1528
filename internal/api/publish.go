package api

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn"
)

// maxNesting bounds the depth of a payload: deeper ones break the receivers' parsers before they mean anything. One that comes in
// base64, or from a provider, is not looked into; where it is deeper it is not shown as JSON, lest it break those of our clients.
const maxNesting = 512

const idempotencyHeader = "Idempotency-Key"

// eventInput documents the body of a publish; reading it is decodeEvent's, for the payload's sake.
type eventInput struct {
	Type           string            `json:"type" required:"true" maxLength:"128" pattern:"^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$" example:"order.created" doc:"Segments of letters, digits, _ and - joined by dots. posthorn.… is reserved."`
	Payload        any               `json:"payload,omitempty" doc:"Any JSON, delivered byte for byte as it stands here: spacing, number formats and key order included."`
	PayloadBase64  string            `json:"payload_base64,omitempty" doc:"A payload that is not JSON, in base64 (RFC 4648, section 4). Instead of payload."`
	ContentType    string            `json:"content_type,omitempty" maxLength:"255" doc:"Sent as Content-Type; application/json by default."`
	IdempotencyKey string            `json:"idempotency_key,omitempty" maxLength:"255" doc:"Publishing again with the same key and content gives the original answer, with other content 409. Kept for the retention. May be the Idempotency-Key header instead."`
	Headers        map[string]string `json:"headers,omitempty" doc:"Sent with every delivery of this event."`
	OrderingKey    string            `json:"ordering_key,omitempty" maxLength:"255" doc:"Narrows the order of fifo subscriptions to the events that share it."`
	DeliverAt      *time.Time        `json:"deliver_at,omitempty" doc:"Not before this time."`
	ExpiresAt      *time.Time        `json:"expires_at,omitempty" doc:"What is still pending then is cancelled."`
}

// The fields of an event's envelope, to notice those that stand twice.
const (
	fieldType = 1 << iota
	fieldPayload
	fieldPayloadBase64
	fieldContentType
	fieldIdempotencyKey
	fieldHeaders
	fieldOrderingKey
	fieldDeliverAt
	fieldExpiresAt
)

// eventDecoder reads an event's envelope in one pass, without looking into the payload more than JSON's grammar needs:
// names that stand twice, odd spacing, huge numbers and lone surrogates in it are the producer's own business.
type eventDecoder struct {
	json  *jsontext.Decoder
	place string
	seen  int
	v     posthorn.Violations
}

// decodeEvent reads one event. Place is where it stands in the body: "body", or "body.events[3]". The text must have
// passed checkText. The event shares nothing with the text.
func decodeEvent(text []byte, place string, maxPayload int) (*posthorn.Event, error) {
	d := eventDecoder{
		json:  jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)),
		place: place,
	}
	e := &posthorn.Event{ContentType: posthorn.DefaultContentType}
	if err := d.object(e); err != nil {
		return nil, err
	}
	if d.seen&(fieldPayload|fieldPayloadBase64) == 0 {
		d.refuse("payload", "is required: any JSON, or payload_base64 for what is not JSON")
	}
	if d.seen&fieldType == 0 {
		d.refuse("type", "is required")
	}
	if len(d.v) > 0 {
		return nil, further(d.v.Err(), under(place, e.Validate()))
	}
	if len(e.Payload) > maxPayload {
		return nil, posthorn.NewError(posthorn.TooLarge,
			"the payload is larger than the limit of %d bytes; send a link to the data instead", maxPayload)
	}
	return e, nil
}

func (d *eventDecoder) refuse(name, message string) { d.v.Add(d.place+"."+name, "%s", message) }

// object reads the envelope. An error means that the text is no JSON object; what is wrong with fields is in d.v.
func (d *eventDecoder) object(e *posthorn.Event) error {
	if k := d.json.PeekKind(); k != jsontext.KindBeginObject && k != jsontext.KindInvalid {
		return posthorn.NewError(posthorn.Malformed, "an event must be a JSON object")
	}
	if _, err := d.json.ReadToken(); err != nil {
		return syntax(err)
	}
	for d.json.PeekKind() == jsontext.KindString {
		name, err := d.json.ReadToken()
		if err != nil {
			return syntax(err)
		}
		if err := d.member(name.String(), e); err != nil {
			return err
		}
	}
	return endObject(d.json)
}

func (d *eventDecoder) member(name string, e *posthorn.Event) error {
	switch name {
	case "type":
		return d.text(name, fieldType, &e.Type)
	case "payload":
		value, err := d.value(name, fieldPayload)
		if err == nil {
			e.Payload = bytes.Clone(value)
		}
		return err
	case "payload_base64":
		return d.base64(name, e)
	case "content_type":
		return d.text(name, fieldContentType, &e.ContentType)
	case "idempotency_key":
		return d.text(name, fieldIdempotencyKey, &e.IdempotencyKey)
	case "ordering_key":
		return d.text(name, fieldOrderingKey, &e.OrderingKey)
	case "headers":
		return d.headers(name, e)
	case "deliver_at":
		return d.time(name, fieldDeliverAt, &e.DeliverAt)
	case "expires_at":
		return d.time(name, fieldExpiresAt, &e.ExpiresAt)
	}
	d.refuse(shown(name), unknownField(name, fieldsOf(reflect.TypeFor[eventInput]())))
	return d.skip()
}

func (d *eventDecoder) skip() error {
	if err := d.json.SkipValue(); err != nil {
		return syntax(err)
	}
	return nil
}

// value reads a field's raw value, which lives until the next one is read, and notes that it stood there.
func (d *eventDecoder) value(name string, bit int) (jsontext.Value, error) {
	if d.seen&bit != 0 {
		d.refuse(name, "stands twice")
	}
	d.seen |= bit
	value, err := d.json.ReadValue()
	if err != nil {
		return nil, syntax(err)
	}
	if d.seen&(fieldPayload|fieldPayloadBase64) == fieldPayload|fieldPayloadBase64 && bit&(fieldPayload|fieldPayloadBase64) != 0 {
		d.refuse(name, "must not stand beside the other form of the payload; send payload or payload_base64")
	}
	return value, nil
}

func (d *eventDecoder) text(name string, bit int, into *string) error {
	value, err := d.value(name, bit)
	if err != nil {
		return err
	}
	if value.Kind() != jsontext.KindString {
		d.refuse(name, "must be a string")
		return nil
	}
	if bytes.IndexByte(value, '\\') < 0 {
		*into = string(value[1 : len(value)-1])
		return nil
	}
	text, err := jsontext.AppendUnquote(nil, value)
	if err != nil {
		d.refuse(name, "must be text without lone surrogates")
		return nil
	}
	*into = string(text)
	return nil
}

func (d *eventDecoder) base64(name string, e *posthorn.Event) error {
	var text string
	before := len(d.v)
	if err := d.text(name, fieldPayloadBase64, &text); err != nil || len(d.v) > before {
		return err
	}
	payload, err := base64.StdEncoding.Strict().DecodeString(text)
	// The library skips line breaks, which are no part of it (RFC 4648, section 3.3).
	if err != nil || strings.ContainsAny(text, "\r\n") {
		d.refuse(name, "must be base64 with padding and without line breaks (RFC 4648, section 4)")
		return nil
	}
	e.Payload = payload
	return nil
}

func (d *eventDecoder) headers(name string, e *posthorn.Event) error {
	value, err := d.value(name, fieldHeaders)
	if err != nil {
		return err
	}
	if value.Kind() != jsontext.KindBeginObject {
		d.refuse(name, "must be an object of strings")
		return nil
	}
	if err := decodeValue(value, &e.Headers); err != nil {
		location, message := explainDecode(err)
		d.refuse(name+location, message)
	}
	return nil
}

func (d *eventDecoder) time(name string, bit int, into *time.Time) error {
	value, err := d.value(name, bit)
	if err != nil {
		return err
	}
	if decodeValue(value, into) != nil {
		d.refuse(name, "must be "+wanted(reflect.TypeFor[time.Time]()))
	}
	return nil
}

// headerKey gives an event the key of the request's header, which must not contradict the field.
func headerKey(header http.Header, e *posthorn.Event) error {
	const location = "header." + idempotencyHeader
	keys := header[idempotencyHeader]
	switch {
	case len(keys) == 0 || len(keys) == 1 && keys[0] == "":
		return nil
	case len(keys) > 1:
		return invalid(location, "must be given once")
	}
	if fault := posthorn.CheckIdempotencyKey(keys[0]); fault != "" {
		return invalid(location, "%s", fault)
	}
	if e.IdempotencyKey != "" && e.IdempotencyKey != keys[0] {
		return invalid(location, "differs from idempotency_key in the body; send one of the two")
	}
	e.IdempotencyKey = keys[0]
	return nil
}

// splitBatch reads {"events": […]} and leaves each event raw; the values live as long as the body.
func splitBatch(body []byte) ([]jsontext.Value, error) {
	if err := checkText(body, maxNesting+3); err != nil {
		return nil, err
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if k := d.PeekKind(); k != jsontext.KindBeginObject && k != jsontext.KindInvalid {
		return nil, posthorn.NewError(posthorn.Malformed, "the body must be a JSON object like {\"events\": […]}")
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, syntax(err)
	}
	var v posthorn.Violations
	var events []jsontext.Value
	seen := false
	for d.PeekKind() == jsontext.KindString {
		name, err := d.ReadToken()
		if err != nil {
			return nil, syntax(err)
		}
		if key := name.String(); key != "events" {
			v.Add("body."+shown(key), "is not a field here; known is events")
		} else if seen {
			v.Add("body.events", "stands twice")
		} else if seen = true; d.PeekKind() == jsontext.KindBeginArray {
			if events, err = readArray(d, &v); err != nil {
				return nil, err
			}
			continue
		} else {
			v.Add("body.events", "must be an array of events")
		}
		if err := d.SkipValue(); err != nil {
			return nil, syntax(err)
		}
	}
	if err := endObject(d); err != nil {
		return nil, err
	}
	if len(v) == 0 && len(events) == 0 {
		v.Add("body.events", "must have from 1 to %d events", posthorn.MaxBatchEvents)
	}
	return events, v.Err()
}

func readArray(d *jsontext.Decoder, v *posthorn.Violations) ([]jsontext.Value, error) {
	if _, err := d.ReadToken(); err != nil {
		return nil, syntax(err)
	}
	var list []jsontext.Value
	for d.PeekKind() != jsontext.KindEndArray {
		value, err := d.ReadValue()
		if err != nil {
			return nil, syntax(err)
		}
		if len(list) == posthorn.MaxBatchEvents {
			v.Add("body.events", "must have at most %d events; send the rest in another request", posthorn.MaxBatchEvents)
			return nil, v.Err()
		}
		list = append(list, value)
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, syntax(err)
	}
	return list, nil
}

// endObject reads the end of the body's object, after which nothing may come.
func endObject(d *jsontext.Decoder) error {
	if _, err := d.ReadToken(); err != nil {
		return syntax(err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return posthorn.NewError(posthorn.Malformed, "something follows the JSON object; send one object alone")
	}
	return nil
}
