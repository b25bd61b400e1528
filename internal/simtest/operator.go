package simtest

import (
	"fmt"
	"slices"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/ledger"
	"github.com/posthorn/posthorn/internal/sqlite"
)

// db is the store as it is open now.
func (w *world) db() *sqlite.Store {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.store
}

// drawOperator puts on the agenda what people do.
func (w *world) drawOperator() {
	for range w.draws.IntN(30) {
		at, node, shop, f := w.sometime(), w.draws.IntN(w.nodes), w.draws.IntN(len(w.shops)), w.draws.Float64()
		switch w.draws.IntN(12) {
		case 0, 1, 2, 3:
			w.plan(at, "", func() { w.retry(node, f) })
		case 4:
			w.plan(at, "", func() { w.cancel(node, f) })
		case 5:
			w.plan(at, "", func() { w.replay(node, f) })
		case 6, 7:
			w.plan(at, "", func() { w.hold(node, w.shops[shop]) })
			w.plan(min(at+w.span(time.Second, 10*time.Minute), w.end), "", func() { w.resume(node, w.shops[shop]) })
		case 8:
			w.plan(at, "", func() { w.resume(node, w.shops[shop]) })
		case 9:
			w.plan(at, "", func() { w.bulk(node, w.shops[shop], f) })
		case 10:
			limit, flight, policy := w.drawLimit(), pick(w, []int{1, 4, 64}), w.drawPolicy()
			w.plan(at, "", func() {
				w.edit(node, w.shops[shop], "is given other limits", func(s *posthorn.Subscription) {
					s.RateLimit, s.MaxInFlight, s.Retry = limit, flight, policy
				})
			})
		case 11:
			if w.chance(0.3) {
				w.plan(at, "", func() { w.remove(node, w.shops[shop]) })
			}
		}
	}
	if w.chance(0.2) {
		w.shops[w.draws.IntN(len(w.shops))].stays = true
	}
}

// some picks one of the deliveries that meet a condition, by a number in [0, 1).
func (w *world) some(f float64, which func(posthorn.Delivery) bool) *posthorn.Delivery {
	list, _, err := w.db().ListDeliveries(w.t.Context(), w.tenant, posthorn.DeliveryFilter{}, posthorn.Page{Limit: 200})
	if err != nil {
		w.t.Errorf("list deliveries: %v", err)
	}
	list = slices.DeleteFunc(list, func(d posthorn.Delivery) bool { return !which(d) })
	if len(list) == 0 {
		return nil
	}
	return &list[int(f*float64(len(list)))]
}

func (w *world) retry(node int, f float64) {
	d := w.some(f, func(d posthorn.Delivery) bool { return d.State != posthorn.Delivered || f < 0.1 })
	if d == nil {
		return
	}
	after, err := w.db().RetryDelivery(w.t.Context(), w.tenant, d.ID)
	w.note("%s (%s) is retried by hand: %v", d.ID, d.State, err)
	if err == nil {
		w.tell(node, posthorn.Signal{Wake: after.State == posthorn.Pending})
	} else if posthorn.KindOf(err) != posthorn.Conflict {
		w.t.Errorf("retry a delivery: %v", err)
	}
}

func (w *world) cancel(node int, f float64) {
	d := w.some(f, func(d posthorn.Delivery) bool { return d.State == posthorn.Pending })
	if d == nil {
		return
	}
	_, err := w.db().CancelDelivery(w.t.Context(), w.tenant, d.ID)
	w.note("%s is cancelled: %v", d.ID, err)
	if err != nil {
		w.t.Errorf("cancel a pending delivery: %v", err)
		return
	}
	w.tell(node, posthorn.Signal{Recall: true})
}

func (w *world) replay(node int, f float64) {
	d := w.some(f, func(posthorn.Delivery) bool { return true })
	n := w.someNode(node)
	if d == nil || n == nil {
		return
	}
	made, err := n.Publisher.Replay(w.t.Context(), w.tenant, d.EventID, []posthorn.SubscriptionID{d.SubscriptionID})
	w.mu.Lock()
	for i := range made {
		w.replays = append(w.replays, made[i].ID)
	}
	w.mu.Unlock()
	w.note("%s is replayed to %s: %d made, %v", d.EventID, d.SubscriptionID, len(made), err)
}

func (w *world) bulk(node int, s *shop, f float64) {
	on := posthorn.OnRetry
	if f < 0.3 {
		on = posthorn.OnCancel
	}
	report, err := w.db().ChangeDeliveries(w.t.Context(), w.tenant, posthorn.BulkChange{
		Filter: posthorn.DeliveryFilter{SubscriptionID: s.id}, On: on, Limit: 1 + int(f*100),
	})
	w.note("in bulk, %s of shop %d: %d changed, %v", on, s.number, report.Changed, err)
	w.tell(node, posthorn.Signal{Wake: on == posthorn.OnRetry, Recall: on == posthorn.OnCancel})
}

// edit changes a subscription as PATCH does; false when it is not there.
func (w *world) edit(node int, s *shop, what string, change func(*posthorn.Subscription)) bool {
	after, err := w.db().UpdateSubscription(w.t.Context(), w.tenant, s.id, func(sub *posthorn.Subscription) error {
		change(sub)
		return nil
	})
	w.note("shop %d %s: %v", s.number, what, err)
	if err != nil {
		return false
	}
	w.mu.Lock()
	s.edited = true
	w.mu.Unlock()
	w.tell(node, posthorn.Signal{
		Changed: []posthorn.Change{{TenantID: w.tenant, Version: after.Version}}, Wake: after.Status == posthorn.StatusActive,
	})
	return true
}

func (w *world) hold(node int, s *shop) {
	if !w.edit(node, s, "is paused", func(sub *posthorn.Subscription) { sub.Status = posthorn.StatusPaused }) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	// Other nodes may learn of it later, and so may one whose clock is set.
	if w.nodes == 1 && !w.clockSteps && s.hold == nil {
		s.hold = &ledger.Hold{Subscription: s.id, From: time.Now()}
	}
}

func (w *world) resume(node int, s *shop) {
	w.mu.Lock()
	if s.hold != nil {
		s.hold.To = time.Now()
		w.holds = append(w.holds, *s.hold)
		s.hold = nil
	}
	w.mu.Unlock()
	w.edit(node, s, "is resumed", func(sub *posthorn.Subscription) { sub.Status, sub.DisabledReason = posthorn.StatusActive, "" })
}

func (w *world) remove(node int, s *shop) {
	w.mu.Lock()
	if s.id.IsZero() || !s.leaving.IsZero() {
		w.mu.Unlock()
		return
	}
	s.leaving = time.Now()
	w.mu.Unlock()
	err := w.db().DeleteSubscription(w.t.Context(), w.tenant, s.id)
	w.note("shop %d closes for good: %v", s.number, err)
	w.tell(node, posthorn.Signal{Changed: []posthorn.Change{{TenantID: w.tenant}}})
}

// title names a shop in messages.
func (s *shop) title() string { return fmt.Sprintf("shop %d (%s)", s.number, s.id) }
