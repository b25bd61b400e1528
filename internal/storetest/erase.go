package storetest

import (
	"bytes"
	"strings"

	"github.com/posthorn/posthorn"
)

func eraseTests() group {
	return group{"Erase", []test{
		{"NothingIsLeftAtRest", eraseAtRest},
		{"PendingAreCancelled", erasePending},
		{"ClaimsAreLost", eraseClaimed},
		{"LateAnswerOfAnEndedDelivery", eraseEnded},
		{"NeverSentAgain", eraseFinal},
		{"AgainChangesNothing", eraseAgain},
		{"UnknownEvent", eraseUnknown},
		{"ManyDeliveries", eraseMany},
	}}
}

// erase erases an event's payload and gives what it ended.
func (f *Fixture) erase(id posthorn.EventID) []posthorn.Delivery {
	f.T.Helper()
	at, ended, err := f.Store.ErasePayload(f.Context(), f.Tenant, id)
	f.must(err)
	f.wantIn("erased", at, 0)
	return ended
}

func eraseAtRest(f *Fixture) {
	const secret = "4929-1234-5678-9012"
	sub := f.Subscribe()
	e := f.NewEvent(func(e *posthorn.Event) {
		e.IdempotencyKey = "erase-me"
		e.Payload = []byte(`{"card":"` + secret + `","rest":"` + strings.Repeat("x", 20_000) + secret + `"}`)
	})
	_, ids := f.PublishEvent(e, sub)
	c := f.ClaimOne(ids[0])
	result := f.Success(c)
	result.Attempt.Body = []byte("got " + secret)
	f.Record(result)
	other, _ := f.Publish(sub)
	if !bytes.Contains(f.harness.AtRest(f.T, f.Store), []byte(secret)) && !bytes.Contains(f.harness.AtRest(f.T, f.Store), hexText(secret)) {
		f.T.Fatal("the payload cannot be found at rest before it is erased: the case shows nothing")
	}
	f.erase(e.ID)
	rest := f.harness.AtRest(f.T, f.Store)
	if bytes.Contains(rest, []byte(secret)) || bytes.Contains(rest, hexText(secret)) {
		f.T.Error("the payload is still there")
	}
	got, err := f.Store.GetEvent(f.Context(), f.Tenant, e.ID)
	f.must(err)
	equal(f, "payload", len(got.Payload), 0)
	f.wantIn("payload_erased", got.PayloadErased, 0)
	equal(f, "type", got.Type, e.Type)
	a := f.wantOutcomes(ids[0], posthorn.Succeeded)[0]
	equal(f, "body", len(a.Body), 0)
	equal(f, "body cut", a.BodyTruncated, true)
	kept, err := f.Store.GetEvent(f.Context(), f.Tenant, other)
	f.must(err)
	equal(f, "another event's payload", string(kept.Payload), `{"amount":1200}`)
	// The key still answers for the content, of which there is a hash.
	again := f.NewEvent(func(n *posthorn.Event) { n.IdempotencyKey, n.Payload = e.IdempotencyKey, e.Payload })
	answer := f.Accept(f.Acceptance(again, sub))[0]
	equal(f, "duplicate", answer.Duplicate, true)
	equal(f, "original", answer.EventID, e.ID)
}

// hexText is how a store that shows bytes in hexadecimal shows a text.
func hexText(s string) []byte {
	const digits = "0123456789abcdef"
	out := make([]byte, 0, 2*len(s))
	for i := range len(s) {
		out = append(out, digits[s[i]>>4], digits[s[i]&15])
	}
	return out
}

func erasePending(f *Fixture) {
	first, second, held := f.Subscribe(), f.Subscribe(), f.Subscribe(WithStatus(posthorn.StatusPaused))
	event, ids := f.Publish(first, second, held)
	kept := f.PublishOne(first)
	ended := f.erase(event)
	var got idList
	for _, d := range ended {
		equal(f, "state", d.State, posthorn.Cancelled)
		got = append(got, d.ID)
	}
	wantSet(f, "ended", got, ids...)
	for _, id := range ids {
		f.wantState(id, posthorn.Cancelled, posthorn.ReasonPayloadErased)
	}
	f.ClaimOne(kept)
}

