//go:build unix

package chaos_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/ledger"
)

// producer publishes numbered events, each under a key and again until it is acknowledged. An acknowledgement is on disk
// before the next event is published.
type producer struct {
	t       testing.TB
	client  *http.Client
	urls    []string
	journal *journal
	// kinds are the types of events with the lanes that want them.
	kinds []kind
	// retry is the wait after an event was refused.
	retry time.Duration

	numbers chan int
	working sync.WaitGroup
	next    atomic.Int64
	ended   atomic.Bool
	waiting atomic.Int64 // events taken and not acknowledged

	// counting keeps and writes down no publishes: see receiver.
	counting bool

	mu        sync.Mutex
	publishes []ledger.Publish
	refusals  []refusal
	slowest   time.Duration
	lastAck   time.Time
}

type kind struct {
	name  string
	lanes []*lane
	// keys is how many ordering keys its events have; 0 is none.
	keys int
}

// refusal is an answer that was no 2xx; of status 0 when there was none.
type refusal struct {
	at     time.Time
	took   time.Duration
	status int
	err    error
}

// acknowledgement is a line of the journal.
type acknowledgement struct {
	Number int
	ID     string
	At     time.Time
}

func newProducer(t testing.TB, clients int, kinds []kind, urls ...string) *producer {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: clients, DisableCompression: true}
	p := &producer{
		t: t, client: &http.Client{Transport: transport, Timeout: 30 * time.Second}, urls: urls, kinds: kinds,
		journal: newJournal(t, "acknowledgements"), retry: 10 * time.Millisecond, numbers: make(chan int, 1<<16),
	}
	for range clients {
		p.working.Go(func() {
			for n := range p.numbers {
				p.publish(n)
			}
		})
	}
	t.Cleanup(func() {
		p.ended.Store(true)
		close(p.numbers)
		p.working.Wait()
		transport.CloseIdleConnections()
	})
	return p
}

// more lets so many more events be published.
func (p *producer) more(n int) {
	for range n {
		p.waiting.Add(1)
		p.numbers <- int(p.next.Add(1) - 1)
	}
}

// at publishes at a rate a second for a time.
func (p *producer) at(rate int, lasts time.Duration) {
	began, sent := time.Now(), 0
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for time.Since(began) < lasts {
		due := int(time.Since(began).Seconds() * float64(rate))
		p.more(due - sent)
		sent = due
		<-tick.C
	}
}

// settle waits until everything is acknowledged.
func (p *producer) settle(within time.Duration) bool {
	for end := time.Now().Add(within); p.waiting.Load() > 0; after(2 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

func (p *producer) publish(n int) {
	defer p.waiting.Add(-1)
	k := p.kinds[n%len(p.kinds)]
	entry := ledger.Publish{
		Key: fmt.Sprintf("chaos-%d", n), Type: k.name, ContentType: posthorn.DefaultContentType, Sent: time.Now(),
		Payload: payload(n),
	}
	for _, l := range k.lanes {
		entry.Wanted = append(entry.Wanted, l.subscription)
	}
	body := fmt.Appendf(nil, `{"type":%q,"payload":%s,"idempotency_key":%q`, entry.Type, entry.Payload, entry.Key)
	if k.keys > 0 {
		entry.OrderingKey = fmt.Sprintf("order-%d", n/len(p.kinds)%k.keys)
		body = fmt.Appendf(body, `,"ordering_key":%q`, entry.OrderingKey)
	}
	body = append(body, '}')
	for turn := n; !p.ended.Load(); turn++ {
		if p.try(p.url(turn), n, body, entry) {
			// One in twenty is published once more, as by a producer that lost the answer.
			if n%20 == 0 {
				p.try(p.url(turn+1), n, body, entry)
			}
			return
		}
		after(p.retry)
	}
}

// url is the node whose turn it is.
func (p *producer) url(turn int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.urls[turn%len(p.urls)]
}

// to publishes to other nodes from now on.
func (p *producer) to(urls ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.urls = urls
}

// try publishes once and reports whether it was acknowledged.
func (p *producer) try(url string, n int, body []byte, entry ledger.Publish) bool {
	began := time.Now()
	status, text, header, err := p.post(url+"/events", body)
	took := time.Since(began)
	if err != nil || status != http.StatusAccepted {
		p.refused(refusal{began, took, status, err}, header, text)
		return false
	}
	var said struct {
		ID         posthorn.EventID
		Deliveries int
	}
	if err := json.Unmarshal(text, &said); err != nil {
		p.t.Errorf("event %d: %v: %s", n, err, text)
		return false
	}
	entry.Event, entry.Deliveries, entry.Acknowledged = said.ID, said.Deliveries, time.Now()
	if !p.counting {
		p.journal.note(acknowledgement{n, said.ID.String(), entry.Acknowledged})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.counting {
		p.publishes = append(p.publishes, entry)
	}
	p.slowest, p.lastAck = max(p.slowest, took), entry.Acknowledged
	return true
}

func (p *producer) post(url string, body []byte) (status int, text []byte, header http.Header, err error) {
	return p.send(http.MethodPost, url, body)
}

func (p *producer) send(method, url string, body []byte) (status int, text []byte, header http.Header, err error) {
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	text, err = io.ReadAll(resp.Body)
	return resp.StatusCode, text, resp.Header, err
}

func (p *producer) refused(r refusal, header http.Header, text []byte) {
	// Without Redis a limit is shared with the nodes that were killed lately, the one on keys not seen before too.
	known := r.status == http.StatusServiceUnavailable || r.status == http.StatusTooManyRequests
	if r.err == nil && (!known || header.Get("Retry-After") == "") {
		p.t.Errorf("a publish was answered %d: %s", r.status, text)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusals = append(p.refusals, r)
}

// acknowledged is how many acknowledgements there were.
func (p *producer) acknowledged() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.publishes)
}

func (p *producer) since(n int) []ledger.Publish {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.publishes[n:len(p.publishes):len(p.publishes)]
}

// between counts the acknowledgements whose whole exchange was within a time, and the refusals that ended in it.
func (p *producer) between(from, to time.Time) (accepted int, refusals []refusal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.publishes {
		if e.Sent.After(from) && e.Acknowledged.Before(to) {
			accepted++
		}
	}
	for _, r := range p.refusals {
		if r.at.After(from) && r.at.Before(to) {
			refusals = append(refusals, r)
		}
	}
	return accepted, refusals
}

// p99 of the times that refusals took.
func p99(refusals []refusal) time.Duration {
	if len(refusals) == 0 {
		return 0
	}
	took := make([]time.Duration, len(refusals))
	for i, r := range refusals {
		took[i] = r.took
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// statuses counts refusals by what they were; what was not answered at all is no refusal of the node's.
func statuses(refusals []refusal) string {
	byStatus := map[int]int{}
	for _, r := range refusals {
		byStatus[r.status]++
	}
	delete(byStatus, 0)
	var text []string
	for _, status := range slices.Sorted(maps.Keys(byStatus)) {
		text = append(text, fmt.Sprintf("%d times %d", byStatus[status], status))
	}
	if len(text) == 0 {
		return "none refused"
	}
	return strings.Join(text, ", ")
}
