package storetest

import (
	"sync"
	"time"

	"github.com/posthorn/posthorn"
)

func claimTests() group {
	return group{"Claim", []test{
		{"GivesWhatIsNeededToSend", claimGives},
		{"OldestFirst", claimOldestFirst},
		{"FirstOfEachLaneFirst", claimInterleaves},
		{"LongLaneStarvesNobody", claimFair},
		{"Limit", claimLimit},
		{"PerLane", claimPerLane},
		{"Rooms", claimRooms},
		{"OnlyRooms", claimOnlyRooms},
		{"MaxBytes", claimMaxBytes},
		{"NeverShared", claimNeverShared},
		{"LanesLeftOut", claimLanesLeftOut},
		{"ExpiredLeftOut", claimExpiredLeftOut},
		{"Next", claimNext},
		{"Many", claimMany},
	}}
}

func claimGives(f *Fixture) {
	sub := f.Subscribe()
	e := f.NewEvent(func(e *posthorn.Event) { e.Headers = map[string]string{"X-A": "1"} })
	f.PublishEvent(e, sub)
	batch := f.ClaimBatch()
	equal(f, "claims", len(batch.Claims), 1)
	c := batch.Claims[0]
	equal(f, "number", c.Number, 1)
	equal(f, "version", c.Version, f.Subscription(sub).Version)
	equal(f, "event", c.Event.ID, e.ID)
	equal(f, "event type", c.Event.Type, e.Type)
	equal(f, "payload", string(c.Event.Payload), string(e.Payload))
	equal(f, "header", c.Event.Headers["X-A"], "1")
	equal(f, "content type", c.Event.ContentType, e.ContentType)
	equal(f, "delivery", c.Delivery.ID, c.DeliveryID)
	equal(f, "attempts", c.Delivery.Attempts, 1)
	equal(f, "claim", c.Delivery.Claim, c.Attempt)
	equal(f, "claimed by", c.Delivery.ClaimedBy, f.Node)
	f.wantIn("claimed_until", c.Delivery.ClaimedUntil, posthorn.Lease)
	equal(f, "lanes", len(batch.Lanes), 1)
	equal(f, "lane", batch.Lanes[0].SubscriptionID, sub)
	equal(f, "lane's tenant", batch.Lanes[0].TenantID, f.Tenant)

	d := f.Delivery(c.DeliveryID)
	equal(f, "stored claim", d.Claim, c.Attempt)
	equal(f, "stored attempts", d.Attempts, 1)
	equal(f, "stored node", d.ClaimedBy, f.Node)
	f.wantIn("stored claimed_until", d.ClaimedUntil, posthorn.Lease)
	f.wantIn("due_at", d.DueAt, 0)
}

func claimOldestFirst(f *Fixture) {
	sub := f.Subscribe()
	first := f.PublishOne(sub)
	f.Elapse(time.Minute)
	second := f.PublishOne(sub)
	f.Elapse(time.Minute)
	third := f.PublishOne(sub)
	f.wantIDs("claimed", f.Claim(), first, second, third)
}

func claimInterleaves(f *Fixture) {
	lanes := []posthorn.SubscriptionID{f.Subscribe(), f.Subscribe(), f.Subscribe()}
	for i, lane := range lanes {
		for range 3 - i {
			f.PublishOne(lane)
		}
	}
	claims := f.Claim()
	equal(f, "claims", len(claims), 6)
	taken := map[posthorn.SubscriptionID]int{}
	round := 0
	for _, c := range claims {
		nth := taken[c.Delivery.SubscriptionID]
		taken[c.Delivery.SubscriptionID]++
		if nth < round {
			f.T.Fatalf("claim %d of a lane comes after claim %d of another", nth+1, round+1)
		}
		round = nth
	}
}

func claimFair(f *Fixture) {
	long := f.Subscribe()
	var batch []posthorn.Acceptance
	for range 500 {
		batch = append(batch, f.Acceptance(f.NewEvent(), long))
	}
	f.Accept(batch...)
	f.Elapse(time.Minute)
	var others []posthorn.DeliveryID
	for range 20 {
		others = append(others, f.PublishOne(f.Subscribe()))
	}
	batchOf := f.ClaimBatch(func(r *posthorn.ClaimRequest) { r.Limit, r.PerLane = 30, 30 })
	claimed := map[posthorn.DeliveryID]bool{}
	for _, c := range batchOf.Claims {
		claimed[c.DeliveryID] = true
	}
	equal(f, "claims", len(batchOf.Claims), 30)
	for _, id := range others {
		if !claimed[id] {
			f.T.Fatal("a lane with one delivery got nothing beside a lane with 500")
		}
	}
}

