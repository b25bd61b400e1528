package storetest

import (
	"context"
	"flag"
	"math"
	"slices"
	"strconv"
	"time"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn"
)

func modelTests() group {
	return group{"Model", []test{
		{"RandomActs", modelRandomActs},
	}}
}

// modelRandomActs lets a producer, a worker, an operator and time do what they like, and holds the store against a model of a
// few lines after each act: no delivery may be lost, stuck, in two states, or out of the order of its lane.
func modelRandomActs(f *Fixture) {
	if n, asked := f.harness.Checks, flag.Lookup("rapid.checks"); n > 0 && asked.Value.String() == asked.DefValue {
		f.must(flag.Set("rapid.checks", strconv.Itoa(n)))
	}
	f.must(flag.Set("rapid.nofailfile", "true"))
	// Without the test's deadline, which nobody may ask for inside a bubble.
	rapid.Check(struct{ rapid.TB }{f.T}, func(t *rapid.T) {
		m := newModel(f, t)
		t.Repeat(map[string]func(*rapid.T){
			"":         m.check,
			"Publish":  m.publish,
			"Publish2": m.publish,
			"Claim":    m.claim,
			"Claim2":   m.claim,
			"Succeed":  func(t *rapid.T) { m.record(t, posthorn.Succeeded) },
			"Fail":     func(t *rapid.T) { m.record(t, posthorn.HTTPError) },
			"Stop":     func(t *rapid.T) { m.record(t, posthorn.Interrupted) },
			"Renew":    m.renew,
			"Release":  m.release,
			"Retry":    m.retry,
			"Cancel":   m.cancel,
			"Hold":     m.hold,
			"Change":   m.change,
			"Wait":     m.wait,
			"SetBack":  m.setBack,
			"Crash":    m.crash,
		})
		m.finish(t)
	})
}

// model is what a store should hold, on a clock that only the acts move.
type model struct {
	f   *Fixture
	ctx context.Context
	now time.Duration
	// back is how far the clock was set back so far.
	back   time.Duration
	lanes  []*modelLane
	all    []*modelDelivery
	claims []posthorn.Claimed // every claim ever given, to be recorded when its time is long over too
}

type modelLane struct {
	id             posthorn.SubscriptionID
	fifo, skips    bool
	held, failing  bool
	throttledUntil time.Duration
	sequence       int
}

type modelDelivery struct {
	id   posthorn.DeliveryID
	lane *modelLane
	key  string
	// sequence is negative when it has left the order.
	sequence                       int
	state                          posthorn.State
	attempts, spent, interruptions int
	manual                         posthorn.ManualRetry
	due                            time.Duration
	// claim is zero when unclaimed. visible is when it may be given: the end of the lease, or when it is due.
	claim            posthorn.AttemptID
	visible, updated time.Duration
}

const (
	modelBudget = 4
	// modelDelay is the wait after a failure: no whole number of the times that pass, so that nothing is due just now.
	modelDelay    = 5 * time.Minute
	modelThrottle = 8 * time.Minute
)

// newModel empties the store of what an earlier run left pending, and makes three lanes.
func newModel(f *Fixture, t *rapid.T) *model {
	m := &model{f: f, ctx: f.Context()}
	// In a bubble, too, time has to pass for rapid to come to an end with a story that fails.
	f.Elapse(100 * time.Millisecond)
	for more := true; more; {
		report, err := f.Store.ChangeDeliveries(m.ctx, f.Tenant, posthorn.BulkChange{
			Filter: posthorn.DeliveryFilter{States: []posthorn.State{posthorn.Pending}}, On: posthorn.OnCancel, Limit: 1000,
		})
		m.must(t, err)
		more = report.Changed > 0
	}
	for i := range 3 {
		l := &modelLane{fifo: i > 0, skips: i == 2, throttledUntil: math.MinInt64}
		s := f.NewSubscription(func(s *posthorn.Subscription) {
			s.Retry = posthorn.RetryPolicy{Schedule: make([]float64, modelBudget-1)}
			for n := range s.Retry.Schedule {
				s.Retry.Schedule[n] = modelDelay.Seconds()
			}
			if l.fifo {
				s.Ordering = posthorn.OrderingFIFO
			}
			if l.skips {
				s.OnFailure = posthorn.FailureSkips
			}
		})
		m.must(t, f.Store.CreateSubscription(m.ctx, s))
		l.id = s.ID
		m.lanes = append(m.lanes, l)
	}
	return m
}

