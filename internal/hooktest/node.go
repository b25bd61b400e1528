package hooktest

import (
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/bubble"
	"github.com/posthorn/posthorn/internal/bus"
	"github.com/posthorn/posthorn/internal/cache"
	"github.com/posthorn/posthorn/internal/catalogue"
	"github.com/posthorn/posthorn/internal/delivery"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/filter"
	"github.com/posthorn/posthorn/internal/ingest"
	"github.com/posthorn/posthorn/internal/janitor"
	"github.com/posthorn/posthorn/internal/limit"
	"github.com/posthorn/posthorn/internal/replay"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/sqlite"
)

// Setup says what a Node is made of; every field has a default.
type Setup struct {
	// Dir holds the database; nodes over one directory follow one another, like restarts.
	Dir string
	// Beside is a node whose database and network this one shares, as nodes of a cluster do.
	Beside *Node
	// Over is a store that stays open when the node ends, for as many nodes as like; see OpenStore.
	Over *sqlite.Store
	// Network leads to the receivers.
	Network *Network
	// Window is the retry window, the retention.
	Window time.Duration
	// Tune alters the engine's options.
	Tune func(*delivery.Options)
	// NoWorker leaves the engine out: nothing is delivered.
	NoWorker bool
	// Strict makes the node refuse events that the tenant's catalogue of event types does not have or whose schema they break.
	Strict bool
	// Hold makes the node look every minute for what must not wait any longer than this hold; zero leaves it out.
	Hold time.Duration
	// Replays makes the node run replays.
	Replays bool
	// Egress alters the client's options: whom it trusts, what DNS says.
	Egress func(*egress.Options)
	// Quiet drops the log, for tests in which many things fail on purpose.
	Quiet bool
}

// Node is one node of the real parts: the SQLite store, the bus, the cache, the limiter, the publisher and the engine with
// its egress client, which reaches a Network in memory. Make and stop it inside a synctest bubble.
type Node struct {
	T         testing.TB
	Network   *Network
	Store     *Gate
	Bus       *bus.Bus
	Cache     *cache.Cache
	Publisher *ingest.Publisher
	Engine    *delivery.Engine // nil without workers
	Replays   *replay.Runner   // nil unless asked for
	Tenant    posthorn.TenantID
	ID        posthorn.NodeID

	setup   Setup
	client  *egress.Client
	janitor *janitor.Janitor
	raw     *sqlite.Store
	stopped bool
}

// Play runs a test in fake time on one node.
func Play(t *testing.T, setup Setup, test func(t *testing.T, n *Node)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		n := StartNode(t, setup)
		synctest.Wait()
		test(t, n)
	})
}

// Receive adds a receiver to the network and subscribes it, altered as given.
func (n *Node) Receive(name string, change ...func(*posthorn.Subscription)) (*Receiver, *posthorn.Subscription) {
	n.T.Helper()
	r, url := n.Network.Add(name + ".test")
	s := n.Subscribe(url, change...)
	r.VerifyWith(ByReference(string(s.Secrets[0].Value)))
	return r, s
}

// sealKey is the one key of all tests.
const sealKey = "cG9zdGhvcm4taG9va3Rlc3Qta2V5LTAwMDAwMDAwMDA="

// StartNode makes a node and starts it. It stops with the test, unless it was stopped before.
func StartNode(t testing.TB, setup Setup) *Node {
	t.Helper()
	if setup.Window == 0 {
		setup.Window = 72 * time.Hour
	}
	n := &Node{T: t}
	if beside := setup.Beside; beside != nil {
		setup.Network, n.raw = beside.Network, beside.raw
	}
	if setup.Network == nil {
		setup.Network = NewNetwork()
		t.Cleanup(setup.Network.Close)
	}
	switch {
	case setup.Over != nil:
		n.raw = setup.Over
	case setup.Beside == nil:
		if setup.Dir == "" {
			setup.Dir = t.TempDir()
		}
		n.raw = OpenStore(t, setup.Dir)
	}
	n.Network, n.setup = setup.Network, setup
	n.Store = &Gate{Store: n.raw}
	n.ID = posthorn.NodeID{UUID: posthorn.NewUUID(n.Store.Now())}
	n.Tenant = n.tenant()
	n.build()
	n.Publisher.Start()
	if n.Engine != nil {
		n.Engine.Start()
	}
	if n.Replays != nil {
		n.Replays.Start()
	}
	if n.janitor != nil {
		n.janitor.Start()
	}
	t.Cleanup(func() { n.Stop(time.Minute) })
	return n
}

