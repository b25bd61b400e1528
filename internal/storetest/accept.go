package storetest

import (
	"maps"
	"time"

	"github.com/posthorn/posthorn"
)

func acceptTests() group {
	return group{"Accept", []test{
		{"StoresEventAndDeliveries", acceptStores},
		{"KeepsEveryField", acceptKeepsFields},
		{"KeepsPayloadBytes", acceptKeepsPayload},
		{"Unmatched", acceptUnmatched},
		{"BornClaimed", acceptBornClaimed},
		{"BornClaimedShareTheEvent", acceptBornClaimedShare},
		{"BornClaimedOnlyWhereAsked", acceptBornClaimedWhereAsked},
		{"BornClaimedTellsFailing", acceptBornClaimedTellsFailing},
		{"BornClaimedRefused", acceptBornClaimedRefused},
		{"BornCancelled", acceptBornCancelled},
		{"DeliverAt", acceptDeliverAt},
		{"StaleVersion", acceptStale},
		{"DeletedSubscriptionLeftOut", acceptDeletedLeftOut},
		{"ForeignSubscriptionLeftOut", acceptForeignLeftOut},
		{"LargeBatch", acceptLargeBatch},
	}}
}

func acceptStores(f *Fixture) {
	first, second := f.Subscribe(), f.Subscribe()
	e := f.NewEvent()
	a := f.Acceptance(e, first, second)
	answer := f.Accept(a)[0]
	equal(f, "event id", answer.EventID, e.ID)
	equal(f, "deliveries", answer.Deliveries, 2)
	equal(f, "duplicate", answer.Duplicate, false)
	equal(f, "claimed", len(answer.Claimed), 0)
	f.wantIn("created_at", answer.CreatedAt, 0)
	for i, m := range a.Matches {
		d := f.wantState(m.DeliveryID, posthorn.Pending, posthorn.ReasonNone)
		equal(f, "tenant", d.TenantID, f.Tenant)
		equal(f, "event", d.EventID, e.ID)
		equal(f, "type", d.EventType, e.Type)
		equal(f, "subscription", d.SubscriptionID, []posthorn.SubscriptionID{first, second}[i])
		equal(f, "attempts", d.Attempts, 0)
		equal(f, "claim", d.Claim, posthorn.AttemptID{})
		equal(f, "sequence", d.Sequence, 0)
		f.wantIn("due_at", d.DueAt, 0)
		f.wantIn("created_at", d.CreatedAt, 0)
		f.wantUnset("claimed_until", d.ClaimedUntil)
	}
}

func acceptKeepsFields(f *Fixture) {
	now := f.Store.Now()
	e := f.NewEvent(func(e *posthorn.Event) {
		e.Type = "a.b-c_D.9"
		e.ContentType = "text/plain; charset=utf-8"
		e.Headers = map[string]string{"X-Trace": "1", "X-Region": "eu"}
		e.OrderingKey = "customer-7"
		e.IdempotencyKey = "order 7/paid"
		e.DeliverAt = now.Add(time.Hour)
		e.ExpiresAt = now.Add(48 * time.Hour)
		e.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	})
	f.PublishEvent(e, f.Subscribe())
	got, err := f.Store.GetEvent(f.Context(), f.Tenant, e.ID)
	f.must(err)
	equal(f, "id", got.ID, e.ID)
	equal(f, "tenant", got.TenantID, f.Tenant)
	equal(f, "type", got.Type, e.Type)
	equal(f, "content type", got.ContentType, e.ContentType)
	equal(f, "ordering key", got.OrderingKey, e.OrderingKey)
	equal(f, "idempotency key", got.IdempotencyKey, e.IdempotencyKey)
	equal(f, "trace parent", got.TraceParent, e.TraceParent)
	equal(f, "deliveries", got.Deliveries, 1)
	equal(f, "payload", string(got.Payload), string(e.Payload))
	if !maps.Equal(got.Headers, e.Headers) {
		f.T.Fatalf("headers are %v, want %v", got.Headers, e.Headers)
	}
	f.wantIn("created_at", got.CreatedAt, 0)
	f.wantIn("deliver_at", got.DeliverAt, time.Hour)
	f.wantIn("expires_at", got.ExpiresAt, 48*time.Hour)
	f.wantUnset("payload_erased", got.PayloadErased)
}

func acceptKeepsPayload(f *Fixture) {
	payloads := map[string][]byte{
		"Empty":   {},
		"Invalid": {0xff, 0xfe, 0x00, 0x80},
		"Quotes":  []byte("{\"a\" : 'x',\r\n\t\"b\":\"\u2028\\u0000\"}  "),
		"Large":   make([]byte, 300<<10),
	}
	for i := range payloads["Large"] {
		payloads["Large"][i] = byte(i * 31)
	}
	sub := f.Subscribe()
	for name, payload := range payloads {
		e := f.NewEvent(func(e *posthorn.Event) { e.Payload = payload })
		f.PublishEvent(e, sub)
		got, err := f.Store.GetEvent(f.Context(), f.Tenant, e.ID)
		f.must(err)
		if string(got.Payload) != string(payload) {
			f.T.Fatalf("%s: the payload changed", name)
		}
	}
	for _, c := range f.Claim() {
		got, err := f.Store.GetEvent(f.Context(), f.Tenant, c.Event.ID)
		f.must(err)
		equal(f, "claimed payload", string(c.Event.Payload), string(got.Payload))
	}
}

