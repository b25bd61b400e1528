package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn"
)

// writer is the one connection that writes, with its prepared statements. Its turn is taken for a whole transaction, in
// process, so that nothing ever waits for SQLite's own lock.
type writer struct {
	turn       chan struct{}
	closed     chan struct{}
	conn       *sql.Conn
	statements map[statementKey]*sql.Stmt // for questions
	changes    changes
	// kept are lanes as they are in the file; see lanes.
	kept map[posthorn.SubscriptionID]lane
	// The next step of a fold is at foldAt, or when tallied bytes are many; folded rows are those of its steps so far.
	foldAt          time.Time
	tallied, folded int
	// What was done so far; others read it.
	transactions, done atomic.Int64
	// fullAt is when the disk last had no room, in Unix nanoseconds.
	fullAt atomic.Int64
}

// statementKey names a statement: its text, and for one over several rows how many.
type statementKey struct {
	text string
	rows int
}

var errClosed = errors.New("the store is closed")

func newWriter(ctx context.Context, db *sql.DB) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &writer{
		turn: make(chan struct{}, 1), closed: make(chan struct{}), conn: conn, statements: map[statementKey]*sql.Stmt{},
		changes: changes{statements: map[statementKey]driver.Stmt{}}, kept: map[posthorn.SubscriptionID]lane{},
	}, nil
}

func (w *writer) take(ctx context.Context) error {
	// A turn that is free must not hide that the caller has given up.
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case w.turn <- struct{}{}:
		return nil
	case <-w.closed:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close takes the last turn and keeps it; false when it was closed before.
func (w *writer) close() bool {
	select {
	case w.turn <- struct{}{}:
	case <-w.closed:
		return false
	}
	close(w.closed)
	for _, s := range w.statements {
		_ = s.Close()
	}
	_ = w.conn.Raw(func(any) error { return w.changes.close() })
	_ = w.conn.Close()
	return true
}

// tx is one writing transaction and the moment it happens at.
type tx struct {
	*writer
	now time.Time
	// ctx has no end: a transaction that has begun takes milliseconds, and is not left half-way.
	ctx context.Context
	// counts are what it adds to the statistics.
	counts tally
	// lanesChanged says that lanes may be kept as they are not in the file until the commit.
	lanesChanged bool
	// beforeCommit may be nil.
	beforeCommit func(context.Context) error
}

// write runs one transaction. What change has written is committed when it returns nil, else nothing is.
func (s *Store) write(ctx context.Context, change func(*tx) error) error {
	if err := s.writer.take(ctx); err != nil {
		return fault(err)
	}
	defer func() { <-s.writer.turn }()
	return s.transact(ctx, change)
}

// transact is write for who has the writer's turn.
func (s *Store) transact(ctx context.Context, change func(*tx) error) error {
	return fault(s.begin(ctx).run(change))
}

// begin makes a transaction for who has the writer's turn.
func (s *Store) begin(ctx context.Context) *tx {
	return &tx{writer: s.writer, now: s.Now(), ctx: context.WithoutCancel(ctx), counts: tally{}, beforeCommit: s.beforeCommit}
}

func (t *tx) run(change func(*tx) error) (err error) {
	defer func() {
		if full(err) {
			t.fullAt.Store(time.Now().UnixNano())
		}
	}()
	if _, err := t.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	done := false
	defer func() {
		if !done {
			// SQLite may have rolled back by itself; then this fails and nothing is lost.
			_, _ = t.exec("ROLLBACK")
			if t.lanesChanged {
				clear(t.kept)
			}
		}
	}()
	if err := change(t); err != nil {
		return err
	}
	if err := t.foldDue(); err != nil {
		return err
	}
	if err := t.leaveTally(); err != nil {
		return err
	}
	if t.beforeCommit != nil {
		if err := t.beforeCommit(t.ctx); err != nil {
			return err
		}
	}
	if _, err := t.exec("COMMIT"); err != nil {
		return err
	}
	t.transactions.Add(1)
	done = true
	return nil
}

// prepared gives the statement for a text, made once. Texts are constants, or constants over a few numbers of rows.
func (t *tx) prepared(key statementKey, text func() string) (*sql.Stmt, error) {
	t.done.Add(1)
	if s, ok := t.statements[key]; ok {
		return s, nil
	}
	s, err := t.conn.PrepareContext(t.ctx, text())
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", key.text, err)
	}
	t.statements[key] = s
	return s, nil
}

func (t *tx) exec(text string, args ...any) (sql.Result, error) {
	return t.change(statementKey{text: text}, func() string { return text }, args)
}

// change runs a statement that answers no rows, made once.
func (t *tx) change(key statementKey, text func() string, args []any) (result sql.Result, err error) {
	t.done.Add(1)
	err = t.conn.Raw(func(conn any) error {
		result, err = t.changes.run(t.ctx, conn.(driver.ConnPrepareContext), key, text, args)
		return err
	})
	return result, err
}

func (t *tx) query(text string, args ...any) (*sql.Rows, error) {
	s, err := t.prepared(statementKey{text: text}, func() string { return text })
	if err != nil {
		return nil, err
	}
	return s.QueryContext(t.ctx, args...)
}

