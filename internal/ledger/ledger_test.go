package ledger

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return epoch.Add(time.Duration(seconds * float64(time.Second))) }

// run is a run being written down: one FIFO subscription, and events that are delivered at the second attempt.
type run struct {
	Facts
	shop posthorn.SubscriptionID
}

// newRun is three events of one order, each refused with a 503 and delivered five seconds later.
func newRun() *run {
	r := &run{shop: posthorn.SubscriptionID{UUID: posthorn.NewUUID(at(0))}}
	r.Now, r.Patience, r.Slack = at(3600), time.Minute, time.Millisecond
	s := Subscription{}
	s.ID, s.Status, s.Ordering = r.shop, posthorn.StatusActive, posthorn.OrderingFIFO
	s.Retry = posthorn.RetryPolicy{Schedule: []float64{5, 5}}
	r.Subscriptions = []Subscription{s}
	for i := range 3 {
		r.deliver(float64(10*i), int64(i+1))
	}
	return r
}

func (r *run) deliver(from float64, sequence int64) {
	payload := []byte{'{', byte('0' + sequence), '}'}
	event := posthorn.EventID{UUID: posthorn.NewUUID(at(from))}
	d := posthorn.Delivery{
		ID: posthorn.DeliveryID{UUID: posthorn.NewUUID(at(from))}, EventID: event, SubscriptionID: r.shop, EventType: "a.b",
		State: posthorn.Delivered, Attempts: 2, Spent: 2, DueAt: at(from + 5), Sequence: sequence,
		LastOutcome: posthorn.Succeeded, CreatedAt: at(from), UpdatedAt: at(from + 6), CompletedAt: at(from + 6),
	}
	r.Publishes = append(r.Publishes, Publish{
		Event: event, Type: "a.b", ContentType: "application/json", Payload: payload, Deliveries: 1,
		Wanted: []posthorn.SubscriptionID{r.shop}, Sent: at(from - 1), Acknowledged: at(from),
	})
	r.Deliveries = append(r.Deliveries, d)
	for i, status := range []int{503, 200} {
		start := from + 5*float64(i)
		a := posthorn.Attempt{
			ID: posthorn.AttemptID{UUID: posthorn.NewUUID(at(start))}, DeliveryID: d.ID, EventID: event, SubscriptionID: r.shop,
			Number: i + 1, StartedAt: at(start), RecordedAt: at(start), Outcome: posthorn.HTTPError, StatusCode: status,
		}
		if status == 200 {
			a.Outcome, a.RecordedAt = posthorn.Succeeded, d.CompletedAt
		}
		r.Attempts = append(r.Attempts, a)
		r.Requests = append(r.Requests, Request{
			Subscription: r.shop, Event: event, Attempt: i + 1, At: at(start), Type: "a.b", ContentType: "application/json",
			Body: payload, Status: status,
		})
	}
}

// lateThenCancelled has the last delivery end for another reason, after its one attempt was known to have succeeded.
func (r *run) lateThenCancelled() {
	r.Attempts, r.Requests = r.Attempts[:5], r.Requests[:5]
	r.Requests[4].Status = 200
	a, d := &r.Attempts[4], &r.Deliveries[2]
	a.Outcome, a.StatusCode, a.RecordedAt = posthorn.Succeeded, 200, at(25.5)
	d.Attempts, d.State, d.Reason = 1, posthorn.Cancelled, posthorn.ReasonSubscriptionDeleted
	d.Spent, d.LastOutcome = 1, posthorn.Interrupted
}

// cancelledUnheard has the last delivery cancelled two seconds before its last attempt, by a node that the sender may not have heard
// for some time.
func (r *run) cancelledUnheard(hearing time.Duration) {
	a, d := &r.Attempts[5], &r.Deliveries[2]
	r.Calm, r.Hearing = true, hearing
	d.State, d.Reason, d.Spent = posthorn.Cancelled, posthorn.ReasonRequested, 1
	d.CompletedAt = a.StartedAt.Add(-2 * time.Second)
	d.UpdatedAt = d.CompletedAt
}

// overtakenAfter has the last request of the first delivery come late, after the second has begun; a person cancelled it under
// way, at a moment of the run.
func (r *run) overtakenAfter(cancelled float64) {
	r.Calm = true
	r.Requests[1].At = at(12)
	r.Requests[1], r.Requests[2] = r.Requests[2], r.Requests[1]
	r.Attempts[1].RecordedAt = at(20)
	d := &r.Deliveries[0]
	d.State, d.Reason, d.Spent = posthorn.Cancelled, posthorn.ReasonRequested, 1
	d.UpdatedAt, d.CompletedAt = at(cancelled), at(cancelled)
}

