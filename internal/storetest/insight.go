package storetest

import (
	"slices"
	"time"

	"github.com/posthorn/posthorn"
)

func insightTests() group {
	return group{"Insight", []test{
		{"Health", insightHealth},
		{"EmptyQueue", insightEmptyQueue},
		{"Queue", insightQueue},
		{"QueueOfFIFO", insightQueueFIFO},
		{"QueueOfTenant", insightQueueTenant},
		{"QueueOfLimited", insightQueueLimited},
		{"QueueWithoutDeleted", insightQueueDeleted},
		{"LaneBacklogs", insightBacklogs},
		{"Backlog", insightBacklog},
		{"QueueHistory", insightHistory},
		{"QueueHistoryBySteps", insightHistorySteps},
		{"StatsAddUp", insightStats},
		{"StatsBySteps", insightStatsSteps},
		{"StatsLatency", insightStatsLatency},
		{"StatsOfTenant", insightStatsTenant},
	}}
}

func insightHealth(f *Fixture) {
	h, err := f.Store.Health(f.Context())
	f.must(err)
	if h.Migration == 0 || h.Migration != h.Expected {
		f.T.Fatalf("schema %d, want %d", h.Migration, h.Expected)
	}
	if h.Latency < 0 || h.PoolSize < 1 || h.PoolUsed > h.PoolSize {
		f.T.Fatalf("health is %+v", h)
	}
}

func (f *Fixture) queue(tenant posthorn.TenantID) posthorn.Queue {
	f.T.Helper()
	q, err := f.Store.Queue(f.Context(), tenant)
	f.must(err)
	return q
}

func insightEmptyQueue(f *Fixture) {
	f.Deliver(f.Subscribe())
	q := f.queue(f.Tenant)
	if q.Pending != 0 || q.Due != 0 || q.Held != 0 || q.OldestDue != 0 || q.Capped {
		f.T.Fatalf("queue is %+v, want it empty", q)
	}
}

func insightQueue(f *Fixture) {
	busy, paused, throttled, retrying := f.Subscribe(), f.Subscribe(), f.Subscribe(), f.Subscribe()
	f.PublishOne(paused)
	f.SetStatus(paused, posthorn.StatusPaused)
	f.PublishOne(throttled)
	f.Change(throttled, posthorn.LaneChange{Throttle: 10 * time.Hour})
	for _, delay := range []time.Duration{90 * time.Minute, 100 * time.Minute, 20 * time.Minute} {
		f.Record(f.Failure(f.ClaimOne(f.PublishOne(retrying)), delay))
	}
	f.Elapse(5 * time.Minute)
	f.PublishOne(busy)
	f.Elapse(10 * time.Minute)
	f.PublishOne(busy)
	f.PublishOne(busy)
	f.Offer(f.NewEvent(), busy)
	q := f.queue(f.Tenant)
	equal(f, "pending", q.Pending, 9)
	equal(f, "due", q.Due, 3)
	equal(f, "held", q.Held, 1)
	equal(f, "capped", q.Capped, false)
	f.wantAbout("oldest due", q.OldestDue, 10*time.Minute)
	if len(q.Retries) < 2 {
		f.T.Fatalf("retries of %d hours", len(q.Retries))
	}
	equal(f, "retries in the first hour", q.Retries[0], 1)
	equal(f, "retries in the second hour", q.Retries[1], 2)

	// What is claimed is pending, and not due.
	f.Claim()
	q = f.queue(f.Tenant)
	equal(f, "pending", q.Pending, 9)
	equal(f, "due", q.Due, 0)
	equal(f, "oldest due", q.OldestDue, 0)
	equal(f, "retries in the first hour", q.Retries[0], 1)
}

// insightQueueFIFO has deliveries waiting behind a first one: they are not due, or a dead receiver would look like a lag.
func insightQueueFIFO(f *Fixture) {
	sub := f.Subscribe(Ordered)
	for range 3 {
		f.PublishOne(sub)
	}
	f.Elapse(10 * time.Minute)
	q := f.queue(f.Tenant)
	equal(f, "pending", q.Pending, 3)
	equal(f, "due", q.Due, 1)
	f.wantAbout("oldest due", q.OldestDue, 10*time.Minute)
	f.Record(f.Failure(f.Claim()[0], time.Hour))
	q = f.queue(f.Tenant)
	equal(f, "pending", q.Pending, 3)
	equal(f, "due", q.Due, 0)
	equal(f, "oldest due", q.OldestDue, 0)
}

