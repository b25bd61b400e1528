//go:build unix

package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// switchLevel lets SIGUSR1 switch the log between debug and the level of the settings while the node runs.
func switchLevel(ctx context.Context, log *slog.Logger, level *slog.LevelVar) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	usual := level.Level()
	go func() {
		defer signal.Stop(asked)
		for {
			select {
			case <-ctx.Done():
				return
			case <-asked:
			}
			to := slog.LevelDebug
			if level.Level() == slog.LevelDebug {
				to = max(usual, slog.LevelInfo)
			}
			level.Set(to)
			log.LogAttrs(ctx, max(to, slog.LevelInfo), "log level changed", slog.String("level", to.String()))
		}
	}()
}
