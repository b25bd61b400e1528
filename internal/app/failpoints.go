package app

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/api"
	"github.com/posthorn/posthorn/internal/delivery"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/failpoint"
	"github.com/posthorn/posthorn/internal/ingest"
)

// What follows stands between the parts of a node that has fail points. Without them nothing of it is there.

// breakingStore passes a point before and after each transition of a store.
type breakingStore struct {
	posthorn.Store
	points *failpoint.Points
}

// breakable is the store itself where nothing is armed.
func breakable(store posthorn.Store, points *failpoint.Points) posthorn.Store {
	if points == nil {
		return store
	}
	return &breakingStore{store, points}
}

// transition is the key of the name of what a call does, for the moment of its commit.
type transition struct{}

// around makes a call between two points. What was committed is not undone by an error armed after it, which is how a
// commit of unknown fate looks.
func around[T any](ctx context.Context, p *failpoint.Points, before, after failpoint.Point, call func(context.Context) (T, error)) (T, error) {
	var none T
	if err := injected(p.Hit(before)); err != nil {
		return none, err
	}
	name, _, _ := strings.Cut(string(before), ".")
	v, err := call(context.WithValue(ctx, transition{}, failpoint.Point(name+".commit")))
	if err != nil {
		return v, err
	}
	if err := injected(p.Hit(after)); err != nil {
		return none, err
	}
	return v, nil
}

// injected is an armed error as a store that cannot answer would give it.
func injected(err error) error {
	if err == nil {
		return nil
	}
	return posthorn.Away(time.Second, err)
}

// beforeCommit is for the store that asks before its commit.
func beforeCommit(p *failpoint.Points) func(context.Context) error {
	if p == nil {
		return nil
	}
	return func(ctx context.Context) error {
		at, ok := ctx.Value(transition{}).(failpoint.Point)
		if !ok {
			return nil
		}
		return injected(p.Hit(at))
	}
}

func (s *breakingStore) AcceptEvents(ctx context.Context, node posthorn.NodeID, batch []posthorn.Acceptance) ([]posthorn.Accepted, error) {
	return around(ctx, s.points, failpoint.AcceptBefore, failpoint.AcceptAfter, func(ctx context.Context) ([]posthorn.Accepted, error) {
		return s.Store.AcceptEvents(ctx, node, batch)
	})
}

func (s *breakingStore) Replay(ctx context.Context, tenant posthorn.TenantID, event posthorn.EventID, replay posthorn.ReplayID,
	matches []posthorn.Match,
) ([]posthorn.Delivery, error) {
	return around(ctx, s.points, failpoint.ReplayBefore, failpoint.ReplayAfter, func(ctx context.Context) ([]posthorn.Delivery, error) {
		return s.Store.Replay(ctx, tenant, event, replay, matches)
	})
}

func (s *breakingStore) StepReplay(ctx context.Context, step posthorn.ReplayStep) (*posthorn.Replay, error) {
	return around(ctx, s.points, failpoint.CopiesBefore, failpoint.CopiesAfter, func(ctx context.Context) (*posthorn.Replay, error) {
		return s.Store.StepReplay(ctx, step)
	})
}

func (s *breakingStore) ChangeDeliveries(ctx context.Context, tenant posthorn.TenantID, c posthorn.BulkChange) (posthorn.BulkReport, error) {
	return around(ctx, s.points, failpoint.ChangeBefore, failpoint.ChangeAfter, func(ctx context.Context) (posthorn.BulkReport, error) {
		return s.Store.ChangeDeliveries(ctx, tenant, c)
	})
}

func (s *breakingStore) ClaimDeliveries(ctx context.Context, req posthorn.ClaimRequest) (posthorn.ClaimBatch, error) {
	return around(ctx, s.points, failpoint.ClaimBefore, failpoint.ClaimAfter, func(ctx context.Context) (posthorn.ClaimBatch, error) {
		return s.Store.ClaimDeliveries(ctx, req)
	})
}

func (s *breakingStore) RenewClaims(ctx context.Context, claims []posthorn.Claim) ([]posthorn.Claim, error) {
	return around(ctx, s.points, failpoint.RenewBefore, failpoint.RenewAfter, func(ctx context.Context) ([]posthorn.Claim, error) {
		return s.Store.RenewClaims(ctx, claims)
	})
}

func (s *breakingStore) ReleaseClaims(ctx context.Context, claims []posthorn.Claim) error {
	_, err := around(ctx, s.points, failpoint.ReleaseBefore, failpoint.ReleaseAfter, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.Store.ReleaseClaims(ctx, claims)
	})
	return err
}

func (s *breakingStore) RecordAttempts(ctx context.Context, batch posthorn.RecordBatch) (posthorn.RecordReport, error) {
	return around(ctx, s.points, failpoint.RecordBefore, failpoint.RecordAfter, func(ctx context.Context) (posthorn.RecordReport, error) {
		return s.Store.RecordAttempts(ctx, batch)
	})
}

