package storetest

import (
	"reflect"
	"time"

	"github.com/posthorn/posthorn"
)

func nodeTests() group {
	return group{"Node", []test{
		{"Heartbeat", nodeHeartbeat},
		{"List", nodeList},
		{"Drain", nodeDrain},
		{"Forget", nodeForget},
		{"Lease", nodeLease},
		{"LeaseRunsOut", nodeLeaseRunsOut},
		{"LeaseReleased", nodeLeaseReleased},
	}}
}

// beat makes a node and writes its heartbeat.
func (f *Fixture) beat(change ...func(*posthorn.Node)) *posthorn.Node {
	f.T.Helper()
	n := &posthorn.Node{ID: posthorn.NodeID{UUID: f.ID()}, Hostname: "worker", StartedAt: f.Store.Now()}
	for _, c := range change {
		c(n)
	}
	_, err := f.Store.Heartbeat(f.Context(), n)
	f.must(err)
	return n
}

func (f *Fixture) nodes() []posthorn.Node {
	f.T.Helper()
	nodes, err := f.Store.ListNodes(f.Context())
	f.must(err)
	return nodes
}

func nodeHeartbeat(f *Fixture) {
	now := f.Store.Now()
	want := f.beat(func(n *posthorn.Node) {
		n.Hostname, n.Version, n.Roles = "worker-1", "1.2.3", []string{"api", "worker"}
		n.Draining, n.InFlight, n.Held, n.Lanes = true, 3, 40, 7
		n.DeliveredPerSecond, n.MemoryBytes, n.Goroutines = 12.5, 1<<30, 99
		n.LastError, n.LastErrorAt = "disk full", now
		n.Doing = []posthorn.Doing{{
			DeliveryID: posthorn.DeliveryID{UUID: f.ID()}, SubscriptionID: posthorn.SubscriptionID{UUID: f.ID()}, Number: 2, Since: now,
		}}
	})
	nodes := f.nodes()
	equal(f, "nodes", len(nodes), 1)
	got := nodes[0]
	f.wantIn("seen_at", got.SeenAt, 0)
	f.wantIn("started_at", got.StartedAt, 0)
	f.wantIn("last error's time", got.LastErrorAt, 0)
	f.wantIn("since", got.Doing[0].Since, 0)
	got.SeenAt, got.StartedAt, got.LastErrorAt, got.Doing[0].Since = want.SeenAt, want.StartedAt, want.LastErrorAt, want.Doing[0].Since
	if !reflect.DeepEqual(&got, want) {
		f.T.Fatalf("node is\n%+v, want\n%+v", &got, want)
	}
	f.Elapse(time.Hour)
	want.InFlight, want.Doing = 0, nil
	_, err := f.Store.Heartbeat(f.Context(), want)
	f.must(err)
	nodes = f.nodes()
	equal(f, "nodes", len(nodes), 1)
	equal(f, "in flight", nodes[0].InFlight, 0)
	equal(f, "doing", len(nodes[0].Doing), 0)
	f.wantIn("seen_at", nodes[0].SeenAt, 0)
}

func nodeList(f *Fixture) {
	gone := f.beat()
	f.Elapse(23 * time.Hour)
	first, second := f.beat(), f.beat()
	nodes := f.nodes()
	equal(f, "nodes", len(nodes), 3)
	equal(f, "oldest", nodes[0].ID, gone.ID)
	equal(f, "second oldest", nodes[1].ID, first.ID)
	equal(f, "youngest", nodes[2].ID, second.ID)
	f.wantIn("seen_at", nodes[0].SeenAt, -23*time.Hour)
	f.Elapse(2 * time.Hour)
	equal(f, "nodes seen within a day", len(f.nodes()), 2)
}

func nodeDrain(f *Fixture) {
	n, other := f.beat(), f.beat()
	f.must(f.Store.DrainNode(f.Context(), n.ID))
	drain, err := f.Store.Heartbeat(f.Context(), n)
	f.must(err)
	equal(f, "asked to drain", drain, true)
	drain, err = f.Store.Heartbeat(f.Context(), other)
	f.must(err)
	equal(f, "another asked to drain", drain, false)
	equal(f, "listed as asked", f.nodes()[0].Drain, true)
	f.wantKind(f.Store.DrainNode(f.Context(), posthorn.NodeID{UUID: f.ID()}), posthorn.NotFound, "drain an unknown node")
}

func nodeForget(f *Fixture) {
	n := f.beat()
	f.must(f.Store.ForgetNode(f.Context(), n.ID))
	equal(f, "nodes", len(f.nodes()), 0)
	f.must(f.Store.ForgetNode(f.Context(), n.ID))
}

func (f *Fixture) lease(name string, node posthorn.NodeID, ttl time.Duration) bool {
	f.T.Helper()
	held, err := f.Store.AcquireLease(f.Context(), name, node, ttl)
	f.must(err)
	return held
}

func nodeLease(f *Fixture) {
	a, b := posthorn.NodeID{UUID: f.ID()}, posthorn.NodeID{UUID: f.ID()}
	equal(f, "first", f.lease("janitor", a, time.Minute), true)
	equal(f, "another node", f.lease("janitor", b, time.Minute), false)
	equal(f, "another duty", f.lease("report", b, time.Minute), true)
	equal(f, "renewed", f.lease("janitor", a, time.Hour), true)
	f.Elapse(10 * time.Minute)
	equal(f, "another node later", f.lease("janitor", b, time.Hour), false)
}

func nodeLeaseRunsOut(f *Fixture) {
	a, b := posthorn.NodeID{UUID: f.ID()}, posthorn.NodeID{UUID: f.ID()}
	f.lease("janitor", a, time.Minute)
	f.Elapse(2 * time.Minute)
	equal(f, "another node", f.lease("janitor", b, time.Minute), true)
	equal(f, "the first", f.lease("janitor", a, time.Minute), false)
}

func nodeLeaseReleased(f *Fixture) {
	a, b := posthorn.NodeID{UUID: f.ID()}, posthorn.NodeID{UUID: f.ID()}
	f.lease("janitor", a, time.Minute)
	f.must(f.Store.ReleaseLease(f.Context(), "janitor", b))
	equal(f, "released by a stranger", f.lease("janitor", b, time.Minute), false)
	f.must(f.Store.ReleaseLease(f.Context(), "janitor", a))
	equal(f, "released", f.lease("janitor", b, time.Minute), true)
}
