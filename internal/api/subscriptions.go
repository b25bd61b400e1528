package api

import (
	"context"
	"net/http"

	"github.com/posthorn/posthorn"
)

const subscriptionNoun = "subscription"

func (h *Handler) registerSubscriptions() {
	example := map[string]any{"url": "https://example.com/webhooks", "event_types": []string{"order.*"}}
	handleRaw[nothing, subscriptionInput](h, operation{
		method: http.MethodPost, path: "/subscriptions", id: "createSubscription", tag: "Subscriptions", scope: posthorn.ScopeManage,
		audit: "subscription.create", summary: "Create a subscription", status: http.StatusCreated, example: example, maxBody: subscriptionBody,
		description: "The answer holds the signing secret; it is not shown in any list.",
	}, h.createSubscription)
	handle(h, operation{
		method: http.MethodGet, path: "/subscriptions", id: "listSubscriptions", tag: "Subscriptions", scope: posthorn.ScopeRead,
		summary: "List subscriptions",
	}, h.listSubscriptions)
	handle(h, operation{
		method: http.MethodGet, path: "/subscriptions/{id}", id: "getSubscription", tag: "Subscriptions", scope: posthorn.ScopeRead,
		summary: "Read a subscription",
	}, h.getSubscription)
	handleRaw[subscriptionPath, subscriptionInput](h, operation{
		method: http.MethodPut, path: "/subscriptions/{id}", id: "replaceSubscription", tag: "Subscriptions", scope: posthorn.ScopeManage,
		audit: "subscription.update", summary: "Replace a subscription", example: example, maxBody: subscriptionBody,
		description: "Fields left out go back to their defaults, except the secret and the status. Header values and the secret parts of auth and tls may be sent back masked, as they were read, and stay as they are. A disabled subscription cannot be paused, and at most five secrets sign at once; one becomes FIFO only with at most 10,000 deliveries pending (409).",
		refusals:    []int{http.StatusConflict},
	}, h.replaceSubscription)
	handleRaw[subscriptionPath, subscriptionPatch](h, operation{
		method: http.MethodPatch, path: "/subscriptions/{id}", id: "patchSubscription", tag: "Subscriptions", scope: posthorn.ScopeManage,
		audit: "subscription.update", summary: "Change a subscription", example: map[string]any{"event_types": []string{"order.*", "invoice.paid"}},
		mergePatch: true, maxBody: subscriptionBody,
		description: "A JSON merge patch (RFC 7396): fields left out stay, null goes back to the default, objects are merged. The two forms of retry replace one another, as do auth of another type and signature of another profile. A disabled subscription cannot be paused, and at most five secrets sign at once; one becomes FIFO only with at most 10,000 deliveries pending (409).",
		refusals:    []int{http.StatusConflict},
	}, h.patchSubscription)
	handle(h, operation{
		method: http.MethodDelete, path: "/subscriptions/{id}", id: "deleteSubscription", tag: "Subscriptions", scope: posthorn.ScopeManage,
		audit: "subscription.delete", summary: "Delete a subscription", status: http.StatusNoContent,
		description: "Sending stops at once, what is pending is cancelled, and the history stays readable for the retention.",
	}, h.deleteSubscription)
	handle(h, operation{
		method: http.MethodPost, path: "/subscriptions/{id}/pause", id: "pauseSubscription", tag: "Subscriptions", scope: posthorn.ScopeManage,
		audit: "subscription.pause", summary: "Pause a subscription", description: "Its deliveries are held, also new ones, until it is resumed. Pausing again changes nothing; a disabled one cannot be paused (409).",
		refusals: []int{http.StatusConflict},
	}, h.pauseSubscription)
	handleBody(h, operation{
		method: http.MethodPost, path: "/subscriptions/{id}/resume", id: "resumeSubscription", tag: "Subscriptions", scope: posthorn.ScopeManage,
		audit: "subscription.resume", summary: "Resume a subscription", optionalBody: true, example: map[string]any{"backlog": "drain"},
		description: "Sends what was held, also when Posthorn had disabled it; with `backlog: skip` what was held is cancelled instead, in the " +
			"background, and can be retried or replayed. Resuming an active one changes nothing.",
	}, h.resumeSubscription)
	handle(h, operation{
		method: http.MethodPost, path: "/subscriptions/{id}/test", id: "testSubscription", tag: "Subscriptions", scope: posthorn.ScopeManage,
		audit: "subscription.test", summary: "Send a test event", publishes: true, refusals: []int{http.StatusConflict},
		description: "Publishes posthorn.test to this subscription alone and answers with its first attempt. Where that takes longer than the subscription's timeout, attempt is null.",
	}, h.testSubscription)
}

// subscriptionBody bounds a subscription's JSON: 32 KiB of headers and metadata, escaped, and the rest.
const subscriptionBody = 256 << 10

type subscriptionPath struct {
	ID string `path:"id" doc:"The subscription's id." example:"sub_06f1kz9qj4v3g7c8n2m5x0y1za"`
}

