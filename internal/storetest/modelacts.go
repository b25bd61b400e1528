package storetest

import (
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn"
)

// result is what an engine would make of an attempt.
func (m *model) result(c posthorn.Claimed, d *modelDelivery, outcome posthorn.Outcome) posthorn.Result {
	if outcome == posthorn.Succeeded {
		r := m.f.Success(c)
		r.Spends = d.manual == posthorn.NotManual
		return r
	}
	r := m.failure(c, d, outcome == posthorn.Interrupted)
	if outcome == posthorn.Interrupted {
		r.Attempt.Outcome, r.Attempt.StatusCode, r.Attempt.OurFault = outcome, 0, true
	}
	return r
}

func (m *model) failure(c posthorn.Claimed, d *modelDelivery, interrupted bool) posthorn.Result {
	free := interrupted && d.interruptions < posthorn.FreeInterruptions
	switch {
	case d.manual != posthorn.NotManual && free, d.manual == posthorn.ManualWhilePending:
		r := m.f.Failure(c, 0)
		r.KeepDue, r.Again, r.Spends = true, free, false
		return r
	case d.manual == posthorn.ManualAfterEnd:
		r := m.f.Exhaustion(c)
		r.Reason, r.Spends = posthorn.ReasonManual, false
		return r
	case !free && d.spent+1 >= modelBudget:
		return m.f.Exhaustion(c)
	case interrupted:
		r := m.f.Failure(c, 0)
		r.Spends = !free
		return r
	}
	r := m.f.Failure(c, modelDelay)
	r.Yield = d.lane.skips
	return r
}

// record reports the result of any claim that was ever given: in time, late, or once more.
func (m *model) record(t *rapid.T, outcome posthorn.Outcome) {
	throttles := outcome == posthorn.HTTPError && rapid.IntRange(0, 5).Draw(t, "throttle") == 0
	m.report(t, m.someClaim(t), outcome, throttles)
}

func (m *model) report(t *rapid.T, c posthorn.Claimed, outcome posthorn.Outcome, throttles bool) {
	d := m.find(c.DeliveryID)
	r := m.result(c, d, outcome)
	batch := posthorn.RecordBatch{Node: m.f.Node, Results: []posthorn.Result{r}}
	if throttles {
		batch.Lanes = []posthorn.LaneChange{{SubscriptionID: d.lane.id, TenantID: m.f.Tenant, Throttle: modelThrottle}}
		d.lane.throttledUntil = max(d.lane.throttledUntil, m.now+modelThrottle)
	}
	report, err := m.f.Store.RecordAttempts(m.ctx, batch)
	m.must(t, err)
	held := d.claim == c.Attempt
	if report.Results[0].Moved != held {
		t.Fatalf("the result of %s moved it: %v, its claim was held: %v", d.id, report.Results[0].Moved, held)
	}
	if held {
		m.moved(d, r)
	}
}

func (m *model) moved(d *modelDelivery, r posthorn.Result) {
	d.claim, d.updated = posthorn.AttemptID{}, m.now
	if r.Attempt.Outcome == posthorn.Interrupted {
		d.interruptions++
	} else {
		d.interruptions = 0
	}
	if !r.Again {
		d.manual = posthorn.NotManual
	}
	if r.Spends {
		d.spent++
	}
	switch r.On {
	case posthorn.OnSuccess:
		d.state = posthorn.Delivered
	case posthorn.OnExhaust:
		d.state = posthorn.Exhausted
	default:
		if !r.KeepDue {
			d.due = m.now + r.Delay
		}
		if d.visible = d.due; r.Again {
			d.visible = m.now
		}
		if r.Yield && d.sequence > 0 {
			d.sequence = -d.sequence
		}
	}
}

// renew extends some claims and wants those that are not held any more to be named.
func (m *model) renew(t *rapid.T) {
	c := m.someClaim(t)
	lost, err := m.f.Store.RenewClaims(m.ctx, []posthorn.Claim{c.Claim})
	m.must(t, err)
	d := m.find(c.DeliveryID)
	if held := d.claim == c.Attempt; held != (len(lost) == 0) {
		t.Fatalf("a claim of %s is held: %v, renewing lost %d", d.id, held, len(lost))
	} else if held {
		d.visible = m.now + posthorn.Lease
	}
}

