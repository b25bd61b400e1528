//go:build unix

package chaos_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/clustertest"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/ledger"
	"github.com/posthorn/posthorn/internal/redis/redistest"
	"github.com/posthorn/posthorn/internal/seal"
)

// The stores by the names they are shown with.
const (
	sqliteStore   = "SQLite"
	postgresStore = "PostgreSQL"
)

// world is a store, those who publish to it and those who get its deliveries.
type world struct {
	t        testing.TB
	store    string
	settings config.Settings
	*site
	*receiver
	*producer
	lanes map[string]*lane
	// redis is nil over SQLite.
	redis *redistest.Server
}

// newWorld makes a store, starts a first node that makes its schema, subscribes, and ends the node again. Further are
// settings of the nodes.
func newWorld(t testing.TB, store string, clients int, further ...string) *world {
	t.Helper()
	w := &world{t: t, store: store, receiver: newReceiver(t)}
	w.settings = config.Settings{DataDir: filepath.Join(t.TempDir(), "data"), EncryptionKeys: seal.Generate()}
	if store == postgresStore {
		w.settings.DatabaseURL = clustertest.NewDatabase(t)
		w.redis = redistest.Start(t)
		further = append(further, "REDIS_URL="+w.redis.URL())
	} else {
		w.settings.DatabaseURL = "sqlite://" + filepath.Join(w.settings.DataDir, "posthorn.db")
	}
	w.begin(clients, w.settings.DatabaseURL, further...)
	return w
}

// begin starts the first node, over a database as the nodes reach it.
func (w *world) begin(clients int, database string, further ...string) {
	w.t.Helper()
	w.site = newSite(w.t, append([]string{
		"DATABASE_URL=" + database, "POSTHORN_DATA_DIR=" + w.settings.DataDir, "POSTHORN_ENCRYPTION_KEYS=" + w.settings.EncryptionKeys,
	}, further...)...)
	first := w.site.start("")
	first.await()
	w.subscribe()
	w.producer = newProducer(w.t, clients, w.kinds(), w.site.url())
	first.Kill()
}

// subscribe makes the lanes: two that answer, one of them in order, one that fails now and then, and some that take their time.
func (w *world) subscribe() {
	w.t.Helper()
	w.lanes = map[string]*lane{
		"plain": {name: "plain"}, "ordered": {name: "ordered"}, "flaky": {name: "flaky", flaky: true},
		"slow": {name: "slow", takes: 12 * time.Second}, "hole": {name: "hole", hangs: true},
		"queued": {name: "queued", takes: 300 * time.Millisecond},
	}
	types := map[string][]string{
		"plain": {"chaos.plain", "chaos.all"}, "ordered": {"chaos.ordered", "chaos.all"}, "flaky": {"chaos.flaky", "chaos.all"},
		"slow": {"chaos.slow"}, "hole": {"chaos.hole"}, "queued": {"chaos.queued"},
	}
	for name, l := range w.lanes {
		body := map[string]any{
			"url": w.receiver.url(name), "event_types": types[name], "timeout_seconds": 30,
			"retry": map[string]any{"initial": 0.2, "multiplier": 1.5, "maximum": 2, "attempts": 40},
		}
		if name == "ordered" {
			body["ordering"] = "fifo"
		}
		w.add(l, body)
	}
}

// add makes one subscription.
func (w *world) add(l *lane, body map[string]any) {
	w.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	client := &producer{client: http.DefaultClient}
	status, answer, _, err := client.post(w.site.url()+"/subscriptions", text)
	if err != nil || status != http.StatusCreated {
		w.t.Fatalf("POST /subscriptions: %d %v %s", status, err, answer)
	}
	var made struct {
		ID     posthorn.SubscriptionID
		Secret string
	}
	if err := json.Unmarshal(answer, &made); err != nil {
		w.t.Fatal(err)
	}
	l.subscription, l.secret = made.ID, made.Secret
	w.receiver.mu.Lock()
	w.receiver.lanes[l.name] = l
	w.receiver.mu.Unlock()
}

func (w *world) kinds() []kind {
	plain, ordered, flaky := w.lanes["plain"], w.lanes["ordered"], w.lanes["flaky"]
	return []kind{
		{"chaos.plain", []*lane{plain}, 0},
		{"chaos.ordered", []*lane{ordered}, 3},
		{"chaos.flaky", []*lane{flaky}, 0},
		{"chaos.all", []*lane{plain, ordered, flaky}, 3},
	}
}

