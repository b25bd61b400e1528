//go:build unix

package chaos_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/failpoint"
)

// wound is how one round hurts its node.
type wound struct {
	points string
	// after, when set, is when the node is killed from outside.
	after time.Duration
	// stops says that it gets SIGTERM first, replays that an event is replayed, copies that many are, changes that many
	// deliveries are cancelled and retried, aged that its store has much to clean up.
	stops, replays, copies, changes, aged bool
	// lasts is how long the node is given; slow events make its leases be renewed, a queue of some gives it what it can release.
	lasts       time.Duration
	slow, queue bool
}

// underLoad are the points that any load passes, with the most often that a round can count on.
var underLoad = []struct {
	point failpoint.Point
	times int
}{
	{failpoint.PublishRead, 30},
	{failpoint.AcceptBefore, 10},
	{failpoint.AcceptCommit, 10},
	{failpoint.AcceptAfter, 10},
	{failpoint.HandoffBefore, 8},
	{failpoint.HandoffAfter, 8},
	{failpoint.ClaimBefore, 5},
	{failpoint.ClaimCommit, 4},
	{failpoint.ClaimAfter, 5},
	{failpoint.RequestBefore, 40},
	{failpoint.RequestAfter, 40},
	{failpoint.RecordBefore, 10},
	{failpoint.RecordCommit, 10},
	{failpoint.RecordAfter, 10},
}

// upkeep are the janitor's points, with the most often that it passes them over PostgreSQL, where a step is several statements.
var upkeep = []struct {
	point failpoint.Point
	times int
}{
	{failpoint.CleanupBefore, 2},
	{failpoint.CleanupCommit, 6},
	{failpoint.CleanupAfter, 2},
	{failpoint.WithdrawBefore, 1},
	{failpoint.WithdrawCommit, 2},
	{failpoint.WithdrawAfter, 1},
}

// turns is after how many rounds every kind of wound has had its turn; the points that share one take it by turns.
const turns = 36

// draw makes a round's wound from its seed. Every point has its turn; the seed chooses how often it is passed first.
func draw(seed uint64, turn int, store string) wound {
	d := dice(seed)
	at := func(p failpoint.Point, times int) string { return fmt.Sprintf("%s=kill@%d", p, 1+d.IntN(times)) }
	soon := func(p failpoint.Point, within int) string {
		return fmt.Sprintf("%s=kill~%dus", p, 1+d.IntN(within*1000))
	}
	w := wound{lasts: roundLasts}
	if turn%100 == 99 && (*long || *rounds > 0) {
		// A lease is renewed after ten seconds: two rounds in two hundred are that long.
		w.points, w.slow, w.lasts = at([]failpoint.Point{failpoint.RenewBefore, failpoint.RenewAfter}[turn/100%2], 1), true, 14*time.Second
		return w
	}
	switch n := turn % turns; {
	case n < len(underLoad):
		w.points = at(underLoad[n].point, underLoad[n].times)
	case n < 18:
		w.after = time.Duration(20+d.IntN(400)) * time.Millisecond
	case n == 18:
		w.points = soon(failpoint.AcceptBefore, 10)
	case n == 19:
		w.points = soon(failpoint.RecordBefore, 10)
	case n == 20:
		w.points = soon(failpoint.MigrateBefore, 40)
	case n == 21:
		w.points = at(failpoint.MigrateAfter, 1)
	case n == 22:
		w.points, w.stops = at(failpoint.StopPart, 10), true
	case n == 23:
		w.points, w.stops = at(failpoint.StopAfter, 1), true
	case n == 24:
		w.queue = true
		w.points, w.stops = at([]failpoint.Point{failpoint.ReleaseBefore, failpoint.ReleaseAfter}[turn/turns%2], 1), true
	case n < 28:
		w.points, w.replays = at([]failpoint.Point{failpoint.ReplayBefore, failpoint.ReplayCommit, failpoint.ReplayAfter}[n-25], 1), true
	case n < 31:
		w.points, w.copies = at([]failpoint.Point{failpoint.CopiesBefore, failpoint.CopiesCommit, failpoint.CopiesAfter}[n-28], 2), true
	case n < 34:
		w.points, w.changes = at([]failpoint.Point{failpoint.ChangeBefore, failpoint.ChangeCommit, failpoint.ChangeAfter}[n-31], 2), true
	default:
		p := upkeep[(turn/turns*2+n-34)%len(upkeep)]
		times := 1
		if store == postgresStore {
			times = p.times
		}
		w.points, w.aged, w.lasts = at(p.point, times), true, agedLasts
	}
	return w
}

func (w wound) String() string {
	if w.points == "" {
		return fmt.Sprintf("kill -9 after %s", w.after)
	}
	return w.points
}

// drawn are the points at which a kill may be drawn: all but those that are none of a kill's.
func drawn() []failpoint.Point {
	return slices.DeleteFunc(slices.Clone(failpoint.All), func(p failpoint.Point) bool { return p == failpoint.DNS || p == failpoint.Clock })
}

// unreached are the points at which no node was killed in so many rounds.
func (s *tally) unreached(rounds int) figure {
	var names []string
	for _, p := range drawn() {
		if s.points[string(p)] == 0 {
			names = append(names, string(p))
		}
	}
	f := figure{What: fmt.Sprintf("of %d fail points, those at which no node was killed", len(drawn())), Value: "none", Kept: true}
	if len(names) > 0 {
		f.Value = strings.Join(names, ", ")
	}
	if rounds >= wholeRounds {
		f.Goal, f.Kept = "none", len(names) == 0
	}
	return f
}
