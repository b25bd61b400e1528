//go:build unix

package chaos_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/posthorn/posthorn/internal/clustertest"
)

// TestUpgrade kills nodes with -9 while they bring a store with deliveries under way from an older schema to theirs, and lets one
// start: nothing is lost.
func TestUpgrade(t *testing.T) { bothStores(t, upgrades) }

// upgrade is a store that is set back to older schemas.
type upgrade struct {
	*world
	migrations string
	kills      int
	// halfway counts the kills that left some of the migrations done and some not.
	halfway int
	slowest time.Duration
}

func upgrades(t *testing.T, store string) {
	times := 3
	if *long {
		times = 40
	}
	u := &upgrade{world: newWorld(t, store, 8), migrations: filepath.Join("..", strings.ToLower(store), "migration")}
	if store == postgresStore {
		u.migrations = filepath.Join("..", "postgres", "migration")
	}
	d := dice(*seed)
	// A node needs so long to open either store.
	within := 40 * time.Millisecond
	if store == postgresStore {
		within = 120 * time.Millisecond
	}
	start := u.mark()
	began := time.Now()
	for range times {
		u.leaveWork()
		versions := u.versions()
		u.setBack(versions[d.IntN(len(versions)-1)])
		for range 1 + d.IntN(3) {
			u.kill(time.Duration(1 + d.Int64N(int64(within))).Round(time.Microsecond))
		}
		n := u.site.start("").await()
		u.slowest = max(u.slowest, n.up)
		if !u.drain(time.Minute) {
			t.Errorf("%d events are not acknowledged and %d deliveries pending", u.producer.waiting.Load(), u.pending())
		}
		n.Signal(syscall.SIGTERM)
		_ = n.Wait(stopWithin)
	}
	v := u.judge(u.facts(start))
	figures.add(t, scenario{Name: "upgrade", Store: store, Seed: *seed, Length: fmt.Sprintf("%d upgrades from older schemas in %s", times, time.Since(began).Round(time.Second)), Figures: []figure{
		number("kill -9 during an upgrade, of them between two migrations", "", u.kills, true).and("%d", u.halfway),
		number("events acknowledged", "", v.events, true),
		number("acknowledged events lost", "0", v.lost, v.lost == 0),
		number("other rules of the ledger broken", "0", len(v.violations)-v.lost, len(v.violations) == v.lost),
		number("delivered twice, of interrupted attempts", "at most those", v.repeated, v.unexplained == 0).and("%d", v.interrupted),
		length("slowest start after them", "", u.slowest, true),
	}})
}

// leaveWork lets a node take events, some of which fail, and kills it at work.
func (u *upgrade) leaveWork() {
	u.lanes["flaky"].down.Store(true)
	defer u.lanes["flaky"].down.Store(false)
	n := u.site.start("").await()
	u.producer.more(roundEvents)
	if !u.producer.settle(10 * time.Second) {
		u.t.Error("events are not acknowledged")
	}
	n.Kill()
	n.Quiet = true
	if u.store == postgresStore {
		// As half a minute would.
		u.ask(`UPDATE deliveries SET visible_at = now() WHERE claim IS NOT NULL`)
	}
}

// kill starts a node and kills it a while after it has begun to open the store.
func (u *upgrade) kill(later time.Duration) {
	u.t.Helper()
	from := u.version()
	n := u.site.start(fmt.Sprintf("migrate.before=kill~%s", later))
	select {
	case <-n.Ended():
	case <-time.After(roundLasts):
	}
	n.Kill()
	n.Quiet = true
	u.kills++
	versions := u.versions()
	at := u.version()
	if at > from && at < versions[len(versions)-1] {
		u.halfway++
	}
	say("%s: an upgrade from schema %d was killed %s after its begin, at schema %d", u.store, from, later, at)
	if u.store == postgresStore {
		// The lock of a migration that was killed is a lease of half a minute.
		u.ask(`DELETE FROM goose_lock`)
	}
}

// version is the schema's, versions are those that it can have.
func (u *upgrade) version() int {
	u.t.Helper()
	return u.ask(`SELECT max(version_id) FROM goose_db_version`)[0]
}

