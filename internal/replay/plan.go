package replay

import (
	"context"
	"slices"
	"time"

	"github.com/posthorn/posthorn"
)

// plan turns what a replay found into the step that makes it.
func (r *Runner) plan(ctx context.Context, replay *posthorn.Replay, found *posthorn.ReplaySources) (posthorn.ReplayStep, error) {
	step := posthorn.ReplayStep{
		ID: replay.ID, TenantID: replay.TenantID, From: replay.Cursor, To: found.Cursor, Examined: found.Examined,
		Matched: found.Matched, Skipped: posthorn.ReplaySkips{Superseded: found.Superseded}, State: posthorn.ReplayRunning,
	}
	if found.Done {
		step.State = posthorn.ReplayCompleted
	}
	now := r.opts.Store.Now()
	for i := range found.Deliveries {
		d := &found.Deliveries[i]
		step.Copies = append(step.Copies, copyOf(d.EventID, d.SubscriptionID, d.ID, now))
	}
	latest := map[posthorn.EventID]map[posthorn.SubscriptionID]*posthorn.Delivery{}
	for i := range found.Latest {
		d := &found.Latest[i]
		if latest[d.EventID] == nil {
			latest[d.EventID] = map[posthorn.SubscriptionID]*posthorn.Delivery{}
		}
		latest[d.EventID][d.SubscriptionID] = d
	}
	for i := range found.Events {
		if err := r.match(ctx, replay, &found.Events[i], latest[found.Events[i].ID], &step); err != nil {
			return step, err
		}
	}
	return step, nil
}

func copyOf(event posthorn.EventID, to posthorn.SubscriptionID, seen posthorn.DeliveryID, now time.Time) posthorn.ReplayCopy {
	return posthorn.ReplayCopy{
		Match:   posthorn.Match{SubscriptionID: to, DeliveryID: posthorn.DeliveryID{UUID: posthorn.NewUUID(now)}},
		EventID: event, Seen: seen,
	}
}

// match adds an event's deliveries to the subscriptions that want it now. One that has it in another state than asked for,
// or on its way, is passed over.
func (r *Runner) match(ctx context.Context, replay *posthorn.Replay, e *posthorn.Event,
	latest map[posthorn.SubscriptionID]*posthorn.Delivery, step *posthorn.ReplayStep,
) error {
	if !e.PayloadErased.IsZero() {
		step.Skipped.Erased++
		return nil
	}
	wanted, failed, err := r.opts.Matcher.Match(ctx, replay.TenantID, e)
	if err != nil {
		return err
	}
	now := r.opts.Store.Now()
	add := func(to posthorn.SubscriptionID, reason posthorn.Reason) {
		if len(replay.Only) > 0 && !slices.Contains(replay.Only, to) {
			return
		}
		var seen posthorn.DeliveryID
		if had := latest[to]; had != nil {
			if !replay.Wants(had) {
				step.Skipped.Superseded++
				return
			}
			seen = had.ID
		}
		c := copyOf(e.ID, to, seen, now)
		c.Reason = reason
		step.Copies = append(step.Copies, c)
	}
	for _, id := range wanted {
		add(id, posthorn.ReasonNone)
	}
	for _, id := range failed {
		add(id, posthorn.ReasonFilterError)
	}
	return nil
}

// countBatch is how many sources are counted at a time: nothing is written, so it is what a store reads at most.
const countBatch = 5000

// Count says what a replay would do, without doing it, in at most the given time. The replay need not be stored; its
// CreatedAt, when zero, is now.
func (r *Runner) Count(ctx context.Context, replay posthorn.Replay, within time.Duration) (posthorn.ReplayCount, error) {
	var count posthorn.ReplayCount
	if replay.CreatedAt.IsZero() {
		replay.CreatedAt = r.opts.Store.Now()
	}
	// An event that several deliveries lead to is delivered again once.
	seen := map[posthorn.EventID]bool{}
	deleted := map[posthorn.SubscriptionID]bool{}
	for end := time.Now().Add(within); ; {
		found, err := r.opts.Store.ReplaySources(ctx, &replay, countBatch)
		if err != nil {
			return count, err
		}
		found.Events = slices.DeleteFunc(found.Events, func(e posthorn.Event) bool {
			again := seen[e.ID]
			seen[e.ID] = true
			return again
		})
		step, err := r.plan(ctx, &replay, &found)
		if err == nil {
			err = r.leaveOut(ctx, deleted, &step)
		}
		if err != nil {
			return count, err
		}
		count.Matched += step.Matched
		count.Deliveries += len(step.Copies)
		count.Skipped.Add(step.Skipped)
		replay.Cursor = found.Cursor
		if found.Done {
			count.Complete = true
			return count, nil
		}
		if !time.Now().Before(end) {
			return count, nil
		}
	}
}

// leaveOut takes copies to deleted subscriptions out of a step that is only counted. Those known are kept in deleted.
func (r *Runner) leaveOut(ctx context.Context, deleted map[posthorn.SubscriptionID]bool, step *posthorn.ReplayStep) error {
	var unknown []posthorn.SubscriptionID
	for i := range step.Copies {
		id := step.Copies[i].SubscriptionID
		if _, known := deleted[id]; !known {
			deleted[id] = true
			unknown = append(unknown, id)
		}
	}
	if len(unknown) > 0 {
		found, err := r.opts.Store.FindSubscriptions(ctx, step.TenantID, unknown)
		if err != nil {
			return err
		}
		for i := range found {
			deleted[found[i].ID] = !found[i].DeletedAt.IsZero()
		}
	}
	before := len(step.Copies)
	step.Copies = slices.DeleteFunc(step.Copies, func(c posthorn.ReplayCopy) bool { return deleted[c.SubscriptionID] })
	step.Skipped.Deleted += before - len(step.Copies)
	return nil
}
