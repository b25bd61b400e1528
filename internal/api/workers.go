package api

import (
	"context"
	"net/http"
	"time"

	"github.com/posthorn/posthorn"
)

const workerNoun = "worker"

func (h *Handler) registerOperations() {
	handle(h, operation{
		method: http.MethodGet, path: "/workers", id: "listWorkers", tag: "Operations", scope: posthorn.ScopeAdmin,
		summary: "List nodes", description: "All processes of the cluster seen within the last day, oldest first, whatever their roles.",
	}, h.listWorkers)
	handle(h, operation{
		method: http.MethodGet, path: "/workers/{id}", id: "getWorker", tag: "Operations", scope: posthorn.ScopeAdmin,
		summary: "Read a node", description: "With what it is doing now.",
	}, h.getWorker)
	handle(h, operation{
		method: http.MethodPost, path: "/workers/{id}/drain", id: "drainWorker", tag: "Operations", scope: posthorn.ScopeAdmin,
		audit: "worker.drain", summary: "Drain a node", status: http.StatusAccepted,
		description: "It finishes what it has and claims nothing more until it is restarted.",
	}, h.drainWorker)
	handle(h, operation{
		method: http.MethodGet, path: "/queue", id: "getQueue", tag: "Operations", scope: posthorn.ScopeRead,
		summary: "Read the queue", description: "The backlog as a whole and the lanes with the longest ones: one lane per subscription.",
	}, h.getQueue)
	handle(h, operation{
		method: http.MethodGet, path: "/queue/history", id: "getQueueHistory", tag: "Operations", scope: posthorn.ScopeRead,
		summary: "Read the queue over time", description: "The backlog as sampled once a minute, at its largest in each step. Kept for the retention.",
	}, h.getQueueHistory)
	handle(h, operation{
		method: http.MethodGet, path: "/settings", id: "getSettings", tag: "Operations", scope: posthorn.ScopeRead,
		summary: "Read the effective configuration",
		description: "The limits and times in force at the node that answers. For the scope admin also every setting by the name of its " +
			"variable, secrets masked.",
	}, h.getSettings)
	handle(h, operation{
		method: http.MethodGet, path: "/stats", id: "getStats", tag: "Operations", scope: posthorn.ScopeRead,
		summary: "Read statistics", description: "One point per step in which anything happened, from rollups kept for the retention.",
	}, h.getStats)
}

const (
	// lateAfter and deadAfter are how long after its last heartbeat a node counts as late, and as dead: its claims have
	// run out by then.
	lateAfter = 15 * time.Second
	deadAfter = posthorn.Lease + 15*time.Second
)

// worker is one node.
type worker struct {
	ID                 posthorn.NodeID `json:"id" example:"node_06f1kz9qj4v3g7c8n2m5x0y1za"`
	Hostname           string          `json:"hostname"`
	Version            string          `json:"version"`
	Roles              []string        `json:"roles" example:"[\"api\",\"worker\",\"janitor\"]"`
	Status             string          `json:"status" enum:"alive,draining,late,dead"`
	StartedAt          time.Time       `json:"started_at"`
	LastSeenAt         time.Time       `json:"last_seen_at"`
	UptimeSeconds      int64           `json:"uptime_seconds"`
	InFlight           int             `json:"in_flight" doc:"Attempts on their way."`
	Held               int             `json:"held" doc:"Claimed deliveries, those in flight included."`
	Lanes              int             `json:"lanes"`
	DeliveredPerSecond float64         `json:"delivered_per_second"`
	MemoryBytes        int64           `json:"memory_bytes"`
	Goroutines         int             `json:"goroutines"`
	LastError          *string         `json:"last_error"`
	LastErrorAt        *time.Time      `json:"last_error_at"`
	Doing              []doing         `json:"doing" doc:"Attempts in flight, at most 100, oldest first."`
}

type doing struct {
	DeliveryID     posthorn.DeliveryID     `json:"delivery_id"`
	SubscriptionID posthorn.SubscriptionID `json:"subscription_id"`
	Attempt        int                     `json:"attempt"`
	Since          time.Time               `json:"since"`
}

type workerPath struct {
	ID string `path:"id" doc:"The node's id." example:"node_06f1kz9qj4v3g7c8n2m5x0y1za"`
}

func (h *Handler) listWorkers(ctx context.Context, c *call, _ *nothing) (*reply[list[worker]], error) {
	nodes, err := h.store.ListNodes(ctx)
	if err != nil {
		return nil, err
	}
	now := h.store.Now()
	return pageWith(c, nodes, posthorn.UUID{}, func(n *posthorn.Node) worker { return showWorker(n, now) }), nil
}

func (h *Handler) getWorker(ctx context.Context, _ *call, p *workerPath) (*reply[worker], error) {
	n, err := h.findNode(ctx, p)
	if err != nil {
		return nil, err
	}
	return replyWith(showWorker(n, h.store.Now())), nil
}

func (h *Handler) findNode(ctx context.Context, p *workerPath) (*posthorn.Node, error) {
	id, err := pathID[posthorn.NodeID](workerNoun, p.ID)
	if err != nil {
		return nil, err
	}
	nodes, err := h.store.ListNodes(ctx)
	if err != nil {
		return nil, err
	}
	for i := range nodes {
		if nodes[i].ID == id {
			return &nodes[i], nil
		}
	}
	return nil, posthorn.Absent(workerNoun)
}

func (h *Handler) drainWorker(ctx context.Context, _ *call, p *workerPath) (*reply[worker], error) {
	n, err := h.findNode(ctx, p)
	if err != nil {
		return nil, err
	}
	if err := h.store.DrainNode(ctx, n.ID); err != nil {
		return nil, err
	}
	h.opts.Bus.Publish(ctx, posthorn.Signal{Drain: n.ID})
	n.Drain = true
	return replyWith(showWorker(n, h.store.Now())), nil
}

func showWorker(n *posthorn.Node, now time.Time) worker {
	w := worker{
		ID: n.ID, Hostname: n.Hostname, Version: n.Version, Roles: n.Roles, Status: nodeStatus(n, now),
		StartedAt: n.StartedAt.UTC(), LastSeenAt: n.SeenAt.UTC(), UptimeSeconds: int64(n.SeenAt.Sub(n.StartedAt).Seconds()),
		InFlight: n.InFlight, Held: n.Held, Lanes: n.Lanes, DeliveredPerSecond: n.DeliveredPerSecond,
		MemoryBytes: n.MemoryBytes, Goroutines: n.Goroutines, LastError: nonEmpty(n.LastError),
		LastErrorAt: optional(n.LastErrorAt), Doing: make([]doing, len(n.Doing)),
	}
	for i, d := range n.Doing {
		w.Doing[i] = doing{d.DeliveryID, d.SubscriptionID, d.Number, d.Since.UTC()}
	}
	return w
}

func nodeStatus(n *posthorn.Node, now time.Time) string {
	switch silent := n.Silent(now); {
	case silent > deadAfter:
		return "dead"
	case silent > lateAfter:
		return "late"
	case n.Draining || n.Drain:
		return "draining"
	}
	return "alive"
}
