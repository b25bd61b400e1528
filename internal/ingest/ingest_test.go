package ingest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/hooktest"
	"github.com/posthorn/posthorn/internal/ingest"
)

// lanes counts the room that a publisher asks for, and keeps what it hands over.
type lanes struct {
	mu                             sync.Mutex
	limit                          int
	reserved, unreserved, received int
}

func (l *lanes) Reserve(posthorn.SubscriptionID, int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reserved-l.unreserved-l.received >= l.limit {
		return false
	}
	l.reserved++
	return true
}

func (l *lanes) Unreserve(posthorn.SubscriptionID, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unreserved++
}

func (l *lanes) Submit(claimed []posthorn.Claimed, _ time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.received += len(claimed)
}

// check wants every reservation to have been used or given back.
func (l *lanes) check(t *testing.T, received int) {
	t.Helper()
	synctest.Wait() // requests are answered before the deliveries are handed over
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reserved != l.unreserved+l.received || l.received != received {
		t.Errorf("%d reserved, %d given back, %d handed over; want %d handed over and no room lost", l.reserved, l.unreserved, l.received, received)
	}
}

// start makes a publisher of the test's own over a node without workers.
func start(t *testing.T, n *hooktest.Node, change ...func(*ingest.Options)) *ingest.Publisher {
	t.Helper()
	o := ingest.Options{Store: n.Store, Matcher: n.Matcher(), Bus: n.Bus, Node: n.ID}
	for _, c := range change {
		c(&o)
	}
	p := ingest.New(o)
	p.Start()
	t.Cleanup(func() { p.Stop(context.WithoutCancel(t.Context())) })
	return p
}

func play(t *testing.T, test func(t *testing.T, n *hooktest.Node)) {
	t.Helper()
	hooktest.Play(t, hooktest.Setup{NoWorker: true}, test)
}

func event(eventType string, change ...func(*posthorn.Event)) *posthorn.Event {
	e := &posthorn.Event{Type: eventType, Payload: []byte(`{}`)}
	for _, c := range change {
		c(e)
	}
	return e
}

const receiverURL = "http://10.0.0.1/hook"

func TestPublishChecks(t *testing.T) {
	play(t, func(t *testing.T, n *hooktest.Node) {
		p := start(t, n, func(o *ingest.Options) { o.MaxEventBytes = 100 })
		cases := map[string]struct {
			event *posthorn.Event
			kind  posthorn.Kind
		}{
			"Type":        {event("order..created"), posthorn.Invalid},
			"OwnType":     {event("posthorn.test"), posthorn.Invalid},
			"ContentType": {event("a", func(e *posthorn.Event) { e.ContentType = "text" + "\n" }), posthorn.Invalid},
			"Header":      {event("a", func(e *posthorn.Event) { e.Headers = map[string]string{"Host": "x"} }), posthorn.Invalid},
			"TooLarge":    {event("a", func(e *posthorn.Event) { e.Payload = make([]byte, 101) }), posthorn.TooLarge},
		}
		var batch []*posthorn.Event
		for name, c := range cases {
			_, err := p.Publish(t.Context(), n.Tenant, c.event)
			if err == nil || posthorn.KindOf(err) != c.kind {
				t.Errorf("%s: %v", name, err)
			}
			batch = append(batch, c.event, event("good"))
		}
		// Of a batch each answers for itself.
		answers, err := p.PublishBatch(t.Context(), n.Tenant, batch)
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range answers {
			if (i%2 == 0) != (a.Err != nil) {
				t.Errorf("event %d of the batch: %v", i, a.Err)
			}
		}
		list, _, err := n.Store.ListEvents(t.Context(), n.Tenant, posthorn.EventFilter{}, posthorn.Page{Limit: 100})
		if err != nil || len(list) != len(cases) {
			t.Errorf("%d events are stored, want %d; %v", len(list), len(cases), err)
		}
	})
}

