package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Column of a table, as the database describes it.
type Column struct {
	Name, Type string
	// Nullable columns may be NULL; Optional ones may be left out of an INSERT.
	Nullable, Optional bool
}

// TakeIn fills an empty store with rows from elsewhere, in ONE transaction: all of it or nothing. It waits for nobody: the
// tables are locked against a node that starts meanwhile.
type TakeIn struct {
	store *Store
	tx    pgx.Tx
}

// TakeIn runs fill and commits when it returns nil.
func (s *Store) TakeIn(ctx context.Context, fill func(*TakeIn) error) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;
			SET LOCAL lock_timeout = '5s'; LOCK TABLE tenants, keys, subscriptions IN EXCLUSIVE MODE`, pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			return explain("lock the tables", err)
		}
		if err := fill(&TakeIn{s, tx}); err != nil {
			return err
		}
		// The planner would believe the tables empty until somebody looks.
		_, err = tx.Exec(ctx, `ANALYZE`)
		return explain("analyze", err)
	})
}

// Columns are those of every table but partitions and the migrations' own.
func (t *TakeIn) Columns(ctx context.Context) (map[string][]Column, error) {
	columns := map[string][]Column{}
	rows, err := t.tx.Query(ctx, `
		SELECT c.relname::text, a.attname::text, format_type(a.atttypid, NULL), NOT a.attnotnull, NOT a.attnotnull OR a.atthasdef OR a.attidentity <> ''
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
		WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
			AND c.relname NOT LIKE 'goose%'
		ORDER BY c.relname, a.attnum`)
	if err != nil {
		return nil, explain("read the tables", err)
	}
	var table string
	var c Column
	_, err = pgx.ForEachRow(rows, []any{&table, &c.Name, &c.Type, &c.Nullable, &c.Optional}, func() error {
		columns[table] = append(columns[table], c)
		return nil
	})
	return columns, err
}

// Empty fails, naming the table, when one of some has rows.
func (t *TakeIn) Empty(ctx context.Context, tables []string) error {
	for _, table := range tables {
		var has bool
		if err := t.tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM `+name(table)+`)`).Scan(&has); err != nil {
			return explain("look into "+table, err)
		}
		if has {
			return fmt.Errorf("the database has %s already: only an empty one is filled", table)
		}
	}
	return nil
}

// MakeDays makes the partitions of some days.
func (t *TakeIn) MakeDays(ctx context.Context, days []time.Time) error {
	list := make([]time.Time, len(days))
	for i, d := range days {
		list[i] = dayOf(d)
	}
	return t.store.makeMissing(ctx, t.tx, list)
}

// Copy adds rows; next gives the values of one in the order of the columns, and nil at the end.
func (t *TakeIn) Copy(ctx context.Context, table string, columns []string, next func() ([]any, error)) (int64, error) {
	n, err := t.tx.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromFunc(next))
	if err != nil {
		return n, explain("fill "+table, err)
	}
	return n, nil
}

// Read gives every row of a table back; JSON as its text, intervals as durations. The values live until the next row.
func (t *TakeIn) Read(ctx context.Context, table string, columns []Column, row func([]any) error) error {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = name(c.Name)
		if c.Type == "json" || c.Type == "jsonb" {
			list[i] += "::text"
		}
	}
	rows, err := t.tx.Query(ctx, `SELECT `+strings.Join(list, ", ")+` FROM `+name(table))
	if err != nil {
		return explain("read "+table, err)
	}
	defer rows.Close()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return fmt.Errorf("read %s: %w", table, err)
		}
		for i, v := range values {
			if d, ok := v.(pgtype.Interval); ok {
				values[i] = time.Duration(d.Microseconds)*time.Microsecond + time.Duration(d.Days)*day
			}
		}
		if err := row(values); err != nil {
			return err
		}
	}
	return explain("read "+table, rows.Err())
}

// name quotes a table or a column.
func name(s string) string { return pgx.Identifier{s}.Sanitize() }