func (m *model) must(t *rapid.T, err error) {
	if err != nil {
		t.Fatalf("store: %v", err)
	}
}

// publish accepts an event for some lanes; in one that is not FIFO the delivery may be born claimed.
func (m *model) publish(t *rapid.T) {
	if len(m.all) > 24 {
		t.Skip("enough")
	}
	key := rapid.SampledFrom([]string{"", "k"}).Draw(t, "key")
	born := rapid.Bool().Draw(t, "born claimed")
	var lanes []*modelLane
	for _, l := range m.lanes {
		if rapid.Bool().Draw(t, "matches") {
			lanes = append(lanes, l)
		}
	}
	m.publishTo(t, key, born, lanes)
}

func (m *model) publishTo(t *rapid.T, key string, born bool, lanes []*modelLane) {
	a := posthorn.Acceptance{Event: m.f.NewEvent(Keyed(key)), Version: posthorn.AnyVersion}
	matched := rapid.Bool().Draw(t, "matched")
	if matched {
		a.Version = m.f.Version()
	}
	for _, l := range lanes {
		d := &modelDelivery{
			id: posthorn.DeliveryID{UUID: m.f.ID()}, lane: l, key: key, state: posthorn.Pending,
			due: m.now, visible: m.now, updated: m.now,
		}
		if l.fifo {
			l.sequence++
			d.sequence = l.sequence
		}
		match := posthorn.Match{SubscriptionID: l.id, DeliveryID: d.id, Unordered: matched && !l.fifo}
		if born {
			match.Attempt = posthorn.AttemptID{UUID: m.f.ID()}
		}
		a.Matches = append(a.Matches, match)
		m.all = append(m.all, d)
	}
	answers, err := m.f.Store.AcceptEvents(m.ctx, m.f.Node, []posthorn.Acceptance{a})
	m.must(t, err)
	m.must(t, answers[0].Err)
	if answers[0].Deliveries != len(lanes) {
		t.Fatalf("%d deliveries of an event with %d matches", answers[0].Deliveries, len(lanes))
	}
	for _, c := range answers[0].Claimed {
		d := m.find(c.DeliveryID)
		if d.lane.fifo || d.lane.held || d.lane.throttledUntil > m.now+slack || !born {
			t.Fatalf("born claimed in a lane that may not")
		}
		m.given(t, d, c)
	}
}

func (m *model) find(id posthorn.DeliveryID) *modelDelivery {
	for _, d := range m.all {
		if d.id == id {
			return d
		}
	}
	return nil
}

func (m *model) given(t *rapid.T, d *modelDelivery, c posthorn.Claimed) {
	d.attempts++
	d.claim, d.visible = c.Attempt, m.now+posthorn.Lease
	if c.Number != d.attempts {
		t.Fatalf("%s was claimed as attempt %d, want %d", d.id, c.Number, d.attempts)
	}
	m.claims = append(m.claims, c)
}

// claimable says whether a delivery may be given at a moment of the model's.
func (m *model) claimable(d *modelDelivery, at time.Duration) bool {
	if d.state != posthorn.Pending || d.lane.held || d.visible > at || d.manual == posthorn.NotManual && d.lane.throttledUntil > at {
		return false
	}
	return d.sequence <= 0 || !slices.ContainsFunc(m.all, func(o *modelDelivery) bool {
		underWay := !o.claim.IsZero() && o.visible > at
		return o.lane == d.lane && o.key == d.key && o.state == posthorn.Pending && o.sequence > 0 && (o.sequence < d.sequence || underWay)
	})
}

