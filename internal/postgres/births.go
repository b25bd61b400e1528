package postgres

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// A delivery that is born claimed is not in the queue's indexes, which most would leave at once: it enters them with the first
// change that lets it stay pending, a failure or a longer lease. One whose node dies before has no such change. So a sweep goes over
// all deliveries along their ids, some seconds behind the clock, and queues the births that are still as they were.

const (
	// bornFresh is how far the id of a delivery may be from the moment it is stored, to be born outside the queue: a sweep may have
	// passed others.
	bornFresh = 2 * time.Second
	// bornAge is how old a birth is when it is swept: its lease has not ended, so that a claim expects it in time.
	bornAge = posthorn.Lease - 6*time.Second
	// sweepEvery is how often a node sweeps, unless another did, sweepTakes how long that may take, as claims wait for it, and
	// sweepAgain how long one that failed is not repeated.
	sweepEvery, sweepTakes, sweepAgain = 2 * time.Second, 5 * time.Second, 10 * time.Second
	// sweepRows bounds the deliveries that one sweep goes over where it has more than sweepStep to go.
	sweepRows, sweepStep = 100_000, time.Minute
	// bornCounted is how many of the latest deliveries are looked at for births in flight.
	bornCounted = 50_000
)

// bornOutside says in makeDeliveries whether deliveries with ids from one time ($5) to another ($6) may be born outside the queue. It
// reads births, by which a sweep knows who may bring some yet, and where no sweep has been.
const bornOutside = `coalesce((SELECT b.swept < $5::timestamptz AND clock_timestamp() BETWEEN $6::timestamptz - $7::interval AND $5::timestamptz + $7::interval
	FROM births b WHERE b.one), false)`

// lockBirths holds the sweep for one node and says from where it goes, until where births are old, and how far it will have come: not
// past a transaction that may bring births yet. The next statement sees what ended before.
const lockBirths = `
SELECT swept, passed, now() - $1::interval, least(now() - $1::interval, (
	SELECT min(a.xact_start) - $2::interval FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
	WHERE l.locktype = 'relation' AND l.relation = 'births'::regclass AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid()))
FROM births WHERE one AND swept < now() - $1::interval - $3::interval FOR UPDATE SKIP LOCKED`

// areBorn is which deliveries are births outside the queue.
const areBorn = `NOT d.queued AND d.state = 'pending'`

const (
	// enqueueThese queues births by id, but for what somebody else is changing; the others wait for that.
	enqueueThese = `UPDATE deliveries d SET queued = true FROM (
		SELECT d.id FROM deliveries d WHERE d.id = ANY($1) AND ` + areBorn + ` FOR UPDATE SKIP LOCKED) found WHERE d.id = found.id`
	enqueueLane  = `UPDATE deliveries d SET queued = true WHERE d.subscription_id = $1 AND d.id >= $2 AND ` + areBorn
	enqueueAhead = `UPDATE deliveries d SET queued = true WHERE d.id >= $1 AND ` + areBorn
)

// sweepBirths queues the births that became old since the last sweep. A claim finds them when their lease ends. Whoever sweeps has work
// of its own, which goes on where a sweep failed.
func (s *Store) sweepBirths(ctx context.Context) {
	last, now := s.sweptAt.Load(), time.Since(processStart)
	if last != 0 && now-time.Duration(last) < sweepEvery || !s.sweptAt.CompareAndSwap(last, int64(now)) {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, sweepTakes)
	defer cancel()
	err := s.do(bounded, "look for lost births", func(ctx context.Context) error {
		// Each statement must see what ended before it.
		return pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error { return s.sweepOld(ctx, tx) })
	})
	if err != nil && ctx.Err() == nil {
		s.sweptAt.Store(int64(now + sweepAgain - sweepEvery))
		s.log.Warn("lost births were not looked for", "error", err)
	}
}

// processStart is where the monotonic clock is read from.
var processStart = time.Now()

func (s *Store) sweepOld(ctx context.Context, tx pgx.Tx) error {
	var from, old, to time.Time
	var passed [][16]byte
	err := tx.QueryRow(ctx, lockBirths, bornAge, bornFresh, sweepEvery/2).Scan((*moment)(&from), &passed, (*moment)(&old), (*moment)(&to))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err == nil && old.Sub(from) > sweepStep {
		old, err = s.shortenSweep(ctx, tx, from, old)
	}
	if err != nil {
		return err
	}
	if to.After(old) {
		to = old
	}
	if to.Before(from) {
		to = from
	}
	// Where tests move time, ids stay.
	end := old.Add(s.slack - idSlack)
	found, err := readIDs(ctx, tx, `SELECT d.id FROM deliveries d WHERE d.id >= $1 AND d.id < $2 AND `+areBorn, lowestID(from), lowestID(end))
	if err != nil {
		return err
	}
	for _, id := range passed {
		found = append(found, id)
	}
	// What lies beyond is met again.
	left := uuids{}
	if len(found) > 0 {
		var b pgx.Batch
		b.Queue(steer)
		b.Queue(enqueueThese, found)
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return err
		}
		left, err = readIDs(ctx, tx, `SELECT d.id FROM unnest($1::uuid[]) AS q(id)
			CROSS JOIN LATERAL (SELECT * FROM deliveries d WHERE d.id = q.id OFFSET 0) d WHERE d.id < $2 AND `+areBorn, found, lowestID(to))
		if err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, `UPDATE births SET swept = $1, passed = $2`, to, left)
	return err
}

