//go:build unix

package chaos_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/simtest"
)

// TestSimulation plays many random worlds in fake time; internal/simtest plays a few of them with every run of the tests, and one again
// that failed here: go test ./internal/simtest -run Simulation -seed N.
func TestSimulation(t *testing.T) {
	if *seeds == 0 {
		t.Skip("internal/simtest plays a few worlds with every run of the tests")
	}
	w := worlds{began: time.Now(), told: time.Now()}
	var players sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		players.Go(func() { w.play(t) })
	}
	players.Wait()
	figures.add(t, w.scenario())
}

// worlds are those of a run so far.
type worlds struct {
	mu             sync.Mutex
	began, told    time.Time
	sum            simtest.Tally
	begun          int
	played, broken int
}

// play plays one world after another, beside others that do.
func (w *worlds) play(t *testing.T) {
	for own := w.next(); own != 0; own = w.next() {
		var tally simtest.Tally
		kept := t.Run(fmt.Sprintf("Seed%d", own), func(t *testing.T) { tally = simtest.Play(t, own) })
		w.ended(t, own, tally, kept)
	}
}

// next is the seed of the next world, or 0.
func (w *worlds) next() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if uint64(w.begun) == *seeds {
		return 0
	}
	w.begun++
	return *seed + uint64(w.begun) - 1
}

func (w *worlds) ended(t *testing.T, own uint64, tally simtest.Tally, kept bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.played++
	w.sum.Add(tally)
	if !kept {
		w.broken++
		say("simulation: seed %d is BROKEN", own)
	}
	if time.Since(w.told) >= time.Minute {
		w.told = time.Now()
		say("simulation: %d of %d worlds, %d broken: %s", w.played, *seeds, w.broken, w.sum)
		// A run that is ended early has told what it has seen.
		figures.add(t, w.scenario())
	}
}

func (w *worlds) scenario() scenario {
	return scenario{
		Name: "simulation", Store: sqliteStore, Seed: *seed,
		Length: fmt.Sprintf("%s worlds in fake time, in %s", grouped(w.played), time.Since(w.began).Round(time.Second)),
		Figures: []figure{
			number("random worlds, each of a seed from the first on", "", w.played, true),
			number("worlds in which a promise was broken", "0", w.broken, w.broken == 0),
			number("nodes killed in them", "", w.sum.Crashes, true),
			number("events acknowledged or refused, of how many deliveries", "", w.sum.Published, true).and("%s", grouped(w.sum.Deliveries)),
			number("attempts, of them interrupted", "", w.sum.Attempts, true).and("%s", grouped(w.sum.Interrupted)),
		},
	}
}
