//go:build unix

// Package chaos_test breaks real processes and the servers under them, round after round, by faults drawn from a seed, and lets a
// ledger decide: every acknowledgement that a producer read and every request that a receiver got were on disk before anybody
// went on, and at the end internal/ledger holds both against the store's rows. `make test` runs a short form of each
// scenario, `make chaos` the long one, which writes docs/reliability.md. What single faults must look like in detail is left
// to internal/clustertest, crashes in fake time to the simulations.
package chaos_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/clustertest"
)

var (
	// rounds is the number of kills over each store; the other scenarios have lengths of their own.
	rounds  = flag.Int("chaos.rounds", 0, "rounds of kills over each store (default: the short form)")
	seed    = flag.Uint64("chaos.seed", uint64(time.Now().UnixNano()%1e9), "seed of the first round; each round has the next")
	minutes = flag.Float64("chaos.minutes", 0, "length of the soak")
	rate    = flag.Int("chaos.rate", 0, "events a second of the soak over each store (default: half of what a store delivers beside the other)")
	seeds   = flag.Uint64("chaos.seeds", 0, "worlds to simulate, from the first seed on")
	long    = flag.Bool("chaos.long", false, "the long form of every scenario")
	calm    = flag.Int("chaos.calm", 0, "deliveries without a fault")
	results = flag.String("chaos.json", "", "file of the figures, which each scenario brings up to date when it ends")
)

// binary is the service under test, built once; figures are where it notes what it finds.
var (
	binary  string
	figures notebook
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	built, clean, err := clustertest.Build()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer clean()
	// What was built is what is reported, whatever the tree becomes meanwhile.
	binary, figures = built, notebook{version(), *results}
	return m.Run()
}

// dice are the random choices of a seed.
func dice(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// say prints at once: a run of an hour is watched.
func say(format string, args ...any) {
	fmt.Printf("%s "+format+"\n", append([]any{time.Now().UTC().Format("15:04:05")}, args...)...)
}

// after lets things go on for a while.
func after(d time.Duration) { <-time.After(d) }
