package clustertest_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/posthorn/posthorn/internal/clustertest"
)

// binary is the service under test, built once.
var binary string

// atOnce is how many tests run at the same time, whatever the machine: most of their time is waiting for leases to end.
const atOnce = "3"

func TestMain(m *testing.M) {
	if os.Getenv(collectorMark) != "" {
		os.Exit(collect())
	}
	flag.Parse()
	if err := flag.Set("test.parallel", atOnce); err != nil {
		panic(err)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	built, clean, err := clustertest.Build()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer clean()
	binary = built
	return m.Run()
}