// release gives a claim back of which nothing was sent.
func (m *model) release(t *rapid.T) {
	c := m.someClaim(t)
	m.must(t, m.f.Store.ReleaseClaims(m.ctx, []posthorn.Claim{c.Claim}))
	if d := m.find(c.DeliveryID); d.claim == c.Attempt {
		d.claim, d.visible = posthorn.AttemptID{}, d.due
		d.attempts--
		if d.manual != posthorn.NotManual {
			d.visible = m.now
		}
	}
	// Nothing was sent, so there is no result.
	m.claims = slices.DeleteFunc(m.claims, func(other posthorn.Claimed) bool { return other.Attempt == c.Attempt })
}

// some and someClaim draw places, which a failing story tells shorter than rows.
func (m *model) some(t *rapid.T) *modelDelivery {
	if len(m.all) == 0 {
		t.Skip("there is none")
	}
	return m.all[rapid.IntRange(0, len(m.all)-1).Draw(t, "delivery")]
}

func (m *model) someClaim(t *rapid.T) posthorn.Claimed {
	if len(m.claims) == 0 {
		t.Skip("nothing was claimed")
	}
	return m.claims[rapid.IntRange(0, len(m.claims)-1).Draw(t, "claim")]
}

// retry is a person's.
func (m *model) retry(t *rapid.T) {
	d := m.some(t)
	if left := d.visible - m.now; !d.claim.IsZero() && left > -slack && left < slack {
		t.Skip("its lease ends just now")
	}
	after, err := m.f.Store.RetryDelivery(m.ctx, m.f.Tenant, d.id)
	if d.state == posthorn.Delivered || !d.claim.IsZero() && d.visible > m.now {
		if posthorn.KindOf(err) != posthorn.Conflict || err == nil {
			t.Fatalf("a retry of what is %s and claimed (%v) gave %v", d.state, !d.claim.IsZero(), err)
		}
		return
	}
	m.must(t, err)
	if !after.Claim.IsZero() {
		t.Fatalf("a retry of %s left a claim that had run out", d.id)
	}
	if !d.claim.IsZero() {
		m.lose(d)
	}
	if d.state == posthorn.Pending {
		d.manual = max(d.manual, posthorn.ManualWhilePending)
	} else {
		d.manual, d.due, d.interruptions = posthorn.ManualAfterEnd, m.now, 0
	}
	d.state, d.visible, d.updated = posthorn.Pending, m.now, m.now
}

// cancel is a person's too.
func (m *model) cancel(t *rapid.T) {
	d := m.some(t)
	_, err := m.f.Store.CancelDelivery(m.ctx, m.f.Tenant, d.id)
	if d.state != posthorn.Pending {
		if posthorn.KindOf(err) != posthorn.Conflict || err == nil {
			t.Fatalf("a cancellation of what is %s gave %v", d.state, err)
		}
		return
	}
	m.must(t, err)
	if !d.claim.IsZero() {
		m.lose(d)
	}
	d.state, d.manual = posthorn.Cancelled, posthorn.NotManual
}

// hold pauses a lane, disables it, or lets it go on.
func (m *model) hold(t *rapid.T) {
	l := m.lanes[rapid.IntRange(0, len(m.lanes)-1).Draw(t, "lane")]
	m.setStatus(t, l, rapid.SampledFrom([]posthorn.Status{posthorn.StatusActive, posthorn.StatusPaused, posthorn.StatusDisabled}).Draw(t, "status"))
}

func (m *model) setStatus(t *rapid.T, l *modelLane, status posthorn.Status) {
	_, err := m.f.Store.UpdateSubscription(m.ctx, m.f.Tenant, l.id, func(s *posthorn.Subscription) error {
		s.Status = status
		return nil
	})
	m.must(t, err)
	l.failing = l.failing && (!l.held || status != posthorn.StatusActive)
	l.held = status != posthorn.StatusActive
}

