package api

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

func TestPublish(t *testing.T) {
	s := open(t, nil)
	s.subscribe(s.admin, map[string]any{"event_types": []string{"order.*"}})
	s.subscribe(s.admin, nil)
	got := s.call(http.MethodPost, "/events", s.admin, `{"type":"order.created","payload":{"a":1}}`).want(http.StatusAccepted).object()
	if len(got) != 5 || got["deliveries"] != 2.0 || got["duplicate"] != false || got["type"] != "order.created" {
		t.Errorf("published: %s", jsonText(got))
	}
	if at, err := time.Parse(time.RFC3339, got["created_at"].(string)); err != nil || time.Since(at) > time.Minute {
		t.Errorf("created_at: %v %v", got["created_at"], err)
	}
	s.call(http.MethodPost, "/events", s.admin, `{"type":"posthorn.x","payload":1}`).wantFaults("body.type")
	s.call(http.MethodPost, "/events", s.admin, `{"type":"a..b","payload":1,"content_type":"a/b/c","ordering_key":"`+strings.Repeat("k", 256)+`"}`).
		wantFaults("body.content_type", "body.ordering_key", "body.type")
	s.call(http.MethodPost, "/events", s.admin, `{"type":"a","payload":1,"headers":{"Host":"x"}}`).wantFaults("body.headers.Host")
	s.call(http.MethodPost, "/events", s.admin, `{"type":"a..b","payload":1,"headers":{"Cookie":"x"},"ordering_key":1,"else":1}`).
		wantFaults("body.else", "body.headers.Cookie", "body.ordering_key", "body.type")
	s.call(http.MethodPost, "/events", s.admin, `{"type":"a..b","payload":null,"payload_base64":null,"expires_at":"2020-01-01T00:00:00Z"}`).
		wantFaults("body.payload_base64", "body.type")
	s.call(http.MethodPost, "/events", s.admin, `{"type":"a..b","payload":1,"expires_at":"2020-01-01T00:00:00Z"}`).
		wantFaults("body.expires_at", "body.type")
	s.call(http.MethodPost, "/events", s.admin, `{"type":"a","payload":1,"expires_at":"2020-01-01T00:00:00Z"}`).wantFaults("body.expires_at")
	s.call(http.MethodPost, "/events", s.admin, `{"type":"a","payload":1,"deliver_at":"2099-01-01T00:00:00Z"}`).wantFaults("body.deliver_at")
}

// TestRepeatedLate gives a producer who has not heard the answer the first one's, though the event has expired since.
func TestRepeatedLate(t *testing.T) {
	s := open(t, nil)
	const late = `"type":"a","payload":1,"expires_at":"2020-01-01T00:00:00Z"`
	var first, again published
	s.call(http.MethodPost, "/events", s.admin, `{"type":"a","payload":1,"idempotency_key":"k"}`).want(http.StatusAccepted).into(&first)
	s.call(http.MethodPost, "/events", s.admin, `{`+late+`,"idempotency_key":"k"}`).want(http.StatusAccepted).into(&again)
	if !again.Duplicate || again.ID != first.ID {
		t.Errorf("repeated: %+v, want the duplicate of %+v", again, first)
	}
	s.call(http.MethodPost, "/events", s.admin, `{`+late+`,"idempotency_key":"another"}`).wantFaults("body.expires_at")
	var batch batchResult
	s.call(http.MethodPost, "/events/batch", s.admin, `{"events":[{`+late+`},{`+late+`,"idempotency_key":"k"},{`+late+`,"idempotency_key":"another"}]}`).
		want(http.StatusOK).into(&batch)
	if d := batch.Data; d[0].Error == nil || d[1].Error != nil || d[1].ID != first.ID || d[2].Error == nil {
		t.Errorf("the batch is answered %+v", d)
	}
}

