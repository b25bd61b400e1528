package catalogue

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

// faults are an error's places and messages, one a line.
func faults(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	e, ok := errors.AsType[*posthorn.Error](err)
	if !ok || e.Kind != posthorn.Invalid {
		t.Fatalf("error is %v, want one of the kind Invalid", err)
	}
	var lines []string
	for _, f := range e.Fields {
		lines = append(lines, f.Location+" "+f.Message)
	}
	return strings.Join(lines, "\n")
}

func TestCompile(t *testing.T) {
	deep := strings.Repeat(`{"not":`, 70) + "true" + strings.Repeat("}", 70)
	tests := []struct{ name, schema, want string }{
		{"Object", `{"type":"object","properties":{"a":{"$ref":"#/$defs/x"}},"$defs":{"x":{"type":"string"}}}`, ""},
		{"True", `true`, ""},
		{"Empty", `{}`, ""},
		{"Draft7", `{"$schema":"http://json-schema.org/draft-07/schema#","items":[{"type":"string"}],"additionalItems":false}`, ""},
		{"Draft4", `{"$schema":"http://json-schema.org/draft-04/schema#","minimum":1,"exclusiveMinimum":true}`, ""},
		{"MetaSchema", `{"$ref":"https://json-schema.org/draft/2020-12/schema"}`, ""},
		{"Number", `1`, "schema must be a JSON Schema: an object, or true or false"},
		{"NotJSON", `{`, "schema must be JSON (RFC 8259)"},
		{"Twice", `{"type":"object","properties":{"a":{},"a":{}}}`, "schema.properties.a stands twice in its object"},
		{"WrongType", `{"properties":{"a":{"type":"text"}}}`, "schema.properties.a.type"},
		{"WrongKeyword", `{"required":"a"}`, "schema.required must be an array"},
		{"Remote", `{"$ref":"https://example.com/secret.json"}`, "schema must not refer to schemas elsewhere"},
		{"RemoteLoopback", `{"$ref":"http://127.0.0.1:1/x"}`, "schema must not refer to schemas elsewhere"},
		{"File", `{"$ref":"file:///etc/passwd"}`, "schema must not refer to schemas elsewhere"},
		{"RelativeFile", `{"$ref":"other.json"}`, "schema must not refer to schemas elsewhere"},
		{"RemoteID", `{"$id":"https://example.com/a","$ref":"b"}`, "schema must not refer to schemas elsewhere"},
		{"RemoteMetaSchema", `{"$schema":"https://example.com/meta"}`, "schema must"},
		{"Dangling", `{"$ref":"#/$defs/x"}`, "schema has a $ref to something that is not in it"},
		{"NoAnchor", `{"$ref":"#x"}`, "schema has a $ref to an anchor that is not in it"},
		{"Dynamic", `{"items":{"$dynamicRef":"#x"}}`, "schema $dynamicRef is not known here"},
		{"LookAhead", `{"pattern":"(?!a)b"}`, "schema.pattern must be in the format regex"},
		{"LargePattern", `{"pattern":"(abcdefghij){300}"}`, "schema.pattern must be in the format regex"},
		{"LongPattern", `{"pattern":"` + strings.Repeat("a", 1025) + `"}`, "schema.pattern must be in the format regex"},
		{"PatternProperties", `{"patternProperties":{"(?=a)":true}}`, "schema has a property whose name"},
		{"Deep", deep, "nests deeper than 64 levels"},
		{"HugeNumber", `{"minimum":1e99999999}`, "schema.minimum is a number of more digits"},
		{"ManyValues", `{"enum":[` + strings.Repeat("1,", 5000) + `1]}`, "schema must have at most 5000 values"},
		{"Large", `{"title":"` + strings.Repeat("x", 64<<10) + `"}`, "schema must be at most 65536 bytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Compile("schema", []byte(test.schema))
			got := faults(t, err)
			if (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

const order = `{
	"type": "object", "required": ["id", "lines"], "additionalProperties": false,
	"properties": {
		"id": {"type": "integer", "minimum": 1},
		"email": {"type": "string", "format": "email", "maxLength": 40},
		"state": {"enum": ["open", "paid", null]},
		"version": {"const": 2},
		"code": {"type": "string", "pattern": "^[A-Z]{3}$"},
		"lines": {"type": "array", "minItems": 1, "uniqueItems": true, "items": {"$ref": "#/$defs/line"}},
		"address": {"anyOf": [{"type": "null"}, {"type": "object", "required": ["city"]}]},
		"price": {"multipleOf": 0.01},
		"either": {"oneOf": [{"type": "string"}, {"type": "integer"}]}
	},
	"$defs": {"line": {"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string", "minLength": 2}}}}
}`

func TestCheck(t *testing.T) {
	schema, err := Compile("schema", []byte(order))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, payload, want string }{
		{"Right", `{"id": 1, "lines": [{"sku": "ab"}], "email": "a@example.com", "state": null, "price": 19.99, "code": "ABC", "either": 1}`, ""},
		{"Root", `[]`, "payload must be an object"},
		{"Missing", `{"id": 1}`, "payload.lines is required by the type's schema"},
		{"Unknown", `{"id": 1, "lines": [{"sku": "ab"}], "secret": "s3cret"}`, "payload.secret is not a property that the type's schema knows"},
		{"Type", `{"id": "s3cret", "lines": [{"sku": "ab"}]}`, "payload.id must be a whole number"},
		{"Minimum", `{"id": 0, "lines": [{"sku": "ab"}]}`, "payload.id must be at least 1"},
		{"Nested", `{"id": 1, "lines": [{"sku": "ab"}, {"sku": "s"}]}`, "payload.lines[1].sku must be at least 2 characters"},
		{"NestedMissing", `{"id": 1, "lines": [{}]}`, "payload.lines[0].sku is required by the type's schema"},
		{"Enum", `{"id": 1, "lines": [{"sku": "ab"}], "state": "s3cret"}`, `payload.state must be one of "open", "paid", null`},
		{"Const", `{"id": 1, "lines": [{"sku": "ab"}], "version": 1}`, `payload.version must be 2`},
		{"Pattern", `{"id": 1, "lines": [{"sku": "ab"}], "code": "s3cret"}`, `payload.code must match ^[A-Z]{3}$`},
		{"Format", `{"id": 1, "lines": [{"sku": "ab"}], "email": "s3cret"}`, "payload.email must be in the format email"},
		{"Unique", `{"id": 1, "lines": [{"sku": "ab"}, {"sku": "ab"}]}`, "payload.lines must not hold an item twice"},
		{"AnyOfMeant", `{"id": 1, "lines": [{"sku": "ab"}], "address": {}}`, "payload.address.city is required by the type's schema"},
		{"AnyOfNone", `{"id": 1, "lines": [{"sku": "ab"}], "address": 1}`, "payload.address must be one of the alternatives of the type's schema (anyOf)"},
		{"OneOf", `{"id": 1, "lines": [{"sku": "ab"}], "either": null}`, "payload.either must be exactly one of the alternatives of the type's schema (oneOf)"},
		{"MultipleOf", `{"id": 1, "lines": [{"sku": "ab"}], "price": 1.005}`, "payload.price must be a multiple of 1/100"},
		{"Several", `{"lines": [{}], "state": 1}`, "payload.id is required by the type's schema\npayload.lines[0].sku is required by the type's schema"},
		{"NotJSON", `s3cret`, "payload must be JSON (RFC 8259)"},
		{"NotUTF8", "\"\xff\"", "payload must be JSON (RFC 8259)"},
		{"Two", `{} {}`, "payload must be one JSON value and nothing after it"},
		{"Twice", `{"id": 1, "id": "s3cret"}`, "payload.id stands twice in its object"},
		{"HugeNumber", `{"id": 1e999999999}`, "payload.id is a number of more digits than can be checked"},
		{"Deep", strings.Repeat("[", 600) + strings.Repeat("]", 600), "nests deeper than 512 levels"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := faults(t, schema.Check("payload", []byte(test.payload)))
			if (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if strings.Contains(got, "s3cret") {
				t.Errorf("a value is repeated: %s", got)
			}
		})
	}
}

// TestCheckIsBounded holds schemas that ask for more work than there is time against payloads: each is stopped.
func TestCheckIsBounded(t *testing.T) {
	var doubling strings.Builder
	doubling.WriteString(`{"$defs":{"x0":{"type":"integer"}`)
	for i := 1; i < 60; i++ {
		fmt.Fprintf(&doubling, `,"x%d":{"allOf":[{"$ref":"#/$defs/x%d"},{"$ref":"#/$defs/x%d"}]}`, i, i-1, i-1)
	}
	doubling.WriteString(`},"$ref":"#/$defs/x59"}`)
	below := `{"$defs":{"x":{"type":["object","string"],"properties":{"a":{"%[1]s":[{"$ref":"#/$defs/x"},{"$ref":"#/$defs/x"}]}}}},"$ref":"#/$defs/x"}`
	nested := func(leaf string) string { return strings.Repeat(`{"a":`, 200) + leaf + strings.Repeat("}", 200) }
	tests := []struct{ name, schema, payload string }{
		{"Doubling", doubling.String(), `1`},
		{"DoublingBelowAllOf", fmt.Sprintf(below, "allOf"), nested(`"x"`)},
		{"DoublingBelowAnyOf", fmt.Sprintf(below, "anyOf"), nested(`1`)},
		{"DoublingBelowOneOf", fmt.Sprintf(below, "oneOf"), nested(`1`)},
		{"Pattern", `{"pattern":"^(a?){60}(a?){60}(a?){60}b$"}`, `"` + strings.Repeat("a", 250<<10) + `"`},
		{
			"Unique", `{"$defs":{"x":{"uniqueItems":true,"items":{"$ref":"#/$defs/x"}}},"$ref":"#/$defs/x"}`,
			strings.Repeat("[", 400) + strings.Repeat("1,", 5000) + "1" + strings.Repeat("]", 400),
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			schema, err := Compile("schema", []byte(test.schema))
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			got := faults(t, schema.Check("payload", []byte(test.payload)))
			if !strings.Contains(got, "takes more work") {
				t.Errorf("got %q after %s, want it stopped", got, time.Since(began))
			}
			// It serves the next one.
			if got := faults(t, schema.Check("payload", []byte(`"b"`))); strings.Contains(got, "work") && test.name != "Doubling" {
				t.Errorf("the next one: %q", got)
			}
		})
	}
}

func TestRefCycleIsAnError(t *testing.T) {
	schema, err := Compile("schema", []byte(`{"$ref":"#"}`))
	if err != nil {
		return
	}
	if got := faults(t, schema.Check("payload", []byte(`1`))); !strings.Contains(got, "without end") {
		t.Errorf("got %q", got)
	}
}

func TestLargePayloadIsChecked(t *testing.T) {
	schema, err := Compile("schema", []byte(`{"type":"array","items":{"type":"object","required":["id"],"properties":{"id":{"type":"integer"},"name":{"type":"string","maxLength":10}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	payload := "[" + strings.Repeat(`{"id":1,"name":"x"},`, 12000) + `{"id":1}]`
	if got := faults(t, schema.Check("payload", []byte(payload))); got != "" {
		t.Error(got)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte(order), []byte(`{"id":1,"lines":[{"sku":"ab"}]}`))
	f.Add([]byte(`{"anyOf":[{"type":"null"},{"$ref":"#"}]}`), []byte(`[1]`))
	f.Add([]byte(`{"unevaluatedProperties":false,"dependentSchemas":{"a":{"required":["b"]}}}`), []byte(`{"a":1}`))
	f.Fuzz(func(t *testing.T, text, payload []byte) {
		schema, err := Compile("schema", text)
		if err != nil {
			faults(t, err)
			return
		}
		faults(t, schema.Check("payload", payload))
	})
}
