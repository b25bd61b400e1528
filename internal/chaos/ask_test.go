//go:build unix

package chaos_test

import (
	"context"
	"errors"
	"os/exec"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// ask runs a statement in the store, past the service, and gives the numbers of its one row; none where it has no row.
func (w *world) ask(statement string) []int {
	w.t.Helper()
	var list []int
	var err error
	if w.store == sqliteStore {
		list, err = askSQLite(w.settings.SQLitePath(), statement)
	} else {
		list, err = askPostgres(w.settings.DatabaseURL, statement)
	}
	if err != nil {
		w.t.Fatalf("%s: %v", statement, err)
	}
	return list
}

func askSQLite(path, statement string) (list []int, err error) {
	out, err := exec.Command("sqlite3", "-cmd", ".timeout 5000", path, statement).CombinedOutput()
	if err != nil {
		return nil, errors.New(string(out))
	}
	for _, text := range strings.FieldsFunc(string(out), func(r rune) bool { return r == '|' || r == '\n' }) {
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, nil
}

func askPostgres(url, statement string) (list []int, err error) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, statement)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return nil, err
		}
		for _, v := range values {
			n, _ := v.(int64)
			list = append(list, int(n))
		}
	}
	return list, rows.Err()
}

// state is a delivery's state as the store's statements have it.
func (w *world) state(s posthorn.State) string {
	if w.store == postgresStore {
		return "'" + string(s) + "'"
	}
	return map[posthorn.State]string{posthorn.Pending: "0", posthorn.Delivered: "1", posthorn.Exhausted: "2", posthorn.Cancelled: "3"}[s]
}
