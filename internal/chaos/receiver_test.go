//go:build unix

package chaos_test

import (
	"hash/fnv"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/hooktest"
	"github.com/posthorn/posthorn/internal/ledger"
)

// receiver is every subscriber of a run, one path for each lane. A request is on disk before it is answered.
type receiver struct {
	t       testing.TB
	server  *httptest.Server
	journal *journal

	mu       sync.Mutex
	lanes    map[string]*lane
	requests []ledger.Request
	// count, when set, is told of each request; counting keeps and writes nothing else.
	count    *count
	counting bool
	// hanging is closed to let what hangs be answered.
	hanging chan struct{}
}

// lane is one subscription.
type lane struct {
	name         string
	subscription posthorn.SubscriptionID
	secret       string
	// takes is how long an answer takes; flaky lanes fail one event in eight at its first attempt; a hanging one answers when
	// it is let.
	takes        time.Duration
	flaky, hangs bool
	// down is a receiver that fails whatever comes.
	down atomic.Bool
}

func newReceiver(t testing.TB) *receiver {
	t.Helper()
	r := &receiver{t: t, journal: newJournal(t, "requests"), lanes: map[string]*lane{}, hanging: make(chan struct{})}
	r.server = httptest.NewServer(r)
	t.Cleanup(func() {
		r.server.CloseClientConnections()
		r.server.Close()
	})
	t.Cleanup(r.release)
	return r
}

// release lets what hangs be answered.
func (r *receiver) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.hanging:
	default:
		close(r.hanging)
	}
}

func (r *receiver) url(lane string) string { return r.server.URL + "/" + lane }

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // cut off by a kill: not received
	}
	at := time.Now()
	r.mu.Lock()
	l := r.lanes[strings.TrimPrefix(req.URL.Path, "/")]
	r.mu.Unlock()
	var id posthorn.EventID
	if err := id.UnmarshalText([]byte(req.Header.Get("webhook-id"))); l == nil || err != nil {
		r.t.Errorf("a request to %s of %q", req.URL.Path, req.Header.Get("webhook-id"))
		w.WriteHeader(http.StatusNotFound)
		return
	}
	attempt, _ := strconv.Atoi(req.Header.Get("webhook-attempt"))
	entry := ledger.Request{
		Subscription: l.subscription, Event: id, Attempt: attempt, At: at, Type: req.Header.Get("webhook-event-type"),
		ContentType: req.Header.Get("Content-Type"), Body: body, Status: l.status(id, attempt),
		Signature: hooktest.ByReference(l.secret)(req.Header, body),
	}
	r.note(l, &entry)
	wait := time.NewTimer(l.takes)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-req.Context().Done():
	}
	if l.hangs {
		select {
		case <-r.hanging:
		case <-req.Context().Done():
		}
	}
	w.WriteHeader(entry.Status)
}

func (l *lane) status(id posthorn.EventID, attempt int) int {
	h := fnv.New32a()
	_, _ = h.Write(id.UUID[:])
	if l.down.Load() {
		return http.StatusServiceUnavailable
	}
	if l.flaky && attempt == 1 && h.Sum32()%8 == 0 {
		return http.StatusInternalServerError
	}
	return http.StatusOK
}

func (r *receiver) note(l *lane, entry *ledger.Request) {
	if r.count != nil {
		r.count.note(l, entry)
	}
	if r.counting {
		return
	}
	r.journal.note(entry)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, *entry)
}

// since are the requests from a place on.
func (r *receiver) since(n int) []ledger.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests[n:len(r.requests):len(r.requests)]
}

func (r *receiver) received() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.requests)
}

// firstAfter is when the first request after a moment came; zero when none has.
func (r *receiver) firstAfter(at time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.requests); i > 0; i-- {
		if !r.requests[i-1].At.After(at) {
			if i == len(r.requests) {
				return time.Time{}
			}
			return r.requests[i].At
		}
	}
	if len(r.requests) > 0 {
		return r.requests[0].At
	}
	return time.Time{}
}
