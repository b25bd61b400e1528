package sqlite

import (
	"database/sql"
	"errors"

	"github.com/posthorn/posthorn"
)

// errEnough stops each without an error.
var errEnough = errors.New("enough rows")

// listing gathers one page, newest first, and knows where the next one begins.
type listing[V any] struct {
	rows           []V
	before         posthorn.UUID
	limit, bound   int
	examined       int
	last, lastSeen posthorn.UUID
	next           posthorn.UUID
}

func newListing[V any](p posthorn.Page) *listing[V] {
	l := &listing[V]{before: p.Before, limit: min(max(p.Limit, 1), 200), bound: posthorn.MaxExamined}
	if l.before.IsZero() {
		for i := range l.before {
			l.before[i] = 0xff
		}
	}
	return l
}

// add takes a row, or leaves it out where the filter does not want it, and stops the scan when the page is full: the
// first wanted row past the page says that there is a next one.
func (l *listing[V]) add(v V, id posthorn.UUID, wanted bool) error {
	l.examined++
	l.lastSeen = id
	if wanted {
		if len(l.rows) == l.limit {
			l.next = l.last
			return errEnough
		}
		l.rows = append(l.rows, v)
		l.last = id
	}
	if l.examined == l.bound {
		l.next = id
		return errEnough
	}
	return nil
}

// each scans the rows of an answer, until the scan has enough.
func each(rows *sql.Rows, err error, scan func(*sql.Rows) error) error {
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); errors.Is(err, errEnough) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return rows.Err()
}
