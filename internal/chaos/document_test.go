//go:build unix

package chaos_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/posthorn/posthorn/internal/failpoint"
)

var update = flag.Bool("update", false, "write docs/reliability.md again")

const (
	documentJSON = "../../docs/reliability.json"
	document     = "../../docs/reliability.md"
)

const introduction = `# Reliability

Posthorn ships the crash test that these figures come from: anybody can run it, and every one of them is judged by a ledger, not by
an eye. This page is written from docs/reliability.json, which ` + "`make chaos`" + ` brings up to date.

` + "```sh" + `
make chaos                                          # everything but the soak, about two hours
make chaos CHAOS_SCENARIO=kill CHAOS_ROUNDS=1000    # one scenario
make chaos CHAOS_SCENARIO=kill CHAOS_ROUNDS=1 CHAOS_SEED=4711   # one round again, by its seed
make chaos CHAOS_SCENARIO=simulation CHAOS_SEED=1   # 10,000 random worlds in fake time, from this seed on
make soak CHAOS_MINUTES=60                          # half load, with a fault every minute
` + "```" + `

## How it works

A producer publishes numbered events under idempotency keys, each again until it is acknowledged, and writes every
acknowledgement to disk before it goes on. Receivers write every request to disk before they answer. Meanwhile the real binary, or
the PostgreSQL, the Redis, the disk or the network under it, is broken. At the end ` + "`internal/ledger`" + ` holds acknowledgements and
requests against the store's rows: nothing acknowledged may be lost, changed, unsigned or stuck, nothing delivered that was not published,
attempts are numbered without gaps, lanes keep their order, and what was delivered twice must have been in flight when its node
was hurt. Every round prints the seed that chose its faults, and its verdict; a figure that misses its goal fails the run.

A kill comes at each of the fail points below and at random: under load, while a node stops, opens its store or upgrades it from an older schema,
amid replays of one event and of many, amid bulk changes, and while the janitor of a store that is four days older takes away what is over, keeps what a
paused lane holds, and cancels what a deleted subscription left. From 300 rounds on, a point that no kill has reached fails the run. What a bulk replay made
must be what it counts, once. A million deliveries without a fault are held against the store's rows: of each event its deliveries, of each
delivery one attempt, and that a success.

A soak counts instead, as its rows are cleaned up meanwhile: every event must have been answered by each of its receivers as it was published, and
what was answered twice must have been in flight at a fault. In an hour the store's clock goes 24 days ahead, so that the usual retention of 72 hours has
to keep the store as small as it was after the first quarter.

### Fail points

A node in development (` + "`--dev`" + `) breaks itself where ` + "`POSTHORN_FAILPOINTS`" + ` says, and refuses to start with it otherwise:

` + "```sh" + `
POSTHORN_FAILPOINTS='record.before=kill@37' posthorn serve --dev      # SIGKILL before the 37th batch of results is recorded
POSTHORN_FAILPOINTS='request.before=delay(2s)@10-20; claim.after=stop@3; clock=step(-1h)~5s' posthorn serve --dev
` + "```" + `

What happens is ` + "`kill`, `stop` (SIGSTOP), `error`, `delay(200ms)`, `step(-1h)` of the store's clock or `answer(127.0.0.1)` for every name" + `;
` + "`@n`, `@n-m` and `@n-`" + ` say which times, ` + "`~d`" + ` that it comes that much later. Without fail points nothing of this is in the path of an event.

%s

## Figures

Each table names its build, a commit of this repository, and the day; what is newer is not in it. The tables of 28 and 29 November 2026 are of builds
before schemas 12 and 13 over PostgreSQL and 11 over SQLite. How to read them:

- **delivered twice, of interrupted attempts**: two numbers, how many requests came again after a 2xx, and how many attempts were interrupted. The first
  must be explained by the second, each by one of its own delivery (or by one that ran out of time).
- **flat**: what is there at the end is at most 1.25 times what was there after a quarter, and 32 MiB more (memory, the store's size) or 100 more
  (goroutines, open files, connections). The slope is shown and not judged.

`

// TestDocument compares docs/reliability.md with docs/reliability.json.
func TestDocument(t *testing.T) {
	f, err := os.Open(documentJSON)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// Other runs may bring the figures up to date meanwhile, and this document too.
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.NewDecoder(f).Decode(&r); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(introduction, pointsTable()) + r.markdown()
	if *update {
		if err := os.WriteFile(document, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if is, err := os.ReadFile(document); err != nil || string(is) != want {
		t.Errorf("docs/reliability.md is not what docs/reliability.json says (%v): run go test ./internal/chaos -run TestDocument -update", err)
	}
}

func (r *report) markdown() string {
	var b strings.Builder
	for _, s := range r.Scenarios {
		title := s.Name
		if s.Store != "" {
			title += " over " + s.Store
		}
		fmt.Fprintf(&b, "### %s\n\n%s, seed %d. Posthorn %s, %s, %s, %s.\n\n| figure | measured | goal | |\n|---|---|---|---|\n",
			strings.ToUpper(title[:1])+title[1:], s.Length, s.Seed, s.Version, s.Servers, s.Machine, s.Date)
		for _, f := range s.Figures {
			mark := ""
			switch {
			case !f.Kept:
				mark = "✗"
			case f.Goal != "":
				mark = "✓"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", f.What, f.Value, f.Goal, mark)
		}
		b.WriteString("\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// pointsTable lists the fail points.
func pointsTable() string {
	names := make([]string, len(failpoint.All))
	for i, p := range failpoint.All {
		names[i] = "`" + string(p) + "`"
	}
	return "The points: " + strings.Join(names, ", ") + "."
}
