package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posthorn/posthorn"
)

const (
	// daysAhead are made before they are needed, so that three days without upkeep do no harm.
	daysAhead = 3
	// atticDays is how far back the first attic ends. What is older when it is written goes there directly.
	atticDays = 30
	// healDays bounds how many missing days one call makes: more means ids from a broken clock.
	healDays = 12
	// farthestDay bounds how far ahead a missing day is made.
	farthestDay = 10
	day         = 24 * time.Hour
	dayFormat   = "20060102"
	attic       = "attic"
)

// The partitioned tables, in the order in which they are locked.
var partitioned = [...]string{"events", "deliveries", "attempts"}

// storage is how the partitions of each table are kept. Events and attempts are only ever added; a delivery is written once more,
// soon after, and finds room on its page where half of it was left free.
func storage(table string) string {
	const often = "autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05"
	if table == "deliveries" {
		return "fillfactor = 50, autovacuum_vacuum_insert_scale_factor = 0.5, " + often
	}
	return often
}

// partition is one attached partition.
type partition struct {
	table string
	// suffix is a day as dayFormat, or attic.
	suffix string
	// upper is the first id past it.
	upper string
}

func (p partition) name() string { return p.table + "_" + p.suffix }

// day is when the partition begins; false for the attic.
func (p partition) day() (time.Time, bool) {
	t, err := time.Parse(dayFormat, p.suffix)
	return t, err == nil
}

// Prepare makes the partitions of today and the days ahead.
func (s *Store) Prepare(ctx context.Context) error {
	today := dayOf(s.Now())
	var days []time.Time
	for i := range daysAhead + 1 {
		days = append(days, today.Add(time.Duration(i)*day))
	}
	if err := s.makeDays(ctx, days); err != nil {
		return err
	}
	s.daysNamed.Store(true)
	return nil
}

func dayOf(t time.Time) time.Time { return t.UTC().Truncate(day) }

// lowest is the first id of a day, as a literal of SQL.
func lowest(d time.Time) string {
	u := posthorn.MinUUID(d)
	// The variant bits are left out: the bound must lie below every id of the day.
	u[8] = 0
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

// makeDays makes what is missing of some days, and the attic when there is none.
func (s *Store) makeDays(ctx context.Context, days []time.Time) error {
	return s.do(ctx, "make partitions", func(ctx context.Context) error {
		present, err := readPartitions(ctx, s.pool)
		if err != nil {
			return err
		}
		if len(missing(present, days)) == 0 {
			return nil
		}
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return s.makeMissing(ctx, tx, days) })
	})
}

// makeMissing works under a lock of the transaction, so that nodes do not make the same table twice.
func (s *Store) makeMissing(ctx context.Context, tx pgx.Tx, days []time.Time) error {
	if err := lockLayout(ctx, tx, 10*time.Second); err != nil {
		return err
	}
	present, err := readPartitions(ctx, tx)
	if err != nil {
		return err
	}
	for _, m := range missing(present, days) {
		from, to := "MINVALUE", lowest(dayOf(s.Now()).Add(-atticDays*day))
		if d, ok := m.day(); ok {
			from, to = "'"+lowest(d)+"'", lowest(d.Add(day))
		}
		if err := s.makeTable(ctx, tx, m); err != nil {
			return fmt.Errorf("partition %s: %w", m.name(), err)
		}
		// ATTACH, unlike CREATE … PARTITION OF, lets reads and writes of the other partitions go on.
		_, err := tx.Exec(ctx, fmt.Sprintf(`ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%s) TO ('%s')`,
			m.table, m.name(), from, to))
		if err != nil {
			return fmt.Errorf("partition %s: %w", m.name(), err)
		}
		s.log.Info("made a partition", "table", m.name())
	}
	return nil
}

// makeTable makes a table like its parent. Of indexes that cost the same, as all do where a table is empty, the planner takes
// the youngest, so the primary key is made last: a plan that outlives the emptiness must not look for ids in the index of
// a subscription's deliveries.
func (s *Store) makeTable(ctx context.Context, tx pgx.Tx, p partition) error {
	sql := fmt.Sprintf(`CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING INDEXES)
		WITH (%s)`, p.name(), p.table, storage(p.table))
	if p.table == "deliveries" {
		sql += fmt.Sprintf(`; ALTER TABLE %[1]s DROP CONSTRAINT %[1]s_pkey; ALTER TABLE %[1]s ADD PRIMARY KEY (id)`, p.name())
	}
	_, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

// lockLayout takes the right to change partitions until the transaction ends. Waiting for a table's lock is bounded: all
// later statements on the table would wait behind it.
func lockLayout(ctx context.Context, tx pgx.Tx, wait time.Duration) error {
	_, err := tx.Exec(ctx, fmt.Sprintf(`
		SET LOCAL lock_timeout = %d;
		SELECT pg_advisory_xact_lock('deliveries'::regclass::oid::bigint)`, wait.Milliseconds()), pgx.QueryExecModeSimpleProtocol)
	return err
}

// missing are the partitions of some days that are not there and not covered by the attic.
func missing(present []partition, days []time.Time) []partition {
	var out []partition
	for _, table := range partitioned {
		i := slices.IndexFunc(present, func(p partition) bool { return p.table == table && p.suffix == attic })
		if i < 0 {
			out = append(out, partition{table: table, suffix: attic})
		}
		for _, d := range days {
			want := partition{table: table, suffix: d.Format(dayFormat)}
			there := slices.ContainsFunc(present, func(p partition) bool { return p.name() == want.name() })
			if !there && (i < 0 || lowest(d) >= present[i].upper) {
				out = append(out, want)
			}
		}
	}
	return out
}

// readPartitions lists what is attached, by table and in order of id.
func readPartitions(ctx context.Context, q querier) ([]partition, error) {
	rows, err := q.Query(ctx, `
		SELECT p.relname::text, c.relname::text, pg_get_expr(c.relpartbound, c.oid)
		FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent IN ('events'::regclass, 'deliveries'::regclass, 'attempts'::regclass)`)
	if err != nil {
		return nil, err
	}
	present, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (partition, error) {
		var table, name, bound string
		err := row.Scan(&table, &name, &bound)
		_, suffix, _ := strings.Cut(name, "_")
		// FOR VALUES FROM ('…') TO ('…')
		_, upper, _ := strings.Cut(bound, " TO ('")
		upper, _, _ = strings.Cut(upper, "'")
		return partition{table, suffix, upper}, err
	})
	slices.SortFunc(present, func(a, b partition) int {
		return strings.Compare(a.table+a.upper, b.table+b.upper)
	})
	return present, err
}

// querier is a pool, a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// healing makes a call again after making the partitions it lacked: a node whose clock is ahead of the upkeep, or an
// upkeep that did not come for days. What named a partition that is not there is called again without naming it.
func (s *Store) healing(ctx context.Context, ids func() []posthorn.UUID, call func() error) error {
	err := call()
	if codeOf(err) == codeNoTable {
		s.daysNamed.Store(false)
		err = call()
	}
	if !noPartition(err) {
		return err
	}
	var days []time.Time
	limit := s.Now().Add(farthestDay * day)
	for _, id := range ids() {
		if d := dayOf(id.Time()); !slices.Contains(days, d) && d.Before(limit) {
			days = append(days, d)
		}
	}
	if len(days) > healDays {
		return err
	}
	if failure := s.makeDays(ctx, days); failure != nil {
		return errors.Join(failure, err)
	}
	return call()
}

// noPartition tells a row without a partition from a row that breaks a constraint.
func noPartition(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == codeCheck && e.ConstraintName == ""
}
