package api

import (
	"context"
	"encoding/base64"
	"time"
	"unicode/utf8"

	"github.com/posthorn/posthorn"
)

// attempt is one HTTP request and what came back.
type attempt struct {
	ID             posthorn.AttemptID      `json:"id" example:"att_06f1kz9qj4v3g7c8n2m5x0y1za"`
	DeliveryID     posthorn.DeliveryID     `json:"delivery_id"`
	EventID        posthorn.EventID        `json:"event_id"`
	SubscriptionID posthorn.SubscriptionID `json:"subscription_id"`
	Number         int                     `json:"number" doc:"Counts the delivery's attempts from 1."`
	Manual         bool                    `json:"manual" doc:"A person asked for it."`
	Outcome        posthorn.Outcome        `json:"outcome" enum:"succeeded,http_error,timeout,dns_error,connect_error,tls_error,blocked,invalid_response,interrupted"`
	OurFault       bool                    `json:"our_fault" doc:"It does not count against the receiver."`
	StatusCode     *int                    `json:"status_code"`
	Error          *string                 `json:"error" doc:"A short code for programs."`
	Detail         *string                 `json:"detail" doc:"What went wrong, in words."`
	Request        sentRequest             `json:"request"`
	Response       *receivedResponse       `json:"response" doc:"null when none came."`
	Timings        timings                 `json:"timings"`
	Node           *posthorn.NodeID        `json:"node" doc:"Which worker sent it."`
	StartedAt      time.Time               `json:"started_at"`
	RecordedAt     *time.Time              `json:"recorded_at"`
}

type sentRequest struct {
	Headers map[string][]string `json:"headers" doc:"As sent; secret values are masked."`
}

type receivedResponse struct {
	StatusCode    int                 `json:"status_code"`
	Headers       map[string][]string `json:"headers"`
	Body          *string             `json:"body" doc:"The first 16 KiB, when they are text."`
	BodyBase64    *string             `json:"body_base64" doc:"The first 16 KiB otherwise."`
	BodyTruncated bool                `json:"body_truncated"`
}

// timings of the phases in milliseconds; null when a phase did not happen, as on a reused connection.
type timings struct {
	DNS       *float64 `json:"dns_ms"`
	Connect   *float64 `json:"connect_ms"`
	TLS       *float64 `json:"tls_ms"`
	FirstByte *float64 `json:"first_byte_ms"`
	Total     float64  `json:"total_ms"`
	Reused    bool     `json:"reused" doc:"The connection was open already."`
}

func (h *Handler) listAttempts(ctx context.Context, c *call, p *deliveryPath) (*reply[list[attempt]], error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	rows, err := h.store.ListAttempts(ctx, c.tenant(), id)
	if err != nil {
		return nil, err
	}
	return pageWith(c, rows, posthorn.UUID{}, showAttempt), nil
}

func showAttempt(a *posthorn.Attempt) attempt {
	is := attempt{
		ID: a.ID, DeliveryID: a.DeliveryID, EventID: a.EventID, SubscriptionID: a.SubscriptionID, Number: a.Number,
		Manual: a.Manual, Outcome: a.Outcome, OurFault: a.OurFault, Error: nonEmpty(a.Error), Detail: nonEmpty(a.Detail),
		Request: sentRequest{a.Request}, StartedAt: a.StartedAt.UTC(), RecordedAt: optional(a.RecordedAt),
		Timings: timings{
			DNS: phase(a.Timing.DNS), Connect: phase(a.Timing.Connect), TLS: phase(a.Timing.TLS),
			FirstByte: phase(a.Timing.FirstByte), Total: milliseconds(a.Timing.Total), Reused: a.Timing.Reused,
		},
	}
	if !a.Node.IsZero() {
		is.Node = &a.Node
	}
	if a.StatusCode != 0 {
		is.StatusCode = &a.StatusCode
		is.Response = showResponse(a)
	}
	return is
}

func showResponse(a *posthorn.Attempt) *receivedResponse {
	r := &receivedResponse{StatusCode: a.StatusCode, Headers: a.Response, BodyTruncated: a.BodyTruncated}
	if text, ok := asText(a.Body, a.BodyTruncated); ok {
		r.Body = &text
	} else {
		text := base64.StdEncoding.EncodeToString(a.Body)
		r.BodyBase64 = &text
	}
	return r
}

// asText reads a body as UTF-8. Where it was cut, up to three bytes of a cut character are left out.
func asText(body []byte, cut bool) (string, bool) {
	if utf8.Valid(body) {
		return string(body), true
	}
	for n := 1; cut && n < utf8.UTFMax && n < len(body); n++ {
		if head := body[:len(body)-n]; utf8.Valid(head) {
			return string(head), true
		}
	}
	return "", false
}

func phase(d time.Duration) *float64 {
	if d == 0 {
		return nil
	}
	ms := milliseconds(d)
	return &ms
}

// milliseconds are rounded to the microsecond.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}
