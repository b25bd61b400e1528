package delivery

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/posthorn/posthorn"
)

// mind looks at how long a lane has failed, after a failure that was the subscriber's fault: its owner is warned, and a day
// later at the earliest it is disabled, however seldom it is sent something.
func (e *Engine) mind(l *lane) {
	s := l.state
	if s.FailingSince.IsZero() || !s.HeldSince.IsZero() || l.minding {
		return
	}
	now := e.opts.Store.Now()
	told, due := e.warnings(s.WarnedAt.Sub(s.FailingSince)), e.warnings(now.Sub(s.FailingSince))
	switch {
	case told > 0 && !now.Before(e.disabledAt(s.FailingSince, s.WarnedAt)):
		e.minded(l, func(ctx context.Context) (posthorn.RecordReport, error) { return e.disable(ctx, l) })
	case due > told:
		e.minded(l, func(ctx context.Context) (posthorn.RecordReport, error) {
			return e.warn(ctx, l, s.FailingSince, now, due)
		})
	}
}

// minded does one of the two in the background. What fails is tried again with the next failure.
func (e *Engine) minded(l *lane, do func(context.Context) (posthorn.RecordReport, error)) {
	l.minding = true
	e.background.Go(func() {
		ctx, cancel := context.WithTimeout(e.life, announceTimeout)
		defer cancel()
		report, err := do(ctx)
		if err != nil && e.life.Err() == nil {
			e.opts.Log.Warn("a failing subscription's owner not told", "subscription", l.id, "error", err)
		}
		signal := posthorn.Signal{From: e.opts.Node, Lanes: report.Lanes}
		if slices.Contains(report.Disabled, l.id) {
			signal.Changed = []posthorn.Change{{TenantID: l.tenant, Version: posthorn.AnyVersion}}
			e.announceDisabled(l, posthorn.DisabledFailing)
		}
		if len(signal.Lanes) > 0 {
			e.opts.Bus.Publish(ctx, signal)
		}
		e.call(func() {
			l.minding = false
			for _, state := range report.Lanes {
				l.state.WarnedAt = state.WarnedAt
				if l.changing == 0 {
					e.setLaneState(l, state)
				}
			}
		})
	})
}

// warnings is how many have been due of a subscription that fails for so long: one half-way to its being disabled, one a day
// before where that is later.
func (e *Engine) warnings(failing time.Duration) (n int) {
	half := e.opts.DisableAfter / 2
	if failing >= half {
		n++
	}
	if last := e.opts.DisableAfter - notice(e.opts.DisableAfter); last > half && failing >= last {
		n++
	}
	return n
}

// notice is how long before a subscription is disabled its owner is told at least.
func notice(disableAfter time.Duration) time.Duration { return min(24*time.Hour, disableAfter/2) }

// disabledAt is when a failing subscription is disabled, once its owner was warned.
func (e *Engine) disabledAt(since, warned time.Time) time.Time {
	at, earliest := since.Add(e.opts.DisableAfter), warned.Add(notice(e.opts.DisableAfter))
	if earliest.After(at) {
		return earliest
	}
	return at
}

// warn tells a failing subscription's owner, and then notes that it did. A node that fails or dies between the two tells it
// again, as another node may, under the key that knows it as the same.
func (e *Engine) warn(ctx context.Context, l *lane, since, now time.Time, nth int) (posthorn.RecordReport, error) {
	key := typeFailing + ":" + l.id.String() + ":" + since.UTC().Format(time.RFC3339) + ":" + strconv.Itoa(nth)
	err := e.publish(ctx, l.tenant, &posthorn.Event{Type: typeFailing, IdempotencyKey: key, Payload: content(map[string]any{
		"subscription_id": l.id.String(), "failing_since": since.UTC(), "disabled_at": e.disabledAt(since, now).UTC(), "at": now.UTC(),
	})})
	if err != nil {
		return posthorn.RecordReport{}, err
	}
	return e.change(ctx, posthorn.LaneChange{SubscriptionID: l.id, TenantID: l.tenant, Warned: true})
}

func (e *Engine) disable(ctx context.Context, l *lane) (posthorn.RecordReport, error) {
	return e.change(ctx, posthorn.LaneChange{SubscriptionID: l.id, TenantID: l.tenant, Disable: posthorn.DisabledFailing})
}

func (e *Engine) change(ctx context.Context, c posthorn.LaneChange) (posthorn.RecordReport, error) {
	return e.opts.Store.RecordAttempts(ctx, posthorn.RecordBatch{Node: e.opts.Node, Lanes: []posthorn.LaneChange{c}})
}
