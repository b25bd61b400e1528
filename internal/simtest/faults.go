package simtest

import (
	"fmt"
	"time"
)

// drawFaults puts on the agenda what happens to nodes.
func (w *world) drawFaults() {
	if w.chance(0.3) {
		at, long := w.sometime(), w.span(time.Second, 2*time.Minute)
		w.plan(at, "the network is gone", func() { w.network.Cut(true) })
		w.plan(min(at+long, w.end), "the network is back", func() { w.network.Cut(false) })
	}
	if w.crashes {
		w.drawCrashes()
	}
	if w.freezes {
		for range 1 + w.draws.IntN(4) {
			w.drawFreeze()
		}
	}
	if w.outages {
		for range 1 + w.draws.IntN(3) {
			w.drawOutage()
		}
	}
	if w.losses {
		for range 1 + w.draws.IntN(6) {
			i, n := w.draws.IntN(w.nodes), 1+w.draws.IntN(3)
			w.plan(w.sometime(), fmt.Sprintf("node %d loses the next %d answers of the store", i, n), func() {
				if n2 := w.places[i].live(); n2 != nil {
					n2.Store.LoseAnswers(n)
				}
			})
		}
	}
	if w.clockSteps {
		for range 1 + w.draws.IntN(3) {
			by := w.span(-5*time.Minute, 10*time.Minute)
			w.plan(w.sometime(), fmt.Sprintf("the clock is set by %s", by), func() { w.clock.set(by) })
		}
	}
}

func (w *world) drawCrashes() {
	for range 1 + w.draws.IntN(5) {
		i, down := w.draws.IntN(w.nodes), w.span(0, 90*time.Second)
		switch w.draws.IntN(5) {
		case 0:
			w.plan(w.sometime(), fmt.Sprintf("node %d is killed", i), func() {
				w.beside(func() { w.kill(w.places[i], down) })
			})
		case 1:
			w.plan(w.sometime(), "the power fails", func() { w.powerCut() })
		case 2:
			grace := w.span(0, 20*time.Second)
			w.plan(w.sometime(), fmt.Sprintf("node %d is told to stop within %s", i, grace), func() {
				w.beside(func() {
					if w.places[i].live() != nil {
						w.restart(w.places[i], grace)
					}
				})
			})
		default:
			// Between any two calls: the store may have done its work when the node dies, or not.
			n, after := 1+w.draws.IntN(12), w.chance(0.5)
			w.plan(w.sometime(), fmt.Sprintf("node %d will be killed at its %dth call (done: %v)", i, n, after), func() {
				p := w.places[i]
				if node := p.live(); node != nil {
					node.Store.ShutAt(n, after, func() { w.beside(func() { w.kill(p, down) }) })
				}
			})
		}
	}
}

func (w *world) drawFreeze() {
	i, long := w.draws.IntN(w.nodes), w.span(5*time.Second, 100*time.Second)
	w.plan(w.sometime(), fmt.Sprintf("node %d stands still for %s", i, long), func() {
		w.beside(func() {
			p := w.places[i]
			p.take()
			defer p.leave()
			if n := p.live(); n != nil {
				n.Store.Freeze(true)
				time.Sleep(long)
				n.Store.Freeze(false)
			}
		})
	})
}

func (w *world) drawOutage() {
	long := w.span(time.Second, 90*time.Second)
	w.plan(w.sometime(), fmt.Sprintf("the store is out of reach for %s", long), func() {
		w.beside(func() {
			for _, p := range w.places {
				p.take()
				defer p.leave()
				if n := p.live(); n != nil {
					n.Store.Shut(true)
				}
			}
			time.Sleep(long)
			for _, p := range w.places {
				if n := p.live(); n != nil {
					n.Store.Shut(false)
				}
			}
		})
	})
}
