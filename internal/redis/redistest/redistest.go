// Package redistest gives tests a real Redis: the one that `make test` started, or a private one that the test may stop,
// freeze and start again. Imported by tests only.
package redistest

import (
	"context"
	"crypto/rand"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/redis"
)

// URL is where the shared Redis of this test run is. Without one the test fails: it is never skipped.
func URL(t testing.TB) string {
	t.Helper()
	url := os.Getenv("TEST_REDIS_URL")
	if url == "" {
		t.Fatal("TEST_REDIS_URL is not set: `make test` starts a Redis and sets it")
	}
	return url
}

// Prefix is unlike any other, so that tests share a server and no keys.
func Prefix() string { return "test-" + rand.Text() }

// Connect makes a Client that is up, and closes it when the test ends.
func Connect(t testing.TB, o redis.Options) *redis.Client {
	t.Helper()
	c, err := redis.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := c.Await(ctx); err != nil {
		t.Fatalf("connect to Redis: %v; %s", err, c.State().LastError)
	}
	return c
}

// Eventually waits up to 10 seconds for a condition.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

// Server is a private Redis on a free port of 127.0.0.1.
type Server struct {
	t       testing.TB
	address string
	args    []string
	process *os.Process
}

// Start starts a private Redis that keeps nothing on disk, with further arguments, and ends it when the test ends.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, address: listener.Addr().String(), args: args}
	listener.Close()
	t.Cleanup(s.Stop)
	s.Start()
	return s
}

// StartSentinel starts a Sentinel that watches a server under a name.
func StartSentinel(t testing.TB, name string, primary *Server) *Server {
	t.Helper()
	host, port, _ := net.SplitHostPort(primary.address)
	config := filepath.Join(t.TempDir(), "sentinel.conf")
	if err := os.WriteFile(config, []byte("sentinel monitor "+name+" "+host+" "+port+" 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Start(t, config, "--sentinel")
}

// URL of the server.
func (s *Server) URL() string { return "redis://" + s.address }

// Address of the server, host and port.
func (s *Server) Address() string { return s.address }

// Start starts it again, empty, on the same port, and returns when it accepts connections.
func (s *Server) Start() {
	s.t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		s.t.Fatal("redis-server is not installed: `make test` installs it")
	}
	_, port, _ := net.SplitHostPort(s.address)
	directory := s.t.TempDir()
	log := filepath.Join(directory, "log")
	arguments := slices.Clone(s.args) // a file of settings must come first
	arguments = append(arguments, "--port", port, "--bind", "127.0.0.1", "--dir", directory, "--logfile", log)
	if !slices.Contains(s.args, "--sentinel") {
		arguments = append(arguments, "--save", "", "--appendonly", "no")
	}
	command := exec.Command(binary, arguments...)
	if err := command.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.process = command.Process
	Eventually(s.t, "a private Redis accepts connections", func() bool {
		conn, err := net.DialTimeout("tcp", s.address, time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// Stop kills it; what it held is gone.
func (s *Server) Stop() {
	if s.process == nil {
		return
	}
	s.process.Kill()
	s.process.Wait()
	s.process = nil
}

// Freeze lets it hang: connections stay open and nothing is answered, until Thaw.
func (s *Server) Freeze() { s.process.Signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (s *Server) Thaw() { s.process.Signal(syscall.SIGCONT) }
