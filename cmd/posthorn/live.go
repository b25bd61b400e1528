package main

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/console"
)

type trigger struct {
	server
	Type           string        `arg:"" help:"The event's type, such as order.created."`
	Payload        string        `placeholder:"JSON" help:"The payload: JSON, @file, or @- for the standard input (default: {})."`
	ContentType    string        `help:"Content type of the payload (default: application/json)."`
	IdempotencyKey string        `placeholder:"TEXT" help:"Publishing again with the same key changes nothing."`
	OrderingKey    string        `placeholder:"TEXT" help:"Narrows the order of fifo subscriptions."`
	Wait           time.Duration `placeholder:"TIME" help:"Wait for the deliveries, such as 10s, and show what became of them; exit 1 unless all succeeded by then."`
}

func (t trigger) Run(ctx context.Context) error {
	payload, err := content(t.Payload)
	if err != nil {
		return fmt.Errorf("payload: %w", err)
	}
	c, err := t.console()
	if err != nil {
		return err
	}
	return c.Trigger(ctx, console.Trigger{
		Type: t.Type, Payload: payload, ContentType: t.ContentType, IdempotencyKey: t.IdempotencyKey,
		OrderingKey: t.OrderingKey, Wait: t.Wait,
	})
}

// subject are the flags that narrow what is followed.
type subject struct {
	Types        []string                `help:"Types and patterns, such as order.* (default: all)."`
	Subscription posthorn.SubscriptionID `placeholder:"ID" help:"Only what one subscription gets."`
}

type tail struct {
	server
	subject
	Status []string `help:"Any of pending, succeeded, exhausted, cancelled."`
	Since  string   `placeholder:"TIME" help:"Begin in the past: RFC 3339, or how long ago, such as 10m."`
}

func (t tail) Run(ctx context.Context) error {
	q := url.Values{}
	set(q, "event_type", t.Types...)
	set(q, "subscription_id", t.Subscription.String())
	set(q, "status", t.Status...)
	since, err := moment(t.Since)
	if err != nil {
		return fmt.Errorf("--since: %w", err)
	}
	set(q, "since", since)
	c, err := t.console()
	if err != nil {
		return err
	}
	return c.Tail(ctx, q)
}

type listen struct {
	server
	subject
	Forward  string        `placeholder:"URL" help:"Where on this machine to forward to, such as http://localhost:3000/hooks (default: only print)."`
	Secret   string        `placeholder:"whsec_…" help:"Sign with this secret (default: a new one, printed)."`
	Since    time.Duration `placeholder:"TIME" help:"Begin with the events of the last time, such as 10m."`
	Payloads bool          `help:"Print payloads too."`
}

func (l listen) Run(ctx context.Context) error {
	if u, err := url.Parse(l.Forward); l.Forward != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("--forward must be a URL like http://localhost:3000/hooks")
	}
	c, err := l.console()
	if err != nil {
		return err
	}
	return c.Listen(ctx, console.Listen{
		Forward: l.Forward, Types: l.Types, Subscription: l.Subscription, Secret: l.Secret, Since: l.Since,
		Payloads: l.Payloads || l.Forward == "",
	})
}
