package api

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/posthorn/posthorn"
)

func TestPayloadIsKeptByteForByte(t *testing.T) {
	for name, payload := range map[string]string{
		"OddSpacing":    "{ \"b\" :1.0,\t\"a\":-0 ,\n\n \"c\" : [ ] }",
		"BigNumbers":    `{"n":123456789012345678901234567890.000,"e":1E+400,"z":-0.0}`,
		"RepeatedKeys":  `{"a":1,"a":2,"a":{"a":1,"a":1}}`,
		"Unicode":       `{"ключ":"значение \u0416 😀"}`,
		"LoneSurrogate": `{"a":"\ud800","\udc00":1}`,
		"Escapes":       `"\u002f\/\b\u0000"`,
		"Null":          `null`,
		"Number":        `12.50`,
		"Text":          `"just text"`,
		"Deep":          strings.Repeat("[", 500) + strings.Repeat("]", 500),
	} {
		t.Run(name, func(t *testing.T) {
			body := []byte(`{"type":"a.b","payload":` + payload + `,"ordering_key":"k"}`)
			if err := checkText(body, maxNesting+1); err != nil {
				t.Fatal(err)
			}
			e, err := decodeEvent(body, "body", 1<<20)
			if err != nil {
				t.Fatal(faults(err))
			}
			// The body's buffer is used again while the event lives on.
			clear(body)
			if string(e.Payload) != payload || e.OrderingKey != "k" || e.Type != "a.b" {
				t.Errorf("read %q", e.Payload)
			}
		})
	}
}

func TestDecodeEvent(t *testing.T) {
	e, err := decodeEvent([]byte(`{"type":"a","payload_base64":"/wA=","content_type":"application/octet-stream","idempotency_key":"k-1",
		"headers":{"X-A":"b"},"deliver_at":"2026-01-31T09:30:00Z","expires_at":"2026-02-01T00:00:00.5Z"}`), "body", 10)
	if err != nil {
		t.Fatal(faults(err))
	}
	if string(e.Payload) != "\xff\x00" || e.ContentType != "application/octet-stream" || e.IdempotencyKey != "k-1" ||
		e.Headers["X-A"] != "b" || e.DeliverAt.Hour() != 9 || e.ExpiresAt.Nanosecond() != 5e8 {
		t.Errorf("read %+v", e)
	}
}

func TestDecodeEventRefuses(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"Array", `[]`, "400 an event must be a JSON object"},
		{"Truncated", `{"type":"a","payload":{"a":`, "400 the body is not valid JSON (RFC 8259), from byte 27 on"},
		{"Nothing", `{}`, "422\nbody.payload is required: any JSON, or payload_base64 for what is not JSON\nbody.type is required"},
		{"Twice", `{"type":"a","payload":1,"type":"b"}`, "422\nbody.type stands twice"},
		{"PayloadTwice", `{"type":"a","payload":1,"payload":2}`, "422\nbody.payload stands twice"},
		{"BothPayloads", `{"type":"a","payload":1,"payload_base64":"AA=="}`, "422\nbody.payload_base64 must not stand beside the other form of the payload; send payload or payload_base64"},
		{"NullType", `{"type":null,"payload":1}`, "422\nbody.type must be a string"},
		{"OtherCase", `{"Type":"a","payload":1}`, "422\nbody.Type is not a field here; names are case-sensitive, and it is spelt type\nbody.type is required"},
		{"Base64", `{"type":"a","payload_base64":"AA"}`, "422\nbody.payload_base64 must be base64 with padding and without line breaks (RFC 4648, section 4)"},
		{"Base64Lines", `{"type":"a","payload_base64":"AA\r\nAA"}`, "422\nbody.payload_base64 must be base64 with padding and without line breaks (RFC 4648, section 4)"},
		{"Base64LastLine", `{"type":"a","payload_base64":"AAAA\n"}`, "422\nbody.payload_base64 must be base64 with padding and without line breaks (RFC 4648, section 4)"},
		{"Headers", `{"type":"a","payload":1,"headers":{"A":1}}`, "422\nbody.headers.A must be a string"},
		{"HeadersTwice", `{"type":"a","payload":1,"headers":{"A":"1","A":"2"}}`, "422\nbody.headers.A stands twice in its object"},
		{"TimeOfYear10000", `{"type":"a","payload":1,"expires_at":"9999-12-31T23:59:59-05:00"}`, "422\nbody.expires_at must be a time like 2026-01-31T09:30:00Z (RFC 3339)"},
		{"Time", `{"type":"a","payload":1,"deliver_at":"9999999-01-01T00:00:00Z"}`, "422\nbody.deliver_at must be a time like 2026-01-31T09:30:00Z (RFC 3339)"},
		{"After", `{"type":"a","payload":1} 2`, "400 something follows the JSON object; send one object alone"},
		{"TooLarge", `{"type":"a","payload":"12345678901"}`, "413 the payload is larger than the limit of 12 bytes; send a link to the data instead"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := decodeEvent([]byte(test.body), "body", 12)
			if got := faults(err); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func TestCheckText(t *testing.T) {
	deep := []byte(`{"type":"a","payload":` + strings.Repeat("[", 513) + strings.Repeat("]", 513) + "}")
	if got := faults(checkText(deep, maxNesting+1)); got != "400 the body nests deeper than 513 levels" {
		t.Error(got)
	}
	if got := faults(checkText([]byte(" "), 10)); got != "400 the body is empty; send a JSON object" {
		t.Error(got)
	}
	if got := faults(checkText([]byte("{\"payload\":\"\xff\"}"), 10)); got != "400 the body is not valid UTF-8; send other payloads as payload_base64" {
		t.Error(got)
	}
}

func TestSplitBatch(t *testing.T) {
	events, err := splitBatch([]byte(`{"events":[{"type":"a","payload":{"x":1,"x":2}}, 5 ,{}]}`))
	if err != nil {
		t.Fatal(faults(err))
	}
	if len(events) != 3 || string(events[0]) != `{"type":"a","payload":{"x":1,"x":2}}` || string(events[1]) != "5" {
		t.Errorf("split into %q", events)
	}
	for body, want := range map[string]string{
		`[]`:                         "400 the body must be a JSON object like {\"events\": […]}",
		`{}`:                         "422\nbody.events must have from 1 to 1000 events",
		`{"events":[]}`:              "422\nbody.events must have from 1 to 1000 events",
		`{"events":{}}`:              "422\nbody.events must be an array of events",
		`{"events":[1],"events":[]}`: "422\nbody.events stands twice",
		`{"events":[1],"x":1}`:       "422\nbody.x is not a field here; known is events",
		`{"events":[1`:               "400 the body is not valid JSON (RFC 8259), from byte 12 on",
		`{"events":[` + strings.Repeat("1,", 1000) + `1]}`: "422\nbody.events must have at most 1000 events; send the rest in another request",
	} {
		if _, err := splitBatch([]byte(body)); faults(err) != want {
			t.Errorf("%.40s: got\n%s\nwant\n%s", body, faults(err), want)
		}
	}
}

func TestHeaderKey(t *testing.T) {
	tests := []struct {
		name    string
		keys    []string
		field   string
		want    string
		refused bool
	}{
		{"None", nil, "f", "f", false},
		{"Header", []string{"h"}, "", "h", false},
		{"Empty", []string{""}, "f", "f", false},
		{"Same", []string{"k"}, "k", "k", false},
		{"Differ", []string{"h"}, "f", "", true},
		{"Two", []string{"a", "b"}, "", "", true},
		{"TwoAlike", []string{"a", "a"}, "", "", true},
		{"NotASCII", []string{"ключ"}, "", "", true},
		{"Long", []string{strings.Repeat("x", 256)}, "", "", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := &posthorn.Event{IdempotencyKey: test.field}
			err := headerKey(http.Header{idempotencyHeader: test.keys}, e)
			if (err != nil) != test.refused || err == nil && e.IdempotencyKey != test.want {
				t.Errorf("key %q, error %v", e.IdempotencyKey, err)
			}
		})
	}
}

