package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/signing"
)

// newSource makes a source and gives its id and the secret that was made.
func (s *site) newSource(fields map[string]any) (id, secret string) {
	s.t.Helper()
	body := map[string]any{"name": "test", "provider": "github"}
	for name, value := range fields {
		body[name] = value
	}
	made := s.call(http.MethodPost, "/sources", s.admin, body).want(http.StatusCreated).object()
	secret, _ = made["secret"].(string)
	return made["id"].(string), secret
}

// ingest sends a body to a source with headers, without a key.
func (s *site) ingest(id, body string, header ...string) answered {
	s.t.Helper()
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return s.callWith(http.MethodPost, "/ingest/"+id, "", body, h)
}

func hexHMAC(secret string, parts ...string) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(strings.Join(parts, "")))
	return hex.EncodeToString(h.Sum(nil))
}

func (s *site) github(id, secret, body, delivery string) answered {
	s.t.Helper()
	return s.ingest(id, body, "X-Hub-Signature-256", "sha256="+hexHMAC(secret, body), "X-GitHub-Event", "push", "X-GitHub-Delivery", delivery,
		"Content-Type", "application/json; charset=utf-8")
}

func (s *site) readSource(id string) source {
	s.t.Helper()
	var is source
	s.call(http.MethodGet, "/sources/"+id, s.admin, nil).want(http.StatusOK).into(&is)
	return is
}

func TestSources(t *testing.T) {
	s := open(t, nil)
	made := s.call(http.MethodPost, "/sources", s.admin, map[string]any{
		"name": "repos", "provider": "github", "keep_headers": []string{"X-GitHub-Event"}, "rate_limit": map[string]any{"limit": 5, "per": "second"},
	}).want(http.StatusCreated)
	is := made.object()
	id := is["id"].(string)
	if made.header.Get("Location") != "/sources/"+id || is["ingest_path"] != "/ingest/"+id || len(is["secret"].(string)) != 64 ||
		is["event_type"] != "github.{header.X-GitHub-Event}.{payload.action}" || is["enabled"] != true {
		t.Errorf("made %v", is)
	}
	secret := is["secret"].(string)
	read := s.call(http.MethodGet, "/sources/"+id, s.admin, nil).want(http.StatusOK)
	if strings.Contains(string(read.body), secret) || strings.Contains(string(s.call(http.MethodGet, "/sources", s.admin, nil).body), secret) {
		t.Error("the secret can be read")
	}
	s.call(http.MethodPut, "/sources/"+id, s.admin, string(read.body)).want(http.StatusOK)
	patched := s.call(http.MethodPatch, "/sources/"+id, s.admin, map[string]any{"description": "d", "rate_limit": nil, "event_type": "x.{payload.a}"}).want(http.StatusOK).object()
	if patched["description"] != "d" || patched["rate_limit"] != nil || patched["event_type"] != "x.{payload.a}" || patched["name"] != "repos" {
		t.Errorf("patched %v", patched)
	}
	back := s.call(http.MethodPatch, "/sources/"+id, s.admin, map[string]any{"event_type": nil, "provider": "stripe"}).want(http.StatusOK).object()
	if back["event_type"] != "stripe.{payload.type}" || back["message_id"] != "{payload.id}" {
		t.Errorf("patched %v", back)
	}
	var l list[source]
	s.call(http.MethodGet, "/sources?limit=1", s.admin, nil).want(http.StatusOK).into(&l)
	if len(l.Data) != 1 || len(l.Data[0].Secrets) != 1 {
		t.Errorf("listed %+v", l)
	}
	for _, text := range []string{s.log.String(), string(s.call(http.MethodGet, "/audit", s.admin, nil).body)} {
		if strings.Contains(text, secret) {
			t.Error("the secret is written down")
		}
	}
	s.call(http.MethodDelete, "/sources/"+id, s.admin, nil).want(http.StatusNoContent)
	s.call(http.MethodDelete, "/sources/"+id, s.admin, nil).want(http.StatusNotFound)
	s.github(id, secret, `{}`, "1").want(http.StatusNotFound)
}

