package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posthorn/posthorn"
)

const (
	// atticMove is how many pending deliveries of a day may move to the attic at once: tables are locked meanwhile. A day
	// that holds more keeps its partition, without what has ended, until fewer are left.
	atticMove = 20_000
	// dropTries and dropWait bound the waiting for those locks: everything else waits behind us, so each try is short.
	dropTries = 40
	dropWait  = 100 * time.Millisecond
	// vacuumWait bounds the waiting for an automatic vacuum to give way, which takes PostgreSQL's deadlock_timeout, a second.
	vacuumWait = 5 * time.Second
	// countPages is the size up to which rows are counted before they are dropped; above, the statistics tell.
	countPages = 4096
	// outdated stands between a table's name and its day once it was taken out and waits to be dropped.
	outdated = "_outdated_"
)

// Cleanup implements posthorn.Upkeep. A step is one day's partitions, or one batch of rows of each table that has none. It goes no further
// than births were swept, and is behind where that is not as far as the retention.
func (s *Store) Cleanup(ctx context.Context, r posthorn.Retention) (posthorn.CleanupReport, error) {
	var report posthorn.CleanupReport
	batch := max(r.Batch, 1)
	wanted := s.Now().Add(-r.Logs)
	cutoff, err := s.cutoff(ctx, wanted)
	if err != nil {
		return report, err
	}
	if err := s.dropOutdated(ctx); err != nil {
		return report, err
	}
	present, err := s.partitions(ctx)
	if err != nil {
		return report, err
	}
	// What cannot be dropped, the attic first, loses its ended rows one by one.
	swept := []string{attic}
	for _, d := range expiredDays(present, cutoff) {
		suffix := d.Format(dayFormat)
		lowest := len(swept) == 1
		if ok, err := s.droppable(ctx, d, lowest); err != nil {
			return report, err
		} else if !ok {
			swept = append(swept, suffix)
			continue
		}
		if err := s.dropDay(ctx, d, lowest, &report); err != nil {
			return report, err
		}
		return report, nil
	}
	report.Done = true
	for _, suffix := range swept {
		if err := s.sweep(ctx, suffix, cutoff, batch, &report); err != nil {
			return report, err
		}
	}
	report.Behind = cutoff.Before(wanted)
	return report, s.sweepRest(ctx, cutoff, batch, &report)
}

// cutoff is the moment before which things are old, and no later than births were swept: pending deliveries would go with their day.
func (s *Store) cutoff(ctx context.Context, wanted time.Time) (time.Time, error) {
	s.sweepBirths(ctx)
	swept, err := s.sweptUntil(ctx)
	if err == nil && wanted.Before(swept) {
		return wanted, nil
	}
	return swept, err
}

func (s *Store) partitions(ctx context.Context) ([]partition, error) {
	var present []partition
	err := s.do(ctx, "read partitions", func(ctx context.Context) (err error) {
		present, err = readPartitions(ctx, s.pool)
		return err
	})
	return present, err
}

// expiredDays are the days with partitions that end before the cutoff, oldest first.
func expiredDays(present []partition, cutoff time.Time) []time.Time {
	var days []time.Time
	for _, p := range present {
		if d, ok := p.day(); ok && !d.Add(day).After(cutoff) && !slices.ContainsFunc(days, d.Equal) {
			days = append(days, d)
		}
	}
	slices.SortFunc(days, time.Time.Compare)
	return days
}

// ofDay fills a day into SQL: {day} is the suffix of its tables, {from} and {to} the first id of it and past it.
func ofDay(sql string, d time.Time) string {
	return strings.NewReplacer("{day}", d.Format(dayFormat), "{from}", lowest(d), "{to}", lowest(d.Add(day))).Replace(sql)
}

// What pending deliveries need of a day, they themselves apart: its events, also where the pending delivery is of a later day
// (a replay, or made just past midnight), and its attempts.
const (
	neededEvents = `SELECT tenant_id, event_id FROM deliveries_attic
			WHERE queued AND event_id >= '{from}' AND event_id < '{to}'
		UNION SELECT tenant_id, event_id FROM deliveries
			WHERE id >= '{to}' AND event_id >= '{from}' AND event_id < '{to}' AND queued`
	countNeeded = `SELECT (SELECT count(*) FROM (SELECT FROM deliveries_{day} WHERE queued LIMIT $1) d),
		(SELECT count(*) FROM (` + neededEvents + ` LIMIT $1) e),
		$2 AND EXISTS (SELECT FROM deliveries d JOIN attempts_{day} a ON a.delivery_id = d.id
			WHERE d.id < '{from}' AND d.queued AND d.attempts > 0)`
)

