package storetest

import (
	"sync"
	"time"

	"github.com/posthorn/posthorn"
)

func fifoTests() group {
	return group{"FIFO", []test{
		{"OneAfterTheOther", fifoOrder},
		{"NumbersInTheOrderOfTheBatch", fifoNumbers},
		{"PerKey", fifoPerKey},
		{"NoneWhileOneWaits", fifoBlocked},
		{"EndedMakesWay", fifoMakesWay},
		{"RetriedComesFirst", fifoRetried},
		{"RetriedWaitsForWhatIsUnderWay", fifoRetriedMeanwhile},
		{"ManyRetriedWaitForWhatIsUnderWay", fifoManyRetriedMeanwhile},
		{"LostLeaseKeepsItsPlace", fifoLost},
		{"NeverTwoOfAKey", fifoNeverTwo},
		{"BecomesFIFO", fifoBecomes},
		{"BecomesFIFOWithTooMany", fifoBecomesWithTooMany},
		{"RetriedOfBeforeTheOrder", fifoRetriedOfBefore},
		{"LimitAndRooms", fifoRooms},
		{"BesideOthers", fifoBeside},
		{"Replayed", fifoReplayed},
		{"FailedYields", fifoYields},
		{"FailedYieldsThrottled", fifoYieldsThrottled},
		{"FailedYieldsLater", fifoYieldsLater},
		{"FailedYieldsMany", fifoYieldsMany},
	}}
}

// drain delivers whatever may be claimed until nothing is left, and gives the order.
func (f *Fixture) drain() []posthorn.DeliveryID {
	f.T.Helper()
	var order []posthorn.DeliveryID
	for range 1000 {
		claims := f.Claim()
		if len(claims) == 0 {
			return order
		}
		for _, c := range claims {
			order = append(order, c.DeliveryID)
			f.Record(f.Success(c))
		}
	}
	f.T.Fatal("the queue does not end")
	return nil
}

func fifoOrder(f *Fixture) {
	sub := f.Subscribe(Ordered)
	want := make(idList, 5)
	for i := range want {
		want[i] = f.PublishOne(sub)
	}
	for i := range want {
		c := f.ClaimOne(want[i])
		equal(f, "sequence", c.Delivery.Sequence, int64(i+1))
		f.ClaimNone()
		f.Record(f.Success(c))
	}
}

func fifoNumbers(f *Fixture) {
	sub := f.Subscribe(Ordered)
	var batch []posthorn.Acceptance
	var want idList
	for range 100 {
		// The ids fall while the batch goes on: the order of the batch decides.
		a := f.Acceptance(f.NewEvent(), sub)
		batch = append([]posthorn.Acceptance{a}, batch...)
		want = append(idList{a.Matches[0].DeliveryID}, want...)
	}
	f.Accept(batch[:60]...)
	f.Accept(batch[60:]...)
	if got := idList(f.drain()); got.String() != want.String() {
		f.T.Fatalf("order is %s, want %s", got, want)
	}
}

func fifoPerKey(f *Fixture) {
	sub := f.Subscribe(Ordered)
	publish := func(key string) posthorn.DeliveryID {
		_, ids := f.PublishEvent(f.NewEvent(Keyed(key)), sub)
		return ids[0]
	}
	a1, a2, b1, none1, b2, none2 := publish("a"), publish("a"), publish("b"), publish(""), publish("b"), publish("")
	first := f.Claim()
	wantSet(f, "first of each key", claimedIDs(first), a1, b1, none1)
	f.ClaimNone()
	for _, c := range first {
		if c.DeliveryID == b1 {
			f.Record(f.Success(c))
		}
	}
	f.ClaimOne(b2)
	for _, c := range first {
		if c.DeliveryID != b1 {
			f.Record(f.Success(c))
		}
	}
	wantSet(f, "second of each key", claimedIDs(f.Claim()), a2, none2)
}

