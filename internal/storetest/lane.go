package storetest

import (
	"slices"
	"time"

	"github.com/posthorn/posthorn"
)

func laneTests() group {
	return group{"Lane", []test{
		{"ThrottleHoldsClaims", laneThrottle},
		{"ThrottleNeverShortens", laneThrottleNeverShortens},
		{"BreakerGivesOneProbe", laneBreakerProbe},
		{"BreakerOpensAgain", laneBreakerReopens},
		{"ManualRetryIsNoProbe", laneManualNoProbe},
		{"RecoveredClosesTheBreaker", laneRecovered},
		{"FailingSinceOnTransitions", laneFailingSince},
		{"ChangesOfOneBatchInOrder", laneInOrder},
		{"DisabledForFailingOnlyWhileFailing", laneDisableFailing},
		{"Warned", laneWarned},
		{"DisableHoldsAndMovesTheVersion", laneDisable},
		{"DisableOnce", laneDisableOnce},
		{"DisableDeleted", laneDisableDeleted},
		{"HoldAccounting", laneHold},
		{"PausedToDisabledIsOneHold", laneOneHold},
		{"ResumeForgetsFailures", laneResumeForgets},
		{"HoldStopsTheWindow", laneWindow},
		{"BornWhileHeld", laneBornHeld},
		{"ForeignChangePassedOver", laneForeign},
		{"ManyLanes", laneMany},
	}}
}

func laneThrottle(f *Fixture) {
	sub := f.Subscribe()
	id := f.PublishOne(sub)
	report := f.Change(sub, posthorn.LaneChange{Throttle: 10 * time.Minute})
	equal(f, "changed lanes", len(report.Lanes), 1)
	equal(f, "changed lane", report.Lanes[0].SubscriptionID, sub)
	f.wantIn("reported throttle", report.Lanes[0].ThrottledUntil, 10*time.Minute)
	f.wantIn("throttle", f.Lane(sub).ThrottledUntil, 10*time.Minute)
	f.ClaimNone()
	f.Elapse(9 * time.Minute)
	f.ClaimNone()
	f.Elapse(2 * time.Minute)
	f.ClaimOne(id)
	// The schedule people see was not touched.
	f.wantIn("due_at", f.Delivery(id).DueAt, -11*time.Minute)
}

func laneThrottleNeverShortens(f *Fixture) {
	sub := f.Subscribe()
	f.Change(sub, posthorn.LaneChange{Throttle: time.Hour})
	f.Change(sub, posthorn.LaneChange{Throttle: time.Minute})
	f.wantIn("throttle", f.Lane(sub).ThrottledUntil, time.Hour)
	f.Change(sub, posthorn.LaneChange{Throttle: 2 * time.Hour})
	f.wantIn("throttle", f.Lane(sub).ThrottledUntil, 2*time.Hour)
}

func laneBreakerProbe(f *Fixture) {
	sub := f.Subscribe()
	for range 3 {
		f.PublishOne(sub)
	}
	f.Change(sub, posthorn.LaneChange{OpenFor: 10 * time.Minute})
	equal(f, "openings", f.Lane(sub).BreakerOpens, 1)
	f.wantIn("breaker", f.Lane(sub).BreakerUntil, 10*time.Minute)
	f.ClaimNone()
	f.Elapse(11 * time.Minute)
	batch := f.ClaimBatch()
	equal(f, "probes", len(batch.Claims), 1)
	// While the probe is out, for a lease, there is no second one, on any node.
	equal(f, "lanes", len(batch.Lanes), 1)
	f.wantIn("breaker of the claim", batch.Lanes[0].BreakerUntil, posthorn.Lease)
	f.wantIn("breaker", f.Lane(sub).BreakerUntil, posthorn.Lease)
	f.ClaimNone()
	f.Elapse(afterLease)
	equal(f, "probes after the first was lost", len(f.Claim()), 1)
}