func TestPublishReservesRoom(t *testing.T) {
	play(t, func(t *testing.T, n *hooktest.Node) {
		l := &lanes{limit: 3}
		p := start(t, n, func(o *ingest.Options) { o.Lanes = l })
		n.Subscribe(receiverURL)
		n.Subscribe(receiverURL, func(s *posthorn.Subscription) { s.Ordering = posthorn.OrderingFIFO })
		n.Subscribe(receiverURL, func(s *posthorn.Subscription) { s.Status = posthorn.StatusPaused })
		accepted, err := p.Publish(t.Context(), n.Tenant, event("a"))
		if err != nil || accepted.Deliveries != 3 || len(accepted.Claimed) != 1 {
			t.Errorf("%+v, %v; want three deliveries, one of them born claimed", accepted, err)
		}
		l.check(t, 1)
		if _, err := p.Publish(t.Context(), n.Tenant, event("a", func(e *posthorn.Event) { e.DeliverAt = time.Now().Add(time.Hour) })); err != nil {
			t.Error(err)
		}
		l.check(t, 1)
		// A duplicate and a conflict give the room back.
		for i, payload := range []string{"1", "1", "2"} {
			_, err := p.Publish(t.Context(), n.Tenant, event("a", func(e *posthorn.Event) { e.IdempotencyKey, e.Payload = "k", []byte(payload) }))
			if (i == 2) != (posthorn.KindOf(err) == posthorn.Conflict && err != nil) {
				t.Errorf("publish %d under one key: %v", i, err)
			}
		}
		l.check(t, 2)
		// So does a store that is out of reach.
		n.Store.Shut(true)
		if _, err := p.Publish(t.Context(), n.Tenant, event("a")); posthorn.KindOf(err) != posthorn.Unavailable {
			t.Errorf("without a store: %v", err)
		}
		l.check(t, 2)
	})
}

