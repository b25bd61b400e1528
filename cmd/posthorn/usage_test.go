package main_test

import (
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
		if err == nil || !strings.Contains(errs, word) || !strings.Contains(out+errs, "posthorn --help") || strings.Count(out+errs, "\n") > 6 {
			t.Errorf("posthorn %s: %v\n%s%s", word, err, out, errs)
		}
	}
}
