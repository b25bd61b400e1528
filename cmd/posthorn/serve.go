package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/telemetry"
)

type serve struct{}

func (serve) Run(ctx context.Context, s *config.Settings) error {
	if err := s.Resolve(); err != nil {
		return err
	}
	log, level := telemetry.NewLog(os.Stderr, s.LogLevel, s.LogFormat)
	switchLevel(ctx, log, level)
	for _, u := range config.Unknown() {
		log.Warn("unknown variable: " + u.String())
	}
	// net/http's client has no logger of its own: what it says of receivers goes where the rest goes, when asked for.
	slog.SetLogLoggerLevel(slog.LevelDebug)
	slog.SetDefault(log)
	a, err := app.New(ctx, s, log, version)
	if err != nil {
		return err
	}
	if err := a.Start(ctx); err != nil {
		return err
	}
	giveBack()
	greet(a, s)
	select {
	case <-ctx.Done():
		log.Info("stopping")
	case err = <-a.Failed():
	}
	a.Stop()
	return err
}

// greet tells a person what to do next; the key is shown here and never again.
func greet(a *app.App, s *config.Settings) {
	if a.URL() == "" {
		return
	}
	fmt.Printf("listening on %s\n", a.URL())
	key := "$POSTHORN_API_KEY"
	if a.First != nil && a.First.Generated {
		key = a.First.Text
		fmt.Printf("\nYour API key, shown this once:\n\n  %s\n", key)
	}
	if !s.Has(config.RoleAPI) {
		return
	}
	if a.First != nil {
		fmt.Printf("\nPublish your first event:\n\n  curl %s/events -H 'Authorization: Bearer %s' \\\n"+
			"    -H 'Content-Type: application/json' -d '{\"type\":\"order.created\",\"payload\":{\"id\":1}}'\n", a.URL(), key)
	}
	fmt.Printf("\nAPI docs   %s/docs\nDashboard  %s/\n", a.URL(), a.URL())
}

type migrate struct{}

func (migrate) Run(ctx context.Context, s *config.Settings) error {
	return withStore(ctx, s, app.OpenStore, func(store posthorn.Store) error {
		h, err := store.Health(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("the schema is at version %d of %d\n", h.Migration, h.Expected)
		return nil
	})
}

type cleanup struct{}

func (cleanup) Run(ctx context.Context, s *config.Settings) error {
	return onStore(ctx, s, func(store posthorn.Store) error {
		r, err := app.Cleanup(ctx, s, store)
		if err != nil {
			return err
		}
		fmt.Printf("removed %d events, %d deliveries, %d attempts, %d idempotency keys, %d partitions\n",
			r.Events, r.Deliveries, r.Attempts, r.Keys, r.Partitions)
		if r.Behind {
			fmt.Println("some of what is past the retention stays, until the deliveries of that time were looked through: run this again in some seconds")
		}
		return nil
	})
}

// onStore runs a command on the store that the settings name, which must be there and of this version's schema.
func onStore(ctx context.Context, s *config.Settings, f func(posthorn.Store) error) error {
	return withStore(ctx, s, app.OpenExisting, f)
}

func withStore(ctx context.Context, s *config.Settings, open func(context.Context, *config.Settings, *slog.Logger) (posthorn.Store, error), f func(posthorn.Store) error) error {
	if err := s.Resolve(); err != nil {
		return err
	}
	log, _ := telemetry.NewLog(os.Stderr, s.LogLevel, s.LogFormat)
	store, err := open(ctx, s, log)
	if err != nil {
		return err
	}
	if err := f(store); err != nil {
		_ = store.Close()
		return err
	}
	return store.Close()
}
