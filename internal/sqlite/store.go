// Package sqlite is the store in one file: SQLite in WAL mode with synchronous=FULL, one writer and a pool of readers.
//
// It owns the file, its schema (migration/*.sql), and every statement run on it. One process owns the file, so its clock
// is Go's, no other claimer exists, and the claims of an earlier run are freed at the start. It leaves the rules to
// package posthorn, matching to ingest, and when to clean up to the janitor. It starts no goroutine that outlives Close.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/ride"
)

//go:embed migration/*.sql
var migrations embed.FS

// Sealer keeps what is confidential unreadable in the file. The binding ties sealed bytes to their row.
type Sealer interface {
	Seal(plain []byte, bind string) []byte
	Open(sealed []byte, bind string) ([]byte, error)
}

// Options of a store.
type Options struct {
	// Path of the database file; it and its directory are made when missing.
	Path string
	// Sealer is required.
	Sealer Sealer
	// Existing is for a command beside the service: it makes and migrates nothing, and fails where there is no store or where its
	// schema is not this version's.
	Existing bool
	// Log gets the migrations. Default: discarded.
	Log *slog.Logger
	// Now is the store's clock, time.Now by default.
	Now func() time.Time
	// BeforeCommit, when set, is asked before each commit with the call's context: an error rolls back.
	BeforeCommit func(ctx context.Context) error
	// Readers is the size of the pool that reads, 4 by default.
	Readers int
}

// Store is a posthorn.Store over one file.
type Store struct {
	clock  func() time.Time
	sealer Sealer
	path   string
	// beforeCommit may be nil.
	beforeCommit func(ctx context.Context) error
	existing     bool
	log          *slog.Logger

	lock    *os.File
	db      *sql.DB // the writer's handle, of one connection
	writer  *writer
	rides   ride.Queue[func(*tx) error]
	readers *sql.DB
	// searching is held by the one search for due deliveries; search and resume belong to it.
	searching chan struct{}
	search    *searcher
	resume    map[posthorn.SubscriptionID]string
	// cleaning is held by the one cleanup; cleaned is the row of the last event it walked over.
	cleaning sync.Mutex
	cleaned  int64

	migration, expected int64
}

// Open opens the file, makes or migrates its schema, and frees the claims of an earlier run: each of them ends as an
// interrupted attempt when its delivery is claimed again. It fails where another process has the file, where a newer
// version has written it, and where the store that was there was moved away.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Sealer == nil {
		return nil, errors.New("open sqlite store: no sealer")
	}
	if o.Path == "" {
		return nil, errors.New("open sqlite store: no path")
	}
	s := &Store{
		clock: o.Now, sealer: o.Sealer, path: o.Path, beforeCommit: o.BeforeCommit, existing: o.Existing, log: o.Log,
		searching: make(chan struct{}, 1), resume: map[posthorn.SubscriptionID]string{},
	}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if o.Readers <= 0 {
		o.Readers = 4
	}
	if err := s.open(ctx, o.Readers); err != nil {
		_ = s.release()
		if damaged(err) {
			err = fmt.Errorf("the file is damaged: put it and what is beside it (-wal) aside, and a backup in its place with posthorn restore: %w", err)
		}
		return nil, fmt.Errorf("open sqlite store %s: %w", o.Path, fault(err))
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, readers int) error {
	if err := s.takeFile(); err != nil {
		return err
	}
	// SQLite as distributions build it: fdatasync, which is as durable and spares a journal write for the timestamps.
	// Where the system has none the store commits with fsync.
	if _, err := sqlite.Fdatasync(true); err != nil && !errors.Is(err, sqlite.ErrFdatasyncUnavailable) {
		return err
	}
	var err error
	if s.db, err = handle(s.path, writerDSN, 1); err != nil {
		return err
	}
	if err := s.migrate(ctx); err != nil {
		return err
	}
	if s.writer, err = newWriter(ctx, s.db); err != nil {
		return err
	}
	// One more for the search, which keeps its own.
	if s.readers, err = handle(s.path, readerDSN, readers+1); err != nil {
		return err
	}
	if err := s.freeClaims(ctx); err != nil {
		return err
	}
	return s.followClock(ctx)
}

// moved is what a file's name ends with once its store is in PostgreSQL.
const moved = ".moved"

