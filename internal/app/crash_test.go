package app_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

const (
	crashRounds = 20
	crashEvents = 2000
	crashKey    = "phk_crash00000000000000000000000000000000"
)

// TestNothingAcknowledgedIsLostWhenTheProcessIsKilled publishes 2,000 events from eight clients to a real process that is
// killed with -9 at random moments, twenty times over, and then compares what was acknowledged with what arrived.
func TestNothingAcknowledgedIsLostWhenTheProcessIsKilled(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	random, moments := rand.New(rand.NewPCG(seed, 0)), rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	ledger := newLedger()
	receiver := httptest.NewServer(ledger)
	defer receiver.Close()
	s := &crashing{binary: buildBinary(t), dir: t.TempDir()}
	s.start(t)
	s.subscribe(t, receiver.URL)

	var publishers sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	work := make(chan int)
	for range 8 {
		publishers.Go(func() {
			for n := range work {
				s.publish(ctx, ledger, n)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := range crashEvents {
			work <- n
			// Spread over the rounds, so that each kill meets traffic.
			<-time.After(time.Duration(random.IntN(4)) * time.Millisecond)
		}
		close(work)
		publishers.Wait()
	}()
	kills := 0
	for kills < crashRounds {
		<-time.After(time.Duration(50+moments.IntN(250)) * time.Millisecond)
		s.kill(t)
		kills++
		s.start(t)
	}
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		t.Fatal("the publishers did not end")
	}
	missing := ledger.await(time.Minute)
	s.kill(t)
	t.Logf("%d kills, %d acknowledged, %d requests received, %d of them repeated", kills, len(ledger.acknowledged), ledger.requests, ledger.repeated())
	if len(missing) > 0 {
		t.Errorf("%d acknowledged events were never delivered, the first: %s", len(missing), missing[0])
	}
	// A kill doubles at most what was in flight or not yet recorded.
	if most := crashRounds * posthorn.DefaultMaxInFlight; ledger.repeated() > most {
		t.Errorf("%d requests were repeated, more than the %d that could be in flight", ledger.repeated(), most)
	}
	for _, fault := range ledger.faults {
		t.Error(fault)
	}
	if n := len(ledger.acknowledged); n != crashEvents {
		t.Errorf("%d events were acknowledged, want every one of %d in the end", n, crashEvents)
	}
}

// buildBinary builds the service once more: go's cache makes that cheap.
func buildBinary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "posthorn")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, module+"/cmd/posthorn").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// crashing is the process under test, over one data directory.
type crashing struct {
	binary, dir string

	mu  sync.Mutex
	url string
	cmd *exec.Cmd
}

func (s *crashing) start(t *testing.T) {
	t.Helper()
	cmd := exec.Command(s.binary, "serve", "--dev", "--port", "0")
	cmd.Env = append(withoutStores(os.Environ()), "POSTHORN_DATA_DIR="+s.dir, "POSTHORN_API_KEY="+crashKey, "POSTHORN_LOG_LEVEL=error")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			s.mu.Lock()
			s.url, s.cmd = url, cmd
			s.mu.Unlock()
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return
		}
	}
	t.Fatal("the service ended before it listened")
}

// withoutStores leaves out what would point the service at a store of another test.
func withoutStores(environ []string) []string {
	var kept []string
	for _, v := range environ {
		if !strings.HasPrefix(v, "DATABASE_URL=") && !strings.HasPrefix(v, "REDIS_URL=") {
			kept = append(kept, v)
		}
	}
	return kept
}

func (s *crashing) kill(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	cmd := s.cmd
	s.mu.Unlock()
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatalf("the service had ended by itself: %v", err)
	}
	_ = cmd.Wait()
}

func (s *crashing) post(ctx context.Context, path string, body []byte) (int, []byte, error) {
	return s.ask(ctx, http.MethodPost, path, body)
}

func (s *crashing) ask(ctx context.Context, method, path string, body []byte) (int, []byte, error) {
	s.mu.Lock()
	url := s.url
	s.mu.Unlock()
	req, err := http.NewRequestWithContext(ctx, method, url+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+crashKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

func (s *crashing) subscribe(t *testing.T, url string) {
	t.Helper()
	body := fmt.Appendf(nil, `{"url":%q,"event_types":["crash.*"],"retry":{"schedule":[1,1,1,1,1,1,1,1]}}`, url)
	if status, answer, err := s.post(t.Context(), "/subscriptions", body); err != nil || status != http.StatusCreated {
		t.Fatalf("POST /subscriptions: %d %s %v", status, answer, err)
	}
}

// publish repeats an event under its key until it is acknowledged, as a producer does.
func (s *crashing) publish(ctx context.Context, ledger *ledger, n int) {
	payload := fmt.Sprintf(`{"n": %d,  "big": 12345678901234567890.0, "é": "\u00e9"}`, n)
	body := fmt.Appendf(nil, `{"type":"crash.test","payload":%s,"idempotency_key":"event-%d"}`, payload, n)
	for ctx.Err() == nil {
		status, answer, err := s.post(ctx, "/events", body)
		if err == nil && status == http.StatusAccepted {
			var accepted struct{ ID string }
			if err := json.Unmarshal(answer, &accepted); err == nil {
				ledger.acknowledge(accepted.ID, payload)
				return
			}
		}
		<-time.After(20 * time.Millisecond)
	}
}

// ledger is both sides' memory: what was acknowledged, and what arrived.
type ledger struct {
	mu           sync.Mutex
	acknowledged map[string]string
	received     map[string]int
	requests     int
	faults       []string
	bodies       map[string]string
}

func newLedger() *ledger {
	return &ledger{acknowledged: map[string]string{}, received: map[string]int{}, bodies: map[string]string{}}
}

func (l *ledger) acknowledge(id, payload string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acknowledged[id] = payload
}

// ServeHTTP is the receiver.
func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // cut off by a kill: not received
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	id := r.Header.Get("webhook-id")
	if before, ok := l.bodies[id]; ok && before != string(body) {
		l.faults = append(l.faults, fmt.Sprintf("%s came with two bodies", id))
	}
	l.bodies[id] = string(body)
	l.received[id]++
	l.requests++
	w.WriteHeader(http.StatusNoContent)
}

// await waits until everything acknowledged has arrived, checks the bytes, and returns what has not.
func (l *ledger) await(within time.Duration) (missing []string) {
	for end := time.Now().Add(within); ; <-time.After(50 * time.Millisecond) {
		missing = nil
		l.mu.Lock()
		for id := range l.acknowledged {
			if l.received[id] == 0 {
				missing = append(missing, id)
			}
		}
		l.mu.Unlock()
		if len(missing) == 0 || time.Now().After(end) {
			break
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, payload := range l.acknowledged {
		if body, ok := l.bodies[id]; ok && body != payload {
			l.faults = append(l.faults, fmt.Sprintf("%s arrived as %q, published as %q", id, body, payload))
		}
	}
	return missing
}

func (l *ledger) repeated() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.requests - len(l.received)
}
