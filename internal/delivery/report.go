package delivery

import (
	"slices"
	"time"

	"github.com/posthorn/posthorn"
)

// report gathers what a heartbeat tells. It belongs to the loop.
type report struct {
	delivered   int64
	since       time.Time
	lastError   string
	lastErrorAt time.Time
}

func (r *report) recorded(result posthorn.Result) {
	if result.On == posthorn.OnSuccess {
		r.delivered++
	}
}

// fault notes an error of our own machinery, once in the log and for the next heartbeat.
func (e *Engine) fault(what string, err error) {
	e.opts.Log.Error(what, "error", err)
	e.report.lastError, e.report.lastErrorAt = what, e.opts.Store.Now()
}

// doingShown bounds the attempts in flight that a heartbeat names.
const doingShown = 100

// Describe fills a node's heartbeat with what the engine is doing. It answers at once when the engine has ended.
func (e *Engine) Describe(n *posthorn.Node) {
	done := make(chan struct{})
	e.call(func() {
		e.describe(n)
		close(done)
	})
	select {
	case <-done:
	case <-e.life.Done():
	}
}

func (e *Engine) describe(n *posthorn.Node) {
	now := time.Now()
	if elapsed := now.Sub(e.report.since); !e.report.since.IsZero() && elapsed > 0 {
		n.DeliveredPerSecond = float64(e.report.delivered) / elapsed.Seconds()
	}
	e.report.delivered, e.report.since = 0, now
	n.Draining = e.draining
	n.InFlight, n.Held, n.Lanes = e.slots.trusted+e.slots.suspect, len(e.held), len(e.lanes)
	n.LastError, n.LastErrorAt = e.report.lastError, e.report.lastErrorAt
	n.Doing = e.doing()
}

// The states of a lane on one node, for LaneStates: the first that holds.
const (
	LaneHeld      = "held"      // paused or disabled
	LaneBroken    = "broken"    // its breaker is open
	LaneThrottled = "throttled" // the receiver asked for a pause
	LaneLimited   = "limited"   // waiting for its rate limit
	LaneSending   = "sending"   // something is in flight
	LaneIdle      = "idle"
)

// LaneStates counts the lanes that this node knows by state; nothing once the engine has ended.
func (e *Engine) LaneStates() map[string]int {
	counted := make(chan map[string]int, 1)
	e.call(func() {
		now, storeNow := time.Now(), e.opts.Store.Now()
		states := map[string]int{LaneHeld: 0, LaneBroken: 0, LaneThrottled: 0, LaneLimited: 0, LaneSending: 0, LaneIdle: 0}
		for _, l := range e.lanes {
			states[l.describe(now, storeNow)]++
		}
		counted <- states
	})
	select {
	case states := <-counted:
		return states
	case <-e.life.Done():
		return nil
	}
}

func (l *lane) describe(now, storeNow time.Time) string {
	switch {
	case !l.state.HeldSince.IsZero():
		return LaneHeld
	case l.state.BreakerOpens > 0:
		return LaneBroken
	case storeNow.Before(l.state.ThrottledUntil):
		return LaneThrottled
	case len(l.queue) > 0 && (l.asking || now.Before(l.askAgain)):
		return LaneLimited
	case l.inFlight > 0:
		return LaneSending
	}
	return LaneIdle
}

// doing lists what is in flight, oldest first.
func (e *Engine) doing() []posthorn.Doing {
	var flying []*item
	for _, it := range e.held {
		if !it.started.IsZero() {
			flying = append(flying, it)
		}
	}
	slices.SortFunc(flying, func(a, b *item) int { return a.started.Compare(b.started) })
	list := make([]posthorn.Doing, 0, min(len(flying), doingShown))
	for _, it := range flying[:min(len(flying), doingShown)] {
		list = append(list, posthorn.Doing{
			DeliveryID: it.DeliveryID, SubscriptionID: it.lane.id, Number: it.Number, Since: it.started.UTC(),
		})
	}
	return list
}
