package postgres

import (
	"flag"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

var (
	benchBatch   = flag.Int("batch", 200, "events in one AcceptEvents and results in one RecordAttempts")
	benchLanes   = flag.Int("lanes", 100, "subscriptions the events go to")
	benchCallers = flag.Int("callers", 2, "concurrent callers")
	benchPayload = flag.Int("payload", 1024, "bytes of a payload")
	benchPast    = flag.Int("past", 0, "earlier days that are stored too, up to 29")
)

// load is a store with a tenant and subscriptions, for benchmarks and for tests with many rows.
type load struct {
	*Store
	tenant posthorn.TenantID
	node   posthorn.NodeID
	subs   []posthorn.SubscriptionID
	// version is that of the subscription made last.
	version int64
}

func newLoad(t testing.TB, s *Store, subscriptions int) *load {
	t.Helper()
	l := &load{Store: s}
	l.tenant.UUID, l.node.UUID = posthorn.NewUUID(s.Now()), posthorn.NewUUID(s.Now())
	var days []time.Time
	for i := range *benchPast {
		days = append(days, dayOf(s.Now()).Add(-time.Duration(i+1)*day))
	}
	if err := s.makeDays(t.Context(), days); err != nil {
		t.Fatal(err)
	}
	for range subscriptions {
		l.subs = append(l.subs, l.subscribe(t))
	}
	return l
}

func (l *load) subscribe(t testing.TB, change ...func(*posthorn.Subscription)) posthorn.SubscriptionID {
	t.Helper()
	sub := &posthorn.Subscription{TenantID: l.tenant}
	sub.ID.UUID = posthorn.NewUUID(l.Now())
	sub.URL = "https://receiver.example/hook"
	for _, c := range change {
		c(sub)
	}
	sub.SetDefaults()
	if err := l.CreateSubscription(t.Context(), sub); err != nil {
		t.Fatal(err)
	}
	l.version = sub.Version
	return sub.ID
}

// acceptance is a new event for some subscriptions.
func (l *load) acceptance(payload []byte, claimed bool, subs ...posthorn.SubscriptionID) posthorn.Acceptance {
	e := &posthorn.Event{TenantID: l.tenant, Type: "invoice.paid", ContentType: posthorn.DefaultContentType, Payload: payload}
	e.ID.UUID = posthorn.NewUUID(l.Now())
	a := posthorn.Acceptance{Event: e, Version: posthorn.AnyVersion}
	for _, sub := range subs {
		m := posthorn.Match{SubscriptionID: sub}
		m.DeliveryID.UUID = posthorn.NewUUID(l.Now())
		if claimed {
			m.Attempt.UUID = posthorn.NewUUID(l.Now())
		}
		a.Matches = append(a.Matches, m)
	}
	return a
}

func (l *load) success(c posthorn.Claimed) posthorn.Result {
	return posthorn.Result{Claim: c.Claim, On: posthorn.OnSuccess, Spends: true, Attempt: &posthorn.Attempt{
		ID: c.Attempt, TenantID: l.tenant, DeliveryID: c.DeliveryID, EventID: c.Event.ID, SubscriptionID: c.Delivery.SubscriptionID,
		Number: c.Number, StartedAt: l.Now(), Outcome: posthorn.Succeeded, StatusCode: 200,
		Request:  posthorn.Headers{"Webhook-Id": {c.Event.ID.String()}, "User-Agent": {"Posthorn/1.0"}, "Content-Type": {"application/json"}},
		Response: posthorn.Headers{"Content-Type": {"text/plain"}, "Content-Length": {"2"}, "Date": {"Mon, 23 Nov 2026 20:00:00 GMT"}},
		Body:     []byte("ok"), Timing: posthorn.Timing{FirstByte: 6 * time.Millisecond, Total: 7 * time.Millisecond}, Node: l.node,
	}}
}

// rates runs work from several callers, b.N batches in all, and reports rows per second.
func rates(b *testing.B, unit string, work func(caller int)) {
	var wg sync.WaitGroup
	turns := make(chan struct{}, b.N)
	for range b.N {
		turns <- struct{}{}
	}
	close(turns)
	b.ResetTimer()
	for caller := range *benchCallers {
		wg.Go(func() {
			for range turns {
				work(caller)
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N**benchBatch)/b.Elapsed().Seconds(), unit)
	b.ReportMetric(0, "ns/op")
}

func BenchmarkAccept(b *testing.B) {
	l := newLoad(b, openStore(b), *benchLanes)
	payload := make([]byte, *benchPayload)
	rates(b, "events/s", func(caller int) { l.acceptBatch(b, payload, caller) })
}

// acceptBatch stores one batch of events of one delivery each, born claimed, as most are: matched to lanes without an order.
func (l *load) acceptBatch(b testing.TB, payload []byte, caller int) []posthorn.Claimed {
	batch := make([]posthorn.Acceptance, *benchBatch)
	for i := range batch {
		batch[i] = l.acceptance(payload, true, l.subs[(i+caller)%len(l.subs)])
		batch[i].Version, batch[i].Matches[0].Unordered = l.version, true
	}
	accepted, err := l.AcceptEvents(b.Context(), l.node, batch)
	if err != nil {
		b.Error(err)
		return nil
	}
	var claimed []posthorn.Claimed
	for i := range accepted {
		if accepted[i].Err != nil {
			b.Error(accepted[i].Err)
		}
		claimed = append(claimed, accepted[i].Claimed...)
	}
	return claimed
}

func (l *load) recordBatch(b testing.TB, claimed []posthorn.Claimed) {
	batch := posthorn.RecordBatch{Node: l.node}
	for _, c := range claimed {
		batch.Results = append(batch.Results, l.success(c))
	}
	report, err := l.RecordAttempts(b.Context(), batch)
	if err != nil {
		b.Error(err)
	}
	for _, r := range report.Results {
		if !r.Moved {
			b.Error("a result did not move its delivery")
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	l := newLoad(b, openStore(b), *benchLanes)
	payload := make([]byte, *benchPayload)
	claimed := make(chan []posthorn.Claimed, b.N)
	for i := range b.N {
		claimed <- l.acceptBatch(b, payload, i)
	}
	rates(b, "results/s", func(int) { l.recordBatch(b, <-claimed) })
}

// BenchmarkDeliver is the whole of what the store does for a delivery that succeeds at once.
func BenchmarkDeliver(b *testing.B) {
	l := newLoad(b, openStore(b), *benchLanes)
	payload := make([]byte, *benchPayload)
	rates(b, "deliveries/s", func(caller int) { l.recordBatch(b, l.acceptBatch(b, payload, caller)) })
}
