// Package simtest plays random worlds in fake time: nodes of the real parts over one real SQLite store, producers, operators
// and receivers who do everything that they may, and a machine room in which processes die between any two calls, stand
// still, lose answers and have their clocks set. What a world does follows from its seed, so that one that went wrong can be
// played again. What must hold at its end is internal/ledger's to say, and the nodes are internal/hooktest's.
package simtest

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/bubble"
	"github.com/posthorn/posthorn/internal/hooktest"
	"github.com/posthorn/posthorn/internal/ledger"
	"github.com/posthorn/posthorn/internal/sqlite"
)

// Play plays the world of a seed and fails the test where a promise was broken.
func Play(t *testing.T, seed uint64) Tally {
	t.Helper()
	// Ids are made of random bytes: they too follow from the seed.
	cryptotest.SetGlobalRandom(t, seed)
	dir := memory(t)
	var w *world
	bubble.Test(t, func(t *testing.T) {
		w = draw(t, seed, dir)
		w.run()
	})
	return w.tally
}

// Tally counts what happened in a world.
type Tally struct {
	Published, Deliveries, Requests, Attempts, Interrupted, Crashes int
}

// Add sums up.
func (t *Tally) Add(o Tally) {
	t.Published += o.Published
	t.Deliveries += o.Deliveries
	t.Requests += o.Requests
	t.Attempts += o.Attempts
	t.Interrupted += o.Interrupted
	t.Crashes += o.Crashes
}

func (t Tally) String() string {
	return fmt.Sprintf("%d events, %d deliveries, %d requests, %d attempts (%d interrupted), %d nodes killed",
		t.Published, t.Deliveries, t.Requests, t.Attempts, t.Interrupted, t.Crashes)
}

// memory is a directory that no disk is behind where the system has such a place. The store writes and syncs as ever: what
// a crash leaves is what was committed.
func memory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "posthorn-sim-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// world is one seed being played.
type world struct {
	t    *testing.T
	seed uint64
	dir  string
	traits
	// draws belongs to the drawing of the world: nothing that happens later alters what it says.
	draws  *rand.Rand
	agenda []step
	end    time.Duration

	network *hooktest.Network
	start   time.Time
	clock   clock
	places  []*place
	tally   Tally
	// busy counts what goes on beside the agenda: publishes under way, and nodes being replaced.
	busy sync.WaitGroup

	mu        sync.Mutex
	store     *sqlite.Store
	tenant    posthorn.TenantID
	shops     []*shop
	publishes []ledger.Publish
	requests  []ledger.Request
	holds     []ledger.Hold
	replays   []posthorn.DeliveryID
	history   []string
}

// traits are what kind of world it is.
type traits struct {
	// kind is for messages.
	kind  string
	nodes int
	// crashes, freezes, outages, losses and clockSteps are what may happen to nodes; calm is none of them.
	crashes, freezes, outages, losses, clockSteps bool
	// deaf is the share of signals that get lost between nodes.
	deaf float64
	poll time.Duration
}

func (t traits) calm() bool {
	return !t.crashes && !t.freezes && !t.outages && !t.losses && !t.clockSteps
}

// step is something that happens at a moment.
type step struct {
	at   time.Duration
	what string
	do   func()
}

// draw makes up the world of a seed.
func draw(t *testing.T, seed uint64, dir string) *world {
	w := &world{t: t, seed: seed, dir: dir, draws: rand.New(rand.NewPCG(seed, 0x706f7374686f726e)), network: hooktest.NewNetwork()}
	w.traits = w.drawTraits()
	w.end = w.span(4*time.Minute, 20*time.Minute)
	w.drawShops()
	w.drawPublishes()
	w.drawOperator()
	w.drawFaults()
	slices.SortStableFunc(w.agenda, func(a, b step) int { return int(a.at - b.at) })
	return w
}

func (w *world) drawTraits() traits {
	quick := []time.Duration{2 * time.Second, 15 * time.Second}
	switch w.draws.IntN(8) {
	case 0:
		return traits{kind: "one node in calm", nodes: 1, poll: time.Hour}
	case 1:
		return traits{kind: "several nodes in calm", nodes: 2 + w.draws.IntN(2), poll: pick(w, quick), deaf: pick(w, []float64{0, 0.5})}
	case 2:
		return traits{kind: "one node that crashes", nodes: 1, crashes: true, poll: pick(w, []time.Duration{5 * time.Second, time.Hour})}
	case 3:
		return traits{kind: "one node without its store at times", nodes: 1, outages: true, losses: true, poll: pick(w, quick)}
	case 4:
		return traits{kind: "one node whose clock is set", nodes: 1, clockSteps: true, poll: 5 * time.Second}
	case 5:
		return traits{kind: "nodes that freeze", nodes: 2, freezes: true, poll: pick(w, quick), deaf: 0.2}
	case 6:
		return traits{kind: "nodes that crash", nodes: 2 + w.draws.IntN(2), crashes: true, losses: true, poll: pick(w, quick), deaf: 0.2}
	}
	return traits{
		kind: "everything at once", nodes: 1 + w.draws.IntN(3), crashes: true, freezes: true, outages: true, losses: true,
		clockSteps: w.chance(0.5), poll: 3 * time.Second, deaf: pick(w, []float64{0, 0.3, 1}),
	}
}

// pick and the functions below draw.
func pick[T any](w *world, from []T) T { return from[w.draws.IntN(len(from))] }

func (w *world) chance(p float64) bool { return w.draws.Float64() < p }

func (w *world) span(from, to time.Duration) time.Duration {
	return from + time.Duration(w.draws.Float64()*float64(to-from)).Truncate(time.Millisecond)
}

// sometime is a moment of the world's.
func (w *world) sometime() time.Duration { return w.span(time.Second, w.end) }

// plan puts something on the agenda.
func (w *world) plan(at time.Duration, what string, do func()) {
	w.agenda = append(w.agenda, step{at, what, do})
}

// fate is uniform in [0, 1) and the same whenever it is asked for with the same seed and words: for what is decided while
// the world runs, where the order of the questions is nobody's.
func (w *world) fate(words ...any) float64 {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, w.seed, words)
	// FNV's high bits hardly depend on the last words.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return float64(x>>11) / (1 << 53)
}

// elapsed is the world's time.
func (w *world) elapsed() time.Duration { return time.Since(w.start) }

// note writes down what happened, to be shown where the world fails.
func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.history = append(w.history, fmt.Sprintf("%12s  %s", w.elapsed(), fmt.Sprintf(format, args...)))
}

// run plays the agenda, lets everything come to its end, and judges.
func (w *world) run() {
	w.start = time.Now()
	w.open()
	defer w.close()
	w.occupy()
	for _, s := range w.agenda {
		w.sleepUntil(s.at)
		if s.what != "" {
			w.note("%s", s.what)
		}
		s.do()
	}
	w.sleepUntil(w.end)
	w.settle()
	w.judge()
}

func (w *world) sleepUntil(at time.Duration) {
	if wait := at - w.elapsed(); wait > 0 {
		time.Sleep(wait)
	}
}