func TestIdempotency(t *testing.T) {
	s := open(t, nil)
	s.subscribe(s.admin, nil)
	publish := func(key, header, payload string) answered {
		body := `{"type":"a.b","payload":` + payload
		if key != "" {
			body += `,"idempotency_key":"` + key + `"`
		}
		var headers http.Header
		if header != "" {
			headers = http.Header{"Idempotency-Key": {header}}
		}
		return s.callWith(http.MethodPost, "/events", s.admin, body+"}", headers)
	}
	first := publish("k", "", "1").want(http.StatusAccepted).object()
	again := publish("", "k", "1").want(http.StatusAccepted).object()
	if again["id"] != first["id"] || again["duplicate"] != true || again["deliveries"] != first["deliveries"] || again["created_at"] != first["created_at"] {
		t.Errorf("first %s, again %s", jsonText(first), jsonText(again))
	}
	publish("k", "k", "1").want(http.StatusAccepted)
	publish("k", "", "2").want(http.StatusConflict)
	publish("k", "other", "1").wantFaults("header.Idempotency-Key")
	theirs := s.call(http.MethodPost, "/events", s.foreign, `{"type":"x","payload":2,"idempotency_key":"k"}`).want(http.StatusAccepted).object()
	if theirs["duplicate"] != false {
		t.Error("keys of tenants are mixed up")
	}
}

func TestPayloadLimit(t *testing.T) {
	s := open(t, func(o *Options) { o.MaxEventBytes = 1000 })
	publish := func(n int) int {
		return s.call(http.MethodPost, "/events", s.admin, `{"type":"a","payload":"`+strings.Repeat("x", n-2)+`"}`).status
	}
	base64ed := func(n int) int {
		return s.call(http.MethodPost, "/events", s.admin, `{"type":"a","payload_base64":"`+base64.StdEncoding.EncodeToString(make([]byte, n))+`"}`).status
	}
	for n, want := range map[int]int{1000: 202, 1001: 413, 400_000: 413} {
		if a, b := publish(n), base64ed(n); a != want || b != want {
			t.Errorf("%d bytes are answered %d, in base64 %d, want %d", n, a, b, want)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.server.URL+"/events", struct{ *strings.Reader }{strings.NewReader(strings.Repeat(" ", 1<<20))})
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+s.admin)
	r.Header.Set("Content-Type", "application/json")
	s.do(r).want(http.StatusRequestEntityTooLarge)
}

// TestTooLargeIsToldInTheEnd sends all of a body that is too large before it looks for the answer, as simple clients do.
func TestTooLargeIsToldInTheEnd(t *testing.T) {
	s := open(t, nil)
	const size = 12 << 20
	head := "POST /events/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + s.admin + "\r\n"
	body := strings.Repeat(" ", size)
	for name, rest := range map[string]string{
		"Length":  "Content-Length: " + strconv.Itoa(size) + "\r\n\r\n" + body,
		"Chunked": "Transfer-Encoding: chunked\r\n\r\n" + strconv.FormatInt(size, 16) + "\r\n" + body + "\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			if a := s.sendRaw(t, head+rest); a.status != http.StatusRequestEntityTooLarge {
				t.Errorf("answered %d %s", a.status, a.body)
			}
		})
	}
}

// TestBodiesAreBounded holds many large bodies open: those that would be too much are turned away, and when the others
// are gone there is room again.
func TestBodiesAreBounded(t *testing.T) {
	s := open(t, nil)
	const clients = maxBodies/posthorn.MaxBatchBytes + 4
	var writers []*io.PipeWriter
	answers := make(chan int, clients)
	for range clients {
		r, w := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.server.URL+"/events/batch", r)
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+s.admin)
		req.Header.Set("Content-Type", "application/json")
		go func() {
			resp, err := s.server.Client().Do(req)
			if err != nil {
				answers <- 0
				return
			}
			resp.Body.Close()
			answers <- resp.StatusCode
		}()
		writers = append(writers, w)
	}
	var held sync.WaitGroup
	for _, w := range writers {
		held.Go(func() { _, _ = w.Write(make([]byte, posthorn.MaxBatchBytes-1)) })
	}
	turnedAway := 0
	count := func(status int) {
		if status == http.StatusServiceUnavailable || status == 0 {
			turnedAway++
		}
	}
	// No body has an end yet, so whoever is answered was turned away.
	count(<-answers)
	held.Wait()
	for _, w := range writers {
		_ = w.Close()
	}
	for range clients - 1 {
		count(<-answers)
	}
	if turnedAway == 0 || turnedAway == clients {
		t.Errorf("%d of %d were turned away", turnedAway, clients)
	}
	if n := s.handler.bodies.held.Load(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
	s.publish(s.admin, "a")
}

