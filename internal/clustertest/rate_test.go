package clustertest_test

import (
	"slices"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/clustertest"
	"github.com/posthorn/posthorn/internal/hooktest"
	"github.com/posthorn/posthorn/internal/redis/redistest"
)

// TestRateLimitIsExactOverNodes gives three nodes more than a rate limit lets through and counts for a minute what the
// receiver gets: within 1 % of the limit, in every second about the same, and from each of the nodes. A machine that let no
// process run for a second made too few, and is given another minute; too many are too many at once.
func TestRateLimitIsExactOverNodes(t *testing.T) {
	t.Parallel()
	const limit, events, tolerance = 50, 7200, 30
	const window, warmUp = time.Minute, 5 * time.Second
	c := newCluster(t, clustertest.NewDatabase(t), redistest.Start(t).URL())
	nodes := []*node{c.start("api,worker"), c.start("api,worker"), c.start("api,worker,janitor")}
	pool := connect(t, c.database)
	receiver, url := hooktest.Listen(t, "receiver")
	nodes[0].subscribe(url, "load.*", object{"rate_limit": object{"limit": limit, "per": "second"}})

	l := newLoad(t, nodes...)
	l.run(0, events, 700, 16)
	l.check(true)
	const want = limit * int(window/time.Second)
	count, least, most := 0, 0, 0
	for try := 0; try < 2 && count < want-tolerance; try++ {
		from := time.Now().Add(warmUp)
		after(time.Until(from.Add(window + time.Second)))
		var perSecond [int(window / time.Second)]int
		count = 0
		for _, r := range receiver.Requests() {
			if at := r.At.Sub(from); at >= 0 && at < window {
				perSecond[int(at/time.Second)]++
				count++
			}
		}
		least, most = slices.Min(perSecond[:]), slices.Max(perSecond[:])
		t.Logf("%d requests in %s at a limit of %d/s, %d to %d in a second", count, window, limit, least, most)
	}
	if count < want-tolerance || count > want+tolerance {
		t.Errorf("%d requests in %s, want %d ± %d", count, window, want, tolerance)
	}
	if least < limit/2 || most > limit*3/2 {
		t.Errorf("from %d to %d requests in a second, want about %d", least, most, limit)
	}
	shares := map[string]int{}
	for _, n := range nodes {
		shares[n.Name] = value[int](t, pool, `SELECT count(*) FROM attempts WHERE node_id = $1`, [16]byte(n.id.UUID))
		if shares[n.Name] == 0 {
			t.Errorf("%s made no attempt: the limit was not shared", n.Name)
		}
	}
	if waiting := value[int](t, pool, `SELECT count(*) FROM deliveries WHERE state = 'pending'`); waiting == 0 {
		t.Error("nothing waited any more: the test shows nothing")
	}
	t.Logf("attempts by node %v", shares)
}

// TestAKilledNodeLeavesItsShare kills one of two nodes that keep to a rate limit without Redis, each to its half: no later than
// a lease after the kill the other has the whole of it.
func TestAKilledNodeLeavesItsShare(t *testing.T) {
	t.Parallel()
	const limit, events = 40, 2000
	const counted = 5 * time.Second
	c := newCluster(t, clustertest.NewDatabase(t), "")
	survivor, killed := c.start("api,worker,janitor"), c.start("worker")
	receiver, url := hooktest.Listen(t, "receiver")
	survivor.subscribe(url, "load.*", object{"rate_limit": object{"limit": limit, "per": "second"}})
	within := func(from time.Time) (count int) {
		after(time.Until(from.Add(counted)))
		for _, r := range receiver.Requests() {
			if at := r.At.Sub(from); at >= 0 && at < counted {
				count++
			}
		}
		return count
	}
	l := newLoad(t, survivor)
	l.run(0, events, 700, 16)
	after(6 * time.Second) // both have heard of each other
	before := within(time.Now())
	at := killed.Kill()
	killed.Quiet = true
	alone := within(time.Now())
	late := within(at.Add(posthorn.Lease))
	const want = limit * int(counted/time.Second)
	t.Logf("%d requests in %s of two nodes, %d when one is killed, %d from a lease after it; the limit is %d", before, counted, alone, late, want)
	if before > want*21/20 {
		t.Errorf("two nodes made %d requests in %s, want at most %d", before, counted, want)
	}
	if late < want*9/10 || late > want*21/20 {
		t.Errorf("the node that is left made %d requests in %s, want %d", late, counted, want)
	}
}
