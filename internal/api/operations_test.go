package api

import (
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

func TestHealth(t *testing.T) {
	down := errors.New("dial tcp 10.0.0.1: refused")
	var redis, database Health = HealthOK, HealthOK
	var notReady error
	s := open(t, func(o *Options) {
		o.Checks = []Check{
			{"database", func(context.Context) Component { return Component{Status: database} }},
			{"redis", func(context.Context) Component { return Component{Status: redis, Message: "gone"} }},
		}
		o.Ready = func(context.Context) error { return notReady }
	})
	tests := []struct {
		database, redis Health
		want            Health
		status          int
	}{{HealthOK, HealthOK, HealthOK, 200}, {HealthOK, HealthDegraded, HealthDegraded, 200}, {HealthDown, HealthDegraded, HealthDown, 503}}
	for _, test := range tests {
		database, redis = test.database, test.redis
		s.handler.health.until = time.Time{}
		got := s.call(http.MethodGet, "/health", "", nil).want(test.status).object()
		if got["status"] != string(test.want) || len(got["components"].([]any)) != 2 {
			t.Errorf("health %s", jsonText(got))
		}
	}
	for _, path := range []string{"/health/live", "/healthz", "/health/ready"} {
		s.call(http.MethodGet, path, "", nil).want(http.StatusOK)
	}
	notReady = down
	a := s.call(http.MethodGet, "/health/ready", "", nil).want(http.StatusServiceUnavailable)
	if strings.Contains(string(a.body), "10.0.0.1") || a.header.Get("Retry-After") == "" {
		t.Errorf("not ready: %s", a.body)
	}
	if !strings.Contains(s.log.String(), "10.0.0.1") {
		t.Errorf("the log does not say why the node is not ready: %s", s.log)
	}
	s.call(http.MethodGet, "/health/live", "", nil).want(http.StatusOK)
}

func TestWorkers(t *testing.T) {
	s := open(t, nil)
	now := s.store.Now()
	d := posthorn.Doing{DeliveryID: posthorn.DeliveryID{UUID: posthorn.NewUUID(now)}, Number: 2, Since: now}
	_, err := s.store.Heartbeat(t.Context(), &posthorn.Node{
		ID: s.node, Hostname: "h", Version: "1", Roles: []string{"worker"}, StartedAt: now.Add(-time.Minute), InFlight: 1, Doing: []posthorn.Doing{d},
	})
	must(t, err)
	var l list[worker]
	s.call(http.MethodGet, "/workers", s.admin, nil).want(http.StatusOK).into(&l)
	if len(l.Data) != 1 || l.Data[0].ID != s.node || l.Data[0].Status != "alive" || l.Data[0].UptimeSeconds < 60 || l.Data[0].Doing[0].Attempt != 2 {
		t.Errorf("workers %s", jsonText(l))
	}
	path := "/workers/" + s.node.String()
	if got := s.call(http.MethodPost, path+"/drain", s.admin, nil).want(http.StatusAccepted).object(); got["status"] != "draining" {
		t.Errorf("drained %s", jsonText(got))
	}
	s.call(http.MethodGet, path, s.admin, nil).want(http.StatusOK)
	drain, err := s.store.Heartbeat(t.Context(), &posthorn.Node{ID: s.node, StartedAt: now})
	must(t, err)
	if !drain {
		t.Error("the node was not told to drain")
	}
}

func TestNodeStatus(t *testing.T) {
	now := time.Now()
	for ago, want := range map[time.Duration]string{time.Second: "alive", 16 * time.Second: "late", time.Minute: "dead"} {
		if got := nodeStatus(&posthorn.Node{SeenAt: now.Add(-ago)}, now); got != want {
			t.Errorf("seen %s ago it is %s, want %s", ago, got, want)
		}
	}
}

func TestQueue(t *testing.T) {
	s := open(t, nil)
	id := s.subscribe(s.admin, nil)
	s.subscribe(s.foreign, nil)
	s.publish(s.admin, "a")
	s.publish(s.admin, "a")
	s.publish(s.foreign, "a")
	var q queueView
	s.call(http.MethodGet, "/queue", s.admin, nil).want(http.StatusOK).into(&q)
	if q.Pending != 2 || q.Due != 2 || len(q.Lanes) != 1 || q.Lanes[0].SubscriptionID.String() != id || q.Lanes[0].Backlog != 2 || q.Lanes[0].Breaker != "closed" {
		t.Errorf("queue %s", jsonText(q))
	}
	s.call(http.MethodGet, "/queue?all=true", s.admin, nil).want(http.StatusOK).into(&q)
	if q.Pending != 3 || len(q.Lanes) != 2 {
		t.Errorf("queue of all %s", jsonText(q))
	}
	reader := s.addKey(s.home, nil, posthorn.ScopeManage)
	s.call(http.MethodGet, "/queue?all=true", reader, nil).want(http.StatusForbidden)
	s.call(http.MethodGet, "/queue?all=yes", s.admin, nil).wantFaults("query.all")
}

func TestQueueHistory(t *testing.T) {
	s := open(t, nil)
	s.subscribe(s.admin, nil)
	s.publish(s.admin, "a")
	must(t, s.store.SampleQueue(t.Context()))
	var h queueHistory
	s.call(http.MethodGet, "/queue/history?step=1m&since=1h", s.admin, nil).wantFaults("query.since")
	s.call(http.MethodGet, "/queue/history?step=1m", s.admin, nil).want(http.StatusOK).into(&h)
	if len(h.Data) != 1 || h.Data[0].Pending != 1 || h.Data[0].Due != 1 || h.StepSeconds != 60 {
		t.Errorf("history %s", jsonText(h))
	}
	s.call(http.MethodGet, "/queue/history?step=1m", s.foreign, nil).want(http.StatusOK).into(&h)
	if len(h.Data) != 1 || h.Data[0].Pending != 0 {
		t.Errorf("another tenant's history %s", jsonText(h))
	}
	s.call(http.MethodGet, "/queue/history?all=true", s.addKey(s.home, nil, posthorn.ScopeRead), nil).want(http.StatusForbidden)
	s.call(http.MethodGet, "/queue/history?step=2m", s.admin, nil).wantFaults("query.step")
}

func TestSettings(t *testing.T) {
	s := open(t, func(o *Options) {
		o.Settings = Settings{
			Store: "sqlite", Roles: []string{"api"}, Retention: time.Hour,
			Variables: []Variable{{Name: "POSTHORN_RETENTION", Value: "1h0m0s", Changed: true}},
		}
	})
	var v settingsView
	s.call(http.MethodGet, "/settings", s.admin, nil).want(http.StatusOK).into(&v)
	if v.Store != "sqlite" || v.RetentionSeconds != 3600 || v.MaxEventBytes == 0 || len(v.Variables) != 1 || !v.Variables[0].Changed {
		t.Errorf("settings %s", jsonText(v))
	}
	s.call(http.MethodGet, "/settings", s.addKey(s.home, nil, posthorn.ScopeRead), nil).want(http.StatusOK).into(&v)
	if len(v.Variables) != 0 || v.RetentionSeconds != 3600 {
		t.Errorf("settings for a reader %s", jsonText(v))
	}
}

func TestStats(t *testing.T) {
	s := open(t, nil)
	s.subscribe(s.admin, nil)
	s.publish(s.admin, "a")
	s.work(failing(0))
	s.work(nil)
	var v statsView
	s.call(http.MethodGet, "/stats?step=1m", s.admin, nil).want(http.StatusOK).into(&v)
	if v.Totals.Accepted != 1 || v.Totals.Attempts != 2 || v.Totals.Succeeded != 1 || v.Totals.Duration.P50MS == nil || len(v.Data) == 0 || v.StepSeconds != 60 {
		t.Errorf("stats %s", jsonText(v))
	}
	s.call(http.MethodGet, "/stats?step=2m", s.admin, nil).wantFaults("query.step")
	s.call(http.MethodGet, "/stats?step=1m&since=2020-01-01T00:00:00Z", s.admin, nil).wantFaults("query.since")
	s.call(http.MethodGet, "/stats?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", s.admin, nil).wantFaults("query.until")
}

func TestStatsStep(t *testing.T) {
	now := time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
	for back, want := range map[time.Duration]time.Duration{
		time.Hour: time.Minute, 24 * time.Hour: 5 * time.Minute, 72 * time.Hour: 15 * time.Minute, 30 * 24 * time.Hour: 6 * time.Hour,
	} {
		f, err := (&statsQuery{Since: moment{now.Add(-back)}}).filter(now)
		if err != nil || f.Step != want || f.Since.Truncate(f.Step) != f.Since {
			t.Errorf("%s in steps of %s, want %s: %v", back, f.Step, want, err)
		}
	}
}

func TestQuantile(t *testing.T) {
	var b [posthorn.LatencyBuckets]int64
	if quantile(&b, 0.5) != nil {
		t.Error("a quantile of nothing")
	}
	b[2] = 100 // above 5 ms, up to 10 ms
	if got := *quantile(&b, 0.5); math.Abs(got-7.5) > 1e-9 {
		t.Errorf("the median is %v", got)
	}
	b[posthorn.LatencyBuckets-1] = 100
	if got := *quantile(&b, 0.99); got != 300_000 {
		t.Errorf("above all bounds it is %v", got)
	}
}

func TestKeysAndTenants(t *testing.T) {
	s := open(t, nil)
	tenant := s.call(http.MethodPost, "/tenants", s.admin, map[string]any{"name": "acme", "ip_allowlist": []string{"127.0.0.1", "10.1.2.3/8"}}).want(http.StatusCreated).object()
	if jsonText(tenant["ip_allowlist"]) != `["127.0.0.1/32","10.0.0.0/8"]` || tenant["rate_limit"] != nil {
		t.Errorf("tenant %s", jsonText(tenant))
	}
	s.call(http.MethodPost, "/tenants", s.admin, map[string]any{"name": "acme"}).want(http.StatusConflict)
	s.call(http.MethodPost, "/tenants", s.admin, map[string]any{"name": "", "ip_allowlist": []string{"x"}, "rate_limit": map[string]any{"limit": 0, "per": "x"}}).
		wantFaults("body.ip_allowlist[0]", "body.name", "body.rate_limit.limit", "body.rate_limit.per")
	if got := s.pages("/tenants", s.admin, 2); len(got) != 3 || got[0] != tenant["id"] {
		t.Errorf("tenants %v", got)
	}
	made := s.call(http.MethodPost, "/keys", s.admin, map[string]any{
		"name": "k", "scopes": []string{"read", "publish", "read"}, "tenant_id": tenant["id"], "expires_at": "2099-01-01T00:00:00Z",
	}).want(http.StatusCreated).object()
	key := made["key"].(string)
	if !strings.HasPrefix(key, made["prefix"].(string)) || jsonText(made["scopes"]) != `["publish","read"]` || made["tenant_id"] != tenant["id"] {
		t.Errorf("key %s", jsonText(made))
	}
	s.call(http.MethodGet, "/events", key, nil).want(http.StatusOK)
	must(t, s.auth.Flush(t.Context()))
	listed := s.call(http.MethodGet, "/keys?tenant_id="+tenant["id"].(string), s.admin, nil).want(http.StatusOK)
	if strings.Contains(string(listed.body), key) || !strings.Contains(string(listed.body), `"last_used_at":"2`) {
		t.Errorf("keys %s", listed.body)
	}
	s.call(http.MethodDelete, "/keys/"+made["id"].(string)+"?tenant_id="+tenant["id"].(string), s.admin, nil).want(http.StatusNoContent)
	s.call(http.MethodGet, "/events", key, nil).want(http.StatusUnauthorized)

	s.call(http.MethodPost, "/keys", s.admin, map[string]any{"name": "k", "scopes": []string{}}).wantFaults("body.scopes")
	s.call(http.MethodPost, "/keys", s.admin, map[string]any{"name": "k", "scopes": []string{"root"}, "expires_at": "2020-01-01T00:00:00Z"}).
		wantFaults("body.expires_at", "body.scopes[0]")
	s.call(http.MethodPost, "/keys", s.admin, map[string]any{"name": "k", "scopes": []string{"read"}, "tenant_id": "tnt_01m8547nx0e1qbsjvyf4n6x9ff"}).want(http.StatusNotFound)
	own := s.keyList(s.admin)
	i := slices.IndexFunc(own, func(k apiKey) bool { return strings.HasPrefix(s.admin, k.Prefix) })
	s.call(http.MethodDelete, "/keys/"+own[i].ID.String(), s.admin, nil).want(http.StatusConflict)
}

func TestPages(t *testing.T) {
	s := open(t, nil)
	for path, want := range map[string]string{
		"/": "make build", "/docs": "/docs/start.js", "/docs/start.js": "Scalar.createApiReference", "/docs/reference.js": "scalar",
		"/openapi.json": `"openapi":"3.1.0"`, "/openapi.yaml": "openapi: 3.1.0",
	} {
		a := s.call(http.MethodGet, path, "", nil).want(http.StatusOK)
		policy := a.header.Get("Content-Security-Policy")
		if !strings.Contains(string(a.body), want) || !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "http") ||
			a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %v %.200s", path, a.header, a.body)
		}
	}
	s.call(http.MethodHead, "/health", "", nil).want(http.StatusOK)
	s.call(http.MethodHead, "/live", s.admin, nil).want(http.StatusMethodNotAllowed)
	if a := s.call(http.MethodDelete, "/events", s.admin, nil).want(http.StatusMethodNotAllowed); a.header.Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("Allow: %s", a.header.Get("Allow"))
	}
	s.call(http.MethodGet, "/subscriptions/", s.admin, nil).want(http.StatusNotFound)
	s.call(http.MethodGet, "/ui/deliveries", "", nil).want(http.StatusNotFound)
}

