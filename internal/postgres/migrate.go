package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migration/*.sql
var migrations embed.FS

// migrateTimeout bounds a start's migrations, waiting for another node's included.
const migrateTimeout = 10 * time.Minute

// ErrMigrate ends what an Existing store says that is older than this version.
var ErrMigrate = errors.New("run posthorn migrate")

// checkSchema fails where migrate would have something to do. A newer schema is let be: nodes of two neighbouring versions run side by side.
func (s *Store) checkSchema(ctx context.Context) error {
	files, err := fs.Glob(migrations, "migration/*.sql")
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	if s.expected, err = goose.NumericComponent(slices.Max(files)); err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	var begun bool
	err = s.do(ctx, "look for the schema", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, `SELECT to_regclass('goose_db_version') IS NOT NULL`).Scan(&begun)
	})
	if err != nil {
		return err
	}
	if !begun {
		return errors.New("the database has no store yet: start a node on it, or run posthorn migrate")
	}
	h, err := s.Health(ctx)
	if err == nil && h.Migration < s.expected {
		err = fmt.Errorf("the schema is %d, this version expects %d: %w", h.Migration, s.expected, ErrMigrate)
	}
	return err
}

// migrate brings the schema up to date. Of several nodes starting together one migrates and the others wait: the lock is
// a row with a lease, which also works behind a pooler in transaction mode, and is not taken when nothing is pending.
func (s *Store) migrate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, migrateTimeout)
	defer cancel()
	db := stdlib.OpenDBFromPool(s.pool)
	defer db.Close()
	files, err := fs.Sub(migrations, "migration")
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	locker, err := lock.NewPostgresTableLocker(
		lock.WithTableLockTimeout(250*time.Millisecond, uint64(migrateTimeout/(250*time.Millisecond))),
		// Another holder is waited for; what the server refuses is not.
		lock.WithTableRetryPolicy(func(err error) bool { return codeOf(err) == "" && !isContext(err) }),
		lock.WithTableLogger(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		return fmt.Errorf("migration lock: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithLocker(locker), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	sources := provider.ListSources()
	s.expected = sources[len(sources)-1].Version
	pending := true
	var begun bool
	// Asking goose makes its table, without the lock: the first start must not race for it.
	if err := s.pool.QueryRow(ctx, `SELECT to_regclass('goose_db_version') IS NOT NULL`).Scan(&begun); err != nil {
		return explain("migrations", err)
	}
	if begun {
		if pending, err = provider.HasPending(ctx); err != nil {
			return explain("migrations", err)
		}
	}
	if !pending {
		return nil
	}
	start := time.Now()
	results, err := provider.Up(ctx)
	if err != nil {
		return explain("migrate", err)
	}
	// Another node may have done it while this one waited for the lock.
	if len(results) > 0 {
		s.log.Info("migrated the database", "steps", len(results), "to", s.expected, "took", time.Since(start))
	}
	return nil
}
