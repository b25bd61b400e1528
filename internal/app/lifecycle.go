package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/posthorn/posthorn/internal/failpoint"
)

// part is one thing that runs: started in order, stopped in reverse.
type part struct {
	name  string
	start func(ctx context.Context) error
	// stop must return by the end of ctx; nil where there is nothing to stop.
	stop func(ctx context.Context)
}

// lifecycle starts and stops parts.
type lifecycle struct {
	log     *slog.Logger
	points  *failpoint.Points
	parts   []part
	started int
}

func (l *lifecycle) add(name string, start func(ctx context.Context) error, stop func(ctx context.Context)) {
	l.parts = append(l.parts, part{name, start, stop})
}

// start starts all parts. When one fails those before it are stopped, and the error names it.
func (l *lifecycle) start(ctx context.Context) error {
	for _, p := range l.parts {
		if p.start != nil {
			if err := p.start(ctx); err != nil {
				l.stop(ctx)
				return fmt.Errorf("start %s: %w", p.name, err)
			}
		}
		l.started++
	}
	return nil
}

// stop stops what was started, the last first, and says which part took long.
func (l *lifecycle) stop(ctx context.Context) {
	for l.started > 0 {
		l.started--
		p := l.parts[l.started]
		if p.stop == nil {
			continue
		}
		_ = l.points.Hit(failpoint.StopPart)
		begin := time.Now()
		p.stop(ctx)
		l.log.Debug("stopped", "part", p.name, "took", time.Since(begin))
	}
}