// droppable says whether a day can go: with few deliveries to move to the attic, or with none where days before it
// stay, as the attic can only grow by the day next to it.
func (s *Store) droppable(ctx context.Context, d time.Time, lowest bool) (bool, error) {
	var pending, events int
	var attempts bool
	err := s.do(ctx, "look into an expired day", func(ctx context.Context) error {
		var b pgx.Batch
		b.Queue(steer)
		b.Queue(ofDay(countNeeded, d), atticMove+1, !lowest).QueryRow(func(row pgx.Row) error {
			return row.Scan(&pending, &events, &attempts)
		})
		return s.pool.SendBatch(ctx, &b).Close()
	})
	if lowest {
		return pending <= atticMove && events <= atticMove, err
	}
	return pending == 0 && events == 0 && !attempts, err
}

// errNeeded says that a day came to hold what is pending after it was looked into, as by a retry.
var errNeeded = errors.New("the day is needed again")

// moveNeeded brings what is needed of a day into the attic, ids unchanged. The attic is detached: its bound is raised above
// the day when it comes back.
const moveNeeded = `
	INSERT INTO deliveries_attic SELECT * FROM deliveries_{day} WHERE queued;
	INSERT INTO events_attic SELECT e.* FROM events_{day} e JOIN (` + neededEvents + `) n ON n.tenant_id = e.tenant_id AND n.event_id = e.id;
	INSERT INTO attempts_attic SELECT a.* FROM attempts_{day} a
		JOIN deliveries_attic d ON d.id = a.delivery_id WHERE d.queued AND d.attempts > 0`

// dropDay takes a day's partitions out in one transaction, which holds the tables only for as long as moving few rows takes.
// Their files are removed after it, when nobody waits.
func (s *Store) dropDay(ctx context.Context, d time.Time, lowest bool, report *posthorn.CleanupReport) error {
	var moved posthorn.CleanupReport
	if err := s.countRows(ctx, d, report); err != nil {
		return err
	}
	err := s.do(ctx, "take an expired day out", func(ctx context.Context) error {
		for try := 1; ; try++ {
			err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
				moved = posthorn.CleanupReport{}
				return s.takeOut(ctx, tx, d, lowest, &moved)
			})
			if code := codeOf(err); try == dropTries || code != codeLockTimeout && code != codeDeadlock || !pause(ctx, dropWait) {
				return err
			}
		}
	})
	if err == nil {
		err = s.dropOutdated(ctx)
	}
	if err != nil {
		*report = posthorn.CleanupReport{}
		if errors.Is(err, errNeeded) {
			return nil
		}
		return err
	}
	report.Partitions = len(partitioned)
	report.Deliveries -= moved.Deliveries
	report.Events -= moved.Events
	report.Attempts -= moved.Attempts
	s.log.Info("dropped an expired day", "day", d.Format(time.DateOnly), "events", report.Events, "moved", moved.Deliveries)
	return nil
}

