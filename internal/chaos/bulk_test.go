//go:build unix

package chaos_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/ledger"
)

const (
	// copiedSince is how far back a round's replay reaches, and copiesRate how many deliveries a second it makes: steps of some
	// tens, so that a kill comes between two of them.
	copiedSince = 3 * time.Second
	copiesRate  = 100
)

// replayMany replays what was delivered lately, and since the ledger's last verdict.
func (w *world) replayMany(since mark) {
	from := time.Now().Add(-copiedSince)
	if from.Before(since.at) {
		from = since.at
	}
	w.ordered("/replays", fmt.Sprintf(`{"filter":{"status":["succeeded"],"since":%q},"rate_limit":{"limit":%d,"per":"second"}}`,
		from.UTC().Format(time.RFC3339Nano), copiesRate))
}

// changeMany cancels what is pending in a lane that fails, and asks for it again; what was judged before the mark stays as it is.
func (w *world) changeMany(since mark) {
	after(200 * time.Millisecond)
	lane, from := w.lanes["flaky"].subscription, since.at.UTC().Format(time.RFC3339Nano)
	for _, change := range []string{`"cancel","filter":{"status":["pending"]`, `"retry","filter":{"status":["cancelled"]`} {
		w.ordered("/deliveries/bulk", fmt.Sprintf(`{"action":%s,"subscription_id":%q,"since":%q}}`, change, lane, from))
	}
}

// ordered asks for something that a kill may cut off.
func (w *world) ordered(path, body string) {
	w.t.Helper()
	status, answer, _, err := w.producer.post(w.site.url()+path, []byte(body))
	if err == nil && status/100 == 4 && status != http.StatusTooManyRequests {
		w.t.Errorf("POST %s: %d %s", path, status, answer)
	}
}

// replayed waits until no replay goes on, and what they made is delivered.
func (w *world) replayed(within time.Duration) bool {
	return eventually(within, func() bool { return w.replaying() == 0 }) && w.drain(within)
}

// replaying counts the replays that go on; -1 when the node does not tell.
func (w *world) replaying() (active int) {
	var said struct {
		Data []struct{ Status posthorn.ReplayState }
	}
	if !w.get("/replays?limit=200", &said) {
		return -1
	}
	for _, r := range said.Data {
		if !r.Status.Ended() {
			active++
		}
	}
	return active
}

// get asks a node; false when it does not answer.
func (w *world) get(path string, into any) bool {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodGet, w.site.url()+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := w.producer.client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK && json.NewDecoder(resp.Body).Decode(into) == nil
}

// gatherReplays adds the replays made since a mark.
func (w *world) gatherReplays(store posthorn.Store, tenant posthorn.TenantID, from mark, f *ledger.Facts) {
	w.t.Helper()
	for page := (posthorn.Page{Limit: 200}); ; {
		list, next, err := store.ListReplays(context.Background(), tenant, page)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, r := range list {
			if r.CreatedAt.After(from.at) {
				f.Replays = append(f.Replays, r)
			}
		}
		if page.Before = next; next.IsZero() {
			return
		}
	}
}
