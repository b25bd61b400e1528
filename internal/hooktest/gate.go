package hooktest

import (
	"context"
	"sync/atomic"

	"github.com/posthorn/posthorn"
)

// Gate is a real store behind a gate: while it is shut the hot path gets Unavailable, as from a database out of reach.
// With it a node's death is played too, since nothing that it does afterwards is stored.
type Gate struct {
	posthorn.Store
	shut atomic.Bool
	// lost counts down the answers that get lost: the store does its work and the caller gets Unavailable.
	lost atomic.Int64
}

// Shut closes the gate, or opens it.
func (g *Gate) Shut(shut bool) { g.shut.Store(shut) }

// LoseAnswers lets the next n changes happen and tells the caller that the store could not be reached.
func (g *Gate) LoseAnswers(n int) { g.lost.Store(int64(n)) }

func (g *Gate) pass() error {
	if g.shut.Load() {
		return posthorn.NewError(posthorn.Unavailable, "the store is out of reach")
	}
	return nil
}

// answer takes the answer away where it is to be lost.
func (g *Gate) answer(err error) error {
	if err == nil && g.lost.Load() > 0 && g.lost.Add(-1) >= 0 {
		return posthorn.NewError(posthorn.Unavailable, "the connection to the store was lost")
	}
	return err
}

// AcceptEvents passes the gate.
func (g *Gate) AcceptEvents(ctx context.Context, node posthorn.NodeID, batch []posthorn.Acceptance) ([]posthorn.Accepted, error) {
	if err := g.pass(); err != nil {
		return nil, err
	}
	accepted, err := g.Store.AcceptEvents(ctx, node, batch)
	return accepted, g.answer(err)
}

// ClaimDeliveries passes the gate.
func (g *Gate) ClaimDeliveries(ctx context.Context, req posthorn.ClaimRequest) (posthorn.ClaimBatch, error) {
	if err := g.pass(); err != nil {
		return posthorn.ClaimBatch{}, err
	}
	batch, err := g.Store.ClaimDeliveries(ctx, req)
	return batch, g.answer(err)
}

// RenewClaims passes the gate.
func (g *Gate) RenewClaims(ctx context.Context, claims []posthorn.Claim) ([]posthorn.Claim, error) {
	if err := g.pass(); err != nil {
		return nil, err
	}
	lost, err := g.Store.RenewClaims(ctx, claims)
	return lost, g.answer(err)
}

// ReleaseClaims passes the gate.
func (g *Gate) ReleaseClaims(ctx context.Context, claims []posthorn.Claim) error {
	if err := g.pass(); err != nil {
		return err
	}
	return g.answer(g.Store.ReleaseClaims(ctx, claims))
}

// RecordAttempts passes the gate.
func (g *Gate) RecordAttempts(ctx context.Context, batch posthorn.RecordBatch) (posthorn.RecordReport, error) {
	if err := g.pass(); err != nil {
		return posthorn.RecordReport{}, err
	}
	report, err := g.Store.RecordAttempts(ctx, batch)
	return report, g.answer(err)
}
