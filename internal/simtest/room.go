package simtest

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/delivery"
	"github.com/posthorn/posthorn/internal/hooktest"
	"github.com/posthorn/posthorn/internal/sqlite"
)

// clock is the store's, which may be set.
type clock struct {
	offset atomic.Int64
	// settings are when it was set, with what it was off by then.
	settings []setting
}

type setting struct {
	at     time.Time
	offset time.Duration
}

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

func (c *clock) set(by time.Duration) {
	c.settings = append(c.settings, setting{time.Now(), time.Duration(c.offset.Add(int64(by)))})
}

// apart is how far two times that it told may be from what went by between them.
func (c *clock) apart() time.Duration {
	var least, most time.Duration
	for _, s := range c.settings {
		least, most = min(least, s.offset), max(most, s.offset)
	}
	return most - least
}

// said is what the store's clock said at a moment.
func (c *clock) said(at time.Time) time.Time {
	offset := time.Duration(0)
	for _, s := range c.settings {
		if !s.at.After(at) {
			offset = s.offset
		}
	}
	return at.Add(offset)
}

// place is where one node after the other runs.
type place struct {
	number int
	mu     sync.Mutex
	node   *hooktest.Node // nil while there is none
	// trouble is taken by what hurts the node, one thing at a time. It is a channel, as fake time stands while a lock is
	// waited for.
	trouble chan struct{}
}

func (p *place) take()  { p.trouble <- struct{}{} }
func (p *place) leave() { <-p.trouble }

func (p *place) live() *hooktest.Node {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.node
}

func (w *world) open() {
	w.store = hooktest.OpenStore(w.t, w.dir, func(o *sqlite.Options) { o.Now, o.Readers = w.clock.now, 2 })
}

// occupy starts the nodes.
func (w *world) occupy() {
	for i := range w.nodes {
		p := &place{number: i, trouble: make(chan struct{}, 1)}
		w.places = append(w.places, p)
		w.startNode(p)
	}
}

func (w *world) startNode(p *place) {
	w.mu.Lock()
	store := w.store
	w.mu.Unlock()
	n := hooktest.StartNode(w.t, hooktest.Setup{
		Over: store, Network: w.network, Hold: 30 * 24 * time.Hour, Quiet: true,
		Tune: func(o *delivery.Options) {
			o.Poll = w.poll
			o.Random = func() float64 { return w.fate("jitter", w.elapsed()) }
		},
	})
	if w.tenant.IsZero() { // of the first node, before the world runs; read without a lock from then on
		w.tenant = n.Tenant
	}
	n.Bus.Subscribe(func(s posthorn.Signal) { w.forward(p, n, s) })
	p.mu.Lock()
	p.node = n
	p.mu.Unlock()
}

// forward is the wire between the nodes' buses, which loses some.
func (w *world) forward(from *place, n *hooktest.Node, s posthorn.Signal) {
	if s.From != n.ID {
		return
	}
	for _, p := range w.places {
		if to := p.live(); p != from && to != nil && w.fate("wire", w.elapsed(), from.number, p.number) >= w.deaf {
			to.Bus.Publish(context.Background(), s)
		}
	}
}

// someNode is a node that runs, by preference the one of a number, or nil.
func (w *world) someNode(number int) *hooktest.Node {
	for i := range w.places {
		if n := w.places[(number+i)%len(w.places)].live(); n != nil {
			return n
		}
	}
	return nil
}

// tell signals what an operator did, as the API of some node does.
func (w *world) tell(number int, s posthorn.Signal) {
	if n := w.someNode(number); n != nil {
		n.Bus.Publish(context.Background(), s)
	}
}

// kill ends a place's node from one moment to the next and starts another after a while.
func (w *world) kill(p *place, down time.Duration) {
	p.take()
	defer p.leave()
	w.strike(p)
	time.Sleep(down)
	w.startNode(p)
	w.note("node %d is back", p.number)
}

// strike takes a place's node away as a power cut does.
func (w *world) strike(p *place) {
	p.mu.Lock()
	n := p.node
	p.node = nil
	p.mu.Unlock()
	if n == nil {
		return
	}
	w.mu.Lock()
	w.tally.Crashes++
	w.mu.Unlock()
	n.Store.Shut(true)
	n.Store.Freeze(false)
	n.Crash()
}

// restart ends a place's node as a signal does, with so much time for what is in flight.
func (w *world) restart(p *place, grace time.Duration) {
	p.take()
	defer p.leave()
	p.mu.Lock()
	n := p.node
	p.node = nil
	p.mu.Unlock()
	n.Stop(grace)
	w.startNode(p)
	w.note("node %d was restarted", p.number)
}

// powerCut takes all nodes and the store's process away at once.
func (w *world) powerCut() {
	for _, p := range w.places {
		p.take()
		defer p.leave()
		if n := p.live(); n != nil {
			n.Store.Shut(true)
		}
	}
	for _, p := range w.places {
		w.strike(p)
	}
	w.mu.Lock()
	if err := w.store.Close(); err != nil {
		w.t.Errorf("close the store: %v", err)
	}
	w.open()
	w.mu.Unlock()
	for _, p := range w.places {
		w.startNode(p)
	}
	w.note("the power is back")
}

// beside does something that takes its time beside the agenda.
func (w *world) beside(do func()) { w.busy.Go(do) }

// close ends what runs.
func (w *world) close() {
	for _, p := range w.places {
		if n := p.live(); n != nil {
			n.Stop(time.Minute)
		}
	}
	w.network.Close()
	if err := w.store.Close(); err != nil {
		w.t.Errorf("close the store: %v", err)
	}
}
