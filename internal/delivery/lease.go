package delivery

import (
	"context"
	"time"

	"github.com/posthorn/posthorn"
)

const (
	// renewEvery is how old a lease gets before it is renewed.
	renewEvery   = 10 * time.Second
	renewChunk   = 1000
	leaseTimeout = 5 * time.Second
)

// renew extends the leases that are a third gone, in batches.
func (e *Engine) renew(now time.Time) {
	e.renewThose(func(it *item) bool { return it.leaseEnd.Sub(now) <= posthorn.Lease-renewEvery })
}

// recallGap is the least time between two recalls for each delivery that is held, up to recallGapMost: a recall asks for everything
// that waits on this node.
const recallGap, recallGapMost = time.Millisecond, time.Second

// recall renews all that waits, where that was asked for: what was cancelled meanwhile turns out to be lost.
func (e *Engine) recall(now time.Time) {
	if !e.recalled || e.renewing {
		return
	}
	gap := min(time.Duration(len(e.held))*recallGap, recallGapMost)
	if wait := gap - now.Sub(e.recalledAt); wait > 0 {
		if !e.recallDue {
			e.recallDue = true
			time.AfterFunc(wait, func() {
				e.call(func() {
					e.recallDue = false
					e.recall(time.Now())
				})
			})
		}
		return
	}
	e.recalled, e.recalledAt = false, now
	e.renewThose(func(it *item) bool { return it.started.IsZero() })
}

func (e *Engine) renewThose(which func(*item) bool) {
	if e.renewing {
		return
	}
	var due []posthorn.Claim
	for _, it := range e.held {
		if !it.lost && which(it) {
			due = append(due, it.Claim)
		}
	}
	if len(due) == 0 {
		return
	}
	e.renewing = true
	e.background.Go(func() {
		for len(due) > 0 {
			chunk := due[:min(len(due), renewChunk)]
			due = due[len(chunk):]
			e.renewChunk(chunk)
		}
		e.call(func() {
			e.renewing = false
			e.recall(time.Now())
		})
	})
}

func (e *Engine) renewChunk(chunk []posthorn.Claim) {
	ctx, cancel := context.WithTimeout(e.life, leaseTimeout)
	defer cancel()
	sent := time.Now()
	lost, err := e.opts.Store.RenewClaims(ctx, chunk)
	if err != nil {
		e.call(func() { e.fault("leases not renewed", err) })
		return
	}
	e.call(func() {
		for _, c := range chunk {
			if it := e.held[c.Attempt]; it != nil {
				it.leaseEnd = sent.Add(posthorn.Lease)
			}
		}
		for _, c := range lost {
			if it := e.held[c.Attempt]; it != nil {
				it.lost = true
			}
		}
	})
}

// drop forgets an item that is no longer this node's.
func (e *Engine) drop(it *item) {
	delete(e.held, it.Attempt)
	e.rooms.free(it.lane.room, it.bytes())
	e.refill(it.lane)
	e.checkIdle()
}

// releaseQueue gives back the queued items of a lane that a condition holds for.
func (e *Engine) releaseQueue(l *lane, which func(*item) bool) {
	var kept, given []*item
	for _, it := range l.queue {
		if which(it) {
			given = append(given, it)
		} else {
			kept = append(kept, it)
		}
	}
	l.queue = kept
	e.releaseAll(given)
}

// releaseTries is how often a release is tried; after that the leases run out by themselves.
const releaseTries = 3

func (e *Engine) releaseAll(items []*item) {
	if len(items) == 0 {
		return
	}
	claims := make([]posthorn.Claim, len(items))
	for i, it := range items {
		claims[i] = it.Claim
	}
	e.background.Go(func() {
		var err error
		for try := range releaseTries {
			ctx, cancel := context.WithTimeout(e.life, leaseTimeout)
			err = e.opts.Store.ReleaseClaims(ctx, claims)
			cancel()
			if err == nil {
				break
			}
			pause(e.life, claimBackoff<<try)
		}
		e.call(func() {
			if err != nil {
				e.fault("claims not released", err)
			}
			for _, it := range items {
				e.drop(it)
			}
			// What made them go back may be over, and nothing else would wake this node.
			e.claimIn(claimFull)
		})
	})
}

// pause waits, or returns early when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
