package main

import (
	"context"
	"net/url"

	"github.com/posthorn/posthorn"
)

type events struct {
	List listEvents `cmd:"" help:"List events, newest first."`
	Get  getEvent   `cmd:"" help:"Show an event: its payload and what became of it."`
}

type listEvents struct {
	server
	page
	span
	Type         []string                `help:"Types and patterns, such as order.*."`
	Status       string                  `help:"pending, succeeded, partial, failed or unmatched."`
	Subscription posthorn.SubscriptionID `placeholder:"ID" help:"Only those a subscription got."`
	Q            string                  `placeholder:"TEXT" help:"An event's id or idempotency key, whole or its beginning."`
}

func (l listEvents) Run(ctx context.Context) error {
	q := url.Values{}
	set(q, "type", l.Type...)
	set(q, "status", l.Status)
	set(q, "subscription_id", l.Subscription.String())
	set(q, "q", l.Q)
	if err := l.span.into(q); err != nil {
		return err
	}
	c, err := l.console()
	if err != nil {
		return err
	}
	return c.Events(ctx, q, l.Limit)
}

type getEvent struct {
	server
	eventID
}

func (g getEvent) Run(ctx context.Context) error {
	c, err := g.console()
	if err != nil {
		return err
	}
	return c.Event(ctx, g.ID)
}

type deliveries struct {
	List   listDeliveries `cmd:"" help:"List deliveries, newest first."`
	Get    getDelivery    `cmd:"" help:"Show a delivery: why it is in its state, and every attempt."`
	Retry  retryDelivery  `cmd:"" help:"Attempt a delivery now, outside its schedule."`
	Cancel cancelDelivery `cmd:"" help:"Cancel a pending delivery."`
}

type listDeliveries struct {
	server
	page
	span
	Status       []string                `help:"Any of pending, succeeded, exhausted, cancelled."`
	Outcome      string                  `help:"Of the last attempt, such as http_error."`
	Code         string                  `help:"HTTP status of the last attempt."`
	Type         []string                `help:"Types and patterns, such as order.*."`
	Subscription posthorn.SubscriptionID `placeholder:"ID" help:"Only those to a subscription."`
	Event        posthorn.EventID        `placeholder:"ID" help:"Only those of an event."`
}

func (l listDeliveries) Run(ctx context.Context) error {
	q := url.Values{}
	set(q, "status", l.Status...)
	set(q, "outcome", l.Outcome)
	set(q, "status_code", l.Code)
	set(q, "event_type", l.Type...)
	set(q, "subscription_id", l.Subscription.String())
	set(q, "event_id", l.Event.String())
	if err := l.span.into(q); err != nil {
		return err
	}
	c, err := l.console()
	if err != nil {
		return err
	}
	return c.Deliveries(ctx, q, l.Limit)
}

type getDelivery struct {
	server
	deliveryID
}

func (g getDelivery) Run(ctx context.Context) error {
	c, err := g.console()
	if err != nil {
		return err
	}
	return c.Delivery(ctx, g.ID)
}

type retryDelivery struct {
	server
	deliveryID
}

func (r retryDelivery) Run(ctx context.Context) error {
	return r.act(ctx, "/deliveries/"+r.ID.String()+"/retry", nil)
}

type cancelDelivery struct {
	server
	deliveryID
}

func (c cancelDelivery) Run(ctx context.Context) error {
	return c.act(ctx, "/deliveries/"+c.ID.String()+"/cancel", nil)
}

// act does what a POST without a body does.
func (s server) act(ctx context.Context, path string, body any) error {
	c, err := s.console()
	if err != nil {
		return err
	}
	return c.Act(ctx, path, body)
}
