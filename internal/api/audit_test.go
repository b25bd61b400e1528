package api

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

// logged are the entries of the home tenant, newest first.
func (s *site) logged(query string) []auditEntry {
	s.t.Helper()
	var l list[auditEntry]
	s.call(http.MethodGet, "/audit"+query, s.admin, nil).want(http.StatusOK).into(&l)
	return l.Data
}

// audited says how to make each operation with an action succeed once: the id of what it is about.
func audited() map[string]func(s *site) (object string) {
	subscription := func(method, below string, body map[string]any) func(s *site) string {
		return func(s *site) string {
			id := s.subscribe(s.admin, nil)
			s.call(method, "/subscriptions/"+id+below, s.admin, body).ok()
			return id
		}
	}
	dead := func(s *site) delivery {
		s.subscribe(s.admin, nil)
		return s.deliveries(s.admin, s.publish(s.admin, "a.b"))[0]
	}
	return map[string]func(s *site) string{
		"createSubscription":  func(s *site) string { return s.subscribe(s.admin, nil) },
		"replaceSubscription": subscription(http.MethodPut, "", map[string]any{"url": "https://example.com/2"}),
		"patchSubscription":   subscription(http.MethodPatch, "", map[string]any{"description": "x"}),
		"deleteSubscription":  subscription(http.MethodDelete, "", nil),
		"pauseSubscription":   subscription(http.MethodPost, "/pause", nil),
		"resumeSubscription":  subscription(http.MethodPost, "/resume", map[string]any{"backlog": "skip"}),
		"rotateSecret":        subscription(http.MethodPost, "/secret/rotate", map[string]any{}),
		"revokeSecrets":       subscription(http.MethodPost, "/secrets/revoke", nil),
		"revokeSecret": func(s *site) string {
			path := "/subscriptions/" + s.subscribe(s.admin, nil)
			s.call(http.MethodPost, path+"/secret/rotate", s.admin, map[string]any{}).ok()
			listed := s.call(http.MethodGet, path+"/secrets", s.admin, nil).ok()
			if strings.Contains(string(listed.body), "whsec_") {
				s.t.Errorf("the list of secrets shows one: %s", listed.body)
			}
			secrets := listed.object()["data"].([]any)
			newest, rotated := secrets[0].(map[string]any)["id"].(string), secrets[1].(map[string]any)["id"].(string)
			s.call(http.MethodDelete, path+"/secrets/"+newest, s.admin, nil).want(http.StatusConflict)
			s.call(http.MethodDelete, path+"/secrets/"+rotated, s.admin, nil).ok()
			s.call(http.MethodDelete, path+"/secrets/"+rotated, s.admin, nil).want(http.StatusNotFound)
			return strings.TrimPrefix(path, "/subscriptions/")
		},
		"getSecret": subscription(http.MethodGet, "/secret", nil),
		"testSubscription": func(s *site) string {
			s.workAlong(nil)
			return subscription(http.MethodPost, "/test", nil)(s)
		},
		"retryDelivery": func(s *site) string {
			d := dead(s)
			s.call(http.MethodPost, "/deliveries/"+d.ID.String()+"/retry", s.admin, nil).ok()
			return d.ID.String()
		},
		"cancelDelivery": func(s *site) string {
			d := dead(s)
			s.call(http.MethodPost, "/deliveries/"+d.ID.String()+"/cancel", s.admin, nil).ok()
			return d.ID.String()
		},
		"changeDeliveries": func(s *site) string {
			s.call(http.MethodPost, "/deliveries/bulk", s.admin,
				map[string]any{"action": "cancel", "filter": map[string]any{"status": []string{"pending"}}}).ok()
			return ""
		},
		"replayEvent": func(s *site) string {
			event := dead(s).EventID.String()
			s.call(http.MethodPost, "/events/"+event+"/replay", s.admin, map[string]any{}).ok()
			return event
		},
		"createReplay": func(s *site) string {
			return s.call(http.MethodPost, "/replays", s.admin, `{"filter":{"event_type":["a"]}}`).ok().object()["id"].(string)
		},
		"cancelReplay": func(s *site) string {
			id := s.call(http.MethodPost, "/replays", s.admin, `{"filter":{"event_type":["a"]}}`).ok().object()["id"].(string)
			s.call(http.MethodPost, "/replays/"+id+"/cancel", s.admin, nil).ok()
			return id
		},
		"erasePayload": func(s *site) string {
			event := dead(s).EventID.String()
			s.call(http.MethodDelete, "/events/"+event+"/payload", s.admin, nil).ok()
			return event
		},
		"createKey": func(s *site) string {
			return s.call(http.MethodPost, "/keys", s.admin, map[string]any{"name": "k", "scopes": []string{"read"}}).ok().object()["id"].(string)
		},
		"revokeKey": func(s *site) string {
			id := s.call(http.MethodPost, "/keys", s.admin, map[string]any{"name": "k", "scopes": []string{"read"}}).ok().object()["id"].(string)
			s.call(http.MethodDelete, "/keys/"+id, s.admin, nil).ok()
			return id
		},
		"createTenant": func(s *site) string {
			return s.call(http.MethodPost, "/tenants", s.admin, map[string]any{"name": "t"}).ok().object()["id"].(string)
		},
		"createEventType": func(s *site) string {
			s.call(http.MethodPost, "/event-types", s.admin, map[string]any{"name": "a.b"}).ok()
			return "a.b"
		},
		"putEventType": func(s *site) string {
			s.call(http.MethodPut, "/event-types/a.b", s.admin, map[string]any{}).ok()
			return "a.b"
		},
		"patchEventType": func(s *site) string {
			s.call(http.MethodPut, "/event-types/a.b", s.admin, map[string]any{}).ok()
			s.call(http.MethodPatch, "/event-types/a.b", s.admin, map[string]any{"deprecated": true}).ok()
			return "a.b"
		},
		"deleteEventType": func(s *site) string {
			s.call(http.MethodPut, "/event-types/a.b", s.admin, map[string]any{}).ok()
			s.call(http.MethodDelete, "/event-types/a.b", s.admin, nil).ok()
			return "a.b"
		},
		"putCatalogue": func(s *site) string {
			s.call(http.MethodPut, "/catalogue", s.admin, map[string]any{"strict": true}).ok()
			return ""
		},
		"startSession": func(s *site) string {
			s.signIn(s.admin)
			return s.keyList(s.admin)[0].ID.String()
		},
		"endSession": func(s *site) string {
			s.by(s.signIn(s.admin), http.MethodDelete, "/session", nil).ok()
			return s.keyList(s.admin)[0].ID.String()
		},
		"createSource": func(s *site) string {
			id, _ := s.newSource(nil)
			return id
		},
		"replaceSource": func(s *site) string {
			id, _ := s.newSource(nil)
			s.call(http.MethodPut, "/sources/"+id, s.admin, map[string]any{"name": "b", "provider": "github"}).ok()
			return id
		},
		"patchSource": func(s *site) string {
			id, _ := s.newSource(nil)
			s.call(http.MethodPatch, "/sources/"+id, s.admin, map[string]any{"enabled": false}).ok()
			return id
		},
		"deleteSource": func(s *site) string {
			id, _ := s.newSource(nil)
			s.call(http.MethodDelete, "/sources/"+id, s.admin, nil).ok()
			return id
		},
		"rotateSourceSecret": func(s *site) string {
			id, _ := s.newSource(nil)
			s.call(http.MethodPost, "/sources/"+id+"/secret/rotate", s.admin, map[string]any{}).ok()
			return id
		},
		"drainWorker": func(s *site) string {
			n := posthorn.Node{ID: s.node, StartedAt: s.store.Now()}
			_, err := s.store.Heartbeat(s.t.Context(), &n)
			must(s.t, err)
			s.call(http.MethodPost, "/workers/"+s.node.String()+"/drain", s.admin, nil).ok()
			return s.node.String()
		},
	}
}

