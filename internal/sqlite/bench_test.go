package sqlite

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

const benchBatch = 200

// bench is a store with a tenant and subscriptions.
type bench struct {
	*testing.B
	*Store
	tenant  posthorn.TenantID
	node    posthorn.NodeID
	subs    []posthorn.SubscriptionID
	payload []byte
	n       int
}

func newBench(b *testing.B, subscriptions int) *bench {
	b.Helper()
	x := &bench{B: b, Store: open(b, filepath.Join(b.TempDir(), "posthorn.db"))}
	raw := make([]byte, 500)
	_, _ = rand.Read(raw)
	x.payload = []byte(fmt.Sprintf(`{"data":"%s"}`, hex.EncodeToString(raw)))
	x.tenant = posthorn.TenantID{UUID: posthorn.NewUUID(time.Now())}
	x.node = posthorn.NodeID{UUID: posthorn.NewUUID(time.Now())}
	x.must(x.CreateTenant(b.Context(), &posthorn.Tenant{ID: x.tenant, Name: "bench"}))
	for range subscriptions {
		sub := &posthorn.Subscription{ID: posthorn.SubscriptionID{UUID: posthorn.NewUUID(time.Now())}, TenantID: x.tenant}
		sub.SetDefaults()
		x.must(x.CreateSubscription(b.Context(), sub))
		x.subs = append(x.subs, sub.ID)
	}
	return x
}

func (x *bench) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

// events makes n acceptances spread over the subscriptions, born claimed or not.
func (x *bench) events(n int, claimed bool) []posthorn.Acceptance {
	batch := make([]posthorn.Acceptance, n)
	for i := range batch {
		now := time.Now()
		m := posthorn.Match{
			SubscriptionID: x.subs[x.n%len(x.subs)], DeliveryID: posthorn.DeliveryID{UUID: posthorn.NewUUID(now)},
		}
		x.n++
		if claimed {
			m.Attempt = posthorn.AttemptID{UUID: posthorn.NewUUID(now)}
		}
		batch[i] = posthorn.Acceptance{Version: posthorn.AnyVersion, Matches: []posthorn.Match{m}, Event: &posthorn.Event{
			ID: posthorn.EventID{UUID: posthorn.NewUUID(now)}, TenantID: x.tenant, Type: "invoice.paid", Payload: x.payload,
			ContentType: posthorn.DefaultContentType,
		}}
	}
	return batch
}

func (x *bench) accept(batch []posthorn.Acceptance) []posthorn.Accepted {
	x.Helper()
	answers, err := x.AcceptEvents(x.Context(), x.node, batch)
	x.must(err)
	return answers
}

// success is the result of a claim as the engine reports it, headers and all.
func (x *bench) success(c posthorn.Claimed) posthorn.Result {
	return posthorn.Result{Claim: c.Claim, On: posthorn.OnSuccess, Spends: true, Attempt: &posthorn.Attempt{
		ID: c.Attempt, DeliveryID: c.DeliveryID, Number: c.Number, StartedAt: time.Now(), Outcome: posthorn.Succeeded,
		StatusCode: 200, Timing: posthorn.Timing{FirstByte: time.Millisecond, Total: 2 * time.Millisecond, Reused: true},
		Request: posthorn.Headers{
			"Content-Type": {"application/json"}, "User-Agent": {"Posthorn/1.0"}, "Webhook-Id": {c.Event.ID.String()},
			"Webhook-Timestamp": {"1770000000"}, "Webhook-Signature": {"v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="},
		},
		Response: posthorn.Headers{"Content-Length": {"2"}, "Date": {"Mon, 02 Feb 2026 10:00:00 GMT"}},
		Body:     []byte("ok"), Node: x.node,
	}}
}

func (x *bench) record(answers []posthorn.Accepted) {
	x.Helper()
	var results []posthorn.Result
	for i := range answers {
		for _, c := range answers[i].Claimed {
			results = append(results, x.success(c))
		}
	}
	_, err := x.RecordAttempts(x.Context(), posthorn.RecordBatch{Node: x.node, Results: results})
	x.must(err)
}

// rate reports how many events the measured part did in a second.
func (x *bench) rate(perOp int) {
	x.ReportMetric(float64(perOp*x.N)/x.Elapsed().Seconds(), "events/s")
}

// lanes runs a benchmark over few and over many lanes.
func lanes(b *testing.B, run func(x *bench)) {
	for _, n := range []int{1, 100, 10000} {
		b.Run(fmt.Sprintf("Lanes%d", n), func(b *testing.B) { run(newBench(b, n)) })
	}
}

func BenchmarkAccept(b *testing.B) {
	lanes(b, func(x *bench) {
		for x.Loop() {
			x.StopTimer()
			batch := x.events(benchBatch, true)
			x.StartTimer()
			x.accept(batch)
		}
		x.rate(benchBatch)
	})
}

func BenchmarkRecord(b *testing.B) {
	lanes(b, func(x *bench) {
		for x.Loop() {
			x.StopTimer()
			answers := x.accept(x.events(benchBatch, true))
			x.StartTimer()
			x.record(answers)
		}
		x.rate(benchBatch)
	})
}

// BenchmarkAcceptRecord is the hot path as a whole: accepted, born claimed, delivered.
func BenchmarkAcceptRecord(b *testing.B) {
	lanes(b, func(x *bench) {
		for x.Loop() {
			x.record(x.accept(x.events(benchBatch, true)))
		}
		x.rate(benchBatch)
	})
}

// BenchmarkClaim claims from 3,000 lanes beside a dead one with a backlog of 500,000.
func BenchmarkClaim(b *testing.B) {
	x := newBench(b, 3001)
	dead := x.subs[0]
	all := x.subs
	x.subs = all[:1]
	for range 500_000 / 1000 {
		x.accept(x.events(1000, false))
	}
	x.subs = all[1:]
	for range 30 {
		x.accept(x.events(1000, false))
	}
	claimed := 0
	for b.Loop() {
		got, err := x.ClaimDeliveries(b.Context(), posthorn.ClaimRequest{
			Node: x.node, Limit: benchBatch, PerLane: 10, MaxBytes: 64 << 20, Rooms: map[posthorn.SubscriptionID]int{dead: 2},
		})
		x.must(err)
		claimed += len(got.Claims)
		b.StopTimer()
		var results []posthorn.Result
		for _, c := range got.Claims {
			results = append(results, x.success(c))
		}
		_, err = x.RecordAttempts(b.Context(), posthorn.RecordBatch{Node: x.node, Results: results})
		x.must(err)
		x.accept(x.events(len(results), false))
		b.StartTimer()
	}
	b.ReportMetric(float64(claimed)/b.Elapsed().Seconds(), "claims/s")
}
