// Package storetest is the definition of a correct store: one suite that every store passes, and the row factories that
// tests fill a store with. It is imported by tests only and knows no store; what it leaves to a store's own tests is how
// rows are laid out, how fast they come, and how the store fails.
package storetest

import (
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

// Harness is what a store's package brings to the suite.
type Harness struct {
	// Open opens a new, empty store and closes it when the test ends.
	Open func(t *testing.T) posthorn.Store
	// Reopen closes a store that Open gave and opens the same data again, as a new process would.
	Reopen func(t *testing.T, store posthorn.Store) posthorn.Store
	// Frees says that opening frees the claims of before, as no other process can hold one.
	Frees bool
	// Elapse lets time pass on the store's clock. Where the clock is Go's, this is time.Sleep in a bubble of fake time;
	// where it is a server's, every stored time is moved back instead. Ids stay as they are in both cases, so a case that
	// needs old rows gives them old ids (Fixture.Aged).
	Elapse func(t *testing.T, store posthorn.Store, d time.Duration)
	// Step sets the store's clock forth or back, as an operator, NTP or a failover does.
	Step func(t *testing.T, store posthorn.Store, d time.Duration)
	// Checks is how many random stories the model is held against; 0 is rapid's own number.
	Checks int
	// Bubble wraps each case: testing/synctest.Test, or nil for none.
	Bubble func(t *testing.T, run func(t *testing.T))
	// AtRest is everything the store has written down, to look for what must not be readable in it.
	AtRest func(t *testing.T, store posthorn.Store) []byte
}

// test is one case. It gets a store of its own with one tenant.
type test struct {
	name string
	run  func(f *Fixture)
}

// group is the cases of one noun or one act.
type group struct {
	name  string
	tests []test
}

// Run runs the whole suite. Each case is a subtest of its group, so that one can be selected:
// -run 'TestStore/Accept/BornClaimed'.
func Run(t *testing.T, h Harness) {
	if h.Bubble == nil {
		h.Bubble = func(t *testing.T, run func(t *testing.T)) { run(t) }
	}
	groups := []group{
		acceptTests(),
		matched(acceptTests()),
		idempotencyTests(),
		claimTests(),
		leaseTests(),
		recordTests(),
		matched(recordTests()),
		laneTests(),
		matched(laneTests()),
		manualTests(),
		fifoTests(),
		replayTests(),
		replayJobTests(),
		eraseTests(),
		subscriptionTests(),
		catalogueTests(),
		sourceTests(),
		eventTests(),
		matched(eventTests()),
		deliveryTests(),
		keyTests(),
		sessionTests(),
		auditTests(),
		nodeTests(),
		cleanupTests(),
		withdrawTests(),
		insightTests(),
		matched(insightTests()),
		updateTests(),
		durabilityTests(),
		clockTests(),
		modelTests(),
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			for _, c := range g.tests {
				t.Run(c.name, func(t *testing.T) {
					h.Bubble(t, func(t *testing.T) {
						f := NewFixture(t, h.Open(t))
						f.harness = h
						c.run(f)
					})
				})
			}
		})
	}
}

// matched is the group with events that were matched to the subscriptions as they are, which a store may accept in another way
// than those of any version.
func matched(g group) group {
	m := group{name: g.name + "Matched"}
	for _, c := range g.tests {
		m.tests = append(m.tests, test{c.name, func(f *Fixture) {
			f.matched = true
			c.run(f)
		}})
	}
	return m
}