func (s *Store) takeOut(ctx context.Context, tx pgx.Tx, d time.Time, lowest bool, moved *posthorn.CleanupReport) error {
	// With the tables held there is no time for a plan that reads a whole day.
	if _, err := tx.Exec(ctx, steer); err != nil {
		return err
	}
	run := func(sql string) error {
		_, err := tx.Exec(ctx, ofDay(sql, d), pgx.QueryExecModeSimpleProtocol)
		return err
	}
	// An automatic vacuum of these gives way to whoever waits for a second. It is kept out first, in the mode that readers and
	// writers do not notice, because with the tables held there is no second to wait.
	quiet := `LOCK TABLE events_{day}, deliveries_{day}, attempts_{day} IN SHARE UPDATE EXCLUSIVE MODE`
	if lowest {
		quiet += `; LOCK TABLE events_attic, deliveries_attic, attempts_attic IN SHARE UPDATE EXCLUSIVE MODE`
	}
	if err := run(fmt.Sprintf(`SET LOCAL lock_timeout = %d; `, vacuumWait.Milliseconds()) + quiet); err != nil {
		return err
	}
	if err := lockLayout(ctx, tx, dropWait); err != nil {
		return err
	}
	// Everybody else comes by the parent tables, or by the names of today's partitions, which is no day to drop.
	if err := run(`LOCK TABLE ONLY events, ONLY deliveries, ONLY attempts IN ACCESS EXCLUSIVE MODE; SET LOCAL lock_timeout = 0`); err != nil {
		return err
	}
	if lowest {
		if err := run(`
			ALTER TABLE events DETACH PARTITION events_attic;
			ALTER TABLE deliveries DETACH PARTITION deliveries_attic;
			ALTER TABLE attempts DETACH PARTITION attempts_attic`); err != nil {
			return err
		}
		results, err := tx.Conn().PgConn().Exec(ctx, ofDay(moveNeeded, d)).ReadAll()
		if err != nil {
			return err
		}
		moved.Deliveries = results[0].CommandTag.RowsAffected()
		moved.Events = results[1].CommandTag.RowsAffected()
		moved.Attempts = results[2].CommandTag.RowsAffected()
	} else {
		var pending, events int
		var attempts bool
		if err := tx.QueryRow(ctx, ofDay(countNeeded, d), pgx.QueryExecModeExec, 1, false).Scan(&pending, &events, &attempts); err != nil {
			return err
		}
		if pending+events > 0 {
			return errNeeded
		}
	}
	for _, table := range partitioned {
		if err := run(`ALTER TABLE ` + table + ` DETACH PARTITION ` + table + `_{day};
			ALTER TABLE ` + table + `_{day} RENAME TO ` + table + outdated + `{day}`); err != nil {
			return err
		}
	}
	if !lowest {
		return nil
	}
	return run(`
		ALTER TABLE events ATTACH PARTITION events_attic FOR VALUES FROM (MINVALUE) TO ('{to}');
		ALTER TABLE deliveries ATTACH PARTITION deliveries_attic FOR VALUES FROM (MINVALUE) TO ('{to}');
		ALTER TABLE attempts ATTACH PARTITION attempts_attic FOR VALUES FROM (MINVALUE) TO ('{to}')`)
}

// dropOutdated removes the tables that were taken out, also by a cleanup that did not come to its end. Most of the time goes
// into removing files, so they go side by side.
func (s *Store) dropOutdated(ctx context.Context) error {
	return s.do(ctx, "drop what was taken out", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, `SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND NOT relispartition
			AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'deliveries'::regclass)
			AND relname ~ '^(events|deliveries|attempts)`+outdated+`[0-9]{8}$'`)
		if err != nil {
			return err
		}
		tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		failures := make([]error, len(tables))
		var drops sync.WaitGroup
		for i, table := range tables {
			drops.Go(func() { _, failures[i] = s.pool.Exec(ctx, `DROP TABLE IF EXISTS `+table) })
		}
		drops.Wait()
		return errors.Join(failures...)
	})
}

