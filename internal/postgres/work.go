package postgres

import (
	"context"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// idle is the state of a connection whose transaction has ended.
const idle = 'I'

// work counts transactions and statements. It is a tracer of pgx's.
type work struct{ transactions, statements atomic.Int64 }

// Work implements posthorn.Insight.
func (s *Store) Work() posthorn.StoreWork {
	return posthorn.StoreWork{Transactions: s.work.transactions.Load(), Statements: s.work.statements.Load()}
}

func (w *work) ended(conn *pgx.Conn) {
	if conn.PgConn().TxStatus() == idle {
		w.transactions.Add(1)
	}
}

func (w *work) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	w.statements.Add(1)
	return ctx
}

func (w *work) TraceQueryEnd(_ context.Context, conn *pgx.Conn, _ pgx.TraceQueryEndData) {
	w.ended(conn)
}

func (w *work) TraceBatchStart(ctx context.Context, _ *pgx.Conn, b pgx.TraceBatchStartData) context.Context {
	w.statements.Add(int64(b.Batch.Len()))
	return ctx
}

func (w *work) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (w *work) TraceBatchEnd(_ context.Context, conn *pgx.Conn, _ pgx.TraceBatchEndData) {
	w.ended(conn)
}
