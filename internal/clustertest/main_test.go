// Package clustertest_test runs the real binary as a cluster: several processes over one real PostgreSQL and one real
// Redis, which are killed, frozen, stopped and started again under load. Everything is seen from outside, as a producer,
// a subscriber and an operator see it, and at the end the store's rows are compared with what the subscribers got
// (audit_test.go). It leaves what a store must do to internal/storetest and the engine in fake time to internal/delivery.
package clustertest_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
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
	directory, err := os.MkdirTemp("", "posthorn-cluster-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(directory)
	binary = filepath.Join(directory, "posthorn")
	build := exec.Command("go", "build", "-o", binary, "github.com/posthorn/posthorn/cmd/posthorn")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
