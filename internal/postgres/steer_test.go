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
