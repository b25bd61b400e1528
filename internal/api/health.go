package api

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// Health of a component or of the whole.
type Health string

// The healths: degraded still works, slower or not everything; down does not.
const (
	HealthOK       Health = "ok"
	HealthDegraded Health = "degraded"
	HealthDown     Health = "down"
)

// Component is one part's health. Message and Details are public: no addresses, no credentials.
type Component struct {
	Name      string         `json:"name" example:"database"`
	Status    Health         `json:"status" enum:"ok,degraded,down"`
	LatencyMS float64        `json:"latency_ms"`
	Message   string         `json:"message,omitempty" doc:"What is wrong."`
	Details   map[string]any `json:"details,omitempty"`
}

// Check asks one component how it is. Run fills Status, Message and Details; it is given checkTime.
type Check struct {
	Name string
	Run  func(ctx context.Context) Component
}

const (
	// checkTime bounds one check; cachedTime is how long an answer serves others, as everybody may ask.
	checkTime  = 2 * time.Second
	cachedTime = time.Second
)

type healthReport struct {
	Status     Health      `json:"status" enum:"ok,degraded,down"`
	Version    string      `json:"version"`
	Components []Component `json:"components"`
}

type healthCache struct {
	mu     sync.Mutex
	report healthReport
	until  time.Time
}

type healthReply struct {
	Status int
	Body   healthReport
}

type liveness struct {
	Status string `json:"status" example:"ok"`
}

func (h *Handler) registerHealth() {
	handle(h, operation{
		method: http.MethodGet, path: "/health", id: "getHealth", tag: "Health", open: true,
		summary: "How the service is", description: "Every component with its status and latency. 503 when one is down; 200 when all are ok or degraded.",
	}, h.getHealth)
	for _, at := range [][2]string{{"/health/live", "getLiveness"}, {"/healthz", "getLivenessAlias"}} {
		handle(h, operation{
			method: http.MethodGet, path: at[0], id: at[1], tag: "Health", open: true,
			summary: "Whether the process answers", description: "Restart the process when it does not.",
		}, func(context.Context, *call, *nothing) (*reply[liveness], error) {
			return replyWith(liveness{"ok"}), nil
		})
	}
	handle(h, operation{
		method: http.MethodGet, path: "/health/ready", id: "getReadiness", tag: "Health", open: true,
		summary: "Whether this node can do its work", description: "503 takes it out of a load balancer.",
	}, h.getReadiness)
}

func (h *Handler) getHealth(ctx context.Context, _ *call, _ *nothing) (*healthReply, error) {
	report := h.checkHealth(ctx)
	status := http.StatusOK
	if report.Status == HealthDown {
		status = http.StatusServiceUnavailable
	}
	return &healthReply{status, report}, nil
}

func (h *Handler) getReadiness(ctx context.Context, _ *call, _ *nothing) (*reply[liveness], error) {
	if h.opts.Ready != nil {
		ctx, cancel := context.WithTimeout(ctx, checkTime)
		defer cancel()
		if err := h.opts.Ready(ctx); err != nil {
			p := newProblem(answerNotReady, "this node cannot do its work at present; /health says more").header("Retry-After", "2")
			p.cause = err
			return nil, p
		}
	}
	return replyWith(liveness{"ready"}), nil
}

// checkHealth asks all components at once, or answers from what it learned within the last second.
func (h *Handler) checkHealth(ctx context.Context) healthReport {
	h.health.mu.Lock()
	defer h.health.mu.Unlock()
	if time.Now().Before(h.health.until) {
		return h.health.report
	}
	// The answer is for all who ask within the second: one client's leaving must not spoil it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTime)
	defer cancel()
	report := healthReport{Status: HealthOK, Version: h.opts.Version, Components: make([]Component, len(h.opts.Checks))}
	var asked sync.WaitGroup
	for i, check := range h.opts.Checks {
		asked.Go(func() {
			start := time.Now()
			is := check.Run(ctx)
			is.Name = check.Name
			if is.LatencyMS == 0 {
				is.LatencyMS = milliseconds(time.Since(start))
			}
			report.Components[i] = is
		})
	}
	asked.Wait()
	for _, is := range report.Components {
		report.Status = worse(report.Status, is.Status)
	}
	h.health.report, h.health.until = report, time.Now().Add(cachedTime)
	return report
}

func worse(a, b Health) Health {
	if a == HealthDown || b == HealthDown {
		return HealthDown
	}
	if a == HealthDegraded || b == HealthDegraded {
		return HealthDegraded
	}
	return HealthOK
}
