//go:build unix

package chaos_test

import (
	"database/sql"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx; internal/sqlite brings the driver sqlite

	"github.com/posthorn/posthorn"
)

// database opens the store's database past the service, which may run.
func (w *world) database() *sql.DB {
	w.t.Helper()
	if w.store == postgresStore {
		return openDatabase(w.t, w.store, w.settings.DatabaseURL)
	}
	return openDatabase(w.t, w.store, w.settings.SQLitePath())
}

func openDatabase(t testing.TB, store, name string) *sql.DB {
	t.Helper()
	driver := "pgx"
	if store == sqliteStore {
		driver, name = "sqlite", "file:"+name+"?_pragma=busy_timeout(5000)"
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// ask runs a statement past the service and gives the values of its rows, one after the other.
func ask[T any](t testing.TB, db *sql.DB, statement string) (list []T) {
	t.Helper()
	rows, err := db.Query(statement)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values, at := make([]T, len(columns)), make([]any, len(columns))
		for i := range values {
			at[i] = &values[i]
		}
		if err := rows.Scan(at...); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		list = append(list, values...)
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return list
}

// ask runs a statement of numbers in the store.
func (w *world) ask(statement string) []int {
	w.t.Helper()
	db := w.database()
	defer db.Close()
	return ask[int](w.t, db, statement)
}

// state is a delivery's state as the store's statements have it.
func (w *world) state(s posthorn.State) string {
	if w.store == postgresStore {
		return "'" + string(s) + "'"
	}
	return map[posthorn.State]string{posthorn.Pending: "0", posthorn.Delivered: "1", posthorn.Exhausted: "2", posthorn.Cancelled: "3"}[s]
}