func acceptUnmatched(f *Fixture) {
	e := f.NewEvent()
	equal(f, "deliveries", f.Accept(f.Acceptance(e))[0].Deliveries, 0)
	deliveries, err := f.Store.EventDeliveries(f.Context(), f.Tenant, e.ID)
	f.must(err)
	equal(f, "deliveries", len(deliveries), 0)
}

func acceptBornClaimed(f *Fixture) {
	sub := f.Subscribe()
	e := f.NewEvent()
	accepted := f.Offer(e, sub)
	equal(f, "claimed", len(accepted.Claimed), 1)
	c := accepted.Claimed[0]
	equal(f, "number", c.Number, 1)
	equal(f, "version", c.Version, f.Subscription(sub).Version)
	equal(f, "event", c.Event.ID, e.ID)
	equal(f, "payload", string(c.Event.Payload), string(e.Payload))
	equal(f, "event's deliveries", c.Event.Deliveries, 1)
	f.wantIn("event's created_at", c.Event.CreatedAt, 0)
	equal(f, "delivery", c.Delivery.ID, c.DeliveryID)
	equal(f, "delivery's claim", c.Delivery.Claim, c.Attempt)
	equal(f, "delivery's attempts", c.Delivery.Attempts, 1)

	d := f.wantState(c.DeliveryID, posthorn.Pending, posthorn.ReasonNone)
	equal(f, "attempts", d.Attempts, 1)
	equal(f, "claim", d.Claim, c.Attempt)
	equal(f, "claimed by", d.ClaimedBy, f.Node)
	f.wantIn("claimed_until", d.ClaimedUntil, posthorn.Lease)
	f.wantIn("due_at", d.DueAt, 0)
	f.ClaimNone()

	f.Record(f.Success(c))
	f.wantState(c.DeliveryID, posthorn.Delivered, posthorn.ReasonNone)
}

func acceptBornClaimedShare(f *Fixture) {
	accepted := f.Offer(f.NewEvent(), f.Subscribe(), f.Subscribe(), f.Subscribe())
	equal(f, "claimed", len(accepted.Claimed), 3)
	for _, c := range accepted.Claimed {
		if c.Event != accepted.Claimed[0].Event {
			f.T.Fatal("the claims of one event do not share it")
		}
	}
}

func acceptBornClaimedWhereAsked(f *Fixture) {
	a := f.Acceptance(f.NewEvent(), f.Subscribe(), f.Subscribe(), f.Subscribe())
	a.Matches[1].Attempt = posthorn.AttemptID{UUID: f.ID()}
	accepted := f.Accept(a)[0]
	f.wantIDs("born claimed", accepted.Claimed, a.Matches[1].DeliveryID)
	equal(f, "token", accepted.Claimed[0].Attempt, a.Matches[1].Attempt)
	wantSet(f, "left to claim", claimedIDs(f.Claim()), a.Matches[0].DeliveryID, a.Matches[2].DeliveryID)
}

func acceptBornClaimedTellsFailing(f *Fixture) {
	failing, sound := f.Subscribe(), f.Subscribe()
	want := func(what string, fails bool) {
		for _, c := range f.Offer(f.NewEvent(), sound, failing).Claimed {
			equal(f, what, c.Failing, fails && c.Delivery.SubscriptionID == failing)
		}
	}
	want("failing at first", false)
	f.Change(failing, posthorn.LaneChange{Failed: true})
	want("failing", true)
	f.Change(failing, posthorn.LaneChange{Recovered: true})
	want("failing once recovered", false)
}

func acceptBornClaimedRefused(f *Fixture) {
	throttled := f.Subscribe()
	f.Change(throttled, posthorn.LaneChange{Throttle: time.Hour})
	open := f.Subscribe()
	f.Change(open, posthorn.LaneChange{OpenFor: time.Hour})
	halfOpen := f.Subscribe()
	f.Change(halfOpen, posthorn.LaneChange{OpenFor: time.Minute})
	f.Elapse(2 * time.Minute)
	lanes := map[string]posthorn.SubscriptionID{
		"Paused":    f.Subscribe(WithStatus(posthorn.StatusPaused)),
		"Disabled":  f.Subscribe(WithStatus(posthorn.StatusDisabled)),
		"FIFO":      f.Subscribe(Ordered),
		"Throttled": throttled,
		"Open":      open,
		"HalfOpen":  halfOpen,
	}
	for name, sub := range lanes {
		e := f.NewEvent()
		accepted := f.Offer(e, sub)
		if len(accepted.Claimed) != 0 {
			f.T.Fatalf("%s: born claimed", name)
		}
		deliveries, err := f.Store.EventDeliveries(f.Context(), f.Tenant, e.ID)
		f.must(err)
		equal(f, name+": deliveries", len(deliveries), 1)
		d := deliveries[0]
		if d.State != posthorn.Pending || d.Attempts != 0 || !d.Claim.IsZero() || !d.ClaimedUntil.IsZero() {
			f.T.Fatalf("%s: %+v, want it pending and unclaimed", name, d)
		}
	}
}

