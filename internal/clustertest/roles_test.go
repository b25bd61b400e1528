package clustertest_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/clustertest"
	"github.com/posthorn/posthorn/internal/hooktest"
	"github.com/posthorn/posthorn/internal/redis/redistest"
)

// TestRoles starts nodes with one role each: a worker serves no API, an API node delivers nothing, and overdue work makes
// health degraded and never takes a node away.
func TestRoles(t *testing.T) {
	t.Parallel()
	c := newCluster(t, clustertest.NewDatabase(t), redistest.Start(t).URL())
	api := c.start("api")
	pool := connect(t, c.database)
	receiver, url := hooktest.Listen(t, "receiver")
	api.subscribe(url, "role", nil)
	for range 20 {
		api.publish("role")
	}
	// As if they had waited for minutes.
	if _, err := pool.Exec(t.Context(), `UPDATE deliveries SET created_at = created_at - interval '3 minutes',
			due_at = due_at - interval '3 minutes', visible_at = visible_at - interval '3 minutes'`); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, 5*time.Second, "health is degraded by overdue work and by the lack of workers", func() bool {
		h := api.health()
		return h.status == "degraded" && h.components["queue"] == "degraded" && h.components["workers"] == "degraded"
	})
	if status := api.ready(); status != http.StatusOK {
		t.Errorf("readiness is %d because work is overdue", status)
	}
	if n := receiver.Count(); n != 0 {
		t.Errorf("a node without the role worker sent %d requests", n)
	}

	worker := c.start("worker")
	if !receiver.Await(20, 10*time.Second) {
		t.Errorf("a worker sent %d requests of 20", receiver.Count())
	}
	for _, path := range []string{"/events", "/subscriptions", "/workers", "/openapi.json", "/docs", "/"} {
		if a := worker.ask(http.MethodGet, path, nil); a.status != http.StatusNotFound {
			t.Errorf("GET %s at a worker: %d", path, a.status)
		}
	}
	if a := worker.ask(http.MethodPost, "/events", object{"type": "role", "payload": 1}); a.status != http.StatusNotFound {
		t.Errorf("POST /events at a worker: %d", a.status)
	}
	for _, path := range []string{"/health", "/health/live", "/health/ready", "/healthz", "/metrics"} {
		if a := worker.ask(http.MethodGet, path, nil); a.status != http.StatusOK {
			t.Errorf("GET %s at a worker: %d %s", path, a.status, a.body)
		}
	}
	clustertest.Eventually(t, 10*time.Second, "health is ok with a worker", func() bool { return api.health().status == "ok" })
	if w := api.worker(worker); w.Status != "alive" || !slices.Equal(w.Roles, []string{"worker"}) {
		t.Errorf("the worker is shown as %+v", w)
	}
	if w := api.worker(api); !slices.Equal(w.Roles, []string{"api"}) {
		t.Errorf("the API node is shown as %+v", w)
	}
}

// TestJanitorIsOneNodeAtATime kills the node that has the janitor's duty: no other takes it before its lease is over, and
// then one does.
func TestJanitorIsOneNodeAtATime(t *testing.T) {
	t.Parallel()
	c := newCluster(t, clustertest.NewDatabase(t), redistest.Start(t).URL())
	api := c.start("api")
	first := c.start("janitor")
	pool := connect(t, c.database)
	clustertest.Eventually(t, 10*time.Second, "the first janitor cleans up", func() bool { return len(first.Lines("cleaned up")) > 0 })
	others := []*node{c.start("janitor"), c.start("janitor")}
	withdrawnBy(t, api, pool, first, others)
	if holder := dutyOf(t, pool); holder != first.id {
		t.Fatalf("%s has the duty, want %s", holder, first.id)
	}

	first.Kill()
	if holder := dutyOf(t, pool); holder != first.id {
		t.Fatalf("a duty whose lease runs was taken by %s", holder)
	}
	left := value[time.Duration](t, pool, `SELECT expires_at - now() FROM leases WHERE name = 'janitor'`)
	if left <= 0 || left > 2*time.Minute {
		t.Errorf("the duty's lease lasts %s more", left)
	}
	// As if that time had passed.
	if _, err := pool.Exec(t.Context(), `UPDATE leases SET expires_at = now() WHERE name = 'janitor'`); err != nil {
		t.Fatal(err)
	}
	took := clustertest.Eventually(t, 40*time.Second, "another janitor takes the duty over", func() bool {
		return dutyOf(t, pool) != first.id
	})
	holder := dutyOf(t, pool)
	i := slices.IndexFunc(others, func(n *node) bool { return n.id == holder })
	if i < 0 {
		t.Fatalf("%s has the duty, which is no janitor", holder)
	}
	clustertest.Eventually(t, 10*time.Second, "it cleans up", func() bool { return len(others[i].Lines("cleaned up")) > 0 })
	if other := others[1-i]; len(other.Lines("cleaned up")) > 0 {
		t.Error("both janitors cleaned up")
	}
	t.Logf("the duty of a killed janitor was taken over %s after its lease had ended", took.Round(time.Millisecond))
}

func dutyOf(t *testing.T, pool *pgxpool.Pool) posthorn.NodeID {
	t.Helper()
	return posthorn.NodeID{UUID: posthorn.UUID(value[[16]byte](t, pool, `SELECT node_id FROM leases WHERE name = 'janitor'`))}
}

// withdrawnBy deletes a subscription with pending deliveries, which one janitor alone then cancels.
func withdrawnBy(t *testing.T, api *node, pool *pgxpool.Pool, janitor *node, others []*node) {
	t.Helper()
	made := api.subscribe("http://127.0.0.1:9/", "left.over", nil)
	for range 10 {
		api.publish("left.over")
	}
	api.want(http.StatusNoContent, http.MethodDelete, "/subscriptions/"+made.ID.String(), nil, nil)
	took := clustertest.Eventually(t, 10*time.Second, "the janitor cancels what a deleted subscription left", func() bool {
		return value[int](t, pool, `SELECT count(*) FROM deliveries WHERE state = 'cancelled' AND reason = 'subscription_deleted'`) == 10
	})
	if len(janitor.Lines("deliveries withdrawn")) != 1 {
		t.Errorf("%s did not say that it withdrew deliveries", janitor.Name)
	}
	for _, n := range others {
		if lines := n.Lines("deliveries withdrawn"); len(lines) > 0 {
			t.Errorf("%s withdrew deliveries without the duty: %s", n.Name, lines[0])
		}
	}
	t.Logf("what a deleted subscription left was cancelled after %s", took.Round(time.Millisecond))
}