func TestMediaTypes(t *testing.T) {
	s := open(t, nil)
	send := func(header http.Header) int {
		return s.callWith(http.MethodPost, "/events", s.admin, `{"type":"a","payload":1}`, header).status
	}
	for media, want := range map[string]int{
		"application/json": 202, "application/json; charset=utf-8": 202, "Application/JSON;charset=UTF-8": 202,
		"application/json; charset=latin1": 415, "text/plain": 415, "application/x-www-form-urlencoded": 415, "": 415,
		"application/merge-patch+json": 415, "application/json, text/plain": 415, "multipart/form-data; boundary=x": 415,
	} {
		if got := send(http.Header{"Content-Type": {media}}); got != want {
			t.Errorf("%s is answered %d, want %d", media, got, want)
		}
	}
	for encoding, want := range map[string]int{"": 202, "identity": 202, "gzip": 415, "br": 415, "x": 415} {
		if got := send(http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {encoding}}); got != want {
			t.Errorf("encoding %q is answered %d, want %d", encoding, got, want)
		}
	}
	if got := send(http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"identity", "gzip"}}); got != 415 {
		t.Errorf("an encoding behind another is answered %d", got)
	}
}

func TestBatch(t *testing.T) {
	s := open(t, func(o *Options) { o.MaxEventBytes = 100 })
	s.subscribe(s.admin, nil)
	var got batchResult
	s.call(http.MethodPost, "/events/batch", s.admin, `{"events":[
		{"type":"a.b","payload":{"x":1},"idempotency_key":"k"},
		{"type":"a..b","payload":1},
		{"type":"a","payload":"`+strings.Repeat("x", 100)+`"},
		{"payload":1,"pyload":1},
		7,
		{"type":"a.b","payload":{"x":1},"idempotency_key":"k"},
		{"type":"a.b","payload":{"x":2},"idempotency_key":"k"},
		{"type":"posthorn.x","payload":1}
	]}`).want(http.StatusOK).into(&got)
	var lines []string
	for _, item := range got.Data {
		if item.Error == nil {
			lines = append(lines, fmt.Sprint("ok ", *item.Deliveries, *item.Duplicate))
			continue
		}
		line := fmt.Sprint(item.Error.Status)
		for _, e := range item.Error.Errors {
			line += " " + e.Location
		}
		lines = append(lines, line)
	}
	want := []string{
		"ok 1 false", "422 body.events[1].type", "413", "422 body.events[3].pyload body.events[3].type", "400", "ok 1 true", "409", "422 body.events[7].type",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("answered\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	if got.Data[0].ID != got.Data[5].ID {
		t.Error("the second of one key is another event")
	}
	s.call(http.MethodPost, "/events/batch", s.admin, `{"events":[]}`).wantFaults("body.events")
	s.call(http.MethodPost, "/events/batch", s.admin, `{"events":[1`).want(http.StatusBadRequest)
	s.call(http.MethodPost, "/events/batch", s.admin, `{"events":[`+strings.Repeat(" ", posthorn.MaxBatchBytes)+`]}`).want(http.StatusRequestEntityTooLarge)
}

func TestReadEvent(t *testing.T) {
	s := open(t, nil)
	s.subscribe(s.admin, map[string]any{"event_types": []string{"a.*"}})
	payload := `{ "b":1.0, "a" :-0,"a":"\ud800" }`
	id := s.call(http.MethodPost, "/events", s.admin, `{"type":"a.b","payload":`+payload+`,"headers":{"X-Secret":"hush"},"idempotency_key":"kk"}`).object()["id"].(string)
	a := s.call(http.MethodGet, "/events/"+id, s.admin, nil).want(http.StatusOK)
	if !strings.Contains(string(a.body), `"payload":{"b":1.0,"a":-0,"a":"\ud800"}`) || strings.Contains(string(a.body), "hush") {
		t.Errorf("read %s", a.body)
	}
	got := a.object()
	exact, err := base64.StdEncoding.DecodeString(got["payload_base64"].(string))
	must(t, err)
	if string(exact) != payload || got["payload_bytes"] != float64(len(payload)) || got["status"] != "pending" || got["idempotency_key"] != "kk" {
		t.Errorf("read %s", a.body)
	}
	binary := s.call(http.MethodPost, "/events", s.admin, `{"type":"z","payload_base64":"/w==","content_type":"application/octet-stream"}`).object()["id"].(string)
	got = s.call(http.MethodGet, "/events/"+binary, s.admin, nil).object()
	if got["payload"] != nil || got["payload_base64"] != "/w==" || got["status"] != "unmatched" || got["deliveries"] != 0.0 {
		t.Errorf("read %s", jsonText(got))
	}
	for depth, shown := range map[int]bool{maxNesting: true, maxNesting + 1: false} {
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("[", depth) + strings.Repeat("]", depth)))
		deep := s.call(http.MethodPost, "/events", s.admin, `{"type":"z","payload_base64":"`+text+`"}`).object()["id"].(string)
		got := s.call(http.MethodGet, "/events/"+deep, s.admin, nil).want(http.StatusOK).object()
		if (got["payload"] != nil) != shown || got["payload_base64"] != text {
			t.Errorf("%d levels deep, as JSON: %v, %v", depth, got["payload"] != nil, got["payload_base64"] == text)
		}
	}
	if got := s.call(http.MethodGet, "/events/"+binary+"/status", s.admin, nil).want(http.StatusOK).object(); jsonText(got["deliveries"]) != "[]" || got["status"] != "unmatched" {
		t.Errorf("status %s", jsonText(got))
	}
}

