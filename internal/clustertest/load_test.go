package clustertest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/clustertest"
)

// lanes is how many subscriptions a load is spread over, one for each of its event types.
const lanes = 10

// loadType is the type of a load's n-th event.
func loadType(n int) string { return fmt.Sprintf("load.%d", n%lanes) }

// load publishes numbered events to nodes in turn, each with an idempotency key and again until it is accepted, as a
// careful producer does. It belongs to one test.
type load struct {
	t     testing.TB
	nodes []*node
	// pause is the wait before an event that was refused is published again, at the next node.
	pause time.Duration
	// repeat publishes every tenth event once more after it was accepted, at the next node.
	repeat bool

	mu sync.Mutex
	// accepted are the ids by number.
	accepted map[int]string
	// refused are the answers that were no 202; faults what must never be.
	refused []answer
	faults  []string
	slowest time.Duration
}

func newLoad(t testing.TB, nodes ...*node) *load {
	return &load{t: t, nodes: nodes, pause: 100 * time.Millisecond, accepted: map[int]string{}}
}

// run publishes the events from one number up to another at a rate a second, from so many clients, and returns when all
// are accepted.
func (l *load) run(from, to, rate, clients int) {
	numbers := make(chan int, 2*rate)
	var publishing sync.WaitGroup
	for range clients {
		publishing.Go(func() {
			for n := range numbers {
				l.publish(n)
			}
		})
	}
	began := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n := from; n < to; <-tick.C {
		for due := from + int(time.Since(began).Seconds()*float64(rate)); n < min(due, to); n++ {
			numbers <- n
		}
	}
	close(numbers)
	publishing.Wait()
}

// background is run meanwhile; the end is awaited by the function it gives.
func (l *load) background(from, to, rate, clients int) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.run(from, to, rate, clients)
	}()
	return func() { <-done }
}

func (l *load) publish(n int) {
	for turn := n; l.t.Context().Err() == nil; turn++ {
		a := l.send(turn, n)
		if a.status == http.StatusAccepted {
			l.accept(n, a, false)
			if l.repeat && n%10 == 0 {
				if a := l.send(turn+1, n); a.status == http.StatusAccepted {
					l.accept(n, a, true)
				} else {
					l.refuse(n, a)
				}
			}
			return
		}
		l.refuse(n, a)
		after(l.pause)
	}
}

func (l *load) send(turn, n int) answer {
	return l.nodes[turn%len(l.nodes)].ask(http.MethodPost, "/events", object{
		"type": loadType(n), "payload": object{"n": n}, "idempotency_key": fmt.Sprintf("load-%d", n),
	})
}

func (l *load) accept(n int, a answer, repeated bool) {
	var p published
	if err := json.Unmarshal(a.body, &p); err != nil {
		l.fault("event %d: %v", n, err)
		return
	}
	if p.Deliveries != 1 {
		l.fault("event %d has %d deliveries, want 1", n, p.Deliveries)
	}
	if repeated && !p.Duplicate {
		l.fault("event %d: a repetition of %s was taken for a new event", n, p.ID)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if known, ok := l.accepted[n]; ok && known != p.ID {
		l.faults = append(l.faults, fmt.Sprintf("event %d was accepted as %s and as %s", n, known, p.ID))
	}
	l.accepted[n] = p.ID
	l.slowest = max(l.slowest, a.took)
}

func (l *load) refuse(n int, a answer) {
	switch {
	case a.err != nil:
	case a.status != http.StatusServiceUnavailable:
		l.fault("event %d was answered %d: %s", n, a.status, a.body)
	case a.header.Get("Retry-After") == "":
		l.fault("event %d was answered 503 without Retry-After: %s", n, a.body)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused = append(l.refused, a)
}

func (l *load) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

// count is how many events are accepted so far.
func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.accepted)
}

// await waits until so many are accepted.
func (l *load) await(n int) {
	l.t.Helper()
	clustertest.Eventually(l.t, time.Minute, fmt.Sprintf("%d events accepted", n), func() bool { return l.count() >= n })
}

// check reports what must never be, and wants no refusal at all where calm is set.
func (l *load) check(calm bool) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, fault := range l.faults {
		if i == 10 {
			l.t.Errorf("… and %d more", len(l.faults)-i)
			break
		}
		l.t.Error(fault)
	}
	if calm && len(l.refused) > 0 {
		a := l.refused[0]
		l.t.Errorf("%d publishes were refused, the first after %s: %d %v %s", len(l.refused), a.took, a.status, a.err, a.body)
	}
}
