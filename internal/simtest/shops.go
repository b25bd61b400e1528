package simtest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/hooktest"
	"github.com/posthorn/posthorn/internal/ledger"
)

// shop is a subscriber: a subscription, and a receiver whose mood changes.
type shop struct {
	number   int
	url      string
	receiver *hooktest.Receiver
	draft    posthorn.Subscription
	moods    []mood

	// What follows is guarded by the world's lock.
	id posthorn.SubscriptionID
	// created is when it was there for certain, leaving when its deletion began; zero is never.
	created, leaving time.Time
	// timeout is the subscription's; edited says that its policy was not always what it is at the end.
	timeout time.Duration
	edited  bool
	// hold is the one that goes on, if any.
	hold *ledger.Hold
	// stays says that it is left paused at the end.
	stays bool
}

// mood is how a receiver behaves until a moment.
type mood struct {
	until time.Duration
	name  string
}

// The moods. Each answer follows from the seed, the event and the attempt.
var moods = []string{
	"well", "well", "well", "well", "well", "flaky", "flaky", "slow", "failing", "throttling", "hanging", "dropping", "garbled",
	"cut", "refusing", "nameless", "undialled", "nodns",
}

var (
	kinds     = []string{"a.b", "a.c", "a.b.c", "d"}
	interests = [][]string{nil, nil, nil, {"a.*"}, {"a.b", "d"}, {"*"}}
	keys      = []string{"", "", "k1", "k2", "k3"}
)

func (w *world) drawShops() {
	for range 2 + w.draws.IntN(5) {
		w.drawShop(0)
	}
	for range w.draws.IntN(2) {
		w.drawShop(w.sometime())
	}
	if w.chance(0.3) {
		s := w.drawShop(0)
		s.draft.EventTypes = []string{"posthorn.*"}
	}
}

// drawShop makes up a subscriber who comes at a moment.
func (w *world) drawShop(at time.Duration) *shop {
	s := &shop{number: len(w.shops)}
	w.shops = append(w.shops, s)
	s.draft.Policy = posthorn.Policy{
		EventTypes: pick(w, interests), Retry: w.drawPolicy(), Timeout: pick(w, []time.Duration{1, 5, 15, 45, 60}) * time.Second,
		MaxInFlight: pick(w, []int{1, 2, 8, 64, 64}), RateLimit: w.drawLimit(),
	}
	if w.chance(0.4) {
		s.draft.Ordering = posthorn.OrderingFIFO
		if w.chance(0.25) {
			s.draft.OnFailure = posthorn.FailureSkips
		}
	}
	for end := time.Duration(0); end < w.end; {
		end += w.span(20*time.Second, 12*time.Minute)
		s.moods = append(s.moods, mood{min(end, w.end), pick(w, moods)})
	}
	w.plan(at, fmt.Sprintf("shop %d opens: %s %v, retries %v %v×%v up to %v, %d attempts, at most %d in flight", s.number, s.draft.Ordering,
		s.draft.EventTypes, s.draft.Retry.Schedule, s.draft.Retry.Initial, s.draft.Retry.Multiplier, s.draft.Retry.Maximum,
		s.draft.Retry.Attempts, s.draft.MaxInFlight), func() { w.openShop(s) })
	return s
}

func (w *world) drawPolicy() posthorn.RetryPolicy {
	var p posthorn.RetryPolicy
	if w.chance(0.7) {
		p.Schedule = make([]float64, w.draws.IntN(7))
		for i := range p.Schedule {
			p.Schedule[i] = pick(w, []float64{0.1, 1, 5, 5, 20, 60})
		}
	} else {
		p = posthorn.RetryPolicy{Initial: pick(w, []float64{0.5, 2}), Multiplier: pick(w, []float64{1, 2, 3}), Maximum: 60, Attempts: 1 + w.draws.IntN(10)}
	}
	if w.chance(0.15) {
		p.FinalStatuses = []int{404, 500}
	}
	if w.chance(0.1) {
		p.Window = float64(10 + w.draws.IntN(300))
	}
	return p
}

func (w *world) drawLimit() *posthorn.RateLimit {
	switch w.draws.IntN(8) {
	case 0:
		return &posthorn.RateLimit{Limit: 1 + w.draws.IntN(5), Per: "second"}
	case 1:
		return &posthorn.RateLimit{Limit: 20 + w.draws.IntN(80), Per: "minute"}
	}
	return nil
}