func laneManualNoProbe(f *Fixture) {
	sub := f.Subscribe()
	byHand := f.Exhaust(sub)
	f.Change(sub, posthorn.LaneChange{OpenFor: time.Minute})
	f.Elapse(2 * time.Minute)
	f.retry(byHand)
	f.ClaimOne(byHand)
	f.wantIn("breaker", f.Lane(sub).BreakerUntil, -time.Minute)
	probe := f.PublishOne(sub)
	f.ClaimOne(probe)
	f.wantIn("breaker of the probe", f.Lane(sub).BreakerUntil, posthorn.Lease)
}

func laneBreakerReopens(f *Fixture) {
	sub := f.Subscribe()
	f.PublishOne(sub)
	f.Change(sub, posthorn.LaneChange{OpenFor: time.Minute})
	f.Elapse(2 * time.Minute)
	c := f.Claim()[0]
	f.RecordBatch(posthorn.RecordBatch{
		Node: f.Node, Results: []posthorn.Result{f.Failure(c, time.Hour)},
		Lanes: []posthorn.LaneChange{{SubscriptionID: sub, TenantID: f.Tenant, OpenFor: 2 * time.Minute, Failed: true}},
	})
	l := f.Lane(sub)
	equal(f, "openings", l.BreakerOpens, 2)
	f.wantIn("breaker", l.BreakerUntil, 2*time.Minute)
}

func laneRecovered(f *Fixture) {
	sub := f.Subscribe()
	for range 3 {
		f.PublishOne(sub)
	}
	f.Change(sub, posthorn.LaneChange{OpenFor: time.Minute, Failed: true})
	f.Elapse(2 * time.Minute)
	f.RecordBatch(posthorn.RecordBatch{
		Node: f.Node, Results: []posthorn.Result{f.Success(f.Claim()[0])},
		Lanes: []posthorn.LaneChange{{SubscriptionID: sub, TenantID: f.Tenant, Recovered: true}},
	})
	l := f.Lane(sub)
	equal(f, "openings", l.BreakerOpens, 0)
	f.wantUnset("breaker", l.BreakerUntil)
	f.wantUnset("failing since", l.FailingSince)
	equal(f, "claims of the closed lane", len(f.Claim()), 2)
}

func laneFailingSince(f *Fixture) {
	sub := f.Subscribe()
	f.wantUnset("failing since", f.Lane(sub).FailingSince)
	f.Change(sub, posthorn.LaneChange{Failed: true})
	f.Elapse(time.Hour)
	report := f.Change(sub, posthorn.LaneChange{Failed: true})
	f.wantIn("failing since", f.Lane(sub).FailingSince, -time.Hour)
	// Whoever did not know learns since when.
	equal(f, "lanes told", len(report.Lanes), 1)
	f.wantIn("failing since, as told", report.Lanes[0].FailingSince, -time.Hour)
	f.Change(sub, posthorn.LaneChange{Recovered: true})
	f.wantUnset("failing since", f.Lane(sub).FailingSince)
	f.Change(sub, posthorn.LaneChange{Failed: true})
	f.wantIn("failing since", f.Lane(sub).FailingSince, 0)
}

func laneInOrder(f *Fixture) {
	failed := posthorn.LaneChange{Failed: true, OpenFor: time.Minute}
	recovered := posthorn.LaneChange{Recovered: true}
	for _, c := range []struct {
		what    string
		changes []posthorn.LaneChange
		opens   int
		failing bool
	}{
		{"failed, recovered", []posthorn.LaneChange{failed, recovered}, 0, false},
		{"recovered, failed", []posthorn.LaneChange{recovered, failed}, 1, true},
		{"failed twice", []posthorn.LaneChange{failed, failed}, 2, true},
		{"failed, recovered, failed", []posthorn.LaneChange{failed, recovered, failed}, 1, true},
	} {
		sub := f.Subscribe()
		batch := posthorn.RecordBatch{Node: f.Node}
		for _, change := range c.changes {
			change.SubscriptionID, change.TenantID = sub, f.Tenant
			batch.Lanes = append(batch.Lanes, change)
		}
		f.RecordBatch(batch)
		l := f.Lane(sub)
		equal(f, "failing after "+c.what, !l.FailingSince.IsZero(), c.failing)
		equal(f, "openings after "+c.what, l.BreakerOpens, c.opens)
		equal(f, "open after "+c.what, !l.BreakerUntil.IsZero(), c.opens > 0)
	}
}

