package main_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/client"
	"github.com/posthorn/posthorn/internal/client/clienttest"
)

const declared = `
subscriptions:
  - name: billing
    url: http://127.0.0.1:9/billing
    event_types: [invoice.*, payment.failed]
    rate_limit: {limit: 5, per: second}
  - name: audit
    url: http://127.0.0.1:9/audit
    description: everything
    retry: {schedule: [5, 60], final_statuses: [400]}
    filter: payload.amount > 100
`

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "posthorn.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func all(t *testing.T, n *clienttest.Node) []client.Subscription {
	t.Helper()
	list, err := api(t, n).Subscriptions(t.Context(), url.Values{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// applied is what apply prints of the changes and about them.
func applied(t *testing.T, n *clienttest.Node, text string, flags ...string) string {
	t.Helper()
	out, errs, err := try(t, n, append([]string{"apply", "-f", write(t, text)}, flags...)...)
	if err != nil {
		t.Fatalf("apply: %v\n%s%s", err, out, errs)
	}
	return out + errs
}

func TestApply(t *testing.T) {
	t.Parallel()
	n := binary.Start(t)
	other := subscribe(t, n, "by-hand")

	if out := applied(t, n, declared, "--dry-run"); !strings.Contains(out, "+ billing") || !strings.Contains(out, "2 changes to make") {
		t.Errorf("dry run:\n%s", out)
	}
	if list := all(t, n); len(list) != 1 {
		t.Fatalf("a dry run made %d subscriptions", len(list)-1)
	}
	applied(t, n, declared)
	if list := all(t, n); len(list) != 3 {
		t.Fatalf("%d subscriptions, want 3", len(list))
	}
	if out := applied(t, n, declared); out != "0 changes\n" {
		t.Errorf("applied again:\n%s", out)
	}

	changed := strings.Replace(declared, "limit: 5", "limit: 50", 1)
	out := applied(t, n, changed)
	if !strings.Contains(out, "~ billing") || !strings.Contains(out, `rate_limit: {"limit":5,"per":"second"} → {"limit":50,"per":"second"}`) ||
		strings.Contains(out, "audit") {
		t.Errorf("one field changed:\n%s", out)
	}

	without := changed[:strings.Index(changed, "  - name: audit")]
	if out := applied(t, n, without); !strings.Contains(out, "not in the file: audit") {
		t.Errorf("without audit:\n%s", out)
	}
	if out := applied(t, n, without, "--prune"); !strings.Contains(out, "- audit") {
		t.Errorf("pruned:\n%s", out)
	}
	list := all(t, n)
	if len(list) != 2 || list[1].ID != other.ID {
		t.Errorf("left are %+v, want billing and the one made by hand", list)
	}
}

// TestDumpAppliesToAnotherServer also shows that a dump changes nothing where it was made.
func TestDumpAppliesToAnotherServer(t *testing.T) {
	t.Parallel()
	n, other := binary.Start(t), binary.Start(t)
	applied(t, n, declared)
	byHand := subscribe(t, n, "by-hand", "a.*")
	text := posthorn(t, n, "dump")
	for _, want := range []string{"name: billing", "name: " + byHand.ID.String(), "event_types: [invoice.*, payment.failed]"} {
		if !strings.Contains(text, want) {
			t.Errorf("the dump lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "whsec_") || strings.Contains(text, "timeout_seconds") {
		t.Errorf("the dump has secrets, or defaults:\n%s", text)
	}
	if out := applied(t, n, text, "--prune"); out != "0 changes\n" {
		t.Errorf("applied where it was made:\n%s", out)
	}
	with := posthorn(t, n, "dump", "--secrets", "--json")
	if out := applied(t, other, with); !strings.Contains(out, "3 changes") {
		t.Errorf("applied to another server:\n%s", out)
	}
	if again := posthorn(t, other, "dump", "--secrets", "--json"); again != with {
		t.Errorf("the other server has\n%s\nwant\n%s", again, with)
	}
}

func TestApplyTakesSecretsFromTheEnvironment(t *testing.T) {
	t.Parallel()
	n := binary.Start(t)
	path := write(t, `{"subscriptions": [{"name": "a", "url": "http://127.0.0.1:9/", "secret": "${SECRET}", "headers": {"X-Token": "${TOKEN}"}}]}`)
	if _, errs, err := try(t, n, "apply", "-f", path); err == nil || !strings.Contains(errs, "${") {
		t.Fatalf("without the variables: %v\n%s", err, errs)
	}
	const secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
	cmd := command(t, n, "apply", "-f", path)
	cmd.Env = append(cmd.Env, "SECRET="+secret, "TOKEN=t0ken")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("apply: %v\n%s", err, out)
	}
	s := all(t, n)[0]
	if got := posthorn(t, n, "subscriptions", "secret", s.ID.String()); got != secret+"\n" {
		t.Errorf("the secret is %s", got)
	}
	if _, ok := s.Headers["X-Token"]; !ok {
		t.Errorf("headers %v", s.Headers)
	}
	// The mask of a dump stands for the values the server has.
	if out := applied(t, n, posthorn(t, n, "dump")); out != "0 changes\n" {
		t.Errorf("the dump applied:\n%s", out)
	}
}

func TestApplyRefuses(t *testing.T) {
	t.Parallel()
	n := binary.Start(t)
	for name, c := range map[string]struct{ text, want string }{
		"Misspelt":  {"subscriptions: [{name: a, url: 'http://127.0.0.1:9/', event_type: [x]}]", "event_type"},
		"Nameless":  {"subscriptions: [{url: 'http://127.0.0.1:9/'}]", "name"},
		"Twice":     {"subscriptions: [{name: a, url: 'http://127.0.0.1:9/'}, {name: a, url: 'http://127.0.0.1:9/'}]", "twice"},
		"NoYAML":    {"subscriptions: [", "read the file"},
		"Documents": {"subscriptions: []\n---\nsubscriptions: []\n", "one document"},
		"Invalid":   {"subscriptions: [{name: a, url: 'ftp://x/'}]", "body.url"},
	} {
		t.Run(name, func(t *testing.T) {
			if out, errs, err := try(t, n, "apply", "-f", write(t, c.text)); err == nil || !strings.Contains(errs, c.want) {
				t.Errorf("%v, want something about %q:\n%s%s", err, c.want, out, errs)
			}
		})
	}
}
