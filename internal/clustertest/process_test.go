package clustertest_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is one program that a test has started, and the only kind of thing that it sends signals to.
type process struct {
	t    testing.TB
	name string
	cmd  *exec.Cmd
	// log is the file with its standard error.
	log   string
	ended chan struct{}
	// err is Wait's, once ended is closed.
	err error
}

// start runs a command. It ends with the test, or with the test's process however that ends; where the test has failed
// the last lines of its log are shown.
func start(t testing.TB, name string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, name: name, cmd: cmd, log: filepath.Join(t.TempDir(), name+".log"), ended: make(chan struct{})}
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
		p.kill()
		if t.Failed() {
			t.Logf("the end of %s's log:\n%s", name, p.lastLines(25))
		}
	})
	return p
}

// signal sends a signal, and when that was.
func (p *process) signal(s syscall.Signal) time.Time {
	p.t.Helper()
	at := time.Now()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("%s to %s: %v", s, p.name, err)
	}
	return at
}

// kill ends it as kill -9 does and waits until it is gone; it says when the signal was sent.
func (p *process) kill() time.Time {
	p.t.Helper()
	at := p.signal(syscall.SIGKILL)
	<-p.ended
	return at
}

// wait waits for it to end by itself.
func (p *process) wait(within time.Duration) error {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.err
	case <-time.After(within):
		p.t.Fatalf("%s did not end within %s", p.name, within)
		return nil
	}
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// lines are those of its log that contain a text.
func (p *process) lines(containing string) []string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Error(err)
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, containing) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

func (p *process) lastLines(n int) []byte {
	text, _ := os.ReadFile(p.log)
	lines := bytes.SplitAfter(text, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-n):], nil)
}

// eventually waits for a condition and says how long that took.
func eventually(t testing.TB, within time.Duration, what string, condition func() bool) time.Duration {
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

// after lets the load go on for a while.
func after(d time.Duration) { <-time.After(d) }