// countRows notes how many rows a day has: exactly where it is small, as the statistics have it where counting would take
// longer than dropping.
func (s *Store) countRows(ctx context.Context, d time.Time, report *posthorn.CleanupReport) error {
	return s.do(ctx, "count an expired day", func(ctx context.Context) error {
		for table, rows := range map[string]*int64{"events": &report.Events, "deliveries": &report.Deliveries, "attempts": &report.Attempts} {
			name := table + "_" + d.Format(dayFormat)
			var pages int64
			err := s.pool.QueryRow(ctx, `SELECT greatest(reltuples, 0)::bigint, pg_relation_size(oid) / 8192
				FROM pg_class WHERE oid = $1::text::regclass`, name).Scan(rows, &pages)
			if err == nil && pages <= countPages {
				err = s.pool.QueryRow(ctx, `SELECT count(*) FROM `+name).Scan(rows)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// The rows of a partition that is not dropped: deliveries that ended before the cutoff, attempts without their delivery, and
// events without any.
const (
	sweepDeliveries = `DELETE FROM deliveries_{day} WHERE id IN (
		SELECT id FROM deliveries_{day} WHERE state <> 'pending' AND completed_at < $1 LIMIT $2) AND state <> 'pending'`
	sweepAttempts = `DELETE FROM attempts_{day} WHERE (delivery_id, id) IN (
		SELECT a.delivery_id, a.id FROM attempts_{day} a
		WHERE a.recorded_at < $1 AND NOT EXISTS (SELECT FROM deliveries d WHERE d.id = a.delivery_id) LIMIT $2)`
	sweepEvents = `DELETE FROM events_{day} WHERE (tenant_id, id) IN (
		SELECT e.tenant_id, e.id FROM events_{day} e
		WHERE e.created_at < $1 AND NOT EXISTS (SELECT FROM deliveries d WHERE d.event_id = e.id) LIMIT $2)`
)

// sweep removes rows one by one where a partition stays.
func (s *Store) sweep(ctx context.Context, suffix string, cutoff time.Time, batch int, report *posthorn.CleanupReport) error {
	for _, step := range []struct {
		sql  string
		rows *int64
	}{{sweepDeliveries, &report.Deliveries}, {sweepAttempts, &report.Attempts}, {sweepEvents, &report.Events}} {
		if err := s.remove(ctx, strings.ReplaceAll(step.sql, "{day}", suffix), cutoff, batch, step.rows, report); err != nil {
			return err
		}
	}
	return nil
}

// sweepRest removes old rows of the tables without partitions.
func (s *Store) sweepRest(ctx context.Context, cutoff time.Time, batch int, report *posthorn.CleanupReport) error {
	err := s.remove(ctx, `DELETE FROM idempotency_keys WHERE (tenant_id, key) IN (
		SELECT tenant_id, key FROM idempotency_keys WHERE created_at < $1 ORDER BY created_at LIMIT $2)`, cutoff, batch, &report.Keys, report)
	if err != nil {
		return err
	}
	// What was counted long ago and is not folded yet must not come up again.
	s.tryFold(ctx, foldTakes)
	var rest int64
	if err := s.remove(ctx, `DELETE FROM rollups WHERE ctid = ANY(ARRAY(
		SELECT ctid FROM rollups WHERE minute < $1 ORDER BY minute LIMIT $2))`, cutoff, batch, &rest, report); err != nil {
		return err
	}
	if err := s.remove(ctx, `DELETE FROM queue_samples WHERE (tenant_id, minute) IN (
		SELECT tenant_id, minute FROM queue_samples WHERE minute < $1 ORDER BY minute LIMIT $2)`, cutoff, batch, &rest, report); err != nil {
		return err
	}
	// Tombstones whose history is gone.
	if err := s.remove(ctx, `WITH gone AS (
		DELETE FROM subscriptions WHERE id IN (SELECT s.id FROM subscriptions s WHERE s.deleted_at < $1
			AND NOT EXISTS (SELECT FROM deliveries d WHERE d.subscription_id = s.id) LIMIT $2) RETURNING id)
		DELETE FROM lanes WHERE subscription_id IN (SELECT id FROM gone)`, cutoff, batch, &rest, report); err != nil {
		return err
	}
	if err := s.remove(ctx, `DELETE FROM replays WHERE id IN (
		SELECT id FROM replays WHERE completed_at < $1 LIMIT $2)`, cutoff, batch, &rest, report); err != nil {
		return err
	}
	return s.remove(ctx, `DELETE FROM nodes WHERE id IN (
		SELECT id FROM nodes WHERE seen_at < least($1, now() - interval '1 day') LIMIT $2)`, cutoff, batch, &rest, report)
}

// remove runs one bounded DELETE; a full batch means that there may be more.
func (s *Store) remove(ctx context.Context, sql string, cutoff time.Time, batch int, rows *int64, report *posthorn.CleanupReport) error {
	return s.do(ctx, "remove old rows", func(ctx context.Context) error {
		var removed int64
		var b pgx.Batch
		b.Queue(steer)
		b.Queue(sql, cutoff, batch).Exec(func(tag pgconn.CommandTag) error {
			removed = tag.RowsAffected()
			return nil
		})
		if err := s.pool.SendBatch(ctx, &b).Close(); err != nil {
			return err
		}
		*rows += removed
		report.Done = report.Done && removed < int64(batch)
		return nil
	})
}
