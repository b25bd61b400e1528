// Package clienttest runs the real program for the tests of what talks to it: the binary is built once in a test process
// and serves over a directory of its own, on a free port of loopback. What is asked of it is the tests' business.
package clienttest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Key is the API key of every node started here.
const Key = "phk_clienttest000000000000000000000000000"

// patience bounds the wait for a process to start or to stop.
const patience = 60 * time.Second

// Binary is the program, built in a directory of the test process that TestMain removes with Clean.
type Binary struct {
	once sync.Once
	dir  string
	path string
	err  error
}

// Path builds the program at the first call and is where it lies.
func (b *Binary) Path(t testing.TB) string {
	t.Helper()
	b.once.Do(b.build)
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.path
}

func (b *Binary) build() {
	if b.dir, b.err = os.MkdirTemp("", "posthorn-binary-"); b.err != nil {
		return
	}
	b.path = filepath.Join(b.dir, "posthorn")
	cmd := exec.Command("go", "build", "-o", b.path, "github.com/posthorn/posthorn/cmd/posthorn")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.err = fmt.Errorf("go build: %w\n%s", err, out)
	}
}

// Clean removes what was built.
func (b *Binary) Clean() {
	if b.dir != "" {
		_ = os.RemoveAll(b.dir)
	}
}

// Environment is what a process started by a test sees: none of the machine's own settings, and what is given as NAME=value.
func Environment(dir string, more ...string) []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "POSTHORN_DATA_DIR=" + filepath.Join(dir, "data")}
	return append(env, more...)
}

// Node is a running `posthorn serve --dev`. It is stopped at the end of the test.
type Node struct {
	t      testing.TB
	binary string
	dir    string
	env    []string
	cmd    *exec.Cmd
	ended  chan struct{}
	log    *safeBuffer

	// URL is where it listens: the same after a Restart.
	URL string
}

// Start runs a node; env are settings as NAME=value.
func (b *Binary) Start(t testing.TB, env ...string) *Node {
	t.Helper()
	n := &Node{t: t, binary: b.Path(t), dir: t.TempDir(), env: env}
	n.start("0")
	t.Cleanup(func() {
		n.Stop()
		if t.Failed() {
			t.Logf("the node's log:\n%s", n.log)
		}
	})
	return n
}

// start runs the process and waits until it says where it listens.
func (n *Node) start(port string) {
	n.t.Helper()
	n.cmd = exec.CommandContext(context.WithoutCancel(n.t.Context()), n.binary, "serve", "--dev")
	n.cmd.Env = append(Environment(n.dir, "PORT="+port, "POSTHORN_API_KEY="+Key), n.env...)
	n.log = new(safeBuffer)
	n.cmd.Stderr = n.log
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.ended = make(chan struct{})
	listening := make(chan string, 1)
	go func(cmd *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if url, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
				listening <- url
			}
		}
		_ = cmd.Wait()
	}(n.cmd, n.ended)
	select {
	case n.URL = <-listening:
	case <-n.ended:
		n.t.Fatalf("the node ended before it listened:\n%s", n.log)
	case <-time.After(patience):
		n.Stop()
		n.t.Fatalf("the node does not listen:\n%s", n.log)
	}
}

// Stop ends the node as a platform would, and waits for it.
func (n *Node) Stop() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.ended:
	case <-time.After(patience):
		_ = n.cmd.Process.Kill()
		<-n.ended
	}
	n.cmd = nil
}

// Log is what it has logged so far.
func (n *Node) Log() string { return n.log.String() }

// Signal sends it a signal.
func (n *Node) Signal(s syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Fatal(err)
	}
}

// Port is the port it listens on.
func (n *Node) Port() string {
	n.t.Helper()
	u, err := url.Parse(n.URL)
	if err != nil {
		n.t.Fatal(err)
	}
	return u.Port()
}

// Data is the directory of its store.
func (n *Node) Data() string { return filepath.Join(n.dir, "data") }

// Restart starts the node again after a Stop, over the same store and on the same port.
func (n *Node) Restart() {
	n.t.Helper()
	n.start(n.Port())
}

// safeBuffer is a buffer that is read while a process writes it.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
