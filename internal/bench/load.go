package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// client speaks to the server under test.
type client struct {
	url, key      string
	http          *http.Client
	subscriptions []string
}

func newClient(url, key string, connections int) *client {
	return &client{url: url, key: key, http: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: connections + 64, MaxIdleConns: connections + 64, DisableCompression: true,
	}, Timeout: 2 * time.Minute}}
}

// send makes one POST and reads all of the answer.
func (c *client) send(ctx context.Context, path string, payload []byte) (status int, answer []byte, err error) {
	return c.do(ctx, http.MethodPost, path, payload)
}

func (c *client) do(ctx context.Context, method, path string, payload []byte) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(payload))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// post makes one POST of a value and reads the answer into another.
func (c *client) post(ctx context.Context, path string, value, into any) error {
	payload, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if value == nil {
		payload = nil
	}
	status, answer, err := c.send(ctx, path, payload)
	if err != nil {
		return err
	}
	if status >= 300 {
		return fmt.Errorf("POST %s: %d %s", path, status, answer)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

func (c *client) subscribe(ctx context.Context, url, eventType string) error {
	var made struct{ ID string }
	err := c.post(ctx, "/subscriptions", map[string]any{"url": url, "event_types": []string{eventType}, "timeout_seconds": 30}, &made)
	if err == nil {
		c.subscriptions = append(c.subscriptions, made.ID)
	}
	return err
}

// unsubscribe deletes the scenario's subscriptions, as the next may find the same store.
func (c *client) unsubscribe(ctx context.Context) {
	var all sync.WaitGroup
	each := make(chan string)
	for range 8 {
		all.Go(func() {
			for id := range each {
				// What is left over would only be matched by nothing.
				_, _, _ = c.do(ctx, http.MethodDelete, "/subscriptions/"+id, nil)
			}
		})
	}
	for _, id := range c.subscriptions {
		each <- id
	}
	close(each)
	all.Wait()
	c.subscriptions = nil
}

// publishBatch publishes events of one type in one request.
func (c *client) publishBatch(ctx context.Context, eventType string, events, size int) error {
	status, answer, err := c.send(ctx, "/events/batch", batchOf(eventType, events, size))
	if err != nil {
		return err
	}
	if status != http.StatusOK || bytes.Contains(answer, []byte(`"error"`)) {
		return fmt.Errorf("publish a batch: %d %.200s", status, answer)
	}
	return nil
}

// publishMany publishes so many events of one type, 500 a request.
func (c *client) publishMany(ctx context.Context, eventType string, events, size int) error {
	for left := events; left > 0; left -= 500 {
		if err := c.publishBatch(ctx, eventType, min(left, 500), size); err != nil {
			return err
		}
	}
	return nil
}

func eventOf(eventType string, size int) []byte {
	return fmt.Appendf(nil, `{"type":%q,"payload":%s}`, eventType, body(size))
}

func batchOf(eventType string, events, size int) []byte {
	b := []byte(`{"events":[`)
	for i := range events {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, eventOf(eventType, size)...)
	}
	return append(b, "]}"...)
}

// loadResult is what the publishing side saw.
type loadResult struct {
	accepted, refused int
	latencies         []time.Duration
	took              time.Duration
}

// add counts another load's figures too.
func (l *loadResult) add(other loadResult) {
	l.accepted += other.accepted
	l.refused += other.refused
	l.latencies = append(l.latencies, other.latencies...)
	l.took += other.took
}

// publish runs the scenario's load for a while.
func publish(ctx context.Context, o Options, s Scenario, c *client, duration time.Duration) (loadResult, error) {
	run := &publishing{scenario: s, client: c}
	ctx, cancel := context.WithTimeout(ctx, duration+30*time.Second)
	defer cancel()
	start := time.Now()
	if s.Rate > 0 {
		run.openLoop(ctx, start, duration)
	} else {
		run.closedLoop(ctx, start.Add(duration), o.Clients)
	}
	run.result.took = time.Since(start)
	return run.result, run.err
}

type publishing struct {
	scenario Scenario
	client   *client
	next     atomic.Int64

	mu     sync.Mutex
	result loadResult
	err    error
}

// closedLoop has each client publish as soon as its last request was answered.
func (p *publishing) closedLoop(ctx context.Context, end time.Time, clients int) {
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for time.Now().Before(end) && ctx.Err() == nil {
				p.one(ctx, time.Now())
			}
		})
	}
	all.Wait()
}

// openLoop publishes at a fixed rate whatever the answers do; latencies count from when a request was due, so that a
// server that stalls cannot hide it by making the load wait.
func (p *publishing) openLoop(ctx context.Context, start time.Time, duration time.Duration) {
	var all sync.WaitGroup
	gap := time.Second / time.Duration(p.scenario.Rate)
	for due := start; due.Before(start.Add(duration)) && ctx.Err() == nil; due = due.Add(gap) {
		time.Sleep(time.Until(due))
		all.Go(func() { p.one(ctx, due) })
	}
	all.Wait()
}

func (p *publishing) one(ctx context.Context, due time.Time) {
	s := p.scenario
	kind := eventType(0)
	if !s.Fanout {
		kind = eventType(int(p.next.Add(1)) % s.Subscriptions)
	}
	path, payload := "/events", []byte(nil)
	if s.Batch > 1 {
		path, payload = "/events/batch", batchOf(kind, s.Batch, s.Payload)
	} else {
		payload = eventOf(kind, s.Payload)
	}
	status, answer, err := p.client.send(ctx, path, payload)
	took := time.Since(due)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil:
		p.err = err
	case status == http.StatusAccepted || status == http.StatusOK:
		refused := bytes.Count(answer, []byte(`"error":`)) // in a batch, each event for itself
		p.result.accepted += s.Batch - refused
		p.result.refused += refused
		p.result.latencies = append(p.result.latencies, took)
	default:
		p.result.refused += s.Batch
		if status != http.StatusServiceUnavailable && status != http.StatusTooManyRequests {
			p.err = fmt.Errorf("POST %s: %d %.200s", path, status, answer)
		}
	}
}
