//go:build unix

package chaos_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/clustertest"
)

// key is the API key of every node.
const key = "phk_chaos00000000000000000000000000000000"

// patience bounds the wait for a process to start.
const patience = 60 * time.Second

// ports numbers the ports that this process has taken.
var ports atomic.Int64

// site is where a node runs: the same port and settings at each start.
type site struct {
	t    testing.TB
	port int
	env  []string
	// program comes before the binary, as prlimit does.
	program []string
	starts  int
}

// newSite takes a free port below those that the system hands out by itself, so that a node gets it again and again. While no node
// listens there, the port's other half says to other runs that it is taken.
func newSite(t testing.TB, env ...string) *site {
	t.Helper()
	for {
		port := 15000 + (os.Getpid()+int(ports.Add(1)))%5000
		held, err := net.ListenPacket("udp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		if l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			_ = l.Close()
			t.Cleanup(func() { _ = held.Close() })
			return &site{t: t, port: port, env: env}
		}
		_ = held.Close()
	}
}

func (s *site) url() string { return "http://127.0.0.1:" + strconv.Itoa(s.port) }

// node is one process of a site.
type node struct {
	*clustertest.Process
	site *site
	// up says after how long it listened; zero when it ended before.
	up time.Duration
	// listening is closed when it listens, or has ended.
	listening chan struct{}
}

// start starts a node with fail points armed.
func (s *site) start(points string, args ...string) *node {
	s.t.Helper()
	s.starts++
	line := append(append(append([]string{}, s.program...), binary, "serve", "--dev"), args...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), "HOST=127.0.0.1", "PORT=" + strconv.Itoa(s.port), "POSTHORN_API_KEY=" + key,
		"POSTHORN_LOG_LEVEL=warn", "POSTHORN_LOG_FORMAT=json", "POSTHORN_FAILPOINTS=" + points,
	}, s.env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	began := time.Now()
	n := &node{site: s, listening: make(chan struct{}), Process: clustertest.Start(s.t, fmt.Sprintf("node-%d-%d", s.port, s.starts), cmd)}
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "listening on ") {
				n.up = time.Since(began)
				close(n.listening)
				_, _ = io.Copy(io.Discard, out)
				return
			}
		}
		close(n.listening)
	}()
	return n
}

// await waits until the node listens.
func (n *node) await() *node {
	n.T.Helper()
	select {
	case <-n.listening:
	case <-time.After(patience):
	}
	if n.up == 0 {
		n.T.Fatalf("%s does not listen:\n%s", n.Name, n.LastLines(20))
	}
	return n
}

// stop ends the node as an operator does.
func (n *node) stop() {
	n.T.Helper()
	n.Signal(syscall.SIGTERM)
	if err := n.Wait(stopWithin + time.Second); err != nil {
		n.T.Errorf("SIGTERM ended %s with %v", n.Name, err)
	}
}

// fired says at which fail point the node killed or froze itself, or "".
func (n *node) fired() string {
	if lines := n.Lines("fail point "); len(lines) > 0 {
		return strings.TrimPrefix(lines[0], "fail point ")
	}
	return ""
}