// open opens the store from this process; no node may have it where it is SQLite.
func (w *world) open() posthorn.Store {
	w.t.Helper()
	store, err := app.OpenStore(context.Background(), &w.settings, slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	return store
}

// pending counts the pending deliveries as a node tells it; -1 when it does not.
func (w *world) pending() int {
	said := struct{ Pending *int }{}
	if !w.get("/queue", &said) || said.Pending == nil {
		return -1
	}
	return *said.Pending
}

// drain waits until every event is acknowledged and no delivery is pending.
func (w *world) drain(within time.Duration) bool {
	end := time.Now().Add(within)
	if !w.producer.settle(within) {
		return false
	}
	for ; time.Now().Before(end); after(20 * time.Millisecond) {
		if w.pending() == 0 {
			return true
		}
	}
	return false
}

// mark is a place in what is known: facts begin there.
type mark struct {
	at                  time.Time
	publishes, requests int
}

func (w *world) mark() mark {
	return mark{time.Now(), w.producer.acknowledged(), w.receiver.received()}
}

// facts gathers what happened since a mark, once everything is settled.
func (w *world) facts(from mark) ledger.Facts {
	w.t.Helper()
	store := w.open()
	defer store.Close()
	f := ledger.Facts{
		Publishes: w.producer.since(from.publishes), Requests: w.receiver.since(from.requests), Now: store.Now(),
		Patience: time.Minute, Slack: 200 * time.Millisecond,
	}
	ctx := context.Background()
	tenant, err := store.FindTenant(ctx, posthorn.DefaultTenant)
	if err != nil {
		w.t.Fatal(err)
	}
	w.gatherLanes(store, tenant.ID, &f)
	w.gatherReplays(store, tenant.ID, from, &f)
	filter := posthorn.DeliveryFilter{Since: from.at.Add(-time.Second)}
	page := posthorn.Page{Limit: 200}
	known := map[posthorn.EventID]bool{}
	for i := range f.Publishes {
		known[f.Publishes[i].Event] = true
	}
	for {
		list, next, err := store.ListDeliveries(ctx, tenant.ID, filter, page)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, d := range list {
			// Those of just before the mark were judged with what came before it.
			if !known[d.EventID] && d.CreatedAt.Before(from.at) {
				continue
			}
			attempts, err := store.ListAttempts(ctx, tenant.ID, d.ID)
			if err != nil {
				w.t.Fatal(err)
			}
			f.Deliveries = append(f.Deliveries, d)
			f.Attempts = append(f.Attempts, attempts...)
		}
		if page.Before = next; next.IsZero() {
			return f
		}
	}
}

func (w *world) gatherLanes(store posthorn.Store, tenant posthorn.TenantID, f *ledger.Facts) {
	w.t.Helper()
	_, subscriptions, err := store.SubscriptionsSince(context.Background(), tenant, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	ids := make([]posthorn.SubscriptionID, len(subscriptions))
	for i := range subscriptions {
		ids[i] = subscriptions[i].ID
	}
	lanes, err := store.Lanes(context.Background(), tenant, ids)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range subscriptions {
		s := ledger.Subscription{Subscription: subscriptions[i]}
		for _, l := range lanes {
			if l.SubscriptionID == s.ID {
				s.Lane = l
			}
		}
		f.Subscriptions = append(f.Subscriptions, s)
	}
}

// verdict is what the ledger says of a part of a run.
type verdict struct {
	violations []ledger.Violation
	// events, deliveries and requests are what was judged; lost acknowledged events; stale results that moved a delivery.
	events, deliveries, requests, lost int
	// repeated are the requests of what had been answered with a 2xx before, interrupted the attempts whose claim was lost,
	// unexplained the repetitions that neither a lost claim nor a timeout explains.
	repeated, interrupted, unexplained int
}

// judge lets the ledger decide.
func (w *world) judge(f ledger.Facts) verdict {
	w.t.Helper()
	v := verdict{violations: ledger.Check(f), deliveries: len(f.Deliveries), requests: len(f.Requests)}
	events := map[posthorn.EventID]bool{}
	for i := range f.Publishes {
		events[f.Publishes[i].Event] = true
	}
	v.events = len(events)
	for i, violation := range v.violations {
		if violation.Rule == ledger.Lost || violation.Rule == ledger.Stuck {
			v.lost++
		}
		if i < 10 {
			w.t.Errorf("%s: %s\n%s", w.store, violation, w.story(f, violation))
		}
	}
	for i, again := range v.count(f) {
		if i < 10 {
			w.t.Errorf("%s: %s\n%s", w.store, again, w.story(f, again))
		}
	}
	return v
}

// count finds what was sent twice, and returns what neither a lost claim nor a timeout explains.
func (v *verdict) count(f ledger.Facts) (found []ledger.Violation) {
	type to struct {
		event        posthorn.EventID
		subscription posthorn.SubscriptionID
	}
	latest := map[posthorn.DeliveryID]int{}
	for i := range f.Attempts {
		a := &f.Attempts[i]
		latest[a.DeliveryID] = max(latest[a.DeliveryID], a.Number)
	}
	type sent struct {
		to
		attempt int
	}
	answered, answers := map[to]int{}, map[sent]bool{}
	for i := range f.Requests {
		r := &f.Requests[i]
		at := to{r.Event, r.Subscription}
		if r.Status/100 == 2 && !r.Unread {
			answered[at]++
			answers[sent{at, r.Attempt}] = true
		}
	}
	timeouts := map[posthorn.SubscriptionID]time.Duration{}
	for i := range f.Subscriptions {
		timeouts[f.Subscriptions[i].ID] = f.Subscriptions[i].Timeout
	}
	lost := map[to]int{}
	for i := range f.Attempts {
		a := &f.Attempts[i]
		at := to{a.EventID, a.SubscriptionID}
		timeout, known := timeouts[a.SubscriptionID]
		switch {
		case a.Outcome == posthorn.Interrupted, a.Outcome == posthorn.Succeeded && a.Number < latest[a.DeliveryID]:
			// A success that another attempt followed was told after its claim was lost.
			lost[at]++
			v.interrupted++
		case a.Outcome == posthorn.Timeout && known && a.Timing.Total >= timeout && answers[sent{at, a.Number}]:
			// Its receiver answered, to a node that could not read in time: a machine may stand still.
			lost[at]++
		}
	}
	replays := map[to]int{}
	deliveries := map[to]posthorn.DeliveryID{}
	for i := range f.Deliveries {
		d := &f.Deliveries[i]
		at := to{d.EventID, d.SubscriptionID}
		if deliveries[at] = d.ID; !d.Replay.IsZero() {
			replays[at]++
		}
	}
	for at, n := range answered {
		if n -= 1 + replays[at]; n > 0 {
			v.repeated += n
			if n > lost[at] {
				v.unexplained += n - lost[at]
				delivery := deliveries[at]
				if replays[at] > 0 {
					delivery = posthorn.DeliveryID{} // either may be meant
				}
				found = append(found, ledger.Violation{
					Rule: ledger.Doubled, Event: at.event, Delivery: delivery,
					What: fmt.Sprintf("%d more requests than one were answered with a 2xx, and %d lost claims or timeouts explain them", n, lost[at]),
				})
			}
		}
	}
	return found
}

// slowestSince is the 99th percentile of the time from an acknowledgement to the event's first request, of all lanes but one.
func (w *world) slowestSince(from time.Time, but *lane) time.Duration {
	acknowledged := map[posthorn.EventID]time.Time{}
	for _, p := range w.producer.since(0) {
		if p.Acknowledged.After(from) {
			acknowledged[p.Event] = p.Acknowledged
		}
	}
	var waits []time.Duration
	for _, r := range w.receiver.since(0) {
		if at, ok := acknowledged[r.Event]; ok && r.Attempt == 1 && r.Subscription != but.subscription {
			waits = append(waits, r.At.Sub(at))
		}
	}
	if len(waits) == 0 {
		return time.Hour
	}
	slices.Sort(waits)
	return waits[len(waits)*99/100]
}

// story is what is known of a violation's delivery.
func (w *world) story(f ledger.Facts, v ledger.Violation) string {
	var b strings.Builder
	const clock = "15:04:05.000"
	for i := range f.Deliveries {
		d := &f.Deliveries[i]
		if d.ID != v.Delivery && (!v.Delivery.IsZero() || d.EventID != v.Event) {
			continue
		}
		fmt.Fprintf(&b, "  %s to %s: %s, %d attempts, created %s, due %s, updated %s, claimed until %s, order %q %d\n", d.ID, w.laneOf(d.SubscriptionID),
			d.State, d.Attempts, d.CreatedAt.Format(clock), d.DueAt.Format(clock), d.UpdatedAt.Format(clock), d.ClaimedUntil.Format(clock), d.OrderingKey, d.Sequence)
		for j := range f.Attempts {
			if a := &f.Attempts[j]; a.DeliveryID == d.ID {
				fmt.Fprintf(&b, "    attempt %d: %s %d %s, started %s, recorded %s\n", a.Number, a.Outcome, a.StatusCode, a.Error, a.StartedAt.Format(clock), a.RecordedAt.Format(clock))
			}
		}
	}
	for i := range f.Requests {
		if r := &f.Requests[i]; r.Event == v.Event {
			fmt.Fprintf(&b, "    received by %s: attempt %d at %s, answered %d\n", w.laneOf(r.Subscription), r.Attempt, r.At.UTC().Format(clock), r.Status)
		}
	}
	for _, s := range f.Subscriptions {
		fmt.Fprintf(&b, "  lane %s: %+v\n", w.laneOf(s.ID), s.Lane)
	}
	return b.String()
}

func (w *world) laneOf(id posthorn.SubscriptionID) string {
	for name, l := range w.lanes {
		if l.subscription == id {
			return name
		}
	}
	return id.String()
}
