package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/storetest"
)

// counted is a store in which each of some subscriptions had two deliveries, a minute apart, that succeeded.
func counted(t *testing.T, subscriptions int) (f *storetest.Fixture, s *Store, subs []posthorn.SubscriptionID) {
	t.Helper()
	s = open(t, filepath.Join(t.TempDir(), "a.db"))
	f = storetest.NewFixture(t, s)
	for range subscriptions {
		subs = append(subs, f.Subscribe())
	}
	start := time.Now().Truncate(time.Minute)
	for minute := range 2 {
		s.clock = func() time.Time { return start.Add(time.Duration(minute) * time.Minute) }
		var results []posthorn.Result
		for _, c := range f.Offer(f.NewEvent(), subs...).Claimed {
			results = append(results, f.Success(c))
		}
		f.Record(results...)
	}
	return f, s, subs
}

// stats are those of the tenant, of all tenants and of one subscription, by the minute.
func stats(t *testing.T, f *storetest.Fixture, sub posthorn.SubscriptionID) (all [3][]posthorn.StatsPoint) {
	t.Helper()
	for i, of := range []struct {
		tenant posthorn.TenantID
		sub    posthorn.SubscriptionID
	}{{f.Tenant, posthorn.SubscriptionID{}}, {}, {f.Tenant, sub}} {
		var err error
		filter := posthorn.StatsFilter{SubscriptionID: of.sub, Since: f.Store.Now().Add(-time.Hour), Step: time.Minute}
		if all[i], err = f.Store.Stats(t.Context(), of.tenant, filter); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// rows counts those of a table.
func rows(t *testing.T, s *Store, table string) (n int) {
	t.Helper()
	if err := s.read(t.Context()).queryRow(`SELECT count(*) FROM ` + table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// foldStep takes a fold one step further.
func foldStep(t *testing.T, s *Store) (more bool) {
	t.Helper()
	if err := s.write(t.Context(), func(x *tx) (err error) { more, err = x.fold(); return err }); err != nil {
		t.Fatal(err)
	}
	return more
}

// TestFold moves what was counted into the rollups in steps, and at none of them do the statistics say anything else.
func TestFold(t *testing.T) {
	const subscriptions = 2*stepBound + 10
	f, s, subs := counted(t, subscriptions)
	want := stats(t, f, subs[7])
	for i, points := range want {
		each := int64(1)
		if i < 2 {
			each = subscriptions
		}
		if len(points) != 2 || points[0].Attempts != each || points[1].Succeeded != each {
			t.Fatalf("statistics %d before the fold: %+v", i, points)
		}
	}
	steps := 1
	for ; foldStep(t, s); steps++ {
		if diff := cmp.Diff(want, stats(t, f, subs[7])); diff != "" {
			t.Errorf("after step %d (-want +got):\n%s", steps, diff)
		}
	}
	if diff := cmp.Diff(want, stats(t, f, subs[7])); diff != "" {
		t.Errorf("after the fold (-want +got):\n%s", diff)
	}
	if tallies, rollups := rows(t, s, "tallies"), rows(t, s, "rollups"); tallies != 0 || rollups != 2*(subscriptions+1) || steps < 3 {
		t.Errorf("%d tallies and %d rollups after %d steps", tallies, rollups, steps)
	}
}

// TestFoldsWhenDue goes along with what is written, after a while or after many bytes, also where the clock was set back.
func TestFoldsWhenDue(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "a.db"))
	f := storetest.NewFixture(t, s)
	sub := f.Subscribe()
	now := time.Now().Truncate(time.Minute).Add(time.Hour)
	s.clock = func() time.Time { return now }
	folded := func(what string, want int) {
		t.Helper()
		f.PublishOne(sub)
		if n := rows(t, s, "tallies"); n != want {
			t.Errorf("%s: %d tallies, want %d", what, n, want)
		}
	}
	folded("first", 1)
	folded("at once", 2)
	now = now.Add(foldLeast - time.Millisecond)
	folded("early", 3)
	now = now.Add(time.Millisecond)
	folded("in time", 1)
	now = now.Add(-time.Hour)
	folded("set back", 1)
	folded("at once then", 2)
	s.writer.tallied = foldBytes
	folded("many bytes", 1)
}

// TestFoldKeepsUp with transactions that count for more subscriptions than a step is for.
func TestFoldKeepsUp(t *testing.T) {
	f, s, subs := counted(t, 3*stepBound)
	for range 3 {
		now := s.Now().Add(foldMost)
		s.clock = func() time.Time { return now }
		f.Publish(subs...)
	}
	if n := rows(t, s, "tallies"); n != 1 {
		t.Errorf("%d tallies, want the last transaction's", n)
	}
}

// TestUnreadableTallies are passed over: they must not keep anything else out.
func TestUnreadableTallies(t *testing.T) {
	f, s, subs := counted(t, 1)
	want := stats(t, f, subs[0])
	whole := tally{}
	whole.of(f.Tenant, subs[0])[countAccepted] = 300
	b := whole.encode(whole.keys())
	err := s.write(t.Context(), func(x *tx) error {
		for n := range b {
			if _, err := x.exec(`INSERT INTO tallies (minute, summed, counts) VALUES (?, 0, ?)`, s.Now().UnixMicro(), b[:n]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, stats(t, f, subs[0])); diff != "" {
		t.Errorf("with parts of a tally (-want +got):\n%s", diff)
	}
	if err := s.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, stats(t, f, subs[0])); diff != "" {
		t.Errorf("folded with parts of a tally (-want +got):\n%s", diff)
	}
}

// TestLanesAreKept as they are in the file, also after a change of theirs was rolled back.
func TestLanesAreKept(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "a.db"))
	f := storetest.NewFixture(t, s)
	sub := f.Subscribe()
	born := func(want bool) {
		t.Helper()
		if got := len(f.Offer(f.NewEvent(), sub).Claimed) == 1; got != want {
			t.Errorf("born claimed %v, want %v", got, want)
		}
	}
	pause := func() error {
		_, err := s.UpdateSubscription(t.Context(), f.Tenant, sub, func(sub *posthorn.Subscription) error {
			sub.Status = posthorn.StatusPaused
			return nil
		})
		return err
	}
	born(true)
	s.beforeCommit = func(context.Context) error { return errors.New("no") }
	if pause() == nil {
		t.Fatal("paused without a commit")
	}
	s.beforeCommit = nil
	born(true)
	if err := pause(); err != nil {
		t.Fatal(err)
	}
	born(false)
	s.writer.kept = map[posthorn.SubscriptionID]lane{}
	born(false)
	for range lanesKept + 10 {
		s.writer.keep(&lane{Lane: posthorn.Lane{SubscriptionID: posthorn.SubscriptionID{UUID: f.ID()}}})
	}
	if n := len(s.writer.kept); n != lanesKept {
		t.Errorf("%d lanes are kept, want %d", n, lanesKept)
	}
	born(false)
}