func (t *tx) queryRow(text string, args ...any) *sql.Row {
	s, err := t.prepared(statementKey{text: text}, func() string { return text })
	if err != nil {
		// A row that carries the error: the statement is asked again and fails the same way.
		return t.conn.QueryRowContext(t.ctx, text, args...)
	}
	return s.QueryRowContext(t.ctx, args...)
}

// querier reads, inside a transaction or outside.
type querier interface {
	query(text string, args ...any) (*sql.Rows, error)
	queryRow(text string, args ...any) *sql.Row
}

// reader reads outside a writing transaction.
type reader struct {
	ctx context.Context
	on  interface {
		QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
		QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	}
}

func (r reader) query(text string, args ...any) (*sql.Rows, error) {
	return r.on.QueryContext(r.ctx, text, args...)
}

func (r reader) queryRow(text string, args ...any) *sql.Row {
	return r.on.QueryRowContext(r.ctx, text, args...)
}

// read is for a single statement.
func (s *Store) read(ctx context.Context) reader { return reader{ctx, s.readers} }

// snapshot runs several statements on one moment of the file.
func (s *Store) snapshot(ctx context.Context, ask func(reader) error) error {
	t, err := s.readers.BeginTx(ctx, nil)
	if err != nil {
		return fault(err)
	}
	defer func() { _ = t.Rollback() }()
	return fault(ask(reader{ctx, t}))
}

// searcher is the one connection that looks for due deliveries, with its prepared statements: to read their text anew would
// cost each claim more than the search. It belongs to whoever holds Store.searching.
type searcher struct {
	conn       *sql.Conn
	statements map[string]*sql.Stmt
}

// look runs several statements on one moment of the file. What ctx cuts short leaves the connection to be made anew.
func (s *Store) look(ctx context.Context, ask func(reader) error) (err error) {
	if s.search == nil {
		conn, err := s.readers.Conn(ctx)
		if err != nil {
			return fault(err)
		}
		s.search = &searcher{conn, map[string]*sql.Stmt{}}
	}
	if _, err = s.search.conn.ExecContext(ctx, "BEGIN"); err == nil {
		err = ask(reader{ctx, s.search})
		_, ended := s.search.conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		if err = errors.Join(err, ended); err == nil {
			return nil
		}
	}
	s.search.close()
	s.search = nil
	return fault(err)
}

func (s *searcher) close() {
	for _, stmt := range s.statements {
		_ = stmt.Close()
	}
	_ = s.conn.Close()
}

func (s *searcher) prepared(ctx context.Context, text string) (*sql.Stmt, error) {
	if stmt, ok := s.statements[text]; ok {
		return stmt, nil
	}
	stmt, err := s.conn.PrepareContext(ctx, text)
	if err == nil {
		s.statements[text] = stmt
	}
	return stmt, err
}

// QueryContext and QueryRowContext take constant texts alone: each is kept.
func (s *searcher) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	stmt, err := s.prepared(ctx, text)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

// QueryRowContext is QueryContext for one row.
func (s *searcher) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	stmt, err := s.prepared(ctx, text)
	if err != nil {
		// A row that carries the error: the statement is asked again and fails the same way.
		return s.conn.QueryRowContext(ctx, text, args...)
	}
	return stmt.QueryRowContext(ctx, args...)
}

// steps are the numbers of rows that one statement takes, so that a batch of any size needs few different statements.
var steps = [...]int{40, 8, 1}

// bulk runs a statement over many rows: text holds ROWS where the values go. Args hold width values for each row; extra
// ones come first in each statement.
func (t *tx) bulk(text string, width int, args []any, extra ...any) error {
	_, err := t.count(text, width, args, extra...)
	return err
}

// count is bulk that counts the rows changed.
func (t *tx) count(text string, width int, args []any, extra ...any) (n int64, err error) {
	err = parts(width, args, extra, func(rows int, part []any) error {
		answer, err := t.change(statementKey{text, rows}, func() string { return spread(text, width, rows) }, part)
		if err != nil {
			return err
		}
		changed, err := answer.RowsAffected()
		n += changed
		return err
	})
	return n, err
}

// bulkQuery is bulk for a statement that answers rows.
func (t *tx) bulkQuery(text string, width int, args []any, scan func(*sql.Rows) error, extra ...any) error {
	return parts(width, args, extra, func(n int, part []any) error {
		s, err := t.prepared(statementKey{text, n}, func() string { return spread(text, width, n) })
		if err != nil {
			return err
		}
		rows, err := s.QueryContext(t.ctx, part...)
		return each(rows, err, scan)
	})
}

// parts cuts the values of many rows into those of one statement each.
func parts(width int, args, extra []any, run func(rows int, part []any) error) error {
	for _, n := range steps {
		for len(args) >= n*width {
			part := args[:n*width]
			if len(extra) > 0 {
				part = append(append(make([]any, 0, len(extra)+len(part)), extra...), part...)
			}
			if err := run(n, part); err != nil {
				return err
			}
			args = args[n*width:]
		}
	}
	return nil
}

// spread writes n rows of width parameters where text says ROWS: (?,?),(?,?).
func spread(text string, width, n int) string {
	row := "(" + strings.Repeat("?,", width-1) + "?)"
	return strings.Replace(text, "ROWS", strings.Repeat(row+",", n-1)+row, 1)
}
