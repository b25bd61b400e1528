package bubble_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/bubble"
)

// TestTimersAtOnce is what the race detector crashes over where threads meet the timers of a bubble at once.
func TestTimersAtOnce(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	bubble.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				for range 1000 {
					<-time.After(0)
				}
			})
		}
		wg.Wait()
	})
	if now := runtime.GOMAXPROCS(0); now != before {
		t.Errorf("%d processors afterwards, %d before", now, before)
	}
}
