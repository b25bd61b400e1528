package main_test

import (
	"bufio"
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/posthorn/posthorn/internal/client/clienttest"
)

// TestGreeting: a node tells of the API only where it has it.
func TestGreeting(t *testing.T) {
	t.Parallel()
	for roles, want := range map[string]bool{"api": true, "worker,janitor": false} {
		cmd := command(t, &clienttest.Node{}, "serve", "--dev", "--port", "0", "--roles", roles, "--data-dir", filepath.Join(t.TempDir(), "data"))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		printed := bufio.NewReader(out)
		first, err := printed.ReadString('\n')
		if err != nil || !strings.HasPrefix(first, "listening on ") {
			t.Fatalf("%q, %v", first, err)
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		rest, err := io.ReadAll(printed)
		if err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		for _, text := range []string{"/events", "/docs", "Dashboard"} {
			if strings.Contains(string(rest), text) != want {
				t.Errorf("with the roles %s %s is told of: %v\n%s", roles, text, !want, rest)
			}
		}
	}
}
