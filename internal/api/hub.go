package api

import (
	"context"
	"slices"
	"sync"

	"github.com/posthorn/posthorn"
)

// watcherRoom is how many updates may wait for one client; a slower one is dropped and told to start again.
const watcherRoom = 1024

// hub passes what the bus says on to those who watch. Sending never waits for a watcher.
type hub struct {
	watch  func() (stop func())
	most   int
	cancel func()

	mu       sync.Mutex
	watchers map[*watcher]struct{}
	stopped  bool
	unwatch  func()
	done     chan struct{}
}

// watcher hears the updates of one tenant.
type watcher struct {
	tenant  posthorn.TenantID
	updates chan posthorn.Update
	// lost is closed when the watcher was too slow; reread asks it to read the store again, gap tells it that the bus lost news.
	lost, reread, gap chan struct{}
	// nodes has the last heartbeats, for a watcher that is shown them; it is nil for the others.
	nodes chan []posthorn.Node
}

func newHub(bus Bus, watch func() func(), most int) *hub {
	h := &hub{watch: watch, most: most, watchers: map[*watcher]struct{}{}, done: make(chan struct{})}
	h.cancel = bus.Follow(h.hear, h.miss)
	return h
}

// join adds a watcher; nil when there are too many, or the hub has stopped.
func (h *hub) join(tenant posthorn.TenantID) *watcher {
	w := &watcher{
		tenant: tenant, updates: make(chan posthorn.Update, watcherRoom), lost: make(chan struct{}),
		reread: make(chan struct{}, 1), gap: make(chan struct{}, 1),
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped || len(h.watchers) >= h.most {
		return nil
	}
	// A slow watcher that was dropped has not left yet: the last watching may go on.
	if h.unwatch == nil && h.watch != nil {
		h.unwatch = h.watch()
	}
	h.watchers[w] = struct{}{}
	return w
}

func (h *hub) leave(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watchers, w)
	if len(h.watchers) == 0 && h.unwatch != nil {
		h.unwatch()
		h.unwatch = nil
	}
}

// hear takes a signal from the bus.
func (h *hub) hear(s posthorn.Signal) {
	if !s.Reread.IsZero() {
		h.reread(s.Reread)
	}
	if len(s.Updates) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		for _, u := range s.Updates {
			if u.TenantID == w.tenant && !w.offer(u) {
				delete(h.watchers, w)
				break
			}
		}
	}
}

// offer hands an update over; false means that the watcher was too slow and is lost.
func (w *watcher) offer(u posthorn.Update) bool {
	select {
	case w.updates <- u:
		return true
	default:
		close(w.lost)
		return false
	}
}

// showNodes lets a watcher hear of the nodes.
func (h *hub) showNodes(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w.nodes = make(chan []posthorn.Node, 1)
}

// beat passes the nodes on to those who are shown them. One that has not taken the last ones yet gets the new ones instead.
func (h *hub) beat(nodes []posthorn.Node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		if w.nodes == nil {
			continue
		}
		select {
		case <-w.nodes:
		default:
		}
		w.nodes <- nodes
	}
}

// reread asks the watchers of a tenant to read the store again.
func (h *hub) reread(tenant posthorn.TenantID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		if tenant == w.tenant {
			ask(w.reread)
		}
	}
}

// miss tells all watchers that the bus lost news.
func (h *hub) miss() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		ask(w.gap)
	}
}

// ask leaves a word where none waits.
func ask(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// stop ends all watching.
func (h *hub) stop() {
	h.cancel()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.stopped {
		h.stopped = true
		close(h.done)
	}
}

// await waits for an update, the end of ctx or of the hub. Without a watcher it waits for ctx alone.
func (h *hub) await(ctx context.Context, w *watcher, wanted func(*posthorn.Update) bool) {
	if w == nil {
		w = &watcher{}
	}
	for {
		select {
		case u := <-w.updates:
			if wanted(&u) {
				return
			}
		case <-ctx.Done():
			return
		case <-h.done:
			return
		}
	}
}

func (h *hub) hasStopped() bool {
	select {
	case <-h.done:
		return true
	default:
		return false
	}
}

// sortUpdates puts updates into the order of their times.
func sortUpdates(list []posthorn.Update) {
	slices.SortStableFunc(list, func(a, b posthorn.Update) int { return a.At.Compare(b.At) })
}
