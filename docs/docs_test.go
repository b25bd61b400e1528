// Package docs holds the documents; its tests keep them true to the program: every link leads somewhere, every setting and
// command that is named exists, every example runs, and what is generated is up to date. `go test ./docs -update` writes
// the generated document again.
package docs_test

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/client"
	"github.com/posthorn/posthorn/internal/client/clienttest"
	"github.com/posthorn/posthorn/internal/config"
)

//go:generate go test -run TestConfiguration . -update

var (
	update = flag.Bool("update", false, "write the generated document")
	binary clienttest.Binary
)

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	binary.Clean()
	os.Exit(code)
}

// root is the repository, seen from here.
const root = ".."

// files lists the repository's files whose names match, below the given places; paths are relative to the repository.
func files(t *testing.T, pattern string, places ...string) []string {
	t.Helper()
	var found []string
	for _, place := range places {
		err := filepath.WalkDir(filepath.Join(root, place), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if ok, _ := filepath.Match(pattern, d.Name()); ok {
				relative, err := filepath.Rel(root, path)
				found = append(found, filepath.ToSlash(relative))
				return err
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// documents are all that people read.
func documents(t *testing.T) []string {
	t.Helper()
	return append(files(t, "*.md", "docs", "deploy"), "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	fence = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	code  = regexp.MustCompile("`[^`\n]*`")
	link  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	title = regexp.MustCompile(`(?m)^#+ +(.+)$`)
)

// prose is a document without its code.
func prose(text string) string { return code.ReplaceAllString(fence.ReplaceAllString(text, ""), "") }

func TestLinksLeadSomewhere(t *testing.T) {
	for _, path := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(prose(read(t, path)), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			to := path
			if target != "" {
				to = filepath.ToSlash(filepath.Join(filepath.Dir(path), target))
			}
			info, err := os.Stat(filepath.Join(root, to))
			if err != nil {
				t.Errorf("%s links to %s, which is not there", path, m[1])
				continue
			}
			if anchor != "" && (info.IsDir() || !slices.Contains(anchors(read(t, to)), anchor)) {
				t.Errorf("%s links to %s, which has no such title", path, m[1])
			}
		}
	}
}

// anchors are the names that titles get.
func anchors(text string) []string {
	var list []string
	for _, m := range title.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		name := strings.ToLower(strings.TrimSpace(m[1]))
		name = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(name, "")
		list = append(list, strings.ReplaceAll(name, " ", "-"))
	}
	return list
}

// TestVariablesExist finds a setting that was renamed, or misspelt, wherever one is named.
func TestVariablesExist(t *testing.T) {
	known := map[string]bool{}
	for _, settings := range []reflect.Type{reflect.TypeFor[config.Settings](), reflect.TypeFor[client.Settings]()} {
		for f := range settings.Fields() {
			known[f.Tag.Get("env")] = true
		}
	}
	places := append(documents(t), files(t, "*.y*ml", "deploy")...)
	places = append(places, files(t, "*.service", "deploy")...)
	places = append(places, files(t, "*.json", "deploy")...)
	places = append(places, "Dockerfile", "docker-compose.yml", "render.yaml", ".env.example")
	ours := regexp.MustCompile(`\bPOSTHORN_[A-Z0-9_]+\b`)
	for _, path := range places {
		for _, name := range ours.FindAllString(read(t, path), -1) {
			if !known[name] {
				t.Errorf("%s names %s, which is no setting", path, name)
			}
		}
	}
}

// TestAlertsAreExplained keeps an alert from sending people to a document that does not know it, and the other way round.
func TestAlertsAreExplained(t *testing.T) {
	names := func(text, pattern string) (list []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			list = append(list, m[1])
		}
		return list
	}
	raised := names(read(t, "deploy/grafana/alerts.yaml"), `- alert: (\w+)`)
	explained := names(read(t, "docs/operations.md"), "`(Posthorn[A-Z]\\w+)`")
	slices.Sort(raised)
	slices.Sort(explained)
	if len(raised) == 0 || !slices.Equal(raised, slices.Compact(explained)) {
		t.Errorf("deploy/grafana/alerts.yaml raises\n%v\ndocs/operations.md explains\n%v", raised, explained)
	}
}

// TestDocumentsAreLinked keeps a document from being written and never found.
func TestDocumentsAreLinked(t *testing.T) {
	linked := map[string]bool{}
	for _, path := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, path), -1) {
			target, _, _ := strings.Cut(m[1], "#")
			linked[filepath.ToSlash(filepath.Join(filepath.Dir(path), target))] = true
		}
	}
	for _, path := range files(t, "*.md", "docs") {
		if !linked[path] && !linked[filepath.ToSlash(filepath.Dir(path))] {
			t.Errorf("no document links to %s", path)
		}
	}
}
