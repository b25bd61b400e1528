package move_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/move"
	"github.com/posthorn/posthorn/internal/postgres"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/sqlite"
	"github.com/posthorn/posthorn/internal/storetest"
)

// newDatabase makes an empty database on the PostgreSQL of this test run, dropped when the test ends.
func newDatabase(t *testing.T) string {
	t.Helper()
	server := os.Getenv("TEST_DATABASE_URL")
	if server == "" {
		t.Fatal("TEST_DATABASE_URL is not set: `make test` starts a PostgreSQL and sets it")
	}
	name := fmt.Sprintf("posthorn_move_%x", posthorn.NewUUID(time.Now()))
	administer(t, server, "CREATE DATABASE "+name)
	t.Cleanup(func() { administer(t, server, "DROP DATABASE "+name+" WITH (FORCE)") })
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal("TEST_DATABASE_URL is not a URL")
	}
	u.Path = "/" + name
	return u.String()
}

func administer(t *testing.T, server, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatalf("connect to PostgreSQL: %v", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// stores are a source with rows, and an empty target, under the same keys.
type stores struct {
	t    *testing.T
	keys *seal.Keys
	path string
	from *sqlite.Store
	to   *postgres.Store
}

func newStores(t *testing.T) *stores {
	t.Helper()
	keys, err := seal.ParseKeys(seal.Generate())
	if err != nil {
		t.Fatal(err)
	}
	s := &stores{t: t, keys: keys, path: filepath.Join(t.TempDir(), "posthorn.db")}
	if s.from, err = sqlite.Open(t.Context(), sqlite.Options{Path: s.path, Sealer: keys}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.from.Close() })
	if s.to, err = postgres.Open(t.Context(), postgres.Options{URL: newDatabase(t), Sealer: keys}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.to.Close() })
	return s
}

// fill makes rows of every kind and gives the fixture that made them, with the ids of all deliveries.
func fill(t *testing.T, from posthorn.Store) (f *storetest.Fixture, deliveries []posthorn.DeliveryID) {
	t.Helper()
	f = storetest.NewFixture(t, from)
	f.NewKey("one", func(k *posthorn.Key) {
		k.Name, k.RateLimit = "ключ", &posthorn.RateLimit{Limit: 5, Per: "minute"}
		k.IPAllowlist = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		k.ExpiresAt = from.Now().Add(time.Hour).Truncate(time.Microsecond)
	})
	plain := f.Subscribe(func(s *posthorn.Subscription) {
		s.Headers, s.Metadata = map[string]string{"X-Api-Key": "secret"}, map[string]string{"team": "a\u0000b"}
	})
	paused, ordered, failing := f.Subscribe(storetest.WithStatus(posthorn.StatusPaused)), f.Subscribe(storetest.Ordered), f.Subscribe()
	note := func(ids ...posthorn.DeliveryID) { deliveries = append(deliveries, ids...) }
	for range 20 {
		note(f.Deliver(plain))
	}
	note(f.Exhaust(failing))
	f.Change(failing, posthorn.LaneChange{Failed: true, OpenFor: time.Hour, Throttle: time.Minute})
	claimed := f.Offer(f.NewEvent(), failing)
	_, ids := f.PublishEvent(f.NewEvent(func(e *posthorn.Event) {
		e.IdempotencyKey, e.Headers, e.TraceParent = "order-1", map[string]string{"X-Region": "eu"}, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		e.Payload, e.ContentType = bytes.Repeat([]byte{0, 0xff}, 5000), "application/octet-stream"
		e.ExpiresAt = from.Now().Add(time.Hour).Truncate(time.Microsecond)
	}), plain, paused)
	note(ids...)
	for _, key := range []string{"a", "b", "a"} {
		_, ids := f.PublishEvent(f.NewEvent(storetest.Keyed(key)), ordered)
		note(ids...)
	}
	_, ids = f.PublishEvent(f.NewEvent(func(e *posthorn.Event) { e.DeliverAt = from.Now().Add(time.Hour).Truncate(time.Microsecond) }), plain)
	note(ids...)
	for _, c := range claimed.Claimed {
		note(c.DeliveryID)
	}
	retried := f.Offer(f.NewEvent(), plain).Claimed[0]
	failure := f.Failure(retried, time.Hour)
	failure.Attempt.Body, failure.Attempt.Detail = []byte("not \xff text\x00"), "a sentence"
	failure.Attempt.Request = posthorn.Headers{"webhook-id": {"x"}}
	f.Record(failure)
	note(retried.DeliveryID)
	if _, err := from.CancelDelivery(t.Context(), f.Tenant, f.PublishOne(plain)); err != nil {
		t.Fatal(err)
	}
	gone := f.Subscribe()
	note(f.PublishOne(gone))
	if err := from.DeleteSubscription(t.Context(), f.Tenant, gone); err != nil {
		t.Fatal(err)
	}
	if _, err := from.WithdrawDeliveries(t.Context(), posthorn.Withdrawal{Hold: 720 * time.Hour, Window: 72 * time.Hour, Batch: 100}); err != nil {
		t.Fatal(err)
	}
	return f, deliveries
}

// contents is everything of a store that its own methods tell.
type contents struct {
	Tenants       []posthorn.Tenant
	Keys          []posthorn.Key
	Version       int64
	Subscriptions map[posthorn.SubscriptionID]posthorn.Subscription
	Lanes         map[posthorn.SubscriptionID]posthorn.Lane
	Events        map[posthorn.EventID]posthorn.Event
	Deliveries    map[posthorn.DeliveryID]posthorn.Delivery
	Attempts      map[posthorn.DeliveryID][]posthorn.Attempt
	Stats         []posthorn.StatsPoint
	Held, Pending int
}

