package clustertest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/posthorn/posthorn/internal/clustertest"
	"github.com/posthorn/posthorn/internal/hooktest"
	"github.com/posthorn/posthorn/internal/redis/redistest"
)

// pair is two nodes that both accept and send, and their database.
func pair(t *testing.T) (nodes [2]*node, pool *pgxpool.Pool) {
	t.Helper()
	c := newCluster(t, clustertest.NewDatabase(t), redistest.Start(t).URL())
	nodes = [2]*node{c.start("api,worker,janitor"), c.start("api,worker")}
	return nodes, connect(t, c.database)
}

// TestRetryAfterHoldsBothNodes lets a receiver ask one of two nodes for a pause, and gives both more to send to it.
func TestRetryAfterHoldsBothNodes(t *testing.T) {
	t.Parallel()
	const before, events, pause = 2, 20, 5 * time.Second
	nodes, pool := pair(t)
	receiver, url := hooktest.Listen(t, "receiver")
	receiver.Reply(hooktest.Status(http.StatusOK), hooktest.Status(http.StatusOK),
		hooktest.Respond(http.StatusTooManyRequests).Header("Retry-After", "5").Reply(), hooktest.Status(http.StatusOK))
	nodes[0].subscribe(url, "lane", nil)
	for _, n := range nodes {
		n.publish("lane")
	}
	if !receiver.Await(before, 10*time.Second) {
		t.Fatalf("%d requests before the pause, want %d", receiver.Count(), before)
	}
	nodes[0].publish("lane")
	clustertest.Eventually(t, 10*time.Second, "the pause is stored", func() bool {
		return value[bool](t, pool, `SELECT EXISTS (SELECT FROM lanes WHERE throttled_until > now())`)
	})
	for i := range events {
		nodes[i%2].publish("lane")
	}
	if !receiver.Await(before+1+events, 2*pause+5*time.Second) {
		t.Fatalf("%d requests, want %d", receiver.Count(), before+1+events)
	}
	asked := receiver.Requests()[before].At
	for _, r := range receiver.Requests()[before+1:] {
		if at := r.At.Sub(asked); at < pause {
			t.Errorf("a request %s after the receiver asked for a pause of %s", at, pause)
		}
	}
	if n := value[int](t, pool, `SELECT count(DISTINCT node_id) FROM attempts`); n != 2 {
		t.Errorf("%d nodes sent, want both: the test shows nothing", n)
	}
}

// TestOneProbeOfTwoNodes lets a receiver fail until its breaker opens: when that is over, one delivery of one node tries it.
func TestOneProbeOfTwoNodes(t *testing.T) {
	t.Parallel()
	const events = 100
	nodes, pool := pair(t)
	receiver, url := hooktest.Listen(t, "receiver")
	receiver.Reply(hooktest.Status(http.StatusInternalServerError))
	nodes[0].subscribe(url, "lane", nil)
	opens := func() int { return value[int](t, pool, `SELECT breaker_opens FROM lanes`) }
	for i := 0; opens() == 0; i++ {
		if i == events {
			t.Fatalf("the breaker is closed after %d events and %d requests", events, receiver.Count())
		}
		nodes[i%2].publish("lane")
	}
	until := value[time.Time](t, pool, `SELECT breaker_until FROM lanes`)
	for i := range 10 {
		nodes[i%2].publish("lane")
	}
	after(time.Second) // what was under way when it opened has come
	opened, before := opens(), receiver.Count()
	clustertest.Eventually(t, 15*time.Second, "the probe fails", func() bool { return opens() > opened })
	after(2 * time.Second) // both nodes have asked for work again
	if n := opens(); n != opened+1 {
		t.Errorf("%d openings after the probe, want one more than %d", n, opened)
	}
	requests := receiver.Requests()[before:]
	if len(requests) != 1 {
		t.Fatalf("%d requests to the end of an opening and 2 s beyond it, want one probe", len(requests))
	}
	if early := until.Sub(requests[0].At); early > 0 {
		t.Errorf("the probe came %s before the opening ended", early)
	}
	if n := value[int](t, pool, `SELECT count(DISTINCT node_id) FROM attempts`); n != 2 {
		t.Errorf("%d nodes sent, want both: the test shows nothing", n)
	}
}
