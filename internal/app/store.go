package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/postgres"
	"github.com/posthorn/posthorn/internal/sqlite"
)

// OpenStore opens the store the settings name and brings its schema up to date.
func OpenStore(ctx context.Context, s *config.Settings, log *slog.Logger) (posthorn.Store, error) {
	if !s.Postgres() {
		if err := os.MkdirAll(filepath.Dir(s.SQLitePath()), 0o700); err != nil {
			return nil, fmt.Errorf("data directory: %w", err)
		}
	}
	keys, err := s.Keys()
	if err != nil {
		return nil, err
	}
	if s.Postgres() {
		store, err := postgres.Open(ctx, postgres.Options{URL: s.DatabaseURL, Sealer: keys, Log: log})
		if err != nil {
			return nil, fmt.Errorf("open PostgreSQL: %w", err)
		}
		return store, nil
	}
	store, err := sqlite.Open(ctx, sqlite.Options{Path: s.SQLitePath(), Sealer: keys})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", s.SQLitePath(), err)
	}
	return store, nil
}
