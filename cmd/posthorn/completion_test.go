package main_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCompletion asks as a shell does, and lets bash itself run its script.
func TestCompletion(t *testing.T) {
	path := binary.Path(t)
	complete := func(words ...string) []string {
		// Status 1 is the answer that nothing is known.
		out, _ := exec.CommandContext(t.Context(), path, append([]string{"__complete"}, words...)...).Output()
		return strings.Fields(string(out))
	}
	for name, c := range map[string]struct {
		words []string
		want  []string
		not   string
	}{
		"Commands":         {[]string{""}, []string{"serve", "keys", "completion"}, "__complete"},
		"Beginning":        {[]string{"ba"}, []string{"backup"}, "bench"},
		"Subcommands":      {[]string{"keys", ""}, []string{"create", "list", "revoke"}, "serve"},
		"FlagsOfANode":     {[]string{"serve", "--ro"}, []string{"--roles"}, "--redis-url"},
		"FlagsOfTheAPI":    {[]string{"events", "list", "--"}, []string{"--since", "--type"}, "--roles"},
		"Values":           {[]string{"serve", "--log-level", ""}, []string{"debug", "error"}, "serve"},
		"AfterAFlag":       {[]string{"--port", "1", "keys", "c"}, []string{"create"}, "list"},
		"Arguments":        {[]string{"completion", ""}, []string{"bash", "fish", "zsh"}, "serve"},
		"NothingIsAFile":   {[]string{"backup", ""}, nil, "serve"},
		"OddWordsDoNoHarm": {[]string{"nonsense", "--nonsense", "$(false)", ""}, []string{"serve"}, "keys create"},
	} {
		t.Run(name, func(t *testing.T) {
			got := complete(c.words...)
			for _, want := range c.want {
				if !slices.Contains(got, want) {
					t.Errorf("%v completes to %v, want %s", c.words, got, want)
				}
			}
			if slices.Contains(got, c.not) || c.want == nil && len(got) > 0 {
				t.Errorf("%v completes to %v", c.words, got)
			}
		})
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script, err := exec.CommandContext(t.Context(), path, "completion", shell).Output()
		if err != nil || len(script) == 0 {
			t.Errorf("completion %s: %v", shell, err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c",
		`source <(posthorn completion bash); COMP_WORDS=(posthorn keys cr); COMP_CWORD=2; _posthorn; echo "${COMPREPLY[@]}"`)
	cmd.Env = []string{"PATH=" + filepath.Dir(path) + ":/usr/bin:/bin"}
	if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "create" {
		t.Errorf("bash completes to %q, %v", out, err)
	}
}

// TestLogLevelChangesWhileServing sends a node the signal that switches to debug, and back.
func TestLogLevelChangesWhileServing(t *testing.T) {
	n := binary.Start(t, "POSTHORN_LOG_LEVEL=info", "POSTHORN_LOG_FORMAT=json")
	wait := func(text string, times int) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); strings.Count(n.Log(), text) < times; {
			if time.Now().After(end) {
				t.Fatalf("the log does not say %s %d times:\n%s", text, times, n.Log())
			}
			<-time.After(10 * time.Millisecond)
		}
	}
	ask := func() { fetch(t, n.URL+"/healthz") }
	ask()
	n.Signal(syscall.SIGUSR1)
	wait(`"level":"DEBUG"`, 0)
	wait(`"msg":"log level changed"`, 1)
	ask()
	wait(`"msg":"request"`, 1)
	before := strings.Count(n.Log(), `"msg":"request"`)
	n.Signal(syscall.SIGUSR1)
	wait(`"msg":"log level changed"`, 2)
	ask()
	if after := strings.Count(n.Log(), `"msg":"request"`); after != before {
		t.Errorf("requests are still logged: %d, then %d", before, after)
	}
}