func fifoBlocked(f *Fixture) {
	sub := f.Subscribe(Ordered)
	first, second := f.PublishOne(sub), f.PublishOne(sub)
	f.Record(f.Failure(f.ClaimOne(first), 10*time.Minute))
	f.Elapse(9 * time.Minute)
	f.ClaimNone()
	f.Elapse(2 * time.Minute)
	f.Record(f.Success(f.ClaimOne(first)))
	f.ClaimOne(second)
}

func fifoMakesWay(f *Fixture) {
	sub := f.Subscribe(Ordered)
	exhausted, cancelled, last := f.PublishOne(sub), f.PublishOne(sub), f.PublishOne(sub)
	f.Record(f.Exhaustion(f.ClaimOne(exhausted)))
	_, err := f.Store.CancelDelivery(f.Context(), f.Tenant, cancelled)
	f.must(err)
	f.ClaimOne(last)
}

func fifoRetried(f *Fixture) {
	sub := f.Subscribe(Ordered)
	first, second := f.PublishOne(sub), f.PublishOne(sub)
	f.Record(f.Exhaustion(f.ClaimOne(first)))
	// The second is not sent while the first, taken up again, is pending.
	f.retry(first)
	f.Record(f.Success(f.ClaimOne(first)))
	// A manual retry does not jump the queue either.
	third := f.PublishOne(sub)
	f.retry(third)
	f.Record(f.Success(f.ClaimOne(second)))
	f.ClaimOne(third)
}

// fifoRetriedMeanwhile has a person take up what had ended while one behind it is under way: it comes after that one, and
// before all others.
func fifoRetriedMeanwhile(f *Fixture) {
	sub := f.Subscribe(Ordered)
	first, second, third := f.PublishOne(sub), f.PublishOne(sub), f.PublishOne(sub)
	f.Record(f.Exhaustion(f.ClaimOne(first)))
	underWay := f.ClaimOne(second)
	f.retry(first)
	other := f.PublishOne(f.Subscribe())
	f.wantIDs("claimed", f.ClaimBatch(func(r *posthorn.ClaimRequest) { r.Limit = 1 }).Claims, other)
	f.ClaimNone()
	f.Record(f.Success(underWay))
	f.Record(f.Success(f.ClaimOne(first)))
	f.ClaimOne(third)
}

// fifoManyRetriedMeanwhile has so many taken up again that what is under way is far behind the first.
func fifoManyRetriedMeanwhile(f *Fixture) {
	const many = 150
	sub := f.Subscribe(Ordered)
	batch := make([]posthorn.Acceptance, many)
	for i := range batch {
		batch[i] = f.Acceptance(f.NewEvent(), sub)
	}
	f.Accept(batch...)
	_, cancelled, _ := f.bulk(posthorn.BulkChange{On: posthorn.OnCancel, Limit: many})
	equal(f, "cancelled", cancelled, many)
	behind := f.PublishOne(sub)
	underWay := f.ClaimOne(behind)
	_, retried, _ := f.bulk(posthorn.BulkChange{
		Filter: posthorn.DeliveryFilter{States: []posthorn.State{posthorn.Cancelled}}, On: posthorn.OnRetry, Limit: many,
	})
	equal(f, "retried", retried, many)
	f.ClaimNone()
	f.Record(f.Success(underWay))
	f.ClaimOne(batch[0].Matches[0].DeliveryID)
	f.ClaimNone()
}

func fifoLost(f *Fixture) {
	sub := f.Subscribe(Ordered)
	first := f.PublishOne(sub)
	f.PublishOne(sub)
	f.ClaimOne(first)
	f.Elapse(afterLease)
	equal(f, "number", f.ClaimOne(first).Number, 2)
}

