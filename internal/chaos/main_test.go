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
	long    = flag.Bool("chaos.long", false, "the long form of every scenario")
	calm    = flag.Int("chaos.calm", 0, "deliveries without a fault")
	results = flag.String("chaos.json", "", "file of the figures, which a run of some scenarios brings up to date")
)

// binary is the service under test, built once; figures are what this run has found.
var (
	binary  string
	figures = new(report)
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
	binary, figures.version = built, version()
	code := m.Run()
	if *results != "" {
		if err := figures.save(*results); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// dice are the random choices of a seed.
func dice(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// say prints at once: a run of an hour is watched.
func say(format string, args ...any) {
	fmt.Printf("%s "+format+"\n", append([]any{time.Now().UTC().Format("15:04:05")}, args...)...)
}

// after lets things go on for a while.
func after(d time.Duration) { <-time.After(d) }