func laneDisableFailing(f *Fixture) {
	sub := f.Subscribe()
	disable := posthorn.LaneChange{Disable: posthorn.DisabledFailing}
	f.Change(sub, posthorn.LaneChange{Failed: true})
	equal(f, "disabled while failing", len(f.Change(sub, disable).Disabled), 1)
	f.SetStatus(sub, posthorn.StatusActive)
	// A node that has not heard of it yet.
	equal(f, "disabled though it was enabled", len(f.Change(sub, disable).Disabled), 0)
	f.Change(sub, posthorn.LaneChange{Failed: true})
	disable.Recovered = true
	equal(f, "disabled though it has recovered", len(f.Change(sub, disable).Disabled), 0)
	equal(f, "status", f.Subscription(sub).Status, posthorn.StatusActive)
}

func laneWarned(f *Fixture) {
	sub := f.Subscribe()
	f.wantUnset("warned", f.Lane(sub).WarnedAt)
	f.Change(sub, posthorn.LaneChange{Warned: true})
	f.wantIn("warned", f.Lane(sub).WarnedAt, 0)
}

func laneDisable(f *Fixture) {
	sub := f.Subscribe()
	id := f.PublishOne(sub)
	c := f.ClaimOne(id)
	before := f.Version()
	report := f.RecordBatch(posthorn.RecordBatch{
		Node: f.Node, Results: []posthorn.Result{f.Failure(c, time.Minute)},
		Lanes: []posthorn.LaneChange{{SubscriptionID: sub, TenantID: f.Tenant, Disable: posthorn.DisabledGone, Failed: true}},
	})
	if !slices.Equal(report.Disabled, []posthorn.SubscriptionID{sub}) {
		f.T.Fatalf("disabled %v, want the subscription", report.Disabled)
	}
	s := f.Subscription(sub)
	equal(f, "status", s.Status, posthorn.StatusDisabled)
	equal(f, "reason", s.DisabledReason, posthorn.DisabledGone)
	if s.Version <= before || f.Version() != s.Version {
		f.T.Fatalf("version %d after %d, tenant's %d", s.Version, before, f.Version())
	}
	f.wantIn("held since", f.Lane(sub).HeldSince, 0)
	f.Elapse(2 * time.Minute)
	f.ClaimNone()
	f.wantState(id, posthorn.Pending, posthorn.ReasonNone)
	f.SetStatus(sub, posthorn.StatusActive)
	f.ClaimOne(id)
}

func laneDisableOnce(f *Fixture) {
	sub := f.Subscribe()
	f.Change(sub, posthorn.LaneChange{Disable: posthorn.DisabledGone})
	version := f.Version()
	report := f.Change(sub, posthorn.LaneChange{Disable: posthorn.DisabledFailing})
	equal(f, "disabled again", len(report.Disabled), 0)
	equal(f, "reason", f.Subscription(sub).DisabledReason, posthorn.DisabledGone)
	equal(f, "version", f.Version(), version)
}

func laneDisableDeleted(f *Fixture) {
	sub := f.Subscribe()
	f.must(f.Store.DeleteSubscription(f.Context(), f.Tenant, sub))
	equal(f, "disabled", len(f.Change(sub, posthorn.LaneChange{Disable: posthorn.DisabledGone}).Disabled), 0)
}

func laneHold(f *Fixture) {
	sub := f.Subscribe()
	l := f.Lane(sub)
	f.wantUnset("held since", l.HeldSince)
	equal(f, "held for", l.HeldFor, 0)
	for _, held := range []time.Duration{time.Hour, 2 * time.Hour} {
		f.SetStatus(sub, posthorn.StatusPaused)
		f.wantIn("held since", f.Lane(sub).HeldSince, 0)
		f.Elapse(held)
		f.SetStatus(sub, posthorn.StatusActive)
		f.wantUnset("held since", f.Lane(sub).HeldSince)
		f.Elapse(time.Hour)
	}
	f.wantAbout("held for", f.Lane(sub).HeldFor, 3*time.Hour)
}

