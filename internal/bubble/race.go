//go:build race

package bubble

import (
	"runtime"
	"sync"
)

// bubbles are those of parallel tests that need the one processor, and the number there was before the first.
var bubbles struct {
	sync.Mutex
	count, processors int
}

func oneProcessor() (leave func()) {
	bubbles.Lock()
	defer bubbles.Unlock()
	if bubbles.count++; bubbles.count == 1 {
		bubbles.processors = runtime.GOMAXPROCS(1)
	}
	return func() {
		bubbles.Lock()
		defer bubbles.Unlock()
		if bubbles.count--; bubbles.count == 0 {
			runtime.GOMAXPROCS(bubbles.processors)
		}
	}
}