func (m *model) claim(t *rapid.T) {
	m.take(t, rapid.SampledFrom([]int{1, 3, 1000, 1000}).Draw(t, "limit"))
}

// take claims what is due, all or a few, and wants it to be what may be taken.
func (m *model) take(t *rapid.T, limit int) []posthorn.Claimed {
	var may, must []*modelDelivery
	for _, d := range m.all {
		if m.claimable(d, m.now+slack) {
			may = append(may, d)
		}
		if m.claimable(d, m.now-slack) && m.interruptsTo(d) == posthorn.Pending {
			must = append(must, d)
		}
	}
	batch, err := m.f.Store.ClaimDeliveries(m.ctx, posthorn.ClaimRequest{Node: m.f.Node, Limit: limit, PerLane: limit, MaxBytes: 1 << 20})
	m.must(t, err)
	got := map[posthorn.DeliveryID]posthorn.Claimed{}
	for _, c := range batch.Claims {
		if _, twice := got[c.DeliveryID]; twice {
			t.Fatalf("%s was given twice", c.DeliveryID)
		}
		got[c.DeliveryID] = c
	}
	if len(got) > limit {
		t.Fatalf("%d claims, asked for %d", len(got), limit)
	}
	if limit == 1000 {
		for _, d := range must {
			if _, ok := got[d.id]; !ok {
				t.Fatalf("%s was due at %s and not given: it is stuck\n%+v", d.id, m.now, *d)
			}
		}
	} else if len(must) > 0 && len(got) == 0 && !m.lapsedAmong(may) {
		t.Fatalf("%d deliveries were due, and none was given", len(must))
	}
	m.takeLost(t, may, got)
	for _, d := range may {
		if c, ok := got[d.id]; ok {
			m.given(t, d, c)
			delete(got, d.id)
		}
	}
	for id := range got {
		t.Fatalf("%s was given at %s and may not be: lane %+v\n%+v", id, m.now, *m.find(id).lane, *m.find(id))
	}
	return batch.Claims
}

// lapsedAmong says whether some had a lease that ran out: these may end where they would have been given.
func (m *model) lapsedAmong(list []*modelDelivery) bool {
	return slices.ContainsFunc(list, func(d *modelDelivery) bool { return !d.claim.IsZero() })
}

// takeLost notes the claims that were found to have run out: those given anew, and those that turned out to wait or to end.
func (m *model) takeLost(t *rapid.T, may []*modelDelivery, got map[posthorn.DeliveryID]posthorn.Claimed) {
	for _, d := range may {
		if d.claim.IsZero() {
			continue
		}
		if _, again := got[d.id]; !again {
			is, err := m.f.Store.GetDelivery(m.ctx, m.f.Tenant, d.id)
			m.must(t, err)
			if is.Claim == d.claim {
				continue
			}
		}
		m.lose(d)
		m.afterInterruption(d)
	}
}

// lose writes an interrupted attempt.
func (m *model) lose(d *modelDelivery) {
	d.claim, d.updated = posthorn.AttemptID{}, m.now
	d.interruptions++
}

// interruptsTo is the state that a delivery would be in after losing the claim it has; none when it would wait.
func (m *model) interruptsTo(d *modelDelivery) posthorn.State {
	copied := *d
	if !copied.claim.IsZero() {
		m.lose(&copied)
		m.afterInterruption(&copied)
		if copied.manual != d.manual || copied.state == posthorn.Pending && copied.manual == posthorn.NotManual && copied.due > m.now-slack {
			return ""
		}
	}
	return copied.state
}

// afterInterruption makes one beyond the free ones cost what it costs.
func (m *model) afterInterruption(d *modelDelivery) {
	d.visible = d.due
	if d.interruptions <= posthorn.FreeInterruptions {
		return
	}
	switch d.manual {
	case posthorn.ManualAfterEnd:
		d.state, d.manual = posthorn.Exhausted, posthorn.NotManual
	case posthorn.ManualWhilePending:
		d.manual = posthorn.NotManual
	default:
		if d.spent++; d.spent >= modelBudget {
			d.state = posthorn.Exhausted
		}
	}
}
