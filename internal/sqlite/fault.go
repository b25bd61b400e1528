package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/posthorn/posthorn"
)

// retryAfter is what a caller is told to wait: a full disk or a foreign lock does not pass in less.
const retryAfter = 2 * time.Second

// fault gives an error of SQLite its kind: what the file or the disk refuses now, or has no time for, is Unavailable, and
// nothing was written. Errors that have a kind, and callers who gave up, pass.
func fault(err error) error {
	if err == nil || posthorn.KindOf(err) != posthorn.Internal {
		return err
	}
	if errors.Is(err, errClosed) || errors.Is(err, sql.ErrConnDone) || err.Error() == "sql: database is closed" {
		return posthorn.Away(retryAfter, errClosed)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return posthorn.Away(retryAfter, err)
	}
	if full(err) {
		return &posthorn.Error{Kind: posthorn.Unavailable, Message: "the disk is full; repeat the request once there is room", RetryAfter: retryAfter, Err: err}
	}
	failure, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	switch failure.Code() & 0xff {
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED, lib.SQLITE_READONLY, lib.SQLITE_IOERR, lib.SQLITE_CANTOPEN,
		lib.SQLITE_PROTOCOL, lib.SQLITE_NOMEM:
		return posthorn.Away(retryAfter, err)
	}
	return err
}

// fullFor is how long a refusal for want of room counts: longer than the time between two heartbeats, which write. What fits
// into the pages that are there is still written meanwhile, so that a write that succeeds says nothing.
const fullFor = 15 * time.Second

// full reports that the disk had no room: for a page, or for the index of the log.
func full(err error) bool {
	failure, ok := errors.AsType[*sqlite.Error](err)
	return ok && (failure.Code()&0xff == lib.SQLITE_FULL || failure.Code() == lib.SQLITE_IOERR_SHMSIZE)
}

// constraint reports a violated one.
func constraint(err error) bool {
	failure, ok := errors.AsType[*sqlite.Error](err)
	return ok && failure.Code()&0xff == lib.SQLITE_CONSTRAINT
}

// damaged reports that the file is no database, or not whole.
func damaged(err error) bool {
	failure, ok := errors.AsType[*sqlite.Error](err)
	return ok && (failure.Code()&0xff == lib.SQLITE_CORRUPT || failure.Code()&0xff == lib.SQLITE_NOTADB)
}

// absent turns a missing row into NotFound.
func absent(noun string, err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return posthorn.Absent(noun)
	}
	return err
}