func TestEventStatusAndList(t *testing.T) {
	s := open(t, nil)
	id := s.subscribe(s.admin, map[string]any{"event_types": []string{"a.*"}})
	done := s.publish(s.admin, "a.done")
	s.work(nil)
	waiting := s.publish(s.admin, "a.waiting")
	s.work(failing(time.Hour))
	nobody := s.publish(s.admin, "b")

	got := s.call(http.MethodGet, "/events/"+waiting+"/status", s.admin, nil).want(http.StatusOK).object()
	d := got["deliveries"].([]any)[0].(map[string]any)
	if got["event_id"] != waiting || got["status"] != "pending" || d["subscription_id"] != id || d["url"] != "https://example.com/hook" ||
		d["attempts"] != 1.0 || d["last_outcome"] != "http_error" || d["last_status_code"] != 503.0 || d["next_attempt_at"] == nil ||
		!strings.Contains(d["explanation"].(string), "503 Service Unavailable") {
		t.Errorf("status %s", jsonText(got))
	}
	got = s.call(http.MethodGet, "/events/"+done+"/status", s.admin, nil).want(http.StatusOK).object()
	if d := got["deliveries"].([]any)[0].(map[string]any); got["status"] != "succeeded" || d["status"] != "succeeded" || d["next_attempt_at"] != nil {
		t.Errorf("status %s", jsonText(got))
	}
	for query, want := range map[string][]string{
		"":                            {nobody, waiting, done},
		"?type=a.*":                   {waiting, done},
		"?type=a.done,b":              {nobody, done},
		"?status=unmatched":           {nobody},
		"?status=succeeded":           {done},
		"?subscription_id=" + id:      {waiting, done},
		"?q=" + done:                  {done},
		"?since=2099-01-01T00:00:00Z": nil,
	} {
		if got := s.pages("/events"+query, s.admin, 2); !slices.Equal(got, want) {
			t.Errorf("%s lists %v, want %v", query, got, want)
		}
	}
	for query, place := range map[string]string{
		"type=a..b": "query.type", "status=x": "query.status", "subscription_id=abc": "query.subscription_id", "since=yesterday": "query.since",
		"until=9999999-01-01": "query.until", "since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z": "query.until", "order=x": "query.order",
	} {
		s.call(http.MethodGet, "/events?"+query, s.admin, nil).wantFaults(place)
	}
}

