package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/posthorn/posthorn"
)

var orderType = map[string]any{
	"name": "order.created", "description": "An order", "enforce": true,
	"schema":  json.RawMessage(`{"type": "object", "required": ["amount"], "properties": {"amount": {"type": "integer"}}}`),
	"example": map[string]any{"amount": 1},
}

func TestEventTypes(t *testing.T) {
	s := open(t, nil)
	made := s.call(http.MethodPost, "/event-types", s.admin, orderType).want(http.StatusCreated)
	if made.header.Get("Location") != "/event-types/order.created" {
		t.Errorf("Location: %s", made.header.Get("Location"))
	}
	s.call(http.MethodPost, "/event-types", s.admin, orderType).want(http.StatusConflict)
	text := s.call(http.MethodGet, "/event-types/order.created", s.admin, nil).want(http.StatusOK)
	read := text.object()
	if read["description"] != "An order" || read["enforce"] != true || read["deprecated"] != false || fmt.Sprint(read["example"]) != "map[amount:1]" {
		t.Errorf("read %v", read)
	}
	// What was read may be sent back.
	if again := s.call(http.MethodPut, "/event-types/order.created", s.admin, string(text.body)).want(http.StatusOK).object(); again["updated_at"] != read["updated_at"] {
		t.Errorf("sending back what was read has changed it: %v", again)
	}
	patched := s.call(http.MethodPatch, "/event-types/order.created", s.admin, map[string]any{"deprecated": true, "description": nil, "example": nil}).want(http.StatusOK).object()
	if patched["deprecated"] != true || patched["description"] != "" || patched["example"] != nil || patched["schema"] == nil {
		t.Errorf("patched %v", patched)
	}
	s.call(http.MethodPut, "/event-types/order.paid", s.admin, map[string]any{}).want(http.StatusOK)
	var l list[eventType]
	s.call(http.MethodGet, "/event-types?limit=1", s.admin, nil).want(http.StatusOK).into(&l)
	if len(l.Data) != 1 || l.Data[0].Name != "order.paid" || l.NextCursor == nil {
		t.Errorf("listed %+v", l)
	}
	s.call(http.MethodGet, "/event-types?deprecated=true&q=ORDER", s.admin, nil).want(http.StatusOK).into(&l)
	if len(l.Data) != 1 || l.Data[0].Name != "order.created" {
		t.Errorf("listed %+v", l)
	}
	s.call(http.MethodGet, "/event-types?deprecated=1", s.admin, nil).wantFaults("query.deprecated")
	s.call(http.MethodDelete, "/event-types/order.paid", s.admin, nil).want(http.StatusNoContent)
	s.call(http.MethodDelete, "/event-types/order.paid", s.admin, nil).want(http.StatusNotFound)
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		s.call(method, "/event-types/order.created", s.foreign, nil).want(http.StatusNotFound)
		s.call(method, "/event-types/a..b", s.admin, nil).want(http.StatusNotFound)
	}
	s.call(http.MethodPatch, "/event-types/order.created", s.foreign, map[string]any{"deprecated": true}).want(http.StatusNotFound)
	s.call(http.MethodPost, "/event-types/order.created/validate", s.foreign, map[string]any{"payload": 1}).want(http.StatusNotFound)
}