func TestRequestIDs(t *testing.T) {
	s := open(t, nil)
	for given, kept := range map[string]bool{"abc-123_X.y:z": true, "": false, "a b": false, strings.Repeat("x", 65): false, "<script>": false} {
		a := s.callWith(http.MethodGet, "/nothing", "", nil, http.Header{requestIDHeader: {given}})
		var p problem
		a.into(&p)
		if id := a.header.Get(requestIDHeader); id == "" || (id == given) != kept || p.RequestID != id {
			t.Errorf("given %q, answered %q and %q", given, id, p.RequestID)
		}
	}
}

func TestPanicsAreAnswered(t *testing.T) {
	s := open(t, func(o *Options) {
		o.Ready = func(context.Context) error { panic("secret detail") }
	})
	a := s.call(http.MethodGet, "/health/ready", "", nil).want(http.StatusInternalServerError)
	if strings.Contains(string(a.body), "secret detail") || !strings.Contains(s.log.String(), "secret detail") {
		t.Errorf("a panic is answered %s", a.body)
	}
}

// TestStoreOutOfReach closes the store under the API: every read and write says so, and none is a 500.
func TestStoreOutOfReach(t *testing.T) {
	s := open(t, nil)
	s.call(http.MethodGet, "/events", s.admin, nil).want(http.StatusOK)
	must(t, s.store.Close())
	for path, body := range map[string]any{"/events": map[string]any{"type": "a", "payload": 1}, "/subscriptions": map[string]any{"url": "https://example.com"}} {
		for _, a := range []answered{s.call(http.MethodPost, path, s.admin, body), s.call(http.MethodGet, path, s.admin, nil)} {
			if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
				t.Errorf("%s is answered %d %s", path, a.status, a.body)
			}
		}
	}
}