func (p *subscriptionPath) id() (posthorn.SubscriptionID, error) {
	return pathID[posthorn.SubscriptionID](subscriptionNoun, p.ID)
}

type subscriptionQuery struct {
	Paging
	Status string `query:"status" enum:"active,paused,disabled"`
	Text   string `query:"q" doc:"Found in the URL or the description, regardless of case."`
}

func (h *Handler) createSubscription(ctx context.Context, c *call, _ *nothing, body []byte) (*created[subscriptionWithSecret], error) {
	var in subscriptionInput
	form := decode(body, &in)
	s := &posthorn.Subscription{TenantID: c.tenant(), ID: posthorn.SubscriptionID{UUID: posthorn.NewUUID(h.store.Now())}}
	form = further(form, h.write(&in, s))
	key, err := newSecret(in.Secret, s)
	if err = further(form, err); err != nil {
		return nil, err
	}
	s.Secrets = []posthorn.Secret{stored(key, h.store.Now())}
	if err := h.store.CreateSubscription(ctx, s); err != nil {
		return nil, err
	}
	c.altered(s.ID.String(), nil, auditView(s, &posthorn.Subscription{}))
	h.changed(ctx, s)
	is := showSubscription(s)
	return &created[subscriptionWithSecret]{
		Location: "/subscriptions/" + s.ID.String(),
		Body: subscriptionWithSecret{
			ID: is.ID, Secret: key.Secret().Reveal(), URL: is.URL, Description: is.Description, EventTypes: is.EventTypes,
			Status: is.Status, DisabledReason: is.DisabledReason, Headers: is.Headers, Retry: is.Retry,
			TimeoutSeconds: is.TimeoutSeconds, RateLimit: is.RateLimit, MaxInFlight: is.MaxInFlight, Ordering: is.Ordering,
			OnFailure: is.OnFailure, Auth: is.Auth, TLS: is.TLS, Signature: is.Signature, Filter: is.Filter, Metadata: is.Metadata, PublicKey: is.PublicKey, CreatedAt: is.CreatedAt, UpdatedAt: is.UpdatedAt,
		},
	}, nil
}

// write applies the input to a subscription and checks the result.
func (h *Handler) write(in *subscriptionInput, s *posthorn.Subscription) error {
	var v posthorn.Violations
	had := s.TLS
	collect(&v, in.apply(s))
	collect(&v, s.Validate(h.opts.Window))
	if in.Secret == "" {
		h.checkEndpoint(&v, s, had)
	} else {
		// The secret that comes along is checked with the profile, not the present one.
		alone := *s
		alone.Secrets = nil
		h.checkEndpoint(&v, &alone, had)
	}
	checkFilter(&v, s.Filter)
	if err := h.opts.URLs.CheckURL(s.URL); err != nil {
		v.Add("url", "%s", err.Error())
	}
	return under("body", v.Err())
}

// changed tells the other parts that a tenant's subscriptions moved to a version.
func (h *Handler) changed(ctx context.Context, s *posthorn.Subscription) {
	h.opts.Bus.Publish(ctx, posthorn.Signal{
		Changed: []posthorn.Change{{TenantID: s.TenantID, Version: s.Version}}, Wake: s.Status == posthorn.StatusActive,
	})
}

func (h *Handler) listSubscriptions(ctx context.Context, c *call, q *subscriptionQuery) (*reply[list[subscription]], error) {
	page, form := pageOf(c, &q.Paging)
	status, err := choice("query.status", q.Status, []posthorn.Status{posthorn.StatusActive, posthorn.StatusPaused, posthorn.StatusDisabled})
	if err = further(form, err); err != nil {
		return nil, err
	}
	rows, next, err := h.store.ListSubscriptions(ctx, c.tenant(), posthorn.SubscriptionFilter{Status: status, Text: q.Text}, page)
	if err != nil {
		return nil, err
	}
	ids := make([]posthorn.SubscriptionID, len(rows))
	for i := range rows {
		ids[i] = rows[i].ID
	}
	lanes, err := h.lanes(ctx, c.tenant(), ids)
	if err != nil {
		return nil, err
	}
	now := h.store.Now()
	return pageWith(c, rows, next, func(s *posthorn.Subscription) subscription {
		is := showSubscription(s)
		is.Lane = showLane(lanes[s.ID], now)
		return is
	}), nil
}

// lanes reads the lanes of subscriptions; every id asked for has one in the answer.
func (h *Handler) lanes(ctx context.Context, tenant posthorn.TenantID, ids []posthorn.SubscriptionID) (map[posthorn.SubscriptionID]*posthorn.Lane, error) {
	found := make(map[posthorn.SubscriptionID]*posthorn.Lane, len(ids))
	if len(ids) == 0 {
		return found, nil
	}
	lanes, err := h.store.Lanes(ctx, tenant, ids)
	if err != nil {
		return nil, err
	}
	for i := range lanes {
		found[lanes[i].SubscriptionID] = &lanes[i]
	}
	for _, id := range ids {
		if found[id] == nil {
			found[id] = &posthorn.Lane{SubscriptionID: id, TenantID: tenant}
		}
	}
	return found, nil
}