// FuzzDecodeEvent reads any body; what is accepted has its payload exactly as it stood there.
func FuzzDecodeEvent(f *testing.F) {
	for _, seed := range []string{
		`{"type":"a","payload":{"a":1}}`, `{"type":"a","payload":"\ud800","headers":{"A":"b"}}`, `{"type":"a","payload_base64":"AA=="}`,
		`{"payload":1,"payload":2}`, `{"type":"a","deliver_at":"2026-01-31T09:30:00Z","payload": [ 1 , 2 ] }`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if checkText(body, maxNesting+1) != nil {
			return
		}
		e, err := decodeEvent(body, "body", 1<<20)
		if err != nil {
			if p := problemOf(err); p.Status != 400 && p.Status != 422 && p.Status != 413 {
				t.Errorf("answered %d: %v", p.Status, err)
			}
			return
		}
		if !strings.Contains(string(body), "payload_base64") && !strings.Contains(string(body), string(e.Payload)) {
			if !strings.Contains(string(body), `\u`) {
				t.Errorf("payload %q is not in %q", e.Payload, body)
			}
		}
		if e.DeliverAt.After(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)) {
			t.Error("a time that cannot be written")
		}
	})
}

func BenchmarkDecodeEvent(b *testing.B) {
	body := []byte(`{"type":"order.created","payload":{"text":"` + strings.Repeat("x", 1000) + `"},"idempotency_key":"order-4711"}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if err := checkText(body, maxNesting+1); err != nil {
			b.Fatal(err)
		}
		if _, err := decodeEvent(body, "body", 1<<20); err != nil {
			b.Fatal(err)
		}
	}
}

// A publish's answer is what its fields say.
func TestPublishedWritesItself(t *testing.T) {
	type fields published
	for _, p := range []published{
		{},
		{ID: posthorn.EventID{UUID: posthorn.NewUUID(time.UnixMilli(1))}, Type: "order.created", CreatedAt: time.Unix(1, 0).UTC(), Deliveries: 3, Duplicate: true},
		{Type: "a", CreatedAt: time.Date(2026, 2, 3, 4, 5, 6, 120_000, time.UTC), Deliveries: 1_000_000},
	} {
		var got bytes.Buffer
		if err := writeJSON(&got, p); err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(fields(p), jsonOptions)
		if err != nil || got.String() != string(want) {
			t.Errorf("got %s, want %s (%v)", got.String(), want, err)
		}
	}
}
