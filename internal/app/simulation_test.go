package app_test

import (
	"flag"
	"fmt"
	"testing"

	"github.com/posthorn/posthorn/internal/simtest"
)

var (
	oneSeed = flag.Uint64("seed", 0, "play the simulation of this seed alone")
	seeds   = flag.Uint64("seeds", ordinarySeeds, "how many seeds to simulate")
	from    = flag.Uint64("from", 1, "the first seed")
)

// TestSimulation plays random worlds. One that fails says its seed: -run Simulation -seed N plays it again.
func TestSimulation(t *testing.T) {
	first, last := *from, *from+*seeds
	if *oneSeed != 0 {
		first, last = *oneSeed, *oneSeed+1
	}
	var sum simtest.Tally
	for seed := first; seed < last; seed++ {
		t.Run(fmt.Sprintf("Seed%d", seed), func(t *testing.T) { sum.Add(simtest.Play(t, seed)) })
	}
	t.Logf("%d worlds: %s", last-first, sum)
}
