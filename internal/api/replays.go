package api

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/posthorn/posthorn"
)

const (
	replayNoun = "replay"
	// dryRunTime bounds the counting of a dry run, totalTime that of a replay that is made.
	dryRunTime = 5 * time.Second
	totalTime  = 2 * time.Second
)

// Replays counts what a replay would do (internal/replay).
type Replays interface {
	Count(ctx context.Context, r posthorn.Replay, within time.Duration) (posthorn.ReplayCount, error)
}

func (h *Handler) registerReplays() {
	create := operation{
		method: http.MethodPost, path: "/replays", id: "createReplay", tag: "Replays", scope: posthorn.ScopeManage,
		audit: "replay.create", summary: "Deliver many events again", status: http.StatusAccepted, refusals: []int{http.StatusConflict},
		example: map[string]any{"filter": map[string]any{"failed_since": "2026-01-31T09:30:00Z"}, "dry_run": true},
		description: "Makes new deliveries, with the full retry policy, in the background: of each event to each subscription one at most. " +
			"What is found is fixed now, so it never finds its own. It survives restarts, and goes on where it stopped. " +
			"With `dry_run` it is only counted, and answered with 200.",
	}
	handleBody(h, create, h.createReplay)
	h.documentDryRun(&create)
	handle(h, operation{
		method: http.MethodGet, path: "/replays", id: "listReplays", tag: "Replays", scope: posthorn.ScopeRead,
		summary: "List replays", description: "Those that have ended are kept for the retention.",
	}, h.listReplays)
	handle(h, operation{
		method: http.MethodGet, path: "/replays/{id}", id: "getReplay", tag: "Replays", scope: posthorn.ScopeRead,
		summary: "Watch a replay", description: "Its deliveries are at `/deliveries?replay_id=…`.",
	}, h.getReplay)
	handle(h, operation{
		method: http.MethodPost, path: "/replays/{id}/cancel", id: "cancelReplay", tag: "Replays", scope: posthorn.ScopeManage,
		audit: "replay.cancel", summary: "Cancel a replay", refusals: []int{http.StatusConflict},
		description: "It makes no more deliveries. Those it has made stay; cancel them with POST /deliveries/bulk and the filter replay_id.",
	}, h.cancelReplay)
}

// documentDryRun adds the other answer of POST /replays, and the body of the usual one.
func (h *Handler) documentDryRun(op *operation) {
	document := h.api.OpenAPI()
	responses := methodOf(document.Paths[op.path], op.method).Responses
	body := func(t reflect.Type) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{"application/json": {Schema: document.Components.Schemas.Schema(t, true, "")}}
	}
	responses[strconv.Itoa(http.StatusAccepted)].Content = body(reflect.TypeFor[replay]())
	responses[strconv.Itoa(http.StatusOK)] = &huma.Response{Description: "What it would do", Content: body(reflect.TypeFor[replayCount]())}
}

// replayRequest asks for a replay.
type replayRequest struct {
	To              posthorn.ReplayTarget     `json:"to,omitempty" enum:"original,matching" default:"original" doc:"The subscriptions that had what is found, or those that want its events now."`
	Filter          replayFilter              `json:"filter" required:"true" doc:"At least one of its fields."`
	SubscriptionIDs []posthorn.SubscriptionID `json:"subscription_ids,omitempty" maxItems:"100" doc:"With matching: deliver to these alone, like a new one that wants the past."`
	RateLimit       *rateLimit                `json:"rate_limit,omitempty" doc:"How many deliveries it makes; 500 a second unless given."`
	DryRun          bool                      `json:"dry_run,omitempty" doc:"Only count."`
}

// replayFilter finds deliveries that have ended or, with matching and nothing but types and times, events.
type replayFilter struct {
	Status         []posthorn.State        `json:"status,omitempty" enum:"succeeded,exhausted,cancelled" doc:"Of an event's latest delivery to each subscription; absent is all three."`
	Outcome        posthorn.Outcome        `json:"outcome,omitempty" enum:"succeeded,http_error,timeout,dns_error,connect_error,tls_error,blocked,invalid_response,interrupted" doc:"Of the last attempt."`
	StatusCode     attemptStatus           `json:"status_code,omitzero" minimum:"100" maximum:"599" doc:"Of the last attempt."`
	SubscriptionID posthorn.SubscriptionID `json:"subscription_id,omitzero"`
	EventType      []string                `json:"event_type,omitempty" maxItems:"100" doc:"Types and patterns."`
	ReplayID       posthorn.ReplayID       `json:"replay_id,omitzero" doc:"Deliveries that an earlier replay made."`
	Since          time.Time               `json:"since,omitzero" doc:"Created then or later."`
	Until          time.Time               `json:"until,omitzero" doc:"Created before."`
	FailedSince    time.Time               `json:"failed_since,omitzero" doc:"All that failed for good since then, whenever they were created. Stands instead of status."`
}