func TestBadSources(t *testing.T) {
	s := open(t, nil)
	scheme := map[string]any{"header": "X-Sig"}
	for _, test := range []struct {
		name   string
		body   map[string]any
		faults []string
	}{
		{"Nothing", map[string]any{}, []string{"body.name", "body.provider"}},
		{"Provider", map[string]any{"name": "a", "provider": "acme"}, []string{"body.provider"}},
		{"NoScheme", map[string]any{"name": "a", "provider": "hmac"}, []string{"body.scheme"}},
		{"ForeignScheme", map[string]any{"name": "a", "provider": "github", "scheme": scheme}, []string{"body.scheme"}},
		{"Template", map[string]any{"name": "a", "provider": "github", "event_type": "{x}", "message_id": "{"}, []string{"body.event_type", "body.message_id"}},
		{"DefaultType", map[string]any{"name": "a", "provider": "github", "default_type": "posthorn.x"}, []string{"body.default_type"}},
		{"Tolerance", map[string]any{"name": "a", "provider": "slack", "tolerance_seconds": 0}, []string{"body.tolerance_seconds"}},
		{"Kept", map[string]any{"name": "a", "provider": "github", "keep_headers": []string{"Host"}}, []string{"body.keep_headers[0]"}},
		{"Secret", map[string]any{"name": "a", "provider": "standard", "secret": "s3cret"}, []string{"body.secret"}},
		{"UnsignedTimestamp", map[string]any{"name": "a", "provider": "hmac", "scheme": map[string]any{"header": "X-Sig", "timestamp_header": "X-At"}}, []string{"body.scheme.signed"}},
		{"NoBody", map[string]any{"name": "a", "provider": "hmac", "scheme": map[string]any{"header": "X-Sig", "signed": "x"}}, []string{"body.scheme.signed"}},
		{"RateLimit", map[string]any{"name": "a", "provider": "github", "rate_limit": map[string]any{"limit": 0, "per": "day"}}, []string{"body.rate_limit.limit", "body.rate_limit.per"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := s.call(http.MethodPost, "/sources", s.admin, test.body)
			a.t = t
			a.wantFaults(test.faults...)
			if strings.Contains(string(a.body), "s3cret") {
				t.Errorf("the secret is repeated: %s", a.body)
			}
		})
	}
	id, _ := s.newSource(map[string]any{"secret": "chosen by a person"})
	s.call(http.MethodPatch, "/sources/"+id, s.admin, map[string]any{"provider": "standard"}).wantFaults("body.secret")
	s.call(http.MethodPatch, "/sources/"+id, s.admin, map[string]any{"nonsense": nil}).wantFaults("body.nonsense")
	slack, _ := s.newSource(map[string]any{"provider": "slack"})
	s.call(http.MethodPost, "/sources/"+slack+"/secret/rotate", s.admin, map[string]any{}).wantFaults("body.secret")
}

func TestIngest(t *testing.T) {
	s := open(t, nil)
	subscription := s.subscribe(s.admin, map[string]any{"event_types": []string{"github.*"}})
	id, secret := s.newSource(map[string]any{"keep_headers": []string{"X-GitHub-Event"}})
	body := " {\"action\": \"opened\", \"n\": 1e2} "
	var first, again ingested
	s.github(id, secret, body, "72d3162e").want(http.StatusOK).into(&first)
	if first.Type != "github.push.opened" || *first.Deliveries != 1 || *first.Duplicate {
		t.Errorf("answered %+v", first)
	}
	// The provider sends it again, its content changed meanwhile.
	s.github(id, secret, `{"action": "opened", "n": 2}`, "72d3162e").want(http.StatusOK).into(&again)
	if again.ID != first.ID || !*again.Duplicate || !again.CreatedAt.Equal(*first.CreatedAt) {
		t.Errorf("answered %+v, then %+v", first, again)
	}
	var e eventWithPayload
	s.call(http.MethodGet, "/events/"+first.ID.String(), s.admin, nil).want(http.StatusOK).into(&e)
	stored, err := s.store.GetEvent(t.Context(), s.home.ID, first.ID)
	must(t, err)
	if string(stored.Payload) != body || e.ContentType != "application/json; charset=utf-8" || stored.Headers["X-Github-Event"] != "push" {
		t.Errorf("stored %q of %s with %v", stored.Payload, e.ContentType, stored.Headers)
	}
	if d := s.deliveries(s.admin, first.ID.String()); len(d) != 1 || d[0].SubscriptionID.String() != subscription {
		t.Errorf("deliveries %+v", d)
	}
	// Another source of the same provider may use the same id.
	other, otherSecret := s.newSource(nil)
	s.github(other, otherSecret, body, "72d3162e").want(http.StatusOK).into(&again)
	if *again.Duplicate || again.ID == first.ID {
		t.Errorf("another source's: %+v", again)
	}
	is := s.readSource(id)
	if is.Accepted != 1 || is.Duplicates != 1 || is.Refused != 0 || is.LastAcceptedAt == nil || is.LastRefusedAt != nil {
		t.Errorf("counted %+v", is)
	}
	must(t, s.handler.counter.Flush(t.Context()))
	if is := s.readSource(id); is.Accepted != 1 || is.Duplicates != 1 {
		t.Errorf("counted %+v", is)
	}
}