func claimLimit(f *Fixture) {
	sub := f.Subscribe()
	for range 5 {
		f.PublishOne(sub)
	}
	batch := f.ClaimBatch(func(r *posthorn.ClaimRequest) { r.Limit = 2 })
	equal(f, "claims", len(batch.Claims), 2)
	equal(f, "next", batch.Next, 0)
	equal(f, "the rest", len(f.Claim()), 3)
}

func claimPerLane(f *Fixture) {
	first, second := f.Subscribe(), f.Subscribe()
	for range 5 {
		f.PublishOne(first)
	}
	f.PublishOne(second)
	batch := f.ClaimBatch(func(r *posthorn.ClaimRequest) { r.PerLane = 2 })
	equal(f, "claims", len(batch.Claims), 3)
}

func claimRooms(f *Fixture) {
	full, tight, wide := f.Subscribe(), f.Subscribe(), f.Subscribe()
	for range 4 {
		f.Publish(full, tight, wide)
	}
	batch := f.ClaimBatch(func(r *posthorn.ClaimRequest) {
		r.PerLane = 2
		r.Rooms = map[posthorn.SubscriptionID]int{full: 0, tight: 1, wide: 3}
	})
	got := map[posthorn.SubscriptionID]int{}
	for _, c := range batch.Claims {
		got[c.Delivery.SubscriptionID]++
	}
	equal(f, "claims of the full lane", got[full], 0)
	equal(f, "claims of the tight lane", got[tight], 1)
	equal(f, "claims of the wide lane", got[wide], 3)

	// A full lane is nothing to wait for: the node asks again when it has room.
	f.ClaimBatch(func(r *posthorn.ClaimRequest) { r.Rooms = map[posthorn.SubscriptionID]int{full: 0} })
	idle := f.ClaimBatch(func(r *posthorn.ClaimRequest) { r.Rooms = map[posthorn.SubscriptionID]int{full: 0} })
	equal(f, "claims", len(idle.Claims), 0)
	if idle.Next == 0 {
		f.T.Fatal("next is 0 although only a full lane has something due")
	}
}

// claimOnlyRooms asks for some lanes and no others.
func claimOnlyRooms(f *Fixture) {
	wanted, other := f.Subscribe(), f.Subscribe()
	_, ids := f.Publish(wanted, other)
	only := func(r *posthorn.ClaimRequest) {
		r.PerLane, r.Rooms = 0, map[posthorn.SubscriptionID]int{wanted: 5}
	}
	f.wantIDs("claimed", f.ClaimBatch(only).Claims, ids[0])
	batch := f.ClaimBatch(only)
	equal(f, "claims", len(batch.Claims), 0)
	if batch.Next == 0 {
		f.T.Fatal("next is 0 although only a lane that was not asked for has something due")
	}
	f.ClaimOne(ids[1])
}

func claimMaxBytes(f *Fixture) {
	sub := f.Subscribe()
	sized := func(n int) func(*posthorn.Event) {
		return func(e *posthorn.Event) { e.Payload = make([]byte, n) }
	}
	for range 4 {
		f.PublishEvent(f.NewEvent(sized(1000)), sub)
	}
	batch := f.ClaimBatch(func(r *posthorn.ClaimRequest) { r.MaxBytes = 2500 })
	equal(f, "claims within the bytes", len(batch.Claims), 2)
	equal(f, "next", batch.Next, 0)
	batch = f.ClaimBatch(func(r *posthorn.ClaimRequest) { r.MaxBytes = 10 })
	equal(f, "claims larger than the bytes", len(batch.Claims), 1)
}

