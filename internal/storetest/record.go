package storetest

import (
	"reflect"
	"sync"
	"time"

	"github.com/posthorn/posthorn"
)

func recordTests() group {
	return group{"Record", []test{
		{"Success", recordSuccess},
		{"FailureSchedulesTheRetry", recordFailure},
		{"KeepDue", recordKeepDue},
		{"Exhausted", recordExhausted},
		{"NothingSent", recordNothingSent},
		{"NothingSentAndWithdrawn", recordWithdrawn},
		{"KeepsEveryField", recordKeepsFields},
		{"OwnFaultCostsNothing", recordOwnFault},
		{"TwiceMovesOnce", recordTwice},
		{"LostAmongHeld", recordMixed},
		{"LargeBatch", recordLargeBatch},
		{"BesideEvents", recordBesideEvents},
	}}
}

// recordBesideEvents records while events are accepted, whose commit the results may share. Results that are refused do the
// events no harm, nor other results.
func recordBesideEvents(f *Fixture) {
	const rounds = 40
	sub := f.Subscribe()
	ids := make([]posthorn.DeliveryID, rounds)
	for i := range ids {
		ids[i] = f.PublishOne(sub)
	}
	claims := f.Claim()
	equal(f, "claims", len(claims), rounds)
	bad := f.Success(claims[0])
	bad.On = "no such trigger"
	var beside sync.WaitGroup
	for _, c := range claims[1:] {
		acceptance, good := f.Acceptance(f.NewEvent(), sub), f.Success(c)
		beside.Go(func() {
			answers, err := f.Store.AcceptEvents(f.Context(), f.Node, []posthorn.Acceptance{acceptance})
			if err != nil || answers[0].Err != nil || answers[0].Deliveries != 1 {
				f.T.Errorf("accept: %+v, %v", answers, err)
			}
		})
		beside.Go(func() {
			if _, err := f.Store.RecordAttempts(f.Context(), posthorn.RecordBatch{Node: f.Node, Results: []posthorn.Result{bad}}); err == nil {
				f.T.Error("a result of no transition was recorded")
			}
		})
		beside.Go(func() {
			report, err := f.Store.RecordAttempts(f.Context(), posthorn.RecordBatch{Node: f.Node, Results: []posthorn.Result{good}})
			if err != nil || !report.Results[0].Moved || report.Results[0].State != posthorn.Delivered {
				f.T.Errorf("record: %+v, %v", report, err)
			}
		})
	}
	beside.Wait()
	for _, c := range claims[1:] {
		equal(f, "attempts", len(f.Attempts(c.DeliveryID)), 1)
	}
	f.wantState(claims[0].DeliveryID, posthorn.Pending, posthorn.ReasonNone)
	equal(f, "claims of the new", len(f.Claim()), rounds-1)
}

func recordSuccess(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	answer := f.Record(f.Success(f.ClaimOne(id)))[0]
	equal(f, "state", answer.State, posthorn.Delivered)
	f.wantIn("at", answer.At, 0)
	d := f.wantState(id, posthorn.Delivered, posthorn.ReasonNone)
	equal(f, "attempts", d.Attempts, 1)
	equal(f, "spent", d.Spent, 1)
	equal(f, "last outcome", d.LastOutcome, posthorn.Succeeded)
	equal(f, "last status", d.LastStatusCode, 200)
	equal(f, "claim", d.Claim, posthorn.AttemptID{})
	f.wantIn("completed_at", d.CompletedAt, 0)
	f.wantUnset("claimed_until", d.ClaimedUntil)
	f.Elapse(time.Hour)
	f.ClaimNone()
}

