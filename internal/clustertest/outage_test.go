package clustertest_test

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/clustertest"
	"github.com/posthorn/posthorn/internal/hooktest"
	"github.com/posthorn/posthorn/internal/redis/redistest"
)

const (
	// outageLasts is how long PostgreSQL is away, less than a lease.
	outageLasts = 3 * time.Second
	// refusalTime is how soon a producer must be told, and firstDelivery how soon after PostgreSQL's return deliveries go on.
	refusalTime   = time.Second
	firstDelivery = 10 * time.Second
)

// TestPostgresRestartedUnderLoad takes PostgreSQL away from a cluster under load, once by an immediate shutdown and once by
// kill -9: meanwhile producers get 503 at once and nodes are not ready, afterwards everything goes on by itself, and what
// was accepted is there and is sent once.
func TestPostgresRestartedUnderLoad(t *testing.T) {
	t.Parallel()
	const events, rate = 5000, 300
	server := clustertest.StartPostgres(t)
	c := newCluster(t, server.URL(), redistest.Start(t).URL())
	nodes := []*node{c.start("api,worker"), c.start("api"), c.start("worker,janitor")}
	pool := connect(t, c.database)
	receiver, _ := subscribeLoad(nodes[0], 50*time.Millisecond)

	l := newLoad(t, nodes[0], nodes[1])
	l.pause, l.repeat = 200*time.Millisecond, true
	wait := l.background(0, events, rate, 16)
	l.await(1000)
	outage(t, "immediate shutdown", server, nodes, receiver, syscall.SIGQUIT)
	l.await(l.count() + 1000)
	outage(t, "kill -9", server, nodes, receiver, syscall.SIGKILL)
	wait()
	// What was stored though its producer, or the node that claimed it, was not told waits for its lease.
	ended := allEnded(t, pool, 45*time.Second)

	l.check(false)
	var slowest time.Duration
	for _, a := range l.refused {
		slowest = max(slowest, a.took)
		if a.err != nil {
			t.Errorf("a node that was never stopped did not answer: %v", a.err)
		}
	}
	if slowest > refusalTime {
		t.Errorf("a producer waited %s for a 503", slowest)
	}
	a := newAudit(t, pool, receiver)
	a.accepted(l)
	found := a.check(nodes...)
	t.Logf("%d events, %d answers of 503 (the slowest %s), %d attempts whose claim was lost, %d sent twice; the last ended %s after the last publish",
		len(a.deliveries), len(l.refused), slowest.Round(time.Millisecond), len(found.retried), len(found.repeated), ended.Round(time.Millisecond))
	if len(found.repeated) > 0 {
		t.Errorf("%d events were sent twice though no lease ran out", len(found.repeated))
	}
	if len(l.refused) == 0 {
		t.Error("no publish met an outage: the test shows nothing")
	}
}

// outage ends PostgreSQL with a signal and starts it again, and looks at what the nodes say meanwhile and how they go on.
func outage(t *testing.T, what string, server *clustertest.Postgres, nodes []*node, receiver *hooktest.Receiver, s syscall.Signal) {
	t.Helper()
	at := server.Signal(s)
	<-server.Ended()
	for _, n := range nodes {
		clustertest.Eventually(t, 2*time.Second, n.Name+" is not ready without PostgreSQL", func() bool { return n.ready() == http.StatusServiceUnavailable })
		clustertest.Eventually(t, 2*time.Second, n.Name+" says that its database is down", func() bool { return n.health().components["database"] == "down" })
		if a := n.ask(http.MethodGet, "/health/live", nil); a.status != http.StatusOK {
			t.Errorf("%s is not live without PostgreSQL: %d", n.Name, a.status)
		}
	}
	after(time.Until(at.Add(outageLasts)))
	for _, n := range nodes {
		if status := n.ready(); status != http.StatusServiceUnavailable {
			t.Errorf("%s: readiness %d after %s without PostgreSQL", n.Name, status, outageLasts)
		}
	}
	back := server.Again()
	var ready time.Duration
	delivered := receiver.Count()
	first := clustertest.Eventually(t, firstDelivery, "a delivery after the "+what, func() bool { return receiver.Count() > delivered })
	for _, n := range nodes {
		clustertest.Eventually(t, 10*time.Second, n.Name+" is ready again", func() bool { return n.ready() == http.StatusOK })
		ready = time.Since(back)
	}
	t.Logf("%s: away for %s; after its return the first delivery within %s, all nodes ready within %s", what,
		back.Sub(at).Round(time.Millisecond), first.Round(time.Millisecond), ready.Round(time.Millisecond))
}