func claimNeverShared(f *Fixture) {
	lanes := []posthorn.SubscriptionID{f.Subscribe(), f.Subscribe(), f.Subscribe()}
	var batch []posthorn.Acceptance
	for range 100 {
		batch = append(batch, f.Acceptance(f.NewEvent(), lanes...))
	}
	f.Accept(batch...)
	const claimers = 4
	var mu sync.Mutex
	var wg sync.WaitGroup
	taken := map[posthorn.DeliveryID]int{}
	var failed error
	for range claimers {
		node := posthorn.NodeID{UUID: f.ID()}
		wg.Go(func() {
			for {
				got, err := f.Store.ClaimDeliveries(f.Context(), posthorn.ClaimRequest{
					Node: node, Limit: 17, PerLane: 7, MaxBytes: 1 << 20,
				})
				mu.Lock()
				if err != nil {
					failed = err
				}
				for _, c := range got.Claims {
					taken[c.DeliveryID]++
				}
				mu.Unlock()
				if err != nil || len(got.Claims) == 0 && got.Next != 0 {
					return
				}
			}
		})
	}
	wg.Wait()
	f.must(failed)
	for id, times := range taken {
		if times != 1 {
			f.T.Fatalf("%s was claimed %d times", id, times)
		}
	}
	// A claimer may have been kept from rows another had locked; what is left is there for the next.
	equal(f, "claimed in all", len(taken)+len(f.Claim()), 300)
}

func claimLanesLeftOut(f *Fixture) {
	paused, disabled, deleted := f.Subscribe(), f.Subscribe(), f.Subscribe()
	throttled, open, healthy := f.Subscribe(), f.Subscribe(), f.Subscribe()
	_, ids := f.Publish(paused, disabled, deleted, throttled, open, healthy)
	f.SetStatus(paused, posthorn.StatusPaused)
	f.SetStatus(disabled, posthorn.StatusDisabled)
	f.must(f.Store.DeleteSubscription(f.Context(), f.Tenant, deleted))
	f.Change(throttled, posthorn.LaneChange{Throttle: time.Hour})
	f.Change(open, posthorn.LaneChange{OpenFor: time.Hour})
	f.ClaimOne(ids[5])
	f.Elapse(61 * time.Minute)
	// The healthy lane's lease ran out too.
	wantSet(f, "claimed an hour later", claimedIDs(f.Claim()), ids[3], ids[4], ids[5])
	f.SetStatus(paused, posthorn.StatusActive)
	f.SetStatus(disabled, posthorn.StatusActive)
	wantSet(f, "claimed after resuming", claimedIDs(f.Claim()), ids[0], ids[1])
}

func claimExpiredLeftOut(f *Fixture) {
	sub := f.Subscribe()
	_, ids := f.PublishEvent(f.NewEvent(func(e *posthorn.Event) { e.ExpiresAt = f.Store.Now().Add(10 * time.Minute) }), sub)
	f.SetStatus(sub, posthorn.StatusPaused)
	f.Elapse(11 * time.Minute)
	f.SetStatus(sub, posthorn.StatusActive)
	f.ClaimNone()
	f.wantState(ids[0], posthorn.Pending, posthorn.ReasonNone)
}

func claimNext(f *Fixture) {
	if next := f.ClaimBatch().Next; next >= 0 {
		f.T.Fatalf("next is %s with an empty queue, want it negative", next)
	}
	sub := f.Subscribe()
	f.PublishOne(sub)
	f.Record(f.Failure(f.Claim()[0], 10*time.Minute))
	// As far as the store knows cheaply: never later than the truth.
	if next := f.ClaimBatch().Next; next < 0 || next > 10*time.Minute+slack {
		f.T.Fatalf("next is %s, want at most the 10 minutes to the retry", next)
	}
}

func claimMany(f *Fixture) {
	subs := make([]posthorn.SubscriptionID, 120)
	for i := range subs {
		subs[i] = f.Subscribe()
	}
	var want []posthorn.DeliveryID
	for range 3 {
		_, ids := f.Publish(subs...)
		want = append(want, ids...)
	}
	var results []posthorn.Result
	var got []posthorn.DeliveryID
	for _, c := range f.Claim() {
		got = append(got, c.DeliveryID)
		results = append(results, f.Success(c))
	}
	wantSet(f, "claimed", got, want...)
	f.Record(results...)
	f.ClaimNone()
}