func laneOneHold(f *Fixture) {
	sub := f.Subscribe()
	f.SetStatus(sub, posthorn.StatusPaused)
	f.Elapse(time.Hour)
	f.SetStatus(sub, posthorn.StatusDisabled)
	f.wantIn("held since", f.Lane(sub).HeldSince, -time.Hour)
	f.Elapse(time.Hour)
	f.SetStatus(sub, posthorn.StatusActive)
	f.wantAbout("held for", f.Lane(sub).HeldFor, 2*time.Hour)
}

func laneResumeForgets(f *Fixture) {
	sub := f.Subscribe()
	id := f.PublishOne(sub)
	f.Change(sub, posthorn.LaneChange{OpenFor: 10 * time.Hour, Failed: true, Disable: posthorn.DisabledFailing})
	f.SetStatus(sub, posthorn.StatusActive)
	l := f.Lane(sub)
	equal(f, "openings", l.BreakerOpens, 0)
	f.wantUnset("breaker", l.BreakerUntil)
	f.wantUnset("failing since", l.FailingSince)
	f.ClaimOne(id)
}

func laneWindow(f *Fixture) {
	const window = 72 * time.Hour
	sub := f.Subscribe()
	id := f.PublishOne(sub)
	end := func() time.Time {
		l := f.Lane(sub)
		return f.Delivery(id).WindowEnd(&l, window, f.Store.Now())
	}
	f.wantIn("window's end", end(), window)
	f.Elapse(time.Hour)
	f.SetStatus(sub, posthorn.StatusPaused)
	f.Elapse(100 * time.Hour)
	f.wantIn("window's end while held", end(), window-time.Hour)
	f.SetStatus(sub, posthorn.StatusActive)
	f.Elapse(time.Hour)
	f.wantIn("window's end after the hold", end(), window-2*time.Hour)
}

func laneBornHeld(f *Fixture) {
	const window = 72 * time.Hour
	sub := f.Subscribe()
	f.SetStatus(sub, posthorn.StatusPaused)
	f.Elapse(10 * time.Hour)
	id := f.PublishOne(sub)
	f.Elapse(10 * time.Hour)
	f.SetStatus(sub, posthorn.StatusActive)
	// Of the hold only the part after its creation stops its window.
	l := f.Lane(sub)
	f.wantIn("window's end", f.Delivery(id).WindowEnd(&l, window, f.Store.Now()), window)
}

func laneForeign(f *Fixture) {
	sub := f.Subscribe()
	other := f.As(f.NewTenant("other"))
	report := other.Change(sub, posthorn.LaneChange{Throttle: time.Hour, Disable: posthorn.DisabledGone})
	equal(f, "disabled", len(report.Disabled), 0)
	f.wantUnset("throttle", f.Lane(sub).ThrottledUntil)
	equal(f, "status", f.Subscription(sub).Status, posthorn.StatusActive)
}

func laneMany(f *Fixture) {
	var changes []posthorn.LaneChange
	var ids []posthorn.SubscriptionID
	for range 100 {
		sub := f.Subscribe()
		ids = append(ids, sub)
		changes = append(changes, posthorn.LaneChange{SubscriptionID: sub, TenantID: f.Tenant, Throttle: time.Hour})
	}
	report := f.RecordBatch(posthorn.RecordBatch{Node: f.Node, Lanes: changes})
	equal(f, "changed lanes", len(report.Lanes), len(ids))
	lanes, err := f.Store.Lanes(f.Context(), f.Tenant, ids)
	f.must(err)
	equal(f, "lanes read", len(lanes), len(ids))
	for _, l := range lanes {
		f.wantIn("throttle", l.ThrottledUntil, time.Hour)
	}
}
