package api

import (
	"context"
	"net/http"
	"time"

	"github.com/posthorn/posthorn"
)

func (h *Handler) registerErasure() {
	handle(h, operation{
		method: http.MethodDelete, path: "/events/{id}/payload", id: "erasePayload", tag: "Events", scope: posthorn.ScopeManage,
		audit: "event.erase", summary: "Erase an event's payload",
		description: "Removes the payload and the kept bodies of its receivers' answers for good, and cancels what is pending; a request " +
			"on its way is not called back. The event itself stays, and cannot be retried or replayed. Erasing again changes nothing.",
	}, h.erasePayload)
}

// erased answers an erasure.
type erased struct {
	ID              posthorn.EventID `json:"id"`
	PayloadErasedAt time.Time        `json:"payload_erased_at"`
	Cancelled       int              `json:"cancelled" doc:"Deliveries that were pending."`
}

func (h *Handler) erasePayload(ctx context.Context, c *call, p *eventPath) (*reply[erased], error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	// What has begun is finished: a client that leaves must not leave half of it.
	at, ended, err := h.store.ErasePayload(context.WithoutCancel(ctx), c.tenant(), id)
	if err != nil {
		return nil, err
	}
	updates := make([]posthorn.Update, len(ended))
	for i := range ended {
		updates[i] = posthorn.UpdateOf(&ended[i], ended[i].UpdatedAt)
	}
	if len(updates) > 0 {
		h.opts.Bus.Publish(ctx, posthorn.Signal{Recall: true, Updates: updates})
	}
	return replyWith(erased{ID: id, PayloadErasedAt: at.UTC(), Cancelled: len(ended)}), nil
}