func recordFailure(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	failure := f.Failure(f.ClaimOne(id), 10*time.Minute)
	failure.Attempt.Error = "status"
	answer := f.Record(failure)[0]
	equal(f, "state", answer.State, posthorn.Pending)
	f.wantIn("answered due_at", answer.DueAt, 10*time.Minute)
	d := f.wantState(id, posthorn.Pending, posthorn.ReasonNone)
	f.wantIn("due_at", d.DueAt, 10*time.Minute)
	equal(f, "spent", d.Spent, 1)
	equal(f, "last outcome", d.LastOutcome, posthorn.HTTPError)
	equal(f, "last status", d.LastStatusCode, 503)
	equal(f, "last error", d.LastError, "status")
	equal(f, "claim", d.Claim, posthorn.AttemptID{})
	f.Elapse(9 * time.Minute)
	f.ClaimNone()
	f.Elapse(2 * time.Minute)
	c := f.ClaimOne(id)
	equal(f, "number", c.Number, 2)
	f.Record(f.Success(c))
	f.wantOutcomes(id, posthorn.HTTPError, posthorn.Succeeded)
}

func recordKeepDue(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	f.Elapse(10 * time.Minute)
	failure := f.Failure(f.ClaimOne(id), time.Hour)
	failure.KeepDue = true
	answer := f.Record(failure)[0]
	f.wantIn("answered due_at", answer.DueAt, -10*time.Minute)
	f.wantIn("due_at", f.Delivery(id).DueAt, -10*time.Minute)
	f.ClaimOne(id)
}

func recordExhausted(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	equal(f, "state", f.Record(f.Exhaustion(f.ClaimOne(id)))[0].State, posthorn.Exhausted)
	d := f.wantState(id, posthorn.Exhausted, posthorn.ReasonAttempts)
	f.wantIn("completed_at", d.CompletedAt, 0)
	f.Elapse(time.Hour)
	f.ClaimNone()
}

func recordNothingSent(f *Fixture) {
	sub := f.Subscribe()
	id := f.PublishOne(sub)
	c := f.ClaimOne(id)
	f.Record(posthorn.Result{Claim: c.Claim, On: posthorn.OnFailure, Delay: 10 * time.Minute})
	d := f.wantState(id, posthorn.Pending, posthorn.ReasonNone)
	equal(f, "attempts", d.Attempts, 0)
	equal(f, "spent", d.Spent, 0)
	f.wantIn("due_at", d.DueAt, 10*time.Minute)
	f.wantOutcomes(id)
	f.Elapse(11 * time.Minute)
	c = f.ClaimOne(id)
	equal(f, "number", c.Number, 1)
	f.Record(posthorn.Result{Claim: c.Claim, On: posthorn.OnExhaust, Reason: posthorn.ReasonWindow})
	d = f.wantState(id, posthorn.Exhausted, posthorn.ReasonWindow)
	equal(f, "attempts", d.Attempts, 0)
	f.wantOutcomes(id)
}

func recordWithdrawn(f *Fixture) {
	ended := f.Exhaust(f.Subscribe())
	f.retry(ended)
	f.PublishOne(f.Subscribe())
	for _, c := range f.Claim() {
		answer := f.Record(posthorn.Result{Claim: c.Claim, On: posthorn.OnWithdraw, Reason: posthorn.ReasonExpired})[0]
		equal(f, "answered state", answer.State, posthorn.Cancelled)
		d := f.wantState(c.DeliveryID, posthorn.Cancelled, posthorn.ReasonExpired)
		equal(f, "attempts", d.Attempts, c.Number-1)
		equal(f, "manual", d.Manual, posthorn.NotManual)
	}
	f.ClaimNone()
}

func recordKeepsFields(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	c := f.ClaimOne(id)
	r := f.Failure(c, time.Minute)
	a := r.Attempt
	a.Outcome, a.StatusCode = posthorn.TLSError, 0
	a.OurFault = true
	a.Error, a.Detail = "certificate_expired", "The certificate expired on 1 May."
	a.Request = posthorn.Headers{"Webhook-Id": {"evt_1"}, "X-Two": {"a", "b"}}
	a.Response = posthorn.Headers{"Retry-After": {"120"}}
	a.Body, a.BodyTruncated = []byte{0, 1, 0xff, 'x'}, true
	a.Timing = posthorn.Timing{
		DNS: time.Millisecond, Connect: 2 * time.Millisecond, TLS: 3 * time.Millisecond,
		FirstByte: 40 * time.Millisecond, Total: 50*time.Millisecond + 7*time.Microsecond, Reused: true,
	}
	f.Record(r)
	got := f.wantOutcomes(id, posthorn.TLSError)[0]
	f.wantIn("started_at", got.StartedAt, 0)
	f.wantIn("recorded_at", got.RecordedAt, 0)
	want := *a
	want.StartedAt, want.RecordedAt = got.StartedAt, got.RecordedAt
	if !reflect.DeepEqual(got, want) {
		f.T.Fatalf("attempt is\n%+v, want\n%+v", got, want)
	}
}

