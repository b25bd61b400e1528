// Package move takes everything from the embedded store into an empty PostgreSQL: all tables, ids and times unchanged, secrets
// sealed as they are, in one transaction that commits only after every row was read back and found the same. It owns how
// the two schemas correspond; reading and writing rows is the stores', and who may start a node afterwards the command's.
package move

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/postgres"
	"github.com/posthorn/posthorn/internal/sqlite"
)

// Moved is one table that was taken over.
type Moved struct {
	Table string
	Rows  int64
}

// Run moves everything. The source must be open here, and so nowhere else; the target must be migrated and empty. After an
// error the target is as it was. Tell, when set, is told of each table as it is done.
func Run(ctx context.Context, from *sqlite.Store, to *postgres.Store, tell func(Moved)) error {
	// What was counted is moved from the rollups.
	if err := from.Fold(ctx); err != nil {
		return err
	}
	source, err := from.Columns(ctx)
	if err != nil {
		return err
	}
	return to.TakeIn(ctx, func(in *postgres.TakeIn) error {
		target, err := in.Columns(ctx)
		if err != nil {
			return err
		}
		tables, err := plan(source, target)
		if err != nil {
			return err
		}
		names := make([]string, len(tables))
		for i, t := range tables {
			names[i] = t.name
		}
		if err := in.Empty(ctx, names); err != nil {
			return err
		}
		days, err := daysOf(ctx, from)
		if err != nil {
			return err
		}
		if err := in.MakeDays(ctx, days); err != nil {
			return fmt.Errorf("make partitions: %w", err)
		}
		for _, t := range tables {
			moved, err := t.move(ctx, from, in)
			if err != nil {
				return fmt.Errorf("move %s: %w", t.name, err)
			}
			if tell != nil {
				tell(moved)
			}
		}
		return nil
	})
}

// move fills one table, reads it back and compares.
func (t *table) move(ctx context.Context, from *sqlite.Store, in *postgres.TakeIn) (Moved, error) {
	rows, err := from.Rows(ctx, t.query)
	if err != nil {
		return Moved{}, err
	}
	defer rows.Close()
	var written, read sum
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.Name
	}
	n, err := in.Copy(ctx, t.name, names, func() ([]any, error) {
		values, err := t.next(rows)
		if values == nil || err != nil {
			return nil, err
		}
		return values, written.add(t.columns, values)
	})
	if err != nil {
		return Moved{}, err
	}
	if err := in.Read(ctx, t.name, t.columns, func(values []any) error { return read.add(t.columns, values) }); err != nil {
		return Moved{}, err
	}
	if written != read || n != written.rows {
		return Moved{}, fmt.Errorf("%d rows were written and %d of them read back, not all the same", written.rows, read.rows)
	}
	return Moved{t.name, n}, nil
}

// next is the next row of the source as the target has it, or nil.
func (t *table) next(rows *sql.Rows) ([]any, error) {
	if !rows.Next() {
		return nil, rows.Err()
	}
	values := make([]any, len(t.columns))
	to := make([]any, len(values))
	for i := range values {
		to[i] = &values[i]
	}
	if err := rows.Scan(to...); err != nil {
		return nil, err
	}
	for i, c := range t.columns {
		var err error
		if special := t.convert[c.Name]; special != nil {
			values[i], err = special(values[i])
		} else {
			values[i], err = convert(values[i], c)
		}
		if err != nil {
			return nil, err
		}
	}
	return values, nil
}

// daysOf are the days of all ids that need a partition. The first four bytes of an id are its time in steps of 65 seconds.
func daysOf(ctx context.Context, from *sqlite.Store) ([]time.Time, error) {
	rows, err := from.Rows(ctx, `SELECT substr(id, 1, 4) FROM events UNION SELECT substr(id, 1, 4) FROM deliveries
		UNION SELECT substr(id, 1, 4) FROM attempts`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	days := map[time.Time]bool{}
	for rows.Next() {
		var beginning []byte
		if err := rows.Scan(&beginning); err != nil {
			return nil, err
		}
		var first posthorn.UUID
		copy(first[:], beginning)
		last := first
		last[4], last[5] = 0xff, 0xff
		for _, id := range []posthorn.UUID{first, last} {
			days[id.Time().Truncate(24*time.Hour)] = true
		}
	}
	return slices.SortedFunc(maps.Keys(days), time.Time.Compare), rows.Err()
}
