package clustertest_test

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/clustertest"
	"github.com/posthorn/posthorn/internal/hooktest"
	"github.com/posthorn/posthorn/internal/redis/redistest"
)

// stopTime is how long a graceful stop may take.
const stopTime = 30 * time.Second

// TestStopUnderLoad stops one of two nodes with SIGTERM at 200 events a second: producers that try again notice nothing,
// nothing is lost and nothing is sent twice.
func TestStopUnderLoad(t *testing.T) {
	t.Parallel()
	const events, rate = 2400, 200
	c := newCluster(t, clustertest.NewDatabase(t), redistest.Start(t).URL())
	stopped, other := c.start("api,worker,janitor"), c.start("api,worker,janitor")
	pool := connect(t, c.database)
	receiver, _ := subscribeLoad(stopped, 400*time.Millisecond)

	l := newLoad(t, stopped, other)
	l.pause = 20 * time.Millisecond
	wait := l.background(0, events, rate, 16)
	l.await(1000)
	at := stopped.Signal(syscall.SIGTERM)
	if err := stopped.Wait(stopTime); err != nil {
		t.Errorf("SIGTERM ended the node with %v", err)
	}
	took := time.Since(at)
	wait()
	ended := allEnded(t, pool, 10*time.Second)

	l.check(false)
	for _, a := range l.refused {
		if a.at.Before(at.Add(-time.Second)) {
			t.Errorf("a publish was refused before the signal: %d %v", a.status, a.err)
		}
	}
	a := newAudit(t, pool, receiver)
	a.accepted(l)
	found := a.check()
	t.Logf("%d events at %d/s: exit 0 %s after SIGTERM, %d publishes repeated at the other node, %d sent twice; slowest 202 %s; the last ended %s after the last publish",
		len(a.deliveries), rate, took.Round(time.Millisecond), len(l.refused), len(found.repeated), l.slowest.Round(time.Millisecond), ended.Round(time.Millisecond))
}

// TestStopWithHangingReceivers stops a node whose requests hang: it ends in time, the attempts are written down as
// interrupted, and the other node sends them again at once, at no cost to the subscriber.
func TestStopWithHangingReceivers(t *testing.T) {
	t.Parallel()
	const events = 20
	c := newCluster(t, clustertest.NewDatabase(t), redistest.Start(t).URL())
	stopped := c.start("api,worker")
	pool := connect(t, c.database)
	receiver, url := hooktest.Listen(t, "receiver")
	receiver.Reply(hooktest.Hang())
	stopped.subscribe(url, "hang", object{"timeout_seconds": 60})
	for range events {
		stopped.publish("hang")
	}
	// A lane that nobody knows yet begins with fewer requests at a time: those wait, and are given back.
	clustertest.Eventually(t, 10*time.Second, "requests hang", func() bool { return receiver.Count() >= 8 })
	c.start("worker")
	receiver.Reply(hooktest.Status(http.StatusOK))
	at := stopped.Signal(syscall.SIGTERM)
	if err := stopped.Wait(stopTime + time.Second); err != nil {
		t.Errorf("SIGTERM ended the node with %v", err)
	}
	took := time.Since(at)
	again := allEnded(t, pool, 10*time.Second)

	found := newAudit(t, pool, receiver).check(stopped)
	t.Logf("exit 0 %s after SIGTERM with %d requests hanging, which were sent again by %s later",
		took.Round(time.Millisecond), len(found.repeated), again.Round(time.Millisecond))
	if took > stopTime || len(found.repeated) == 0 {
		t.Errorf("it took %s and %d attempts were interrupted", took, len(found.repeated))
	}
	if spent := value[int](t, pool, `SELECT max(spent) FROM deliveries`); spent != 1 {
		t.Errorf("a delivery cost %d of its budget, want the last attempt alone", spent)
	}
	if blamed := value[bool](t, pool, `SELECT bool_or(failing_since IS NOT NULL OR breaker_opens > 0) FROM lanes`); blamed {
		t.Error("the subscription counts as failing")
	}
}

// TestDrain drains one of two workers under load through the API: it finishes what it has and takes nothing more, and the
// other goes on.
func TestDrain(t *testing.T) {
	t.Parallel()
	const events, rate = 3000, 300
	c := newCluster(t, clustertest.NewDatabase(t), redistest.Start(t).URL())
	api, drained, other := c.start("api,janitor"), c.start("worker"), c.start("worker")
	pool := connect(t, c.database)
	receiver, _ := subscribeLoad(api, 300*time.Millisecond)

	l := newLoad(t, api)
	wait := l.background(0, events, rate, 8)
	l.await(800)
	asked := value[time.Time](t, pool, `SELECT now()`)
	api.want(http.StatusAccepted, http.MethodPost, "/workers/"+drained.id.String()+"/drain", nil, nil)
	took := clustertest.Eventually(t, 15*time.Second, "the worker has drained", func() bool {
		w := api.worker(drained)
		return w.LastSeenAt.After(asked) && w.Status == "draining" && w.Held == 0 && w.InFlight == 0
	})
	wait()
	ended := allEnded(t, pool, 10*time.Second)

	l.check(true)
	a := newAudit(t, pool, receiver)
	a.accepted(l)
	found := a.check()
	by, latest := attemptsBy(a, drained.id)
	late := latest.Sub(asked)
	t.Logf("%d events, %d by the drained worker, its last attempt began %s after the request, it was seen empty after %s; %d sent twice; the last ended %s after the last publish",
		len(a.deliveries), by, late.Round(time.Millisecond), took.Round(time.Millisecond), len(found.repeated), ended.Round(time.Millisecond))
	if by == 0 || late > time.Second {
		t.Errorf("the drained worker made %d attempts, the last one %s after it was asked to drain", by, late)
	}
	if !drained.Running() || api.worker(drained).Status != "draining" || api.worker(other).Status != "alive" {
		t.Error("the drained worker must go on reporting itself, and the other be alive")
	}
}

// attemptsBy counts a node's attempts and says when the last began.
func attemptsBy(a *audit, id posthorn.NodeID) (n int, latest time.Time) {
	for _, d := range a.deliveries {
		for _, row := range d.rows {
			if row.node != id {
				continue
			}
			n++
			if row.startedAt.After(latest) {
				latest = row.startedAt
			}
		}
	}
	return n, latest
}