func recordOwnFault(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	r := f.Failure(f.ClaimOne(id), time.Minute)
	r.Attempt.Outcome, r.Attempt.StatusCode, r.Attempt.OurFault = posthorn.Blocked, 0, true
	r.Spends = false
	f.Record(r)
	d := f.Delivery(id)
	equal(f, "spent", d.Spent, 0)
	equal(f, "attempts", d.Attempts, 1)
	equal(f, "last outcome", d.LastOutcome, posthorn.Blocked)
}

func recordTwice(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	r := f.Failure(f.ClaimOne(id), time.Minute)
	f.Record(r)
	report := f.RecordBatch(posthorn.RecordBatch{Node: f.Node, Results: []posthorn.Result{r}})
	equal(f, "moved", report.Results[0].Moved, false)
	d := f.Delivery(id)
	equal(f, "spent", d.Spent, 1)
	f.wantOutcomes(id, posthorn.HTTPError)
}

func recordMixed(f *Fixture) {
	sub := f.Subscribe()
	lostID := f.PublishOne(sub)
	lost := f.ClaimOne(lostID)
	f.Elapse(afterLease)
	held := f.ClaimOne(lostID)
	other := f.PublishOne(sub)
	c := f.ClaimOne(other)
	unknown := c
	unknown.DeliveryID = posthorn.DeliveryID{UUID: f.ID()}
	unknown.Attempt = posthorn.AttemptID{UUID: f.ID()}
	unknown.Delivery.ID = unknown.DeliveryID
	report := f.RecordBatch(posthorn.RecordBatch{Node: f.Node, Results: []posthorn.Result{
		f.Success(lost), f.Success(c), f.Success(unknown), f.Failure(held, time.Hour),
	}})
	for i, want := range []bool{false, true, false, true} {
		equal(f, "moved", report.Results[i].Moved, want)
	}
	f.wantState(other, posthorn.Delivered, posthorn.ReasonNone)
	f.wantState(lostID, posthorn.Pending, posthorn.ReasonNone)
	f.wantOutcomes(lostID, posthorn.Succeeded, posthorn.HTTPError)
}

func recordLargeBatch(f *Fixture) {
	subs := []posthorn.SubscriptionID{f.Subscribe(), f.Subscribe(), f.Subscribe()}
	var batch []posthorn.Acceptance
	for i := range 333 {
		batch = append(batch, f.Acceptance(f.NewEvent(), subs[i%3]))
	}
	f.Accept(batch...)
	var results []posthorn.Result
	for i, c := range f.Claim() {
		switch i % 3 {
		case 0:
			results = append(results, f.Success(c))
		case 1:
			results = append(results, f.Failure(c, time.Duration(i)*time.Minute))
		case 2:
			results = append(results, f.Exhaustion(c))
		}
	}
	equal(f, "results", len(results), 333)
	answers := f.Record(results...)
	for i, want := range []posthorn.State{posthorn.Delivered, posthorn.Pending, posthorn.Exhausted} {
		for j := i; j < len(results); j += 3 {
			equal(f, "answered state", answers[j].State, want)
			d := f.Delivery(results[j].DeliveryID)
			equal(f, "state", d.State, want)
			if want == posthorn.Pending {
				f.wantIn("due_at", d.DueAt, time.Duration(j)*time.Minute)
			}
			equal(f, "attempts", len(f.Attempts(d.ID)), 1)
		}
	}
}