// replay copies the first delivery so many times for a replay that counts its own.
func (r *run) replay(copies, counted int) *posthorn.Replay {
	replay := posthorn.Replay{ID: posthorn.ReplayID{UUID: posthorn.NewUUID(at(100))}, State: posthorn.ReplayCompleted}
	replay.Created = counted
	for n := range copies {
		d := r.Deliveries[0]
		d.ID, d.Replay, d.Sequence = posthorn.DeliveryID{UUID: posthorn.NewUUID(at(200 + float64(n)))}, replay.ID, 0
		d.State, d.Attempts, d.Spent, d.Reason = posthorn.Cancelled, 0, 0, posthorn.ReasonRequested
		r.Deliveries = append(r.Deliveries, d)
	}
	r.Replays = []posthorn.Replay{replay}
	return &r.Replays[0]
}

func TestCheckFindsNothingInACleanRun(t *testing.T) {
	r := newRun()
	if found := Check(r.Facts); len(found) != 0 {
		t.Errorf("found %v", found)
	}
	r.Calm = true
	if found := Check(r.Facts); len(found) != 0 {
		t.Errorf("found %v in calm", found)
	}
	r.replay(1, 1)
	if found := Check(r.Facts); len(found) != 0 {
		t.Errorf("found %v with a replay", found)
	}
}

