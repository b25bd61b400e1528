package docs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/client/clienttest"
)

// block is a piece of code in a document, with the words after its fence: "sh run" is executed.
type block struct {
	info, text string
	line       int
}

var fenced = regexp.MustCompile("(?ms)^ *```([^\n]*)\n(.*?)^ *```$")

func blocks(t *testing.T, path string) []block {
	t.Helper()
	text := read(t, path)
	var list []block
	for _, m := range fenced.FindAllStringSubmatchIndex(text, -1) {
		list = append(list, block{text[m[2]:m[3]], text[m[4]:m[5]], 1 + strings.Count(text[:m[0]], "\n")})
	}
	return list
}

// TestExamplesRun runs the commands of each document that has some.
func TestExamplesRun(t *testing.T) {
	for _, path := range []string{"README.md", "docs/api-by-example.md", "docs/concepts.md", "docs/operations.md"} {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".md"), func(t *testing.T) {
			t.Parallel()
			runExamples(t, path)
		})
	}
}

// runExamples runs the commands of a document one after the other, in one shell, beside a real server. The JSON that follows
// a command is what it must print: the same fields, with values of the same types. The reader's own key stands for phk_…, the
// server's address for localhost:8000, and the last id that was printed for the likes of evt_….
func runExamples(t *testing.T, path string) {
	n := binary.Start(t, "POSTHORN_LOG_LEVEL=error")
	list := blocks(t, path)
	var script bytes.Buffer
	script.WriteString("set -euo pipefail\n")
	out := t.TempDir()
	fmt.Fprintf(&script, "last() { cat $(ls -v %[1]s/*) | grep -o \"$1[0-9a-z]*\" | tail -n 1; }\n", out)
	filled := strings.NewReplacer("phk_…", clienttest.Key, "localhost:8000", "localhost:"+n.Port(),
		"evt_…", "$(last evt_)", "sub_…", "$(last sub_)", "dlv_…", "$(last dlv_)")
	ran := 0
	for i, b := range list {
		if b.info != "sh run" {
			continue
		}
		ran++
		fmt.Fprintf(&script, "echo 'line %d' >&2\n{\n%s} >%s\n", b.line, filled.Replace(b.text), filepath.Join(out, fmt.Sprint(i)))
	}
	if ran == 0 {
		t.Fatalf("%s has nothing to run", path)
	}
	runScript(t, script.String(), "POSTHORN_URL="+n.URL, "PORT="+n.Port(), "POSTHORN_API_KEY="+clienttest.Key, "POSTHORN_DATA_DIR="+n.Data())
	for i, b := range list {
		if b.info != "json" || i == 0 || list[i-1].info != "sh run" {
			continue
		}
		printed, err := os.ReadFile(filepath.Join(out, fmt.Sprint(i-1)))
		if err != nil {
			t.Fatal(err)
		}
		var want, is any
		if err := json.Unmarshal([]byte(b.text), &want); err != nil {
			t.Errorf("%s:%d is no JSON: %v", path, b.line, err)
			continue
		}
		if err := json.Unmarshal(printed, &is); err != nil {
			t.Errorf("%s:%d printed no JSON: %v\n%s", path, list[i-1].line, err, printed)
			continue
		}
		for _, fault := range unlike("", want, is) {
			t.Errorf("%s:%d: %s\n%s", path, b.line, fault, printed)
		}
	}
}

// runScript runs bash in an empty directory; curl there is quiet and fails on error answers, as a reader would see them.
func runScript(t *testing.T, script string, env ...string) {
	t.Helper()
	for _, tool := range []string{"bash", "curl", "jq", "sqlite3"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("the documents' commands need %s: install it", tool)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".curlrc"), []byte("silent\nshow-error\nfail-with-body\nmax-time = 20\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-s")
	cmd.Dir = dir
	cmd.Env = clienttest.Environment(dir, env...)
	cmd.Env = append(cmd.Env, "PATH="+filepath.Dir(binary.Path(t))+":"+os.Getenv("PATH"))
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the last line named is where it failed: %v\n%s", err, out)
	}
}

// unlike says where an answer lacks what an example shows. An example of a list shows its first element only.
func unlike(place string, want, is any) []string {
	switch want := want.(type) {
	case map[string]any:
		is, ok := is.(map[string]any)
		if !ok {
			return []string{place + " is no object"}
		}
		var faults []string
		for name, w := range want {
			v, ok := is[name]
			if !ok {
				faults = append(faults, place+"."+name+" is not there")
				continue
			}
			faults = append(faults, unlike(place+"."+name, w, v)...)
		}
		return faults
	case []any:
		is, ok := is.([]any)
		if !ok || len(want) > 0 && len(is) == 0 {
			return []string{place + " is no list, or empty"}
		}
		if len(want) == 0 {
			return nil
		}
		return unlike(place+"[0]", want[0], is[0])
	}
	if fmt.Sprintf("%T", want) != fmt.Sprintf("%T", is) {
		return []string{fmt.Sprintf("%s is %v, not like %v", place, is, want)}
	}
	// Words like a status are shown as they are; ids, times, numbers and addresses differ.
	if w, ok := want.(string); ok && word.MatchString(w) && w != is {
		return []string{fmt.Sprintf("%s is %v, not %v", place, is, want)}
	}
	return nil
}

var word = regexp.MustCompile(`^[a-z]+$`)

// TestMarkedBlocksAreShell keeps a misspelt mark from taking an example out of the test.
func TestMarkedBlocksAreShell(t *testing.T) {
	for _, path := range documents(t) {
		for _, b := range blocks(t, path) {
			if strings.Contains(b.info, " ") && b.info != "sh run" {
				t.Errorf("%s:%d is marked %q; known is \"sh run\"", path, b.line, b.info)
			}
		}
	}
}

// TestCommandsExist compares the table of commands in the README with what the program says of itself.
func TestCommandsExist(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), binary.Path(t), "--help")
	cmd.Env = clienttest.Environment(t.TempDir())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z]+)(?: .*)?$`).FindAllStringSubmatch(string(out), -1) {
		known[m[1]] = true
	}
	_, table, _ := strings.Cut(read(t, "README.md"), "## Commands")
	table, _, _ = strings.Cut(table, "\n## ")
	named := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\| .*? \|`).FindAllString(table, -1) {
		for _, name := range regexp.MustCompile("`posthorn ([a-z|\\\\]+)").FindAllStringSubmatch(m, -1) {
			for _, one := range strings.Split(name[1], `\|`) {
				named[one] = true
			}
		}
	}
	for name := range known {
		if !named[name] {
			t.Errorf("the README's table does not name posthorn %s", name)
		}
	}
	for _, path := range documents(t) {
		for _, m := range regexp.MustCompile("(?m)(?:`|^)posthorn ([a-z]+)").FindAllStringSubmatch(read(t, path), -1) {
			if !known[m[1]] {
				t.Errorf("%s names posthorn %s, which is no command", path, m[1])
			}
		}
	}
}
