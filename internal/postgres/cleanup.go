package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posthorn/posthorn"
)

const (
	// atticMove is how many deliveries of a day may move to the attic at once: tables are locked meanwhile. A day with more that
	// are pending or ended lately keeps its partition until fewer are left, and after thinAfter without what has ended before.
	atticMove = 20_000
	// thinAfter spares a day in which much was late a deletion row by row: most of it is past the retention a day later.
	thinAfter = day
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
	// What cannot be dropped, the attic first, loses its old rows one by one.
	swept := []string{attic}
	lowest := true
	for _, d := range expiredDays(present, cutoff) {
		x := expired{d, cutoff, lowest}
		if kept, ok, err := s.droppable(ctx, x); err != nil {
			return report, err
		} else if ok {
			return report, s.dropDay(ctx, x, kept, &report)
		}
		if cutoff.Sub(d) >= day+thinAfter {
			swept = append(swept, d.Format(dayFormat))
		}
		lowest = false
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

// expired is a day that lies before the cutoff; lowest says that only the attic comes before it.
type expired struct {
	day, cutoff time.Time
	lowest      bool
}

// sql fills the day in: {day} is the suffix of its tables, {from} and {to} the first id of it and past it, {cutoff} the cutoff and
// {limit} more than may move. As literals, plans know them.
func (x expired) sql(text string) string {
	return strings.NewReplacer("{day}", x.day.Format(dayFormat), "{from}", lowest(x.day), "{to}", lowest(x.day.Add(day)),
		"{cutoff}", x.cutoff.UTC().Format("2006-01-02 15:04:05.999999Z"), "{limit}", strconv.Itoa(atticMove+1)).Replace(text)
}

// What is kept of a day: deliveries that are pending or ended since the cutoff, and what such need, they themselves apart: its
// events, also where the delivery is of a later day (a replay, or made just past midnight), and its attempts.
const (
	keeps       = `(d.queued OR d.completed_at >= '{cutoff}')`
	atticEvents = `SELECT d.tenant_id, d.event_id FROM deliveries_attic d WHERE d.event_id >= '{from}' AND d.event_id < '{to}' AND ` + keeps
	laterEvents = `SELECT d.tenant_id, d.event_id FROM deliveries d
		WHERE d.id >= '{to}' AND d.event_id >= '{from}' AND d.event_id < '{to}' AND ` + keeps
	neededEvents = atticEvents + ` UNION ` + laterEvents
	countNeeded  = `SELECT (SELECT count(*) FROM (SELECT FROM deliveries_{day} WHERE queued LIMIT {limit}) d),
		(SELECT count(*) FROM ((` + atticEvents + ` LIMIT {limit}) UNION ALL (` + laterEvents + ` LIMIT {limit})) e)`
	// Where very many attempts are of days before, they pass for needed.
	needsAttempts = `SELECT count(*) >= {limit} OR coalesce(bool_or(` + keeps + `), false)
		FROM (SELECT delivery_id FROM attempts_{day} WHERE delivery_id < '{from}' LIMIT {limit}) a
		LEFT JOIN LATERAL (SELECT * FROM deliveries d WHERE d.id = a.delivery_id OFFSET 0) d ON true`
)

// keptDeliveries are those of a day that stay, some of them more than once. No index has completed_at, so they are found by how they
// ended: otherwise than by an attempt, which touched_at tells, or by an attempt, of another day or late in this one, which the summary
// of page ranges tells.
const (
	keptDeliveries = `SELECT id FROM (SELECT d.id FROM deliveries_{day} d WHERE d.queued LIMIT {limit}) d
		UNION ALL (` + touchedLately + ` LIMIT {limit})
		UNION ALL (SELECT d.id FROM attempts a ` + endedBy + ` AND a.delivery_id >= '{from}' AND a.delivery_id < '{to}'
			AND (a.id < '{from}' OR a.id >= '{to}') LIMIT {limit})
		UNION ALL (SELECT d.id FROM attempts_{day} a ` + endedBy + ` LIMIT {limit})`
	touchedLately = `SELECT d.id FROM deliveries_{day} d WHERE d.touched_at >= '{cutoff}' AND d.completed_at >= '{cutoff}'`
	endedBy       = `CROSS JOIN LATERAL (SELECT * FROM deliveries_{day} d WHERE d.id = a.delivery_id OFFSET 0) d
			WHERE a.recorded_at >= '{cutoff}' AND d.completed_at >= '{cutoff}' AND a.recorded_at >= d.completed_at`
)

// droppable says whether a day can go: with few deliveries to move to the attic, which it finds, or with none where days before it
// stay, as the attic can only grow by the day next to it.
func (s *Store) droppable(ctx context.Context, x expired) (kept uuids, ok bool, err error) {
	err = s.do(ctx, "look into an expired day", func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) (err error) {
			kept, ok, err = x.look(ctx, tx)
			return err
		})
	})
	return kept, ok, err
}

