package app_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/bubble"
	. "github.com/posthorn/posthorn/internal/hooktest"
)

// receiverCase is one way to misbehave, and what must come of it.
type receiverCase struct {
	ID       string       `json:"id"`
	Name     string       `json:"name"`
	Receiver receiverRow  `json:"receiver"`
	Expect   expectations `json:"expect"`
}

type expectations struct {
	Outcome  string  `json:"outcome"`
	Error    string  `json:"error"`
	AtMost   float64 `json:"at_most_s"`
	Requests int     `json:"requests"`
	Throttle string  `json:"throttle"`
	// Growth bounds what an attempt leaves in memory.
	Growth    uint64 `json:"memory_growth_mb"`
	Next      string `json:"next"`
	Followed  *bool  `json:"followed"`
	ProxyUsed *bool  `json:"proxy_used"`
	Plaintext *bool  `json:"plaintext_sent"`
	Untouched string `json:"no_connection"`
}

// receiverTimeout is the deadline that the cases were written for; receiverStep the first delay of the default schedule.
const (
	receiverTimeout = 30 * time.Second
	receiverStep    = 5 * time.Second
)

// TestReceivers plays every case against a whole node in fake time: those beside this test, and where there is a larger set
// those that only it has.
func TestReceivers(t *testing.T) {
	played := map[string]bool{}
	for _, c := range readReceivers(t, filepath.Join("testdata", "receivers.json")) {
		t.Run(c.ID, func(t *testing.T) {
			if !c.play(t) {
				t.Errorf("%s is not understood", c.Name)
			}
		})
		played[c.Name] = true
	}
	t.Logf("%d receivers", len(played))
	shared := os.Getenv("POSTHORN_CORPUS")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "shared", "corpus")
	}
	path := filepath.Join(shared, "receivers.json")
	if _, err := os.Stat(path); err != nil {
		return
	}
	for _, c := range readReceivers(t, path) {
		if played[c.Name] {
			continue
		}
		t.Run(c.ID, func(t *testing.T) {
			if !c.play(t) {
				t.Logf("%s needs more than this test can play", c.Name)
			}
		})
	}
}

func readReceivers(t *testing.T, path string) []receiverCase {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Receivers []receiverCase }
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all.Receivers
}

// play sends one event to the receiver of the case and looks at what came of it; false when it cannot play the case.
func (c receiverCase) play(t *testing.T) bool {
	if c.Receiver.Sequence != nil {
		return c.playFailingForDays(t)
	}
	understood := true
	bubble.Test(t, func(t *testing.T) {
		stage := c.Receiver.stage(t)
		if understood = stage != nil; !understood {
			return
		}
		n := StartNode(t, Setup{Quiet: true, Network: stage.network, Egress: stage.egress})
		sub := n.Subscribe(stage.url, func(s *posthorn.Subscription) { s.Timeout = receiverTimeout })
		payload := []byte(`{"amount":1200}`)
		if c.Receiver.ReadRate != "" {
			payload = make([]byte, 200<<10)
		}
		before := heap()
		e := &posthorn.Event{Type: "invoice.paid", Payload: payload, ContentType: "application/octet-stream"}
		start := time.Now()
		accepted := n.Publish(e)
		time.Sleep(receiverTimeout + time.Second)
		synctest.Wait()
		attempts := n.Attempts(n.Delivery(accepted.EventID, sub.ID).ID)
		if len(attempts) == 0 {
			t.Fatal("no attempt is recorded")
		}
		if grown := heap() - before; c.Expect.Growth > 0 && int64(grown) > int64(c.Expect.Growth<<20) {
			t.Errorf("the heap grew by %d KB", grown>>10)
		}
		c.checkAttempt(t, &attempts[0])
		c.checkContact(t, stage, len(attempts))
		if c.Expect.Throttle != "" && !n.Lane(sub.ID).ThrottledUntil.After(n.Store.Now()) {
			t.Error("the lane is not throttled")
		}
		if c.Expect.Next != "" {
			c.checkNext(t, n, stage, sub)
		}
		c.checkOutcome(t, n, accepted.EventID, sub.ID, start)
	})
	return understood
}

// heap is what is alive now.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// words that the cases use for errors, and the outcomes they stand for.
var errorWords = map[string]posthorn.Outcome{
	"timeout": posthorn.Timeout, "protocol": posthorn.InvalidResponse, "headers too large": posthorn.InvalidResponse,
	"reset": posthorn.ConnectError, "refused": posthorn.ConnectError, "closed": posthorn.ConnectError, "connect": posthorn.ConnectError,
	"tls": posthorn.TLSError, "dns": posthorn.DNSError, "blocked": posthorn.Blocked, "truncated": posthorn.InvalidResponse,
}

func (c receiverCase) checkAttempt(t *testing.T, a *posthorn.Attempt) {
	t.Helper()
	if most := c.Expect.AtMost; most > 0 && a.Timing.Total.Seconds() > most {
		t.Errorf("the attempt took %s, more than %g s", a.Timing.Total, most)
	}
	if c.Expect.Error != "" {
		known, met := false, false
		for word, outcome := range errorWords {
			if strings.Contains(c.Expect.Error, word) {
				known, met = true, met || a.Outcome == outcome
			}
		}
		if known && !met {
			t.Errorf("the attempt is %s (%s), want %s", a.Outcome, a.Error, c.Expect.Error)
		}
	}
	if a.StartedAt.IsZero() || a.Outcome != posthorn.Succeeded && (a.Error == "" || a.Detail == "") || len(a.Body) > posthorn.KeptBody {
		t.Errorf("the attempt says too little or keeps too much: %s, %q, %q, body of %d", a.Outcome, a.Error, a.Detail, len(a.Body))
	}
}