func read(t *testing.T, s posthorn.Store, tenant posthorn.TenantID) contents {
	t.Helper()
	ctx, all := t.Context(), posthorn.Page{Limit: 200}
	c := contents{
		Subscriptions: map[posthorn.SubscriptionID]posthorn.Subscription{}, Lanes: map[posthorn.SubscriptionID]posthorn.Lane{},
		Events: map[posthorn.EventID]posthorn.Event{}, Deliveries: map[posthorn.DeliveryID]posthorn.Delivery{},
		Attempts: map[posthorn.DeliveryID][]posthorn.Attempt{},
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	c.Tenants, _, err = s.ListTenants(ctx, all)
	must(err)
	c.Keys, _, err = s.ListKeys(ctx, tenant, all)
	must(err)
	deliveries, _, err := s.ListDeliveries(ctx, tenant, posthorn.DeliveryFilter{}, all)
	must(err)
	var subscriptions []posthorn.SubscriptionID
	for _, d := range deliveries {
		// Renewing the lease of a dead node's claim is left to whoever claims it.
		c.Deliveries[d.ID] = d
		subscriptions = append(subscriptions, d.SubscriptionID)
		if c.Attempts[d.ID], err = s.ListAttempts(ctx, tenant, d.ID); err != nil {
			t.Fatal(err)
		}
		e, err := s.GetEvent(ctx, tenant, d.EventID)
		must(err)
		c.Events[e.ID] = *e
	}
	found, err := s.FindSubscriptions(ctx, tenant, subscriptions)
	must(err)
	for _, sub := range found {
		c.Subscriptions[sub.ID] = sub
	}
	lanes, err := s.Lanes(ctx, tenant, subscriptions)
	must(err)
	for _, l := range lanes {
		c.Lanes[l.SubscriptionID] = l
	}
	c.Stats, err = s.Stats(ctx, tenant, posthorn.StatsFilter{Since: s.Now().Add(-time.Hour), Step: time.Minute})
	must(err)
	q, err := s.Queue(ctx, tenant)
	must(err)
	c.Held, c.Pending = q.Held, q.Pending
	return c
}

// TestMove wants everything to be in PostgreSQL afterwards as it was in the file. It also fails where one of the schemas has
// a table or a column that no rule knows.
func TestMove(t *testing.T) {
	s := newStores(t)
	f, deliveries := fill(t, s.from)
	// As after the end of the node that has claims.
	if err := s.from.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.from, err = sqlite.Open(t.Context(), sqlite.Options{Path: s.path, Sealer: s.keys}); err != nil {
		t.Fatal(err)
	}
	before := read(t, s.from, f.Tenant)
	rows := map[string]int64{}
	if err := move.Run(t.Context(), s.from, s.to, func(m move.Moved) { rows[m.Table] = m.Rows }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, read(t, s.to, f.Tenant), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("in the file (-) and in PostgreSQL (+):\n%s", diff)
	}
	for _, table := range []string{
		"tenants", "subscription_versions", "keys", "subscriptions", "lanes", "events", "deliveries", "attempts", "rollups", "idempotency_keys",
	} {
		if rows[table] == 0 {
			t.Errorf("no row of %s was moved", table)
		}
	}
	if len(before.Deliveries) < len(deliveries) {
		t.Errorf("%d deliveries were compared, want at least %d", len(before.Deliveries), len(deliveries))
	}

	// What was claimed is taken up again, and the producer's key still answers.
	on := &storetest.Fixture{T: t, Store: s.to, Tenant: f.Tenant, Node: f.Node}
	again := on.NewEvent(func(e *posthorn.Event) {
		e.IdempotencyKey, e.Headers = "order-1", map[string]string{"X-Region": "eu"}
		e.Payload, e.ContentType = bytes.Repeat([]byte{0, 0xff}, 5000), "application/octet-stream"
	})
	if a := on.Accept(on.Acceptance(again)); !a[0].Duplicate || a[0].Deliveries != 2 {
		t.Errorf("the producer's key answers %+v", a[0])
	}
	if claims := on.Claim(); len(claims) == 0 {
		t.Error("nothing is due after the move")
	}
}

// TestMoveRefusesWhatIsNotEmpty, and leaves it as it was.
func TestMoveRefusesWhatIsNotEmpty(t *testing.T) {
	s := newStores(t)
	fill(t, s.from)
	there := storetest.NewFixture(t, s.to)
	err := move.Run(t.Context(), s.from, s.to, nil)
	if err == nil || !strings.Contains(err.Error(), "tenants") {
		t.Fatalf("error is %v", err)
	}
	tenants, _, err := s.to.ListTenants(t.Context(), posthorn.Page{Limit: 10})
	if err != nil || len(tenants) != 1 || tenants[0].ID != there.Tenant {
		t.Errorf("the target has %v, %v", tenants, err)
	}
}

// TestMoveIsAllOrNothing breaks off in the middle, then goes through.
func TestMoveIsAllOrNothing(t *testing.T) {
	s := newStores(t)
	f, _ := fill(t, s.from)
	ctx, cancel := context.WithCancel(t.Context())
	err := move.Run(ctx, s.from, s.to, func(m move.Moved) {
		if m.Table == "events" {
			cancel()
		}
	})
	if err == nil {
		t.Fatal("a move that was broken off said nothing")
	}
	if tenants, _, err := s.to.ListTenants(t.Context(), posthorn.Page{Limit: 10}); err != nil || len(tenants) != 0 {
		t.Fatalf("the target has %v, %v", tenants, err)
	}
	if err := move.Run(t.Context(), s.from, s.to, nil); err != nil {
		t.Fatal(err)
	}
	if c := read(t, s.to, f.Tenant); len(c.Deliveries) == 0 {
		t.Error("nothing is there after the second try")
	}
}
