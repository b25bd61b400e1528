package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/failpoint"
	"github.com/posthorn/posthorn/internal/postgres"
	"github.com/posthorn/posthorn/internal/sqlite"
)

// OpenStore opens the store the settings name and brings its schema up to date.
func OpenStore(ctx context.Context, s *config.Settings, log *slog.Logger) (posthorn.Store, error) {
	return openStore(ctx, s, log, s.Points())
}

// OpenExisting opens the store for a command beside the service: it makes and migrates nothing, and fails where there is no store or
// where its schema is older than this version's.
func OpenExisting(ctx context.Context, s *config.Settings, log *slog.Logger) (posthorn.Store, error) {
	return dial(ctx, s, log, s.Points(), true)
}

// openStore is OpenStore with the process's fail points, nil for none.
func openStore(ctx context.Context, s *config.Settings, log *slog.Logger, points *failpoint.Points) (posthorn.Store, error) {
	for _, at := range []failpoint.Point{failpoint.Clock, failpoint.MigrateBefore} {
		if err := points.Hit(at); err != nil {
			return nil, err
		}
	}
	store, err := dial(ctx, s, log, points, false)
	if err != nil {
		return nil, err
	}
	if err := points.Hit(failpoint.MigrateAfter); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return breakable(store, points), nil
}

// dial opens the store itself.
func dial(ctx context.Context, s *config.Settings, log *slog.Logger, points *failpoint.Points, existing bool) (posthorn.Store, error) {
	if !s.Postgres() {
		// Before the keys, which are made where there are none.
		if existing {
			if err := findEmbedded(s); err != nil {
				return nil, err
			}
		} else if _, err := sqlite.Find(s.SQLitePath()); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(filepath.Dir(s.SQLitePath()), 0o700); err != nil {
			return nil, fmt.Errorf("data directory: %w", err)
		}
	}
	keys, err := s.Keys()
	if err != nil {
		return nil, err
	}
	if s.Postgres() {
		store, err := postgres.Open(ctx, postgres.Options{URL: s.DatabaseURL, Sealer: keys, Existing: existing, Log: log, Tracer: breakableTracer(points)})
		if err != nil {
			return nil, fmt.Errorf("open PostgreSQL: %w", err)
		}
		return store, nil
	}
	o := sqlite.Options{Path: s.SQLitePath(), Sealer: keys, Existing: existing, Log: log, BeforeCommit: beforeCommit(points)}
	if points.Steps() {
		o.Now = points.Now
	}
	store, err := sqlite.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	return store, nil
}