// checkContact looks at who was spoken to: nobody but the receiver, and no more often than there were attempts.
func (c receiverCase) checkContact(t *testing.T, stage *stage, attempts int) {
	t.Helper()
	got := 0
	if stage.receiver != nil {
		got = stage.receiver.Count()
	}
	if (c.Expect.Requests > 0 || c.Expect.Followed != nil || c.Expect.ProxyUsed != nil) && got != attempts {
		t.Errorf("%d requests in %d attempts", got, attempts)
	}
	if c.Expect.Plaintext != nil && got > 0 {
		t.Errorf("%d requests were sent in spite of the TLS error", got)
	}
	if c.Expect.Untouched != "" && stage.network.Dials() > 0 {
		t.Errorf("%d connections", stage.network.Dials())
	}
}

// checkNext sends another event: what the receiver said too much must not be taken for its answer.
func (c receiverCase) checkNext(t *testing.T, n *Node, stage *stage, sub *posthorn.Subscription) {
	t.Helper()
	stage.receiver.Reply(Status(500))
	accepted := n.Publish(&posthorn.Event{Type: "invoice.paid", Payload: []byte(`"second"`)})
	time.Sleep(time.Second)
	synctest.Wait()
	attempts := n.Attempts(n.Delivery(accepted.EventID, sub.ID).ID)
	if len(attempts) != 1 || attempts[0].StatusCode != 500 {
		t.Errorf("the next delivery got %+v", attempts)
	}
}

// checkOutcome compares the delivery and the subscription with what is expected, and a retry with the schedule.
func (c receiverCase) checkOutcome(t *testing.T, n *Node, event posthorn.EventID, sub posthorn.SubscriptionID, start time.Time) {
	t.Helper()
	d := n.Delivery(event, sub)
	attempts := n.Attempts(d.ID)
	first := attempts[0]
	status := n.Subscription(sub).Status
	got := "retry"
	switch {
	case first.Outcome == posthorn.Succeeded:
		got = "success"
	case status == posthorn.StatusDisabled:
		got = "disable"
	case d.State == posthorn.Exhausted || d.State == posthorn.Cancelled:
		got = "give_up"
	}
	if !strings.Contains(" "+c.Expect.Outcome+" ", " "+got+" ") && !(c.Expect.Outcome == "blocked" && first.Outcome == posthorn.Blocked) {
		t.Errorf("it came to %s (%s %d, %s), want %s", got, first.Outcome, first.StatusCode, first.Error, c.Expect.Outcome)
	}
	if (got == "success") != (d.State == posthorn.Delivered) {
		t.Errorf("after %s the delivery is %s", first.Outcome, d.State)
	}
	if got != "retry" {
		return
	}
	floor := c.floor(start)
	low, high := max(receiverStep*8/10, floor), max(receiverStep*12/10, floor*12/10)+100*time.Millisecond
	due := d.DueAt
	if len(attempts) > 1 {
		due = attempts[1].StartedAt
	}
	if wait := due.Sub(first.RecordedAt); wait < low || wait > high {
		t.Errorf("the retry comes after %s, want %s to %s", wait, low, high)
	}
}

// floor is what the receiver's Retry-After asks for, read by the rules alone.
func (c receiverCase) floor(now time.Time) time.Duration {
	var status int
	_ = json.Unmarshal(c.Receiver.Status, &status)
	// Negative is nothing that can be read, and a time that is over.
	asked := time.Duration(-1)
	for name, value := range c.Receiver.Headers {
		if !strings.EqualFold(name, "Retry-After") {
			continue
		}
		value = strings.Trim(value, " \t")
		if strings.Trim(value, "0123456789") == "" && value != "" {
			seconds, err := strconv.ParseInt(value, 10, 32)
			if err != nil {
				seconds = 86400
			}
			asked = time.Duration(seconds) * time.Second
		} else if at, err := http.ParseTime(value); err == nil && at.After(now) {
			asked = at.Sub(now)
		}
	}
	asked = min(asked, 24*time.Hour)
	switch status {
	case 429:
		if asked < 0 {
			return time.Minute
		}
		return asked
	case 502, 503, 504:
		return max(asked, 0)
	}
	return 0
}

// playFailingForDays is the case of a receiver that never answers well, for as long as it takes to be disabled.
func (c receiverCase) playFailingForDays(t *testing.T) bool {
	s := NewStory(t)
	s.Setup(func(setup *Setup) { setup.Quiet = true })
	shop := s.Subscribe("shop", func(s *posthorn.Subscription) { s.EventTypes = []string{"invoice.paid"} })
	owner := s.Subscribe("owner", func(s *posthorn.Subscription) { s.EventTypes = []string{"posthorn.subscription.*"} })
	s.Reply(shop, 500)
	for half := range 11 {
		s.Publish(At(time.Duration(12*half)*time.Hour), "invoice.paid")
	}
	s.WantStatus(At(122*time.Hour), shop, posthorn.StatusDisabled, posthorn.DisabledFailing)
	s.Do(At(123*time.Hour), "count the notices", func(*Node) {
		if got := owner.Receiver.Count(); got != 3 {
			t.Errorf("%d notices, want two warnings and one of the end", got)
		}
	})
	s.Run()
	return c.Expect.Outcome == "disable"
}
