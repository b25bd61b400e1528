package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/auth"
	"github.com/posthorn/posthorn/internal/bus"
	"github.com/posthorn/posthorn/internal/cache"
	"github.com/posthorn/posthorn/internal/catalogue"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/ingest"
	"github.com/posthorn/posthorn/internal/limit"
	jobs "github.com/posthorn/posthorn/internal/replay"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/sqlite"
)

// site is the API over real parts: the SQLite store, ingest, cache, bus and limits, served over HTTP. No engine runs:
// a test plays the worker where it needs one.
type site struct {
	t       *testing.T
	store   *sqlite.Store
	bus     *bus.Bus
	auth    *auth.Authenticator
	replays *jobs.Runner // not started
	handler *Handler
	server  *httptest.Server
	log     *lockedBuffer
	node    posthorn.NodeID
	// home is the tenant of most tests, other the one that must see nothing of it.
	home, other posthorn.Tenant
	// admin and foreign are their admin keys.
	admin, foreign string
}

// lockedBuffer is a log that a test reads while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

type checker struct{ *egress.Policy }

func (c checker) CheckURL(raw string) error {
	_, err := c.Policy.CheckURL(raw)
	return err
}

type limiter struct{ *limit.Limiter }

func (l limiter) Allow(ctx context.Context, name string, rate posthorn.RateLimit, n, already int) (bool, int, time.Duration) {
	d := l.AllowMore(ctx, name, rate, n, already)
	return d.OK, d.Remaining, d.RetryAfter
}

type matcher struct{ *cache.Cache }

func (m matcher) Match(ctx context.Context, tenant posthorn.TenantID, e *posthorn.Event, atLeast int64) (ingest.Matched, error) {
	set, err := m.Refresh(ctx, tenant, atLeast)
	if err != nil {
		return ingest.Matched{}, err
	}
	return ingest.Matched{Version: set.Version, Subscriptions: set.Match(e.Type)}, nil
}

// matchedIDs answers replays.
type matchedIDs struct{ matcher }

func (m matchedIDs) Match(ctx context.Context, tenant posthorn.TenantID, e *posthorn.Event) (wanted, failed []posthorn.SubscriptionID, err error) {
	found, err := m.matcher.Match(ctx, tenant, e, 0)
	for _, s := range found.Subscriptions {
		wanted = append(wanted, s.ID)
	}
	return wanted, nil, err
}

// open makes a site; change may alter the handler's options.
func open(t *testing.T, change func(*Options)) *site {
	t.Helper()
	keys, err := seal.ParseKeys(seal.Generate())
	must(t, err)
	store, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "posthorn.db"), Sealer: keys})
	must(t, err)
	s := &site{t: t, store: store, log: &lockedBuffer{}, node: posthorn.NodeID{UUID: posthorn.NewUUID(time.Now())}}
	s.bus = bus.New(bus.Options{Node: s.node})
	s.auth = auth.New(auth.Options{Store: store, Now: store.Now})
	subscriptions := cache.New(cache.Options{Store: store, Bus: s.bus})
	publisher := ingest.New(ingest.Options{
		Store: store, Matcher: matcher{subscriptions}, Bus: s.bus, Node: s.node,
		Catalogue: catalogue.New(catalogue.Options{Store: store}),
	})
	publisher.Start()
	s.replays = jobs.New(jobs.Options{Store: store, Matcher: matchedIDs{matcher{subscriptions}}, Bus: s.bus, Node: s.node})
	opts := Options{
		Store: store, Publisher: publisher, Replays: s.replays, Bus: s.bus, Auth: s.auth, URLs: checker{egress.NewPolicy(nil, true)},
		Limiter: limiter{limit.New(limit.Options{})}, Watch: s.bus.Watch, Version: "1",
		Logger: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&opts)
	}
	s.handler = New(opts)
	s.server = httptest.NewServer(s.handler)
	t.Cleanup(func() {
		s.handler.Close()
		s.server.Close()
		publisher.Stop(context.Background())
		subscriptions.Close()
		s.bus.Close()
		must(t, store.Close())
	})
	s.home, s.other = s.addTenant("home"), s.addTenant("other")
	s.admin, s.foreign = s.addKey(s.home, nil, posthorn.ScopeAdmin), s.addKey(s.other, nil, posthorn.ScopeAdmin)
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *site) addTenant(name string) posthorn.Tenant {
	s.t.Helper()
	now := s.store.Now()
	tenant := posthorn.Tenant{ID: posthorn.TenantID{UUID: posthorn.NewUUID(now)}, Name: name, CreatedAt: now}
	must(s.t, s.store.CreateTenant(s.t.Context(), &tenant))
	return tenant
}

// addKey stores a key of a tenant and gives its text; change may alter it before.
func (s *site) addKey(tenant posthorn.Tenant, change func(*posthorn.Key), scopes ...posthorn.Scope) string {
	s.t.Helper()
	text := auth.Generate()
	key := auth.NewKey(text, "test", scopes...)
	key.ID, key.TenantID, key.CreatedAt = posthorn.KeyID{UUID: posthorn.NewUUID(s.store.Now())}, tenant.ID, s.store.Now()
	if change != nil {
		change(key)
	}
	must(s.t, s.store.CreateKey(s.t.Context(), key))
	return text
}

// answered is what came back.
type answered struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte
}

// call makes a request with a key; body may be nil, a string sent as it is, or a value sent as JSON.
func (s *site) call(method, path, key string, body any) answered {
	s.t.Helper()
	return s.callWith(method, path, key, body, nil)
}

