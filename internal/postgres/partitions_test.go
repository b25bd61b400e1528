package postgres

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// days lists the days that have a partition of a table, oldest first.
func days(t testing.TB, s *Store, table string) []string {
	t.Helper()
	present, err := readPartitions(t.Context(), s.pool)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, p := range present {
		if p.table == table && p.suffix != attic {
			out = append(out, p.suffix)
		}
	}
	slices.Sort(out)
	return out
}

func TestPrepare(t *testing.T) {
	s := openStore(t)
	today := dayOf(s.Now())
	var want []string
	for i := range daysAhead + 1 {
		want = append(want, today.Add(time.Duration(i)*day).Format(dayFormat))
	}
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, table := range partitioned {
		if got := days(t, s, table); !slices.Equal(got, want) {
			t.Errorf("partitions of %s: %v, want %v", table, got, want)
		}
	}
}

// TestEmptyPartitionPlan vacuums partitions while they are empty, which is when all their indexes look alike: a plan made
// then, and kept, must look ids up in the primary key.
func TestEmptyPartitionPlan(t *testing.T) {
	s := openStore(t)
	exec(t, s, `VACUUM ANALYZE`)
	for _, p := range days(t, s, "deliveries") {
		d, _ := time.Parse(dayFormat, p)
		var plan []string
		var b pgx.Batch
		b.Queue(steer)
		b.Queue(`EXPLAIN SELECT FROM deliveries WHERE id = '` + lowest(d) + `'`).Query(func(rows pgx.Rows) (err error) {
			plan, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
		if err := s.pool.SendBatch(t.Context(), &b).Close(); err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(plan, "\n"); !strings.Contains(text, "using deliveries_"+p+"_pkey") {
			t.Errorf("%s", text)
		}
	}
	if set := value[string](t, s, `SHOW enable_seqscan`); set != "on" {
		t.Errorf("enable_seqscan is %s after the pipeline: the settings outlived it", set)
	}
}

// TestMissingDay takes the partitions of today away: what needs them makes them.
func TestMissingDay(t *testing.T) {
	l := newLoad(t, openStore(t), 1)
	suffix := dayOf(l.Now()).Format(dayFormat)
	for _, table := range partitioned {
		exec(t, l.Store, `DROP TABLE `+table+`_`+suffix)
	}
	l.accept(t, l.acceptance([]byte("1"), false, l.subs[0]))
	exec(t, l.Store, `DROP TABLE attempts_`+suffix)
	l.claim(t, 1)
	elapse(t, l.Store, posthorn.Lease+time.Second)
	// The lost attempt is written down by the claim that finds it lost, which gives the delivery all the same.
	claims := l.claim(t, 1)
	exec(t, l.Store, `DROP TABLE attempts_`+suffix)
	report, err := l.RecordAttempts(t.Context(), posthorn.RecordBatch{Node: l.node, Results: []posthorn.Result{l.success(claims[0])}})
	if err != nil || !report.Results[0].Moved {
		t.Fatal(report, err)
	}
	// A broken clock makes no partitions for years to come.
	far := l.acceptance([]byte("1"), false, l.subs[0])
	far.Event.ID.UUID = posthorn.NewUUID(l.Now().Add(365 * day))
	accepted, err := l.AcceptEvents(t.Context(), l.node, []posthorn.Acceptance{far})
	if err != nil || accepted[0].Err == nil {
		t.Fatal("an event of next year was accepted", err)
	}
}

// accept stores acceptances, which must all succeed.
func (l *load) accept(t testing.TB, batch ...posthorn.Acceptance) []posthorn.Accepted {
	t.Helper()
	accepted, err := l.AcceptEvents(t.Context(), l.node, batch)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range accepted {
		if a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	return accepted
}

// claim claims everything due, which must be n deliveries.
func (l *load) claim(t testing.TB, n int) []posthorn.Claimed {
	t.Helper()
	batch, err := l.ClaimDeliveries(t.Context(), posthorn.ClaimRequest{Node: l.node, Limit: 1000, PerLane: 1000, MaxBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	if len(batch.Claims) != n {
		t.Fatalf("%d claims, want %d", len(batch.Claims), n)
	}
	return batch.Claims
}

// cleanup runs until nothing is left to remove and sums up.
func (l *load) cleanup(t testing.TB, batch int) posthorn.CleanupReport {
	t.Helper()
	var sum posthorn.CleanupReport
	for range 1000 {
		step, err := l.Cleanup(t.Context(), posthorn.Retention{Logs: 72 * time.Hour, Batch: batch})
		if err != nil {
			t.Fatal(err)
		}
		sum.Events, sum.Deliveries, sum.Attempts = sum.Events+step.Events, sum.Deliveries+step.Deliveries, sum.Attempts+step.Attempts
		sum.Partitions += step.Partitions
		sum.Behind = step.Behind
		if step.Done {
			return sum
		}
	}
	t.Fatal("cleanup does not end")
	return sum
}

// attemptAll gives every stored delivery an attempt made when it was.
func (l *load) attemptAll(t testing.TB) {
	t.Helper()
	exec(t, l.Store, `UPDATE deliveries SET attempts = 1`)
	exec(t, l.Store, `INSERT INTO attempts (id, tenant_id, delivery_id, event_id, subscription_id, started_at, recorded_at, number, status_code,
			dns_us, connect_us, tls_us, first_byte_us, total_us, reused, manual, our_fault, body_truncated, outcome, error, detail)
		SELECT test_id(created_at, 'a' || id), tenant_id, id, event_id, subscription_id, created_at, created_at, 1, 503, 0, 0, 0, 0, 0,
			false, false, false, false, 'http_error', '', '' FROM deliveries`)
}

func TestCleanupMovesToTheAttic(t *testing.T) {
	l := newLoad(t, openStore(t), 2)
	const span = 7
	l.fill(t, l.subs[:1], 700, span, posthorn.Delivered, 0, "done")
	l.fill(t, l.subs[1:], 70, span, posthorn.Pending, 0, "held")
	l.attemptAll(t)
	before, err := many(t.Context(), l.Store, "before", pgx.RowTo[string], `SELECT id::text FROM deliveries WHERE state = 'pending' ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	sum := l.cleanup(t, 1000)
	// Whole days that ended 72 hours ago or earlier: 6, 5 and 4 days before today.
	if sum.Partitions != 3*len(partitioned) {
		t.Errorf("%d partitions dropped, want 9", sum.Partitions)
	}
	if oldest := days(t, l.Store, "deliveries")[0]; oldest != dayOf(l.Now()).Add(-3*day).Format(dayFormat) {
		t.Errorf("the oldest day left is %s", oldest)
	}
	after, err := many(t.Context(), l.Store, "after", pgx.RowTo[string], `SELECT id::text FROM deliveries WHERE state = 'pending' ORDER BY id`)
	if err != nil || !slices.Equal(before, after) {
		t.Errorf("%d pending deliveries before, %d after, want the same (%v)", len(before), len(after), err)
	}
	left := value[int64](t, l.Store, `SELECT count(*) FROM deliveries_attic`)
	if left == 0 || left != value[int64](t, l.Store, `SELECT count(*) FROM events_attic`) ||
		left != value[int64](t, l.Store, `SELECT count(*) FROM attempts_attic`) {
		t.Errorf("%d deliveries in the attic, without as many events and attempts", left)
	}
	if lost := 700 + 70 - value[int64](t, l.Store, `SELECT count(*) FROM deliveries`); sum.Deliveries != lost || sum.Events != lost || sum.Attempts != lost {
		t.Errorf("%+v reported, %d removed", sum, lost)
	}
	// They are claimed like any other, from the attic as well, and keep their history.
	claims := l.claim(t, 70)
	var results []posthorn.Result
	for _, c := range claims {
		results = append(results, l.success(c))
		attempts, err := l.ListAttempts(t.Context(), l.tenant, c.DeliveryID)
		if err != nil || len(attempts) != 1 {
			t.Fatalf("%d attempts (%v)", len(attempts), err)
		}
	}
	if _, err := l.RecordAttempts(t.Context(), posthorn.RecordBatch{Node: l.node, Results: results}); err != nil {
		t.Fatal(err)
	}
	// The attic keeps them for the retention after their end, then they go row by row.
	if got := l.cleanup(t, 10); got.Deliveries != 0 {
		t.Errorf("%+v removed at once", got)
	}
	elapse(t, l.Store, 73*time.Hour)
	got := l.cleanup(t, 10)
	if got.Deliveries != left || got.Events != left || got.Attempts != left {
		t.Errorf("%+v removed from the attic, want %d of each", got, left)
	}
}

// TestCleanupKeepsReplayedEvents has a pending replay of today and its event of a day that goes.
func TestCleanupKeepsReplayedEvents(t *testing.T) {
	l := newLoad(t, openStore(t), 1)
	l.fill(t, l.subs, 50, 6, posthorn.Delivered, 0, "done")
	var event posthorn.EventID
	row := l.pool.QueryRow(t.Context(), `SELECT id FROM events ORDER BY id LIMIT 1`)
	if err := row.Scan((*uuid)(&event.UUID)); err != nil {
		t.Fatal(err)
	}
	m := posthorn.Match{SubscriptionID: l.subs[0]}
	m.DeliveryID.UUID = posthorn.NewUUID(l.Now())
	if _, err := l.Replay(t.Context(), l.tenant, event, posthorn.ReplayID{UUID: posthorn.NewUUID(l.Now())}, []posthorn.Match{m}); err != nil {
		t.Fatal(err)
	}
	l.cleanup(t, 1000)
	if claims := l.claim(t, 1); claims[0].Event.ID != event {
		t.Fatalf("claimed %s, want %s", claims[0].Event.ID, event)
	}
	if n := value[int64](t, l.Store, `SELECT count(*) FROM events_attic`); n != 1 {
		t.Errorf("%d events in the attic, want the replayed one", n)
	}
}

// TestRetryWithoutEvent has a delivery of today that was cancelled, and its event of a day that has gone.
func TestRetryWithoutEvent(t *testing.T) {
	l := newLoad(t, openStore(t), 1)
	l.fill(t, l.subs, 50, 6, posthorn.Delivered, 0, "done")
	var event posthorn.EventID
	row := l.pool.QueryRow(t.Context(), `SELECT id FROM events ORDER BY id LIMIT 1`)
	if err := row.Scan((*uuid)(&event.UUID)); err != nil {
		t.Fatal(err)
	}
	m := posthorn.Match{SubscriptionID: l.subs[0]}
	m.DeliveryID.UUID = posthorn.NewUUID(l.Now())
	if _, err := l.Replay(t.Context(), l.tenant, event, posthorn.ReplayID{}, []posthorn.Match{m}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.CancelDelivery(t.Context(), l.tenant, m.DeliveryID); err != nil {
		t.Fatal(err)
	}
	l.cleanup(t, 1000)
	_, err := l.RetryDelivery(t.Context(), l.tenant, m.DeliveryID)
	if posthorn.KindOf(err) != posthorn.Conflict || !strings.Contains(err.Error(), "older than the retention") {
		t.Errorf("the retry is answered with %v", err)
	}
}

// TestDayNeededAgain retries a delivery of a day that is about to go, after it was looked into: behind a day that stays nothing moves to
// the attic, so the day stays too.
func TestDayNeededAgain(t *testing.T) {
	l := newLoad(t, openStore(t), 1)
	l.fill(t, l.subs, 70, 7, posthorn.Exhausted, 0, "done")
	d, _ := time.Parse(dayFormat, days(t, l.Store, "deliveries")[1])
	if ok, err := l.droppable(t.Context(), d, false); !ok || err != nil {
		t.Fatalf("droppable: %v, %v", ok, err)
	}
	var id posthorn.DeliveryID
	row := l.pool.QueryRow(t.Context(), ofDay(`SELECT id FROM deliveries_{day} ORDER BY id LIMIT 1`, d))
	if err := row.Scan((*uuid)(&id.UUID)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.RetryDelivery(t.Context(), l.tenant, id); err != nil {
		t.Fatal(err)
	}
	var report posthorn.CleanupReport
	if err := l.dropDay(t.Context(), d, false, &report); err != nil || report != (posthorn.CleanupReport{}) {
		t.Errorf("the day is dropped: %+v, %v", report, err)
	}
	if claims := l.claim(t, 1); claims[0].DeliveryID != id {
		t.Errorf("claimed %s, want %s", claims[0].DeliveryID, id)
	}
}

// TestCleanupThinsFullDays has more held deliveries in one day than may move at once: the day stays, what ended in it goes,
// and so it is with the days after it until it can move.
func TestCleanupThinsFullDays(t *testing.T) {
	l := newLoad(t, openStore(t), 2)
	l.fill(t, l.subs[:1], 600, 7, posthorn.Delivered, 0, "done")
	oldest := dayOf(l.Now()).Add(-6 * day)
	exec(t, l.Store, `INSERT INTO deliveries (id, tenant_id, event_id, subscription_id, created_at, updated_at, due_at,
			visible_at, sequence, payload_bytes, attempts, spent, interruptions, last_status_code, manual, queued, state, reason, event_type,
			ordering_key, last_outcome, last_error)
		SELECT test_id($1::timestamptz + i * interval '1 second', 'h' || i), tenant_id, event_id, $3, created_at, updated_at, due_at, visible_at,
			0, 2, 0, 0, 0, 0, 0, true, 'pending', '', event_type, '', '', ''
		FROM (SELECT * FROM deliveries d ORDER BY id LIMIT 1) d, generate_series(1, $2::int) i`, oldest, atticMove+1, uuid(l.subs[1].UUID))
	sum := l.cleanup(t, 1000)
	// The two days behind it hold nothing that is needed.
	if sum.Partitions != 2*len(partitioned) {
		t.Errorf("%d partitions dropped, want 6", sum.Partitions)
	}
	suffix := oldest.Format(dayFormat)
	if n := value[int64](t, l.Store, `SELECT count(*) FROM deliveries_`+suffix+` WHERE state <> 'pending'`); n != 0 {
		t.Errorf("%d ended deliveries are left", n)
	}
	if n := value[int64](t, l.Store, `SELECT count(*) FROM events_`+suffix); n != 1 {
		t.Errorf("%d events are left, want the one that is needed", n)
	}
	exec(t, l.Store, `DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE state = 'pending' LIMIT 10)`)
	if sum := l.cleanup(t, 1000); sum.Partitions != len(partitioned) {
		t.Errorf("%d partitions dropped later, want 3", sum.Partitions)
	}
	if n := value[int64](t, l.Store, `SELECT count(*) FROM deliveries_attic`); n != atticMove-9 {
		t.Errorf("%d deliveries in the attic, want %d", n, atticMove-9)
	}
}

// TestWithoutTheDaysName takes today's partitions away under their names: rows go to wherever they belong.
func TestWithoutTheDaysName(t *testing.T) {
	for _, table := range partitioned {
		t.Run(table, func(t *testing.T) {
			s := openStore(t)
			l := newLoad(t, s, 1)
			claims := func() []posthorn.Claimed { return l.acceptBatch(t, []byte("1"), 0)[:2] }
			l.recordBatch(t, claims())
			if s.today.Load() == nil {
				t.Fatal("the day's partitions were not named")
			}
			kept := claims()
			today := s.today.Load().day.Format(dayFormat)
			exec(t, s, `ALTER TABLE `+table+`_`+today+` RENAME TO elsewhere`)
			l.recordBatch(t, claims())
			if s.daysNamed.Load() {
				t.Error("a partition that is not there is named again")
			}
			exec(t, s, `ALTER TABLE elsewhere RENAME TO `+table+`_`+today)
			if err := s.Prepare(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !s.daysNamed.Load() {
				t.Error("the day's partitions are not named again")
			}
			l.recordBatch(t, kept)
		})
	}
}