// TestCheckFindsWhatIsPlanted breaks a clean run in one way after the other, and wants the rule that was broken to be named.
func TestCheckFindsWhatIsPlanted(t *testing.T) {
	for _, c := range []struct {
		name  string
		rule  Rule
		plant func(r *run)
	}{
		{"LostEvent", Lost, func(r *run) { r.drop(1) }},
		{"ReplayMadeFewer", Disagreed, func(r *run) { r.replay(1, 2) }},
		{"ReplayMadeTwice", Doubled, func(r *run) { r.replay(2, 2) }},
		{"ReplayFailed", Stuck, func(r *run) { r.replay(0, 0).State = posthorn.ReplayFailed }},
		{"LostOfTwoDeliveries", Lost, func(r *run) { r.Publishes[1].Deliveries = 2 }},
		{"LostForOneThatWantsIt", Lost, func(r *run) {
			r.Publishes[1].Wanted = append(r.Publishes[1].Wanted, posthorn.SubscriptionID{UUID: posthorn.NewUUID(epoch)})
		}},
		{"UnknownEventReceived", Unpublished, func(r *run) { r.Requests[0].Event = posthorn.EventID{UUID: posthorn.NewUUID(at(1))} }},
		{"UnansweredOnlyOnce", Unpublished, func(r *run) {
			// Of two events with one unanswered publish one was made up.
			r.Publishes[1].Event, r.Publishes[1].Acknowledged = posthorn.EventID{}, time.Time{}
			r.Publishes = slices.Delete(r.Publishes, 0, 1)
		}},
		{"UnansweredUnderAnAnsweredKey", Unpublished, func(r *run) {
			r.Publishes[0].Key = "k"
			r.Publishes = append(r.Publishes, r.Publishes[1])
			r.Publishes[3].Key, r.Publishes[3].Event, r.Publishes[3].Acknowledged = "k", posthorn.EventID{}, time.Time{}
			r.Publishes = slices.Delete(r.Publishes, 1, 2)
		}},
		{"RequestWithoutDelivery", Unpublished, func(r *run) { r.drop(1); r.Publishes[1].Deliveries = 0; r.Publishes[1].Wanted = nil }},
		{"KeyGaveTwoEvents", Doubled, func(r *run) { r.Publishes[0].Key, r.Publishes[1].Key = "k", "k" }},
		{"EventOfTwoPublishes", Doubled, func(r *run) { r.Publishes = append(r.Publishes, r.Publishes[0]) }},
		{"TwoDeliveriesBorn", Doubled, func(r *run) {
			d := r.Deliveries[0]
			d.ID = posthorn.DeliveryID{UUID: posthorn.NewUUID(at(1))}
			d.Attempts, d.Spent, d.State, d.CompletedAt, d.DueAt, d.Sequence = 0, 0, posthorn.Pending, time.Time{}, at(7200), 9
			r.Deliveries = append(r.Deliveries, d)
		}},
		{"AttemptReceivedTwice", Doubled, func(r *run) { r.Requests = append(r.Requests, r.Requests[5]) }},
		{"WelcomedTwiceInCalm", Doubled, func(r *run) {
			r.Calm = true
			r.Requests[4].Status = 200
			r.Attempts[4].Outcome, r.Attempts[4].StatusCode = posthorn.Interrupted, 0
		}},
		{"StuckPending", Stuck, func(r *run) { r.wait(2, at(100)) }},
		{"StuckAfterALostClaim", Stuck, func(r *run) {
			d := r.wait(2, at(100))
			d.Claim, d.ClaimedUntil, d.Attempts = posthorn.AttemptID{UUID: posthorn.NewUUID(at(100))}, at(130), 2
		}},
		{"StuckOfADeletedSubscription", Stuck, func(r *run) { r.wait(2, at(7200)); r.Subscriptions[0].DeletedAt = at(200) }},
		{"SucceededWithoutARequest", Disagreed, func(r *run) { r.Requests = r.Requests[:5] }},
		{"AnswerThatNobodyGave", Disagreed, func(r *run) { r.Attempts[0].StatusCode = 500 }},
		{"RequestNotWrittenDown", Disagreed, func(r *run) { r.Requests = append(r.Requests, r.another(2, 3, at(26))) }},
		{"SuccessForgotten", Disagreed, func(r *run) {
			d := &r.Deliveries[2]
			d.State, d.Reason = posthorn.Exhausted, posthorn.ReasonAttempts
		}},
		{"SuccessOutOfNowhere", Disagreed, func(r *run) { r.Attempts[5].Outcome, r.Attempts[5].StatusCode = posthorn.Timeout, 0 }},
		{"GaveUpTooSoon", Disagreed, func(r *run) {
			r.fail(2)
			r.Deliveries[2].State, r.Deliveries[2].Reason = posthorn.Exhausted, posthorn.ReasonAttempts
		}},
		{"InterruptedInCalm", Disagreed, func(r *run) { r.Calm = true; r.Attempts[0].Outcome, r.Attempts[0].StatusCode = posthorn.Interrupted, 0 }},
		{"NumberMissing", Misnumbered, func(r *run) { r.Attempts = slices.Delete(r.Attempts, 0, 1) }},
		{"NumberSkipped", Misnumbered, func(r *run) { r.Attempts[1].Number, r.Requests[1].Attempt, r.Deliveries[0].Attempts = 3, 3, 3 }},
		{"RetriedAtOnce", TooEarly, func(r *run) { r.Attempts[1].StartedAt = at(1) }},
		{"RetryAfterIgnored", TooEarly, func(r *run) { r.Attempts[0].Response = posthorn.Headers{"Retry-After": {"60"}} }},
		{"ThrottleIgnored", TooEarly, func(r *run) { r.Attempts[0].StatusCode, r.Requests[0].Status = 429, 429 }},
		{"BeforeDeliverAt", TooEarly, func(r *run) { r.Publishes[0].DeliverAt = at(2) }},
		{"WhileHeld", TooEarly, func(r *run) { r.Holds = []Hold{{r.shop, at(8), at(12)}} }},
		{"AfterItsEnd", TooLate, func(r *run) { r.Requests[5].At = at(30) }},
		{"CancelledUnheard", TooLate, func(r *run) { r.cancelledUnheard(time.Second) }},
		{"StartedAfterItsEnd", TooLate, func(r *run) { r.Attempts[5].StartedAt = at(30) }},
		{"Overtaken", Reordered, func(r *run) {
			r.Deliveries[0].Sequence, r.Deliveries[1].Sequence = 2, 1
			r.Publishes[0].Sent, r.Publishes[1].Sent = at(0), at(0)
		}},
		{"OvertakenBeforeItWasCancelled", Reordered, func(r *run) { r.overtakenAfter(11) }},
		{"SentWhileTheFirstWaits", Reordered, func(r *run) {
			d := r.wait(0, at(7200))
			d.Attempts, d.Spent = 0, 0
			r.Attempts, r.Requests = r.Attempts[1:], r.Requests[1:]
		}},
		{"FinishedAfterTheNext", Reordered, func(r *run) {
			r.Requests[1], r.Requests[2] = r.Requests[2], r.Requests[1]
			r.Requests[2].At, r.Attempts[1].StartedAt = at(12), at(12)
			r.Attempts[1].RecordedAt, r.Deliveries[0].UpdatedAt, r.Deliveries[0].CompletedAt = at(13), at(13), at(13)
		}},
		{"NumberedAgainstAcknowledgement", Reordered, func(r *run) {
			r.Publishes[1].Sent, r.Publishes[1].Acknowledged, r.Publishes[2].Acknowledged = at(21), at(22), at(20)
		}},
		{"TwoOfOneNumber", Reordered, func(r *run) { r.Deliveries[1].Sequence = 1 }},
		{"ByteAltered", Altered, func(r *run) { r.Requests[3].Body = []byte("{ 2}") }},
		{"TypeAltered", Altered, func(r *run) { r.Requests[3].Type = "a.c" }},
		{"ContentTypeAltered", Altered, func(r *run) { r.Requests[3].ContentType = "text/plain" }},
		{"SignatureWrong", Unsigned, func(r *run) { r.Requests[3].Signature = errors.New("no match") }},
		{"EndedWithoutATime", Impossible, func(r *run) { r.Deliveries[0].CompletedAt = time.Time{} }},
		{"EndedAndClaimed", Impossible, func(r *run) {
			r.Deliveries[0].Claim, r.Deliveries[0].Attempts = posthorn.AttemptID{UUID: posthorn.NewUUID(epoch)}, 3
		}},
		{"SucceededAndCancelled", Disagreed, func(r *run) { r.lateThenCancelled() }},
		{"CancelledForNoReason", Impossible, func(r *run) { r.fail(2); r.Deliveries[2].State = posthorn.Cancelled }},
		{"SpentMoreThanMade", Impossible, func(r *run) { r.Deliveries[0].Spent = 3 }},
		{"SuccessWith500", Impossible, func(r *run) { r.Attempts[1].StatusCode, r.Requests[1].Status = 500, 500 }},
		{"AttemptOfNothing", Impossible, func(r *run) { r.Attempts[1].DeliveryID = posthorn.DeliveryID{UUID: posthorn.NewUUID(epoch)} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRun()
			c.plant(r)
			found := Check(r.Facts)
			if !slices.ContainsFunc(found, func(v Violation) bool { return v.Rule == c.rule }) {
				t.Errorf("did not find that %s; found %v", c.rule, found)
			}
		})
	}
}

