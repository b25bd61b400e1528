package clustertest_test

import (
	"bufio"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/clustertest"
	"github.com/posthorn/posthorn/internal/redis/redistest"
)

// TestRedisStoppedFlushedAndFrozenUnderLoad takes Redis away from a cluster under load in every way: producers and
// subscribers notice nothing, health says degraded and recovers by itself, and nothing is sent twice.
func TestRedisStoppedFlushedAndFrozenUnderLoad(t *testing.T) {
	t.Parallel()
	const events, rate = 5000, 400
	server := redistest.Start(t)
	c := newCluster(t, clustertest.NewDatabase(t), server.URL())
	nodes := []*node{c.start("api,worker"), c.start("api"), c.start("worker,janitor")}
	pool := connect(t, c.database)
	receiver, url := subscribeLoad(nodes[0], 50*time.Millisecond)
	healthy := func(status string) time.Duration {
		t.Helper()
		return clustertest.Eventually(t, 10*time.Second, "Redis is "+status+" on every node", func() bool {
			for _, n := range nodes {
				h := n.health()
				if h.components["redis"] != status || h.status != status {
					return false
				}
			}
			return true
		})
	}
	healthy("ok")

	l := newLoad(t, nodes[0], nodes[1])
	wait := l.background(0, events, rate, 16)
	l.await(500)
	server.Stop()
	degraded := healthy("degraded")
	for _, n := range nodes {
		if status := n.ready(); status != http.StatusOK {
			t.Errorf("%s: readiness %d without Redis", n.Name, status)
		}
	}
	nodes[0].subscribe(url, "while.away", nil)
	l.accept(events, nodes[1].ask(http.MethodPost, "/events", object{"type": "while.away", "payload": 1}), false)
	l.await(1500)
	server.Start()
	recovered := healthy("ok")
	l.await(2000)
	flush(t, server.Address())
	l.await(2500)
	server.Freeze()
	frozen := healthy("degraded")
	l.await(3500)
	server.Thaw()
	thawed := healthy("ok")
	wait()
	ended := allEnded(t, pool, 20*time.Second)

	l.check(true)
	a := newAudit(t, pool, receiver)
	a.accepted(l)
	found := a.check()
	t.Logf("stopped: degraded on all nodes after %s; started again, empty: ok after %s; frozen: degraded after %s; thawed: ok after %s",
		degraded.Round(time.Millisecond), recovered.Round(time.Millisecond), frozen.Round(time.Millisecond), thawed.Round(time.Millisecond))
	t.Logf("%d events, %d requests, %d sent twice; the last ended %s after the last publish; slowest 202 %s",
		len(a.deliveries), found.requests, len(found.repeated), ended.Round(time.Millisecond), l.slowest.Round(time.Millisecond))
}

// flush empties a Redis.
func flush(t *testing.T, address string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("FLUSHALL\r\n")); err != nil {
		t.Fatal(err)
	}
	if said, err := bufio.NewReader(conn).ReadString('\n'); err != nil || said != "+OK\r\n" {
		t.Fatalf("FLUSHALL: %q %v", said, err)
	}
}
