package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/client"
	"github.com/posthorn/posthorn/internal/client/clienttest"
)

var binary clienttest.Binary

func TestMain(m *testing.M) {
	code := m.Run()
	binary.Clean()
	os.Exit(code)
}

// posthorn runs a command against a node and gives what it printed; it must succeed unless a failure is expected.
func posthorn(t *testing.T, n *clienttest.Node, args ...string) string {
	t.Helper()
	out, errs, err := try(t, n, args...)
	if err != nil {
		t.Fatalf("posthorn %s: %v\n%s%s", strings.Join(args, " "), err, out, errs)
	}
	return out
}

func try(t *testing.T, n *clienttest.Node, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := command(t, n, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func command(t *testing.T, n *clienttest.Node, args ...string) *exec.Cmd {
	// The test's own context ends before its cleanups, which still wait for commands.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, binary.Path(t), args...)
	cmd.Env = clienttest.Environment(t.TempDir(), "POSTHORN_URL="+n.URL, "POSTHORN_API_KEY="+clienttest.Key)
	return cmd
}

// running is a command that runs until the test ends, and what it has printed so far.
type running struct {
	t  *testing.T
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *running) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *running) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}

// background starts a command that a signal ends, without an error.
func background(t *testing.T, n *clienttest.Node, args ...string) *running {
	t.Helper()
	r := &running{t: t}
	cmd := command(t, n, args...)
	cmd.Stdout, cmd.Stderr = r, r
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("posthorn %s ended with %v:\n%s", args[0], err, r)
		}
	})
	return r
}

// sees waits until the command has printed a text.
func (r *running) sees(text string) {
	r.t.Helper()
	eventually(r.t, func() bool { return strings.Contains(r.String(), text) }, func() string {
		return "not printed: " + text + "\n" + r.String()
	})
}

func eventually(t *testing.T, is func() bool, otherwise func() string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal(otherwise())
		}
	}
}

func api(t *testing.T, n *clienttest.Node) *client.Client {
	t.Helper()
	c, err := client.New(client.Settings{URL: n.URL, Key: clienttest.Key})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// subscribe makes a subscription to a bin of the node's own test receiver.
func subscribe(t *testing.T, n *clienttest.Node, bin string, types ...string) client.Subscription {
	t.Helper()
	s, err := api(t, n).CreateSubscription(t.Context(), client.SubscriptionInput{
		Policy: client.Policy{URL: n.URL + "/play/" + bin, EventTypes: types},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, text)
	}
	return v
}

// fetch is the body of a GET.
func fetch(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
