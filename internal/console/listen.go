package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/client"
	"github.com/posthorn/posthorn/internal/signing"
)

const (
	// lookEvery is the longest time until a new event is seen when the live stream does not tell of it: it is silent about
	// events that no subscription wants.
	lookEvery = time.Second
	// look is the shortest time between two looks.
	look = 100 * time.Millisecond
	// behind is how far before the newest event a look begins: events committed at the same time may become visible in
	// another order than that of their ids.
	behind = 5 * time.Second
	// remembered is how many events are known not to be forwarded twice.
	remembered = 10_000
	// forwardTime bounds one request to the laptop, and patience the wait between two tries while nothing listens there.
	forwardTime = 30 * time.Second
	patience    = time.Second
)

// Listen says what to tap and where to.
type Listen struct {
	// Forward is the URL on this machine that gets the events; empty only prints them.
	Forward string
	// Types are types and patterns; none is all but Posthorn's own.
	Types []string
	// Subscription narrows it to the events that one subscription gets.
	Subscription posthorn.SubscriptionID
	// Secret signs what is forwarded; empty makes one. It is printed, and has nothing to do with any subscription's.
	Secret string
	// Since begins in the past; zero is now.
	Since time.Duration
	// Payloads prints them too.
	Payloads bool
}

// Listen forwards accepted events to a laptop until ctx ends. It is a tap: it reads what was accepted and changes no
// delivery, so it needs no tunnel and works beside the real subscribers. Each event is forwarded once, in the order of
// acceptance; while the server or the laptop's program is away it waits, and goes on where it was.
func (c *Console) Listen(ctx context.Context, l Listen) error {
	key := signing.GenerateHMAC()
	if l.Secret != "" {
		var err error
		if key, err = signing.ImportSecret(l.Secret); err != nil {
			return fmt.Errorf("--secret: %w", err)
		}
	}
	t := &tap{console: c, want: l, key: key, seen: client.NewSeen(remembered), nudged: make(chan struct{}, 1)}
	t.http = &http.Client{
		Timeout:       forwardTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if err := t.begin(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go t.follow(ctx, cancel)
	return t.run(ctx)
}

// tap is one Listen.
type tap struct {
	console *Console
	want    Listen
	key     *signing.Key
	http    *http.Client
	seen    *client.Seen
	from    time.Time // the creation of the newest event seen
	away    bool      // the server does not answer
	nudged  chan struct{}
}

// begin finds the present on the server's clock: its newest event, which is not forwarded.
func (t *tap) begin(ctx context.Context) error {
	c := t.console
	for {
		newest, err := c.client.Events(ctx, url.Values{}, 1)
		if err == nil {
			if len(newest) > 0 {
				t.from = newest[0].CreatedAt
			}
			break
		}
		if err := t.endure(ctx, err); err != nil {
			return err
		}
	}
	if t.want.Since > 0 && !t.from.IsZero() {
		t.from = t.from.Add(behind - t.want.Since)
	} else if !t.from.IsZero() {
		if err := t.skip(ctx); err != nil {
			return err
		}
	}
	to := t.want.Forward
	if to == "" {
		to = "this terminal"
	}
	c.note("forwarding %s from %s to %s", types(t.want.Types), c.client.URL(), to)
	if t.want.Forward != "" {
		c.note("signed with this secret: %s", t.key.Secret().Reveal())
	}
	return nil
}

// skip notes what the first look would see again.
func (t *tap) skip(ctx context.Context) error {
	events, err := t.list(ctx)
	for _, e := range events {
		t.seen.Add(e.ID.String())
	}
	return err
}

// endure says what is the matter with the server and waits a little; an answer that will not change ends it.
func (t *tap) endure(ctx context.Context, err error) error {
	if p, ok := errors.AsType[*client.Problem](err); ok && p.Final() {
		return err
	}
	if !t.away && ctx.Err() == nil {
		t.away = true
		t.console.note("Posthorn is away, trying again: %v", err)
	}
	return pause(ctx, patience)
}

// follow lets the live stream say when to look. It ends the tap when the server refuses for good.
func (t *tap) follow(ctx context.Context, cancel context.CancelCauseFunc) {
	w := client.Watch{Changed: func(error) { t.nudge() }}
	if err := t.console.client.Watch(ctx, w, func(client.Live) error { t.nudge(); return nil }); err != nil {
		cancel(err)
	}
}

func (t *tap) nudge() {
	select {
	case t.nudged <- struct{}{}:
	default:
	}
}

// run looks and forwards until ctx ends.
func (t *tap) run(ctx context.Context) error {
	for {
		err := t.round(ctx)
		if err != nil && ctx.Err() == nil {
			err = t.endure(ctx, err)
		}
		if ctx.Err() != nil {
			return over(ctx)
		}
		if err != nil {
			return err
		}
		select {
		case <-t.nudged:
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return over(ctx)
		}
		if pause(ctx, look) != nil {
			return over(ctx)
		}
	}
}

// over is how a tap ended: by a person, which is no error, or by the server's refusal.
func over(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// round forwards what is new, oldest first.
func (t *tap) round(ctx context.Context) error {
	events, err := t.list(ctx)
	if err != nil {
		return err
	}
	if t.away {
		t.away = false
		t.console.note("Posthorn is back")
	}
	for i := len(events) - 1; i >= 0; i-- {
		e := &events[i]
		if !t.wants(e) || !t.seen.Add(e.ID.String()) {
			continue
		}
		full, err := t.read(ctx, e.ID)
		if p, ok := errors.AsType[*client.Problem](err); ok && p.Status == http.StatusNotFound {
			continue // it was cleaned up meanwhile
		}
		if err != nil {
			return err
		}
		if err := t.hand(ctx, &full); err != nil {
			return err
		}
		if e.CreatedAt.After(t.from) {
			t.from = e.CreatedAt
		}
	}
	return nil
}

// list reads the events from a little before the newest seen.
func (t *tap) list(ctx context.Context) ([]client.Event, error) {
	filter := url.Values{}
	if !t.from.IsZero() {
		filter.Set("since", t.from.Add(-behind).UTC().Format(time.RFC3339Nano))
	}
	if len(t.want.Types) > 0 {
		filter.Set("type", strings.Join(t.want.Types, ","))
	}
	if !t.want.Subscription.IsZero() {
		filter.Set("subscription_id", t.want.Subscription.String())
	}
	return t.console.client.Events(ctx, filter, 0)
}

// wants leaves out Posthorn's own events unless they were asked for, as an empty list of types does everywhere.
func (t *tap) wants(e *client.Event) bool { return posthorn.MatchesType(t.want.Types, e.Type) }

// read gets an event's payload, as long as it takes.
func (t *tap) read(ctx context.Context, id posthorn.EventID) (client.Event, error) {
	for {
		e, err := t.console.client.Event(ctx, id)
		if err == nil {
			return e, nil
		}
		if err := t.endure(ctx, err); err != nil {
			return e, err
		}
	}
}

// pause waits, or gives ctx's error.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
