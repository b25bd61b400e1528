package app

import (
	"context"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/config"
)

const (
	// heartbeatEvery is the time between reports; a node not heard of for three of them counts as gone.
	heartbeatEvery = 5 * time.Second
	aliveWithin    = 3 * heartbeatEvery
	forgetTimeout  = 2 * time.Second
)

// addHeartbeat makes the node report itself to the store, and learn from it how many workers live.
func (a *App) addHeartbeat() {
	ctx, end := context.WithCancel(context.Background())
	var beating sync.WaitGroup
	a.add("heartbeat", func(context.Context) error {
		beating.Go(func() { a.beat(ctx) })
		return nil
	}, func(stop context.Context) {
		end()
		beating.Wait()
		// A store that hangs must leave the time to what comes after.
		stop, cancel := context.WithTimeout(stop, forgetTimeout)
		defer cancel()
		if err := a.store.ForgetNode(stop, a.node); err != nil {
			a.log.Warn("node not signed off", "error", err)
		}
	})
}

func (a *App) beat(ctx context.Context) {
	every := time.NewTicker(heartbeatEvery)
	defer every.Stop()
	for {
		if err := a.reportNode(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("heartbeat not written", "error", err)
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
	}
}

func (a *App) reportNode(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, heartbeatEvery)
	defer cancel()
	drain, err := a.store.Heartbeat(ctx, a.describe())
	if err != nil {
		return err
	}
	if drain && a.engine != nil {
		a.engine.Drain()
	}
	nodes, err := a.store.ListNodes(ctx)
	if err != nil {
		return err
	}
	a.workers.Store(int64(liveWorkers(nodes, a.store.Now())))
	a.handler.ShowNodes(nodes)
	return nil
}

// describe is the node as it reports itself.
func (a *App) describe() *posthorn.Node {
	n := &posthorn.Node{
		ID: a.node, Hostname: hostname(), Version: a.version, Roles: a.settings.Roles, StartedAt: a.started,
		MemoryBytes: memoryInUse(), Goroutines: runtime.NumGoroutine(),
	}
	if a.engine != nil {
		a.engine.Describe(n)
	}
	return n
}

// liveWorkers counts the nodes that take deliveries and were heard of lately.
func liveWorkers(nodes []posthorn.Node, now time.Time) int {
	live := 0
	for i := range nodes {
		if n := &nodes[i]; isWorking(n, now) && !n.Draining {
			live++
		}
	}
	return live
}

// isWorking says whether a node is a worker that was heard of lately.
func isWorking(n *posthorn.Node, now time.Time) bool {
	return slices.Contains(n.Roles, config.RoleWorker) && n.Silent(now) < aliveWithin
}

// memoryInUse is what the Go runtime has mapped and not given back, in bytes.
func memoryInUse() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}
