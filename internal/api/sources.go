package api

import (
	"context"
	"net/http"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/inbound"
)

const (
	sourceNoun = "source"
	sourcesTag = "Sources"
)

func (h *Handler) registerSources() {
	example := map[string]any{"name": "our repositories", "provider": "github", "keep_headers": []string{"X-GitHub-Event"}}
	handleBody(h, operation{
		method: http.MethodPost, path: "/sources", id: "createSource", tag: sourcesTag, scope: posthorn.ScopeManage,
		audit: "source.create", summary: "Create a source", status: http.StatusCreated, example: example,
		description: "A URL for a provider's webhooks, at ingest_path. Where the provider lets you choose the secret and none is sent, one is made and shown in this answer only. " +
			"Providers that issue it (stripe, shopify, slack) first need the URL: until their secret is set, everything is refused.",
	}, h.createSource)
	handle(h, operation{
		method: http.MethodGet, path: "/sources", id: "listSources", tag: sourcesTag, scope: posthorn.ScopeRead, summary: "List sources",
	}, h.listSources)
	handle(h, operation{
		method: http.MethodGet, path: "/sources/{id}", id: "getSource", tag: sourcesTag, scope: posthorn.ScopeRead, summary: "Read a source",
	}, h.getSource)
	handleBody(h, operation{
		method: http.MethodPut, path: "/sources/{id}", id: "replaceSource", tag: sourcesTag, scope: posthorn.ScopeManage,
		audit: "source.replace", summary: "Replace a source", example: example,
		description: "Fields left out go back to their defaults, except the secret. Another secret rotates with an overlap of 24 hours.",
	}, h.replaceSource)
	handleRaw[sourcePath, sourcePatch](h, operation{
		method: http.MethodPatch, path: "/sources/{id}", id: "patchSource", tag: sourcesTag, scope: posthorn.ScopeManage,
		audit: "source.update", summary: "Change a source", example: map[string]any{"enabled": false}, mergePatch: true,
		description: "A JSON merge patch (RFC 7396): fields left out stay, null goes back to the default, objects are merged.",
	}, h.patchSource)
	handle(h, operation{
		method: http.MethodDelete, path: "/sources/{id}", id: "deleteSource", tag: sourcesTag, scope: posthorn.ScopeManage,
		audit: "source.delete", summary: "Delete a source", status: http.StatusNoContent, description: "Its events stay.",
	}, h.deleteSource)
	handleBody(h, operation{
		method: http.MethodPost, path: "/sources/{id}/secret/rotate", id: "rotateSourceSecret", tag: sourcesTag, scope: posthorn.ScopeManage,
		audit: "source.rotate", summary: "Rotate a source's secret", example: map[string]any{"secret": "the new one", "overlap_seconds": 86400},
		description: "Both secrets verify until the overlap ends. Without a secret one is made, where the provider lets you choose it, and shown in this answer only.",
		refusals:    []int{http.StatusConflict},
	}, h.rotateSourceSecret)
}

type sourcePath struct {
	ID string `path:"id" doc:"The source's id." example:"src_06f1kz9qj4v3g7c8n2m5x0y1za"`
}

func (p *sourcePath) id() (posthorn.SourceID, error) {
	return pathID[posthorn.SourceID](sourceNoun, p.ID)
}

func (h *Handler) createSource(ctx context.Context, c *call, _ *nothing, in *sourceInput) (*created[source], error) {
	now := h.store.Now()
	s := &posthorn.Source{ID: posthorn.SourceID{UUID: posthorn.NewUUID(now)}, TenantID: c.tenant()}
	if err := in.apply(s, now); err != nil {
		return nil, err
	}
	made := ""
	if len(s.Secrets) == 0 && !s.Provider.Issues() {
		made = inbound.NewSecret(s)
		s.Secrets = []posthorn.Secret{{Value: posthorn.SecretText(made), CreatedAt: now}}
	}
	if err := h.store.CreateSource(ctx, s); err != nil {
		return nil, err
	}
	is := h.showSource(s)
	c.altered(s.ID.String(), nil, is)
	is.Secret = made
	return &created[source]{Location: "/sources/" + s.ID.String(), Body: is}, nil
}

func (h *Handler) listSources(ctx context.Context, c *call, q *Paging) (*reply[list[source]], error) {
	page, err := pageOf(c, q)
	if err != nil {
		return nil, err
	}
	rows, next, err := h.store.ListSources(ctx, c.tenant(), page)
	if err != nil {
		return nil, err
	}
	return pageWith(c, rows, next, h.showSource), nil
}

func (h *Handler) getSource(ctx context.Context, c *call, p *sourcePath) (*reply[source], error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	s, err := h.store.GetSource(ctx, c.tenant(), id)
	if err != nil {
		return nil, err
	}
	return replyWith(h.showSource(s)), nil
}

// alterSource changes a source and shows it.
func (h *Handler) alterSource(ctx context.Context, c *call, p *sourcePath, change func(*posthorn.Source) error) (*reply[source], error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	var before source
	s, err := h.store.UpdateSource(ctx, c.tenant(), id, func(s *posthorn.Source) error {
		before = h.showSource(s)
		return change(s)
	})
	if err != nil {
		return nil, err
	}
	is := h.showSource(s)
	c.altered(id.String(), before, is)
	return replyWith(is), nil
}

func (h *Handler) replaceSource(ctx context.Context, c *call, p *sourcePath, in *sourceInput) (*reply[source], error) {
	return h.alterSource(ctx, c, p, func(s *posthorn.Source) error { return in.apply(s, h.store.Now()) })
}

func (h *Handler) patchSource(ctx context.Context, c *call, p *sourcePath, body []byte) (*reply[source], error) {
	patch, err := splitObject(body)
	if err != nil {
		return nil, err
	}
	return h.alterSource(ctx, c, p, func(s *posthorn.Source) error {
		merged, err := mergeSource(s, patch)
		if err != nil {
			return err
		}
		var in sourceInput
		if err := assign(merged, &in); err != nil {
			return err
		}
		return in.apply(s, h.store.Now())
	})
}

func (h *Handler) deleteSource(ctx context.Context, c *call, p *sourcePath) (*nothing, error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	was, err := h.store.GetSource(ctx, c.tenant(), id)
	if err != nil {
		return nil, err
	}
	if err := h.store.DeleteSource(ctx, c.tenant(), id); err != nil {
		return nil, err
	}
	c.altered(id.String(), h.showSource(was), nil)
	return nil, nil
}

func (h *Handler) rotateSourceSecret(ctx context.Context, c *call, p *sourcePath, in *rotation) (*reply[source], error) {
	overlap, err := in.overlap()
	if err != nil {
		return nil, err
	}
	made := ""
	answer, err := h.alterSource(ctx, c, p, func(s *posthorn.Source) error {
		secret := string(in.Secret)
		if secret == "" && s.Provider.Issues() {
			return invalid("body.secret", "is required: the provider issues it")
		}
		if secret == "" {
			secret = inbound.NewSecret(s)
			made = secret
		} else if fault := inbound.CheckSecret(s, secret); fault != "" {
			return invalid("body.secret", "%s", fault)
		}
		now := h.store.Now()
		if len(s.Live(now)) >= posthorn.MaxSourceSecrets && overlap > 0 {
			return posthorn.NewError(posthorn.Conflict, "%d secrets verify already; wait until one expires, or rotate with overlap_seconds 0", posthorn.MaxSourceSecrets)
		}
		s.Secrets = rotated(s.Live(now), secret, overlap, now)
		return nil
	})
	if err != nil {
		return nil, err
	}
	answer.Body.Secret = made
	return answer, nil
}
