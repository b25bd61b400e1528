package delivery

import (
	"time"

	"github.com/posthorn/posthorn"
)

const (
	// breakerThreshold is how many failures in a row open the breaker.
	breakerThreshold = 20
	// breakerFirst is the first opening; each further one doubles, up to posthorn.LongestBreak.
	breakerFirst = 10 * time.Second
)

// breaker counts one lane's failures in a row on this node. Whether the breaker is open is the store's to know, for all
// nodes alike: openings counts those in a row that it told of.
type breaker struct {
	failures int
	openings int
}

// succeeded starts the count anew.
func (b *breaker) succeeded() { b.failures = 0 }

// failed counts a failure that was the subscriber's fault of a request that was sent after so many openings, and returns
// how long to open for, or zero. After an opening every request is a probe, so one failure opens again; those that were
// under way when it opened say nothing new.
func (b *breaker) failed(openings int) time.Duration {
	b.failures++
	if b.openings > openings || b.openings == 0 && b.failures < breakerThreshold {
		return 0
	}
	d := min(breakerFirst<<min(b.openings, 16), posthorn.LongestBreak)
	b.openings++
	b.failures = 0
	return d
}
