package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// highest is above every id.
var highest = posthorn.UUID{
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
}

// page collects one page of rows that come newest first. fetch reads up to n rows of ids below one; keep, unless nil,
// says which rows of a chunk belong to the list. The scan ends when the page is full, the rows end or MaxExamined were
// looked at; the next id is zero only when the rows ended.
func page[T any](p posthorn.Page, id func(*T) posthorn.UUID, keep func([]T) ([]T, error),
	fetch func(before posthorn.UUID, n int) ([]T, error),
) ([]T, posthorn.UUID, error) {
	limit := max(p.Limit, 1)
	before := p.Before
	if before.IsZero() {
		before = highest
	}
	var out []T
	for examined, chunk := 0, limit+1; ; chunk = min(4*chunk, 2000) {
		rows, err := fetch(before, chunk)
		if err != nil {
			return nil, posthorn.UUID{}, err
		}
		examined += len(rows)
		if len(rows) > 0 {
			before = id(&rows[len(rows)-1])
		}
		kept := rows
		if keep != nil {
			// keep may reuse the slice.
			if kept, err = keep(rows); err != nil {
				return nil, posthorn.UUID{}, err
			}
		}
		ended := len(rows) < chunk
		out = append(out, kept...)
		switch {
		case len(out) > limit:
			out = out[:limit]
			return out, id(&out[limit-1]), nil
		case ended:
			return out, posthorn.UUID{}, nil
		case examined >= max(posthorn.MaxExamined, limit):
			return out, before, nil
		}
	}
}

// one reads one row; none is NotFound of the noun.
func one[T any](ctx context.Context, s *Store, noun string, scan pgx.RowToFunc[T], sql string, args ...any) (*T, error) {
	var found T
	err := s.do(ctx, "read "+noun, func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		found, err = pgx.CollectExactlyOneRow(rows, scan)
		return noRow(noun, err)
	})
	if err != nil {
		return nil, err
	}
	return &found, nil
}

// many reads rows.
func many[T any](ctx context.Context, s *Store, what string, scan pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	var found []T
	err := s.do(ctx, what, func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		found, err = pgx.CollectRows(rows, scan)
		return err
	})
	return found, err
}
