package postgres

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/storetest"
)

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
		if table.Name == "rollups" {
			// By way of another age, or a row could meet the one before it on the way.
			b.Queue(`UPDATE rollups SET minute = minute - $1::interval - interval '1000 years'`, d)
			b.Queue(`UPDATE rollups SET minute = minute + interval '1000 years'`)
			continue
		}
		b.Queue(`UPDATE `+table.Name+` SET `+table.Set, d)
	}
	if err := s.pool.SendBatch(t.Context(), &b).Close(); err != nil {
		t.Fatal(err)
	}
	// Ids stay.
	s.slack += d
	s.sweptAt.Store(0)
}

// step sets the clock that the store's statements read: a now() of the test's own comes before PostgreSQL's.
func step(t *testing.T, store posthorn.Store, d time.Duration) {
	t.Helper()
	s := store.(*Store)
	database := s.pool.Config().ConnConfig.Database
	if !value[bool](t, s, `SELECT to_regproc('public.now') IS NOT NULL`) {
		exec(t, s, `ALTER DATABASE `+database+` SET search_path = public, pg_catalog`)
		t.Cleanup(func() {
			conn, err := pgx.Connect(context.Background(), s.pool.Config().ConnString())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(context.Background())
			if _, err := conn.Exec(context.Background(), `ALTER DATABASE `+database+` RESET search_path; DROP FUNCTION public.now()`); err != nil {
				t.Error(err)
			}
		})
	}
	by := value[time.Duration](t, s, `SELECT now() - pg_catalog.now()`) + d
	exec(t, s, fmt.Sprintf(`CREATE OR REPLACE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql STABLE
		AS $$ SELECT pg_catalog.now() + interval '%d microseconds' $$`, by.Microseconds()))
	s.renewConnections()
	sent := time.Now()
	s.setClock(sent, value[time.Time](t, s, `SELECT now()`), time.Now())
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
	again := openURL(t, databaseURL)
	again.slack = s.slack
	return again
}

func harness() storetest.Harness {
	return storetest.Harness{
		Open:   func(t *testing.T) posthorn.Store { return openStore(t) },
		Reopen: reopen,
		Elapse: elapse,
		Step:   step,
		AtRest: atRest,
		Checks: 25,
	}
}

func TestStore(t *testing.T) { storetest.Run(t, harness()) }