// insightQueueLimited has deliveries waiting behind a rate limit of their own: a lane is late, the service is not.
func insightQueueLimited(f *Fixture) {
	limit := func(s *posthorn.Subscription) {
		s.RateLimit = &posthorn.RateLimit{Limit: 1, Per: "minute"}
		s.Metadata = map[string]string{"zero": "a\x00"}
	}
	unlimited := func(s *posthorn.Subscription) { // not, for all that it says
		s.Metadata = map[string]string{"rate_limit": `"rate_limit":{"limit":1}`}
	}
	slow, ordered, plain, plainOrdered := f.Subscribe(limit), f.Subscribe(limit, Ordered), f.Subscribe(unlimited), f.Subscribe(unlimited, Ordered)
	f.PublishOne(slow)
	f.PublishOne(ordered)
	f.Elapse(8 * time.Minute)
	q := f.queue(f.Tenant)
	equal(f, "due", q.Due, 2)
	equal(f, "oldest due", q.OldestDue, 0)
	f.PublishOne(plainOrdered)
	f.Elapse(3 * time.Minute)
	f.wantAbout("oldest due of a lane in order", f.queue(f.Tenant).OldestDue, 3*time.Minute)
	f.PublishOne(plain)
	f.Elapse(2 * time.Minute)
	q = f.queue(f.Tenant)
	equal(f, "due", q.Due, 4)
	f.wantAbout("oldest due", q.OldestDue, 5*time.Minute)
	f.must(f.Store.SampleQueue(f.Context()))
	points := f.history(f.Tenant, time.Hour)
	f.wantAbout("oldest due in the history", points[len(points)-1].OldestDue, 5*time.Minute)
	f.SetStatus(plainOrdered, posthorn.StatusPaused)
	f.wantAbout("oldest due of the other lane", f.queue(f.Tenant).OldestDue, 2*time.Minute)

	lanes, err := f.Store.LaneBacklogs(f.Context(), f.Tenant, 10)
	f.must(err)
	for _, l := range lanes {
		if l.SubscriptionID == slow || l.SubscriptionID == ordered {
			f.wantAbout("oldest due of a limited lane", l.OldestDue, 13*time.Minute)
		}
	}
}

func insightQueueTenant(f *Fixture) {
	other := f.As(f.NewTenant("other"))
	f.PublishOne(f.Subscribe())
	sub := other.Subscribe()
	other.PublishOne(sub)
	other.PublishOne(sub)
	equal(f, "pending", f.queue(f.Tenant).Pending, 1)
	equal(f, "another tenant's pending", f.queue(other.Tenant).Pending, 2)
	all := f.queue(posthorn.TenantID{})
	equal(f, "pending of all", all.Pending, 3)
	equal(f, "due of all", all.Due, 3)
}

// insightQueueDeleted leaves a retry, what is due and what was held behind: the janitor will cancel them, and nobody waits for them.
func insightQueueDeleted(f *Fixture) {
	kept, deleted, held := f.Subscribe(), f.Subscribe(), f.Subscribe()
	f.Record(f.Failure(f.ClaimOne(f.PublishOne(deleted)), 90*time.Minute))
	f.PublishOne(kept)
	f.PublishOne(deleted)
	f.PublishOne(held)
	f.SetStatus(held, posthorn.StatusPaused)
	for _, id := range []posthorn.SubscriptionID{deleted, held} {
		f.must(f.Store.DeleteSubscription(f.Context(), f.Tenant, id))
	}
	for _, tenant := range []posthorn.TenantID{f.Tenant, {}} {
		q := f.queue(tenant)
		equal(f, "pending", q.Pending, 1)
		equal(f, "due", q.Due, 1)
		equal(f, "held", q.Held, 0)
		equal(f, "retries in the second hour", q.Retries[1], 0)
	}
	f.must(f.Store.SampleQueue(f.Context()))
	sampled := f.history(f.Tenant, time.Hour)[0]
	equal(f, "pending in the sample", sampled.Pending, 1)
	equal(f, "held in the sample", sampled.Held, 0)
}