// Find reports whether there is a store's file. Where it was moved to PostgreSQL there is none, and none may be made, as a node with
// the old settings would accept into it what nobody looks for: the error says so.
func Find(path string) (bool, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > 0 {
		return true, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if _, err := os.Stat(path + moved); err == nil {
		return false, fmt.Errorf("this store was moved to PostgreSQL: set DATABASE_URL to where it is now; to start anew, delete %s", path+moved)
	}
	return false, nil
}

// takeFile makes the directory, takes the lock, and makes the file.
func (s *Store) takeFile() error {
	flags := os.O_RDWR
	switch there, err := Find(s.path); {
	case err != nil:
		return err
	case !there && s.existing:
		return errors.New("there is no store")
	case !there:
		flags |= os.O_CREATE
	}
	if err := s.takeLock(); err != nil {
		return err
	}
	// SQLite would make it readable to others, and payloads are not sealed.
	f, err := os.OpenFile(s.path, flags, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

var errTaken = errors.New("another process has the database open")

// takeLock locks a file beside the database: SQLite's own locks are taken per statement and would let a second process in,
// which would free this one's claims.
func (s *Store) takeLock() error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o750); err != nil {
		return err
	}
	f, err := os.OpenFile(s.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := lock(f); err != nil {
		_ = f.Close()
		switch {
		case !errors.Is(err, errTaken):
			return fmt.Errorf("lock: %w", err)
		case s.existing:
			return fmt.Errorf("%w: stop the service first", err)
		}
		return fmt.Errorf("%w; SQLite serves one process, use PostgreSQL for several", err)
	}
	s.lock = f
	leaveTo(s.path+".lock", s.path, filepath.Dir(s.path))
	return nil
}

// foreignLockWait bounds, in milliseconds, the wait for a lock that another program holds: a backup or a shell. Nothing of
// the store itself ever waits for one.
const foreignLockWait = "500"

// The writer commits with every transaction on the disk. Its page size fits payloads of a few KB, and the log is moved
// into the database every 16 MiB: often enough for the disk, seldom enough for the syncs.
func writerDSN(q url.Values) {
	q.Set("_busy_timeout", foreignLockWait)
	q.Set("_journal_mode", "WAL")
	q.Set("_synchronous", "FULL")
	q.Set("_txlock", "immediate")
	q.Add("_pragma", "page_size(8192)")
	q.Add("_pragma", "cache_size(-12288)")
	q.Add("_pragma", "temp_store(MEMORY)")
	q.Add("_pragma", "wal_autocheckpoint(2048)")
	q.Add("_pragma", "journal_size_limit(67108864)")
}

func readerDSN(q url.Values) {
	q.Set("_busy_timeout", foreignLockWait)
	q.Set("_query_only", "1")
	q.Add("_pragma", "cache_size(-4096)")
	q.Add("_pragma", "temp_store(MEMORY)")
}

// handle opens the file with the pragmas in the DSN: one run on a pooled connection would reach only that one.
func handle(path string, options func(url.Values), size int) (*sql.DB, error) {
	q := url.Values{}
	options(q)
	name := (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()
	db, err := sql.Open("sqlite", "file:"+name+"?"+q.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

func (s *Store) migrate(ctx context.Context) error {
	var err error
	if s.expected, err = latestMigration(); err != nil {
		return err
	}
	if s.migration, err = schemaOf(ctx, s.db); err != nil {
		return err
	}
	switch {
	case s.migration > s.expected:
		return fmt.Errorf("the database has schema %d and this version knows %d: use the newer version", s.migration, s.expected)
	case s.migration == s.expected:
		return nil
	case s.existing:
		return fmt.Errorf("the schema is %d, this version expects %d: run posthorn migrate", s.migration, s.expected)
	}
	files, err := fs.Sub(migrations, "migration")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, s.db, files,
		goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	start := time.Now()
	if _, err = provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	s.log.Info("migrated the database", "from", s.migration, "to", s.expected, "took", time.Since(start))
	s.migration = s.expected
	return nil
}

// schemaOf is the schema that a file has, 0 for none.
func schemaOf(ctx context.Context, db *sql.DB) (version int64, err error) {
	var begun bool
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name = 'goose_db_version'`).Scan(&begun); err != nil || !begun {
		return 0, err
	}
	err = db.QueryRowContext(ctx, `SELECT max(version_id) FROM goose_db_version WHERE is_applied`).Scan(&version)
	return version, err
}

// Now is the store's clock at the precision it stores: microseconds, UTC.
func (s *Store) Now() time.Time { return s.clock().UTC().Truncate(time.Microsecond) }

// Close waits for the writer, then closes the file. Calls made later get Unavailable.
func (s *Store) Close() error {
	if s.writer != nil && !s.writer.close() {
		return nil
	}
	// A search under way ends by itself: it takes milliseconds.
	s.searching <- struct{}{}
	defer func() { <-s.searching }()
	if s.search != nil {
		s.search.close()
		s.search = nil
	}
	if err := s.release(); err != nil {
		return fmt.Errorf("close sqlite store: %w", err)
	}
	return nil
}

// release closes what is open, the lock last.
func (s *Store) release() error {
	var errs []error
	if s.readers != nil {
		errs = append(errs, s.readers.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}
