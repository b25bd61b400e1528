package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/move"
	"github.com/posthorn/posthorn/internal/postgres"
	"github.com/posthorn/posthorn/internal/sqlite"
)

// errEmbeddedOnly is for commands on the file of the embedded store.
var errEmbeddedOnly = errors.New("this is for the embedded store; a PostgreSQL database is backed up and restored by its own tools (docs/operations.md)")

// findEmbedded fails where the embedded store is not there, for what must not make one.
func findEmbedded(s *config.Settings) error {
	there, err := sqlite.Find(s.SQLitePath())
	if err == nil && !there {
		err = fmt.Errorf("there is no store at %s; set POSTHORN_DATA_DIR or DATABASE_URL", s.SQLitePath())
	}
	return err
}

// Backup copies the embedded store to a file, also while a node serves it, and says what is in the copy.
func Backup(ctx context.Context, s *config.Settings, to string, out io.Writer) error {
	if s.Postgres() {
		return errEmbeddedOnly
	}
	if err := findEmbedded(s); err != nil {
		return err
	}
	c, err := sqlite.Backup(ctx, s.SQLitePath(), to)
	if err != nil {
		return err
	}
	describeCopy(out, to, c)
	if key := s.KeyFile(); key != "" {
		fmt.Fprintf(out, "The secrets in it open only with %s: keep a copy of that, in another place.\n", key)
	}
	return nil
}

// Restore puts a backup in the place of the embedded store, which no node may have open.
func Restore(ctx context.Context, s *config.Settings, from string, replace bool, out io.Writer) error {
	if s.Postgres() {
		return errEmbeddedOnly
	}
	if key := s.KeyFile(); key != "" {
		// Otherwise a new one would be made, which opens nothing of the copy.
		if _, err := os.Stat(key); err != nil {
			return fmt.Errorf("put the key of the backed up store back first: %w", err)
		}
	}
	keys, err := s.Keys()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(s.SQLitePath()), 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	c, err := sqlite.Restore(ctx, from, s.SQLitePath(), keys, replace)
	if err != nil {
		return err
	}
	describeCopy(out, s.SQLitePath(), c)
	return nil
}

func describeCopy(out io.Writer, path string, c sqlite.Copy) {
	fmt.Fprintf(out, "%s: %d events, %d deliveries, %d subscriptions, schema %d, %d bytes; looked through and whole\n",
		path, c.Events, c.Deliveries, c.Subscriptions, c.Migration, c.Bytes)
}

// Move takes everything from the embedded store, which no node may have open, into an empty PostgreSQL. The file is renamed
// afterwards, so that no node goes on with it.
func Move(ctx context.Context, s *config.Settings, to string, out io.Writer) error {
	if s.Postgres() {
		return errors.New("the source is DATABASE_URL, which must be the embedded store")
	}
	target := config.Settings{DatabaseURL: to}
	if !target.Postgres() {
		return errors.New("--to must be like postgres://user:password@host/database")
	}
	if err := findEmbedded(s); err != nil {
		return err
	}
	keys, err := s.Keys()
	if err != nil {
		return err
	}
	source, err := sqlite.Open(ctx, sqlite.Options{Path: s.SQLitePath(), Sealer: keys, Existing: true})
	if err != nil {
		return err
	}
	defer source.Close()
	database, err := postgres.Open(ctx, postgres.Options{URL: to, Sealer: keys, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("open PostgreSQL: %w", err)
	}
	defer database.Close()
	err = move.Run(ctx, source, database, func(m move.Moved) {
		fmt.Fprintf(out, "%-22s %10d rows, read back and the same\n", m.Table, m.Rows)
	})
	if err != nil {
		return fmt.Errorf("nothing was moved: %w", err)
	}
	renamed, err := source.Retire()
	if err != nil {
		return fmt.Errorf("everything was moved; do not start a node on the old file: %w", err)
	}
	fmt.Fprintf(out, "\nEverything is in PostgreSQL. The old file is %s now.\n", renamed)
	if key := s.KeyFile(); key != "" {
		fmt.Fprintf(out, "Start the nodes with DATABASE_URL, and with the content of %s as POSTHORN_ENCRYPTION_KEYS.\n", key)
	}
	return nil
}