// wait lets time pass: leases run out, as after a crash, and what waits becomes due.
func (m *model) wait(t *rapid.T) {
	m.pass(rapid.SampledFrom([]time.Duration{41 * time.Second, 6 * time.Minute, 9 * time.Minute}).Draw(t, "for"))
}

// pass moves the clock instead of waiting: rapid gives up after a day, be it a day in a bubble.
func (m *model) pass(d time.Duration) {
	m.f.setClock(d)
	m.now += d
}

// setBack sets the clock back after something was published, and lets the upkeep see it.
func (m *model) setBack(t *rapid.T) {
	const back = 3 * time.Minute
	m.publishTo(t, "", false, m.lanes[:1])
	m.f.setClock(-back)
	m.now -= back
	m.back += back
	_, err := m.f.Store.WithdrawDeliveries(m.ctx, usual(100))
	m.must(t, err)
	for _, d := range m.all {
		m.wentBack(t, d, back)
	}
}

// wentBack wants what waits to wait for no longer than when the wait began, and for no less than was left of it.
func (m *model) wentBack(t *rapid.T, d *modelDelivery, back time.Duration) {
	if d.state != posthorn.Pending {
		return
	}
	is, err := m.f.Store.GetDelivery(m.ctx, m.f.Tenant, d.id)
	m.must(t, err)
	due := is.DueAt.Sub(m.f.Store.Now()) + m.now
	if longest, left := max(d.due-d.updated, 0), d.due-m.now-back; due > m.now+longest+slack || due < m.now+left-slack {
		t.Fatalf("%s is due in %s after the clock was set back; it was in %s of %s", d.id, due-m.now, left, longest)
	}
	waits := d.claim.IsZero() && d.visible == d.due
	d.due, d.updated = due, min(d.updated, m.now)
	switch {
	case !d.claim.IsZero():
		d.visible = min(d.visible, m.now+posthorn.Lease)
	case waits:
		d.visible = due
	default:
		d.visible = min(d.visible, m.now)
	}
}

// crash has the store closed amid everything and opened again over the same data. Where one process owns it, that frees
// all claims.
func (m *model) crash(t *rapid.T) {
	m.f.reopen()
	if !m.f.harness.Frees {
		return
	}
	for _, d := range m.all {
		if !d.claim.IsZero() {
			d.visible = min(d.visible, m.now)
		}
	}
}

// check holds every row against the model.
func (m *model) check(t *rapid.T) {
	ids := make([]posthorn.SubscriptionID, len(m.lanes))
	for i, l := range m.lanes {
		ids[i] = l.id
	}
	lanes, err := m.f.Store.Lanes(m.ctx, m.f.Tenant, ids)
	m.must(t, err)
	for i := range lanes {
		m.checkLane(t, m.lanes[slices.Index(ids, lanes[i].SubscriptionID)], &lanes[i])
	}
	for _, d := range m.all {
		is, err := m.f.Store.GetDelivery(m.ctx, m.f.Tenant, d.id)
		m.must(t, err)
		if is.State != d.state || is.Attempts != d.attempts || is.Spent != d.spent || is.Manual != d.manual || is.Claim != d.claim ||
			int(is.Sequence) != d.sequence || is.Interruptions != d.interruptions {
			t.Fatalf("the store has %s %d attempts, %d spent, %d interruptions, manual %d, claim %s, number %d\nthe model has %+v",
				is.State, is.Attempts, is.Spent, is.Interruptions, is.Manual, is.Claim, is.Sequence, *d)
		}
	}
}

// finish lets everything come to its end.
func (m *model) finish(t *rapid.T) {
	for _, l := range m.lanes {
		m.setStatus(t, l, posthorn.StatusActive)
	}
	m.f.setClock(m.back)
	m.now += m.back
	for round := 0; slices.ContainsFunc(m.all, func(d *modelDelivery) bool { return d.state == posthorn.Pending }); round++ {
		if round == 100 {
			t.Fatalf("something is stuck")
		}
		m.pass(10 * time.Minute)
		for _, c := range m.take(t, 1000) {
			m.report(t, c, posthorn.Succeeded, false)
		}
	}
	m.check(t)
}
