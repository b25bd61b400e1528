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

const (
	// claimMargin is what taking up a lost claim may add to the lease: a poll, the claim itself, and a busy machine.
	claimMargin = 3 * time.Second
	// frozenFor is longer than a lease.
	frozenFor = posthorn.Lease + 4*time.Second
)

// subscribeLoad makes a load's subscriptions to one receiver, which takes so long for each answer.
func subscribeLoad(n *node, takes time.Duration) (receiver *hooktest.Receiver, url string) {
	n.T.Helper()
	receiver, url = hooktest.Listen(n.T, "receiver")
	receiver.Reply(hooktest.Status(http.StatusOK).After(takes))
	for i := range lanes {
		n.subscribe(url, loadType(i), nil)
	}
	return receiver, url
}

// TestWorkerKilledAndWorkerFrozen publishes 10,000 events to two API nodes while of two workers one is killed with -9 and
// the other is frozen beyond its leases and then goes on as if nothing had happened. A supervisor starts the killed one
// again. Everything is delivered; what the two had in flight is sent again and nothing else is.
func TestWorkerKilledAndWorkerFrozen(t *testing.T) {
	t.Parallel()
	const events, rate, held = 10_000, 600, 500
	c := newCluster(t, clustertest.NewDatabase(t), redistest.Start(t).URL())
	apis := []*node{c.start("api"), c.start("api")}
	killed, frozen := c.start("worker"), c.start("worker,janitor")
	pool := connect(t, c.database)
	receiver, _ := subscribeLoad(apis[0], 250*time.Millisecond)

	l := newLoad(t, apis...)
	wait := l.background(0, events-held, rate, 16)
	l.await(2000)
	frozenAt := frozen.Signal(syscall.SIGSTOP)
	l.await(2500)
	killedAt := killed.Kill()
	c.start("worker")
	wait()
	after(time.Until(frozenAt.Add(frozenFor)))
	wokenAt := frozen.Signal(syscall.SIGCONT)
	l.run(events-held, events, rate, 16)
	ended := allEnded(t, pool, 30*time.Second)
	// The results that the frozen worker still had are written by now: it is awake for seconds.
	clustertest.Eventually(t, 10*time.Second, "the frozen worker works again", func() bool {
		return value[bool](t, pool, `SELECT EXISTS (SELECT FROM attempts WHERE node_id = $1 AND started_at > $2)`, [16]byte(frozen.id.UUID), wokenAt)
	})

	l.check(true)
	a := newAudit(t, pool, receiver)
	a.accepted(l)
	found := a.check(killed, frozen)
	t.Logf("%d events, %d requests, %d sent twice, %d attempts lost; the last ended %s after the last publish; slowest 202 %s",
		len(a.deliveries), found.requests, len(found.repeated), len(found.retried), ended.Round(time.Millisecond), l.slowest.Round(time.Millisecond))
	resumed(t, "killed", found.retried, killed, killedAt)
	resumed(t, "frozen", found.retried, frozen, frozenAt)
	onlyInFlight(t, a, found.repeated, map[posthorn.NodeID]time.Time{killed.id: killedAt, frozen.id: frozenAt})
	if status := apis[0].worker(frozen).Status; status != "alive" {
		t.Errorf("the worker that was frozen is shown as %s", status)
	}
}

// resumed wants what a node lost to have been taken up within a lease, and prints how long it took.
func resumed(t *testing.T, what string, retried []*delivery, n *node, at time.Time) {
	t.Helper()
	lost := 0
	var first, last time.Duration
	for _, d := range retried {
		for i, row := range d.rows[:len(d.rows)-1] {
			if row.node != n.id {
				continue
			}
			took := d.rows[i+1].startedAt.Sub(at)
			if lost++; lost == 1 || took < first {
				first = took
			}
			last = max(last, took)
		}
	}
	t.Logf("the %s worker had %d deliveries: they started again %s to %s after the signal", what, lost,
		first.Round(time.Millisecond), last.Round(time.Millisecond))
	if lost == 0 {
		t.Errorf("the %s worker had nothing in flight: the test shows nothing", what)
	}
	if last > posthorn.Lease+claimMargin {
		t.Errorf("a delivery of the %s worker waited %s", what, last)
	}
}

// onlyInFlight wants what was sent twice to have been on its way, or not yet written down, when its node was hurt.
func onlyInFlight(t *testing.T, a *audit, repeated []*delivery, hurtAt map[posthorn.NodeID]time.Time) {
	t.Helper()
	const answerAndRecord = 2 * time.Second
	for _, d := range repeated {
		requests := a.requests[d.event.String()]
		first := d.rows[requests[0].Attempt-1]
		early := hurtAt[first.node].Sub(requests[0].At)
		if early > answerAndRecord {
			t.Errorf("sent twice, though the first request came %s before its node was hurt\n%s", early, d.describe(requests))
		}
	}
}