func (a answered) ok() answered {
	a.t.Helper()
	if a.status >= 300 {
		a.t.Fatalf("answered %d: %s", a.status, a.body)
	}
	return a
}

// TestEveryChangeIsAudited finds operations that may change something and are neither audited nor say why not, and makes
// each audited one once.
func TestEveryChangeIsAudited(t *testing.T) {
	list := open(t, nil)
	how := audited()
	for _, r := range routes(list.handler) {
		op := operationOf(r.op)
		if op.audit == "" && op.unaudited == "" && r.method == http.MethodGet {
			continue
		}
		if (op.audit == "") == (op.unaudited == "") {
			t.Errorf("%s %s: give it an action for the audit log (audit), or say why it needs none (unaudited)", r.method, r.path)
			continue
		}
		if op.audit == "" {
			continue
		}
		do, known := how[op.id]
		if !known {
			t.Errorf("%s %s: say in audited() how to make it succeed once", r.method, r.path)
			continue
		}
		t.Run(op.id, func(t *testing.T) {
			s := open(t, nil)
			object := do(s)
			logged := s.logged("?tenant_id=all&action=" + op.audit)
			if len(logged) != 1 {
				t.Fatalf("%d entries of %s", len(logged), op.audit)
			}
			e := logged[0]
			if text(e.Object) != object || e.KeyID == nil || e.KeyName != "test" || e.Via == posthorn.ViaCommand || text(e.Address) != "127.0.0.1" ||
				e.ForwardedFor != nil || e.RequestID == "" || time.Since(e.At) > time.Minute {
				t.Errorf("the entry about %s is %+v", object, e)
			}
		})
	}
}