func insightBacklogs(f *Fixture) {
	short := f.Subscribe(func(s *posthorn.Subscription) { s.RateLimit = &posthorn.RateLimit{Limit: 3, Per: "second"} })
	long := f.Subscribe()
	f.Deliver(f.Subscribe())
	retrying := f.PublishOne(long)
	f.Record(f.Failure(f.ClaimOne(retrying), time.Hour))
	for range 3 {
		f.PublishOne(long)
	}
	f.PublishOne(short)
	f.SetStatus(short, posthorn.StatusPaused)
	other := f.As(f.NewTenant("other"))
	other.PublishOne(other.Subscribe())
	f.Elapse(10 * time.Minute)

	list, err := f.Store.LaneBacklogs(f.Context(), f.Tenant, 10)
	f.must(err)
	equal(f, "lanes", len(list), 2)
	first, second := list[0], list[1]
	equal(f, "first lane", first.SubscriptionID, long)
	equal(f, "tenant", first.TenantID, f.Tenant)
	equal(f, "url", first.URL, "https://receiver.example/hook")
	equal(f, "status", first.Status, posthorn.StatusActive)
	equal(f, "backlog", first.Backlog, 4)
	equal(f, "in flight", first.InFlight, 0)
	equal(f, "capped", first.Capped, false)
	f.wantAbout("oldest due", first.OldestDue, 10*time.Minute)
	f.wantIn("next due", first.NextDue, 50*time.Minute)
	equal(f, "second lane", second.SubscriptionID, short)
	equal(f, "second's status", second.Status, posthorn.StatusPaused)
	equal(f, "second's backlog", second.Backlog, 1)
	equal(f, "second's limit", *second.RateLimit, posthorn.RateLimit{Limit: 3, Per: "second"})
	f.wantIn("second's hold", second.HeldSince, -10*time.Minute)

	list, err = f.Store.LaneBacklogs(f.Context(), f.Tenant, 1)
	f.must(err)
	equal(f, "lanes of one", len(list), 1)
	equal(f, "longest", list[0].SubscriptionID, long)
	f.ClaimBatch(func(r *posthorn.ClaimRequest) { r.Rooms = map[posthorn.SubscriptionID]int{long: 2} })
	list, err = f.Store.LaneBacklogs(f.Context(), posthorn.TenantID{}, 10)
	f.must(err)
	equal(f, "lanes of all tenants", len(list), 3)
	equal(f, "in flight", list[0].InFlight, 2)
	f.Offer(f.NewEvent(), long)
	list, err = f.Store.LaneBacklogs(f.Context(), f.Tenant, 1)
	f.must(err)
	equal(f, "in flight with the one born claimed", list[0].InFlight, 3)
	equal(f, "backlog beside", list[0].Backlog, 2)
	busy := f.Subscribe()
	f.Offer(f.NewEvent(), busy)
	list, err = f.Store.LaneBacklogs(f.Context(), f.Tenant, 10)
	f.must(err)
	at := slices.IndexFunc(list, func(l posthorn.LaneBacklog) bool { return l.SubscriptionID == busy })
	if at < 0 || list[at].Backlog != 0 || list[at].InFlight != 1 {
		f.T.Fatalf("lanes are %+v, want one with nothing but a delivery in flight", list)
	}
}

func insightBacklog(f *Fixture) {
	sub, other := f.Subscribe(), f.Subscribe()
	for range 3 {
		f.PublishOne(sub)
	}
	f.Deliver(other)
	want := func(id posthorn.SubscriptionID, want int) {
		f.T.Helper()
		n, capped, err := f.Store.Backlog(f.Context(), id)
		f.must(err)
		equal(f, "backlog", n, want)
		equal(f, "capped", capped, false)
	}
	want(sub, 3)
	want(other, 0)
	f.ClaimBatch(func(r *posthorn.ClaimRequest) { r.Limit = 1 })
	want(sub, 2)
	f.SetStatus(sub, posthorn.StatusPaused)
	want(sub, 2)
	f.Elapse(afterLease)
	want(sub, 3)
}

// stats sums the points of the tenant's stats.
func (f *Fixture) stats(filter posthorn.StatsFilter) posthorn.StatsPoint {
	f.T.Helper()
	var sum posthorn.StatsPoint
	for _, p := range f.points(filter) {
		sum.Accepted += p.Accepted
		sum.Attempts += p.Attempts
		sum.Succeeded += p.Succeeded
		sum.Failed += p.Failed
		sum.Retried += p.Retried
		sum.Exhausted += p.Exhausted
		for i := range p.Latency {
			sum.Latency[i] += p.Latency[i]
			sum.Duration[i] += p.Duration[i]
		}
	}
	return sum
}

func (f *Fixture) points(filter posthorn.StatsFilter) []posthorn.StatsPoint {
	f.T.Helper()
	if filter.Until.IsZero() {
		filter.Until = f.Store.Now().Add(time.Hour)
	}
	points, err := f.Store.Stats(f.Context(), f.Tenant, filter)
	f.must(err)
	for i := 1; i < len(points); i++ {
		if !points[i-1].At.Before(points[i].At) {
			f.T.Fatalf("point %d at %s comes after one at %s", i, points[i].At, points[i-1].At)
		}
	}
	return points
}

func sum(histogram [posthorn.LatencyBuckets]int64) (n int64) {
	for _, v := range histogram {
		n += v
	}
	return n
}

