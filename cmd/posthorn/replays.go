package main

import (
	"context"
	"fmt"

	"github.com/posthorn/posthorn"
)

type replays struct {
	Create createReplay `cmd:"" help:"Deliver again what a filter finds."`
	List   listReplays  `cmd:"" help:"List replays, newest first."`
	Get    getReplay    `cmd:"" help:"Show how far a replay has come."`
	Cancel cancelReplay `cmd:"" help:"Make a replay stop."`
}

type createReplay struct {
	server
	span
	FailedSince  string                    `placeholder:"TIME" help:"All that failed for good since then: RFC 3339, or how long ago, such as 2h."`
	Status       []string                  `help:"Any of succeeded, exhausted, cancelled."`
	Type         []string                  `help:"Types and patterns, such as order.*."`
	Subscription posthorn.SubscriptionID   `placeholder:"ID" help:"Only deliveries to a subscription."`
	Replay       posthorn.ReplayID         `placeholder:"ID" help:"Only deliveries that an earlier replay made."`
	To           string                    `enum:"original,matching" default:"original" help:"The subscriptions that had them, or those that want the events now."`
	Only         []posthorn.SubscriptionID `placeholder:"ID" help:"With --to matching: these subscriptions alone."`
	Rate         int                       `placeholder:"N" help:"Deliveries a second."`
	DryRun       bool                      `help:"Only count."`
}

func (r createReplay) Run(ctx context.Context) error {
	filter := map[string]any{}
	for name, text := range map[string]string{"since": r.Since, "until": r.Until, "failed_since": r.FailedSince} {
		at, err := moment(text)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if at != "" {
			filter[name] = at
		}
	}
	if len(r.Status) > 0 {
		filter["status"] = r.Status
	}
	if len(r.Type) > 0 {
		filter["event_type"] = r.Type
	}
	if !r.Subscription.IsZero() {
		filter["subscription_id"] = r.Subscription
	}
	if !r.Replay.IsZero() {
		filter["replay_id"] = r.Replay
	}
	body := map[string]any{"to": r.To, "filter": filter}
	if len(r.Only) > 0 {
		body["subscription_ids"] = r.Only
	}
	if r.Rate > 0 {
		body["rate_limit"] = posthorn.RateLimit{Limit: r.Rate, Per: "second"}
	}
	if r.DryRun {
		body["dry_run"] = true
	}
	c, err := r.console()
	if err != nil {
		return err
	}
	return c.CreateReplay(ctx, body, r.DryRun)
}

type listReplays struct {
	server
	page
}

func (l listReplays) Run(ctx context.Context) error {
	c, err := l.console()
	if err != nil {
		return err
	}
	return c.Replays(ctx, l.Limit)
}

type replayID = identified[posthorn.ReplayID]

type getReplay struct {
	server
	replayID
}

func (g getReplay) Run(ctx context.Context) error {
	c, err := g.console()
	if err != nil {
		return err
	}
	return c.Replay(ctx, g.ID)
}

type cancelReplay struct {
	server
	replayID
}

func (r cancelReplay) Run(ctx context.Context) error {
	return r.act(ctx, "/replays/"+r.ID.String()+"/cancel", nil)
}
