package app

import (
	"context"
	"errors"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/api"
	"github.com/posthorn/posthorn/internal/config"
)

// overdueAfter is how overdue the oldest due delivery may be before health is degraded.
const overdueAfter = time.Minute

// checks are the components of GET /health.
func (a *App) checks() []api.Check {
	checks := []api.Check{
		{Name: "database", Run: a.checkDatabase},
		{Name: "workers", Run: a.checkWorkers},
		{Name: "queue", Run: a.checkQueue},
	}
	if a.redis != nil {
		checks = append(checks, api.Check{Name: "redis", Run: a.checkRedis})
	}
	return checks
}

func (a *App) checkDatabase(ctx context.Context) api.Component {
	h, err := a.store.Health(ctx)
	if err != nil {
		a.log.Warn("database not healthy", "error", err)
		return api.Component{Status: api.HealthDown, Message: "the database does not answer"}
	}
	c := api.Component{Status: api.HealthOK, LatencyMS: float64(h.Latency.Microseconds()) / 1000, Details: map[string]any{
		"migration": h.Migration, "pool_used": h.PoolUsed, "pool_size": h.PoolSize,
	}}
	switch {
	case h.Full:
		c.Status, c.Message = api.HealthDown, "the disk is full; nothing can be stored until there is room"
	case h.Migration < h.Expected:
		c.Status, c.Message = api.HealthDegraded, "the schema is older than this version expects"
	}
	return c
}

// checkRedis never answers down: everything works without Redis, only slower.
func (a *App) checkRedis(context.Context) api.Component {
	state := a.redis.State()
	if !state.Up {
		return api.Component{
			Status: api.HealthDegraded, Message: "Redis does not answer; limits are kept per node until it does",
			Details: map[string]any{"since": state.Since.UTC()},
		}
	}
	return api.Component{Status: api.HealthOK, LatencyMS: float64(state.Latency.Microseconds()) / 1000}
}

func (a *App) checkWorkers(ctx context.Context) api.Component {
	nodes, err := a.store.ListNodes(ctx)
	if err != nil {
		return api.Component{Status: api.HealthDegraded, Message: "the workers' heartbeats cannot be read"}
	}
	now, live, draining := a.store.Now(), 0, 0
	for i := range nodes {
		n := &nodes[i]
		if !isWorking(n, now) {
			continue
		}
		live++
		if n.Draining {
			draining++
		}
	}
	c := api.Component{Status: api.HealthOK, Details: map[string]any{"alive": live, "draining": draining}}
	if live == draining {
		c.Status, c.Message = api.HealthDegraded, "no worker takes deliveries; events are stored and wait"
	}
	return c
}

// checkQueue looks at deliveries that are late. Held ones are not: someone wants them to wait.
func (a *App) checkQueue(ctx context.Context) api.Component {
	q, err := a.store.Queue(ctx, posthorn.TenantID{})
	if err != nil {
		return api.Component{Status: api.HealthDegraded, Message: "the queue cannot be read"}
	}
	c := api.Component{Status: api.HealthOK, Details: map[string]any{
		"pending": q.Pending, "due": q.Due, "held": q.Held, "oldest_due_seconds": q.OldestDue.Seconds(),
	}}
	if q.OldestDue > overdueAfter {
		c.Status, c.Message = api.HealthDegraded, "deliveries are late; add workers, or look for slow receivers"
	}
	return c
}

var (
	errStopping = errors.New("the node is stopping")
	errFull     = errors.New("the disk is full")
)

// ready says why this node cannot do its own roles, or nil. Overdue work is no reason: it would take every API node away
// when they are needed most.
func (a *App) ready(ctx context.Context) error {
	if a.stopping.Load() {
		return errStopping
	}
	h, err := a.store.Health(ctx)
	if err != nil {
		return err
	}
	if h.Full {
		return errFull
	}
	if h.Migration < h.Expected && a.settings.Has(config.RoleAPI) {
		return errors.New("the schema is older than this version expects")
	}
	return nil
}