// shortenSweep ends a sweep that is far behind, as where only nodes of the API ran, after so many deliveries. The next goes on at once.
func (s *Store) shortenSweep(ctx context.Context, tx pgx.Tx, from, old time.Time) (time.Time, error) {
	last, err := readIDs(ctx, tx, `SELECT id FROM deliveries WHERE id >= $1 AND id < $2 ORDER BY id OFFSET $3 LIMIT 1`,
		lowestID(from), lowestID(old), sweepRows)
	if len(last) > 0 {
		old = last[0].Time()
		s.sweptAt.Store(0)
	}
	return old, err
}

// readIDs reads ids by a steered statement.
func readIDs(ctx context.Context, tx pgx.Tx, sql string, args ...any) (ids uuids, err error) {
	var b pgx.Batch
	b.Queue(steer)
	b.Queue(sql, args...).Query(func(rows pgx.Rows) (err error) {
		ids, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (id posthorn.UUID, err error) { return id, row.Scan((*uuid)(&id)) })
		return err
	})
	err = tx.SendBatch(ctx, &b).Close()
	return ids, err
}

// queueLane adds to a pipeline what queues the births of a lane, for whoever needs all of its deliveries.
func (s *Store) queueLane(b *pgx.Batch, lane posthorn.SubscriptionID) {
	b.Queue(enqueueLane, uuid(lane.UUID), s.firstBorn())
}

// queueAhead queues all births where the clock was set back: their ids are ahead of it. None was born since behind the sweep, which
// goes on by the new clock.
func queueAhead(ctx context.Context, tx pgx.Tx) error {
	var swept time.Time
	if err := tx.QueryRow(ctx, `SELECT swept FROM births FOR UPDATE`).Scan((*moment)(&swept)); err != nil {
		return err
	}
	var b pgx.Batch
	b.Queue(steer)
	b.Queue(enqueueAhead, lowestID(swept))
	b.Queue(`UPDATE births SET swept = least(swept, now() - $1::interval)`, bornAge)
	return tx.SendBatch(ctx, &b).Close()
}

// restoreSweep makes the row of births where it has gone, as after a restore of some tables only: without it nothing is born outside
// the queue, and nothing found that was. The sweep begins with all that is stored.
func (s *Store) restoreSweep(ctx context.Context) error {
	return s.do(ctx, "restore the sweep", func(ctx context.Context) error {
		var there bool
		err := s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM births)`).Scan(&there)
		if err == nil && !there {
			_, err = s.pool.Exec(ctx, `INSERT INTO births (swept) VALUES (to_timestamp(0)) ON CONFLICT DO NOTHING`)
		}
		return err
	})
}

// sweptUntil is the moment before which no birth is outside the queue.
func (s *Store) sweptUntil(ctx context.Context) (until time.Time, err error) {
	err = s.do(ctx, "read the births", func(ctx context.Context) error {
		var passed [][16]byte
		err := s.pool.QueryRow(ctx, `SELECT swept, passed FROM births`).Scan((*moment)(&until), &passed)
		for _, id := range passed {
			if at := posthorn.UUID(id).Time(); at.Before(until) {
				until = at
			}
		}
		return err
	})
	return until, err
}

// readBorn counts births in flight by lane, among the $3 latest deliveries from an id ($2) on, of a tenant ($1) or of all.
const readBorn = `
SELECT b.n, l.status = 'active', ` + laneColumns + ` FROM (
	SELECT d.subscription_id, count(*)::int AS n FROM (
		SELECT d.subscription_id, d.queued, d.state FROM deliveries d
		WHERE {tenant} AND d.id >= $2 ORDER BY d.id DESC LIMIT $3) d
	WHERE ` + areBorn + ` GROUP BY 1) b
CROSS JOIN LATERAL (SELECT * FROM lanes l WHERE l.subscription_id = b.subscription_id AND NOT l.deleted OFFSET 0) l`

// readBornOf and readBornOfAll are two statements, so that one goes along the tenant's index.
var (
	readBornOf    = strings.Replace(readBorn, "{tenant}", "d.tenant_id = $1", 1)
	readBornOfAll = strings.Replace(readBorn, "{tenant}", "$1::uuid IS NULL", 1)
)

// bornLane is a lane with births in flight.
type bornLane struct {
	posthorn.Lane
	active   bool
	inFlight int
}

func (s *Store) bornLanes(ctx context.Context, tenant posthorn.TenantID) (lanes []bornLane, err error) {
	read := readBornOf
	if tenant.IsZero() {
		read = readBornOfAll
	}
	err = s.do(ctx, "count births", func(ctx context.Context) error {
		var b pgx.Batch
		b.Queue(steer)
		b.Queue(read, uuid(tenant.UUID), s.firstBorn(), bornCounted).Query(func(rows pgx.Rows) (err error) {
			lanes, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (l bornLane, err error) {
				return l, row.Scan(append([]any{&l.inFlight, &l.active}, laneFields(&l.Lane)...)...)
			})
			return err
		})
		return s.pool.SendBatch(ctx, &b).Close()
	})
	return lanes, err
}

// firstBorn is an id below those of all births that a sweep has not met yet, where sweeps come in time.
func (s *Store) firstBorn() uuid { return lowestID(s.Now().Add(-posthorn.Lease)) }

func lowestID(at time.Time) uuid { return uuid(posthorn.MinUUID(at)) }
