package delivery

import "time"

const (
	// breakerThreshold is how many failures in a row open the breaker.
	breakerThreshold = 20
	// breakerFirst is the first opening; each further one doubles, up to breakerLongest.
	breakerFirst   = 10 * time.Second
	breakerLongest = 5 * time.Minute
)

// breaker counts one lane's failures in a row on this node. Whether the breaker is open is the store's to know, for all
// nodes alike: openings counts those the store told of.
type breaker struct {
	failures int
	openings int
}

// succeeded starts the count anew.
func (b *breaker) succeeded() { b.failures = 0 }

// failed counts a failure that was the subscriber's fault, and returns how long to open for, or zero.
func (b *breaker) failed() time.Duration {
	b.failures++
	if b.openings == 0 && b.failures < breakerThreshold {
		return 0
	}
	// After an opening every claim is a probe, so one failure opens again.
	d := min(breakerFirst<<min(b.openings, 16), breakerLongest)
	b.openings++
	b.failures = 0
	return d
}
