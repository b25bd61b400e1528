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
	var sum simtest.Tally
	var broken []uint64
	began := time.Now()
	told := began
	for n := range *seeds {
		own := *seed + n
		if !t.Run(fmt.Sprintf("Seed%d", own), func(t *testing.T) { sum.Add(simtest.Play(t, own)) }) {
			broken = append(broken, own)
			say("simulation: seed %d is BROKEN", own)
		}
		if time.Since(told) >= time.Minute {
			told = time.Now()
			say("simulation: %d of %d worlds, %d broken: %s", n+1, *seeds, len(broken), sum)
		}
	}
	figures.add(t, scenario{
		Name: "simulation", Store: sqliteStore, Seed: *seed,
		Length: fmt.Sprintf("%s worlds in fake time, in %s", grouped(int(*seeds)), time.Since(began).Round(time.Second)),
		Figures: []figure{
			number("random worlds, each of a seed from the first on", "", int(*seeds), true),
			number("worlds in which a promise was broken", "0", len(broken), len(broken) == 0),
			number("nodes killed in them", "", sum.Crashes, true),
			number("events acknowledged or refused, of how many deliveries", "", sum.Published, true).and("%s", grouped(sum.Deliveries)),
			number("attempts, of them interrupted", "", sum.Attempts, true).and("%s", grouped(sum.Interrupted)),
		},
	})
}
