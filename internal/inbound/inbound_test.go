package inbound

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/signing"
)

func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func sourceOf(p posthorn.Provider, change func(*posthorn.Source)) *posthorn.Source {
	s := &posthorn.Source{SourcePolicy: posthorn.SourcePolicy{Name: "s", Provider: p}}
	if change != nil {
		change(s)
	}
	SetDefaults(s)
	return s
}

func TestDefaultsAreValid(t *testing.T) {
	for _, p := range posthorn.Providers {
		s := sourceOf(p, func(s *posthorn.Source) {
			if p == posthorn.ProviderHMAC {
				s.Scheme = &posthorn.SigningScheme{Header: "X-Signature"}
			}
		})
		if err := Check(s); err != nil {
			t.Errorf("%s: %v", p, err)
		}
		if fault := CheckSecret(s, NewSecret(s)); fault != "" {
			t.Errorf("%s: the secret made %s", p, fault)
		}
	}
}

func TestEventType(t *testing.T) {
	long := strings.Repeat("abcdefgh.", 40)
	tests := []struct {
		name     string
		provider posthorn.Provider
		template string
		header   http.Header
		body     string
		want     string
	}{
		{"GitHub", "github", "", headers("X-GitHub-Event", "issues"), `{"action":"opened"}`, "github.issues.opened"},
		{"GitHubWithoutAction", "github", "", headers("X-GitHub-Event", "push"), `{}`, "github.push"},
		{"GitHubForm", "github", "", headers("X-GitHub-Event", "push"), `payload=%7B%7D`, "github.push"},
		{"GitHubNothing", "github", "", headers(), `{}`, "github.event"},
		{"Stripe", "stripe", "", headers(), `{"id":"evt_1","data":{"type":"x"},"type":"invoice.payment_failed"}`, "stripe.invoice.payment_failed"},
		{"Shopify", "shopify", "", headers("X-Shopify-Topic", "orders/create"), `{}`, "shopify.orders.create"},
		{"Slack", "slack", "", headers(), `{"type":"event_callback","event":{"type":"app_mention"}}`, "slack.app_mention"},
		{"Standard", "standard", "", headers(), `{"type":"user.created"}`, "user.created"},
		{"StandardNothing", "standard", "", headers(), `[]`, "webhook.event"},
		{"Index", "hmac", "{payload.events[1].name}", headers(), `{"events":[{"name":"a"},{"name":"b c/d:e!é"}]}`, "b.c.d.e__"},
		{"Number", "hmac", "code.{payload.code}", headers(), `{"code":12}`, "code.12"},
		{"NotAText", "hmac", "code.{payload.code}", headers(), `{"code":{"a":1}}`, "webhook.event"},
		{"Literal", "hmac", "fixed.type", headers(), ``, "fixed.type"},
		{"Reserved", "hmac", "{payload.type}", headers(), `{"type":"posthorn.subscription.failing"}`, "webhook.event"},
		{"OnlyDots", "hmac", "{payload.type}", headers(), `{"type":"..."}`, "webhook.event"},
		{"Long", "hmac", "{payload.type}", headers(), `{"type":"` + long + `"}`, strings.TrimRight(long[:128], ".")},
		{"NUL", "hmac", "{payload.type}", headers(), `{"type":"a\u0000b"}`, "a_b"},
		{"Deep", "hmac", "{payload.a[0]}", headers(), `{"a":` + strings.Repeat("[", 20000), "webhook.event"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := sourceOf(test.provider, func(s *posthorn.Source) { s.EventType = test.template })
			if test.template != "" {
				if _, ok := parseTemplate(test.template); !ok {
					t.Fatal("the template is not one")
				}
			}
			e := Event(s, test.header, []byte(test.body))
			if e.Type != test.want {
				t.Errorf("type %q, want %q", e.Type, test.want)
			}
			if fault := posthorn.CheckType(e.Type); fault != "" {
				t.Error(fault)
			}
		})
	}
}

