package app_test

import (
	"context"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/config"
)

// interrupter ends what it hears of at the first word.
type interrupter context.CancelFunc

func (i interrupter) Write(text []byte) (int, error) {
	i()
	return len(text), nil
}

// TestDemoEndsInTheMiddleOfARequest interrupts the demo before it makes its first request: that is an end, not a failure.
func TestDemoEndsInTheMiddleOfARequest(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &config.Settings{
		Retention: 72 * time.Hour, CleanupEvery: 12 * time.Hour, Hold: 720 * time.Hour, DisableAfter: 120 * time.Hour, MaxEventBytes: 256 << 10,
	}
	if err := app.Demo(ctx, s, "test", interrupter(cancel)); err != nil {
		t.Error(err)
	}
	if ctx.Err() == nil {
		t.Error("ended without being interrupted")
	}
}