func (f *replayFilter) filter(v *posthorn.Violations) posthorn.DeliveryFilter {
	const at = "body.filter."
	ended := states()[1:]
	for _, s := range f.Status {
		if !slices.Contains(ended, s) {
			v.Add(at+"status", "must be of %s", joined(ended))
			break
		}
	}
	if f.Outcome != "" && !slices.Contains(posthorn.Outcomes, f.Outcome) {
		v.Add(at+"outcome", "must be one of %s", joined(posthorn.Outcomes))
	}
	if f.StatusCode != 0 && (f.StatusCode < 100 || f.StatusCode > 599) {
		v.Add(at+"status_code", wrongStatus)
	}
	if len(f.EventType) > posthorn.MaxEventTypes {
		v.Add(at+"event_type", "must have at most %d types", posthorn.MaxEventTypes)
	}
	for _, p := range f.EventType {
		if fault := posthorn.CheckPattern(p); fault != "" {
			v.Add(at+"event_type", "%s", fault)
			break
		}
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && f.Until.Before(f.Since) {
		v.Add(at+"until", "must not be before since")
	}
	if !f.FailedSince.IsZero() && len(f.Status) > 0 {
		v.Add(at+"failed_since", "must not stand beside status; it means those that are exhausted")
	}
	found := posthorn.DeliveryFilter{
		States: f.Status, Outcome: f.Outcome, StatusCode: int(f.StatusCode), SubscriptionID: f.SubscriptionID, Types: f.EventType,
		Since: f.Since.UTC(), Until: f.Until.UTC(), EndedSince: f.FailedSince.UTC(), Replay: f.ReplayID,
	}
	if !f.FailedSince.IsZero() {
		found.States = []posthorn.State{posthorn.Exhausted}
	}
	if len(found.States)+len(found.Types) == 0 && found.Outcome == "" && found.StatusCode == 0 && found.SubscriptionID.IsZero() &&
		found.Replay.IsZero() && found.Since.IsZero() && found.Until.IsZero() {
		v.Add("body.filter", "must have at least one field, so that nobody repeats everything by accident")
	}
	return found
}

// showReplayFilter is the filter as it was given.
func showReplayFilter(f *posthorn.DeliveryFilter) replayFilter {
	shown := replayFilter{
		Status: f.States, Outcome: f.Outcome, StatusCode: attemptStatus(f.StatusCode), SubscriptionID: f.SubscriptionID, EventType: f.Types,
		ReplayID: f.Replay, Since: f.Since, Until: f.Until, FailedSince: f.EndedSince,
	}
	if !f.EndedSince.IsZero() {
		shown.Status = nil
	}
	return shown
}

// replay as it is shown.
type replay struct {
	ID               posthorn.ReplayID         `json:"id" example:"rpl_06f1kz9qj4v3g7c8n2m5x0y1za"`
	Status           posthorn.ReplayState      `json:"status" enum:"pending,running,completed,cancelled,failed"`
	To               posthorn.ReplayTarget     `json:"to" enum:"original,matching"`
	Filter           replayFilter              `json:"filter"`
	SubscriptionIDs  []posthorn.SubscriptionID `json:"subscription_ids,omitempty"`
	RateLimit        rateLimit                 `json:"rate_limit"`
	Total            *int                      `json:"total" doc:"What the filter matched at the start; null where counting took too long."`
	Examined         int                       `json:"examined" doc:"Rows looked at so far."`
	Matched          int                       `json:"matched" doc:"Found by the filter so far."`
	Created          int                       `json:"created" doc:"Deliveries made so far."`
	Skipped          int                       `json:"skipped" doc:"Left out so far."`
	SkippedBy        skippedBy                 `json:"skipped_by" doc:"Why."`
	CreatedPerSecond float64                   `json:"created_per_second" doc:"On average since it started."`
	Error            *string                   `json:"error" doc:"Why it failed."`
	CreatedAt        time.Time                 `json:"created_at"`
	StartedAt        *time.Time                `json:"started_at"`
	UpdatedAt        time.Time                 `json:"updated_at"`
	CompletedAt      *time.Time                `json:"completed_at"`
}

// skippedBy counts what a replay left out.
type skippedBy struct {
	Superseded int `json:"superseded" doc:"A later delivery of the event to the subscription exists, or it is on its way or not in a status asked for."`
	Gone       int `json:"gone" doc:"The event was removed by the retention."`
	Erased     int `json:"payload_erased" doc:"The event's payload was erased."`
	Deleted    int `json:"subscription_deleted"`
	Expired    int `json:"expired" doc:"The event's expires_at is past."`
}

// replayCount answers a dry run.
type replayCount struct {
	DryRun     bool      `json:"dry_run"`
	Matched    int       `json:"matched" doc:"Found by the filter."`
	Deliveries int       `json:"deliveries" doc:"So many would be made."`
	Skipped    int       `json:"skipped"`
	SkippedBy  skippedBy `json:"skipped_by"`
	Complete   bool      `json:"complete" doc:"False when counting was stopped after some seconds: there are more."`
}

// replayAnswer is either of the two.
type replayAnswer struct {
	Status   int
	Location string `header:"Location" doc:"Where to watch the replay."`
	Body     any
}

type replayPath struct {
	ID string `path:"id" doc:"The replay's id." example:"rpl_06f1kz9qj4v3g7c8n2m5x0y1za"`
}

func (p *replayPath) id() (posthorn.ReplayID, error) {
	return pathID[posthorn.ReplayID](replayNoun, p.ID)
}

func (in *replayRequest) plan() (posthorn.ReplayPlan, error) {
	var v posthorn.Violations
	plan := posthorn.ReplayPlan{
		To: in.To, Filter: in.Filter.filter(&v), Only: in.SubscriptionIDs,
		RateLimit: posthorn.RateLimit{Limit: posthorn.DefaultReplayRate, Per: "second"},
	}
	switch plan.To {
	case "":
		plan.To = posthorn.ToOriginal
	case posthorn.ToOriginal, posthorn.ToMatching:
	default:
		v.Add("body.to", "must be original or matching")
	}
	if len(plan.Only) > posthorn.MaxReplayReceivers {
		v.Add("body.subscription_ids", "must have at most %d entries", posthorn.MaxReplayReceivers)
	}
	if len(plan.Only) > 0 && plan.To != posthorn.ToMatching {
		v.Add("body.subscription_ids", "goes with to: matching; else use the filter's subscription_id")
	}
	if r := in.RateLimit; r != nil {
		plan.RateLimit = posthorn.RateLimit(*r)
		plan.RateLimit.Check(&v, "body.rate_limit")
	}
	return plan, v.Err()
}

func (h *Handler) createReplay(ctx context.Context, c *call, _ *nothing, in *replayRequest) (*replayAnswer, error) {
	plan, err := in.plan()
	if err != nil {
		return nil, err
	}
	r := &posthorn.Replay{
		ID: posthorn.ReplayID{UUID: posthorn.NewUUID(h.store.Now())}, TenantID: c.tenant(), ReplayPlan: plan,
	}
	within := totalTime
	if in.DryRun {
		within = dryRunTime
	}
	count, err := h.opts.Replays.Count(ctx, *r, within)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		c.unaltered()
		return &replayAnswer{Status: http.StatusOK, Body: replayCount{
			DryRun: true, Matched: count.Matched, Deliveries: count.Deliveries, Skipped: count.Skipped.Sum(),
			SkippedBy: showSkipped(count.Skipped), Complete: count.Complete,
		}}, nil
	}
	if r.Total = count.Matched; !count.Complete {
		r.Total = -1
	}
	if err := h.store.CreateReplay(ctx, r); err != nil {
		return nil, err
	}
	h.opts.Bus.Publish(ctx, posthorn.Signal{Replays: true})
	shown := showReplay(r)
	c.altered(r.ID.String(), nil, shown)
	return &replayAnswer{Status: http.StatusAccepted, Location: "/replays/" + r.ID.String(), Body: shown}, nil
}