func fifoNeverTwo(f *Fixture) {
	sub := f.Subscribe(Ordered)
	const total = 60
	var batch []posthorn.Acceptance
	for i := range total {
		batch = append(batch, f.Acceptance(f.NewEvent(Keyed([]string{"a", "b", "c"}[i%3])), sub))
	}
	f.Accept(batch...)
	var mu sync.Mutex
	var wg sync.WaitGroup
	flying := map[string]int{}
	last := map[string]int64{}
	var done int
	var fault string
	for range 3 {
		req := f.request()
		req.Node = posthorn.NodeID{UUID: f.ID()}
		wg.Go(func() {
			for idle := 0; idle < 200; {
				got, err := f.Store.ClaimDeliveries(f.Context(), req)
				if err != nil {
					return
				}
				if len(got.Claims) == 0 {
					idle++
				}
				for _, c := range got.Claims {
					mu.Lock()
					key := c.Delivery.OrderingKey
					flying[key]++
					if flying[key] > 1 || c.Delivery.Sequence <= last[key] {
						fault = "two of a key at once, or out of order"
					}
					last[key] = c.Delivery.Sequence
					mu.Unlock()
					r := posthorn.Result{Claim: c.Claim, On: posthorn.OnSuccess, Attempt: f.Attempt(c, posthorn.Succeeded)}
					mu.Lock()
					flying[key]--
					mu.Unlock()
					if _, err := f.Store.RecordAttempts(f.Context(), posthorn.RecordBatch{
						Node: req.Node, Results: []posthorn.Result{r},
					}); err != nil {
						return
					}
					mu.Lock()
					done++
					if done == total {
						idle = 200
					}
					mu.Unlock()
				}
				mu.Lock()
				if done == total {
					idle = 200
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if fault != "" {
		f.T.Fatal(fault)
	}
	equal(f, "delivered", done+len(f.drain()), total)
}

func fifoBecomes(f *Fixture) {
	sub := f.Subscribe()
	want := make(idList, 4)
	for i := range want {
		want[i] = f.PublishOne(sub)
	}
	_, err := f.Store.UpdateSubscription(f.Context(), f.Tenant, sub, func(s *posthorn.Subscription) error {
		s.Ordering = posthorn.OrderingFIFO
		return nil
	})
	f.must(err)
	want = append(want, f.PublishOne(sub))
	for _, id := range want {
		c := f.ClaimOne(id)
		f.ClaimNone()
		f.Record(f.Success(c))
	}
}

func fifoBecomesWithTooMany(f *Fixture) {
	sub := f.Subscribe()
	for left := posthorn.MaxNumbered + 1; left > 0; left -= 500 {
		batch := make([]posthorn.Acceptance, min(left, 500))
		for i := range batch {
			batch[i] = f.Acceptance(f.NewEvent(), sub)
		}
		f.Accept(batch...)
	}
	become := func() error {
		_, err := f.Store.UpdateSubscription(f.Context(), f.Tenant, sub, func(s *posthorn.Subscription) error {
			s.Ordering = posthorn.OrderingFIFO
			return nil
		})
		return err
	}
	f.wantKind(become(), posthorn.Conflict, "with one too many pending")
	equal(f, "ordering", f.Subscription(sub).Ordering, posthorn.OrderingNone)
	f.Record(f.Success(f.Claim()[0]))
	f.must(become())
}

// fifoRetriedOfBefore retries what ended before its lane had an order: it is no part of it, and nothing of it waits.
func fifoRetriedOfBefore(f *Fixture) {
	sub := f.Subscribe()
	failed, cancelled := f.Exhaust(sub), f.PublishOne(sub)
	_, err := f.Store.CancelDelivery(f.Context(), f.Tenant, cancelled)
	f.must(err)
	_, err = f.Store.UpdateSubscription(f.Context(), f.Tenant, sub, func(s *posthorn.Subscription) error {
		s.Ordering = posthorn.OrderingFIFO
		return nil
	})
	f.must(err)
	f.Elapse(time.Hour)
	blocked := f.PublishOne(sub)
	f.ClaimOne(blocked)
	for _, id := range []posthorn.DeliveryID{failed, cancelled} {
		d, err := f.Store.RetryDelivery(f.Context(), f.Tenant, id)
		f.must(err)
		equal(f, "state", d.State, posthorn.Pending)
	}
	for _, c := range f.Claim() {
		f.Record(f.Success(c))
	}
	for _, id := range []posthorn.DeliveryID{failed, cancelled} {
		equal(f, "state of one retried", f.Delivery(id).State, posthorn.Delivered)
	}
}

func fifoRooms(f *Fixture) {
	sub := f.Subscribe(Ordered)
	for _, key := range []string{"a", "b", "c", "d", "a"} {
		f.PublishEvent(f.NewEvent(Keyed(key)), sub)
	}
	room := func(n int) func(*posthorn.ClaimRequest) {
		return func(r *posthorn.ClaimRequest) { r.Rooms = map[posthorn.SubscriptionID]int{sub: n} }
	}
	equal(f, "claims without room", len(f.ClaimBatch(room(0)).Claims), 0)
	equal(f, "claims with room for two", len(f.ClaimBatch(room(2)).Claims), 2)
	equal(f, "claims with limit one", len(f.ClaimBatch(func(r *posthorn.ClaimRequest) { r.Limit = 1 }).Claims), 1)
	equal(f, "claims of the rest", len(f.Claim()), 1)
}

// fifoBeside has blocked FIFO lanes that have waited the longest; they must not use up what is claimed for others.
func fifoBeside(f *Fixture) {
	for range 20 {
		sub := f.Subscribe(Ordered)
		f.PublishOne(sub)
		f.PublishOne(sub)
	}
	for _, c := range f.Claim() {
		f.Record(f.Failure(c, time.Hour))
	}
	f.Elapse(time.Minute)
	healthy := f.PublishOne(f.Subscribe())
	batch := f.ClaimBatch(func(r *posthorn.ClaimRequest) { r.Limit = 5 })
	f.wantIDs("claimed", batch.Claims, healthy)
}

func fifoReplayed(f *Fixture) {
	sub := f.Subscribe(Ordered)
	event, ids := f.Publish(sub)
	f.Record(f.Success(f.ClaimOne(ids[0])))
	waiting := f.PublishOne(sub)
	replayed := f.replay(event, sub)
	equal(f, "sequence", replayed[0].Sequence, int64(3))
	f.Record(f.Success(f.ClaimOne(waiting)))
	f.ClaimOne(replayed[0].ID)
}

// Skipping lets failed deliveries of an ordered subscription leave the order.
func Skipping(s *posthorn.Subscription) {
	s.Ordering, s.OnFailure = posthorn.OrderingFIFO, posthorn.FailureSkips
}

// Yielding is a failure that takes the delivery out of its lane's order.
func (f *Fixture) Yielding(c posthorn.Claimed, delay time.Duration) posthorn.Result {
	r := f.Failure(c, delay)
	r.Yield = true
	return r
}

func fifoYields(f *Fixture) {
	sub := f.Subscribe(Skipping)
	first, second, third := f.PublishOne(sub), f.PublishOne(sub), f.PublishOne(sub)
	f.Record(f.Yielding(f.ClaimOne(first), 10*time.Minute))
	equal(f, "sequence", f.Delivery(first).Sequence, int64(-1))
	// The next passes, and waits for what is under way as ever.
	c := f.ClaimOne(second)
	f.ClaimNone()
	f.Record(f.Yielding(c, 20*time.Minute))
	f.ClaimOne(third)
	f.Elapse(11 * time.Minute)
	// Its lease ran out meanwhile, so it stands in the order again; the retry is due beside it.
	again := f.Claim()
	wantSet(f, "retry beside the order", claimedIDs(again), first, third)
	for _, c := range again {
		f.Record(f.Success(c))
	}
	f.ClaimNone()
	f.Elapse(10 * time.Minute)
	f.Record(f.Exhaustion(f.ClaimOne(second)))
	fourth := f.PublishOne(sub)
	f.retry(second)
	wantSet(f, "a manual retry of what had left", claimedIDs(f.Claim()), second, fourth)
}

func fifoYieldsThrottled(f *Fixture) {
	sub := f.Subscribe(Skipping)
	first, second := f.PublishOne(sub), f.PublishOne(sub)
	c := f.ClaimOne(first)
	_, err := f.Store.RecordAttempts(f.Context(), posthorn.RecordBatch{
		Node: f.Node, Results: []posthorn.Result{f.Yielding(c, 0)},
		Lanes: []posthorn.LaneChange{{SubscriptionID: sub, TenantID: f.Tenant, Throttle: time.Hour}},
	})
	f.must(err)
	f.ClaimNone()
	// Only what a person retries passes.
	f.retry(first)
	f.Record(f.Success(f.ClaimOne(first)))
	f.ClaimNone()
	f.Elapse(2 * time.Hour)
	f.ClaimOne(second)
}

// fifoYieldsLater has a lane that waits for a failed delivery and is then told to skip it.
func fifoYieldsLater(f *Fixture) {
	sub := f.Subscribe(Ordered)
	first, second := f.PublishOne(sub), f.PublishOne(sub)
	f.Record(f.Failure(f.ClaimOne(first), 10*time.Minute))
	f.ClaimNone()
	set := func(mode posthorn.FailureMode) {
		_, err := f.Store.UpdateSubscription(f.Context(), f.Tenant, sub, func(s *posthorn.Subscription) error {
			s.OnFailure = mode
			return nil
		})
		f.must(err)
	}
	set(posthorn.FailureSkips)
	f.Record(f.Failure(f.ClaimOne(second), 20*time.Minute))
	// What has left the order stays out of it.
	set(posthorn.FailureBlocks)
	f.PublishOne(sub)
	f.Elapse(11 * time.Minute)
	f.ClaimOne(first)
}

// fifoYieldsMany has more retries due than there is room; neither they nor the order wait for all of the other.
func fifoYieldsMany(f *Fixture) {
	sub := f.Subscribe(Skipping)
	for range 20 {
		id := f.PublishOne(sub)
		f.Record(f.Yielding(f.ClaimOne(id), time.Minute))
	}
	fresh := f.PublishOne(sub)
	f.Elapse(2 * time.Minute)
	room := func(r *posthorn.ClaimRequest) { r.PerLane = 2 }
	batch := f.ClaimBatch(room)
	equal(f, "claims", len(batch.Claims), 2)
	if ids := claimedIDs(batch.Claims); ids[0] != fresh && ids[1] != fresh {
		f.T.Fatalf("claimed %s without the next of the order, %s", ids, fresh)
	}
	equal(f, "claims of the rest", len(f.Claim()), 19)
}

// manualAgain has a manual retry cut off by its node: it stays one, and is due at once.
func manualAgain(f *Fixture) {
	sub := f.Subscribe()
	ended, waiting := f.PublishOne(sub), f.PublishOne(sub)
	for _, c := range f.Claim() {
		if c.DeliveryID == ended {
			f.Record(f.Exhaustion(c))
		} else {
			f.Record(f.Failure(c, time.Hour))
		}
	}
	f.retry(ended)
	f.retry(waiting)
	for _, c := range f.Claim() {
		r := f.Failure(c, 0)
		r.Attempt.Outcome, r.Attempt.OurFault, r.KeepDue, r.Again, r.Spends = posthorn.Interrupted, true, true, true, false
		f.Record(r)
	}
	again := f.Claim()
	wantSet(f, "claimed again", claimedIDs(again), ended, waiting)
	for _, c := range again {
		kind, number := posthorn.ManualAfterEnd, 3
		if c.DeliveryID == waiting {
			kind = posthorn.ManualWhilePending
		}
		equal(f, "kind of retry", c.Delivery.Manual, kind)
		equal(f, "number", c.Number, number)
		equal(f, "interruptions", c.Delivery.Interruptions, 1)
	}
	f.wantIn("schedule", f.Delivery(waiting).DueAt, time.Hour)
}
