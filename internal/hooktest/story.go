package hooktest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/bubble"
)

// Story is a test as a timeline: what is published and done when, how subscribers answer, and which requests they must
// get. Run plays it in fake time against a Node of the real parts. Times count from the start.
//
//	s := hooktest.NewStory(t)
//	shop := s.Subscribe("shop")
//	s.Reply(shop, 503, 503, 200)
//	paid := s.Publish(At(0), "invoice.paid")
//	s.Want(shop, At(0), Attempt(1))
//	s.Want(shop, Between(4*time.Second, 6*time.Second), Attempt(2))
//	s.Want(shop, Between(52*time.Second, 78*time.Second), Attempt(3))
//	s.WantState(At(2*time.Minute), paid, shop, posthorn.Delivered)
//	s.Run()
//
// A subscriber with at least one Want must get those requests and no others.
type Story struct {
	t           *testing.T
	setup       Setup
	subscribers []*Subscriber
	steps       []step
	end         time.Duration

	// Set by Run.
	node  *Node
	start time.Time
}

// NewStory begins a story.
func NewStory(t *testing.T) *Story {
	return &Story{t: t}
}

// Span is a stretch of the timeline, both ends included.
type Span struct{ From, To time.Duration }

// At is a moment. A request counts as being at a moment when it comes within a millisecond after it.
func At(d time.Duration) Span { return Span{d, d + time.Millisecond} }

// Between is a stretch.
func Between(from, to time.Duration) Span { return Span{from, to} }

func (s Span) String() string {
	if s.To-s.From <= time.Millisecond {
		return "at " + s.From.String()
	}
	return fmt.Sprintf("between %s and %s", s.From, s.To)
}

type step struct {
	at   time.Duration
	what string
	do   func(n *Node)
}

// Subscriber is a subscription and the receiver behind it.
type Subscriber struct {
	Name string
	// ID and Receiver are there from the start of the run.
	ID       posthorn.SubscriptionID
	Receiver *Receiver
	// Secret signs for it at first.
	Secret string

	change []func(*posthorn.Subscription)
	wants  []wanted
	strict bool
}

type wanted struct {
	span  Span
	conds []Cond
}

// Published is an event of the story. Accepted is there once it was published.
type Published struct {
	Event    *posthorn.Event
	Accepted posthorn.Accepted
}

// Setup alters what the node is made of.
func (s *Story) Setup(change func(*Setup)) { change(&s.setup) }

// Subscribe adds a subscriber who wants everything, altered as given, from the start on. It answers 200 unless told.
func (s *Story) Subscribe(name string, change ...func(*posthorn.Subscription)) *Subscriber {
	sub := &Subscriber{Name: name, Secret: NewSecret(), change: change}
	s.subscribers = append(s.subscribers, sub)
	return sub
}

// Reply makes a subscriber answer by statuses (int) or replies (Reply), the last one repeating.
func (s *Story) Reply(sub *Subscriber, script ...any) {
	s.ReplyFrom(At(0), sub, script...)
}

// ReplyFrom is Reply from a moment on.
func (s *Story) ReplyFrom(at Span, sub *Subscriber, script ...any) {
	replies := make([]Reply, len(script))
	for i, r := range script {
		switch r := r.(type) {
		case int:
			replies[i] = Status(r)
		case Reply:
			replies[i] = r
		case Response:
			replies[i] = r.Reply()
		default:
			s.t.Fatalf("a reply is a status, a Reply or a Response, not a %T", r)
		}
	}
	s.Do(at, "new replies of "+sub.Name, func(*Node) { sub.Receiver.Reply(replies...) })
}

// Publish publishes an event of a type, altered as given; its payload says its type unless altered.
func (s *Story) Publish(at Span, eventType string, change ...func(*posthorn.Event)) *Published {
	p := &Published{Event: &posthorn.Event{Type: eventType, Payload: []byte(`{"type":"` + eventType + `"}`)}}
	for _, c := range change {
		c(p.Event)
	}
	s.Do(at, "publish "+eventType, func(n *Node) { p.Accepted = n.Publish(p.Event) })
	return p
}

