//go:build unix

package sqlite

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestRestoreLeavesTheOwner: root restores, and the service's user must be able to start.
func TestRestoreLeavesTheOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may give files away")
	}
	const service, other = 54321, 54322
	copied := filepath.Join(t.TempDir(), "copy.db")
	first := filepath.Join(t.TempDir(), "a.db")
	if err := open(t, first).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Backup(t.Context(), first, copied); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "b.db")
	restored := func(replace bool, want uint32) {
		t.Helper()
		if _, err := Restore(t.Context(), copied, path, testSealer{}, replace); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{path, path + ".lock"} {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			if is := info.Sys().(*syscall.Stat_t); is.Uid != want || is.Gid != want || info.Mode().Perm() != 0o600 {
				t.Errorf("%s is of %d, group %d, mode %o; want %d", file, is.Uid, is.Gid, info.Mode(), want)
			}
		}
	}
	if err := os.Chown(filepath.Dir(path), service, service); err != nil {
		t.Fatal(err)
	}
	restored(false, service)
	for _, file := range []string{path, path + ".lock"} {
		if err := os.Chown(file, other, other); err != nil {
			t.Fatal(err)
		}
	}
	restored(true, other)
}
