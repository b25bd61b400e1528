// Package deploy holds the files that install Posthorn somewhere; its tests keep them true to the program: every setting
// they name exists, every reference inside them has its target, and what must be locked down is. Whether a platform accepts
// its file is the platform's business.
package deploy

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/posthorn/posthorn/internal/config"
)

// documents reads all YAML documents of a file; paths are relative to the repository.
func documents[T any](t *testing.T, path string) []T {
	t.Helper()
	var all []T
	for d := yaml.NewDecoder(bytes.NewReader(read(t, path))); ; {
		var one T
		err := d.Decode(&one)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, one)
	}
}

func document[T any](t *testing.T, path string) T {
	t.Helper()
	all := documents[T](t, path)
	if len(all) != 1 {
		t.Fatalf("%s has %d documents, want one", path, len(all))
	}
	return all[0]
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", path))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// settings are the variables that the program reads.
func settings() map[string]bool {
	known := map[string]bool{}
	for field := range reflect.TypeFor[config.Settings]().Fields() {
		if name := field.Tag.Get("env"); name != "" {
			known[name] = true
		}
	}
	return known
}

// TestSettingsAreKnown finds a variable that was renamed, or misspelt, in any file that sets one.
func TestSettingsAreKnown(t *testing.T) {
	known := settings()
	ours := regexp.MustCompile(`\b(POSTHORN_[A-Z_]+|[A-Z]+_URL)\b`)
	// POSTHORN_URL tells the dashboard's development server where the API is.
	known["POSTHORN_URL"] = true
	for _, path := range paths(t) {
		for _, name := range ours.FindAllString(string(read(t, path)), -1) {
			if !known[name] {
				t.Errorf("%s sets %s, which is no setting", path, name)
			}
		}
	}
}

// TestSettingsAreDocumented holds .env.example against the program.
func TestSettingsAreDocumented(t *testing.T) {
	documented := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^#? ?([A-Z][A-Z_]+)=`).FindAllSubmatch(read(t, ".env.example"), -1) {
		documented[string(match[1])] = true
	}
	known := settings()
	for name := range known {
		if !documented[name] {
			t.Errorf(".env.example does not name %s", name)
		}
	}
	for name := range documented {
		if !known[name] {
			t.Errorf(".env.example names %s, which is no setting", name)
		}
	}
}

// paths are the files that set variables, relative to the repository.
func paths(t *testing.T) []string {
	t.Helper()
	all := []string{"Dockerfile", "docker-compose.yml", "render.yaml", "deploy/systemd/posthorn.service"}
	manifests, err := filepath.Glob("kubernetes/*.yaml")
	if err != nil || len(manifests) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	for _, m := range manifests {
		all = append(all, filepath.ToSlash(filepath.Join("deploy", m)))
	}
	return all
}

// checkRoles wants every role on some node.
func checkRoles(t *testing.T, lists ...string) {
	t.Helper()
	all := strings.Join(lists, ",")
	for _, role := range []string{config.RoleAPI, config.RoleWorker, config.RoleJanitor} {
		if !strings.Contains(all, role) {
			t.Errorf("no node has the role %s: %q", role, lists)
		}
	}
}