// TestCheckAllowsWhatIsPromised alters a clean run in ways that keep every promise.
func TestCheckAllowsWhatIsPromised(t *testing.T) {
	for _, c := range []struct {
		name  string
		alter func(r *run)
	}{
		{"Unanswered", func(r *run) { r.Publishes[1].Event, r.Publishes[1].Acknowledged = posthorn.EventID{}, time.Time{} }},
		{"UnansweredAndNotStored", func(r *run) {
			r.Publishes = append(r.Publishes, Publish{Type: "a.b", Payload: []byte("lost"), Sent: at(50)})
		}},
		{"RepeatedUnderOneKey", func(r *run) {
			r.Publishes[0].Key = "k"
			again := r.Publishes[0]
			again.Sent, again.Acknowledged = at(40), at(41)
			r.Publishes = append(r.Publishes, again)
		}},
		{"WaitingForItsTime", func(r *run) { r.wait(2, at(7200)) }},
		{"Held", func(r *run) { r.wait(2, at(100)); r.Subscriptions[0].Status = posthorn.StatusPaused }},
		{"Throttled", func(r *run) { r.wait(2, at(100)); r.Subscriptions[0].Lane.ThrottledUntil = at(3700) }},
		{"BreakerOpen", func(r *run) { r.wait(2, at(100)); r.Subscriptions[0].Lane.BreakerOpens = 1 }},
		{"InFlight", func(r *run) {
			d := r.wait(2, at(100))
			d.Claim, d.ClaimedUntil, d.Attempts = posthorn.AttemptID{UUID: posthorn.NewUUID(at(3590))}, at(3620), 2
		}},
		{"BehindOneThatIsHeldUp", func(r *run) {
			r.wait(1, at(7200))
			d := r.wait(2, at(100))
			d.Attempts, d.Spent = 0, 0
			r.Attempts, r.Requests = r.Attempts[:3], r.Requests[:3]
		}},
		{"ReceiverForgot", func(r *run) { r.Partial = true; r.Requests = r.Requests[:3] }},
		{"LateResult", func(r *run) {
			// The first attempt's node was frozen: its success came after the second had been claimed.
			r.Requests[0].Status = 200
			a := &r.Attempts[0]
			a.Outcome, a.StatusCode, a.RecordedAt = posthorn.Succeeded, 200, at(5.5)
		}},
		{"LateResultBeforeAnotherEnd", func(r *run) {
			r.lateThenCancelled()
			r.Deliveries[2].Spent = 0
		}},
		{"ClockSetBackAfterDeliverAt", func(r *run) {
			r.Publishes[0].DeliverAt, r.Requests[0].At, r.Attempts[0].StartedAt = at(8), at(9), at(9)
		}},
		{"CancelledWhileUnderWay", func(r *run) {
			d := &r.Deliveries[2]
			d.State, d.Reason, d.UpdatedAt, d.CompletedAt = posthorn.Cancelled, posthorn.ReasonRequested, at(25), at(25)
		}},
		{"CancelledUnheardYet", func(r *run) { r.cancelledUnheard(3 * time.Second) }},
		{"OvertakenAfterItWasCancelled", func(r *run) { r.overtakenAfter(7) }},
		{"RetriedByHandOutOfOrder", func(r *run) {
			r.Requests[1].At, r.Attempts[1].StartedAt, r.Attempts[1].Manual = at(40), at(40), true
			r.Deliveries[0].Spent = 1
			r.Attempts[1].RecordedAt, r.Deliveries[0].UpdatedAt, r.Deliveries[0].CompletedAt = at(41), at(41), at(41)
			r.Requests = append(r.Requests[:1], append(r.Requests[2:], r.Requests[1])...)
		}},
		{"FrozenNodeRepeats", func(r *run) {
			// What a frozen node had sent arrives after the next of the order.
			r.Requests[0].At, r.Requests[0].Status = at(12), 0
			r.Attempts[0].Outcome, r.Attempts[0].StatusCode = posthorn.Interrupted, 0
			r.Requests = append(r.Requests[1:3:3], append([]Request{r.Requests[0]}, r.Requests[3:]...)...)
		}},
		{"Replayed", func(r *run) {
			d := r.Deliveries[0]
			d.ID, d.Replay, d.Sequence = posthorn.DeliveryID{UUID: posthorn.NewUUID(at(50))}, posthorn.ReplayID{UUID: posthorn.NewUUID(at(50))}, 4
			d.State, d.Attempts, d.Spent, d.CompletedAt, d.DueAt = posthorn.Pending, 0, 0, time.Time{}, at(7200)
			r.Deliveries = append(r.Deliveries, d)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRun()
			c.alter(r)
			for _, v := range Check(r.Facts) {
				t.Error(v)
			}
		})
	}
}

