package postgres

import (
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// databases are the tests' own, made on the server of TEST_DATABASE_URL under a role without privileges. One that a test
// left as it found it but for rows is emptied and used again: making one takes longer than most tests.
type databases struct {
	mu         sync.Mutex
	role       bool
	free, made []string
}

const testRole = "posthorn_test"

// ownTables is how many tables the migrations make, partitions not counted.
func ownTables() (n int) {
	files, err := fs.Glob(migrations, "migration/*.sql")
	if err != nil {
		return 0
	}
	for _, name := range files {
		text, err := fs.ReadFile(migrations, name)
		if err != nil {
			return 0
		}
		n += strings.Count(string(text), "\nCREATE TABLE ")
	}
	return n
}

var testDatabases databases

func TestMain(m *testing.M) {
	code := m.Run()
	testDatabases.drop()
	os.Exit(code)
}

// server connects to the PostgreSQL of the tests.
func server(ctx context.Context) (*pgx.Conn, error) {
	text := os.Getenv("TEST_DATABASE_URL")
	if text == "" {
		return nil, fmt.Errorf("TEST_DATABASE_URL is not set: run `make test`, which starts a throwaway PostgreSQL")
	}
	return pgx.Connect(ctx, text)
}

// newDatabase gives a migrated, empty database of the test's own.
func newDatabase(t testing.TB) string {
	t.Helper()
	name := testDatabases.take()
	if name == "" {
		name = testDatabases.make(t)
	}
	t.Cleanup(func() {
		if !t.Failed() && emptied(databaseURL(t, name)) {
			testDatabases.give(name)
		}
	})
	return databaseURL(t, name)
}

func databaseURL(t testing.TB, name string) string {
	u, err := url.Parse(os.Getenv("TEST_DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	u.Path, u.User = "/"+name, url.UserPassword(testRole, testRole)
	return u.String()
}

func (d *databases) take() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.free) == 0 {
		return ""
	}
	name := d.free[len(d.free)-1]
	d.free = d.free[:len(d.free)-1]
	return name
}

func (d *databases) give(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free = append(d.free, name)
}

// make makes a database and migrates it.
func (d *databases) make(t testing.TB) string {
	t.Helper()
	name := d.create(t)
	s, err := Open(t.Context(), Options{URL: databaseURL(t, name), Sealer: reversing{}, MaxConns: 2})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	return name
}

// create makes a database without tables.
func (d *databases) create(t testing.TB) string {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	conn, err := server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if !d.role {
		_, err := conn.Exec(t.Context(), `CREATE ROLE `+testRole+` LOGIN PASSWORD '`+testRole+`'`)
		// 42710: another run has made it.
		if err != nil && codeOf(err) != "42710" && codeOf(err) != codeUnique {
			t.Fatal(err)
		}
		d.role = true
	}
	id := posthorn.NewUUID(time.Now())
	name := fmt.Sprintf("posthorn_test_%x", id[8:])
	if _, err := conn.Exec(t.Context(), `CREATE DATABASE `+name+` OWNER `+testRole); err != nil {
		t.Fatal(err)
	}
	d.made = append(d.made, name)
	return name
}

// drop removes what was made.
func (d *databases) drop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.made) == 0 {
		return
	}
	ctx := context.Background()
	conn, err := server(ctx)
	if err != nil {
		return
	}
	defer conn.Close(ctx)
	for _, name := range d.made {
		_, _ = conn.Exec(ctx, `DROP DATABASE IF EXISTS `+name+` WITH (FORCE)`)
	}
}

// emptied removes all rows; false when the tables are not those a new database has.
func emptied(databaseURL string) bool {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return false
	}
	defer conn.Close(ctx)
	var same bool
	var names []string
	err = conn.QueryRow(ctx, `SELECT count(*) FILTER (WHERE relispartition) = $1 AND count(*) FILTER (WHERE NOT relispartition) = $2,
			array_agg(relname::text ORDER BY relname) FILTER (WHERE NOT relispartition)
		FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
		AND relname NOT LIKE 'goose%'`, len(partitioned)*(daysAhead+2), ownTables()).Scan(&same, &names)
	if err != nil || !same {
		return false
	}
	_, err = conn.Exec(ctx, `DELETE FROM `+strings.Join(names, "; DELETE FROM ")+`; INSERT INTO births (swept) VALUES (now())`)
	return err == nil
}
