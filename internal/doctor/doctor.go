// Package doctor looks at a machine and its settings as a node would find them, and says what to fix: the configuration, the
// clock, the data directory, the database, Redis, name resolution and the way out. It only looks: nothing is created,
// migrated or sent to a subscriber. How a running service is doing is GET /health's to say.
package doctor

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/config"
)

// Level is how bad a finding is.
type Level string

// The levels: warnings work, and will hurt some day; failures keep a node from starting or from keeping its promises.
const (
	OK      Level = "ok"
	Warning Level = "warn"
	Failure Level = "FAIL"
)

// Finding is what one look found. Fix says what to do, and is empty when there is nothing to do.
type Finding struct {
	Level Level  `json:"level"`
	About string `json:"about"`
	Text  string `json:"text"`
	Fix   string `json:"fix,omitempty"`
}

// Options of Examine. Settings must not be resolved yet.
type Options struct {
	Settings *config.Settings
	// Reach is a URL that is fetched through the egress policy: the way out, and a second opinion about the time.
	Reach string
}

// lookTime bounds one look.
const lookTime = 10 * time.Second

// Examine looks at everything and gives the findings in the order of the looks.
func Examine(ctx context.Context, o Options) []Finding {
	findings := examineSettings(o.Settings)
	looks := []func(context.Context, Options) []Finding{examineMachine, examineStore, examineRedis, examineNetwork}
	found := make([][]Finding, len(looks))
	var looking sync.WaitGroup
	for i, look := range looks {
		looking.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, lookTime)
			defer cancel()
			found[i] = look(ctx, o)
		})
	}
	looking.Wait()
	for _, f := range found {
		findings = append(findings, f...)
	}
	return findings
}

// Print writes the findings, and reports whether none is a failure.
func Print(out io.Writer, findings []Finding) bool {
	failures, warnings := 0, 0
	for _, f := range findings {
		fmt.Fprintf(out, "%-4s  %-14s %s\n", f.Level, f.About, f.Text)
		if f.Fix != "" {
			fmt.Fprintf(out, "      %-14s → %s\n", "", f.Fix)
		}
		switch f.Level {
		case Failure:
			failures++
		case Warning:
			warnings++
		}
	}
	fmt.Fprintf(out, "\n%d to fix, %d to look at\n", failures, warnings)
	return failures == 0
}

func fine(about, format string, args ...any) Finding {
	return Finding{Level: OK, About: about, Text: fmt.Sprintf(format, args...)}
}

func warn(about, text, fix string) Finding {
	return Finding{Level: Warning, About: about, Text: text, Fix: fix}
}

func fail(about, text, fix string) Finding {
	return Finding{Level: Failure, About: about, Text: text, Fix: fix}
}