func acceptBornCancelled(f *Fixture) {
	sub := f.Subscribe()
	a := f.Acceptance(f.NewEvent(), sub)
	a.Matches[0].Reason = posthorn.ReasonFilterError
	a.Matches[0].Attempt = posthorn.AttemptID{UUID: f.ID()}
	accepted := f.Accept(a)[0]
	equal(f, "deliveries", accepted.Deliveries, 1)
	equal(f, "claimed", len(accepted.Claimed), 0)
	f.wantState(a.Matches[0].DeliveryID, posthorn.Cancelled, posthorn.ReasonFilterError)
	f.ClaimNone()
}

func acceptDeliverAt(f *Fixture) {
	sub := f.Subscribe()
	e := f.NewEvent(func(e *posthorn.Event) { e.DeliverAt = f.Store.Now().Add(10 * time.Minute) })
	accepted := f.Offer(e, sub)
	equal(f, "claimed", len(accepted.Claimed), 0)
	f.ClaimNone()
	deliveries, err := f.Store.EventDeliveries(f.Context(), f.Tenant, e.ID)
	f.must(err)
	f.wantIn("due_at", deliveries[0].DueAt, 10*time.Minute)
	f.Elapse(9 * time.Minute)
	f.ClaimNone()
	f.Elapse(2 * time.Minute)
	f.ClaimOne(deliveries[0].ID)
}

func acceptStale(f *Fixture) {
	sub := f.Subscribe()
	old := f.Version()
	f.SetStatus(sub, posthorn.StatusPaused)
	f.SetStatus(sub, posthorn.StatusActive)
	stale, fresh, any := f.Acceptance(f.NewEvent(), sub), f.Acceptance(f.NewEvent(), sub), f.Acceptance(f.NewEvent(), sub)
	stale.Version, fresh.Version = old, f.Version()
	answers, err := f.Store.AcceptEvents(f.Context(), f.Node, []posthorn.Acceptance{stale, fresh, any})
	f.must(err)
	f.wantKind(answers[0].Err, posthorn.Stale, "old version")
	f.must(answers[1].Err)
	f.must(answers[2].Err)
	_, err = f.Store.GetEvent(f.Context(), f.Tenant, stale.Event.ID)
	f.wantKind(err, posthorn.NotFound, "get the refused event")
	wantSet(f, "claimed", claimedIDs(f.Claim()), fresh.Matches[0].DeliveryID, any.Matches[0].DeliveryID)

	stale.Version = f.Version()
	f.Accept(stale)
}

func acceptDeletedLeftOut(f *Fixture) {
	gone, kept := f.Subscribe(), f.Subscribe()
	f.must(f.Store.DeleteSubscription(f.Context(), f.Tenant, gone))
	a := f.Acceptance(f.NewEvent(), gone, kept)
	equal(f, "deliveries", f.Accept(a)[0].Deliveries, 1)
	f.ClaimOne(a.Matches[1].DeliveryID)
	_, err := f.Store.GetDelivery(f.Context(), f.Tenant, a.Matches[0].DeliveryID)
	f.wantKind(err, posthorn.NotFound, "get the delivery left out")
}

func acceptForeignLeftOut(f *Fixture) {
	foreign := f.As(f.NewTenant("other")).Subscribe()
	equal(f, "deliveries", f.Accept(f.Acceptance(f.NewEvent(), foreign))[0].Deliveries, 0)
	f.ClaimNone()
}

func acceptLargeBatch(f *Fixture) {
	subs := []posthorn.SubscriptionID{f.Subscribe(), f.Subscribe(), f.Subscribe()}
	var batch []posthorn.Acceptance
	var want []posthorn.DeliveryID
	for i := range 333 {
		a := f.Acceptance(f.NewEvent(), subs[:i%4]...)
		for j := range a.Matches {
			want = append(want, a.Matches[j].DeliveryID)
			if i%2 == 0 {
				a.Matches[j].Attempt = posthorn.AttemptID{UUID: f.ID()}
			}
		}
		batch = append(batch, a)
	}
	var got []posthorn.DeliveryID
	for i, answer := range f.Accept(batch...) {
		equal(f, "event id", answer.EventID, batch[i].Event.ID)
		equal(f, "deliveries", answer.Deliveries, i%4)
		got = append(got, claimedIDs(answer.Claimed)...)
	}
	got = append(got, claimedIDs(f.Claim())...)
	wantSet(f, "all deliveries", got, want...)
}