// OpenStore opens the SQLite store of a directory, altered as given. Whoever opens it closes it.
func OpenStore(t testing.TB, dir string, change ...func(*sqlite.Options)) *sqlite.Store {
	t.Helper()
	keys, err := seal.ParseKeys(sealKey)
	if err != nil {
		t.Fatal(err)
	}
	o := sqlite.Options{Path: filepath.Join(dir, "posthorn.db"), Sealer: keys}
	for _, c := range change {
		c(&o)
	}
	store, err := sqlite.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// Policy allows what receivers in memory and on loopback need.
func Policy() *egress.Policy {
	return egress.NewPolicy([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}, true)
}

func (n *Node) build() {
	log := n.log()
	n.Bus = bus.New(bus.Options{Node: n.ID, Log: log})
	n.Cache = cache.New(cache.Options{Store: n.Store, Bus: n.Bus})
	o := ingest.Options{Store: n.Store, Matcher: n.Matcher(), Bus: n.Bus, Node: n.ID, Log: log}
	if n.setup.Strict {
		o.Catalogue = catalogue.New(catalogue.Options{Store: n.Store, Strict: true})
	}
	if !n.setup.NoWorker {
		client := egress.Options{Policy: Policy(), Dial: n.Network.Dial}
		if n.setup.Egress != nil {
			n.setup.Egress(&client)
		}
		n.client = egress.New(client)
		d := delivery.Options{
			Store: n.Store, Subscriptions: n.Cache, Client: n.client, Bus: n.Bus, Limiter: limit.New(limit.Options{}),
			Announcer: announcer{n}, Node: n.ID, Log: log, UserAgent: "Posthorn/test", Window: n.setup.Window, Poll: time.Hour,
		}
		if n.setup.Beside != nil {
			// Its bus is its own: only by asking does it learn what the other node left.
			d.Poll = 30 * time.Second
		}
		if n.setup.Tune != nil {
			n.setup.Tune(&d)
		}
		n.Engine = delivery.New(d)
		o.Lanes = n.Engine
	}
	n.Publisher = ingest.New(o)
	if n.setup.Replays {
		n.buildReplays(log)
	}
	if n.setup.Hold > 0 {
		n.janitor = janitor.New(janitor.Options{
			Store: n.Store, Bus: n.Bus, Node: n.ID, Log: log, Retention: n.setup.Window, Hold: n.setup.Hold, Window: n.setup.Window,
			WithdrawEvery: time.Minute, Announcer: announcer{n},
		})
	}
}

func (n *Node) log() *slog.Logger {
	if n.setup.Quiet {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(n.T.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// tenant finds the default tenant, or makes it.
func (n *Node) tenant() posthorn.TenantID {
	n.T.Helper()
	found, err := n.Store.FindTenant(context.Background(), posthorn.DefaultTenant)
	if err == nil {
		return found.ID
	}
	made := &posthorn.Tenant{ID: posthorn.TenantID{UUID: posthorn.NewUUID(n.Store.Now())}, Name: posthorn.DefaultTenant}
	if err := n.Store.CreateTenant(context.Background(), made); err != nil {
		n.T.Fatal(err)
	}
	return made.ID
}

// Matcher is for publishers of a test's own.
func (n *Node) Matcher() ingest.Matcher { return matcher{n.Cache} }

// matcher answers ingest from the cache, as the app's does.
type matcher struct{ cache *cache.Cache }

func (m matcher) Match(ctx context.Context, tenant posthorn.TenantID, e *posthorn.Event, atLeast int64) (ingest.Matched, error) {
	set, err := m.cache.Refresh(ctx, tenant, atLeast)
	if err != nil {
		return ingest.Matched{}, err
	}
	found := ingest.Matched{Version: set.Version}
	for _, s := range set.Match(e.Type) {
		switch wants, err := want(s.Filter, e); {
		case err != nil:
			found.Failed = append(found.Failed, s)
		case wants:
			found.Subscriptions = append(found.Subscriptions, s)
		}
	}
	return found, nil
}

func want(expression string, e *posthorn.Event) (bool, error) {
	if expression == "" {
		return true, nil
	}
	f, err := filter.Compile(expression)
	if err != nil {
		return false, err
	}
	return f.Match(filter.Of(e))
}

type announcer struct{ n *Node }

func (a announcer) Announce(ctx context.Context, tenant posthorn.TenantID, e *posthorn.Event) error {
	return a.n.Publisher.Announce(ctx, tenant, e)
}

// Stop ends the node as a signal would, giving what is in flight this long. Stopping again does nothing.
func (n *Node) Stop(grace time.Duration) {
	if n.stopped {
		return
	}
	n.stopped = true
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if n.janitor != nil {
		n.janitor.Stop()
	}
	if n.Replays != nil {
		n.Replays.Stop()
	}
	n.Publisher.Stop(ctx)
	if n.Engine != nil {
		n.Engine.Stop(ctx)
		n.client.Close()
	}
	n.Cache.Close()
	n.Bus.Close()
	if n.setup.Beside != nil || n.setup.Over != nil {
		return
	}
	if err := n.raw.Close(); err != nil {
		n.T.Errorf("close the store: %v", err)
	}
}

// Crash ends the node as a power cut would: from this moment on it stores nothing, and what it sends is cut off.
func (n *Node) Crash() {
	n.Store.Shut(true)
	n.Stop(0)
}

// Restart starts another node over the same database.
func (n *Node) Restart() *Node {
	n.T.Helper()
	setup := n.setup
	return StartNode(n.T, setup)
}

// Subscribe stores a subscription to every type at a URL, altered as given, and gives it as it is stored.
func (n *Node) Subscribe(url string, change ...func(*posthorn.Subscription)) *posthorn.Subscription {
	n.T.Helper()
	s := &posthorn.Subscription{
		ID: posthorn.SubscriptionID{UUID: posthorn.NewUUID(n.Store.Now())}, TenantID: n.Tenant,
		Policy:       posthorn.Policy{URL: url},
		Confidential: posthorn.Confidential{Secrets: []posthorn.Secret{{Value: posthorn.SecretText(NewSecret()), CreatedAt: n.Store.Now()}}},
	}
	for _, c := range change {
		c(s)
	}
	s.SetDefaults()
	if err := s.Validate(n.setup.Window); err != nil {
		n.T.Fatal(err)
	}
	if err := n.Store.CreateSubscription(context.Background(), s); err != nil {
		n.T.Fatal(err)
	}
	n.told(s)
	return s
}

// Update changes a subscription as PATCH does.
func (n *Node) Update(id posthorn.SubscriptionID, change func(*posthorn.Subscription)) *posthorn.Subscription {
	n.T.Helper()
	s, err := n.Store.UpdateSubscription(context.Background(), n.Tenant, id, func(s *posthorn.Subscription) error {
		change(s)
		return nil
	})
	if err != nil {
		n.T.Fatal(err)
	}
	n.told(s)
	return s
}

// told signals a change as the API does.
func (n *Node) told(s *posthorn.Subscription) {
	n.Bus.Publish(context.Background(), posthorn.Signal{
		Changed: []posthorn.Change{{TenantID: s.TenantID, Version: s.Version}}, Wake: s.Status == posthorn.StatusActive,
	})
}

// Pause and Resume change a subscription's status.
func (n *Node) Pause(id posthorn.SubscriptionID) {
	n.T.Helper()
	n.Update(id, func(s *posthorn.Subscription) { s.Status = posthorn.StatusPaused })
}

// Resume makes a paused or disabled subscription active.
func (n *Node) Resume(id posthorn.SubscriptionID) {
	n.T.Helper()
	n.Update(id, func(s *posthorn.Subscription) { s.Status, s.DisabledReason = posthorn.StatusActive, "" })
}

// Publish accepts an event, which must succeed.
func (n *Node) Publish(e *posthorn.Event) posthorn.Accepted {
	n.T.Helper()
	a, err := n.Publisher.Publish(context.Background(), n.Tenant, e)
	if err != nil {
		n.T.Fatalf("publish: %v", err)
	}
	return a
}

// Retry retries a delivery by hand, as the API does.
func (n *Node) Retry(id posthorn.DeliveryID) error {
	d, err := n.Store.RetryDelivery(context.Background(), n.Tenant, id)
	if err != nil {
		return err
	}
	n.Bus.Publish(context.Background(), posthorn.Signal{Wake: d.State == posthorn.Pending})
	return nil
}

// Deliveries are those of an event, oldest first.
func (n *Node) Deliveries(event posthorn.EventID) []posthorn.Delivery {
	n.T.Helper()
	list, err := n.Store.EventDeliveries(context.Background(), n.Tenant, event)
	if err != nil {
		n.T.Fatal(err)
	}
	return list
}

// Delivery is the latest of an event to a subscription.
func (n *Node) Delivery(event posthorn.EventID, to posthorn.SubscriptionID) posthorn.Delivery {
	n.T.Helper()
	var latest *posthorn.Delivery
	for _, d := range n.Deliveries(event) {
		if d.SubscriptionID == to {
			latest = &d
		}
	}
	if latest == nil {
		n.T.Fatalf("event %s has no delivery to %s", event, to)
	}
	return *latest
}

// Attempts are those of a delivery, in order.
func (n *Node) Attempts(id posthorn.DeliveryID) []posthorn.Attempt {
	n.T.Helper()
	list, err := n.Store.ListAttempts(context.Background(), n.Tenant, id)
	if err != nil {
		n.T.Fatal(err)
	}
	return list
}

// Subscription reads one, and Lane its lane.
func (n *Node) Subscription(id posthorn.SubscriptionID) *posthorn.Subscription {
	n.T.Helper()
	s, err := n.Store.GetSubscription(context.Background(), n.Tenant, id)
	if err != nil {
		n.T.Fatal(err)
	}
	return s
}

// Lane is the lane of a subscription as the store has it.
func (n *Node) Lane(id posthorn.SubscriptionID) posthorn.Lane {
	n.T.Helper()
	lanes, err := n.Store.Lanes(context.Background(), n.Tenant, []posthorn.SubscriptionID{id})
	if err != nil || len(lanes) != 1 {
		n.T.Fatalf("lane of %s: %d found, %v", id, len(lanes), err)
	}
	return lanes[0]
}
