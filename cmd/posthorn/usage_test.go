package main_test

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/client/clienttest"
)

// TestVersion tells the version by the flag that people try first, too.
func TestVersion(t *testing.T) {
	var nowhere clienttest.Node
	if flag, cmd := posthorn(t, &nowhere, "--version"), posthorn(t, &nowhere, "version"); flag != cmd || flag == "" {
		t.Errorf("--version prints %q and version %q", flag, cmd)
	}
}

// TestWrongWord names what was wrong and where to read on, without a page of flags above it.
func TestWrongWord(t *testing.T) {
	for _, word := range []string{"--nonsense", "nonsense"} {
		out, errs, err := try(t, &clienttest.Node{}, word)
		if exitCode(err) != 80 || !strings.Contains(errs, word) || !strings.Contains(out+errs, "posthorn --help") || strings.Count(out+errs, "\n") > 6 {
			t.Errorf("posthorn %s: %v\n%s%s", word, err, out, errs)
		}
	}
}

// TestExitCodes are those of docs/configuration.md.
func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		want int
		args []string
	}{
		{0, []string{"version"}},
		{80, []string{"serve", "--port", "none"}},
		{80, []string{"serve", "--log-level", "loud"}},
		{80, []string{"trigger"}},
		{1, []string{"serve", "--retention", "1m"}},
		{1, []string{"config", "--database-url", "mysql://x"}},
		{1, []string{"doctor", "--retention", "1m"}},
	} {
		if out, errs, err := try(t, &clienttest.Node{}, c.args...); exitCode(err) != c.want {
			t.Errorf("posthorn %s: %v, want code %d\n%s%s", strings.Join(c.args, " "), err, c.want, out, errs)
		}
	}
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	return -1
}
