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
// PostgreSQL's, and so do the other times that are held against it. SQLite's clock is its node's: a fail point moves that one.
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
			AS $$SELECT pg_catalog.now() + interval '%[1]d microseconds'$$;
		CREATE OR REPLACE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE
			AS $$SELECT pg_catalog.clock_timestamp() + interval '%[1]d microseconds'$$;
		CREATE OR REPLACE VIEW public.pg_stat_activity AS
			SELECT pid, backend_xid, xact_start + interval '%[1]d microseconds' AS xact_start FROM pg_catalog.pg_stat_activity;
		DO $$BEGIN EXECUTE format('ALTER DATABASE %%I SET search_path = public, pg_catalog', current_database()); END$$`, ahead.Microseconds()))
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestClock steps the store's clock by an hour either way and far ahead, under load and while its node is killed, each time from the
// right time and back to it.
func TestClock(t *testing.T) { bothStores(t, clockSteps) }

func clockSteps(t *testing.T, store string) {
	steps := []time.Duration{time.Hour}
	if *long {
		steps = append(steps, -time.Hour, 24*time.Hour, -24*time.Hour, time.Hour, -time.Hour, 48*time.Hour)
	}
	w := newWorld(t, store, 8)
	start := w.mark()
	began := time.Now()
	for _, step := range steps {
		w.stepUnderLoad(step)
	}
	n := w.site.start("").await()
	if !w.drain(2 * time.Minute) {
		t.Errorf("%d events are not acknowledged and %d deliveries pending", w.producer.waiting.Load(), w.pending())
	}
	n.Signal(syscall.SIGTERM)
	_ = n.Wait(stopWithin)
	start.at = start.at.Add(-72 * time.Hour)
	f := w.facts(start)
	// Rows have times of clocks that were moved on purpose.
	f.Slack, f.Now = 72*time.Hour, time.Time{}
	v := w.judge(f)
	figures.add(t, scenario{Name: "clock", Store: store, Seed: *seed, Length: strings.Trim(fmt.Sprint(steps), "[]") + " under load in " + time.Since(began).Round(time.Second).String(), Figures: []figure{
		number("events acknowledged", "", v.events, true),
		number("acknowledged events lost", "0", v.lost, v.lost == 0),
		number("delivered twice, of interrupted attempts", "at most those", v.repeated, v.unexplained == 0).and("%d", v.interrupted),
		number("other rules of the ledger broken", "0", len(v.violations)-v.lost, len(v.violations) == v.lost),
	}})
}

// stepUnderLoad moves the clock while a node has much to do, and kills the node.
func (w *world) stepUnderLoad(step time.Duration) {
	w.t.Helper()
	const before = 700 * time.Millisecond
	points := "record.before=kill@60-"
	if w.store == sqliteStore {
		points += fmt.Sprintf(";clock=step(%s)~%s", step, before)
	} else {
		w.setClock(0)
	}
	n := w.site.start(points).await()
	stepped := make(chan struct{})
	go func() {
		defer close(stepped)
		if after(before); w.store == postgresStore {
			w.setClock(step)
		}
	}()
	w.producer.at(150, 1500*time.Millisecond)
	<-stepped
	n.Kill()
	n.Quiet = true
	if w.store == postgresStore {
		w.setClock(0)
	}
}