// drop takes the i-th event's delivery away.
func (r *run) drop(i int) {
	id := r.Deliveries[i].ID
	r.Deliveries = slices.Delete(r.Deliveries, i, i+1)
	r.Attempts = slices.DeleteFunc(r.Attempts, func(a posthorn.Attempt) bool { return a.DeliveryID == id })
}

// fail takes the success of the i-th delivery away.
func (r *run) fail(i int) {
	r.Attempts[2*i+1].Outcome, r.Attempts[2*i+1].StatusCode, r.Requests[2*i+1].Status = posthorn.HTTPError, 500, 500
}

// wait makes the i-th delivery wait for its second attempt, or for the first after it.
func (r *run) wait(i int, due time.Time) *posthorn.Delivery {
	d := &r.Deliveries[i]
	d.State, d.DueAt, d.CompletedAt, d.Attempts, d.Spent, d.UpdatedAt = posthorn.Pending, due, time.Time{}, 1, 1, at(25)
	r.Attempts = slices.DeleteFunc(r.Attempts, func(a posthorn.Attempt) bool { return a.DeliveryID == d.ID && a.Number == 2 })
	r.Requests = slices.DeleteFunc(r.Requests, func(q Request) bool { return q.Event == d.EventID && q.Attempt == 2 })
	return d
}

// another is a request of the i-th delivery.
func (r *run) another(i, attempt int, when time.Time) Request {
	q := r.Requests[2*i]
	q.Attempt, q.At = attempt, when
	return q
}
