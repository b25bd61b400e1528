//go:build unix

package chaos_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// report is docs/reliability.json: of each scenario over each store the latest run.
type report struct {
	Scenarios []scenario `json:"scenarios"`
}

// notebook is where this process notes what it finds: the version is that of the binary, the file that of the figures, or "".
type notebook struct{ version, file string }

// scenario is one run with what was found.
type scenario struct {
	Name    string   `json:"scenario"`
	Store   string   `json:"store,omitempty"`
	Seed    uint64   `json:"seed"`
	Length  string   `json:"length"`
	Version string   `json:"version"`
	Servers string   `json:"servers"`
	Machine string   `json:"machine"`
	Date    string   `json:"date"`
	Figures []figure `json:"figures"`
}

// figure is one thing measured, and what it must be.
type figure struct {
	What  string `json:"what"`
	Value string `json:"value"`
	Goal  string `json:"goal,omitempty"`
	Kept  bool   `json:"kept"`
}

func number(what, goal string, n int, kept bool) figure { return figure{what, grouped(n), goal, kept} }

func length(what, goal string, d time.Duration, kept bool) figure {
	return figure{what, short(d), goal, kept}
}

// prompt is a time that was promised. On a machine of its own, as make chaos wants one, it is judged by what was promised; beside
// other tests a process may not run for as long as that, and five times as much is let pass.
func prompt(what string, promised, took time.Duration) figure {
	if !*long {
		promised *= 5
	}
	return length(what, fmt.Sprintf("%g s", promised.Seconds()), took, took <= promised)
}

// and adds to the value.
func (f figure) and(format string, args ...any) figure {
	f.Value += ", " + fmt.Sprintf(format, args...)
	return f
}

func short(d time.Duration) string {
	if d >= 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// grouped writes 1234567 as 1,234,567.
func grouped(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// add prints a scenario and saves it. A figure that is not kept fails the test.
func (r *notebook) add(t testing.TB, s scenario) {
	t.Helper()
	s.Version, s.Servers, s.Machine = r.version, servers(), machine()
	s.Date = time.Now().UTC().Format(time.DateOnly)
	for _, f := range s.Figures {
		mark := "  "
		if !f.Kept {
			mark = "✗ "
			t.Errorf("%s %s: %s: %s%s", s.Name, s.Store, f.What, f.Value, goal(f))
		}
		say("%s %s: %s%s: %s%s", s.Name, s.Store, mark, f.What, f.Value, goal(f))
	}
	if r.file == "" {
		return
	}
	if err := save(r.file, s); err != nil {
		say("%s is not saved: %v", s.Name, err)
	}
}

func goal(f figure) string {
	if f.Goal == "" {
		return ""
	}
	return " (want " + f.Goal + ")"
}

func (r *report) put(s scenario) {
	r.Scenarios = slices.DeleteFunc(r.Scenarios, func(o scenario) bool { return o.Name == s.Name && o.Store == s.Store })
	r.Scenarios = append(r.Scenarios, s)
}

// save brings the file up to date by one scenario. Runs at the same time take turns.
func save(path string, s scenario) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	all := new(report)
	if err := json.NewDecoder(f).Decode(all); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	all.put(s)
	slices.SortStableFunc(all.Scenarios, func(a, b scenario) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Name), slices.Index(order, b.Name)), -cmp.Compare(a.Store, b.Store))
	})
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(append(text, '\n'), 0)
	return err
}

func version() string {
	out, err := exec.Command("git", "describe", "--tags", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// servers are the versions of what a node ran over.
func servers() string {
	list := []string{runtime.Version()}
	for _, program := range []string{"postgres", "redis-server"} {
		path := program
		if bin := os.Getenv("PG_BINDIR"); program == "postgres" && bin != "" {
			path = bin + "/postgres"
		}
		if out, err := exec.Command(path, "--version").Output(); err == nil {
			fields := strings.Fields(string(out))
			list = append(list, strings.Join(fields[:min(3, len(fields))], " "))
		}
	}
	return strings.Join(list, ", ")
}

func machine() string {
	return fmt.Sprintf("%d cores, %s/%s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
}

// order is that of the document.
var order = []string{"kill", "first start", "upgrade", "stop", "rolling restarts", "outage", "proxy", "redis", "disk full", "read-only", "freeze", "lease", "shared lease", "clock", "names", "slow names", "rebinding names", "receivers", "black hole", "calm", "simulation", "soak"}
