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

const catalogued = `
event_types:
  - name: order.created
    description: a customer has placed an order
    schema: {type: object, required: [id], properties: {id: {type: integer}, day: {type: string}}}
    example: {id: 4711, day: 2026-03-01}
    enforce: true
  - name: order.paid
    deprecated: true
sources:
  - name: our repositories
    provider: github
    keep_headers: [X-GitHub-Event]
  - name: machines
    provider: hmac
    scheme: {header: X-Signature, encoding: base64}
    secret: a-text-secret
    rate_limit: {limit: 5, per: second}
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

	if out := applied(t, n, declared, "--dry-run"); !strings.Contains(out, "+ subscription billing") || !strings.Contains(out, "2 changes to make") {
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
	if !strings.Contains(out, "~ subscription billing") || !strings.Contains(out, `rate_limit: {"limit":5,"per":"second"} → {"limit":50,"per":"second"}`) ||
		strings.Contains(out, "audit") {
		t.Errorf("one field changed:\n%s", out)
	}

	without := changed[:strings.Index(changed, "  - name: audit")]
	if out := applied(t, n, without); !strings.Contains(out, "not in the file: subscription audit") {
		t.Errorf("without audit:\n%s", out)
	}
	if out := applied(t, n, without, "--prune"); !strings.Contains(out, "- subscription audit") {
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

func TestApplyCatalogueAndSources(t *testing.T) {
	t.Parallel()
	n := binary.Start(t)
	subscribe(t, n, "by-hand")
	out := applied(t, n, catalogued, "--dry-run")
	if !strings.Contains(out, "+ event type order.created") || !strings.Contains(out, "+ source machines") || !strings.Contains(out, "4 changes to make") {
		t.Errorf("dry run:\n%s", out)
	}
	if out := applied(t, n, catalogued); !strings.Contains(out, "/ingest/src_") || strings.Count(out, "shown this once") != 1 {
		t.Errorf("the secret that was made is not shown once:\n%s", out)
	}
	if out := applied(t, n, catalogued); !strings.HasSuffix(out, "1 change\n") || !strings.Contains(out, "secret: written again") {
		t.Errorf("applied again, which is to write the secret only:\n%s", out)
	}
	text := posthorn(t, n, "dump")
	if strings.Contains(text, "text-secret") || strings.Contains(text, "tolerance_seconds") {
		t.Errorf("the dump has a secret, or defaults:\n%s", text)
	}
	if out := applied(t, n, text, "--prune"); out != "0 changes\n" {
		t.Errorf("the dump applied where it was made:\n%s", out)
	}
	if _, errs, err := try(t, binary.Start(t), "apply", "-f", write(t, text)); err == nil || !strings.Contains(errs, "no value yet") {
		t.Errorf("a mask that stands for nothing: %v\n%s", err, errs)
	}

	changed := strings.NewReplacer("a customer has placed", "somebody placed", "integer", "number", "limit: 5", "limit: 6").Replace(catalogued)
	out = applied(t, n, changed, "--dry-run")
	for _, want := range []string{"~ event type order.created", "schema: another", `rate_limit: {"limit":5,"per":"second"} → {"limit":6`} {
		if !strings.Contains(out, want) {
			t.Errorf("the changes lack %q:\n%s", want, out)
		}
	}
	// A list that is not in the file is left alone, one that is empty says that there is to be nothing.
	if out := applied(t, n, "event_types: [{name: order.paid, deprecated: true}]", "--prune"); !strings.Contains(out, "- event type order.created") || !strings.HasSuffix(out, "1 change\n") {
		t.Errorf("pruned:\n%s", out)
	}
	if out := applied(t, n, "sources: []", "--prune"); !strings.Contains(out, "- source machines") || !strings.HasSuffix(out, "2 changes\n") {
		t.Errorf("pruned:\n%s", out)
	}
	if list := all(t, n); len(list) != 1 {
		t.Errorf("%d subscriptions left, want the one", len(list))
	}
}

// TestApplyKeepsCredentials: values that come back masked are not printed, and the masks of a dump stand for them; named
// signature profiles come back spelt out, which is no difference.
func TestApplyKeepsCredentials(t *testing.T) {
	t.Parallel()
	n := binary.Start(t)
	const text = `
subscriptions:
  - name: a
    url: http://127.0.0.1:9/
    signature: {profile: github}
    auth: {type: oauth2_client_credentials, token_url: 'http://127.0.0.1:9/token', client_id: me, client_secret: "${TOKEN}", params: {resource: "${TOKEN}"}}
`
	apply := func() string {
		cmd := command(t, n, "apply", "-f", write(t, text))
		cmd.Env = append(cmd.Env, "TOKEN=t0ken")
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), "t0ken") {
			t.Fatalf("apply: %v\n%s", err, out)
		}
		return string(out)
	}
	apply()
	out := apply()
	for _, want := range []string{"auth.client_secret: written again", "auth.params.resource: written again"} {
		if !strings.Contains(out, want) {
			t.Errorf("applied again lacks %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "→") {
		t.Errorf("applied again changes something:\n%s", out)
	}
	dumped := posthorn(t, n, "dump")
	if !strings.Contains(dumped, "profile: github") || strings.Contains(dumped, "sha256=") {
		t.Errorf("the dump spells the profile out:\n%s", dumped)
	}
	if out := applied(t, n, dumped); out != "0 changes\n" {
		t.Errorf("the dump applied:\n%s", out)
	}
	if out := applied(t, n, strings.Replace(dumped, "client_id: me", "client_id: you", 1)); !strings.Contains(out, "~ subscription a") {
		t.Errorf("another client id:\n%s", out)
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
		"Schema":    {"event_types: [{name: a, schema: {type: 7}}]", "event type a"},
		"TypeTwice": {"event_types: [{name: a}, {name: a}]", "twice"},
		"Source":    {"sources: [{name: a, provider: nobody}]", "body.provider"},
		"Invalid":   {"subscriptions: [{name: a, url: 'ftp://x/'}]", "body.url"},
	} {
		t.Run(name, func(t *testing.T) {
			if out, errs, err := try(t, n, "apply", "-f", write(t, c.text)); err == nil || !strings.Contains(errs, c.want) {
				t.Errorf("%v, want something about %q:\n%s%s", err, c.want, out, errs)
			}
		})
	}
}