func TestIngestRefuses(t *testing.T) {
	s := open(t, nil)
	id, secret := s.newSource(nil)
	good := "sha256=" + hexHMAC(secret, "{}")
	var told []string
	for _, test := range []struct {
		name string
		a    answered
	}{
		{"Nothing", s.ingest(id, "{}")},
		{"Wrong", s.ingest(id, "{}", "X-Hub-Signature-256", "sha256="+hexHMAC("other", "{}"))},
		{"OtherBody", s.ingest(id, "{ }", "X-Hub-Signature-256", good)},
		{"Garbage", s.ingest(id, "{}", "X-Hub-Signature-256", "ünicode")},
		{"Empty", s.ingest(id, "", "X-Hub-Signature-256", "sha256=")},
		{"AdminKey", s.callWith(http.MethodPost, "/ingest/"+id, s.admin, "{}", nil)},
	} {
		a := test.a.want(http.StatusUnauthorized)
		var p problem
		a.into(&p)
		if p.Type != "urn:posthorn:problem:bad-signature" || a.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %s", test.name, a.body)
		}
		told = append(told, withoutID(a))
	}
	for _, text := range told[1:] {
		if text != told[0] {
			t.Errorf("the answers tell what was wrong: %s and %s", text, told[0])
		}
	}
	if is := s.readSource(id); is.Refused != 6 || is.LastRefusedAt == nil || is.Accepted != 0 {
		t.Errorf("counted %+v", is)
	}
	// What is not there, cannot be there or is disabled is answered alike.
	s.call(http.MethodPatch, "/sources/"+id, s.admin, map[string]any{"enabled": false}).want(http.StatusOK)
	absent := withoutID(s.ingest("src_01m8547nx0e1qbsjvyf4n6x9ff", "{}").want(http.StatusNotFound))
	for _, a := range []answered{s.ingest(id, "{}", "X-Hub-Signature-256", good), s.ingest("x", "{}"), s.ingest("%00", "{}")} {
		if got := withoutID(a.want(http.StatusNotFound)); got != absent {
			t.Errorf("%s, want %s", got, absent)
		}
	}
	s.call(http.MethodPatch, "/sources/"+id, s.admin, map[string]any{"enabled": true}).want(http.StatusOK)
	s.ingest(id, "{}", "X-Hub-Signature-256", good).want(http.StatusOK)
	s.ingest(id, "{}", "X-Hub-Signature-256", good, "Content-Encoding", "gzip").want(http.StatusUnsupportedMediaType)
	large := strings.Repeat("x", 256<<10+1)
	s.ingest(id, large, "X-Hub-Signature-256", "sha256="+hexHMAC(secret, large)).want(http.StatusRequestEntityTooLarge)
	exact := large[1:]
	s.ingest(id, exact, "X-Hub-Signature-256", "sha256="+hexHMAC(secret, exact), "Content-Type", "text/plain").want(http.StatusOK)
	s.call(http.MethodGet, "/ingest/"+id, s.admin, nil).want(http.StatusMethodNotAllowed)
}