// TestEventStatusOfMany has the delivery that decides behind those that are listed with the event.
func TestEventStatusOfMany(t *testing.T) {
	s := open(t, nil)
	subscription := func() (id posthorn.SubscriptionID) {
		must(t, id.UnmarshalText([]byte(s.subscribe(s.admin, nil))))
		return id
	}
	many, last := subscription(), subscription()
	now := s.store.Now()
	e := &posthorn.Event{
		ID: posthorn.EventID{UUID: posthorn.NewUUID(now)}, TenantID: s.home.ID, Type: "a", Payload: []byte("{}"),
		ContentType: posthorn.DefaultContentType,
	}
	accepted := posthorn.Acceptance{Event: e, Version: posthorn.AnyVersion}
	match := func(id posthorn.SubscriptionID) posthorn.DeliveryID {
		now = now.Add(time.Microsecond)
		d := posthorn.DeliveryID{UUID: posthorn.NewUUID(now)}
		accepted.Matches = append(accepted.Matches, posthorn.Match{SubscriptionID: id, DeliveryID: d})
		return d
	}
	for range posthorn.MaxEventDeliveries - 2 {
		match(many)
	}
	latest := match(many)
	_, err := s.store.AcceptEvents(t.Context(), s.node, []posthorn.Acceptance{accepted})
	must(t, err)
	_, err = s.store.CancelDelivery(t.Context(), s.home.ID, latest)
	must(t, err)
	want := func(status string, listed int, capped bool) {
		t.Helper()
		path := "/events/" + e.ID.String()
		got := s.call(http.MethodGet, path+"/status", s.admin, nil).want(http.StatusOK).object()
		if n := len(got["deliveries"].([]any)); got["status"] != status || got["capped"] != capped || n != listed {
			t.Errorf("status %v with %d deliveries, capped %v", got["status"], n, got["capped"])
		}
		if got := s.call(http.MethodGet, path, s.admin, nil).want(http.StatusOK).object(); got["status"] != status {
			t.Errorf("read with status %v, want %s", got["status"], status)
		}
		if got := s.pages("/events?status="+status, s.admin, 2); !slices.Equal(got, []string{e.ID.String()}) {
			t.Errorf("%s lists %v", status, got)
		}
	}
	want("failed", posthorn.MaxEventDeliveries-1, false)
	for range 2 {
		latest = match(last)
		_, err = s.store.Replay(t.Context(), s.home.ID, e.ID, posthorn.ReplayID{UUID: posthorn.NewUUID(now)},
			[]posthorn.Match{{SubscriptionID: last, DeliveryID: latest}})
		must(t, err)
	}
	want("pending", posthorn.MaxEventDeliveries, true)
	_, err = s.store.CancelDelivery(t.Context(), s.home.ID, latest)
	must(t, err)
	want("failed", posthorn.MaxEventDeliveries, true)
}

func TestReplay(t *testing.T) {
	s := open(t, nil)
	id := s.subscribe(s.admin, map[string]any{"event_types": []string{"a"}})
	event := s.publish(s.admin, "a")
	s.work(nil)
	late := s.subscribe(s.admin, map[string]any{"event_types": []string{"z"}})
	var got deliveryData
	s.call(http.MethodPost, "/events/"+event+"/replay", s.admin, `{}`).want(http.StatusAccepted).into(&got)
	if len(got.Data) != 1 || got.Data[0].SubscriptionID.String() != id || got.Data[0].Status != posthorn.Pending {
		t.Errorf("replayed %s", jsonText(got))
	}
	s.call(http.MethodPost, "/events/"+event+"/replay", s.admin, map[string]any{"subscription_ids": []string{late}}).want(http.StatusAccepted).into(&got)
	if len(got.Data) != 1 || got.Data[0].SubscriptionID.String() != late {
		t.Errorf("replayed %s", jsonText(got))
	}
	s.call(http.MethodDelete, "/subscriptions/"+late, s.admin, nil).want(http.StatusNoContent)
	theirs := s.subscribe(s.foreign, nil)
	s.call(http.MethodPost, "/events/"+event+"/replay", s.admin, map[string]any{"subscription_ids": []string{id, late, theirs}}).
		wantFaults("body.subscription_ids[1]", "body.subscription_ids[2]")
	s.call(http.MethodPost, "/events/"+event+"/replay", s.admin, `{"subscription_ids":["x"]}`).wantFaults("body.subscription_ids[0]")
}

// BenchmarkPublish is what the handler itself costs, without network and store.
func BenchmarkPublish(b *testing.B) {
	h := New(Options{Store: timed{}, Bus: silentBus{}, Auth: allowAll{}, Publisher: instant{}, MaxEventBytes: 256 << 10})
	defer h.Close()
	body := `{"type":"order.created","payload":{"text":"` + strings.Repeat("x", 1000) + `"},"idempotency_key":"order-4711"}`
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			r, _ := http.NewRequest(http.MethodPost, "/events", strings.NewReader(body))
			r.RemoteAddr = "127.0.0.1:1"
			r.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer phk_x"}}
			w := &discard{header: http.Header{}}
			h.ServeHTTP(w, r)
			if w.status != http.StatusAccepted {
				b.Error(w.status)
				return
			}
		}
	})
}