func (s *site) callWith(method, path, key string, body any, header http.Header) answered {
	s.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		must(s.t, err)
		reader = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.server.URL+path, reader)
	must(s.t, err)
	if reader != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	return s.do(r)
}

func (s *site) do(r *http.Request) answered {
	s.t.Helper()
	resp, err := s.server.Client().Do(r)
	must(s.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(s.t, err)
	return answered{s.t, resp.StatusCode, resp.Header, text}
}

// want checks the status and gives the answer on.
func (a answered) want(status int) answered {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("answered %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// into reads the body.
func (a answered) into(v any) {
	a.t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		a.t.Fatalf("%v: %s", err, a.body)
	}
}

// object is the body as an object.
func (a answered) object() map[string]any {
	a.t.Helper()
	var v map[string]any
	a.into(&v)
	return v
}

// wantFaults checks the places of a 422.
func (a answered) wantFaults(locations ...string) {
	a.t.Helper()
	a.want(http.StatusUnprocessableEntity)
	var p problem
	a.into(&p)
	var got []string
	for _, e := range p.Errors {
		got = append(got, e.Location)
	}
	if fmt.Sprint(got) != fmt.Sprint(locations) {
		a.t.Errorf("faults at %v, want %v: %s", got, locations, a.body)
	}
}

// subscribe makes a subscription and gives its id.
func (s *site) subscribe(key string, fields map[string]any) string {
	s.t.Helper()
	body := map[string]any{"url": "https://example.com/hook"}
	for name, value := range fields {
		body[name] = value
	}
	return s.call(http.MethodPost, "/subscriptions", key, body).want(http.StatusCreated).object()["id"].(string)
}

// publish publishes an event and gives its id.
func (s *site) publish(key, eventType string) string {
	s.t.Helper()
	return s.call(http.MethodPost, "/events", key, map[string]any{"type": eventType, "payload": 1}).want(http.StatusAccepted).object()["id"].(string)
}

// deliveries are those of an event, as the API lists them.
func (s *site) deliveries(key, event string) []delivery {
	s.t.Helper()
	var l list[delivery]
	s.call(http.MethodGet, "/deliveries?event_id="+event, key, nil).want(http.StatusOK).into(&l)
	return l.Data
}

// work plays a worker: it claims what is due and records what each attempt came to.
func (s *site) work(result func(c *posthorn.Claimed, r *posthorn.Result)) int {
	s.t.Helper()
	batch, err := s.store.ClaimDeliveries(s.t.Context(), posthorn.ClaimRequest{Node: s.node, Limit: 100, PerLane: 100, MaxBytes: 1 << 20})
	must(s.t, err)
	record := posthorn.RecordBatch{Node: s.node}
	for i := range batch.Claims {
		c := &batch.Claims[i]
		now := s.store.Now()
		r := posthorn.Result{Claim: c.Claim, On: posthorn.OnSuccess, Spends: true, Attempt: &posthorn.Attempt{
			ID: c.Attempt, TenantID: c.Delivery.TenantID, DeliveryID: c.DeliveryID, EventID: c.Delivery.EventID,
			SubscriptionID: c.Delivery.SubscriptionID, Number: c.Number, StartedAt: now, Outcome: posthorn.Succeeded, StatusCode: 200,
			Request: posthorn.Headers{"Webhook-Id": {c.Delivery.EventID.String()}}, Response: posthorn.Headers{"Server": {"test"}},
			Body: []byte("ok"), Timing: posthorn.Timing{DNS: time.Millisecond, Total: 12 * time.Millisecond}, Node: s.node,
		}}
		if result != nil {
			result(c, &r)
		}
		record.Results = append(record.Results, r)
	}
	if len(record.Results) == 0 {
		return 0
	}
	report, err := s.store.RecordAttempts(s.t.Context(), record)
	must(s.t, err)
	s.tell(batch.Claims, record, report)
	return len(record.Results)
}

// workAlong plays a worker whenever the bus says that something is due.
func (s *site) workAlong(result func(c *posthorn.Claimed, r *posthorn.Result)) {
	s.t.Cleanup(s.bus.Subscribe(func(signal posthorn.Signal) {
		if signal.Wake {
			s.work(result)
		}
	}))
}

// tell shows results on the bus as the engine does.
func (s *site) tell(claims []posthorn.Claimed, record posthorn.RecordBatch, report posthorn.RecordReport) {
	var signal posthorn.Signal
	for i, r := range report.Results {
		d, a := &claims[i].Delivery, record.Results[i].Attempt
		signal.Updates = append(signal.Updates, posthorn.Update{
			At: r.At, TenantID: d.TenantID, DeliveryID: d.ID, EventID: d.EventID, SubscriptionID: d.SubscriptionID, EventType: d.EventType,
			State: r.State, Attempts: a.Number, Attempt: a.ID, Number: a.Number, Outcome: a.Outcome, StatusCode: a.StatusCode,
			Duration: a.Timing.Total, DueAt: d.DueAt,
		})
	}
	s.bus.Publish(s.t.Context(), signal)
}

// failing makes results of failed attempts, the next ones due after a delay.
func failing(delay time.Duration) func(*posthorn.Claimed, *posthorn.Result) {
	return func(_ *posthorn.Claimed, r *posthorn.Result) {
		r.On, r.Delay = posthorn.OnFailure, delay
		r.Attempt.Outcome, r.Attempt.StatusCode = posthorn.HTTPError, 503
	}
}
