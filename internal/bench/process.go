package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// benchKey is the API key of a server that the bench starts: it listens on loopback and ends with the run.
const benchKey = "phk_bench00000000000000000000000000000000"

// server is the process under test.
type server struct {
	url, key string
	process  process
	cmd      *exec.Cmd
	dir      string
	args     []string
}

// process is one whose cost is reported.
type process struct {
	name string
	pid  int
}

// serverFor starts a server over a fresh data directory, or targets the one that runs.
func serverFor(ctx context.Context, o Options) (*server, error) {
	if o.Target != "" {
		return &server{url: strings.TrimSuffix(o.Target, "/"), key: o.Key}, nil
	}
	return start(ctx, o, "serve", "--dev", "--port", "0")
}

// start runs the binary over a fresh data directory.
func start(ctx context.Context, o Options, args ...string) (*server, error) {
	dir, err := os.MkdirTemp("", "posthorn-bench-")
	if err != nil {
		return nil, err
	}
	s, err := launch(ctx, o, dir, args)
	if err != nil {
		_ = os.RemoveAll(dir)
	}
	return s, err
}

// launch runs the binary and waits until it says where it listens.
func launch(ctx context.Context, o Options, dir string, args []string) (*server, error) {
	cmd := exec.CommandContext(ctx, o.Binary, args...)
	cmd.Env = append(os.Environ(), "POSTHORN_DATA_DIR="+dir, "POSTHORN_API_KEY="+benchKey, "POSTHORN_LOG_LEVEL=error")
	cmd.Env = append(cmd.Env, o.Env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{key: benchKey, cmd: cmd, dir: dir, args: args, process: process{"posthorn", cmd.Process.Pid}}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			s.url = url
			go func() {
				for lines.Scan() {
					continue
				}
			}()
			return s, nil
		}
	}
	s.halt()
	return nil, errors.New("the server ended before it listened")
}

// restart starts a server again over what it has stored and tells how long that took until it was ready.
func (s *server) restart(ctx context.Context, o Options) (time.Duration, error) {
	s.halt()
	began := time.Now()
	again, err := launch(ctx, o, s.dir, s.args)
	if err != nil {
		return 0, err
	}
	*s = *again
	for time.Since(began) < 30*time.Second {
		resp, err := http.Get(s.url + "/health/ready")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return time.Since(began), nil
			}
		}
		time.Sleep(time.Millisecond)
	}
	return 0, errors.New("the server was not ready within 30 s of its start")
}

func (s *server) stop() {
	if s.cmd != nil {
		s.halt()
		_ = os.RemoveAll(s.dir)
	}
}

func (s *server) halt() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(35*time.Second, func() { _ = s.cmd.Process.Kill() })
	_ = s.cmd.Wait()
	kill.Stop()
}

func watched(pids map[string]int) []process {
	var list []process
	for name, pid := range pids {
		list = append(list, process{name, pid})
	}
	slices.SortFunc(list, func(a, b process) int { return strings.Compare(a.name, b.name) })
	return list
}

// cost is what a process and its children have used; resident is the process's own.
type cost struct {
	cpu      time.Duration
	resident int64
}

func (c cost) megabytes() float64 { return float64(c.resident) / (1 << 20) }

func costs(list []process) []cost {
	all := make([]cost, len(list))
	for i, p := range list {
		all[i] = costOf(p.pid)
	}
	return all
}

// costOf sums a process and its living and ended children, as PostgreSQL has one for each connection (Linux only).
func costOf(pid int) cost {
	c := statOf(pid, true)
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return c
	}
	for field := range strings.FieldsSeq(string(children)) {
		if child, err := strconv.Atoi(field); err == nil {
			c.cpu += statOf(child, false).cpu
		}
	}
	return c
}

// statOf reads /proc/PID/stat: fields 14 to 17 are the times in ticks, of which Linux has 100 a second; 24 is the resident
// set in pages.
func statOf(pid int, withEnded bool) cost {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return cost{}
	}
	_, after, _ := bytes.Cut(text, []byte(") "))
	fields := strings.Fields(string(after))
	if len(fields) < 22 {
		return cost{}
	}
	field := func(n int) int64 { v, _ := strconv.ParseInt(fields[n-3], 10, 64); return v }
	ticks := field(14) + field(15)
	if withEnded {
		ticks += field(16) + field(17)
	}
	return cost{cpu: time.Duration(ticks) * 10 * time.Millisecond, resident: field(24) * int64(os.Getpagesize())}
}
