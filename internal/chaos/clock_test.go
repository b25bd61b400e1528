//go:build unix

package chaos_test

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// setClock moves PostgreSQL's clock, for every node that starts after the first call: a now() of the test's own stands before
// PostgreSQL's. SQLite's clock is its node's: a fail point moves that one.
func (w *world) setClock(ahead time.Duration) {
	w.t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, w.settings.DatabaseURL)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, fmt.Sprintf(`
		CREATE OR REPLACE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
			AS $$SELECT pg_catalog.now() + interval '%d microseconds'$$;
		DO $$BEGIN EXECUTE format('ALTER DATABASE %%I SET search_path = public, pg_catalog', current_database()); END$$`, ahead.Microseconds()))
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestClock steps the embedded store's clock by an hour either way and far ahead, under load and while it is killed.
func TestClock(t *testing.T) {
	gently(t)
	steps := []string{"step(1h)"}
	if *long {
		steps = append(steps, "step(-1h)", "step(24h)", "step(-24h)", "step(1h)", "step(-1h)")
	}
	w := newWorld(t, sqliteStore, 8)
	start := w.mark()
	began := time.Now()
	for _, step := range steps {
		n := w.site.start("clock=" + step + "~700ms;record.before=kill@60-").await()
		w.producer.at(150, 1500*time.Millisecond)
		n.Kill()
		n.Quiet = true
	}
	n := w.site.start("").await()
	if !w.drain(time.Minute) {
		t.Errorf("%d events are not acknowledged and %d deliveries pending", w.producer.waiting.Load(), w.pending())
	}
	n.Signal(syscall.SIGTERM)
	_ = n.Wait(stopWithin)
	start.at = start.at.Add(-48 * time.Hour)
	f := w.facts(start)
	// Rows have times of clocks that were moved on purpose.
	f.Slack, f.Now = 60*time.Hour, time.Time{}
	v := w.judge(f)
	figures.add(scenario{Name: "clock", Store: sqliteStore, Seed: *seed, Length: strings.Join(steps, ", ") + " under load in " + time.Since(began).Round(time.Second).String(), Figures: []figure{
		number("events acknowledged", "", v.events, true),
		number("acknowledged events lost", "0", v.lost, v.lost == 0),
		number("delivered twice, of interrupted attempts", "at most those", v.repeated, v.unexplained == 0).and("%d", v.interrupted),
		number("other rules of the ledger broken", "0", len(v.violations)-v.lost, len(v.violations) == v.lost),
	}})
}
