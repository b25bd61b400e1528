// Package failpoint breaks a process on purpose, at named points and on the n-th time they are passed, so that a test of
// real processes can be repeated. It owns the points' names, the text that arms them and what then happens. Which code
// passes a point is internal/app's to arrange: it wraps the parts only where something is armed, so that a node without
// fail points does not even ask.
package failpoint

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Point is a place that a process passes.
type Point string

// The points. Those that end in .before and .after surround a call, of which .commit is the last moment before its
// transaction is committed (SQLite), or at which its fate is PostgreSQL's alone to know.
const (
	PublishRead    Point = "publish.read" // an event was read and nothing is stored
	AcceptBefore   Point = "accept.before"
	AcceptCommit   Point = "accept.commit"
	AcceptAfter    Point = "accept.after"   // committed, the producer not told
	HandoffBefore  Point = "handoff.before" // before the committed deliveries reach their lanes
	HandoffAfter   Point = "handoff.after"
	ClaimBefore    Point = "claim.before"
	ClaimCommit    Point = "claim.commit"
	ClaimAfter     Point = "claim.after"
	RequestBefore  Point = "request.before"
	RequestAfter   Point = "request.after" // answered, nothing written down
	RecordBefore   Point = "record.before"
	RecordCommit   Point = "record.commit"
	RecordAfter    Point = "record.after"
	RenewBefore    Point = "renew.before"
	RenewAfter     Point = "renew.after"
	ReleaseBefore  Point = "release.before"
	ReleaseAfter   Point = "release.after"
	ReplayBefore   Point = "replay.before"
	ReplayCommit   Point = "replay.commit"
	ReplayAfter    Point = "replay.after"
	CopiesBefore   Point = "bulkreplay.before" // a step of a bulk replay
	CopiesCommit   Point = "bulkreplay.commit"
	CopiesAfter    Point = "bulkreplay.after"
	ChangeBefore   Point = "bulkchange.before" // a step of a bulk retry or cancellation
	ChangeCommit   Point = "bulkchange.commit"
	ChangeAfter    Point = "bulkchange.after"
	CleanupBefore  Point = "cleanup.before"
	CleanupCommit  Point = "cleanup.commit"
	CleanupAfter   Point = "cleanup.after"
	WithdrawBefore Point = "withdraw.before"
	WithdrawCommit Point = "withdraw.commit"
	WithdrawAfter  Point = "withdraw.after"
	MigrateBefore  Point = "migrate.before" // before the store is opened, which migrates it
	MigrateAfter   Point = "migrate.after"
	StopPart       Point = "stop.part" // before each part of the node is stopped
	StopAfter      Point = "stop.after"
	DNS            Point = "dns"   // before a name is looked up
	Clock          Point = "clock" // once, before the store is opened: for step
)

// All are the points, in the order of an event's life.
var All = []Point{
	PublishRead, AcceptBefore, AcceptCommit, AcceptAfter, HandoffBefore, HandoffAfter, ClaimBefore, ClaimCommit, ClaimAfter,
	RequestBefore, RequestAfter, RecordBefore, RecordCommit, RecordAfter, RenewBefore, RenewAfter, ReleaseBefore, ReleaseAfter,
	ReplayBefore, ReplayCommit, ReplayAfter, CopiesBefore, CopiesCommit, CopiesAfter, ChangeBefore, ChangeCommit, ChangeAfter,
	CleanupBefore, CleanupCommit, CleanupAfter, WithdrawBefore, WithdrawCommit, WithdrawAfter, MigrateBefore, MigrateAfter,
	StopPart, StopAfter, DNS, Clock,
}

// ErrInjected is what an armed error gives.
var ErrInjected = errors.New("fail point")

// Points are the armed points of a process. The nil Points are none: every method of it does nothing.
type Points struct {
	rules map[Point][]*rule
	step  atomic.Int64 // what is added to the clock, in nanoseconds
	mu    sync.Mutex
	hits  map[Point]int
}

// Hit passes a point: it returns nil at once, or late, or an error that wraps ErrInjected, or never.
func (p *Points) Hit(at Point) error {
	_, err := p.pass(at)
	return err
}

// pass says besides which time it was; 0 where nothing is armed.
func (p *Points) pass(at Point) (int, error) {
	if p == nil || p.rules[at] == nil {
		return 0, nil
	}
	p.mu.Lock()
	p.hits[at]++
	n := p.hits[at]
	p.mu.Unlock()
	var err error
	for _, r := range p.rules[at] {
		if n < r.from || n > r.to {
			continue
		}
		if r.later > 0 {
			time.AfterFunc(r.later, func() { _ = p.act(at, n, r) })
		} else if failed := p.act(at, n, r); failed != nil {
			err = failed
		}
	}
	return n, err
}

// act does what a rule says.
func (p *Points) act(at Point, n int, r *rule) error {
	switch r.action {
	case kill, stop:
		// Whoever waits for it reads that it was this and no other end.
		fmt.Fprintf(os.Stderr, "fail point %s passed %d times: %s\n", at, n, r.action)
		if r.action == kill {
			killSelf()
			select {}
		}
		stopSelf()
	case delay:
		time.Sleep(r.duration)
	case fail:
		return fmt.Errorf("%s: %w", at, ErrInjected)
	case step:
		p.step.Add(int64(r.duration))
	}
	return nil
}

// Steps reports whether the clock is to be stepped.
func (p *Points) Steps() bool { return p != nil && p.rules[Clock] != nil }

// Now is the clock with the steps taken so far.
func (p *Points) Now() time.Time { return time.Now().Add(time.Duration(p.step.Load())) }

// Answer passes the point of a name's look-up, and gives the address that the name is said to have this time; false where it
// is to be looked up.
func (p *Points) Answer() (addr netip.Addr, ok bool, err error) {
	n, err := p.pass(DNS)
	if p == nil || err != nil {
		return addr, false, err
	}
	i := slices.IndexFunc(p.rules[DNS], func(r *rule) bool { return r.action == answer && n >= r.from && n <= r.to })
	if i < 0 {
		return addr, false, nil
	}
	return p.rules[DNS][i].address, true, nil
}
