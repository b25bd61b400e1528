package main

import (
	"context"
	"errors"
	"net/url"
	"os"

	"github.com/posthorn/posthorn/internal/console"
)

type subscriptions struct {
	List   listSubscriptions  `cmd:"" help:"List subscriptions, newest first."`
	Get    getSubscription    `cmd:"" help:"Show a subscription."`
	Secret getSecret          `cmd:"" help:"Print the secret that signs its deliveries."`
	Pause  pauseSubscription  `cmd:"" help:"Hold its deliveries until it is resumed."`
	Resume resumeSubscription `cmd:"" help:"Send what was held; also enables what Posthorn disabled."`
}

type listSubscriptions struct {
	server
	page
	Status string `help:"active, paused or disabled."`
	Q      string `placeholder:"TEXT" help:"In the URL or the description."`
}

func (l listSubscriptions) Run(ctx context.Context) error {
	q := url.Values{}
	set(q, "status", l.Status)
	set(q, "q", l.Q)
	c, err := l.console()
	if err != nil {
		return err
	}
	return c.Subscriptions(ctx, q, l.Limit)
}

type getSubscription struct {
	server
	subscriptionID
}

func (g getSubscription) Run(ctx context.Context) error {
	c, err := g.console()
	if err != nil {
		return err
	}
	return c.Subscription(ctx, g.ID)
}

type getSecret struct {
	server
	subscriptionID
}

func (g getSecret) Run(ctx context.Context) error {
	c, err := g.console()
	if err != nil {
		return err
	}
	return c.Secret(ctx, g.ID)
}

type pauseSubscription struct {
	server
	subscriptionID
}

func (p pauseSubscription) Run(ctx context.Context) error {
	return p.act(ctx, "/subscriptions/"+p.ID.String()+"/pause", nil)
}

type resumeSubscription struct {
	server
	subscriptionID
	Backlog string `enum:"drain,skip" default:"drain" help:"What becomes of what was held: drain sends it, skip cancels it."`
}

func (r resumeSubscription) Run(ctx context.Context) error {
	return r.act(ctx, "/subscriptions/"+r.ID.String()+"/resume", map[string]any{"backlog": r.Backlog})
}

type apply struct {
	server
	File   string `short:"f" required:"" placeholder:"FILE" help:"YAML or JSON; - is the standard input."`
	DryRun bool   `help:"Only say what would be changed."`
	Prune  bool   `help:"Delete what a list in the file lacks; of subscriptions only those that a file made."`
}

func (a apply) Run(ctx context.Context) error {
	text, err := fileOrInput(a.File)
	if err != nil {
		return err
	}
	if a.JSON {
		return errors.New("apply prints text only")
	}
	c, err := a.console()
	if err != nil {
		return err
	}
	return c.Apply(ctx, console.Apply{Text: text, Lookup: os.LookupEnv, DryRun: a.DryRun, Prune: a.Prune})
}

type dump struct {
	server
	Secrets bool `help:"With the signing secrets of subscriptions."`
}

func (d dump) Run(ctx context.Context) error {
	c, err := d.console()
	if err != nil {
		return err
	}
	return c.Dump(ctx, d.Secrets)
}