func TestBadEventTypes(t *testing.T) {
	s := open(t, nil)
	with := func(change map[string]any) map[string]any {
		body := map[string]any{"name": "a"}
		for k, v := range change {
			body[k] = v
		}
		return body
	}
	tests := []struct {
		name  string
		body  any
		fault string
	}{
		{"NoName", map[string]any{}, "body.name"},
		{"BadName", with(map[string]any{"name": "a..b"}), "body.name"},
		{"Reserved", with(map[string]any{"name": "posthorn.x"}), "body.name"},
		{"BadSchema", with(map[string]any{"schema": map[string]any{"type": "text"}}), "body.schema.type"},
		{"RemoteSchema", with(map[string]any{"schema": map[string]any{"$ref": "http://127.0.0.1/"}}), "body.schema"},
		{"BadExample", with(map[string]any{"schema": map[string]any{"properties": map[string]any{"a": map[string]any{"type": "string"}}}, "example": map[string]any{"a": 1}}), "body.example.a"},
		{"EnforceNothing", with(map[string]any{"enforce": true}), "body.enforce"},
		{"LongDescription", with(map[string]any{"description": strings.Repeat("x", 5000)}), "body.description"},
		{"LargeSchema", with(map[string]any{"schema": map[string]any{"title": strings.Repeat("x", 65<<10)}}), "body.schema"},
		{"Unknown", with(map[string]any{"shema": true}), "body.shema"},
		{"Twice", `{"name": "a", "schema": {"type": "object", "type": "string"}}`, "body.schema.type"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := s.call(http.MethodPost, "/event-types", s.admin, test.body)
			a.t = t
			a.wantFaults(test.fault)
		})
	}
	s.call(http.MethodPut, "/event-types/b", s.admin, with(nil)).wantFaults("body.name")
	s.call(http.MethodPut, "/event-types/a..b", s.admin, map[string]any{}).wantFaults("body.name")
	s.call(http.MethodPost, "/event-types", s.admin, with(nil)).want(http.StatusCreated)
	s.call(http.MethodPatch, "/event-types/a", s.admin, map[string]any{"enforce": true}).wantFaults("body.enforce")
	s.call(http.MethodPatch, "/event-types/a", s.admin, map[string]any{"name": "b"}).wantFaults("body.name")
	s.call(http.MethodPut, "/catalogue", s.admin, map[string]any{}).wantFaults("body.strict")
	s.call(http.MethodPut, "/catalogue", s.admin, map[string]any{"strict": 1}).wantFaults("body.strict")
}

func TestSchemasAreEnforced(t *testing.T) {
	s := open(t, nil)
	publish := func(payload string) answered {
		return s.call(http.MethodPost, "/events", s.admin, `{"type": "order.created", "payload": `+payload+`}`)
	}
	publish(`{"amount": "s3cret"}`).want(http.StatusAccepted)
	s.call(http.MethodPost, "/event-types", s.admin, orderType).want(http.StatusCreated)
	refused := publish(`{"amount": "s3cret"}`)
	refused.wantFaults("body.payload.amount")
	if strings.Contains(string(refused.body), "s3cret") {
		t.Errorf("the value is repeated: %s", refused.body)
	}
	publish(`{"amount": 12}`).want(http.StatusAccepted)
	publish(`{}`).wantFaults("body.payload.amount")
	s.call(http.MethodPost, "/events", s.admin, map[string]any{"type": "order.created", "payload_base64": "AAAA"}).wantFaults("body.payload")
	// Without strict, other types go through, and other tenants have catalogues of their own.
	s.call(http.MethodPost, "/events", s.admin, map[string]any{"type": "order.other", "payload": 1}).want(http.StatusAccepted)
	s.call(http.MethodPost, "/events", s.foreign, map[string]any{"type": "order.created", "payload": 1}).want(http.StatusAccepted)
	s.call(http.MethodPatch, "/event-types/order.created", s.admin, map[string]any{"enforce": false}).want(http.StatusOK)
	publish(`{}`).want(http.StatusAccepted)
	s.call(http.MethodPatch, "/event-types/order.created", s.admin, map[string]any{"enforce": true}).want(http.StatusOK)
	publish(`{}`).wantFaults("body.payload.amount")
	s.call(http.MethodDelete, "/event-types/order.created", s.admin, nil).want(http.StatusNoContent)
	publish(`{}`).want(http.StatusAccepted)
}

