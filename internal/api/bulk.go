package api

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/posthorn/posthorn"
)

const (
	// bulkStep is how many deliveries one transaction changes, bulkTime how long one request goes on with further steps.
	bulkStep = 2000
	bulkTime = 5 * time.Second
)

// bulkInput is a change of all deliveries that a filter finds.
type bulkInput struct {
	Action string     `json:"action" required:"true" enum:"retry,cancel"`
	Filter bulkFilter `json:"filter" required:"true" doc:"At least one of its fields."`
	DryRun bool       `json:"dry_run,omitempty" doc:"Only count."`
	Cursor string     `json:"cursor,omitempty" doc:"The next_cursor of the request before."`
}

// bulkFilter is the filter of GET /deliveries.
type bulkFilter struct {
	Status         []posthorn.State        `json:"status,omitempty" enum:"pending,succeeded,exhausted,cancelled"`
	Outcome        posthorn.Outcome        `json:"outcome,omitempty" enum:"succeeded,http_error,timeout,dns_error,connect_error,tls_error,blocked,invalid_response,interrupted"`
	StatusCode     attemptStatus           `json:"status_code,omitzero" minimum:"100" maximum:"599"`
	SubscriptionID posthorn.SubscriptionID `json:"subscription_id,omitzero"`
	EventID        posthorn.EventID        `json:"event_id,omitzero"`
	EventType      []string                `json:"event_type,omitempty" doc:"Types and patterns."`
	ReplayID       posthorn.ReplayID       `json:"replay_id,omitzero"`
	Since          time.Time               `json:"since,omitzero"`
	Until          time.Time               `json:"until,omitzero"`
}

// attemptStatus is the HTTP status of an attempt in a filter.
type attemptStatus int

const wrongStatus = "must be an HTTP status from 100 to 599"

// UnmarshalJSON refuses 0, which would be as if it were not there.
func (s *attemptStatus) UnmarshalJSON(b []byte) error {
	n, err := strconv.Atoi(string(b))
	if n == 0 || err != nil {
		return refused(wrongStatus)
	}
	*s = attemptStatus(n)
	return nil
}

// bulkReport counts what was found and changed.
type bulkReport struct {
	Matched    int     `json:"matched" doc:"Found by the filter and may be changed."`
	Changed    int     `json:"changed"`
	DryRun     bool    `json:"dry_run"`
	NextCursor *string `json:"next_cursor" doc:"Set when there is more: repeat with it as cursor."`
}

// bulkAudit is what the audit log keeps of a bulk change.
type bulkAudit struct {
	Action  string     `json:"action"`
	Filter  bulkFilter `json:"filter"`
	Changed int        `json:"changed"`
}

func (f *bulkFilter) filter() (posthorn.DeliveryFilter, error) {
	var v posthorn.Violations
	const at = "body.filter."
	for _, s := range f.Status {
		if !slices.Contains(states(), s) {
			v.Add(at+"status", "must be of %s", joined(states()))
		}
	}
	if f.Outcome != "" && !slices.Contains(posthorn.Outcomes, f.Outcome) {
		v.Add(at+"outcome", "must be one of %s", joined(posthorn.Outcomes))
	}
	if f.StatusCode != 0 && (f.StatusCode < 100 || f.StatusCode > 599) {
		v.Add(at+"status_code", wrongStatus)
	}
	for _, p := range f.EventType {
		if fault := posthorn.CheckPattern(p); fault != "" {
			v.Add(at+"event_type", "%s", fault)
		}
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && f.Until.Before(f.Since) {
		v.Add(at+"until", "must not be before since")
	}
	none := len(f.Status) == 0 && f.Outcome == "" && f.StatusCode == 0 && f.SubscriptionID.IsZero() && f.EventID.IsZero() &&
		len(f.EventType) == 0 && f.ReplayID.IsZero() && f.Since.IsZero() && f.Until.IsZero()
	if none {
		v.Add("body.filter", "must have at least one field, so that nobody changes everything by accident")
	}
	return posthorn.DeliveryFilter{
		States: f.Status, Outcome: f.Outcome, StatusCode: int(f.StatusCode), SubscriptionID: f.SubscriptionID, EventID: f.EventID,
		Types: f.EventType, Since: f.Since.UTC(), Until: f.Until.UTC(), Replay: f.ReplayID,
	}, v.Err()
}

func (h *Handler) changeDeliveries(ctx context.Context, c *call, _ *nothing, in *bulkInput) (*reply[bulkReport], error) {
	change := posthorn.BulkChange{DryRun: in.DryRun, Limit: bulkStep}
	switch in.Action {
	case "retry":
		change.On = posthorn.OnRetry
	case "cancel":
		change.On = posthorn.OnCancel
	default:
		return nil, invalid("body.action", "must be retry or cancel")
	}
	var err error
	if change.Filter, err = in.Filter.filter(); err != nil {
		return nil, err
	}
	if change.Before, err = readCursor(c, "body.cursor", in.Cursor); err != nil {
		return nil, err
	}
	report := bulkReport{DryRun: in.DryRun}
	if in.DryRun {
		defer c.unaltered()
	}
	for end := time.Now().Add(bulkTime); ; {
		step, err := h.store.ChangeDeliveries(ctx, c.tenant(), change)
		if err != nil {
			return nil, err
		}
		report.Matched += step.Matched
		report.Changed += step.Changed
		c.altered("", nil, bulkAudit{in.Action, in.Filter, report.Changed})
		change.Before = step.Next
		if step.Next.IsZero() || time.Now().After(end) {
			break
		}
	}
	if !change.Before.IsZero() {
		cursor := writeCursor(c, change.Before)
		report.NextCursor = &cursor
	}
	if report.Changed > 0 {
		h.opts.Bus.Publish(ctx, posthorn.Signal{Wake: change.On == posthorn.OnRetry, Recall: change.On == posthorn.OnCancel, Reread: c.tenant()})
	}
	return replyWith(report), nil
}
