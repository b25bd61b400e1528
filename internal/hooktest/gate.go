package hooktest

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn"
)

// Gate is a real store behind a gate: while it is shut the hot path gets Unavailable, as from a database out of reach.
// With it a node's death is played too, since nothing that it does afterwards is stored, and its standing still.
type Gate struct {
	posthorn.Store
	shut atomic.Bool
	// lost counts down the answers that get lost: the store does its work and the caller gets Unavailable.
	lost atomic.Int64
	// late is how long the answers of claims take, in nanoseconds.
	late atomic.Int64
	// calls counts down to the call at which the gate shuts for good.
	calls atomic.Int64

	mu sync.Mutex
	// thawed is there while the gate is frozen, and closed when that ends.
	thawed   chan struct{}
	deferred func()
	after    bool
}

// Shut closes the gate, or opens it.
func (g *Gate) Shut(shut bool) { g.shut.Store(shut) }

// LoseAnswers lets the next n changes happen and tells the caller that the store could not be reached.
func (g *Gate) LoseAnswers(n int) { g.lost.Store(int64(n)) }

// Late makes the answer of a claim come that much after the store has made it.
func (g *Gate) Late(by time.Duration) { g.late.Store(int64(by)) }

// Freeze keeps every call waiting until it is undone, or until the call's own time is over.
func (g *Gate) Freeze(frozen bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case frozen && g.thawed == nil:
		g.thawed = make(chan struct{})
	case !frozen && g.thawed != nil:
		close(g.thawed)
		g.thawed = nil
	}
}

// ShutAt closes the gate at the nth call from now: before the store does its work or, with after, when it has done it and
// before the caller learns. Then it calls shut, in a goroutine of its own.
func (g *Gate) ShutAt(n int, after bool, shut func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deferred, g.after = shut, after
	g.calls.Store(int64(n))
}

// strike reports whether this is the call at which the gate shuts.
func (g *Gate) strike(after bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.deferred == nil || g.after != after || g.calls.Add(-1) > 0 {
		return false
	}
	g.shut.Store(true)
	go g.deferred()
	g.deferred = nil
	return true
}

func (g *Gate) pass(ctx context.Context) error {
	g.mu.Lock()
	thawed := g.thawed
	g.mu.Unlock()
	if thawed != nil {
		select {
		case <-thawed:
		case <-ctx.Done():
			return &posthorn.Error{Kind: posthorn.Unavailable, Message: "the store did not answer in time", Err: ctx.Err()}
		}
	}
	if g.shut.Load() || g.strike(false) {
		return posthorn.NewError(posthorn.Unavailable, "the store is out of reach")
	}
	return nil
}

// answer takes the answer away where it is to be lost.
func (g *Gate) answer(err error) error {
	if g.shut.Load() || g.strike(true) || err == nil && g.lost.Load() > 0 && g.lost.Add(-1) >= 0 {
		return posthorn.NewError(posthorn.Unavailable, "the connection to the store was lost")
	}
	return err
}

// AcceptEvents passes the gate.
func (g *Gate) AcceptEvents(ctx context.Context, node posthorn.NodeID, batch []posthorn.Acceptance) ([]posthorn.Accepted, error) {
	if err := g.pass(ctx); err != nil {
		return nil, err
	}
	accepted, err := g.Store.AcceptEvents(ctx, node, batch)
	if err := g.answer(err); err != nil {
		return nil, err
	}
	return accepted, nil
}

// ClaimDeliveries passes the gate.
func (g *Gate) ClaimDeliveries(ctx context.Context, req posthorn.ClaimRequest) (posthorn.ClaimBatch, error) {
	if err := g.pass(ctx); err != nil {
		return posthorn.ClaimBatch{}, err
	}
	batch, err := g.Store.ClaimDeliveries(ctx, req)
	time.Sleep(time.Duration(g.late.Load()))
	return batch, g.answer(err)
}

// RenewClaims passes the gate.
func (g *Gate) RenewClaims(ctx context.Context, claims []posthorn.Claim) ([]posthorn.Claim, error) {
	if err := g.pass(ctx); err != nil {
		return nil, err
	}
	lost, err := g.Store.RenewClaims(ctx, claims)
	return lost, g.answer(err)
}

// ReleaseClaims passes the gate.
func (g *Gate) ReleaseClaims(ctx context.Context, claims []posthorn.Claim) error {
	if err := g.pass(ctx); err != nil {
		return err
	}
	return g.answer(g.Store.ReleaseClaims(ctx, claims))
}

// RecordAttempts passes the gate.
func (g *Gate) RecordAttempts(ctx context.Context, batch posthorn.RecordBatch) (posthorn.RecordReport, error) {
	if err := g.pass(ctx); err != nil {
		return posthorn.RecordReport{}, err
	}
	report, err := g.Store.RecordAttempts(ctx, batch)
	return report, g.answer(err)
}
