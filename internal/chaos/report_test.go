//go:build unix

package chaos_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// report is docs/reliability.json: of each scenario over each store the latest run.
type report struct {
	mu sync.Mutex
	// version is that of the binary.
	version   string
	Scenarios []scenario `json:"scenarios"`
}

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

// add notes a scenario and prints it.
func (r *report) add(s scenario) {
	s.Version, s.Servers, s.Machine = r.version, servers(), machine()
	s.Date = time.Now().UTC().Format(time.DateOnly)
	for _, f := range s.Figures {
		mark := "  "
		if !f.Kept {
			mark = "✗ "
		}
		say("%s %s: %s%s: %s%s", s.Name, s.Store, mark, f.What, f.Value, goal(f))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(s)
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

// save brings the file up to date.
func (r *report) save(path string) error {
	old := new(report)
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, old)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.Scenarios {
		old.put(s)
	}
	slices.SortStableFunc(old.Scenarios, func(a, b scenario) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Name), slices.Index(order, b.Name)), -cmp.Compare(a.Store, b.Store))
	})
	if text, err = json.MarshalIndent(old, "", "  "); err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
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
var order = []string{"kill", "first start", "stop", "rolling restarts", "outage", "proxy", "redis", "disk full", "freeze", "lease", "clock", "names", "black hole", "calm", "soak"}