func (u *upgrade) versions() (list []int) {
	u.t.Helper()
	files, err := filepath.Glob(filepath.Join(u.migrations, "*.sql"))
	if err != nil {
		u.t.Fatal(err)
	}
	for _, file := range files {
		version := 0
		if _, err := fmt.Sscanf(filepath.Base(file), "%d_", &version); err != nil {
			u.t.Fatal(err)
		}
		list = append(list, version)
	}
	slices.Sort(list)
	return list
}

// setBack takes out of the schema what came after a version, and brings back columns and indexes that have gone since, so that the
// store is as one that an older node has filled: a schema of that version, made beside it, tells what that is.
func (u *upgrade) setBack(version int) {
	u.t.Helper()
	db := u.database()
	defer db.Close()
	then := u.layoutOf(version)
	now := layout(u.t, u.store, db)
	without := func(parts, others []string) []string {
		return slices.DeleteFunc(slices.Clone(parts), func(part string) bool { return slices.Contains(others, part) })
	}
	later := without(now, then)
	var statements []string
	for _, part := range later {
		kind, name, _ := strings.Cut(part, " ")
		name, _, _ = strings.Cut(name, " ")
		statement := fmt.Sprintf("DROP %s IF EXISTS %s", kind, name)
		if table, column, ok := strings.Cut(name, "."); ok {
			if slices.Contains(later, "TABLE "+table) {
				continue
			}
			statement = fmt.Sprintf("ALTER TABLE %s DROP COLUMN %s", table, column)
		}
		statements = append(statements, statement)
	}
	for _, part := range slices.Backward(without(then, now)) { // columns before indexes
		if column, ok := strings.CutPrefix(part, "COLUMN "); ok {
			column = strings.Replace(column, " boolean", " boolean NOT NULL DEFAULT false", 1)
			statements = append(statements, "ALTER TABLE "+strings.Replace(column, ".", " ADD COLUMN ", 1))
		} else if _, definition, ok := strings.Cut(part, " CREATE "); ok {
			statements = append(statements, "CREATE "+strings.Replace(definition, " ON ONLY ", " ON ", 1))
		}
	}
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			u.t.Fatalf("%s: %v", statement, err)
		}
	}
	if _, err := db.Exec(fmt.Sprintf("DELETE FROM goose_db_version WHERE version_id > %d", version)); err != nil {
		u.t.Fatal(err)
	}
}

// layoutOf is the layout of a schema of a version.
func (u *upgrade) layoutOf(version int) []string {
	u.t.Helper()
	name, dialect := filepath.Join(u.t.TempDir(), "older.db"), goose.DialectSQLite3
	if u.store == postgresStore {
		name, dialect = clustertest.NewDatabase(u.t), goose.DialectPostgres
	}
	db := openDatabase(u.t, u.store, name)
	defer db.Close()
	provider, err := goose.NewProvider(dialect, db, os.DirFS(u.migrations), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		u.t.Fatal(err)
	}
	if _, err := provider.UpTo(u.t.Context(), int64(version)); err != nil {
		u.t.Fatal(err)
	}
	return layout(u.t, u.store, db)
}

// layout lists the tables of a schema, its indexes and its columns with their types, but for partitions.
func layout(t testing.TB, store string, db *sql.DB) []string {
	t.Helper()
	if store == sqliteStore {
		return ask[string](t, db, `SELECT upper(type) || ' ' || name FROM sqlite_schema WHERE type IN ('table', 'index') AND sql IS NOT NULL
			UNION ALL SELECT 'COLUMN ' || t.name || '.' || c.name || ' ' || c.type FROM sqlite_schema t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'
			ORDER BY 1 DESC`)
	}
	return ask[string](t, db, `SELECT CASE WHEN relkind IN ('r', 'p') THEN 'TABLE ' ELSE 'INDEX ' END || relname || coalesce(' ' || pg_get_indexdef(oid), '') FROM pg_class
			WHERE relkind IN ('r', 'p', 'i', 'I') AND NOT relispartition AND relnamespace = 'public'::regnamespace AND relname !~ '^goose_'
		UNION ALL SELECT 'COLUMN ' || c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, NULL) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
			WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped AND c.relname !~ '^goose_'
		UNION ALL SELECT 'TYPE ' || t.typname FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid
			WHERE c.relkind = 'c' AND t.typnamespace = 'public'::regnamespace
		ORDER BY 1 DESC`)
}
