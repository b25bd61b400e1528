package postgres

import (
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// born stores an event with a delivery that is born claimed.
func (l *load) born(t testing.TB, sub posthorn.SubscriptionID, change ...func(*posthorn.Acceptance)) posthorn.Claimed {
	t.Helper()
	a := l.acceptance([]byte(`{}`), true, sub)
	for _, c := range change {
		c(&a)
	}
	accepted, err := l.AcceptEvents(t.Context(), l.node, []posthorn.Acceptance{a})
	if err != nil || accepted[0].Err != nil || len(accepted[0].Claimed) != 1 {
		t.Fatalf("accepted %+v, %v", accepted, err)
	}
	return accepted[0].Claimed[0]
}

func (l *load) queued(t testing.TB, c posthorn.Claimed) bool {
	t.Helper()
	return value[bool](t, l.Store, `SELECT queued FROM deliveries WHERE id = $1`, uuid(c.DeliveryID.UUID))
}

func (l *load) record(t testing.TB, results ...posthorn.Result) {
	t.Helper()
	if _, err := l.RecordAttempts(t.Context(), posthorn.RecordBatch{Node: l.node, Results: results}); err != nil {
		t.Fatal(err)
	}
}

// makeYesterday makes the partitions that ids set back by seconds need just after midnight.
func (l *load) makeYesterday(t testing.TB) {
	t.Helper()
	if err := l.makeDays(t.Context(), []time.Time{dayOf(l.Now()).Add(-day)}); err != nil {
		t.Fatal(err)
	}
}

// TestSuccessTouchesNoIndex compares what a first success changes with what the indexes are made of.
func TestSuccessTouchesNoIndex(t *testing.T) {
	l := newLoad(t, openStore(t), 1)
	c := l.born(t, l.subs[0])
	row := func() map[string]any {
		return value[map[string]any](t, l.Store, `SELECT to_jsonb(d) FROM deliveries d WHERE id = $1`, uuid(c.DeliveryID.UUID))
	}
	before := row()
	l.record(t, l.success(c))
	var changed []string
	for column, v := range row() {
		if v != before[column] {
			changed = append(changed, column)
		}
	}
	indexed := value[[]string](t, l.Store, `SELECT array_agg(DISTINCT a.attname::text) FROM pg_depend p JOIN pg_class i ON i.oid = p.objid AND i.relkind = 'I'
		JOIN pg_attribute a ON a.attrelid = p.refobjid AND a.attnum = p.refobjsubid WHERE p.refobjid = 'deliveries'::regclass`)
	for _, want := range []string{"queued", "reason", "subscription_id", "touched_at", "visible_at"} {
		if !slices.Contains(indexed, want) {
			t.Errorf("%s is not among the indexed columns %q", want, indexed)
		}
	}
	if !slices.Contains(changed, "state") {
		t.Errorf("a success changed %q", changed)
	}
	for _, column := range changed {
		if slices.Contains(indexed, column) {
			t.Errorf("a success changes %s, which is indexed", column)
		}
	}
}

// TestBirths shows which deliveries are born outside the queue, and what brings them into it.
func TestBirths(t *testing.T) {
	l := newLoad(t, openStore(t), 1)
	sub := l.subs[0]
	renew := func(c posthorn.Claimed) {
		if lost, err := l.RenewClaims(t.Context(), []posthorn.Claim{c.Claim}); err != nil || len(lost) > 0 {
			t.Fatalf("lost %v, %v", lost, err)
		}
	}
	failure := func(c posthorn.Claimed) posthorn.Result {
		r := l.success(c)
		r.On, r.Delay, r.Attempt.Outcome, r.Attempt.StatusCode = posthorn.OnFailure, time.Hour, posthorn.HTTPError, 500
		return r
	}
	for name, c := range map[string]struct {
		born   func(*posthorn.Acceptance)
		then   func(posthorn.Claimed)
		queued bool
	}{
		"Born":      {},
		"Succeeded": {then: func(c posthorn.Claimed) { l.record(t, l.success(c)) }},
		"Failed":    {then: func(c posthorn.Claimed) { l.record(t, failure(c)) }, queued: true},
		"FailedOnce": {then: func(c posthorn.Claimed) {
			l.record(t, failure(c))
			exec(t, l.Store, `UPDATE deliveries SET visible_at = now() WHERE id = $1`, uuid(c.DeliveryID.UUID))
			batch, err := l.ClaimDeliveries(t.Context(), posthorn.ClaimRequest{Node: l.node, Limit: 10, PerLane: 10, MaxBytes: 1 << 20})
			if err != nil || len(batch.Claims) != 1 {
				t.Fatalf("claimed %v, %v", batch.Claims, err)
			}
			l.record(t, l.success(batch.Claims[0]))
		}},
		"Renewed": {then: renew, queued: true},
		"Released": {then: func(c posthorn.Claimed) {
			if err := l.ReleaseClaims(t.Context(), []posthorn.Claim{c.Claim}); err != nil {
				t.Fatal(err)
			}
		}, queued: true},
		"Cancelled": {then: func(c posthorn.Claimed) {
			if _, err := l.CancelDelivery(t.Context(), l.tenant, c.DeliveryID); err != nil {
				t.Fatal(err)
			}
		}},
		"OldID": {born: func(a *posthorn.Acceptance) {
			a.Matches[0].DeliveryID.UUID = posthorn.NewUUID(l.Now().Add(-bornFresh - time.Second))
		}, queued: true},
		"AheadID": {born: func(a *posthorn.Acceptance) {
			a.Matches[0].DeliveryID.UUID = posthorn.NewUUID(l.Now().Add(bornFresh + time.Second))
		}, queued: true},
		"Behind":  {born: func(*posthorn.Acceptance) { exec(t, l.Store, `UPDATE births SET swept = now() + interval '1 second'`) }, queued: true},
		"Expires": {born: func(a *posthorn.Acceptance) { a.Event.ExpiresAt = l.Now().Add(time.Hour) }, queued: true},
	} {
		t.Run(name, func(t *testing.T) {
			var changes []func(*posthorn.Acceptance)
			if c.born != nil {
				changes = append(changes, c.born)
			}
			claimed := l.born(t, sub, changes...)
			if c.then != nil {
				c.then(claimed)
			}
			if queued := l.queued(t, claimed); queued != c.queued {
				t.Errorf("queued is %t", queued)
			}
			exec(t, l.Store, `DELETE FROM deliveries; UPDATE births SET swept = now() - interval '1 second'`, pgx.QueryExecModeSimpleProtocol)
		})
	}
}

// TestSweepFindsOldBirths ages births by their ids, as time does.
func TestSweepFindsOldBirths(t *testing.T) {
	l := newLoad(t, openStore(t), 1)
	l.makeYesterday(t)
	old, young := l.born(t, l.subs[0]), l.born(t, l.subs[0])
	from := l.Now().Add(-bornAge - 10*time.Second)
	old.DeliveryID.UUID = posthorn.NewUUID(from.Add(5 * time.Second))
	exec(t, l.Store, `UPDATE births SET swept = $1`, from)
	exec(t, l.Store, `UPDATE deliveries SET id = $1 WHERE id <> $2`, uuid(old.DeliveryID.UUID), uuid(young.DeliveryID.UUID))
	for range 2 {
		l.sweptAt.Store(0)
		l.sweepBirths(t.Context())
	}
	if !l.queued(t, old) || l.queued(t, young) {
		t.Errorf("queued: the old %t, the young %t", l.queued(t, old), l.queued(t, young))
	}
	if swept := value[time.Time](t, l.Store, `SELECT swept FROM births`); l.Now().Sub(swept) < bornAge || l.Now().Sub(swept) > bornAge+7*time.Second {
		t.Errorf("swept until %s ago", l.Now().Sub(swept))
	}
}

// TestSweepInSteps has more to look through than one sweep may: it goes on where it was, at once.
func TestSweepInSteps(t *testing.T) {
	l := newLoad(t, openStore(t), 1)
	l.fill(t, l.subs, sweepRows+1000, 2, posthorn.Delivered, 0, "many")
	exec(t, l.Store, `UPDATE births SET swept = $1`, dayOf(l.Now()).Add(-day))
	lost := l.born(t, l.subs[0])
	exec(t, l.Store, `UPDATE deliveries SET id = $1 WHERE id = $2`, uuid(posthorn.NewUUID(l.Now().Add(-bornAge-time.Second))), uuid(lost.DeliveryID.UUID))
	for _, queued := range []int{0, 1} {
		l.sweepBirths(t.Context())
		if n := value[int](t, l.Store, `SELECT count(*) FROM deliveries WHERE queued`); n != queued {
			t.Errorf("%d are in the queue, want %d", n, queued)
		}
	}
}

// TestCleanupKeepsUnsweptDays has a birth in an expired day that nobody has looked through: the cleanup is behind until somebody has.
func TestCleanupKeepsUnsweptDays(t *testing.T) {
	l := newLoad(t, openStore(t), 1)
	l.fill(t, l.subs, 500, 5, posthorn.Delivered, 0, "done")
	exec(t, l.Store, `UPDATE births SET swept = $1`, dayOf(l.Now()).Add(-4*day))
	exec(t, l.Store, `UPDATE deliveries SET state = 'pending', completed_at = NULL, visible_at = now() WHERE id = (SELECT id FROM deliveries WHERE id >= $1 ORDER BY id LIMIT 1)`,
		lowestID(dayOf(l.Now()).Add(-3*day)))
	l.sweptAt.Store(int64(time.Since(processStart) + time.Minute)) // as while another node sweeps
	for range 3 {
		if report, err := l.Cleanup(t.Context(), posthorn.Retention{Logs: day, Batch: 1000}); err != nil || !report.Behind {
			t.Fatalf("a cleanup that does not come as far as the retention answers %+v, %v", report, err)
		}
	}
	l.sweptAt.Store(0)
	sum := l.cleanup(t, 1000)
	if n := value[int](t, l.Store, `SELECT count(*) FROM deliveries WHERE state = 'pending' AND queued`); n != 1 || sum.Behind {
		t.Errorf("%d pending deliveries are left, want 1; behind is %t, dropped %d partitions", n, sum.Behind, sum.Partitions)
	}
}

// TestSweepWaitsForBirths shows that a sweep does not pass what a transaction may bring yet, that others do not hold it up, and that
// two do not sweep at once.
func TestSweepWaitsForBirths(t *testing.T) {
	l := newLoad(t, openStore(t), 1)
	reach := func() (ago time.Duration) {
		t.Helper()
		return value[time.Duration](t, l.Store, `SELECT now() - b.to FROM (`+lockBirths+`) AS b(swept, passed, old, "to")`, -time.Hour, bornFresh, -2*time.Hour)
	}
	begin := func(sql string) pgx.Tx {
		t.Helper()
		tx, err := l.pool.Begin(t.Context())
		if err == nil {
			_, err = tx.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tx.Rollback(t.Context()) })
		return tx
	}
	const writes = `UPDATE births SET swept = swept WHERE false; SELECT txid_current();`
	reader, writer := begin(`SELECT swept FROM births`), begin(`UPDATE deliveries SET queued = false WHERE false; SELECT txid_current()`)
	if ago := reach(); ago != -time.Hour {
		t.Errorf("without births under way a sweep may go to %s ago, want an hour ahead", ago)
	}
	for _, tx := range []pgx.Tx{reader, writer} {
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	brings := begin(writes)
	began := value[time.Time](t, l.Store, `SELECT now()`)
	exec(t, l.Store, `SELECT pg_sleep(0.01)`)
	if ago, since := reach(), l.Now().Sub(began); ago < bornFresh+10*time.Millisecond || ago > bornFresh+since+time.Second {
		t.Errorf("births came up %s ago and a sweep may go to %s ago", since, ago)
	}
	if _, err := brings.Exec(t.Context(), `SELECT FROM births FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	rows, err := l.pool.Query(t.Context(), lockBirths, bornAge, bornFresh, -time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := pgx.CollectRows(rows, pgx.RowToMap); err != nil || len(got) != 0 {
		t.Errorf("two may sweep at once: %v, %v", got, err)
	}
}

// TestSweepComesBack passes a birth that somebody holds, and finds it later.
func TestSweepComesBack(t *testing.T) {
	l := newLoad(t, openStore(t), 1)
	l.makeYesterday(t)
	held, other := l.born(t, l.subs[0]), l.born(t, l.subs[0])
	for _, c := range []*posthorn.Claimed{&held, &other} {
		id := posthorn.NewUUID(l.Now().Add(-bornAge - 5*time.Second))
		exec(t, l.Store, `UPDATE deliveries SET id = $1 WHERE id = $2`, uuid(id), uuid(c.DeliveryID.UUID))
		c.DeliveryID.UUID = id
	}
	exec(t, l.Store, `UPDATE births SET swept = now() - interval '1 minute'`)
	tx, err := l.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	if _, err := tx.Exec(t.Context(), `SELECT FROM deliveries WHERE id = $1 FOR UPDATE`, uuid(held.DeliveryID.UUID)); err != nil {
		t.Fatal(err)
	}
	sweep := func() {
		t.Helper()
		l.sweptAt.Store(0)
		exec(t, l.Store, `UPDATE births SET swept = swept - interval '1 second'`)
		l.sweepBirths(t.Context())
	}
	sweep()
	if l.queued(t, held) || !l.queued(t, other) {
		t.Errorf("queued: the one held %t, the other %t", l.queued(t, held), l.queued(t, other))
	}
	if until, err := l.sweptUntil(t.Context()); err != nil || until.After(held.DeliveryID.Time()) {
		t.Errorf("swept until %s, %v, and a birth of %s is left", until, err, held.DeliveryID.Time())
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	sweep()
	if until, err := l.sweptUntil(t.Context()); err != nil || !l.queued(t, held) || until.Before(l.Now().Add(-bornAge-5*time.Second)) {
		t.Errorf("queued %t, swept until %s, %v", l.queued(t, held), until, err)
	}
}

// TestSweepWithoutRow shows that nothing is born outside the queue where no sweep would find it, and that a start makes good.
func TestSweepWithoutRow(t *testing.T) {
	l := newLoad(t, openStore(t), 1)
	exec(t, l.Store, `DELETE FROM births`)
	if c := l.born(t, l.subs[0]); !l.queued(t, c) {
		t.Error("born outside the queue")
	}
	if err := l.restoreSweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c := l.born(t, l.subs[0]); l.queued(t, c) {
		t.Error("born in the queue")
	}
}

// TestBirthsOfLane shows that a change which needs all of a lane's deliveries has the births too.
func TestBirthsOfLane(t *testing.T) {
	l := newLoad(t, openStore(t), 2)
	ordered, deleted := l.born(t, l.subs[0]), l.born(t, l.subs[1])
	if _, err := l.UpdateSubscription(t.Context(), l.tenant, l.subs[0], func(s *posthorn.Subscription) error {
		s.Ordering = posthorn.OrderingFIFO
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if d, err := l.GetDelivery(t.Context(), l.tenant, ordered.DeliveryID); err != nil || d.Sequence != 1 {
		t.Errorf("sequence %d, %v", d.Sequence, err)
	}
	if err := l.DeleteSubscription(t.Context(), l.tenant, l.subs[1]); err != nil {
		t.Fatal(err)
	}
	report, err := l.WithdrawDeliveries(t.Context(), posthorn.Withdrawal{Hold: time.Hour, Window: time.Hour, Batch: 10})
	if err != nil || report.Ended[posthorn.ReasonSubscriptionDeleted] != 1 || len(report.Updates) != 1 || report.Updates[0].DeliveryID != deleted.DeliveryID {
		t.Errorf("withdrawn %+v, %v", report, err)
	}
}

// TestBirthsAheadOfClock shows that a clock set back leaves no birth behind.
func TestBirthsAheadOfClock(t *testing.T) {
	l := newLoad(t, openStore(t), 1)
	c := l.born(t, l.subs[0])
	step(t, l.Store, -time.Hour)
	if err := l.followClock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !l.queued(t, c) {
		t.Error("a birth is ahead of the clock and not in the queue")
	}
	if swept := value[time.Time](t, l.Store, `SELECT swept FROM births`); l.Now().Sub(swept) < bornAge-time.Second {
		t.Errorf("the sweep goes on from %s ago", l.Now().Sub(swept))
	}
	if until := value[time.Time](t, l.Store, `SELECT visible_at FROM deliveries`); until.Sub(l.Now()) > posthorn.Lease {
		t.Errorf("the lease ends in %s", until.Sub(l.Now()))
	}
}
