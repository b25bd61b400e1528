package api

import (
	"context"
	"net/http"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/inbound"
	"github.com/posthorn/posthorn/internal/signing"
)

// ingestsPerAddress bounds the requests to sources from one address: each costs a look-up and a signature before anything is
// known about who sends it. Providers send from few addresses, so it is high.
var ingestsPerAddress = posthorn.RateLimit{Limit: 1000, Per: "second"}

func (h *Handler) registerIngest() {
	handleRaw[sourcePath, nothing](h, operation{
		method: http.MethodPost, path: "/ingest/{id}", id: "ingest", tag: "Sources", open: true, anyMedia: true,
		unaudited: "an event is its own record", summary: "Receive a provider's webhook", maxBody: int64(h.opts.MaxEventBytes),
		refusals: []int{http.StatusUnauthorized, http.StatusTooManyRequests},
		description: "What a provider is given as its webhook URL. It needs no key: the signature is checked as the source says. " +
			"200 means that the event and all its deliveries are on disk; a message that comes again is answered with `\"duplicate\": true`. " +
			"The body is the payload, byte for byte.",
	}, h.ingest)
}

// ingested answers a provider.
type ingested struct {
	ID         posthorn.EventID `json:"id,omitzero"`
	Type       string           `json:"type,omitempty" example:"github.push"`
	CreatedAt  *time.Time       `json:"created_at,omitempty"`
	Deliveries *int             `json:"deliveries,omitempty"`
	Duplicate  *bool            `json:"duplicate,omitempty" doc:"The message came before, and this is the original answer."`
	Challenge  string           `json:"challenge,omitempty" doc:"Instead of all else, when Slack asks whether the URL is the app's."`
}

// admitOpen is admit for operations without a key.
func (h *Handler) admitOpen(c *call, op *operation) error {
	if !op.anyMedia || h.opts.Limiter == nil {
		return nil
	}
	ok, _, wait := h.opts.Limiter.Allow(c.request.Context(), "ingest:"+c.from.String(), ingestsPerAddress, 1, 0)
	if !ok {
		return limited(wait)
	}
	return nil
}

// answerSignature is the one answer to a signature that is missing, wrong or stale: which of those it is, is for the owner of
// the source to see in the log, not for whoever sends.
var answerSignature = answer{http.StatusUnauthorized, "bad-signature", "Signature not valid"}

func badSignature(cause error) error {
	p := newProblem(answerSignature, "the request is not signed as this source expects, or was signed too long ago")
	p.cause = cause
	return p.header("WWW-Authenticate", `Signature realm="posthorn"`)
}

func (h *Handler) ingest(ctx context.Context, c *call, p *sourcePath, body []byte) (*reply[ingested], error) {
	// An id that cannot be one is looked up too, so that all that is not there takes as long.
	id, _ := p.id()
	s, err := h.store.FindSource(ctx, id)
	if posthorn.KindOf(err) == posthorn.NotFound || err == nil && s.Disabled {
		signing.Waste(body)
		h.ingestedAs("unknown", "unknown")
		return nil, posthorn.Absent(sourceNoun)
	}
	if err != nil {
		return nil, err
	}
	now := h.store.Now()
	if err := inbound.Verify(s, c.request.Header, body, now); err != nil {
		h.counter.Add(s.ID, posthorn.SourceCounts{Refused: 1, LastRefusedAt: now})
		h.ingestedAs(s.Provider, "refused")
		return nil, badSignature(err)
	}
	if challenge, ok := inbound.Challenge(s, body); ok {
		h.ingestedAs(s.Provider, "challenge")
		return replyWith(ingested{Challenge: challenge}), nil
	}
	answer, err := h.takeIn(ctx, c, s, body, now)
	if err != nil {
		h.ingestedAs(s.Provider, "rejected")
		return nil, err
	}
	return replyWith(*answer), nil
}

// takeIn publishes a verified request as an event.
func (h *Handler) takeIn(ctx context.Context, c *call, s *posthorn.Source, body []byte, now time.Time) (*ingested, error) {
	if err := h.chargeSource(ctx, c, s); err != nil {
		return nil, err
	}
	e := inbound.Event(s, c.request.Header, body)
	a, err := h.opts.Publisher.Publish(ctx, s.TenantID, e)
	if err != nil {
		return nil, under("body", err)
	}
	if a.Duplicate {
		h.counter.Add(s.ID, posthorn.SourceCounts{Duplicates: 1})
		h.ingestedAs(s.Provider, "duplicate")
	} else {
		h.counter.Add(s.ID, posthorn.SourceCounts{Accepted: 1, LastAcceptedAt: now})
		h.ingestedAs(s.Provider, "accepted")
	}
	return &ingested{ID: a.EventID, Type: e.Type, CreatedAt: optional(a.CreatedAt), Deliveries: &a.Deliveries, Duplicate: &a.Duplicate}, nil
}

// chargeSource counts against the source's limit and those on publishing. Only what is signed counts, so that nobody else can
// use up a provider's share.
func (h *Handler) chargeSource(ctx context.Context, c *call, s *posthorn.Source) error {
	if h.opts.Limiter == nil {
		return nil
	}
	t, err := h.store.GetTenant(ctx, s.TenantID)
	if err != nil {
		return err
	}
	var list []bound
	if s.RateLimit != nil {
		list = append(list, bound{"source", "source:" + s.ID.String(), *s.RateLimit})
	}
	return h.count(c, h.publishBounds(list, t), 1, 0)
}

func (h *Handler) ingestedAs(provider posthorn.Provider, outcome string) {
	if h.opts.Ingested != nil {
		h.opts.Ingested(string(provider), outcome)
	}
}
