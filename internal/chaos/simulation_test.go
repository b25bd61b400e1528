//go:build unix

package chaos_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/simtest"
)

// TestSimulation plays many random worlds in fake time; internal/app plays a few of them with every run of the tests, and one again
// that failed here: go test ./internal/app -run Simulation -seed N.
func TestSimulation(t *testing.T) {
	if *seeds == 0 {
		t.Skip("internal/app plays a few worlds with every run of the tests")
	}
	w := worlds{began: time.Now()}
	told := w.began
	for range *seeds {
		own := *seed + uint64(w.played)
		if !t.Run(fmt.Sprintf("Seed%d", own), func(t *testing.T) { w.sum.Add(simtest.Play(t, own)) }) {
			w.broken++
			say("simulation: seed %d is BROKEN", own)
		}
		if w.played++; time.Since(told) >= time.Minute {
			told = time.Now()
			say("simulation: %d of %d worlds, %d broken: %s", w.played, *seeds, w.broken, w.sum)
			// A run that is ended early has told what it has seen.
			figures.add(t, w.scenario())
		}
	}
	figures.add(t, w.scenario())
}

// worlds are those of a run so far.
type worlds struct {
	began          time.Time
	sum            simtest.Tally
	played, broken int
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
