package clustertest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/clustertest"
	"github.com/posthorn/posthorn/internal/hooktest"
	"github.com/posthorn/posthorn/internal/redis/redistest"
)

const (
	// fifoKeys are the ordering keys of a FIFO story, perKey the events of each.
	fifoKeys, perKey = 8, 100
	fifoEvents       = fifoKeys * perKey
)

// TestFIFOKeepsItsOrderWhenANodeIsKilled ends a worker with kill -9 while it has deliveries of a FIFO lane under way.
func TestFIFOKeepsItsOrderWhenANodeIsKilled(t *testing.T) {
	t.Parallel()
	keepsOrder(t, func(n *node) { n.Kill() })
}

// TestFIFOKeepsItsOrderWhenANodeIsFrozen lets a worker sleep beyond its leases: what it still has when it wakes is another's.
func TestFIFOKeepsItsOrderWhenANodeIsFrozen(t *testing.T) {
	t.Parallel()
	keepsOrder(t, func(n *node) {
		at := n.Signal(syscall.SIGSTOP)
		after(time.Until(at.Add(frozenFor)))
		n.Signal(syscall.SIGCONT)
	})
}

// keepsOrder publishes to a FIFO lane with two workers, hurts the one that has deliveries under way, and wants each key's
// events in the order of their acceptance: one may be repeated before the next, none may come after a later one.
func keepsOrder(t *testing.T, hurt func(*node)) {
	c := newCluster(t, clustertest.NewDatabase(t), redistest.Start(t).URL())
	api, hurtOne := c.start("api,janitor"), c.start("worker")
	pool := connect(t, c.database)
	receiver, url := hooktest.Listen(t, "receiver")
	receiver.Reply(hooktest.Status(http.StatusOK).After(150 * time.Millisecond))
	api.subscribe(url, "fifo", object{"ordering": "fifo"})
	publishKeys(api)
	if !receiver.Await(fifoEvents/10, 30*time.Second) {
		t.Fatalf("%d requests within 30 s", receiver.Count())
	}
	c.start("worker")
	// All keys are asked for together, and a moment between two claims would show nothing.
	if !receiver.Await(receiver.Count()+1, 30*time.Second) {
		t.Fatal("no further request within 30 s")
	}
	hurt(hurtOne)
	ended := allEnded(t, pool, 2*time.Minute)

	a := newAudit(t, pool, receiver)
	if len(a.deliveries) != fifoEvents {
		t.Errorf("%d deliveries, want %d", len(a.deliveries), fifoEvents)
	}
	found := a.check(hurtOne)
	inOrder(t, receiver)
	t.Logf("%d events of %d keys: %d requests, %d attempts lost, %d sent twice; all ended %s later",
		fifoEvents, fifoKeys, found.requests, len(found.retried), len(found.repeated), ended.Round(time.Millisecond))
	if len(found.retried) == 0 {
		t.Error("the node had nothing under way: the test shows nothing")
	}
}

// place is the payload of a FIFO story's event: its key and its number among those of the key.
type place struct{ Key, N int }

// publishKeys publishes all keys at the same time and each key's events one after the other.
func publishKeys(n *node) {
	var publishing sync.WaitGroup
	for key := range fifoKeys {
		publishing.Go(func() {
			for i := range perKey {
				body := object{"type": "fifo", "payload": place{key, i}, "ordering_key": fmt.Sprintf("key-%d", key)}
				if a := n.ask(http.MethodPost, "/events", body); a.status != http.StatusAccepted {
					n.T.Errorf("event %d of key %d: %d %v %s", i, key, a.status, a.err, a.body)
					return
				}
			}
		})
	}
	publishing.Wait()
}

// inOrder wants every request to be of the event after its key's last one, or of that one again.
func inOrder(t *testing.T, receiver *hooktest.Receiver) {
	t.Helper()
	var next [fifoKeys]int
	for _, r := range receiver.Requests() {
		var p place
		if err := json.Unmarshal(r.Body, &p); err != nil || p.Key < 0 || p.Key >= fifoKeys {
			t.Fatalf("a request with %q: %v", r.Body, err)
		}
		switch p.N {
		case next[p.Key]:
			next[p.Key]++
		case next[p.Key] - 1:
		default:
			t.Errorf("key %d: event %d came where %d was next (attempt %d)", p.Key, p.N, next[p.Key], r.Attempt)
		}
	}
	for key, n := range next {
		if n != perKey {
			t.Errorf("key %d: %d events received, want %d", key, n, perKey)
		}
	}
}
