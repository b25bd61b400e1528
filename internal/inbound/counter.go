package inbound

import (
	"context"
	"sync"
	"time"

	"github.com/posthorn/posthorn"
)

// flushEvery is how long counts wait to be written together.
const flushEvery = 5 * time.Second

// CountStore is what a Counter needs of a store.
type CountStore interface {
	CountSources(ctx context.Context, counts map[posthorn.SourceID]posthorn.SourceCounts) error
}

// Counter gathers what came in at sources, so that a flood of bad signatures is a row every few seconds and not a flood of
// writes. It is safe for concurrent use.
type Counter struct {
	store CountStore
	mu    sync.Mutex
	// waiting holds sources that exist, and so is bounded.
	waiting map[posthorn.SourceID]posthorn.SourceCounts
}

// NewCounter makes a Counter. Run writes what it gathers.
func NewCounter(store CountStore) *Counter {
	return &Counter{store: store, waiting: map[posthorn.SourceID]posthorn.SourceCounts{}}
}

// Add counts.
func (c *Counter) Add(id posthorn.SourceID, more posthorn.SourceCounts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := c.waiting[id]
	sum.Add(more)
	c.waiting[id] = sum
}

// Waiting is what this node has counted and not written yet.
func (c *Counter) Waiting(id posthorn.SourceID) posthorn.SourceCounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting[id]
}

// Flush writes what is waiting, in one batch. What cannot be written waits on.
func (c *Counter) Flush(ctx context.Context) error {
	c.mu.Lock()
	counts := c.waiting
	c.waiting = map[posthorn.SourceID]posthorn.SourceCounts{}
	c.mu.Unlock()
	if len(counts) == 0 {
		return nil
	}
	err := c.store.CountSources(ctx, counts)
	if err != nil {
		for id, sum := range counts {
			c.Add(id, sum)
		}
	}
	return err
}

// Run flushes every few seconds until ctx ends, and once more then. Failures go to report.
func (c *Counter) Run(ctx context.Context, report func(error)) {
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := c.Flush(ctx); err != nil && ctx.Err() == nil {
				report(err)
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if err := c.Flush(last); err != nil {
				report(err)
			}
			return
		}
	}
}
