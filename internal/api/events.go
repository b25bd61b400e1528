package api

import (
	"context"
	"encoding/base64"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn"
)

const eventNoun = "event"

func (h *Handler) registerEvents() {
	handleRaw[publishHeader, eventInput](h, operation{
		method: http.MethodPost, path: "/events", id: "publishEvent", tag: "Events", scope: posthorn.ScopePublish, publishes: true,
		unaudited: "an event is its own record", summary: "Publish an event", status: http.StatusAccepted, refusals: []int{http.StatusConflict},
		maxBody:     h.maxEventBody(),
		example:     map[string]any{"type": "order.created", "payload": map[string]any{"id": 4711, "total": "12.50"}},
		description: "202 means that the event and all its deliveries are on disk. Give an idempotency key and repeat after any other answer.",
	}, h.publishEvent)
	handleRaw[nothing, batchInput](h, operation{
		method: http.MethodPost, path: "/events/batch", id: "publishBatch", tag: "Events", scope: posthorn.ScopePublish, publishes: true,
		unaudited: "an event is its own record", summary: "Publish many events", maxBody: posthorn.MaxBatchBytes,
		example: map[string]any{"events": []any{
			map[string]any{"type": "order.created", "payload": map[string]any{"id": 4711}},
			map[string]any{"type": "order.paid", "payload": map[string]any{"id": 4711}, "idempotency_key": "paid-4711"},
		}},
		description: "At most 1,000 events and 4 MiB. The answers are in the order of the events; a bad one has its own error and stops none of the others. A batch that very many subscriptions want is stored in parts: where the store goes away in between, the events that are not stored have its error, to be sent again.",
	}, h.publishBatch)
	handle(h, operation{
		method: http.MethodGet, path: "/events", id: "listEvents", tag: "Events", scope: posthorn.ScopeRead,
		summary: "List events", description: "Without their payloads.",
	}, h.listEvents)
	handle(h, operation{
		method: http.MethodGet, path: "/events/{id}", id: "getEvent", tag: "Events", scope: posthorn.ScopeRead,
		summary: "Read an event", description: "With its payload: as JSON where it is JSON, and the exact bytes in base64.",
	}, h.getEvent)
	handle(h, operation{
		method: http.MethodGet, path: "/events/{id}/status", id: "getEventStatus", tag: "Events", scope: posthorn.ScopeRead,
		summary: "What became of an event", description: "Every delivery with its state and a sentence that explains it.",
	}, h.getEventStatus)
	handleBody(h, operation{
		method: http.MethodPost, path: "/events/{id}/replay", id: "replayEvent", tag: "Events", scope: posthorn.ScopeManage, publishes: true,
		audit: "event.replay", summary: "Deliver an event again", status: http.StatusAccepted, refusals: []int{http.StatusConflict},
		example:     map[string]any{"subscription_ids": []string{"sub_06f1kz9qj4v3g7c8n2m5x0y1za"}},
		description: "Makes new deliveries: to the subscriptions named, or with `{}` to all that want the event now, filters included: one that fails makes its delivery born cancelled, with the reason filter_error. 409 when its payload was erased or it has expired.",
	}, h.replayEvent)
}

// maxEventBody is the largest body of one publish: a payload in base64 (4/3), and 128 KiB for the rest, of which
// headers are 16 KiB at most, six bytes a character when escaped.
func (h *Handler) maxEventBody() int64 { return int64(h.opts.MaxEventBytes)*4/3 + 128<<10 }

type publishHeader struct {
	IdempotencyKey string `header:"Idempotency-Key" doc:"Instead of the field idempotency_key."`
}

type batchInput struct {
	Events []eventInput `json:"events" required:"true" minItems:"1" maxItems:"1000"`
}

// published answers a publish.
type published struct {
	ID         posthorn.EventID `json:"id" example:"evt_06f1kz9qj4v3g7c8n2m5x0y1za"`
	Type       string           `json:"type" example:"order.created"`
	CreatedAt  time.Time        `json:"created_at"`
	Deliveries int              `json:"deliveries" example:"2" doc:"How many subscriptions get it; 0 means that none wants the type. The event is kept all the same."`
	Duplicate  bool             `json:"duplicate" doc:"The idempotency key was used before, and this is the original answer."`
}

