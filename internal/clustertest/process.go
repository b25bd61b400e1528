//go:build unix

// Package clustertest starts the real binary and the real servers around it as processes that a test may kill, freeze and
// start again. Its tests run a cluster under load and look at it from outside, as a producer, a subscriber and an operator
// see it; at the end the store's rows are compared with what the subscribers got (audit_test.go). It leaves what a store
// must do to internal/storetest, the engine in fake time to internal/delivery, and long runs of random faults to
// internal/chaos. Imported by tests only.
package clustertest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is one program that a test has started, and the only kind of thing that it sends signals to.
type Process struct {
	T    testing.TB
	Name string
	// Quiet keeps its log out of a failed test: it ended as it was meant to.
	Quiet bool
	cmd   *exec.Cmd
	// log is the file with its standard error.
	log   string
	ended chan struct{}
	// err is Wait's, once ended is closed.
	err error
}

// Build builds the service into a directory of its own, which clean removes.
func Build() (binary string, clean func(), err error) {
	directory, err := os.MkdirTemp("", "posthorn-built-")
	if err != nil {
		return "", nil, err
	}
	clean = func() { _ = os.RemoveAll(directory) }
	binary = filepath.Join(directory, "posthorn")
	build := exec.Command("go", "build", "-o", binary, "github.com/posthorn/posthorn/cmd/posthorn")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		clean()
		return "", nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, clean, nil
}

// Start runs a command. It ends with the test, or with the test's process however that ends; where the test has failed
// the last lines of its log are shown.
func Start(t testing.TB, name string, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{T: t, Name: name, cmd: cmd, log: filepath.Join(t.TempDir(), name+".log"), ended: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	endWithParent(cmd.SysProcAttr)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.Kill()
		if said := p.LastLines(25); t.Failed() && !p.Quiet && len(said) > 0 {
			t.Logf("the end of %s's log:\n%s", name, said)
		}
	})
	return p
}

// Signal sends a signal, and when that was.
func (p *Process) Signal(s syscall.Signal) time.Time {
	p.T.Helper()
	at := time.Now()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.T.Fatalf("%s to %s: %v", s, p.Name, err)
	}
	return at
}

// Kill ends it as kill -9 does and waits until it is gone; it says when the signal was sent.
func (p *Process) Kill() time.Time {
	p.T.Helper()
	at := p.Signal(syscall.SIGKILL)
	<-p.ended
	return at
}

// Wait waits for it to end by itself.
func (p *Process) Wait(within time.Duration) error {
	p.T.Helper()
	select {
	case <-p.ended:
		return p.err
	case <-time.After(within):
		p.T.Fatalf("%s did not end within %s", p.Name, within)
		return nil
	}
}

func (p *Process) Running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Ended is closed when it has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// PID is its process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Lines are those of its log that contain a text.
func (p *Process) Lines(containing string) []string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		p.T.Error(err)
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, containing) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

func (p *Process) LastLines(n int) []byte {
	text, _ := os.ReadFile(p.log)
	lines := bytes.SplitAfter(text, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-n):], nil)
}

// Eventually waits for a condition and says how long that took.
func Eventually(t testing.TB, within time.Duration, what string, condition func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Since(began) > within {
			t.Fatalf("not within %s: %s", within, what)
		}
		<-tick.C
	}
	return time.Since(began)
}
