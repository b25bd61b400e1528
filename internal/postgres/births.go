package postgres

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// A delivery that is born claimed is not in the queue's indexes, where most would leave at once: it enters them with the first
// change that lets it stay pending, a failure or a longer lease. One whose node dies before has no such change, so what was
// born is looked through once it is old, along its ids.

const (
	// bornFresh is how far the id of a delivery may be from the moment it is stored, to be born outside the queue: others would
	// be passed over by a sweep that has gone further.
	bornFresh = 2 * time.Second
	// bornAge is when a birth is looked at: before its lease ends, so that a claim expects it in time.
	bornAge = posthorn.Lease - 4*time.Second
	// sweepEvery is how often a node looks.
	sweepEvery = time.Second
	// sweepWaits bounds how long a transaction that may still bring births holds the others up: somebody's own statement, as
	// ours take far less.
	sweepWaits = 10 * time.Minute
	// sweepRows bounds the deliveries that one sweep goes over where it has more than sweepStep to go.
	sweepRows, sweepStep = 100_000, time.Minute
	// sweptAnew is how far a sweep is sent back where the clock was set back: further than anybody takes to notice.
	sweptAnew = 24 * time.Hour
)

// lockBirths holds the sweep, which nodes do in turn, and says from where to where it may go: not past what a transaction under
// way may bring yet. Who inserts holds a lock on the parent table, and the next statement sees what those brought that have
// ended by now.
const lockBirths = `
SELECT swept, least(now() - $1::interval, greatest(now() - $2::interval, (
	SELECT coalesce(min(a.xact_start), now()) - $3::interval FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
	WHERE l.locktype = 'relation' AND l.relation = 'deliveries'::regclass AND l.mode = 'RowExclusiveLock'
		AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))))
FROM births WHERE swept < now() - $1::interval - $4::interval FOR UPDATE SKIP LOCKED`

// enqueueBorn puts births of a range of ids into the queue.
const enqueueBorn = `UPDATE deliveries d SET queued = true WHERE d.id >= $1 AND d.id < $2 AND NOT d.queued AND d.state = 'pending'`

// sweepBirths puts what was born long ago, and still is as it was, into the queue: claims find it there when its lease ends.
func (s *Store) sweepBirths(ctx context.Context) error {
	last, now := s.sweptAt.Load(), time.Now().UnixNano()
	if now-last < int64(sweepEvery) || !s.sweptAt.CompareAndSwap(last, now) {
		return nil
	}
	return s.write(ctx, "look for lost births", func(ctx context.Context, tx pgx.Tx) error {
		var from, to time.Time
		err := tx.QueryRow(ctx, lockBirths, bornAge, sweepWaits, bornFresh, sweepEvery/2).Scan((*moment)(&from), (*moment)(&to))
		if errors.Is(err, pgx.ErrNoRows) || err == nil && !to.After(from) {
			return nil
		}
		if err == nil && to.Sub(from) > sweepStep {
			to, err = s.shortenSweep(ctx, tx, from, to)
		}
		if err != nil {
			return err
		}
		var b pgx.Batch
		b.Queue(steer)
		b.Queue(enqueueBorn, lowestID(from), lowestID(to.Add(s.slack-idSlack)))
		b.Queue(`UPDATE births SET swept = $1`, to)
		return tx.SendBatch(ctx, &b).Close()
	})
}

// shortenSweep ends a sweep that has come far behind, as where nobody but the API ran, after so many deliveries. The next goes on at
// once.
func (s *Store) shortenSweep(ctx context.Context, tx pgx.Tx, from, to time.Time) (time.Time, error) {
	var b pgx.Batch
	b.Queue(steer)
	b.Queue(`SELECT id FROM deliveries WHERE id >= $1 AND id < $2 ORDER BY id OFFSET $3 LIMIT 1`, lowestID(from), lowestID(to), sweepRows).
		QueryRow(func(row pgx.Row) error {
			var id posthorn.UUID
			err := row.Scan((*uuid)(&id))
			if errors.Is(err, pgx.ErrNoRows) {
				return nil
			}
			to = id.Time()
			s.sweptAt.Store(0)
			return err
		})
	err := tx.SendBatch(ctx, &b).Close()
	return to, err
}

// enqueueLane makes the births of a lane known to whoever looks at its queue.
func enqueueLane(ctx context.Context, tx pgx.Tx, lane posthorn.SubscriptionID) error {
	swept, err := readSwept(ctx, tx)
	if err == nil {
		_, err = tx.Exec(ctx, enqueueBorn+` AND d.subscription_id = $3`, lowestID(swept), lastID, uuid(lane.UUID))
	}
	return err
}

// enqueueAhead makes all births known, where the clock was set back: their ids are ahead of it. Those since then may lie behind
// the sweep, which is sent back.
func enqueueAhead(ctx context.Context, tx pgx.Tx) error {
	swept, err := readSwept(ctx, tx)
	if err != nil {
		return err
	}
	var b pgx.Batch
	b.Queue(steer)
	b.Queue(enqueueBorn, lowestID(swept), lastID)
	b.Queue(`UPDATE births SET swept = least(swept, now() - $1::interval)`, sweptAnew)
	return tx.SendBatch(ctx, &b).Close()
}

// readSwept says until when births were looked through.
func readSwept(ctx context.Context, q interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}) (time.Time, error) {
	var swept time.Time
	err := q.QueryRow(ctx, `SELECT swept FROM births`).Scan((*moment)(&swept))
	return swept, err
}

func lowestID(at time.Time) uuid { return uuid(posthorn.MinUUID(at)) }

// lastID is above all ids.
var lastID = uuid(bytes.Repeat([]byte{0xff}, 16))

// firstBorn is a lowest id of births, as near as those who count must know it.
func (s *Store) firstBorn() uuid { return lowestID(s.Now().Add(-posthorn.Lease)) }