func insightStats(f *Fixture) {
	a, b := f.Subscribe(), f.Subscribe()
	f.Publish()
	f.Publish(a, b)
	f.Publish(a)
	for _, c := range f.Claim() {
		if c.Delivery.SubscriptionID == b {
			f.Record(f.Exhaustion(c))
		} else {
			f.Record(f.Success(c))
		}
	}
	// What another node counts is added.
	f.Node = posthorn.NodeID{UUID: f.ID()}
	retried := f.PublishOne(a)
	f.Record(f.Failure(f.ClaimOne(retried), time.Minute))
	f.Elapse(2 * time.Minute)
	f.Record(f.Success(f.ClaimOne(retried)))

	hour := posthorn.StatsFilter{Since: f.Store.Now().Add(-time.Hour), Step: time.Minute}
	all := f.stats(hour)
	equal(f, "accepted events", all.Accepted, int64(4))
	equal(f, "attempts", all.Attempts, int64(5))
	equal(f, "succeeded", all.Succeeded, int64(3))
	equal(f, "failed", all.Failed, int64(2))
	equal(f, "retried", all.Retried, int64(1))
	equal(f, "exhausted", all.Exhausted, int64(1))
	equal(f, "latencies", sum(all.Latency), all.Succeeded)
	equal(f, "durations", sum(all.Duration), all.Attempts)
	hour.SubscriptionID = a
	ofA := f.stats(hour)
	hour.SubscriptionID = b
	ofB := f.stats(hour)
	equal(f, "a's accepted", ofA.Accepted, int64(3))
	equal(f, "b's accepted", ofB.Accepted, int64(1))
	equal(f, "attempts by subscription", ofA.Attempts+ofB.Attempts, all.Attempts)
	equal(f, "succeeded by subscription", ofA.Succeeded+ofB.Succeeded, all.Succeeded)
	equal(f, "failed by subscription", ofA.Failed+ofB.Failed, all.Failed)
	equal(f, "b's exhausted", ofB.Exhausted, int64(1))
}

func insightStatsSteps(f *Fixture) {
	sub := f.Subscribe()
	f.Deliver(sub)
	f.Elapse(6 * time.Hour)
	f.Deliver(sub)
	f.Deliver(sub)
	now := f.Store.Now()
	points := f.points(posthorn.StatsFilter{Since: now.Add(-12 * time.Hour), Step: time.Hour})
	// Two deliveries may lie on both sides of a full hour.
	if len(points) != 2 && len(points) != 3 {
		f.T.Fatalf("%d points, want 2: steps without anything are left out", len(points))
	}
	equal(f, "first point", points[0].Attempts, int64(1))
	if d := now.Sub(points[0].At); d < 5*time.Hour || d > 7*time.Hour+time.Minute {
		f.T.Fatalf("the first point is %s old", d)
	}
	equal(f, "one step of all", f.stats(posthorn.StatsFilter{Since: now.Add(-24 * time.Hour), Step: 48 * time.Hour}).Attempts, int64(3))
	equal(f, "since", f.stats(posthorn.StatsFilter{Since: now.Add(-2 * time.Hour), Step: time.Minute}).Attempts, int64(2))
	equal(f, "until", f.stats(posthorn.StatsFilter{Since: now.Add(-12 * time.Hour), Until: now.Add(-2 * time.Hour), Step: time.Minute}).Attempts, int64(1))
	equal(f, "until before all", f.stats(posthorn.StatsFilter{Since: now.Add(-12 * time.Hour), Until: now.Add(-8 * time.Hour), Step: time.Minute}).Attempts, int64(0))
}

func insightStatsLatency(f *Fixture) {
	sub := f.Subscribe()
	f.PublishOne(sub)
	f.Elapse(time.Minute)
	r := f.Success(f.Claim()[0])
	r.Attempt.Timing.Total = 20 * time.Millisecond
	f.Record(r)
	got := f.stats(posthorn.StatsFilter{Since: f.Store.Now().Add(-time.Hour), Step: time.Hour})
	equal(f, "latency of a minute", got.Latency[posthorn.LatencyBucket(time.Minute)], int64(1))
	equal(f, "duration of 20 ms", got.Duration[posthorn.LatencyBucket(20*time.Millisecond)], int64(1))
}

func insightStatsTenant(f *Fixture) {
	sub := f.Subscribe()
	f.Deliver(sub)
	other := f.As(f.NewTenant("other"))
	other.Deliver(other.Subscribe())
	other.Deliver(other.Subscribe())
	filter := posthorn.StatsFilter{Since: f.Store.Now().Add(-time.Hour), Step: time.Hour}
	equal(f, "attempts", f.stats(filter).Attempts, int64(1))
	equal(f, "another tenant's attempts", other.stats(filter).Attempts, int64(2))
	filter.SubscriptionID = sub
	equal(f, "attempts for another's subscription", other.stats(filter).Attempts, int64(0))
}