func (h *Handler) listReplays(ctx context.Context, c *call, q *Paging) (*reply[list[replay]], error) {
	page, err := pageOf(c, q)
	if err != nil {
		return nil, err
	}
	rows, next, err := h.store.ListReplays(ctx, c.tenant(), page)
	if err != nil {
		return nil, err
	}
	return pageWith(c, rows, next, showReplay), nil
}

func (h *Handler) getReplay(ctx context.Context, c *call, p *replayPath) (*reply[replay], error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	r, err := h.store.GetReplay(ctx, c.tenant(), id)
	if err != nil {
		return nil, err
	}
	return replyWith(showReplay(r)), nil
}

func (h *Handler) cancelReplay(ctx context.Context, c *call, p *replayPath) (*reply[replay], error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	r, err := h.store.CancelReplay(ctx, c.tenant(), id)
	if err != nil {
		return nil, err
	}
	h.opts.Bus.Publish(ctx, posthorn.Signal{Replays: true})
	return replyWith(showReplay(r)), nil
}

func showReplay(r *posthorn.Replay) replay {
	is := replay{
		ID: r.ID, Status: r.State, To: r.To, Filter: showReplayFilter(&r.Filter), SubscriptionIDs: r.Only,
		RateLimit: rateLimit{r.RateLimit.Limit, r.RateLimit.Per}, Examined: r.Examined, Matched: r.Matched, Created: r.Created,
		Skipped: r.Skipped.Sum(), SkippedBy: showSkipped(r.Skipped), Error: nonEmpty(r.Error), CreatedAt: r.CreatedAt.UTC(),
		StartedAt: optional(r.StartedAt), UpdatedAt: r.UpdatedAt.UTC(), CompletedAt: optional(r.CompletedAt),
	}
	if r.Total >= 0 {
		is.Total = &r.Total
	}
	if took := r.UpdatedAt.Sub(r.StartedAt); !r.StartedAt.IsZero() && took > 0 {
		is.CreatedPerSecond = float64(int(float64(r.Created)/took.Seconds()*10)) / 10
	}
	return is
}

func showSkipped(s posthorn.ReplaySkips) skippedBy {
	return skippedBy{Superseded: s.Superseded, Gone: s.Gone, Erased: s.Erased, Deleted: s.Deleted, Expired: s.Expired}
}