func TestIngestProviders(t *testing.T) {
	s := open(t, nil)
	at := s.store.Now()
	now := strconv.FormatInt(at.Unix(), 10)
	stale := strconv.FormatInt(at.Add(-time.Hour).Unix(), 10)
	wantType := func(a answered, want string) {
		t.Helper()
		var is ingested
		if a.want(http.StatusOK).into(&is); is.Type != want {
			t.Errorf("type %q, want %q", is.Type, want)
		}
	}
	stripe, _ := s.newSource(map[string]any{"provider": "stripe"})
	body := `{"id": "evt_1", "type": "invoice.paid"}`
	s.ingest(stripe, body, "Stripe-Signature", "t="+now+",v1="+hexHMAC("", now, ".", body)).want(http.StatusUnauthorized)
	s.call(http.MethodPost, "/sources/"+stripe+"/secret/rotate", s.admin, map[string]any{"secret": "whsec_stripe"}).want(http.StatusOK)
	wantType(s.ingest(stripe, body, "Stripe-Signature", "t="+now+",v1="+hexHMAC("whsec_stripe", now, ".", body)), "stripe.invoice.paid")
	s.ingest(stripe, body, "Stripe-Signature", "t="+stale+",v1="+hexHMAC("whsec_stripe", stale, ".", body)).want(http.StatusUnauthorized)

	slack, _ := s.newSource(map[string]any{"provider": "slack", "secret": "slack-secret"})
	sign := func(body string) answered {
		return s.ingest(slack, body, "X-Slack-Request-Timestamp", now, "X-Slack-Signature", "v0="+hexHMAC("slack-secret", "v0:", now, ":", body))
	}
	challenge := sign(`{"token": "x", "challenge": "3eZbrw1aB", "type": "url_verification"}`).want(http.StatusOK)
	if got := strings.TrimSpace(string(challenge.body)); got != `{"challenge":"3eZbrw1aB"}` {
		t.Errorf("challenged: %s", got)
	}
	s.ingest(slack, `{"challenge": "x", "type": "url_verification"}`).want(http.StatusUnauthorized)
	wantType(sign(`{"type": "event_callback", "event_id": "Ev1", "event": {"type": "app_mention"}}`), "slack.app_mention")

	standard, secret := s.newSource(map[string]any{"provider": "standard"})
	key, err := signing.ParseSecret(secret)
	must(t, err)
	body = `{"type": "user.created"}`
	wantType(s.ingest(standard, body, "webhook-id", "msg_1", "webhook-timestamp", now,
		"webhook-signature", signing.Sign("msg_1", at, []byte(body), key)), "user.created")

	custom, secret := s.newSource(map[string]any{
		"provider": "hmac", "event_type": "acme.{header.X-Topic}", "message_id": "{payload.id}",
		"scheme": map[string]any{"header": "X-Sig", "prefix": "v1=", "timestamp_header": "X-At", "signed": "{timestamp}.{body}"},
	})
	body = `{"id": 7}`
	wantType(s.ingest(custom, body, "X-At", now, "X-Sig", "v1="+hexHMAC(secret, now, ".", body), "X-Topic", "orders/new"), "acme.orders.new")
	s.ingest(custom, body, "X-At", stale, "X-Sig", "v1="+hexHMAC(secret, stale, ".", body)).want(http.StatusUnauthorized)
}

func TestIngestSecretsRotate(t *testing.T) {
	s := open(t, nil)
	id, old := s.newSource(nil)
	made := s.call(http.MethodPost, "/sources/"+id+"/secret/rotate", s.admin, map[string]any{}).want(http.StatusOK).object()
	secret := made["secret"].(string)
	s.github(id, old, `{}`, "1").want(http.StatusOK)
	s.github(id, secret, `{}`, "2").want(http.StatusOK)
	s.call(http.MethodPost, "/sources/"+id+"/secret/rotate", s.admin, map[string]any{"secret": "third", "overlap_seconds": 0}).want(http.StatusOK)
	s.github(id, old, `{}`, "3").want(http.StatusUnauthorized)
	s.github(id, secret, `{}`, "4").want(http.StatusUnauthorized)
	s.github(id, "third", `{}`, "5").want(http.StatusOK)
	for i := range posthorn.MaxSourceSecrets - 1 {
		s.call(http.MethodPost, "/sources/"+id+"/secret/rotate", s.admin, map[string]any{"secret": "more" + strconv.Itoa(i)}).want(http.StatusOK)
	}
	s.call(http.MethodPost, "/sources/"+id+"/secret/rotate", s.admin, map[string]any{}).want(http.StatusConflict)
	if is := s.readSource(id); len(is.Secrets) != posthorn.MaxSourceSecrets || is.Secrets[0].ExpiresAt != nil || is.Secrets[1].ExpiresAt == nil {
		t.Errorf("secrets %+v", is.Secrets)
	}
}

func TestIngestObeysLimitsAndCatalogue(t *testing.T) {
	s := open(t, func(o *Options) { o.TenantLimit = &posthorn.RateLimit{Limit: 4, Per: "minute"} })
	id, secret := s.newSource(map[string]any{"rate_limit": map[string]any{"limit": 2, "per": "minute"}})
	for range 5 {
		s.ingest(id, "{}").want(http.StatusUnauthorized)
	}
	s.github(id, secret, `{}`, "1").want(http.StatusOK)
	s.github(id, secret, `{}`, "2").want(http.StatusOK)
	if over := s.github(id, secret, `{}`, "3").want(http.StatusTooManyRequests); over.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	// Publishing and other sources share the tenant's limit.
	other, secret := s.newSource(nil)
	s.github(other, secret, `{}`, "1").want(http.StatusOK)
	s.call(http.MethodPut, "/event-types/github.push", s.admin, map[string]any{"enforce": true, "schema": map[string]any{"required": []string{"ref"}}}).want(http.StatusOK)
	s.github(other, secret, `{}`, "2").wantFaults("body.payload.ref")
	s.github(other, secret, `{}`, "3").want(http.StatusTooManyRequests)
}
