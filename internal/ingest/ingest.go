// Package ingest accepts events: it checks them against the limits, matches them to subscriptions, gives them ids and
// commits them in groups. It leaves reading requests to internal/api, keeping the matching set to internal/cache, and
// sending to internal/delivery, to which it hands what was born claimed.
package ingest

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
)

// Store is what ingest needs of a store.
type Store interface {
	posthorn.Intake
	GetEvent(ctx context.Context, tenant posthorn.TenantID, id posthorn.EventID) (*posthorn.Event, error)
	GetSubscription(ctx context.Context, tenant posthorn.TenantID, id posthorn.SubscriptionID) (*posthorn.Subscription, error)
	Now() time.Time
}

// Matcher finds the subscriptions that want an event.
type Matcher interface {
	// Match answers from a set of at least the given version, and says which version that was.
	Match(ctx context.Context, tenant posthorn.TenantID, e *posthorn.Event, atLeast int64) (Matched, error)
}

// Catalogue says what a tenant's catalogue of event types has against an event (internal/catalogue).
type Catalogue interface {
	// Check answers from a catalogue of at least a version of the tenant. An Invalid error is the event's own; others are the
	// store's.
	Check(ctx context.Context, tenant posthorn.TenantID, e *posthorn.Event, version int64) error
}

// Matched are the subscriptions that want an event, by a set of one version.
type Matched struct {
	Version       int64
	Subscriptions []*posthorn.Subscription
	// Failed are those whose filter failed on this event, which makes their deliveries be born cancelled.
	Failed []*posthorn.Subscription
}

// Lanes is the engine of this node, where it runs workers.
type Lanes interface {
	// Reserve asks for room for one delivery; false leaves it for any node to claim.
	Reserve(id posthorn.SubscriptionID, bytes int) bool
	// Unreserve gives room back that was not used.
	Unreserve(id posthorn.SubscriptionID, bytes int)
	// Submit hands over committed, claimed deliveries whose leases count from the given moment.
	Submit(claimed []posthorn.Claimed, leased time.Time)
}

// Bus carries hints to the other parts and nodes.
type Bus interface {
	Publish(ctx context.Context, s posthorn.Signal)
	Watched() bool
}

// Options of a Publisher. Store, Matcher and Bus are required.
type Options struct {
	Store   Store
	Matcher Matcher
	Bus     Bus
	// Catalogue refuses what clients may not publish; nil refuses nothing.
	Catalogue Catalogue
	// Lanes is nil on a node without workers.
	Lanes Lanes
	Node  posthorn.NodeID
	Log   *slog.Logger
	// MaxEventBytes bounds one payload; 256 KiB by default.
	MaxEventBytes int
	// Committers is how many commits may be under way at once: 1 for a store with one writer.
	Committers int
	// MaxQueued and MaxQueuedBytes bound what waits for a commit; beyond them publishing answers Unavailable.
	MaxQueued      int
	MaxQueuedBytes int64
	// Observe, when set, is told of each commit: the events it stored or knew already, the deliveries it made, and how long
	// it took.
	Observe func(events, deliveries int, took time.Duration)
	// Trace, when set, follows each event: it gives the event its TraceParent, and end takes what became of it.
	Trace func(ctx context.Context, e *posthorn.Event) (end func(*posthorn.Accepted))
}

