package bench

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// receiver takes deliveries and notes when each came and how often.
type receiver struct {
	server *http.Server
	addr   string
	delay  time.Duration
	hold   chan struct{} // closed at the end, which frees what hangs

	mu         sync.Mutex
	seen       map[string]int
	unique     int
	duplicates int
	latencies  []time.Duration
	last       time.Time
	since      time.Time
}

func newReceiver(delay time.Duration) (*receiver, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &receiver{delay: delay, addr: listener.Addr().String(), seen: make(map[string]int), hold: make(chan struct{})}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 30 * time.Second}
	go func() {
		if err := r.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			// The run then counts losses, which is what happened.
			return
		}
	}()
	return r, nil
}

func (r *receiver) url(path string) string { return "http://" + r.addr + "/" + path }

func (r *receiver) close() {
	close(r.hold)
	_ = r.server.Close()
}

// restart makes latencies count from one moment, for a backlog whose events were published long before.
func (r *receiver) restart(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.since = at
}

// forget begins anew: what came so far was preparation.
func (r *receiver) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen, r.unique, r.duplicates, r.latencies = make(map[string]int), 0, 0, nil
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	now := time.Now()
	if err != nil {
		return
	}
	if req.URL.Path == "/hang" {
		<-r.hold
		return
	}
	if r.delay > 0 {
		time.Sleep(r.delay)
	}
	r.note(req.Header.Get("webhook-id")+req.URL.Path, sentAt(body), now)
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) note(id string, sent, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[id]++
	if r.seen[id] > 1 {
		r.duplicates++
		return
	}
	r.unique++
	r.last = now
	if sent.Before(r.since) {
		sent = r.since
	}
	r.latencies = append(r.latencies, now.Sub(sent))
}

// arrived is how many different deliveries came since it last forgot.
func (r *receiver) arrived() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unique
}

// await waits until so many have arrived, or until none has for a while; it tells when the last came.
func (r *receiver) await(ctx context.Context, expected int, patience time.Duration) time.Time {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	begin := time.Now()
	for {
		r.mu.Lock()
		done, last := r.unique >= expected, r.last
		r.mu.Unlock()
		idle := time.Since(begin)
		if !last.IsZero() && last.After(begin) {
			idle = time.Since(last)
		}
		if done || idle > patience || ctx.Err() != nil {
			return last
		}
		<-tick.C
	}
}

// body makes a payload of a size that begins with the moment it is published.
func body(size int) []byte {
	stamp := `{"t":"` + strconv.FormatInt(time.Now().UnixNano(), 10) + `","pad":"`
	return []byte(stamp + strings.Repeat("x", max(size-len(stamp)-2, 0)) + `"}`)
}

// sentAt reads the moment from a payload.
func sentAt(payload []byte) time.Time {
	_, rest, _ := bytes.Cut(payload, []byte(`{"t":"`))
	digits, _, _ := bytes.Cut(rest, []byte(`"`))
	nanos, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(0, nanos)
}