// Do does something at a moment.
func (s *Story) Do(at Span, what string, do func(n *Node)) {
	s.steps = append(s.steps, step{at.From, what, do})
	s.until(at.From)
}

// Pause pauses a subscriber.
func (s *Story) Pause(at Span, sub *Subscriber) {
	s.Do(at, "pause "+sub.Name, func(n *Node) { n.Pause(sub.ID) })
}

// Resume makes a paused or disabled subscriber active again.
func (s *Story) Resume(at Span, sub *Subscriber) {
	s.Do(at, "resume "+sub.Name, func(n *Node) { n.Resume(sub.ID) })
}

// Retry retries by hand the latest delivery of an event; wantKind is posthorn.Internal where it must succeed.
func (s *Story) Retry(at Span, p *Published, sub *Subscriber, wantKind ...posthorn.Kind) {
	s.Do(at, "retry by hand", func(n *Node) {
		err := n.Retry(n.Delivery(p.Accepted.EventID, sub.ID).ID)
		switch {
		case len(wantKind) == 0 && err != nil:
			s.t.Errorf("%s: a manual retry was refused: %v", s.now(), err)
		case len(wantKind) > 0 && (err == nil || posthorn.KindOf(err) != wantKind[0]):
			s.t.Errorf("%s: a manual retry gave %v, want an error of kind %d", s.now(), err, wantKind[0])
		}
	})
}

// Restart stops the node gracefully and starts another over the same store.
func (s *Story) Restart(at Span) {
	s.Do(at, "restart", func(n *Node) {
		n.Stop(0)
		s.node = n.Restart()
	})
}

// Crash ends the node as a power cut would and starts another over the same store.
func (s *Story) Crash(at Span) {
	s.Do(at, "crash", func(n *Node) {
		n.Crash()
		s.node = n.Restart()
	})
}

// WantState wants the latest delivery of an event to be in a state, for a reason where one is given.
func (s *Story) WantState(at Span, p *Published, sub *Subscriber, state posthorn.State, reason ...posthorn.Reason) {
	s.Do(at, "look at the delivery", func(n *Node) {
		d := n.Delivery(p.Accepted.EventID, sub.ID)
		if d.State != state || len(reason) > 0 && d.Reason != reason[0] {
			s.t.Errorf("%s: the delivery to %s is %s (%q) after %d attempts, want %s %v", s.now(), sub.Name, d.State, d.Reason, d.Attempts, state, reason)
		}
	})
}

// WantStatus wants a subscription to be in a status, for a reason where one is given.
func (s *Story) WantStatus(at Span, sub *Subscriber, status posthorn.Status, reason ...string) {
	s.Do(at, "look at the subscription", func(n *Node) {
		is := n.Subscription(sub.ID)
		if is.Status != status || len(reason) > 0 && is.DisabledReason != reason[0] {
			s.t.Errorf("%s: %s is %s (%q), want %s %v", s.now(), sub.Name, is.Status, is.DisabledReason, status, reason)
		}
	})
}

// Want wants a request within a span that meets all conditions.
func (s *Story) Want(sub *Subscriber, span Span, conds ...Cond) {
	sub.strict = true
	sub.wants = append(sub.wants, wanted{span, conds})
	s.until(span.To)
}

// WantNothing wants no request at all but for those of a Want.
func (s *Story) WantNothing(sub *Subscriber) { sub.strict = true }

// Until plays the story at least so long.
func (s *Story) Until(d time.Duration) { s.until(d) }

func (s *Story) until(d time.Duration) { s.end = max(s.end, d) }

// Cond is a condition on a request; what it returns is what is wrong, or "".
type Cond func(q Request) string

// Attempt wants the attempt's number.
func Attempt(n int) Cond {
	return func(q Request) string {
		if q.Attempt != n {
			return fmt.Sprintf("attempt %d", n)
		}
		return ""
	}
}

// Of wants the request to be for an event.
func Of(p *Published) Cond {
	return func(q Request) string {
		if q.Event != p.Accepted.EventID.String() {
			return "of the " + p.Event.Type + " published as " + p.Accepted.EventID.String()
		}
		return ""
	}
}