func (o *Options) setDefaults() {
	if o.MaxEventBytes == 0 {
		o.MaxEventBytes = 256 << 10
	}
	if o.Committers == 0 {
		o.Committers = 1
	}
	if o.MaxQueued == 0 {
		o.MaxQueued = 8192
	}
	if o.MaxQueuedBytes == 0 {
		o.MaxQueuedBytes = 64 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Publisher accepts events. Start it before use and stop it after the last Publish has returned.
type Publisher struct {
	opts Options
	committer
}

// New makes a Publisher.
func New(opts Options) *Publisher {
	opts.setDefaults()
	p := &Publisher{opts: opts}
	p.committer.init(&p.opts)
	return p
}

// Publish accepts one event of a tenant. It returns after the commit that holds the event and all its deliveries.
func (p *Publisher) Publish(ctx context.Context, tenant posthorn.TenantID, e *posthorn.Event) (posthorn.Accepted, error) {
	answers, err := p.PublishBatch(ctx, tenant, []*posthorn.Event{e})
	if err != nil {
		return posthorn.Accepted{}, err
	}
	return answers[0], answers[0].Err
}

// PublishBatch accepts events in order and answers each; a bad one has its own Err and stops none of the others. A batch that very many
// subscriptions want takes several commits, and where the store goes away between two, the rest of the events have its error as theirs.
func (p *Publisher) PublishBatch(ctx context.Context, tenant posthorn.TenantID, events []*posthorn.Event) ([]posthorn.Accepted, error) {
	return p.publish(ctx, tenant, events, p.opts.Catalogue, func(e *posthorn.Event) error {
		if strings.HasPrefix(e.Type, posthorn.OperationalPrefix) {
			var v posthorn.Violations
			v.Add("type", "must not begin with posthorn., which is kept for Posthorn's own events")
			return v.Err()
		}
		return p.check(e)
	})
}

// Announce publishes one of Posthorn's own events. Where no subscription wants it, nothing is stored; one whose idempotency key
// was used was told before, be it in other words.
func (p *Publisher) Announce(ctx context.Context, tenant posthorn.TenantID, e *posthorn.Event) error {
	found, err := p.opts.Matcher.Match(ctx, tenant, e, 0)
	if err != nil || len(found.Subscriptions)+len(found.Failed) == 0 {
		return err
	}
	answers, err := p.publish(ctx, tenant, []*posthorn.Event{e}, nil, p.check)
	if err == nil {
		err = answers[0].Err
	}
	if posthorn.KindOf(err) == posthorn.Conflict {
		return nil
	}
	return err
}

// check applies the rules every event obeys and fills the defaults.
func (p *Publisher) check(e *posthorn.Event) error {
	if e.ContentType == "" {
		e.ContentType = posthorn.DefaultContentType
	}
	if len(e.Payload) > p.opts.MaxEventBytes {
		return posthorn.NewError(posthorn.TooLarge, "the payload is larger than the limit of %d bytes; send a link to the data instead", p.opts.MaxEventBytes)
	}
	return e.Validate()
}

// rematches bounds how often events are matched in vain because subscriptions changed while they were being accepted.
const rematches = 8

func (p *Publisher) publish(ctx context.Context, tenant posthorn.TenantID, events []*posthorn.Event, catalogue Catalogue,
	check func(*posthorn.Event) error,
) ([]posthorn.Accepted, error) {
	answers := make([]posthorn.Accepted, len(events))
	if p.opts.Trace != nil {
		defer p.trace(ctx, tenant, events, answers)()
	}
	open := make([]int, 0, len(events))
	for i, e := range events {
		if err := check(e); err != nil {
			answers[i].Err = err
			continue
		}
		e.TenantID = tenant
		open = append(open, i)
	}
	finder := finder{Publisher: p, tenant: tenant, catalogue: catalogue}
	stored := false
	for vain := 0; len(open) > 0; {
		batch, matched, rest, err := p.matchSome(ctx, &finder, events, open, answers)
		var results []posthorn.Accepted
		if err == nil && len(batch) > 0 {
			results, err = p.commit(ctx, batch)
		}
		switch {
		case err != nil && !stored:
			refuse(answers, open, err)
			return nil, err
		case err != nil:
			// What came before it is stored, and its answers say so: no error is left that whoever asked could log.
			p.opts.Log.Error("events not stored", "events", len(matched)+len(rest), "error", err)
			refuse(answers, append(matched, rest...), err)
			return answers, nil
		}
		var stale []int
		for k, i := range matched {
			answers[i] = results[k]
			stored = stored || results[k].Err == nil
			if posthorn.KindOf(results[k].Err) == posthorn.Stale {
				finder.atLeast = max(finder.atLeast, batch[k].Version+1)
				stale = append(stale, i)
			}
		}
		open = append(stale, rest...)
		if len(stale) == 0 || len(stale) < len(matched) {
			continue
		}
		if vain++; vain == rematches {
			refuse(answers, open, &posthorn.Error{
				Kind: posthorn.Unavailable, RetryAfter: time.Second,
				Message: "the tenant's subscriptions change faster than events can be matched; try again",
			})
			break
		}
	}
	return answers, nil
}

// matchSome matches as many of the open events, given by their places, as one commit takes; the rest come later. Those whose own fault
// it is have their answer and are neither among the matched nor the rest.
func (p *Publisher) matchSome(ctx context.Context, f *finder, events []*posthorn.Event, open []int, answers []posthorn.Accepted) (
	batch []posthorn.Acceptance, matched, rest []int, err error,
) {
	batch, matched = make([]posthorn.Acceptance, 0, len(open)), make([]int, 0, len(open))
	deliveries := 0
	for n, i := range open {
		e := events[i]
		e.ID = posthorn.EventID{UUID: posthorn.NewUUID(p.opts.Store.Now())}
		found, err := f.find(ctx, e)
		if posthorn.KindOf(err) == posthorn.Invalid {
			answers[i].Err = err
			continue
		}
		if err != nil {
			p.release(batch)
			return nil, matched, open[n:], err
		}
		deliveries += len(found.Subscriptions) + len(found.Failed)
		if len(batch) > 0 && deliveries > groupDeliveries {
			return batch, matched, open[n:], nil
		}
		batch, matched = append(batch, p.match(e, found)), append(matched, i)
	}
	return batch, matched, nil, nil
}

func refuse(answers []posthorn.Accepted, places []int, err error) {
	for _, i := range places {
		answers[i].Err = err
	}
}

// trace follows events until their answers are there.
func (p *Publisher) trace(ctx context.Context, tenant posthorn.TenantID, events []*posthorn.Event, answers []posthorn.Accepted) func() {
	ends := make([]func(*posthorn.Accepted), len(events))
	for i, e := range events {
		e.TenantID = tenant
		ends[i] = p.opts.Trace(ctx, e)
	}
	return func() {
		for i, end := range ends {
			end(&answers[i])
		}
	}
}

// match reserves room for those of the event's subscriptions that this node can send to at once.
func (p *Publisher) match(e *posthorn.Event, found Matched) posthorn.Acceptance {
	a := posthorn.Acceptance{Event: e, Version: found.Version}
	if n := len(found.Subscriptions) + len(found.Failed); n > 0 {
		a.Matches = make([]posthorn.Match, 0, n)
	}
	for _, s := range found.Subscriptions {
		a.Matches = append(a.Matches, p.reserve(e, s))
	}
	a.Matches = append(a.Matches, failed(found.Failed, p.opts.Store.Now())...)
	return a
}

// failed are the matches of subscriptions whose filter failed.
func failed(subscriptions []*posthorn.Subscription, now time.Time) []posthorn.Match {
	var matches []posthorn.Match
	for _, s := range subscriptions {
		matches = append(matches, posthorn.Match{
			SubscriptionID: s.ID, DeliveryID: posthorn.DeliveryID{UUID: posthorn.NewUUID(now)}, Reason: posthorn.ReasonFilterError,
		})
	}
	return matches
}

// reserve makes the match of one subscription, to be born claimed where this node has room for it now.
func (p *Publisher) reserve(e *posthorn.Event, s *posthorn.Subscription) posthorn.Match {
	now := p.opts.Store.Now()
	m := posthorn.Match{
		SubscriptionID: s.ID, DeliveryID: posthorn.DeliveryID{UUID: posthorn.NewUUID(now)}, Unordered: s.Ordering == posthorn.OrderingNone,
	}
	sendable := s.Status == posthorn.StatusActive && m.Unordered && e.DeliverAt.IsZero()
	if p.opts.Lanes != nil && sendable && p.opts.Lanes.Reserve(s.ID, len(e.Payload)) {
		m.Attempt = posthorn.AttemptID{UUID: posthorn.NewUUID(now)}
	}
	return m
}

// Test publishes posthorn.test to one subscription alone; Conflict when it is not active, for nothing would be sent.
func (p *Publisher) Test(ctx context.Context, tenant posthorn.TenantID, id posthorn.SubscriptionID) (posthorn.Accepted, error) {
	s, err := p.opts.Store.GetSubscription(ctx, tenant, id)
	if err != nil {
		return posthorn.Accepted{}, err
	}
	if s.Status != posthorn.StatusActive {
		return posthorn.Accepted{}, posthorn.NewError(posthorn.Conflict, "the subscription is %s; resume it before testing it", s.Status)
	}
	e := &posthorn.Event{
		ID: posthorn.EventID{UUID: posthorn.NewUUID(p.opts.Store.Now())}, TenantID: s.TenantID,
		Type: posthorn.TestEventType, ContentType: posthorn.DefaultContentType,
		Payload: []byte(`{"message":"This is a test from Posthorn. If the signature verifies, you are ready."}`),
	}
	answers := make([]posthorn.Accepted, 1)
	if p.opts.Trace != nil {
		defer p.trace(ctx, tenant, []*posthorn.Event{e}, answers)()
	}
	results, err := p.commit(ctx, []posthorn.Acceptance{{
		Event: e, Version: posthorn.AnyVersion, Matches: []posthorn.Match{p.reserve(e, s)},
	}})
	if err != nil {
		answers[0].Err = err
		return posthorn.Accepted{}, err
	}
	copy(answers, results)
	return answers[0], answers[0].Err
}

// Replay makes new deliveries of a stored event, to the named subscriptions or, with none named, to those that match now. Of
// the latter, those whose filter fails on it are born cancelled, as in Publish.
func (p *Publisher) Replay(ctx context.Context, tenant posthorn.TenantID, event posthorn.EventID, to []posthorn.SubscriptionID) ([]posthorn.Delivery, error) {
	var found Matched
	if len(to) == 0 {
		e, err := p.opts.Store.GetEvent(ctx, tenant, event)
		if err != nil {
			return nil, err
		}
		if found, err = p.opts.Matcher.Match(ctx, tenant, e, 0); err != nil {
			return nil, err
		}
		for _, s := range found.Subscriptions {
			to = append(to, s.ID)
		}
	}
	now := p.opts.Store.Now()
	matches := make([]posthorn.Match, 0, len(to)+len(found.Failed))
	for _, id := range to {
		matches = append(matches, posthorn.Match{SubscriptionID: id, DeliveryID: posthorn.DeliveryID{UUID: posthorn.NewUUID(now)}})
	}
	matches = append(matches, failed(found.Failed, now)...)
	// Its own id tells these deliveries from those that the event was born with.
	made, err := p.opts.Store.Replay(ctx, tenant, event, posthorn.ReplayID{UUID: posthorn.NewUUID(now)}, matches)
	if err != nil {
		return nil, err
	}
	signal := posthorn.Signal{Wake: len(made) > 0}
	if p.opts.Bus.Watched() {
		for i := range made[:min(len(made), shownPerEvent)] {
			signal.Updates = append(signal.Updates, posthorn.UpdateOf(&made[i], made[i].CreatedAt))
		}
		if len(made) > shownPerEvent {
			signal.Reread = tenant
		}
	}
	p.wake(ctx, signal)
	return made, nil
}
