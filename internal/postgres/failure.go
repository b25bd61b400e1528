package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"

	"github.com/posthorn/posthorn"
)

const (
	// callTimeout bounds one call of the store, waiting for a connection included.
	callTimeout = 20 * time.Second
	// tries is how often a call is made that lost to another transaction or to a connection found dead before anything
	// was sent on it.
	tries = 6
	// retryAfter is what a caller is told when the database is away.
	retryAfter = time.Second
)

// SQLSTATE codes (PostgreSQL documentation, appendix A) that mean something of their own here.
const (
	codeSerialization = "40001"
	codeDeadlock      = "40P01"
	codeLockTimeout   = "55P03"
	codeUnique        = "23505"
	codeCheck         = "23514" // also: no partition for the row
	codeNoTable       = "42P01"
	codeReadOnly      = "25006"
	codeCancelled     = "57014"
)

// do makes one bounded call, repeats it where that is safe, and gives its error a Kind.
func (s *Store) do(ctx context.Context, what string, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for try := 1; ; try++ {
		err := call(ctx)
		if err == nil {
			return nil
		}
		if try == tries || !repeatable(err) || !pause(ctx, time.Duration(1<<try)*time.Millisecond) {
			return explain(what, err)
		}
	}
}

// write is do with a transaction around the call.
func (s *Store) write(ctx context.Context, what string, call func(context.Context, pgx.Tx) error) error {
	return s.do(ctx, what, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return call(ctx, tx) })
	})
}

// pause waits, spread by half to either side; false when the context ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// repeatable errors mean that nothing was stored and that the same call can succeed at once.
func repeatable(err error) bool {
	switch codeOf(err) {
	case codeSerialization, codeDeadlock:
		return true
	case "":
		return pgconn.SafeToRetry(err) && !isContext(err) && !errors.Is(err, puddle.ErrClosedPool)
	}
	return false
}

// codeOf is the SQLSTATE of an error of the server, else empty.
func codeOf(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// explain wraps an error with what was being done, and with Unavailable where the database cannot answer now.
func explain(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case posthorn.KindOf(err) != posthorn.Internal:
		return err
	case away(err):
		return posthorn.Away(retryAfter, fmt.Errorf("%s: %w", what, err))
	}
	return fmt.Errorf("%s: %w", what, err)
}

// noRow turns a missing row into NotFound.
func noRow(noun string, err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return posthorn.Absent(noun)
	}
	return err
}

// away says that the database is out of reach, overloaded, full, read-only or shutting down.
func away(err error) bool {
	if code := codeOf(err); code != "" {
		return awayCode(code) || dying(err)
	}
	if errors.Is(err, context.Canceled) {
		return false
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, puddle.ErrClosedPool) || pgconn.SafeToRetry(err)
}

func awayCode(code string) bool {
	switch code {
	case codeReadOnly, codeCancelled, codeLockTimeout, codeSerialization, codeDeadlock,
		"57P01", "57P02", "57P03", // shutting down, crashed, starting
		"57P04", "57P05", // database dropped, session idle too long
		"25P03", "25P04", // transaction idle or open too long
		"58000", "58030": // system and I/O errors
		return true
	}
	// 08 connection exceptions, 53 insufficient resources: too many connections, disk full, out of memory.
	return strings.HasPrefix(code, "08") || strings.HasPrefix(code, "53")
}

// dying says that the server could not go on, whatever the code: it panicked, or it ended the connection by an internal error (XX), as
// it ends a new one that finds the disk too full to write down what it read of the catalogue.
func dying(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.SeverityUnlocalized == "PANIC" || e.SeverityUnlocalized == "FATAL" && strings.HasPrefix(e.Code, "XX"))
}

// uncertain says that the connection was lost at a moment when the transaction may have committed.
func uncertain(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.SeverityUnlocalized == "PANIC" {
		// The server's log may hold the commit all the same, and recovery makes it good.
		return true
	}
	switch codeOf(err) {
	case "57P01", "57P02", "08006", "08007":
		return true
	case "":
		return away(err) && !pgconn.SafeToRetry(err)
	}
	return false
}

func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// isData says that a value was refused: of a wrong form (22), breaking a constraint (23) or too large (54).
func isData(err error) bool {
	code := codeOf(err)
	return strings.HasPrefix(code, "22") || strings.HasPrefix(code, "23") || strings.HasPrefix(code, "54")
}
