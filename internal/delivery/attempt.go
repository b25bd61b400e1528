package delivery

import (
	"net/http"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
)

// shortestMasked is the length from which a confidential text is looked for in a response: shorter ones would mask by
// accident, and are no secrets.
const shortestMasked = 6

// newAttempt writes down a request and its answer, with every secret masked.
func newAttempt(it *item, start time.Time, x *exchange) *posthorn.Attempt {
	d, answer := &it.Delivery, &x.answer
	a := &posthorn.Attempt{
		ID: it.Attempt, TenantID: d.TenantID, DeliveryID: d.ID, EventID: d.EventID, SubscriptionID: d.SubscriptionID,
		Number: it.Number, Manual: d.Manual != posthorn.NotManual, StartedAt: start.UTC(),
		Outcome: answer.Outcome, OurFault: answer.OurFault, StatusCode: answer.StatusCode,
		Error: answer.Code, Detail: answer.Detail,
		Body: answer.Body, BodyTruncated: answer.BodyTruncated,
		Timing: answer.Timing,
	}
	a.Request = make(posthorn.Headers, len(x.request))
	for name, values := range x.request {
		a.Request[name] = values
	}
	for name := range it.target.sub.Headers {
		maskHeader(a.Request, http.CanonicalHeaderKey(name))
	}
	if it.target.header != "" {
		maskHeader(a.Request, it.target.header)
	}
	a.Response = posthorn.Headers(answer.Header)
	maskEchoes(a, it.target.confidential)
	maskEchoes(a, x.tokens)
	return a
}

func maskHeader(h posthorn.Headers, name string) {
	if _, sent := h[name]; sent {
		h[name] = []string{posthorn.Mask}
	}
}

// maskEchoes takes confidential texts out of what a receiver sent back.
func maskEchoes(a *posthorn.Attempt, confidential []string) {
	for _, text := range confidential {
		if len(text) < shortestMasked {
			continue
		}
		if strings.Contains(string(a.Body), text) {
			a.Body = []byte(strings.ReplaceAll(string(a.Body), text, posthorn.Mask))
		}
		for name, values := range a.Response {
			for i, v := range values {
				if strings.Contains(v, text) {
					masked := append([]string(nil), values...)
					masked[i] = strings.ReplaceAll(v, text, posthorn.Mask)
					a.Response[name], values = masked, masked
				}
			}
		}
	}
}