// TestPublishSeesEveryChange publishes while subscriptions come and go: none that is there may be missed.
func TestPublishSeesEveryChange(t *testing.T) {
	play(t, func(t *testing.T, n *hooktest.Node) {
		l := &lanes{limit: 1 << 20}
		p := start(t, n, func(o *ingest.Options) { o.Lanes = l })
		want := 0
		for i := range 30 {
			if i%3 == 2 {
				continue
			}
			// Behind the cache's back: no signal tells of it.
			s := &posthorn.Subscription{
				ID: posthorn.SubscriptionID{UUID: posthorn.NewUUID(n.Store.Now())}, TenantID: n.Tenant,
				Policy:       posthorn.Policy{URL: receiverURL},
				Confidential: posthorn.Confidential{Secrets: []posthorn.Secret{{Value: posthorn.SecretText(hooktest.NewSecret())}}},
			}
			s.SetDefaults()
			if err := n.Store.CreateSubscription(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			want++
			accepted, err := p.Publish(t.Context(), n.Tenant, event("a"))
			if err != nil || accepted.Deliveries != want {
				t.Fatalf("%d deliveries with %d subscriptions, %v", accepted.Deliveries, want, err)
			}
			time.Sleep(time.Millisecond)
		}
		l.check(t, want*(want+1)/2)
	})
}

// TestPublishGroups: what arrives while a commit is under way shares the next, and each gets its own answer.
func TestPublishGroups(t *testing.T) {
	play(t, func(t *testing.T, n *hooktest.Node) {
		commits, events := 0, 0
		p := start(t, n, func(o *ingest.Options) {
			o.Observe = func(n, _ int, _ time.Duration) { commits, events = commits+1, events+n }
		})
		var publishers sync.WaitGroup
		ids := make([]posthorn.EventID, 400)
		for i := range ids {
			publishers.Go(func() {
				a, err := p.Publish(context.Background(), n.Tenant, event(fmt.Sprintf("type.%d", i)))
				if err != nil {
					t.Error(err)
				}
				ids[i] = a.EventID
			})
		}
		publishers.Wait()
		p.Stop(context.Background())
		if events != 400 || commits > 200 {
			t.Errorf("%d events in %d commits", events, commits)
		}
		for i, id := range ids {
			if e, err := n.Store.GetEvent(t.Context(), n.Tenant, id); err != nil || e.Type != fmt.Sprintf("type.%d", i) {
				t.Fatalf("publisher %d was answered with another's event: %v", i, err)
			}
		}
	})
}

// TestPublishGroupsOnOneProcessor: there the committer must let the others queue their events before it begins.
func TestPublishGroupsOnOneProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	play(t, func(t *testing.T, n *hooktest.Node) {
		commits := 0
		p := start(t, n, func(o *ingest.Options) {
			o.Observe = func(int, int, time.Duration) { commits++ }
		})
		var publishers sync.WaitGroup
		for range 50 {
			publishers.Go(func() {
				for range 10 {
					if _, err := p.Publish(context.Background(), n.Tenant, event("a")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		publishers.Wait()
		p.Stop(context.Background())
		if commits > 100 {
			t.Errorf("500 events of 50 publishers in %d commits", commits)
		}
	})
}

// stuck is a store whose commits wait until they are let go.
type stuck struct {
	*hooktest.Gate
	free chan struct{}
}

func (s stuck) AcceptEvents(ctx context.Context, node posthorn.NodeID, batch []posthorn.Acceptance) ([]posthorn.Accepted, error) {
	select {
	case <-s.free:
	case <-ctx.Done():
		return nil, posthorn.NewError(posthorn.Unavailable, "the store does not answer")
	}
	return s.Gate.AcceptEvents(ctx, node, batch)
}

func TestPublishQueueIsBounded(t *testing.T) {
	play(t, func(t *testing.T, n *hooktest.Node) {
		store := stuck{n.Store, make(chan struct{})}
		l := &lanes{limit: 1 << 20}
		n.Subscribe(receiverURL)
		p := start(t, n, func(o *ingest.Options) { o.Store, o.Lanes, o.MaxQueued = store, l, 5 })
		var mu sync.Mutex
		refused, accepted := 0, 0
		var publishers sync.WaitGroup
		for range 20 {
			publishers.Go(func() {
				_, err := p.Publish(context.Background(), n.Tenant, event("a"))
				mu.Lock()
				defer mu.Unlock()
				fault, _ := errors.AsType[*posthorn.Error](err)
				switch {
				case err == nil:
					accepted++
				case fault != nil && fault.Kind == posthorn.Unavailable && fault.RetryAfter > 0:
					refused++
				default:
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(store.free)
		publishers.Wait()
		if refused == 0 || accepted == 0 || accepted+refused != 20 {
			t.Errorf("%d accepted and %d refused of 20", accepted, refused)
		}
		synctest.Wait()
		l.check(t, accepted)
	})
}

// TestPublishWhileTheStoreHangs lets a commit hang, as over a connection that went silent: everybody is told within a second
// and later ones at once, and what the commit stored after all is delivered.
func TestPublishWhileTheStoreHangs(t *testing.T) {
	play(t, func(t *testing.T, n *hooktest.Node) {
		store := stuck{n.Store, make(chan struct{})}
		l := &lanes{limit: 1 << 20}
		n.Subscribe(receiverURL)
		p := start(t, n, func(o *ingest.Options) { o.Store, o.Lanes = store, l })
		first, behind := make(chan error, 1), make(chan error, 5)
		publish := func() error { _, err := p.Publish(context.Background(), n.Tenant, event("a")); return err }
		go func() { first <- publish() }()
		synctest.Wait()
		for range 5 {
			go func() { behind <- publish() }()
		}
		began := time.Now()
		for range 5 {
			if err := <-behind; posthorn.KindOf(err) != posthorn.Unavailable {
				t.Errorf("who waits for the next commit is told %v", err)
			}
		}
		if err := <-first; posthorn.KindOf(err) != posthorn.Unavailable || !strings.Contains(err.Error(), "possibly stored") {
			t.Errorf("the one under way is told %v", err)
		}
		if took := time.Since(began); took >= time.Second {
			t.Errorf("they were told after %s", took)
		}
		told := time.Now()
		if err := publish(); posthorn.KindOf(err) != posthorn.Unavailable || time.Since(told) != 0 {
			t.Errorf("a later one is told %v after %s", err, time.Since(told))
		}
		close(store.free)
		synctest.Wait()
		if err := publish(); err != nil {
			t.Errorf("when the store answers again: %v", err)
		}
		synctest.Wait()
		l.check(t, 2)
	})
}

// TestPublishOfMuchWork gives a batch for many subscriptions the time that storing it takes.
func TestPublishOfMuchWork(t *testing.T) {
	play(t, func(t *testing.T, n *hooktest.Node) {
		const events, subscriptions = 500, 20
		store := stuck{n.Store, make(chan struct{})}
		for range subscriptions {
			n.Subscribe(receiverURL)
		}
		p := start(t, n, func(o *ingest.Options) { o.Store = store })
		batch := make([]*posthorn.Event, events)
		for i := range batch {
			batch[i] = event("a")
		}
		time.AfterFunc(1500*time.Millisecond, func() { close(store.free) })
		accepted, err := p.PublishBatch(context.Background(), n.Tenant, batch)
		if err != nil || len(accepted) != events || accepted[0].Deliveries != subscriptions {
			t.Errorf("%d accepted, %v", len(accepted), err)
		}
	})
}

// limited counts the deliveries of each commit, and is away after the first when told so.
type limited struct {
	ingest.Store
	commits []int
	ends    bool
}

func (s *limited) AcceptEvents(ctx context.Context, node posthorn.NodeID, batch []posthorn.Acceptance) ([]posthorn.Accepted, error) {
	if s.ends && len(s.commits) > 0 {
		return nil, posthorn.NewError(posthorn.Unavailable, "away")
	}
	deliveries := 0
	for _, a := range batch {
		deliveries += len(a.Matches)
	}
	s.commits = append(s.commits, deliveries)
	return s.Store.AcceptEvents(ctx, node, batch)
}

// TestPublishInSeveralCommits wants a batch that very many subscriptions want to hold nobody else up: no commit has more than 5,000
// deliveries. When the store goes away in between, each event says what became of it.
func TestPublishInSeveralCommits(t *testing.T) {
	for name, ends := range map[string]bool{"Stored": false, "StoredInPart": true} {
		t.Run(name, func(t *testing.T) {
			play(t, func(t *testing.T, n *hooktest.Node) {
				const events, subscriptions, each = 120, 100, 50
				store, l := &limited{Store: n.Store, ends: ends}, &lanes{limit: 1 << 20}
				for range subscriptions {
					n.Subscribe(receiverURL)
				}
				var log bytes.Buffer
				p := start(t, n, func(o *ingest.Options) { o.Store, o.Lanes, o.Log = store, l, slog.New(slog.NewTextHandler(&log, nil)) })
				batch := make([]*posthorn.Event, events)
				for i := range batch {
					batch[i] = event("a")
				}
				accepted, err := p.PublishBatch(context.Background(), n.Tenant, batch)
				if err != nil || len(accepted) != events {
					t.Fatalf("%d answers, %v", len(accepted), err)
				}
				stored := 0
				for i, a := range accepted {
					switch {
					case a.Err == nil && a.Deliveries == subscriptions:
						stored++
					case !ends || i < each || posthorn.KindOf(a.Err) != posthorn.Unavailable:
						t.Errorf("event %d: %+v", i, a)
					}
				}
				want := []int{5000, 5000, 2000}
				if ends {
					want = want[:1]
				}
				if !slices.Equal(store.commits, want) || stored != min(events, each*len(want)) {
					t.Errorf("%d stored by commits of %d deliveries, want %d", stored, store.commits, want)
				}
				synctest.Wait()
				l.check(t, stored*subscriptions)
				if !ends {
					return
				}
				if _, err := p.Publish(context.Background(), n.Tenant, event("a")); posthorn.KindOf(err) != posthorn.Unavailable {
					t.Errorf("a later event: %v", err)
				}
				// Whoever is told of an error logs it; of the batch nobody was.
				if lines := strings.Count(log.String(), "events not stored"); lines != 1 || !strings.Contains(log.String(), "events=70") {
					t.Errorf("the log has %s", &log)
				}
			})
		})
	}
}

// TestPublishTogether wants what waits for a commit to share it only as far as that has a bounded number of deliveries.
func TestPublishTogether(t *testing.T) {
	play(t, func(t *testing.T, n *hooktest.Node) {
		const publishers, subscriptions = 30, 1000
		store := &limited{Store: n.Store}
		for range subscriptions {
			n.Subscribe(receiverURL)
		}
		p := start(t, n, func(o *ingest.Options) { o.Store = store })
		var all sync.WaitGroup
		for range publishers {
			all.Go(func() {
				if _, err := p.Publish(context.Background(), n.Tenant, event("a")); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if most := slices.Max(store.commits); most > 5000 || len(store.commits) < publishers*subscriptions/5000 {
			t.Errorf("commits of %d deliveries", store.commits)
		}
	})
}

func TestPublishQueueIsBoundedByBytes(t *testing.T) {
	play(t, func(t *testing.T, n *hooktest.Node) {
		store := stuck{n.Store, make(chan struct{})}
		p := start(t, n, func(o *ingest.Options) { o.Store, o.MaxQueuedBytes = store, 10_000 })
		refused := make(chan error, 10)
		for range 10 {
			go func() {
				_, err := p.Publish(context.Background(), n.Tenant, event("a", func(e *posthorn.Event) { e.Payload = make([]byte, 4000) }))
				refused <- err
			}()
		}
		synctest.Wait()
		if got := len(refused); got < 5 || got > 8 {
			t.Errorf("%d of 10 were refused at once, want those beyond the bytes", got)
		}
		close(store.free)
		synctest.Wait()
	})
}

func TestPublishThatGivesUp(t *testing.T) {
	play(t, func(t *testing.T, n *hooktest.Node) {
		store := stuck{n.Store, make(chan struct{})}
		l := &lanes{limit: 10}
		n.Subscribe(receiverURL)
		p := start(t, n, func(o *ingest.Options) { o.Store, o.Lanes = store, l })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if _, err := p.Publish(ctx, n.Tenant, event("a")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a client that gives up gets %v", err)
		}
		close(store.free)
		synctest.Wait()
		// It is stored and delivered all the same.
		l.check(t, 1)
	})
}

func TestStopAnswersEverybody(t *testing.T) {
	play(t, func(t *testing.T, n *hooktest.Node) {
		store := stuck{n.Store, make(chan struct{})}
		l := &lanes{limit: 100}
		n.Subscribe(receiverURL)
		p := start(t, n, func(o *ingest.Options) { o.Store, o.Lanes = store, l })
		answers := make(chan error, 30)
		for range 30 {
			go func() {
				_, err := p.Publish(context.Background(), n.Tenant, event("a"))
				answers <- err
			}()
		}
		synctest.Wait()
		start := time.Now()
		go func() {
			time.Sleep(time.Second / 2)
			close(store.free)
		}()
		p.Stop(context.Background())
		stored := 0
		for range 30 {
			if err := <-answers; err == nil {
				stored++
			} else if posthorn.KindOf(err) != posthorn.Unavailable {
				t.Error(err)
			}
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the last was answered after %s", took)
		}
		l.check(t, stored)
	})
}

// TestStopGivesUpCommits: a store that hangs holds a stop only until the end of its context, and everybody is answered.
func TestStopGivesUpCommits(t *testing.T) {
	play(t, func(t *testing.T, n *hooktest.Node) {
		var log bytes.Buffer
		p := start(t, n, func(o *ingest.Options) {
			o.Store, o.Log = stuck{n.Store, make(chan struct{})}, slog.New(slog.NewTextHandler(&log, nil))
		})
		answer := make(chan error, 1)
		go func() {
			_, err := p.Publish(context.Background(), n.Tenant, event("a"))
			answer <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		p.Stop(ctx)
		if took := time.Since(start); took > time.Second || posthorn.KindOf(<-answer) != posthorn.Unavailable {
			t.Errorf("stopped after %s", took)
		}
		if lines := strings.Count(log.String(), "events not stored"); lines != 1 {
			t.Errorf("who was answered before cannot log what came of it; the log has %s", &log)
		}
	})
}

func TestAnnounce(t *testing.T) {
	play(t, func(t *testing.T, n *hooktest.Node) {
		p := start(t, n)
		n.Subscribe(receiverURL)
		count := func() int {
			list, _, err := n.Store.ListEvents(t.Context(), n.Tenant, posthorn.EventFilter{}, posthorn.Page{Limit: 100})
			if err != nil {
				t.Fatal(err)
			}
			return len(list)
		}
		own := event("posthorn.delivery.exhausted")
		if err := p.Announce(t.Context(), n.Tenant, own); err != nil || count() != 0 {
			t.Errorf("an announcement that nobody asked for: %v, %d events stored", err, count())
		}
		n.Subscribe(receiverURL, func(s *posthorn.Subscription) { s.EventTypes = []string{"posthorn.*"} })
		synctest.Wait()
		if err := p.Announce(t.Context(), n.Tenant, own); err != nil || count() != 1 {
			t.Errorf("an announcement: %v, %d events stored", err, count())
		}
	})
}

func TestTest(t *testing.T) {
	play(t, func(t *testing.T, n *hooktest.Node) {
		p := start(t, n)
		one := n.Subscribe(receiverURL, func(s *posthorn.Subscription) { s.EventTypes = []string{"order.*"} })
		n.Subscribe(receiverURL)
		accepted, err := p.Test(t.Context(), n.Tenant, one.ID)
		if err != nil || accepted.Deliveries != 1 {
			t.Fatalf("%+v, %v", accepted, err)
		}
		if list := n.Deliveries(accepted.EventID); len(list) != 1 || list[0].SubscriptionID != one.ID || list[0].EventType != posthorn.TestEventType {
			t.Errorf("the test went to %+v", list)
		}
		n.Pause(one.ID)
		if _, err := p.Test(t.Context(), n.Tenant, one.ID); posthorn.KindOf(err) != posthorn.Conflict || !strings.Contains(err.Error(), "paused") {
			t.Errorf("a test of a paused subscription: %v", err)
		}
		if _, err := p.Test(t.Context(), n.Tenant, posthorn.SubscriptionID{UUID: posthorn.NewUUID(time.Now())}); posthorn.KindOf(err) != posthorn.NotFound {
			t.Errorf("a test of nothing: %v", err)
		}
	})
}
