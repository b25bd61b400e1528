package replay

import (
	"context"
	"time"

	"github.com/posthorn/posthorn"
)

const (
	// backlogWait is the wait for the lanes to work off what a replay has made.
	backlogWait = 250 * time.Millisecond
	// faultWait is the wait after a failed step, doubled up to the longest; after faultMost in a row that the store's
	// absence does not explain the replay fails.
	faultWait, faultWaitMax = 500 * time.Millisecond, 30 * time.Second
	faultMost               = 8
	stepTimeout             = time.Minute
	// stepEvery is how often a replay makes a step while its rate is what bounds it.
	stepEvery = 200 * time.Millisecond
	// firstSources is how many events are matched before it is known how many subscriptions want each.
	firstSources = 10
)

// job is one replay while this node works on it.
type job struct {
	*Runner
	replay *posthorn.Replay
	leased time.Time
	// next is when the rate allows the next step.
	next time.Time
	// fanOut is how many deliveries came of each source that was matched again, as last seen.
	fanOut int
}

func (j *job) name() string { return "replay:" + j.replay.ID.String() }

// run works until the replay ends, another node has it, or the runner stops.
func (j *job) run() {
	defer j.leave(j.replay.ID)
	defer j.giveUp()
	faults := 0
	for j.life.Err() == nil && j.held() {
		err := j.advance()
		switch {
		case err == nil:
			faults = 0
		case posthorn.KindOf(err) == posthorn.Conflict, posthorn.KindOf(err) == posthorn.NotFound:
			// Cancelled, or another node went on with it: a look tells.
			return
		default:
			faults++
			j.fault("replay not advanced", err)
			if posthorn.KindOf(err) != posthorn.Unavailable && faults >= faultMost {
				j.fail()
				return
			}
			if !j.rest(min(faultWait<<min(faults-1, 10), faultWaitMax)) {
				return
			}
		}
		if j.replay.State.Ended() {
			j.opts.Log.Info("replay completed", "replay", j.replay.ID, "created", j.replay.Created, "skipped", j.replay.Skipped.Sum())
			// There is room for another one.
			j.Wake()
			return
		}
	}
}

// held takes or renews the lease. It is a courtesy: what keeps two nodes from doing a step twice is the cursor.
func (j *job) held() bool {
	if time.Since(j.leased) < leaseRenew {
		return true
	}
	began := time.Now()
	ok, err := j.opts.Store.AcquireLease(j.life, j.name(), j.opts.Node, leaseTTL)
	if err != nil {
		j.fault("replay's lease not taken", err)
		return false
	}
	j.leased = began
	return ok
}

// giveUp lets another node take the replay on at once.
func (j *job) giveUp() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := j.opts.Store.ReleaseLease(ctx, j.name(), j.opts.Node); err != nil {
		j.opts.Log.Warn("replay's lease not given back", "error", err)
	}
}

// advance does one step, or waits until one may be done.
func (j *job) advance() error {
	if wait := time.Until(j.next); wait > 0 {
		j.rest(min(wait, leaseRenew))
		return nil
	}
	ctx, cancel := context.WithTimeout(j.life, stepTimeout)
	defer cancel()
	room, err := j.room(ctx)
	if err != nil {
		return err
	}
	if room <= 0 {
		j.rest(backlogWait)
		return nil
	}
	found, err := j.opts.Store.ReplaySources(ctx, j.replay, j.sources(room))
	if err != nil {
		return err
	}
	step, err := j.plan(ctx, j.replay, &found)
	if err != nil {
		return err
	}
	after, err := j.opts.Store.StepReplay(ctx, step)
	if err != nil {
		return err
	}
	if n := len(found.Events); n > 0 {
		j.fanOut = (len(step.Copies) + n - 1) / n
	}
	created := after.Created - j.replay.Created
	j.replay = after
	j.pace(created)
	if created > 0 || after.State.Ended() {
		j.opts.Bus.Publish(ctx, posthorn.Signal{From: j.opts.Node, Wake: created > 0, Replays: after.State.Ended()})
	}
	return nil
}

// room is how many deliveries the next step may make: what the rate gives in stepEvery, and what the lanes have room for.
func (j *job) room(ctx context.Context) (int, error) {
	rate := j.replay.RateLimit
	share := int(int64(rate.Limit) * int64(stepEvery) / int64(rate.Interval()))
	room := min(max(share, 1), j.opts.Batch)
	backlog, err := j.opts.Store.ReplayBacklog(ctx, j.replay, j.opts.Backlog)
	return min(room, j.opts.Backlog-backlog), err
}

// sources is how many events or deliveries to begin with, so that about room come of it.
func (j *job) sources(room int) int {
	switch {
	case j.replay.To == posthorn.ToOriginal:
		return room
	case j.fanOut == 0:
		return min(room, firstSources)
	}
	return max(room/j.fanOut, 1)
}

// pace moves the time of the next step by what was made. Time that went by unused is not made up for.
func (j *job) pace(created int) {
	now := time.Now()
	if j.next.Before(now.Add(-stepEvery)) {
		j.next = now
	}
	rate := j.replay.RateLimit
	j.next = j.next.Add(time.Duration(created) * rate.Interval() / time.Duration(max(rate.Limit, 1)))
}

// fail ends a replay that cannot go on. Its cursor stays, so what it has made is known.
func (j *job) fail() {
	ctx, cancel := context.WithTimeout(j.life, stepTimeout)
	defer cancel()
	_, err := j.opts.Store.StepReplay(ctx, posthorn.ReplayStep{
		ID: j.replay.ID, TenantID: j.replay.TenantID, From: j.replay.Cursor, To: j.replay.Cursor, State: posthorn.ReplayFailed,
		Error: "It could not go on because of a fault of Posthorn's own, which the log of its node shows. What was made stays; a new replay with the same filter makes the rest.",
	})
	if err != nil {
		j.fault("failed replay not ended", err)
	}
}