// appendJSON spares reflection, which took longer than deciding about the event. Neither the id nor an accepted type can fail.
func (p published) appendJSON(b []byte) []byte {
	b, _ = p.ID.AppendText(append(b, `{"id":"`...))
	b, _ = jsontext.AppendQuote(append(b, `","type":`...), p.Type)
	b = p.CreatedAt.AppendFormat(append(b, `,"created_at":"`...), time.RFC3339Nano)
	b = strconv.AppendInt(append(b, `","deliveries":`...), int64(p.Deliveries), 10)
	b = strconv.AppendBool(append(b, `,"duplicate":`...), p.Duplicate)
	return append(b, '}')
}

// batchItem answers one event of a batch: a publish's answer, or an error.
type batchItem struct {
	ID         posthorn.EventID `json:"id,omitzero"`
	Type       string           `json:"type,omitempty"`
	CreatedAt  *time.Time       `json:"created_at,omitempty"`
	Deliveries *int             `json:"deliveries,omitempty"`
	Duplicate  *bool            `json:"duplicate,omitempty"`
	Error      *problem         `json:"error,omitempty"`
}

type batchResult struct {
	Data []batchItem `json:"data"`
}

// event as it is listed.
type event struct {
	ID             posthorn.EventID     `json:"id"`
	Type           string               `json:"type" example:"order.created"`
	Status         posthorn.EventStatus `json:"status" enum:"pending,succeeded,partial,failed,unmatched" doc:"Derived from each subscription's latest delivery."`
	ContentType    string               `json:"content_type"`
	IdempotencyKey *string              `json:"idempotency_key"`
	OrderingKey    *string              `json:"ordering_key"`
	PayloadBytes   int                  `json:"payload_bytes"`
	Deliveries     int                  `json:"deliveries"`
	DeliverAt      *time.Time           `json:"deliver_at"`
	ExpiresAt      *time.Time           `json:"expires_at"`
	CreatedAt      time.Time            `json:"created_at"`
}

// eventWithPayload as it is read by id.
type eventWithPayload struct {
	ID              posthorn.EventID     `json:"id"`
	Type            string               `json:"type"`
	Status          posthorn.EventStatus `json:"status" enum:"pending,succeeded,partial,failed,unmatched"`
	ContentType     string               `json:"content_type"`
	IdempotencyKey  *string              `json:"idempotency_key"`
	OrderingKey     *string              `json:"ordering_key"`
	Headers         map[string]string    `json:"headers" doc:"The event's own headers. Values are masked."`
	PayloadBytes    int                  `json:"payload_bytes"`
	Payload         *rawJSON             `json:"payload" doc:"To read, when it is JSON that nests at most 512 levels deep: only its spacing may differ."`
	PayloadBase64   *string              `json:"payload_base64" doc:"The exact bytes that are signed and delivered."`
	PayloadErasedAt *time.Time           `json:"payload_erased_at" doc:"When the payload was erased on request."`
	Deliveries      int                  `json:"deliveries"`
	DeliverAt       *time.Time           `json:"deliver_at"`
	ExpiresAt       *time.Time           `json:"expires_at"`
	CreatedAt       time.Time            `json:"created_at"`
}

// rawJSON is JSON as it was published.
type rawJSON struct{ jsontext.Value }

// Schema documents any JSON.
func (*rawJSON) Schema(huma.Registry) *huma.Schema { return &huma.Schema{} }

type eventPath struct {
	ID string `path:"id" doc:"The event's id." example:"evt_06f1kz9qj4v3g7c8n2m5x0y1za"`
}

func (p *eventPath) id() (posthorn.EventID, error) {
	return pathID[posthorn.EventID](eventNoun, p.ID)
}

