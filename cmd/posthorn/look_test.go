package main_test

import (
	"strings"
	"testing"
	"time"

	root "github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/client"
)

func TestTriggerAndLook(t *testing.T) {
	t.Parallel()
	n := binary.Start(t)
	s := subscribe(t, n, "shop", "order.*")
	out := posthorn(t, n, "trigger", "order.created", "--payload", `{"id": 7}`, "--wait", "20s")
	if !strings.Contains(out, "to 1 subscription\nsucceeded\n") {
		t.Fatalf("trigger printed\n%s", out)
	}
	if received := fetch(t, n.URL+"/play/shop"); !strings.Contains(received, `{\"id\": 7}`) {
		t.Errorf("the receiver has %s", received)
	}

	type list struct{ Data []client.Delivery }
	deliveries := decode[list](t, posthorn(t, n, "deliveries", "list", "--status", "succeeded", "--since", "1h", "--json")).Data
	if len(deliveries) != 1 || deliveries[0].SubscriptionID != s.ID {
		t.Fatalf("deliveries %+v", deliveries)
	}
	d := deliveries[0]
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"events", "list", "--type", "order.*"}, []string{"STATUS", d.EventID.String(), "succeeded"}},
		{[]string{"events", "get", d.EventID.String()}, []string{`{"id": 7}`, d.ID.String(), "/play/shop"}},
		{[]string{"deliveries", "list"}, []string{"ATTEMPTS", d.ID.String(), "succeeded 200"}},
		{[]string{"deliveries", "get", d.ID.String()}, []string{s.ID.String(), "OUTCOME", "succeeded 200"}},
		{[]string{"subscriptions", "list"}, []string{"TYPES", s.ID.String(), "order.*", "active"}},
		{[]string{"subscriptions", "get", s.ID.String()}, []string{"timeout", "15 s", "order.*"}},
		{[]string{"subscriptions", "secret", s.ID.String()}, []string{s.Secret}},
		{[]string{"subscriptions", "pause", s.ID.String()}, []string{s.ID.String(), "paused"}},
		{[]string{"subscriptions", "resume", s.ID.String()}, []string{s.ID.String(), "active"}},
	} {
		out := posthorn(t, n, c.args...)
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("posthorn %s lacks %q:\n%s", strings.Join(c.args, " "), want, out)
			}
		}
	}
}

// TestTriggerWaits wants scripts to be able to go by the exit code of what was waited for.
func TestTriggerWaits(t *testing.T) {
	t.Parallel()
	n := binary.Start(t)
	if out := posthorn(t, n, "trigger", "order.created", "--wait", "20s"); !strings.Contains(out, "unmatched") {
		t.Errorf("what nobody wants printed\n%s", out)
	}
	s := subscribe(t, n, "shop", "order.*")
	posthorn(t, n, "subscriptions", "pause", s.ID.String())
	for _, c := range []struct {
		args      []string
		out, errs string
	}{
		{[]string{"trigger", "order.created", "--wait", "1s"}, "pending\n", "not delivered within 1s"},
		{[]string{"trigger", "order.created", "--wait", "1s", "--json"}, `"status": "pending"`, "not delivered within 1s"},
	} {
		if out, errs, err := try(t, n, c.args...); err == nil || !strings.Contains(out, c.out) || !strings.Contains(errs, c.errs) {
			t.Errorf("posthorn %s: %v\n%s%s", strings.Join(c.args, " "), err, out, errs)
		}
	}
	posthorn(t, n, "trigger", "order.created") // who does not wait is told of the publish alone
}

func TestReplays(t *testing.T) {
	t.Parallel()
	n := binary.Start(t)
	s := subscribe(t, n, "again", "order.*")
	posthorn(t, n, "trigger", "order.created", "--payload", `{"id": 7}`, "--wait", "20s")
	if out := posthorn(t, n, "replays", "create", "--subscription", s.ID.String(), "--dry-run"); !strings.Contains(out, "1 deliveries would be made of 1 found, 0 skipped") {
		t.Errorf("a dry run printed\n%s", out)
	}
	id, _, _ := strings.Cut(posthorn(t, n, "replays", "create", "--since", "1h", "--type", "order.*", "--rate", "100"), "  ")
	for end := time.Now().Add(20 * time.Second); !strings.Contains(posthorn(t, n, "replays", "get", id), "completed"); {
		if time.Now().After(end) {
			t.Fatal("the replay does not end")
		}
	}
	if out := posthorn(t, n, "replays", "list"); !strings.Contains(out, id) || !strings.Contains(out, "completed") {
		t.Errorf("replays:\n%s", out)
	}
	if _, errs, err := try(t, n, "replays", "cancel", id); err == nil || !strings.Contains(errs, "has ended") {
		t.Errorf("cancelling what has ended: %v\n%s", err, errs)
	}
}

func TestTriggerSendsWhatIsNotJSON(t *testing.T) {
	t.Parallel()
	n := binary.Start(t)
	subscribe(t, n, "text")
	if _, errs, err := try(t, n, "trigger", "note.written", "--payload", "plain words"); err == nil || !strings.Contains(errs, "--content-type") {
		t.Errorf("without a content type: %v\n%s", err, errs)
	}
	posthorn(t, n, "trigger", "note.written", "--payload", "plain words", "--content-type", "text/plain", "--wait", "20s")
	if received := fetch(t, n.URL+"/play/text"); !strings.Contains(received, `"plain words"`) || !strings.Contains(received, "text/plain") {
		t.Errorf("the receiver has %s", received)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	n := binary.Start(t)
	absent := root.EventID{UUID: root.NewUUID(time.Now())}.String()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"trigger", "not a type"}, "body.type"},
		{[]string{"events", "get", absent}, "404"},
		{[]string{"events", "list", "--since", "yesterday"}, "how long ago"},
		{[]string{"events", "list", "--key", "phk_wrong000000000000000000000000000000000"}, "401"},
		{[]string{"events", "list", "--key", ""}, "POSTHORN_API_KEY"},
		{[]string{"events", "list", "--url", "nowhere"}, "POSTHORN_URL"},
		{[]string{"listen", "--forward", "3000"}, "--forward"},
		{[]string{"listen", "--secret", "short"}, "--secret"},
	} {
		if _, errs, err := try(t, n, c.args...); err == nil || !strings.Contains(errs, c.want) {
			t.Errorf("posthorn %s: %v, want something about %q:\n%s", strings.Join(c.args, " "), err, c.want, errs)
		}
	}
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	n := binary.Start(t)
	out := posthorn(t, n, "doctor", "--dev", "--reach", n.URL+"/healthz")
	for _, want := range []string{"ok    configuration", "ok    egress", "ok    clock", "0 to fix"} {
		if !strings.Contains(out, want) {
			t.Errorf("doctor lacks %q:\n%s", want, out)
		}
	}
	if out, _, err := try(t, n, "doctor", "--dev", "--port", "99999", "--reach", n.URL+"/healthz", "--json"); err == nil || !strings.Contains(out, "PORT must be") {
		t.Errorf("a bad port: %v\n%s", err, out)
	}
}
