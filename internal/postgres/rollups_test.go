package postgres

import (
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
	l := newLoad(t, openStore(t), 2)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for range each {
				a := l.acceptance([]byte(`{}`), true, l.subs[w%2])
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
	for range 3 {
		all.Go(func() {
			for range each {
				if err := l.fold(t.Context()); err != nil {
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
		l.background.Wait()
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

// TestFoldsInSteps goes on until nothing is left.
func TestFoldsInSteps(t *testing.T) {
	l := newLoad(t, openStore(t), 1)
	exec(t, l.Store, `INSERT INTO tallies SELECT now(), ARRAY[$1::uuid], ARRAY[$2::uuid], '{1}', '{null}', '{null}', '{2}' FROM generate_series(1, $3)`,
		uuid(l.tenant.UUID), uuid(l.subs[0].UUID), 2*foldRows+1)
	if p := l.total(t, l.subs[0]); p.Accepted != 2*(2*foldRows+1) {
		t.Errorf("%d accepted", p.Accepted)
	}
}
