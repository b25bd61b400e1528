package main_test

import (
	"os/exec"
	"syscall"
	"testing"

	"github.com/posthorn/posthorn/internal/client/clienttest"
)

// TestDemo runs the demo as far as a delivery, a retry and the receiver that is gone, and ends it as Ctrl-C does.
func TestDemo(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), binary.Path(t), "demo")
	cmd.Env = clienttest.Environment(t.TempDir(), "PORT=0")
	r := &running{t: t}
	cmd.Stdout, cmd.Stderr = r, r
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"Posthorn is running at http://", "succeeded 200", "retry in", "subscription disabled; held"} {
		r.sees(text)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("ended with %v:\n%s", err, r)
	}
}