func (s *breakingStore) Cleanup(ctx context.Context, r posthorn.Retention) (posthorn.CleanupReport, error) {
	return around(ctx, s.points, failpoint.CleanupBefore, failpoint.CleanupAfter, func(ctx context.Context) (posthorn.CleanupReport, error) {
		return s.Store.Cleanup(ctx, r)
	})
}

func (s *breakingStore) WithdrawDeliveries(ctx context.Context, w posthorn.Withdrawal) (posthorn.WithdrawalReport, error) {
	return around(ctx, s.points, failpoint.WithdrawBefore, failpoint.WithdrawAfter, func(ctx context.Context) (posthorn.WithdrawalReport, error) {
		return s.Store.WithdrawDeliveries(ctx, w)
	})
}

// breakingPublisher passes a point when an event has been read.
type breakingPublisher struct {
	api.Publisher
	points *failpoint.Points
}

func breakablePublisher(p api.Publisher, points *failpoint.Points) api.Publisher {
	if points == nil {
		return p
	}
	return &breakingPublisher{p, points}
}

func (p *breakingPublisher) Publish(ctx context.Context, tenant posthorn.TenantID, e *posthorn.Event) (posthorn.Accepted, error) {
	if err := injected(p.points.Hit(failpoint.PublishRead)); err != nil {
		return posthorn.Accepted{}, err
	}
	return p.Publisher.Publish(ctx, tenant, e)
}

func (p *breakingPublisher) PublishBatch(ctx context.Context, tenant posthorn.TenantID, events []*posthorn.Event) ([]posthorn.Accepted, error) {
	if err := injected(p.points.Hit(failpoint.PublishRead)); err != nil {
		return nil, err
	}
	return p.Publisher.PublishBatch(ctx, tenant, events)
}

// breakingLanes passes a point around the hand-over. What cannot be kept from the lanes is not: errors are of no effect.
type breakingLanes struct {
	ingest.Lanes
	points *failpoint.Points
}

func breakableLanes(l ingest.Lanes, points *failpoint.Points) ingest.Lanes {
	if points == nil {
		return l
	}
	return &breakingLanes{l, points}
}

func (l *breakingLanes) Submit(claimed []posthorn.Claimed, leased time.Time) {
	_ = l.points.Hit(failpoint.HandoffBefore)
	l.Lanes.Submit(claimed, leased)
	_ = l.points.Hit(failpoint.HandoffAfter)
}

// breakingClient passes a point around each request.
type breakingClient struct {
	delivery.Client
	points *failpoint.Points
}

func breakableClient(c delivery.Client, points *failpoint.Points) delivery.Client {
	if points == nil {
		return c
	}
	return &breakingClient{c, points}
}

func (c *breakingClient) Do(ctx context.Context, r egress.Request) egress.Result {
	if err := c.points.Hit(failpoint.RequestBefore); err != nil {
		return egress.Result{Outcome: posthorn.ConnectError, Code: "fail_point", Detail: "The request was not made.", OurFault: true, Err: err}
	}
	result := c.Client.Do(ctx, r)
	_ = c.points.Hit(failpoint.RequestAfter)
	return result
}

// breakingResolver passes a point before a name is looked up.
type breakingResolver struct {
	net.Resolver
	points *failpoint.Points
}

// breakableResolver is nil, which is the default, where nothing is armed.
func breakableResolver(points *failpoint.Points) egress.Resolver {
	if points == nil {
		return nil
	}
	return &breakingResolver{Resolver: net.Resolver{PreferGo: true}, points: points}
}

func (r *breakingResolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	addr, ok, err := r.points.Answer()
	if err != nil {
		return nil, &net.DNSError{Err: err.Error(), Name: host, IsTemporary: true}
	}
	if err := ctx.Err(); err != nil {
		return nil, &net.DNSError{Err: err.Error(), Name: host, IsTimeout: true}
	}
	if ok {
		return []netip.Addr{addr}, nil
	}
	return r.Resolver.LookupNetIP(ctx, network, host)
}

// breakingTracer passes the point of a commit: when a pipeline has been answered, whose transaction the server ends by itself,
// and when a COMMIT is about to be sent.
type breakingTracer struct{ commit func(context.Context) error }

func breakableTracer(points *failpoint.Points) pgx.QueryTracer {
	if points == nil {
		return nil
	}
	return breakingTracer{beforeCommit(points)}
}

func (t breakingTracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	if q.SQL == "commit" {
		_ = t.commit(ctx)
	}
	return ctx
}

func (breakingTracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (breakingTracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}

func (t breakingTracer) TraceBatchQuery(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchQueryData) {
	_ = t.commit(ctx)
}

func (breakingTracer) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}