func eraseClaimed(f *Fixture) {
	event, ids := f.Publish(f.Subscribe())
	c := f.ClaimOne(ids[0])
	f.erase(event)
	f.wantState(ids[0], posthorn.Cancelled, posthorn.ReasonPayloadErased)
	lost, err := f.Store.RenewClaims(f.Context(), []posthorn.Claim{c.Claim})
	f.must(err)
	equal(f, "claims lost", len(lost), 1)
	late := f.Success(c)
	late.Attempt.Body = []byte(`{"amount":1200}`)
	report := f.RecordBatch(posthorn.RecordBatch{Node: f.Node, Results: []posthorn.Result{late}})
	equal(f, "moved", report.Results[0].Moved, false)
	a := f.wantOutcomes(ids[0], posthorn.Succeeded)[0]
	equal(f, "a late answer's body", len(a.Body), 0)
	f.wantState(ids[0], posthorn.Cancelled, posthorn.ReasonPayloadErased)
}

// eraseEnded: the delivery ended before the payload was erased, and says nothing of that.
func eraseEnded(f *Fixture) {
	event, ids := f.Publish(f.Subscribe())
	c := f.ClaimOne(ids[0])
	_, err := f.Store.CancelDelivery(f.Context(), f.Tenant, ids[0])
	f.must(err)
	f.erase(event)
	late := f.Success(c)
	late.Attempt.Body = []byte(`{"amount":1200}`)
	f.RecordBatch(posthorn.RecordBatch{Node: f.Node, Results: []posthorn.Result{late}})
	a := f.wantOutcomes(ids[0], posthorn.Succeeded)[0]
	equal(f, "a late answer's body", len(a.Body), 0)
	equal(f, "body cut", a.BodyTruncated, true)
	f.wantState(ids[0], posthorn.Cancelled, posthorn.ReasonRequested)
}

func eraseFinal(f *Fixture) {
	sub := f.Subscribe()
	event, ids := f.Publish(sub)
	exhausted := f.Exhaust(sub)
	f.ClaimOne(ids[0])
	f.erase(event)
	f.erase(f.Delivery(exhausted).EventID)
	for _, id := range []posthorn.DeliveryID{ids[0], exhausted} {
		_, err := f.Store.RetryDelivery(f.Context(), f.Tenant, id)
		f.wantRefusal(err, posthorn.PayloadErased(), "retry")
	}
	_, err := f.Store.Replay(f.Context(), f.Tenant, event, posthorn.ReplayID{}, f.matches(sub))
	f.wantRefusal(err, posthorn.PayloadErased(), "replay")
	done := f.runReplay(f.NewReplay(), 10)
	equal(f, "created", done.Created, 0)
	equal(f, "skipped", done.Skipped, posthorn.ReplaySkips{Erased: 1})
}

func eraseAgain(f *Fixture) {
	event, _ := f.Publish(f.Subscribe())
	equal(f, "ended", len(f.erase(event)), 1)
	equal(f, "ended again", len(f.erase(event)), 0)
}

func eraseUnknown(f *Fixture) {
	event, ids := f.Publish(f.Subscribe())
	_, _, err := f.Store.ErasePayload(f.Context(), f.NewTenant("other"), event)
	f.wantKind(err, posthorn.NotFound, "erase another tenant's payload")
	f.ClaimOne(ids[0])
}

func eraseMany(f *Fixture) {
	var subs []posthorn.SubscriptionID
	for range 1100 {
		subs = append(subs, f.Subscribe())
	}
	event, ids := f.Publish(subs...)
	equal(f, "ended", len(f.erase(event)), len(ids))
	f.ClaimNone()
}
