package postgres

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

// total sums what the statistics say of the last hour.
func (l *load) total(t testing.TB, sub posthorn.SubscriptionID) (p posthorn.StatsPoint) {
	t.Helper()
	points, err := l.Stats(t.Context(), l.tenant, posthorn.StatsFilter{SubscriptionID: sub, Since: l.Now().Add(-time.Hour), Step: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for _, point := range points {
		p.Accepted, p.Attempts, p.Succeeded = p.Accepted+point.Accepted, p.Attempts+point.Attempts, p.Succeeded+point.Succeeded
	}
	return p
}

// TestStatsOfTallies counts without touching the rollups, until somebody asks.
func TestStatsOfTallies(t *testing.T) {
	l := newLoad(t, openStore(t), 1)
	for range 3 {
		l.record(t, l.success(l.born(t, l.subs[0])))
	}
	if tallies, rollups := value[int](t, l.Store, `SELECT count(*) FROM tallies`), value[int](t, l.Store, `SELECT count(*) FROM rollups`); tallies != 6 || rollups != 0 {
		t.Errorf("%d tallies and %d rollups, want 6 and none", tallies, rollups)
	}
	if p := l.total(t, l.subs[0]); p.Accepted != 3 || p.Attempts != 3 || p.Succeeded != 3 {
		t.Errorf("the statistics say %+v, want 3 of each", p)
	}
	if tallies := value[int](t, l.Store, `SELECT count(*) FROM tallies`); tallies != 0 {
		t.Errorf("%d tallies are left", tallies)
	}
}

// TestFoldsBesideWriters loses and doubles no count where several nodes fold while others count.
func TestFoldsBesideWriters(t *testing.T) {
	const writers, each = 4, 25
	databaseURL := newDatabase(t)
	l := newLoad(t, openURL(t, databaseURL), 2)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for range each {
				a := l.matched(nil, l.subs[w%2])
				accepted, err := l.AcceptEvents(t.Context(), l.node, []posthorn.Acceptance{a})
				if err == nil {
					_, err = l.RecordAttempts(t.Context(), posthorn.RecordBatch{Node: l.node, Results: []posthorn.Result{l.success(accepted[0].Claimed[0])}})
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for _, node := range []*Store{l.Store, openURL(t, databaseURL), openURL(t, databaseURL)} {
		all.Go(func() {
			for range each {
				if err := node.fold(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	whole := int64(writers * each)
	if p := l.total(t, posthorn.SubscriptionID{}); p.Accepted != whole || p.Attempts != whole || p.Succeeded != whole {
		t.Errorf("of the tenant the statistics say %+v, want %d of each", p, whole)
	}
	for _, sub := range l.subs {
		if p := l.total(t, sub); p.Accepted != whole/2 || p.Attempts != whole/2 {
			t.Errorf("of a subscription the statistics say %+v, want %d of each", p, whole/2)
		}
	}
}

// TestOldTalliesAreFolded has claims do it, whoever counted.
func TestOldTalliesAreFolded(t *testing.T) {
	l := newLoad(t, openStore(t), 1)
	folded := func() int {
		l.foldedAt.Store(0)
		l.foldSoon()
		l.folding <- struct{}{} // once it is done
		<-l.folding
		return value[int](t, l.Store, `SELECT count(*) FROM rollups`)
	}
	l.born(t, l.subs[0])
	if n := folded(); n != 0 {
		t.Errorf("%d rollups of what was counted just now", n)
	}
	exec(t, l.Store, `UPDATE tallies SET at = at - $1::interval`, foldAge)
	if n := folded(); n != 2 {
		t.Errorf("%d rollups of what was counted long ago, want the subscription's and the tenant's", n)
	}
}

// TestFoldsInSteps goes on until nothing is left, by rows and by entries, and past what cannot be split.
func TestFoldsInSteps(t *testing.T) {
	l := newLoad(t, openStore(t), 1)
	tallies := func(rows, entries int) {
		exec(t, l.Store, `INSERT INTO tallies (at, tenant_ids, subscription_ids, counts)
			SELECT now(), array_fill($1::uuid, ARRAY[$4::int]), array_fill($2::uuid, ARRAY[$4::int]), array_fill(2, ARRAY[$4::int]) FROM generate_series(1, $3)`,
			uuid(l.tenant.UUID), uuid(l.subs[0].UUID), rows, entries)
	}
	tallies(2*foldRows, 1)
	tallies(3, foldEntries/2)
	tallies(1, 2*foldEntries)
	tallies(1, 1)
	if n, want := l.total(t, l.subs[0]).Accepted, int64(2*(2*foldRows+3*foldEntries/2+2*foldEntries+1)); n != want {
		t.Errorf("%d accepted, want %d", n, want)
	}
}

// TestFoldGivesUp waits no longer than it may for a fold of another node, and loses nothing by that.
func TestFoldGivesUp(t *testing.T) {
	l := newLoad(t, openStore(t), 1)
	l.born(t, l.subs[0])
	l.total(t, l.subs[0])
	l.born(t, l.subs[0])
	tx, err := l.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT pg_advisory_xact_lock('tallies'::regclass::oid::bigint)`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := l.fold(ctx); err == nil {
		t.Error("folded beside another")
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := l.total(t, l.subs[0]); p.Accepted != 2 {
		t.Errorf("%d accepted, want 2", p.Accepted)
	}
}
