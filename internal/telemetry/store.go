package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthorn/posthorn"
)

// Store is a store whose calls are timed and whose failures are counted: those that accepting, delivering and looking use
// again and again. A refusal of the request (NotFound, Conflict) is no failure.
func (m *Metrics) Store(s posthorn.Store) posthorn.Store {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "posthorn_store_transactions_total", Help: "Transactions of the database.",
	}, func() float64 { return float64(s.Work().Transactions) }), prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "posthorn_store_statements_total", Help: "Statements in them.",
	}, func() float64 { return float64(s.Work().Statements) }))
	return timedStore{s, m}
}

type timedStore struct {
	posthorn.Store
	m *Metrics
}

// The operations, which are the label's values.
const (
	opAccept        = "accept"
	opReplay        = "replay"
	opClaim         = "claim"
	opRenew         = "renew"
	opRelease       = "release"
	opRecord        = "record"
	opSubscriptions = "subscriptions"
	opKey           = "key"
	opListEvents    = "list_events"
	opListDelivery  = "list_deliveries"
	opHeartbeat     = "heartbeat"
	opQueue         = "queue"
	opHealth        = "health"
)

func (m *Metrics) stored(operation string, start time.Time, err error) {
	m.storeSeconds.WithLabelValues(operation).Observe(time.Since(start).Seconds())
	if err == nil {
		return
	}
	switch posthorn.KindOf(err) {
	case posthorn.Unavailable:
		m.storeErrors.WithLabelValues(operation, "unavailable").Inc()
	case posthorn.Internal:
		m.storeErrors.WithLabelValues(operation, "internal").Inc()
	}
}

// AcceptEvents is the store's.
func (t timedStore) AcceptEvents(ctx context.Context, node posthorn.NodeID, batch []posthorn.Acceptance) ([]posthorn.Accepted, error) {
	start := time.Now()
	out, err := t.Store.AcceptEvents(ctx, node, batch)
	t.m.stored(opAccept, start, err)
	return out, err
}

// Replay is the store's.
func (t timedStore) Replay(ctx context.Context, tenant posthorn.TenantID, event posthorn.EventID, replay posthorn.ReplayID, matches []posthorn.Match) ([]posthorn.Delivery, error) {
	start := time.Now()
	out, err := t.Store.Replay(ctx, tenant, event, replay, matches)
	t.m.stored(opReplay, start, err)
	return out, err
}

// ClaimDeliveries is the store's.
func (t timedStore) ClaimDeliveries(ctx context.Context, req posthorn.ClaimRequest) (posthorn.ClaimBatch, error) {
	start := time.Now()
	out, err := t.Store.ClaimDeliveries(ctx, req)
	t.m.stored(opClaim, start, err)
	return out, err
}

// RenewClaims is the store's.
func (t timedStore) RenewClaims(ctx context.Context, claims []posthorn.Claim) ([]posthorn.Claim, error) {
	start := time.Now()
	out, err := t.Store.RenewClaims(ctx, claims)
	t.m.stored(opRenew, start, err)
	return out, err
}

// ReleaseClaims is the store's.
func (t timedStore) ReleaseClaims(ctx context.Context, claims []posthorn.Claim) error {
	start := time.Now()
	err := t.Store.ReleaseClaims(ctx, claims)
	t.m.stored(opRelease, start, err)
	return err
}

// RecordAttempts is the store's.
func (t timedStore) RecordAttempts(ctx context.Context, batch posthorn.RecordBatch) (posthorn.RecordReport, error) {
	start := time.Now()
	out, err := t.Store.RecordAttempts(ctx, batch)
	t.m.stored(opRecord, start, err)
	return out, err
}

// SubscriptionsSince is the store's.
func (t timedStore) SubscriptionsSince(ctx context.Context, tenant posthorn.TenantID, version int64) (int64, []posthorn.Subscription, error) {
	start := time.Now()
	now, out, err := t.Store.SubscriptionsSince(ctx, tenant, version)
	t.m.stored(opSubscriptions, start, err)
	return now, out, err
}

// FindKey is the store's.
func (t timedStore) FindKey(ctx context.Context, hash [32]byte) (*posthorn.Key, error) {
	start := time.Now()
	out, err := t.Store.FindKey(ctx, hash)
	t.m.stored(opKey, start, err)
	return out, err
}

// ListEvents is the store's.
func (t timedStore) ListEvents(ctx context.Context, tenant posthorn.TenantID, f posthorn.EventFilter, p posthorn.Page) ([]posthorn.EventSummary, posthorn.UUID, error) {
	start := time.Now()
	out, next, err := t.Store.ListEvents(ctx, tenant, f, p)
	t.m.stored(opListEvents, start, err)
	return out, next, err
}

// ListDeliveries is the store's.
func (t timedStore) ListDeliveries(ctx context.Context, tenant posthorn.TenantID, f posthorn.DeliveryFilter, p posthorn.Page) ([]posthorn.Delivery, posthorn.UUID, error) {
	start := time.Now()
	out, next, err := t.Store.ListDeliveries(ctx, tenant, f, p)
	t.m.stored(opListDelivery, start, err)
	return out, next, err
}

// Heartbeat is the store's.
func (t timedStore) Heartbeat(ctx context.Context, n *posthorn.Node) (bool, error) {
	start := time.Now()
	drain, err := t.Store.Heartbeat(ctx, n)
	t.m.stored(opHeartbeat, start, err)
	return drain, err
}

// Queue is the store's.
func (t timedStore) Queue(ctx context.Context, tenant posthorn.TenantID) (posthorn.Queue, error) {
	start := time.Now()
	out, err := t.Store.Queue(ctx, tenant)
	t.m.stored(opQueue, start, err)
	return out, err
}

// Health is the store's.
func (t timedStore) Health(ctx context.Context) (posthorn.StoreHealth, error) {
	start := time.Now()
	out, err := t.Store.Health(ctx)
	t.m.stored(opHealth, start, err)
	return out, err
}