// Body wants exactly these bytes.
func Body(want string) Cond {
	return func(q Request) string {
		if string(q.Body) != want {
			return fmt.Sprintf("body %q", want)
		}
		return ""
	}
}

// Header wants a header to have one value, and this one.
func Header(name, value string) Cond {
	return func(q Request) string {
		if got := q.Header.Values(name); len(got) != 1 || got[0] != value {
			return fmt.Sprintf("%s: %q", name, value)
		}
		return ""
	}
}

// Run plays the story in fake time.
func (s *Story) Run() {
	s.t.Helper()
	bubble.Test(s.t, func(t *testing.T) {
		s.t = t
		if s.setup.Network == nil {
			s.setup.Network = NewNetwork()
			t.Cleanup(s.setup.Network.Close)
		}
		network := s.setup.Network
		s.node = StartNode(t, s.setup)
		for _, sub := range s.subscribers {
			s.open(sub, network)
		}
		synctest.Wait()
		s.start = time.Now()
		slices.SortStableFunc(s.steps, func(a, b step) int { return int(a.at - b.at) })
		for _, step := range s.steps {
			s.sleepUntil(step.at)
			step.do(s.node)
		}
		s.sleepUntil(s.end + time.Second)
		s.node.Stop(time.Minute)
		for _, sub := range s.subscribers {
			s.check(sub)
		}
	})
}

func (s *Story) open(sub *Subscriber, network *Network) {
	var url string
	sub.Receiver, url = network.Add(sub.Name + ".test")
	sub.Receiver.VerifyWith(ByReference(sub.Secret))
	created := s.node.Subscribe(url, append([]func(*posthorn.Subscription){func(p *posthorn.Subscription) {
		p.Secrets = []posthorn.Secret{{Value: posthorn.SecretText(sub.Secret), CreatedAt: s.node.Store.Now()}}
	}}, sub.change...)...)
	sub.ID = created.ID
}

func (s *Story) sleepUntil(at time.Duration) {
	if wait := at - time.Since(s.start); wait > 0 {
		time.Sleep(wait)
	}
	synctest.Wait()
}

// now is the moment on the timeline.
func (s *Story) now() time.Duration { return time.Since(s.start) }

// check compares what a subscriber got with what it was to get.
func (s *Story) check(sub *Subscriber) {
	s.t.Helper()
	got := sub.Receiver.Requests()
	used := make([]bool, len(got))
	for _, w := range sub.wants {
		i := slices.IndexFunc(got, func(q Request) bool { return !used[q.serial] && s.meets(q, w) == "" })
		if i < 0 {
			s.t.Errorf("%s got no request %s %s", sub.Name, w.span, describe(w.conds))
			continue
		}
		used[i] = true
	}
	for i, q := range got {
		if sub.strict && !used[i] {
			s.t.Errorf("%s got a request that is not wanted, at %s", sub.Name, s.describe(q))
		}
		if q.Signature != nil {
			s.t.Errorf("%s: the signature of attempt %d at %s: %v", sub.Name, q.Attempt, q.At.Sub(s.start), q.Signature)
		}
	}
	if s.t.Failed() {
		s.t.Logf("%s got %d requests:\n%s", sub.Name, len(got), s.timeline(got))
	}
}

// meets says what keeps a request from being the wanted one.
func (s *Story) meets(q Request, w wanted) string {
	if at := q.At.Sub(s.start); at < w.span.From || at > w.span.To {
		return "not " + w.span.String()
	}
	for _, c := range w.conds {
		if fault := c(q); fault != "" {
			return fault
		}
	}
	return ""
}

func describe(conds []Cond) string {
	var words []string
	for _, c := range conds {
		words = append(words, c(Request{}))
	}
	return strings.Join(words, ", ")
}

func (s *Story) describe(q Request) string {
	return fmt.Sprintf("%s: attempt %d of %s", q.At.Sub(s.start), q.Attempt, q.Event)
}

func (s *Story) timeline(got []Request) string {
	var b strings.Builder
	for _, q := range got {
		b.WriteString("  " + s.describe(q) + "\n")
	}
	return b.String()
}