func TestEvent(t *testing.T) {
	s := sourceOf(posthorn.ProviderGitHub, func(s *posthorn.Source) { s.KeepHeaders = []string{"x-github-event", "X-Odd", "X-None"} })
	s.ID = posthorn.SourceID{UUID: posthorn.NewUUID(time.Now())}
	body := []byte(" { \"a\" : 1e2 } ")
	h := headers("X-GitHub-Event", "push", "X-GitHub-Delivery", "72d3162e", "Content-Type", "application/json; charset=utf-8", "X-Odd", "größe", "Authorization", "x")
	e := Event(s, h, body)
	if string(e.Payload) != string(body) || &e.Payload[0] == &body[0] {
		t.Errorf("payload %q", e.Payload)
	}
	if e.ContentType != "application/json; charset=utf-8" || e.IdempotencyKey != s.ID.String()+":72d3162e" || !e.KeyAlone {
		t.Errorf("event %+v", e)
	}
	if len(e.Headers) != 1 || e.Headers["X-Github-Event"] != "push" {
		t.Errorf("headers %v", e.Headers)
	}
	if err := e.Validate(); err != nil {
		t.Error(err)
	}
	for contentType, want := range map[string]string{"": "application/json", "nonsense": "application/json", "text/plain": "text/plain", "a/b; c=\"\x01\"": "application/json"} {
		h.Set("Content-Type", contentType)
		if got := Event(s, h, body).ContentType; got != want {
			t.Errorf("%q becomes %q, want %q", contentType, got, want)
		}
	}
	h.Del("Content-Type")
	if got := Event(s, h, []byte("a=b")).ContentType; got != "application/octet-stream" {
		t.Errorf("content type %q", got)
	}
	// A long id, or an odd one, is an id all the same.
	for _, id := range []string{strings.Repeat("x", 2000), "größe"} {
		h.Set("X-GitHub-Delivery", id)
		e := Event(s, h, body)
		if err := e.Validate(); err != nil || !strings.Contains(e.IdempotencyKey, "sha256:") {
			t.Errorf("key %q: %v", e.IdempotencyKey, err)
		}
	}
	h.Del("X-GitHub-Delivery")
	if e := Event(s, h, body); e.IdempotencyKey != "" || e.KeyAlone {
		t.Errorf("without an id the key is %q", e.IdempotencyKey)
	}
}

func TestTemplates(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "a.b": true, "{header.X-A}": true, "{payload.a}": true, "{payload.a-b.$c[0][12].d_e}": true, "{payload[0]}": true,
		"a{header.X}b{payload.x}c": true,
		"{":                        false, "}": false, "{}": false, "{payload}": false, "{payload.}": false, "{payload..a}": false, "{payload[01]}": false,
		"{payload[-1]}": false, "{payload[x]}": false, "{payload[99999]}": false, "{header.}": false, "{header.a b}": false, "{body.a}": false,
		"{{payload.a}}": false, "{payload.a": false, strings.Repeat("a", 513): false, strings.Repeat("{payload.a}", 17): false,
		"{payload" + strings.Repeat(".a", 17) + "}": false,
	} {
		if _, ok := parseTemplate(text); ok != want {
			t.Errorf("%q: %v, want %v", text, ok, want)
		}
	}
}

func TestStandardVerifies(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	key := signing.GenerateHMAC()
	s := sourceOf(posthorn.ProviderStandard, nil)
	s.Secrets = []posthorn.Secret{{Value: posthorn.SecretText(key.Secret().Reveal())}}
	h := headers("webhook-id", "msg_1")
	body := []byte(`{"type":"a"}`)
	h.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
	h.Set("webhook-signature", signing.Sign("msg_1", now, body, key))
	if err := Verify(s, h, body, now); err != nil {
		t.Error(err)
	}
	s.Secrets[0].ExpiresAt = now
	if Verify(s, h, body, now) == nil {
		t.Error("an expired secret verifies")
	}
	asymmetric := signing.GenerateEd25519()
	s.Secrets = []posthorn.Secret{{Value: posthorn.SecretText(asymmetric.Public())}}
	if fault := CheckSecret(s, asymmetric.Public()); fault != "" {
		t.Error(fault)
	}
	h.Set("webhook-signature", signing.Sign("msg_1", now, body, asymmetric))
	if err := Verify(s, h, body, now); err != nil {
		t.Error(err)
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add("github.{header.X-GitHub-Event}.{payload.action}", `{"action":"opened"}`)
	f.Add("{payload[0].a}", `[{"a":"\ud800"}]`)
	f.Fuzz(func(t *testing.T, text, body string) {
		s := sourceOf(posthorn.ProviderHMAC, func(s *posthorn.Source) { s.EventType, s.MessageID = text, text })
		e := Event(s, headers("X-GitHub-Event", body), []byte(body))
		if err := e.Validate(); err != nil {
			t.Errorf("%q of %q: %v", text, body, err)
		}
	})
}

func FuzzPath(f *testing.F) {
	f.Add(".a[0]", `{"a":[1]}`)
	f.Add("[1]", `[1,`)
	f.Fuzz(func(t *testing.T, text, body string) {
		p, ok := parsePath(text)
		if !ok {
			return
		}
		_, _ = p.find([]byte(body))
	})
}
