package postgres

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/posthorn/posthorn"
)

// steering makes plans look rows up one by one through their indexes, whatever the statistics of a partition made a minute ago
// say, and keeps one plan for all.
var steering = map[string]string{
	"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "enable_material": "off", "jit": "off",
	"plan_cache_mode":   "force_generic_plan",
	"statement_timeout": "15s", "idle_in_transaction_session_timeout": "20s",
}

// steer steers a pipeline until its end.
var steer = func() string {
	var settings []string
	for _, name := range slices.Sorted(maps.Keys(steering)) {
		settings = append(settings, "set_config('"+name+"', '"+steering[name]+"', true)")
	}
	return "SELECT " + strings.Join(settings, ", ")
}()

// steadyConns is how many connections stay steered, of those that the store may have: one to accept over and one to record over,
// as a node does one of each at a time.
const steadyConns = 2

// steadyPool takes connections off a pool for one whose sessions are steered from their start, which spares each transaction a
// statement: nil where a pooler may give every transaction another session, or where there are too few.
func steadyPool(config *pgxpool.Config) *pgxpool.Config {
	if config.ConnConfig.DefaultQueryExecMode != pgx.QueryExecModeCacheStatement || config.MaxConns < 4*steadyConns {
		return nil
	}
	steady := config.Copy()
	steady.MaxConns, steady.MinConns, steady.MinIdleConns = steadyConns, 0, 0
	config.MaxConns -= steadyConns
	config.MinConns, config.MinIdleConns = min(config.MinConns, config.MaxConns), min(config.MinIdleConns, config.MaxConns)
	maps.Copy(steady.ConnConfig.RuntimeParams, steering)
	return steady
}

// steered begins a pipeline of what every event costs, and tells where to send it.
func (s *Store) steered(b *pgx.Batch) *pgxpool.Pool {
	if s.steady != nil {
		return s.steady
	}
	b.Queue(steer)
	return s.pool
}

// warmUp has the sessions that stay steered plan what every event costs, with nothing to write, which takes some 20 ms each: the
// first events would wait for it.
func (s *Store) warmUp(ctx context.Context) error {
	if s.steady == nil {
		return nil
	}
	results, err := newResultRows(posthorn.RecordBatch{})
	if err != nil {
		return err
	}
	nothing := newAcceptRows(nil)
	counted := nothing.count()
	var made period
	made.add(posthorn.NewUUID(s.Now()))
	write := s.statementsFor(made)
	return s.do(ctx, "warm up", func(ctx context.Context) error {
		for range steadyConns {
			conn, err := s.steady.Acquire(ctx)
			if err != nil {
				return err
			}
			// Only once all are ready, or the next would be the same.
			defer conn.Release()
			tx, err := conn.Begin(ctx)
			if err != nil {
				return err
			}
			var b pgx.Batch
			b.Queue(write.acceptWhole, nothing.wholeArguments(posthorn.NodeID{}, period{}, counted)...)
			b.Queue(write.recordAttempts, results.arguments()...)
			if err := errors.Join(tx.SendBatch(ctx, &b).Close(), tx.Rollback(ctx)); err != nil {
				return err
			}
		}
		return nil
	})
}
