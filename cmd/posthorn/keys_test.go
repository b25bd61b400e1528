package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/client/clienttest"
)

// TestCommandsMakeNoStore runs them in the wrong directory: they say so and leave nothing there.
func TestCommandsMakeNoStore(t *testing.T) {
	t.Parallel()
	at := filepath.Join(t.TempDir(), "data")
	with := func(args ...string) []string { return append([]string{"--data-dir", at}, args...) }
	for _, args := range [][]string{
		{"keys", "create", "me"},
		{"keys", "list"},
		{"keys", "revoke", "key_x"},
		{"keys", "reseal"},
		{"keys", "reseal", "--check"},
		{"cleanup"},
		{"backup", filepath.Join(t.TempDir(), "copy")},
		{"move", "--to", "postgres://localhost/none"},
	} {
		if out, errs, err := try(t, &clienttest.Node{}, with(args...)...); err == nil || !strings.Contains(errs, "there is no store at "+at) {
			t.Errorf("%v: %v\n%s%s", args, err, out, errs)
		}
	}
	if _, err := os.Stat(at); err == nil {
		t.Error("the directory was made")
	}
	posthorn(t, &clienttest.Node{}, with("migrate")...)
	for _, name := range []string{"", strings.Repeat("x", 129)} {
		if out, errs, err := try(t, &clienttest.Node{}, with("keys", "create", name)...); err == nil || !strings.Contains(errs, "must be 1 to 128 characters") {
			t.Errorf("a key of the name %q: %v\n%s%s", name, err, out, errs)
		}
	}
	key := posthorn(t, &clienttest.Node{}, with("keys", "create", "me")...)
	if list := posthorn(t, &clienttest.Node{}, with("keys", "list")...); !strings.HasPrefix(key, "phk_") || !strings.Contains(list, "me") {
		t.Errorf("%s%s", key, list)
	}
}
