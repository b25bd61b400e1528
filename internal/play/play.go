// Package play is a receiver of the product's own, for trying things out: whatever is POSTed to a bin is kept in memory
// and can be looked at. It is served at /play/{bin} in development and the demo only. It knows nothing of deliveries; the
// signature is for the one who looks to verify.
package play

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"time"
)

const (
	maxBins     = 50
	maxRequests = 100
	maxBody     = 256 << 10
	maxDelay    = 30 * time.Second
)

// Request is one that a bin received.
type Request struct {
	At      time.Time           `json:"at"`
	Headers map[string][]string `json:"headers"`
	Body    string              `json:"body"`
	// Status is what the bin answered.
	Status int `json:"status"`
}

// Bins are the bins of one node. The zero value is ready; it is safe for concurrent use.
type Bins struct {
	mu   sync.Mutex
	bins map[string][]Request
}

var binName = regexp.MustCompile(`^/play/([a-z0-9-]{1,64})$`)

// ServeHTTP takes POST /play/{bin}?status=500&delay=2s (both optional), answers GET /play/{bin} with
// {"data": [Request…]} newest first, and empties it on DELETE.
func (b *Bins) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	match := binName.FindStringSubmatch(r.URL.Path)
	if match == nil {
		http.Error(w, "a bin's name is 1 to 64 small letters, digits and hyphens: /play/my-bin", http.StatusNotFound)
		return
	}
	switch r.Method {
	case http.MethodPost:
		b.receive(w, r, match[1])
	case http.MethodGet:
		b.show(w, match[1])
	case http.MethodDelete:
		b.mu.Lock()
		delete(b.bins, match[1])
		b.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Allow", "DELETE, GET, POST")
		http.Error(w, "a bin takes POST, GET and DELETE", http.StatusMethodNotAllowed)
	}
}

func (b *Bins) receive(w http.ResponseWriter, r *http.Request, name string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the body could not be read", http.StatusBadRequest)
		return
	}
	status, err := strconv.Atoi(r.URL.Query().Get("status"))
	if err != nil || status < 200 || status > 599 {
		status = http.StatusOK
	}
	if delay, err := time.ParseDuration(r.URL.Query().Get("delay")); err == nil && delay > 0 {
		select {
		case <-time.After(min(delay, maxDelay)):
		case <-r.Context().Done():
			return
		}
	}
	b.keep(name, Request{At: time.Now().UTC(), Headers: r.Header, Body: string(body), Status: status})
	w.WriteHeader(status)
}

// keep adds a request, newest first; the oldest of a full bin goes, and a new bin beyond the bound is not made.
func (b *Bins) keep(name string, r Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bins == nil {
		b.bins = make(map[string][]Request)
	}
	if _, ok := b.bins[name]; !ok && len(b.bins) >= maxBins {
		return
	}
	kept := append([]Request{r}, b.bins[name]...)
	b.bins[name] = kept[:min(len(kept), maxRequests)]
}

func (b *Bins) show(w http.ResponseWriter, name string) {
	b.mu.Lock()
	list := append([]Request{}, b.bins[name]...)
	b.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(map[string][]Request{"data": list})
}