func (h *Handler) publishEvent(ctx context.Context, c *call, _ *publishHeader, body []byte) (*reply[published], error) {
	if err := checkText(body, maxNesting+1); err != nil {
		return nil, err
	}
	e, err := decodeEvent(body, "body", h.opts.MaxEventBytes)
	if err != nil {
		return nil, err
	}
	wrong := headerKey(c.request.Header, e)
	used, err := h.usedByLate(ctx, c.tenant(), e)
	if err != nil {
		return nil, err
	}
	if err := further(wrong, under("body", h.checkTimes(e, used))); err != nil {
		return nil, further(err, under("body", e.Validate()))
	}
	a, err := h.opts.Publisher.Publish(ctx, c.tenant(), e)
	if err != nil {
		return nil, under("body", err)
	}
	return replyWith(published{a.EventID, e.Type, a.CreatedAt.UTC(), a.Deliveries, a.Duplicate}), nil
}

// usedByLate tells which idempotency keys of events that have expired were used before. Those events may be repeated by a producer who
// has not heard the answer, which is the first one's. Nil events are passed over.
func (h *Handler) usedByLate(ctx context.Context, tenant posthorn.TenantID, events ...*posthorn.Event) (map[string]bool, error) {
	var keys []string
	now := h.store.Now()
	for _, e := range events {
		if e != nil && !e.ExpiresAt.IsZero() && !e.ExpiresAt.After(now) && e.IdempotencyKey != "" {
			keys = append(keys, e.IdempotencyKey)
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	return h.store.UsedKeys(ctx, tenant, keys)
}

// checkTimes keeps an event's times within the retention and in order. One whose key was used is no new event, and may have expired.
func (h *Handler) checkTimes(e *posthorn.Event, used map[string]bool) error {
	if e.DeliverAt.IsZero() && e.ExpiresAt.IsZero() {
		return nil
	}
	var v posthorn.Violations
	now := h.store.Now()
	if e.DeliverAt.After(now.Add(h.opts.Window)) {
		v.Add("deliver_at", "must be within the retention of %s from now", h.opts.Window)
	}
	expired := !e.ExpiresAt.After(now) && !used[e.IdempotencyKey]
	if !e.ExpiresAt.IsZero() && (expired || !e.ExpiresAt.After(e.DeliverAt)) {
		v.Add("expires_at", "must be later than now and than deliver_at")
	}
	return v.Err()
}

func (h *Handler) publishBatch(ctx context.Context, c *call, _ *nothing, body []byte) (*reply[batchResult], error) {
	raw, err := splitBatch(body)
	if err != nil {
		return nil, err
	}
	// One was charged before the body was read.
	if err := h.charge(c, true, len(raw)-1, 1); err != nil {
		return nil, err
	}
	result := batchResult{Data: make([]batchItem, len(raw))}
	decoded := make([]*posthorn.Event, len(raw))
	for i, text := range raw {
		e, err := decodeEvent(text, eventPlace(i), h.opts.MaxEventBytes)
		if err != nil {
			result.Data[i].Error = problemOf(err)
			continue
		}
		decoded[i] = e
	}
	used, err := h.usedByLate(ctx, c.tenant(), decoded...)
	if err != nil {
		return nil, err
	}
	events := make([]*posthorn.Event, 0, len(raw))
	places := make([]int, 0, len(raw))
	for i, e := range decoded {
		if e == nil {
			continue
		}
		place := eventPlace(i)
		if err := under(place, h.checkTimes(e, used)); err != nil {
			result.Data[i].Error = problemOf(further(err, under(place, e.Validate())))
			continue
		}
		events, places = append(events, e), append(places, i)
	}
	if len(events) == 0 {
		return replyWith(result), nil
	}
	accepted, err := h.opts.Publisher.PublishBatch(ctx, c.tenant(), events)
	if err != nil {
		return nil, err
	}
	for k, a := range accepted {
		result.Data[places[k]] = showAccepted(events[k], a, eventPlace(places[k]))
	}
	return replyWith(result), nil
}

func eventPlace(i int) string { return "body.events[" + strconv.Itoa(i) + "]" }

func showAccepted(e *posthorn.Event, a posthorn.Accepted, place string) batchItem {
	if a.Err != nil {
		return batchItem{Error: problemOf(under(place, a.Err))}
	}
	return batchItem{
		ID: a.EventID, Type: e.Type, CreatedAt: optional(a.CreatedAt), Deliveries: &a.Deliveries, Duplicate: &a.Duplicate,
	}
}

func (h *Handler) listEvents(ctx context.Context, c *call, q *eventQuery) (*reply[list[event]], error) {
	page, form := pageOf(c, &q.Paging)
	f, err := q.filter()
	if err = further(form, err); err != nil {
		return nil, err
	}
	rows, next, err := h.store.ListEvents(ctx, c.tenant(), f, page)
	if err != nil {
		return nil, err
	}
	return pageWith(c, rows, next, showEvent), nil
}

type eventQuery struct {
	Paging
	Type           string          `query:"type" doc:"Types and patterns, separated by commas." example:"order.*"`
	Status         string          `query:"status" enum:"pending,succeeded,partial,failed,unmatched"`
	SubscriptionID subscriptionRef `query:"subscription_id"`
	Since          moment          `query:"since"`
	Until          moment          `query:"until"`
	Text           string          `query:"q" doc:"An event's id or idempotency key, whole or its beginning."`
}

func (q *eventQuery) filter() (posthorn.EventFilter, error) {
	f := posthorn.EventFilter{
		SubscriptionID: q.SubscriptionID.SubscriptionID, Since: q.Since.Time, Until: q.Until.Time, Text: q.Text,
	}
	var v posthorn.Violations
	var err error
	f.Types, err = patterns("query.type", q.Type)
	collect(&v, err)
	f.Status, err = choice("query.status", q.Status, []posthorn.EventStatus{
		posthorn.EventPending, posthorn.EventSucceeded, posthorn.EventPartial, posthorn.EventFailed, posthorn.EventUnmatched,
	})
	collect(&v, err)
	collect(&v, span(q.Since, q.Until))
	return f, v.Err()
}

func showEvent(e *posthorn.EventSummary) event {
	return event{
		ID: e.ID, Type: e.Type, Status: e.Status, ContentType: e.ContentType, IdempotencyKey: nonEmpty(e.IdempotencyKey),
		OrderingKey: nonEmpty(e.OrderingKey), PayloadBytes: e.PayloadBytes, Deliveries: e.Deliveries,
		DeliverAt: optional(e.DeliverAt), ExpiresAt: optional(e.ExpiresAt), CreatedAt: e.CreatedAt.UTC(),
	}
}

func (h *Handler) getEvent(ctx context.Context, c *call, p *eventPath) (*reply[eventWithPayload], error) {
	e, status, err := h.readEvent(ctx, c, p)
	if err != nil {
		return nil, err
	}
	headers := make(map[string]string, len(e.Headers))
	for name := range e.Headers {
		headers[name] = posthorn.Mask
	}
	shown := eventWithPayload{
		ID: e.ID, Type: e.Type, Status: status, ContentType: e.ContentType, Headers: headers,
		IdempotencyKey: nonEmpty(e.IdempotencyKey), OrderingKey: nonEmpty(e.OrderingKey), PayloadBytes: len(e.Payload),
		PayloadErasedAt: optional(e.PayloadErased), Deliveries: e.Deliveries, DeliverAt: optional(e.DeliverAt),
		ExpiresAt: optional(e.ExpiresAt), CreatedAt: e.CreatedAt.UTC(),
	}
	if e.PayloadErased.IsZero() {
		exact := base64.StdEncoding.EncodeToString(e.Payload)
		shown.PayloadBase64 = &exact
		if value := jsontext.Value(e.Payload); value.IsValid(jsonOptions) && nesting(value) <= maxNesting {
			shown.Payload = &rawJSON{value}
		}
	}
	return replyWith(shown), nil
}

// readEvent reads an event and its status.
func (h *Handler) readEvent(ctx context.Context, c *call, p *eventPath) (*posthorn.Event, posthorn.EventStatus, error) {
	id, err := p.id()
	if err != nil {
		return nil, "", err
	}
	e, err := h.store.GetEvent(ctx, c.tenant(), id)
	if err != nil {
		return nil, "", err
	}
	status, err := h.store.EventStatus(ctx, c.tenant(), id)
	return e, status, err
}