func (h *Handler) getSubscription(ctx context.Context, c *call, p *subscriptionPath) (*reply[subscription], error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	s, err := h.store.GetSubscription(ctx, c.tenant(), id)
	if err != nil {
		return nil, err
	}
	return h.showWithLane(ctx, s)
}

func (h *Handler) showWithLane(ctx context.Context, s *posthorn.Subscription) (*reply[subscription], error) {
	lanes, err := h.lanes(ctx, s.TenantID, []posthorn.SubscriptionID{s.ID})
	if err != nil {
		return nil, err
	}
	backlog, capped, err := h.store.Backlog(ctx, s.ID)
	if err != nil {
		return nil, err
	}
	is := showSubscription(s)
	is.Lane = showLane(lanes[s.ID], h.store.Now())
	is.Lane.Backlog, is.Lane.Capped = &backlog, &capped
	return replyWith(is), nil
}

// update alters a subscription and shows it.
func (h *Handler) update(ctx context.Context, c *call, p *subscriptionPath, change func(*posthorn.Subscription) error) (*reply[subscription], error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	s, err := h.alter(ctx, c.tenant(), id, change)
	if err != nil {
		return nil, err
	}
	return h.showWithLane(ctx, s)
}

func (h *Handler) replaceSubscription(ctx context.Context, c *call, p *subscriptionPath, body []byte) (*reply[subscription], error) {
	var in subscriptionInput
	form := decode(body, &in)
	if form != nil && posthorn.KindOf(form) != posthorn.Invalid {
		return nil, form
	}
	return h.update(ctx, c, p, func(s *posthorn.Subscription) error { return h.rewrite(form, &in, s) })
}

// rewrite is write on a subscription that has a secret already: another one rotates. Form is what is wrong with the input so far.
func (h *Handler) rewrite(form error, in *subscriptionInput, s *posthorn.Subscription) error {
	if in.Status == posthorn.StatusPaused {
		if err := pausable(s); err != nil {
			return err
		}
	}
	form = further(form, h.write(in, s))
	same := len(s.Secrets) > 0 && string(s.Secrets[0].Value) == string(in.Secret)
	if in.Secret == "" || same && s.Signature == nil {
		return form
	}
	key, err := newSecret(in.Secret, s)
	if err = further(form, err); err != nil || same {
		return err
	}
	return rotate(s, key, defaultOverlap, h.store.Now())
}

func (h *Handler) patchSubscription(ctx context.Context, c *call, p *subscriptionPath, patch []byte) (*reply[subscription], error) {
	members, err := splitObject(patch)
	if err != nil {
		return nil, err
	}
	return h.update(ctx, c, p, func(s *posthorn.Subscription) error {
		merged, err := merge(s, members)
		if err != nil {
			return err
		}
		var in subscriptionInput
		return h.rewrite(assign(merged, &in), &in, s)
	})
}

func (h *Handler) deleteSubscription(ctx context.Context, c *call, p *subscriptionPath) (*nothing, error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	was, err := h.store.GetSubscription(ctx, c.tenant(), id)
	if err != nil {
		return nil, err
	}
	if err := h.store.DeleteSubscription(ctx, c.tenant(), id); err != nil {
		return nil, err
	}
	c.altered(id.String(), auditView(was, was), nil)
	// Version 0 is an unknown newer one: the deletion does not say which it made.
	h.opts.Bus.Publish(ctx, posthorn.Signal{Changed: []posthorn.Change{{TenantID: c.tenant()}}})
	return nil, nil
}

func (h *Handler) pauseSubscription(ctx context.Context, c *call, p *subscriptionPath) (*reply[subscription], error) {
	return h.update(ctx, c, p, func(s *posthorn.Subscription) error {
		if err := pausable(s); err != nil {
			return err
		}
		s.Status = posthorn.StatusPaused
		return nil
	})
}

// pausable is nil, or the Conflict of a pause that would hide why Posthorn disabled the subscription.
func pausable(s *posthorn.Subscription) error {
	if s.Status != posthorn.StatusDisabled {
		return nil
	}
	return posthorn.NewError(posthorn.Conflict, "the subscription is disabled, so nothing is sent anyway; resume it first")
}

// resumption says what becomes of what was held.
type resumption struct {
	Backlog string `json:"backlog,omitempty" enum:"drain,skip" default:"drain" doc:"drain sends what was held, skip cancels it."`
}

func (h *Handler) resumeSubscription(ctx context.Context, c *call, p *subscriptionPath, in *resumption) (*reply[subscription], error) {
	if in.Backlog != "" && in.Backlog != "drain" && in.Backlog != "skip" {
		return nil, invalid("body.backlog", "must be drain or skip")
	}
	return h.update(ctx, c, p, func(s *posthorn.Subscription) error {
		s.Status, s.DisabledReason, s.SkipHeld = posthorn.StatusActive, "", in.Backlog == "skip"
		return nil
	})
}