// openShop stores the subscription.
func (w *world) openShop(s *shop) {
	host := fmt.Sprintf("shop%d.test", s.number)
	s.receiver, s.url = w.network.Add(host)
	secret := hooktest.NewSecret()
	s.receiver.VerifyWith(hooktest.ByReference(secret))
	s.receiver.ReplyBy(func(q hooktest.Request) hooktest.Reply { return w.answer(s, q) })
	w.network.FailDial(host, func(ctx context.Context) error { return w.dialled(ctx, s) })
	sub := s.draft
	sub.ID, sub.TenantID, sub.URL = posthorn.SubscriptionID{UUID: posthorn.NewUUID(w.clock.now())}, w.tenant, s.url
	sub.Secrets = []posthorn.Secret{{Value: posthorn.SecretText(secret), CreatedAt: w.clock.now()}}
	sub.SetDefaults()
	if err := sub.Validate(72 * time.Hour); err != nil {
		w.t.Fatalf("a shop that cannot be: %v", err)
	}
	if err := w.db().CreateSubscription(w.t.Context(), &sub); err != nil {
		w.t.Fatalf("open a shop: %v", err)
	}
	w.mu.Lock()
	s.id, s.created, s.timeout = sub.ID, time.Now(), sub.Timeout
	w.mu.Unlock()
	w.tell(s.number, posthorn.Signal{Changed: []posthorn.Change{{TenantID: w.tenant, Version: sub.Version}}, Wake: true})
}

func (w *world) mood(s *shop) string {
	now := w.elapsed()
	for _, m := range s.moods {
		if now < m.until {
			return m.name
		}
	}
	return "well"
}

// dialled is the way to a shop.
func (w *world) dialled(ctx context.Context, s *shop) error {
	switch w.mood(s) {
	case "refusing":
		return hooktest.Refused(ctx)
	case "nameless":
		return hooktest.NoSuchHost(ctx)
	case "nodns":
		return hooktest.NoAnswerFromDNS(ctx)
	case "undialled":
		return hooktest.Swallowed(ctx)
	}
	return nil
}

// answer is what a shop does with a request, and its entry in the ledger.
func (w *world) answer(s *shop, q hooktest.Request) hooktest.Reply {
	w.mu.Lock()
	timeout := s.timeout
	w.mu.Unlock()
	reply, r := w.behave(s, q, timeout)
	r.Attempt, r.At, r.Body, r.Signature = q.Attempt, q.At.Add(time.Duration(w.clock.offset.Load())), q.Body, q.Signature
	r.Type, r.ContentType = q.Header.Get("webhook-event-type"), q.Header.Get("Content-Type")
	if err := r.Event.UnmarshalText([]byte(q.Event)); err != nil {
		w.t.Errorf("shop %d got the webhook-id %q", s.number, q.Event)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	r.Subscription = s.id
	w.requests = append(w.requests, r)
	return reply
}

func (w *world) behave(s *shop, q hooktest.Request, timeout time.Duration) (hooktest.Reply, ledger.Request) {
	f := func(what string) float64 { return w.fate(what, s.number, number(q.Body), q.Attempt) }
	status := func(code int) (hooktest.Reply, ledger.Request) {
		return hooktest.Status(code).After(time.Duration(f("wait") * 300 * float64(time.Millisecond))), ledger.Request{Status: code}
	}
	failure := []int{500, 503, 404, 302, 400, 502, 504}[int(f("status")*7)]
	switch w.mood(s) {
	case "flaky":
		if f("flaky") < 0.5 {
			return status(failure)
		}
	case "failing":
		if f("gone") < 0.02 {
			return status(410)
		}
		return status(failure)
	case "throttling":
		return throttle(f("throttle"))
	case "slow":
		// Half a second off every timeout, so that it is never both in time and late.
		delay := time.Duration(f("slow")*30)*time.Second + 500*time.Millisecond
		return hooktest.Status(200).After(delay), ledger.Request{Status: 200, Unread: delay > timeout}
	case "hanging":
		return hooktest.Hang(), ledger.Request{}
	case "dropping":
		return hooktest.Drop(), ledger.Request{}
	case "garbled":
		return hooktest.RawClose("no HTTP at all\r\n\r\n"), ledger.Request{}
	case "cut":
		return hooktest.Respond(200).Body(strings.Repeat("x", 100)).Cut(int64(f("cut") * 90)).Reply(), ledger.Request{Status: 200, Unread: true}
	}
	return status(200)
}

// throttle asks to wait: in seconds, or by the status alone.
func throttle(f float64) (hooktest.Reply, ledger.Request) {
	code := []int{429, 503}[int(f*2)]
	seconds := rand.New(rand.NewPCG(uint64(f*1e9), 1)).IntN(120)
	if seconds < 10 {
		return hooktest.Status(code), ledger.Request{Status: code}
	}
	return hooktest.Respond(code).Header("Retry-After", strconv.Itoa(seconds)).Reply(), ledger.Request{Status: code}
}

// number is the event's, as its payload says it; 0 for Posthorn's own.
func number(body []byte) int {
	rest, ok := bytes.CutPrefix(body, []byte(`{"n": `))
	if !ok {
		return 0
	}
	digits, _, _ := bytes.Cut(rest, []byte(","))
	n, _ := strconv.Atoi(string(digits))
	return n
}
