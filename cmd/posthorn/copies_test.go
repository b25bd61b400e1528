package main_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestRestore restores over a store that is there only when told to, and then what came after the backup is gone.
func TestRestore(t *testing.T) {
	t.Parallel()
	n := binary.Start(t)
	copied := filepath.Join(t.TempDir(), "copy.db")
	at := func(args ...string) (string, error) {
		cmd := command(t, n, args...)
		cmd.Env = append(cmd.Env, "POSTHORN_DATA_DIR="+n.Data())
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	before := subscribe(t, n, "before")
	if out, err := at("backup", copied); err != nil {
		t.Fatalf("backup of a store that is served: %v\n%s", err, out)
	}
	subscribe(t, n, "after")
	if out, err := at("restore", "--force", copied); err == nil {
		t.Fatalf("restored over a store that is served:\n%s", out)
	}
	n.Stop()
	if out, err := at("restore", copied); err == nil || !strings.Contains(out, "--force") {
		t.Fatalf("restored over a store that is there: %v\n%s", err, out)
	}
	if out, err := at("restore", "--force", copied); err != nil {
		t.Fatalf("restore --force: %v\n%s", err, out)
	}
	n.Restart()
	if list := all(t, n); len(list) != 1 || list[0].ID != before.ID {
		t.Errorf("restored are %+v, want the one from before the backup", list)
	}
}
