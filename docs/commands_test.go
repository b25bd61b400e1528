package docs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/posthorn/posthorn/internal/client/clienttest"
)

// notExecuted are the shell blocks that no test runs as they stand, by their document and first line, and why. Their syntax
// is checked, and every command of posthorn, target of make and script in them exists.
var notExecuted = map[string]string{
	"README.md: make demo":                      "builds the dashboard and serves until it is stopped; cmd/posthorn's TestDemo runs the command behind it",
	"README.md: make run":                       "builds the dashboard and serves until it is stopped; the tutorial's node is started by the test",
	"README.md: openssl rand -base64 32":        "needs a PostgreSQL and a Redis of the reader's own; internal/clustertest runs such a cluster",
	"CONTRIBUTING.md: scripts/with-services":    "runs the tests themselves",
	"docs/verifying-signatures.md: key=":        "run by TestShellSampleVerifies with deliveries of its own",
	"docs/operations.md: posthorn serve":        "serves until it is stopped; the tests' nodes are started so",
	"docs/operations.md: export DATABASE_URL":   "needs a PostgreSQL and a Redis of the reader's own; internal/clustertest runs such a cluster",
	"docs/operations.md: posthorn restore":      "needs the service to be stopped; internal/clustertest does it",
	"docs/operations.md: systemctl stop":        "needs the systemd unit; internal/sqlite tests who owns the files afterwards",
	"docs/operations.md: posthorn move":         "needs a PostgreSQL of the reader's own; internal/clustertest does it",
	"docs/api-by-example.md: posthorn serve":    "serves until it is stopped; the test starts it",
	"docs/api-by-example.md: export POSTHORN_U": "says where the server is, which the test does",
	"docs/reliability.md: make chaos":           "takes two hours; internal/chaos runs short rounds of its scenarios among the tests",
	"docs/performance.md: make bench":           "takes minutes of a quiet machine; cmd/posthorn runs a brief one among its tests",
	"docs/reliability.md: POSTHORN_FAILPOINTS=": "breaks the node on purpose; the chaos scenarios start nodes so",
	"docs/concepts.md: posthorn listen":         "forwards until it is stopped; cmd/posthorn tests it over restarts of both sides",
}

// TestShellBlocks keeps every command in a document executed by a test, or on the list above with the reason.
func TestShellBlocks(t *testing.T) {
	used := map[string]bool{}
	for _, path := range documents(t) {
		for _, b := range blocks(t, path) {
			if b.info != "sh" && b.info != "sh run" {
				continue
			}
			cmd := exec.CommandContext(t.Context(), "bash", "-n")
			cmd.Stdin = strings.NewReader(b.text)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s:%d is no shell: %v\n%s", path, b.line, err, out)
			}
			if b.info == "sh" {
				key, ok := excuse(path, b.text)
				if !ok {
					t.Errorf("%s:%d is neither executed (mark it \"sh run\") nor on the list of those that cannot be", path, b.line)
				}
				used[key] = true
			}
		}
	}
	for key := range notExecuted {
		if !used[key] {
			t.Errorf("%q is on the list and in no document", key)
		}
	}
}

func excuse(path, text string) (string, bool) {
	for key := range notExecuted {
		if place, beginning, _ := strings.Cut(key, ": "); place == path && strings.HasPrefix(strings.TrimSpace(text), beginning) {
			return key, true
		}
	}
	return "", false
}

var (
	// invocation finds the program at the place of a command, with the words up to the command's end.
	invocation = regexp.MustCompile("(?m)(?:^|[|;&(`]|=\\S* )[ \t]*((?:[A-Z_]+=\\S+ )*posthorn (?:[^|;&)`#<>\n'\"\\\\]|\\\\\\||'[^']*'|\"[^\"]*\")+)")
	continued  = regexp.MustCompile(`\\\n\s*`)
	makes      = regexp.MustCompile("(?m)(?:^|[`;&] ?)make ([a-z][a-z-]*)")
	scripts    = regexp.MustCompile("(?m)(?:^|[`;& ])(scripts/[a-z.-]+)")
)

// TestCommandLinesParse runs every command line of posthorn that a document shows through the program's own parser, in
// blocks and in sentences: each command, flag and kind of value exists.
func TestCommandLinesParse(t *testing.T) {
	places := map[string]string{}
	for _, path := range documents(t) {
		text := continued.ReplaceAllString(read(t, path), " ")
		for _, m := range invocation.FindAllStringSubmatch(text, -1) {
			_, line, _ := strings.Cut(m[1], "posthorn ")
			for _, one := range alternatives(strings.TrimSpace(line)) {
				places[one] = path
			}
		}
	}
	if len(places) < 40 {
		t.Fatalf("only %d command lines were found", len(places))
	}
	program := binary.Path(t)
	var checking sync.WaitGroup
	turn := make(chan struct{}, runtime.NumCPU())
	for line, path := range places {
		checking.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			words, err := split(line)
			if err != nil {
				t.Errorf("%s: posthorn %s: %v", path, line, err)
				return
			}
			cmd := exec.CommandContext(t.Context(), program, append(words, "--help")...)
			cmd.Env = clienttest.Environment(t.TempDir())
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: posthorn %s: %v\n%s", path, line, err, lastLine(out))
			}
		})
	}
	checking.Wait()
	t.Logf("%d command lines", len(places))
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// alternatives spells out "keys create\|list", as tables write it.
func alternatives(line string) []string {
	words := strings.Fields(line)
	for i, word := range words {
		if !strings.Contains(word, `\|`) {
			continue
		}
		var all []string
		for one := range strings.SplitSeq(word, `\|`) {
			all = append(all, strings.Join(slices.Concat(words[:i], []string{one}, words[i+1:]), " "))
		}
		return all
	}
	return []string{line}
}

// split makes words of a line as a shell would; what a reader fills in gets a value of its kind.
func split(line string) ([]string, error) {
	const word = "0000000000000000000000000a"
	line = regexp.MustCompile(`\b(evt|sub|dlv|key|rpl|src|tnt)_…`).ReplaceAllString(line, "${1}_"+word[:26])
	line = strings.NewReplacer("…", "", "<", "", ">", "", "[", "", "]", "").Replace(line)
	var words []string
	for _, m := range regexp.MustCompile(`(?:[^\s'"]|'[^']*'|"[^"]*")+`).FindAllString(line, -1) {
		if strings.Count(m, "'")%2 != 0 && !strings.Contains(m, `"`) {
			return nil, fmt.Errorf("a quote is not closed in %s", m)
		}
		words = append(words, strings.NewReplacer("'", "", `"`, "").Replace(m))
	}
	return words, nil
}

// TestTargetsExist finds a target of make or a script that a document names and nobody has.
func TestTargetsExist(t *testing.T) {
	makefile := read(t, "Makefile")
	for _, path := range documents(t) {
		text := read(t, path)
		for _, m := range makes.FindAllStringSubmatch(text, -1) {
			if !regexp.MustCompile(`(?m)^` + m[1] + `:`).MatchString(makefile) {
				t.Errorf("%s names make %s, which is no target", path, m[1])
			}
		}
		for _, m := range scripts.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s names %s: %v", path, m[1], err)
			}
		}
	}
}