func TestStrictCatalogue(t *testing.T) {
	s := open(t, nil)
	state := func(want string) {
		t.Helper()
		if got := strings.TrimSpace(string(s.call(http.MethodGet, "/catalogue", s.admin, nil).want(http.StatusOK).body)); got != want {
			t.Errorf("catalogue is %s, want %s", got, want)
		}
	}
	publish := func(eventType string) answered {
		return s.call(http.MethodPost, "/events", s.admin, map[string]any{"type": eventType, "payload": map[string]any{}})
	}
	state(`{"strict":null,"strict_in_force":false}`)
	s.call(http.MethodPut, "/event-types/lax", s.admin, map[string]any{"schema": map[string]any{"required": []string{"a"}}}).want(http.StatusOK)
	publish("lax").want(http.StatusAccepted)
	s.call(http.MethodPut, "/catalogue", s.admin, map[string]any{"strict": true}).want(http.StatusOK)
	state(`{"strict":true,"strict_in_force":true}`)
	publish("lax").wantFaults("body.payload.a")
	publish("unknown").wantFaults("body.type")
	s.call(http.MethodPut, "/event-types/plain", s.admin, map[string]any{"deprecated": true}).want(http.StatusOK)
	publish("plain").want(http.StatusAccepted)
	batch := map[string]any{"events": []any{
		map[string]any{"type": "plain", "payload": 1},
		map[string]any{"type": "unknown", "payload": 1},
		map[string]any{"type": "lax", "payload": map[string]any{"a": 1}},
		map[string]any{"type": "lax", "payload": map[string]any{}},
	}}
	var result batchResult
	s.call(http.MethodPost, "/events/batch", s.admin, batch).want(http.StatusOK).into(&result)
	for i, want := range []string{"", "body.events[1].type", "", "body.events[3].payload.a"} {
		item, got := result.Data[i], ""
		if item.Error != nil {
			got = item.Error.Errors[0].Location
		}
		if got != want {
			t.Errorf("event %d: fault at %q, want %q", i, got, want)
		}
	}
	s.call(http.MethodPut, "/catalogue", s.admin, map[string]any{"strict": nil}).want(http.StatusOK)
	publish("unknown").want(http.StatusAccepted)
}

// TestCatalogueWithoutSignals writes behind the back of the node, as another node does whose signals are lost: the change
// holds for the next event in both directions.
func TestCatalogueWithoutSignals(t *testing.T) {
	s := open(t, nil)
	yes, no := true, false
	publish := func() answered {
		return s.call(http.MethodPost, "/events", s.admin, map[string]any{"type": "a", "payload": 1})
	}
	publish().want(http.StatusAccepted)
	for range 3 {
		must(t, s.store.SetStrict(t.Context(), s.home.ID, &yes))
		publish().wantFaults("body.type")
		must(t, s.store.CreateEventType(t.Context(), &posthorn.EventType{TenantID: s.home.ID, Name: "a", Row: posthorn.NewUUID(s.store.Now())}))
		publish().want(http.StatusAccepted)
		must(t, s.store.DeleteEventType(t.Context(), s.home.ID, "a"))
		publish().wantFaults("body.type")
		must(t, s.store.SetStrict(t.Context(), s.home.ID, &no))
		publish().want(http.StatusAccepted)
	}
}

func TestValidatePayload(t *testing.T) {
	s := open(t, nil)
	s.call(http.MethodPost, "/event-types", s.admin, orderType).want(http.StatusCreated)
	try := func(body any) answered {
		return s.call(http.MethodPost, "/event-types/order.created/validate", s.admin, body)
	}
	var verdict payloadVerdict
	try(map[string]any{"payload": map[string]any{"amount": 1}}).want(http.StatusOK).into(&verdict)
	if !verdict.Valid || !verdict.Enforced || verdict.Errors == nil || len(verdict.Errors) != 0 {
		t.Errorf("verdict %+v", verdict)
	}
	try(map[string]any{"payload": map[string]any{"amount": "x"}}).want(http.StatusOK).into(&verdict)
	if verdict.Valid || len(verdict.Errors) != 1 || verdict.Errors[0].Location != "body.payload.amount" {
		t.Errorf("verdict %+v", verdict)
	}
	try(map[string]any{"payload": "x", "schema": map[string]any{"type": "string"}}).want(http.StatusOK).into(&verdict)
	if !verdict.Valid {
		t.Errorf("verdict %+v", verdict)
	}
	try(map[string]any{}).wantFaults("body.payload")
	try(map[string]any{"payload": 1, "schema": 1}).wantFaults("body.schema")
}
