// Package bubble runs tests in the fake time of testing/synctest, with or without the race detector.
package bubble

import (
	"testing"
	"testing/synctest"
)

// Test is synctest.Test. Under the race detector the process has one processor meanwhile: Go 1.26 runs the timers of a
// bubble on whichever thread meets them, and two threads that do so at once crash the detector, which takes them for
// one goroutine (https://go.dev/issue/78156). It finds races by what happens before what, so it needs no second one.
func Test(t *testing.T, f func(*testing.T)) {
	t.Helper()
	defer oneProcessor()()
	synctest.Test(t, f)
}
