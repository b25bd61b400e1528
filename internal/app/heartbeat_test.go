package app

import (
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

func TestLiveWorkers(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	worker := func(silent time.Duration) posthorn.Node {
		return posthorn.Node{Roles: []string{"api", "worker"}, SeenAt: now.Add(-silent)}
	}
	draining := worker(0)
	draining.Draining = true
	for name, c := range map[string]struct {
		nodes []posthorn.Node
		want  int
	}{
		"Nobody":    {nil, 0},
		"Alone":     {[]posthorn.Node{worker(0)}, 1},
		"Two":       {[]posthorn.Node{worker(0), worker(aliveWithin - 1)}, 2},
		"OneDead":   {[]posthorn.Node{worker(0), worker(aliveWithin)}, 1},
		"Ahead":     {[]posthorn.Node{worker(0), worker(-time.Hour)}, 1},
		"NoWorker":  {[]posthorn.Node{worker(0), {Roles: []string{"api"}, SeenAt: now}}, 1},
		"Draining":  {[]posthorn.Node{worker(0), worker(0), draining}, 2},
		"NoneTakes": {[]posthorn.Node{worker(aliveWithin), draining}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if live := liveWorkers(c.nodes, now); live != c.want {
				t.Errorf("%d workers live, want %d", live, c.want)
			}
		})
	}
	if learned := aliveWithin + heartbeatEvery; learned > posthorn.Lease {
		t.Errorf("a dead node's share is missed for up to %s, longer than the lease of %s on what it had", learned, posthorn.Lease)
	}
}