func TestAuditTellsWhatChanged(t *testing.T) {
	s := open(t, nil)
	secret := "whsec_" + strings.Repeat("Y2FuYXJ5", 4)
	id := s.subscribe(s.admin, map[string]any{"secret": secret, "headers": map[string]any{"X-Token": "canary-header", "X-Other": "same"}})
	s.call(http.MethodPatch, "/subscriptions/"+id, s.admin,
		map[string]any{"description": "new", "headers": map[string]any{"X-Token": "canary-second"}}).want(http.StatusOK)
	s.call(http.MethodPost, "/subscriptions/"+id+"/secret/rotate", s.admin, map[string]any{}).want(http.StatusOK)
	all := s.call(http.MethodGet, "/audit?object="+id, s.admin, nil).want(http.StatusOK)
	for _, never := range []string{"canary", "Y2FuYXJ5", "whsec_"} {
		if strings.Contains(string(all.body), never) {
			t.Errorf("the log holds %s: %s", never, all.body)
		}
	}
	logged := s.logged("?object=" + id + "&action=subscription.update")
	if len(logged) != 1 {
		t.Fatalf("%d entries", len(logged))
	}
	before, after := string(logged[0].Before.Value), string(logged[0].After.Value)
	if !strings.Contains(before, `"description":""`) || !strings.Contains(after, `"description":"new"`) ||
		!strings.Contains(after, `"changed_headers":["X-Token"]`) {
		t.Errorf("before %s, after %s", before, after)
	}
	if rotated := s.logged("?action=secret.rotate")[0]; strings.Count(string(rotated.After.Value), "created_at") != 3 {
		t.Errorf("after a rotation: %s", rotated.After.Value)
	}
}

func TestFailedChangesLeaveNoEntry(t *testing.T) {
	s := open(t, nil)
	s.call(http.MethodPost, "/subscriptions", s.admin, map[string]any{"url": "no"}).want(http.StatusUnprocessableEntity)
	s.call(http.MethodPost, "/deliveries/bulk", s.admin,
		map[string]any{"action": "cancel", "dry_run": true, "filter": map[string]any{"status": []string{"pending"}}}).want(http.StatusOK)
	s.publish(s.admin, "a.b")
	if logged := s.logged(""); len(logged) != 0 {
		t.Errorf("logged %+v", logged)
	}
}

func TestAuditIsOfTheTenant(t *testing.T) {
	s := open(t, nil)
	s.subscribe(s.admin, nil)
	s.subscribe(s.foreign, nil)
	manager := s.addKey(s.home, nil, posthorn.ScopeManage)
	var l list[auditEntry]
	s.call(http.MethodGet, "/audit", manager, nil).want(http.StatusOK).into(&l)
	if len(l.Data) != 1 || l.Data[0].TenantID != s.home.ID {
		t.Errorf("a manager sees %+v", l.Data)
	}
	for _, tenant := range []string{"all", s.other.ID.String()} {
		s.call(http.MethodGet, "/audit?tenant_id="+tenant, manager, nil).want(http.StatusForbidden)
	}
	if got := len(s.logged("?tenant_id=all")); got != 2 {
		t.Errorf("an admin sees %d of 2", got)
	}
	if got := s.logged("?tenant_id=" + s.other.ID.String()); len(got) != 1 || got[0].TenantID != s.other.ID {
		t.Errorf("an admin sees of the other %+v", got)
	}
	s.call(http.MethodGet, "/audit?key_id=x&tenant_id=y", s.admin, nil).wantFaults("query.key_id")
}

func TestAuditPages(t *testing.T) {
	s := open(t, nil)
	for range 5 {
		s.subscribe(s.admin, nil)
	}
	seen, cursor := []string{}, ""
	for {
		var l list[auditEntry]
		s.call(http.MethodGet, "/audit?limit=2&cursor="+cursor, s.admin, nil).want(http.StatusOK).into(&l)
		for _, e := range l.Data {
			seen = append(seen, e.ID.String())
		}
		if l.NextCursor == nil {
			break
		}
		cursor = *l.NextCursor
	}
	if len(seen) != 5 || !slices.IsSortedFunc(seen, func(a, b string) int { return strings.Compare(b, a) }) {
		t.Errorf("the pages held %v", seen)
	}
}

func TestAuditAddresses(t *testing.T) {
	s := open(t, func(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	s.callWith(http.MethodPost, "/subscriptions", s.admin, map[string]any{"url": "https://example.com"},
		http.Header{"X-Forwarded-For": {"203.0.113.7"}}).want(http.StatusCreated)
	e := s.logged("")[0]
	if text(e.Address) != "127.0.0.1" || text(e.ForwardedFor) != "203.0.113.7" {
		t.Errorf("from %s for %s", text(e.Address), text(e.ForwardedFor))
	}
}

// unwritable is a store whose audit log cannot be written.
type unwritable struct{ Store }

func (unwritable) RecordAudit(context.Context, *posthorn.AuditEntry) error {
	return posthorn.NewError(posthorn.Unavailable, "the store cannot answer now")
}

func TestUnwritableAuditLog(t *testing.T) {
	s := open(t, func(o *Options) { o.Store = unwritable{o.Store} })
	id := s.subscribe(s.admin, nil)
	if log := s.log.String(); !strings.Contains(log, "change missing from the audit log") || !strings.Contains(log, id) {
		t.Errorf("the log does not say what is missing: %s", log)
	}
	s.call(http.MethodGet, "/subscriptions/"+id+"/secret", s.admin, nil).want(http.StatusServiceUnavailable)
	s.call(http.MethodDelete, "/subscriptions/"+id, s.admin, nil).want(http.StatusNoContent)
}