func (x expired) look(ctx context.Context, tx pgx.Tx) (kept uuids, ok bool, err error) {
	if _, err := tx.Exec(ctx, steer); err != nil {
		return nil, false, err
	}
	most := atticMove
	if !x.lowest {
		most = 0
	}
	// Plans of a day are of no use to another.
	const once = pgx.QueryExecModeDescribeExec
	var pending, events int
	err = tx.QueryRow(ctx, x.sql(countNeeded), once).Scan(&pending, &events)
	if err != nil || pending > most || events > most {
		return nil, false, err
	}
	if !x.lowest {
		var needed bool
		err = tx.QueryRow(ctx, x.sql(needsAttempts), once).Scan(&needed)
		if err != nil || needed {
			return nil, false, err
		}
	}
	rows, err := tx.Query(ctx, x.sql(keptDeliveries), once)
	if err == nil {
		kept, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (id posthorn.UUID, err error) { return id, row.Scan((*uuid)(&id)) })
	}
	slices.SortFunc(kept, compareIDs)
	kept = slices.Compact(kept)
	return kept, len(kept) <= most, err
}

// What is kept of a day moves to the attic, ids unchanged. The attic is detached: its bound is raised above the day when it comes back.
// A delivery that was found and has changed since is kept in any case.
const (
	moveDeliveries = `INSERT INTO deliveries_attic SELECT d.* FROM deliveries_{day} d WHERE d.id IN (
		SELECT d.id FROM deliveries_{day} d WHERE d.queued UNION ` + touchedLately + ` UNION SELECT unnest($1::uuid[]))`
	moveEvents = `INSERT INTO events_attic SELECT e.* FROM events_{day} e
		JOIN (` + neededEvents + `) n ON n.tenant_id = e.tenant_id AND n.event_id = e.id`
	moveAttempts = `INSERT INTO attempts_attic SELECT a.* FROM deliveries_attic d
		CROSS JOIN LATERAL (SELECT * FROM attempts_{day} a WHERE a.delivery_id = d.id OFFSET 0) a
		WHERE d.attempts > 0 AND ` + keeps
)

// dropDay takes a day's partitions out in one transaction, which holds the tables only for as long as moving few rows takes.
// Their files are removed after it, when nobody waits.
func (s *Store) dropDay(ctx context.Context, x expired, kept uuids, report *posthorn.CleanupReport) error {
	var moved posthorn.CleanupReport
	if err := s.countRows(ctx, x.day, report); err != nil {
		return err
	}
	err := s.do(ctx, "take an expired day out", func(ctx context.Context) error {
		for try := 1; ; try++ {
			err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
				moved = posthorn.CleanupReport{}
				return s.takeOut(ctx, tx, x, kept, &moved)
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
		return err
	}
	report.Partitions = len(partitioned)
	report.Deliveries -= moved.Deliveries
	report.Events -= moved.Events
	report.Attempts -= moved.Attempts
	s.log.Info("dropped an expired day", "day", x.day.Format(time.DateOnly), "events", report.Events, "moved", moved.Deliveries)
	return nil
}

func (s *Store) takeOut(ctx context.Context, tx pgx.Tx, x expired, kept uuids, moved *posthorn.CleanupReport) error {
	// With the tables held there is no time for a plan that reads a whole day.
	if _, err := tx.Exec(ctx, steer); err != nil {
		return err
	}
	run := func(sql string) error {
		_, err := tx.Exec(ctx, x.sql(sql), pgx.QueryExecModeSimpleProtocol)
		return err
	}
	// An automatic vacuum of these gives way to whoever waits for a second. It is kept out first, in the mode that readers and
	// writers do not notice, because with the tables held there is no second to wait.
	quiet := `LOCK TABLE events_{day}, deliveries_{day}, attempts_{day} IN SHARE UPDATE EXCLUSIVE MODE`
	if x.lowest {
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
	if x.lowest {
		if err := run(`
			ALTER TABLE events DETACH PARTITION events_attic;
			ALTER TABLE deliveries DETACH PARTITION deliveries_attic;
			ALTER TABLE attempts DETACH PARTITION attempts_attic`); err != nil {
			return err
		}
		if err := x.move(ctx, tx, kept, moved); err != nil {
			return err
		}
	}
	for _, table := range partitioned {
		if err := run(`ALTER TABLE ` + table + ` DETACH PARTITION ` + table + `_{day};
			ALTER TABLE ` + table + `_{day} RENAME TO ` + table + outdated + `{day}`); err != nil {
			return err
		}
	}
	if !x.lowest {
		return nil
	}
	return run(`
		ALTER TABLE events ATTACH PARTITION events_attic FOR VALUES FROM (MINVALUE) TO ('{to}');
		ALTER TABLE deliveries ATTACH PARTITION deliveries_attic FOR VALUES FROM (MINVALUE) TO ('{to}');
		ALTER TABLE attempts ATTACH PARTITION attempts_attic FOR VALUES FROM (MINVALUE) TO ('{to}')`)
}

func (x expired) move(ctx context.Context, tx pgx.Tx, kept uuids, moved *posthorn.CleanupReport) error {
	for _, m := range []struct {
		sql  string
		args []any
		rows *int64
	}{{moveDeliveries, []any{kept}, &moved.Deliveries}, {moveEvents, nil, &moved.Events}, {moveAttempts, nil, &moved.Attempts}} {
		tag, err := tx.Exec(ctx, x.sql(m.sql), append([]any{pgx.QueryExecModeDescribeExec}, m.args...)...)
		if err != nil {
			return err
		}
		*m.rows = tag.RowsAffected()
	}
	return nil
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
		SELECT id FROM deliveries_{day} WHERE state <> 'pending' AND completed_at < $1 LIMIT $2)`
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
