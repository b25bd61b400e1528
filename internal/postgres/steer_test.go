package postgres

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

// TestSteadyPool shows when connections are kept steered, and that no more are made than were allowed.
func TestSteadyPool(t *testing.T) {
	for name, c := range map[string]struct {
		url         string
		pool, apart int32
	}{
		"Default":     {"postgres://u@h/d", 14, 2},
		"Many":        {"postgres://u@h/d?pool_max_conns=40", 38, 2},
		"AllReady":    {"postgres://u@h/d?pool_max_conns=16&pool_min_conns=16", 14, 2},
		"Few":         {"postgres://u@h/d?pool_max_conns=4", 4, 0},
		"Pooler":      {"postgres://u@h/d?pool_mode=transaction", 16, 0},
		"AnotherMode": {"postgres://u@h/d?default_query_exec_mode=exec", 16, 0},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := poolConfig(Options{URL: c.url})
			if err != nil {
				t.Fatal(err)
			}
			apart := int32(0)
			if steady := steadyPool(config); steady != nil {
				apart = steady.MaxConns
			}
			if config.MaxConns != c.pool || config.MinConns > c.pool || apart != c.apart {
				t.Errorf("%d connections and %d apart, want %d and %d", config.MaxConns, apart, c.pool, c.apart)
			}
		})
	}
}

// TestSteadySessions shows that the sessions apart have what steer sets, and the others have not.
func TestSteadySessions(t *testing.T) {
	s := openStore(t)
	for name := range steering {
		const ask = `SELECT current_setting($1)`
		var apart, steered string
		if err := s.steady.QueryRow(t.Context(), ask, name).Scan(&apart); err != nil {
			t.Fatal(err)
		}
		var b pgx.Batch
		b.Queue(steer)
		b.Queue(ask, name).QueryRow(func(row pgx.Row) error { return row.Scan(&steered) })
		if err := s.pool.SendBatch(t.Context(), &b).Close(); err != nil {
			t.Fatal(err)
		}
		if apart != steered {
			t.Errorf("%s is %q in a session apart, %q after steering", name, apart, steered)
		}
	}
	if scan, plans := value[string](t, s, `SHOW enable_seqscan`), value[string](t, s, `SHOW plan_cache_mode`); scan != "on" || plans != "auto" {
		t.Errorf("the other sessions are steered: %s, %s", scan, plans)
	}
}

// TestWarmUp shows that both sessions apart have planned what accepts and records when the store is open, and that nothing was written.
func TestWarmUp(t *testing.T) {
	s := openStore(t)
	for range steadyConns {
		conn, err := s.steady.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
		var planned int
		err = conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_prepared_statements
			WHERE generic_plans > 0 AND (statement LIKE $1 OR statement LIKE $2)`,
			"%INTO events_20%", "%UPDATE deliveries_20%").Scan(&planned)
		if err != nil {
			t.Fatal(err)
		}
		if planned != 2 {
			t.Errorf("%d statements are planned, want the one that accepts and the one that records", planned)
		}
	}
	for _, from := range []string{"events", "deliveries", "attempts", "births WHERE swept IS NULL", "tallies"} {
		if n := value[int](t, s, `SELECT count(*) FROM `+from); n != 0 {
			t.Errorf("%d rows in %s", n, from)
		}
	}
}
