package postgres

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/peterldowns/pgtestdb"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/storetest"
)

// serverURL names the PostgreSQL of the tests.
func serverURL(t testing.TB) *url.URL {
	t.Helper()
	text := os.Getenv("TEST_DATABASE_URL")
	if text == "" {
		t.Fatal("TEST_DATABASE_URL is not set: run `make test`, which starts a throwaway PostgreSQL")
	}
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// newDatabase makes a database of the test's own from a migrated template, and gives its URL.
func newDatabase(t testing.TB) string {
	t.Helper()
	u := serverURL(t)
	password, _ := u.User.Password()
	config := pgtestdb.Config{
		DriverName: "pgx", Host: u.Hostname(), Port: u.Port(), User: u.User.Username(), Password: password,
		Database: strings.TrimPrefix(u.Path, "/"), Options: u.RawQuery, ForceTerminateConnections: true,
	}
	return pgtestdb.Custom(quiet{t}, config, schema{}).URL()
}

// quiet keeps the log to what a test says itself.
type quiet struct{ testing.TB }

func (quiet) Logf(string, ...any) {}

// schema makes the template: once per state of the migrations and day, whose partitions it has.
type schema struct{}

func (schema) Hash() (string, error) {
	h := sha256.New()
	files, err := migrations.ReadDir("migration")
	for _, file := range files {
		text, failure := migrations.ReadFile("migration/" + file.Name())
		if failure != nil {
			return "", failure
		}
		h.Write(text)
	}
	source, failure := os.ReadFile("partitions.go")
	if failure != nil {
		return "", failure
	}
	h.Write(source)
	return time.Now().UTC().Format(dayFormat) + hex.EncodeToString(h.Sum(nil)[:8]), err
}

func (schema) Migrate(ctx context.Context, _ *sql.DB, config pgtestdb.Config) error {
	s, err := Open(ctx, Options{URL: config.URL(), Sealer: reversing{}})
	if err != nil {
		return err
	}
	return s.Close()
}

// reversing is a sealer that hides and binds enough for a test.
type reversing struct{}

func (reversing) Seal(plaintext []byte, bind string) []byte {
	sealed := append([]byte(bind+"\n"), plaintext...)
	for i, j := 0, len(sealed)-1; i < j; i, j = i+1, j-1 {
		sealed[i], sealed[j] = sealed[j], sealed[i]
	}
	return sealed
}

func (r reversing) Open(sealed []byte, bind string) ([]byte, error) {
	opened := bytes.Clone(sealed)
	for i, j := 0, len(opened)-1; i < j; i, j = i+1, j-1 {
		opened[i], opened[j] = opened[j], opened[i]
	}
	plaintext, ok := bytes.CutPrefix(opened, []byte(bind+"\n"))
	if !ok {
		return nil, fmt.Errorf("sealed for another row")
	}
	return plaintext, nil
}

// openURL opens a store that is closed when the test ends.
func openURL(t testing.TB, databaseURL string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{URL: databaseURL, Sealer: reversing{}, MaxConns: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func openStore(t testing.TB) *Store {
	t.Helper()
	return openURL(t, newDatabase(t))
}

// exec runs a statement of the test's own.
func exec(t testing.TB, s *Store, sql string, args ...any) {
	t.Helper()
	if _, err := s.pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// value reads one value.
func value[T any](t testing.TB, s *Store, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := s.pool.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// elapse moves every stored time back.
func elapse(t *testing.T, store posthorn.Store, d time.Duration) {
	t.Helper()
	s := store.(*Store)
	rows, err := s.pool.Query(t.Context(), `
		SELECT c.relname::text, string_agg(format('%1$I = %1$I - $1::interval', a.attname), ', ')
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.atttypid = 'timestamptz'::regtype AND NOT a.attisdropped
		WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
			AND c.relname NOT LIKE 'goose%' GROUP BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	type table struct{ Name, Set string }
	tables, err := pgx.CollectRows(rows, pgx.RowToStructByPos[table])
	if err != nil {
		t.Fatal(err)
	}
	var b pgx.Batch
	for _, table := range tables {
		b.Queue(`UPDATE `+table.Name+` SET `+table.Set, d)
	}
	if err := s.pool.SendBatch(t.Context(), &b).Close(); err != nil {
		t.Fatal(err)
	}
}

// atRest is every row of every table as text.
func atRest(t *testing.T, store posthorn.Store) []byte {
	t.Helper()
	s := store.(*Store)
	names, err := many(t.Context(), s, "tables", pgx.RowTo[string], `SELECT c.relname::text FROM pg_class c
		WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition`)
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, name := range names {
		text := value[*string](t, s, `SELECT string_agg(to_json(x)::text, E'\n') FROM `+name+` x`)
		if text != nil {
			all = append(append(all, *text...), '\n')
		}
	}
	return all
}

func reopen(t *testing.T, store posthorn.Store) posthorn.Store {
	t.Helper()
	s := store.(*Store)
	databaseURL := s.pool.Config().ConnString()
	s.Close()
	return openURL(t, databaseURL)
}

func harness() storetest.Harness {
	return storetest.Harness{
		Open:   func(t *testing.T) posthorn.Store { return openStore(t) },
		Reopen: reopen,
		Elapse: elapse,
		AtRest: atRest,
	}
}

func TestStore(t *testing.T) { storetest.Run(t, harness()) }
