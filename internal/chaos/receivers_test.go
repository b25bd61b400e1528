//go:build unix

package chaos_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/hooktest"
	"github.com/posthorn/posthorn/internal/ledger"
)

const (
	// badTimeout is the deadline of what misbehaves in time.
	badTimeout = 2 * time.Second
	// badEvery is how many events of the usual kinds come for one that goes to all receivers that misbehave: few enough for no
	// breaker to open.
	badEvery = 48
)

// misbehaving is a receiver as a file of them describes it, with a lane of its own. It misbehaves at the first attempt of each
// event, and answers the next.
type misbehaving struct {
	ID       string
	Receiver badReply
	Expect   struct{ Outcome string }
	*lane
	receiver *hooktest.Receiver
}

// badReply is what it does.
type badReply struct {
	Status     json.RawMessage
	Headers    map[string]string
	HeadersGen map[string]struct {
		Repeat string
		Times  int
	} `json:"headers_gen"`
	Body       string
	Framing    string
	Raw        string
	RepeatRaw  string          `json:"repeat_raw"`
	Delay      json.RawMessage `json:"delay_s"`
	Drip       string
	ReadRate   string `json:"read_rate"`
	TLS        string
	DNS        string
	Sequence   []any
	Connection struct{ TCP string }
	// cut breaks its body off.
	cut bool
}

// readMisbehaving reads those that can be played on a port: what needs names, certificates or days is played elsewhere.
func readMisbehaving(t *testing.T) []*misbehaving {
	t.Helper()
	text, err := os.ReadFile("../egress/testdata/receivers.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Receivers []*misbehaving }
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	list := slices.DeleteFunc(all.Receivers, func(m *misbehaving) bool {
		r := &m.Receiver
		return r.TLS != "" || r.DNS != "" || r.Sequence != nil || strings.Contains(r.Connection.TCP, "SYN")
	})
	gone, cut := &misbehaving{ID: "gone"}, &misbehaving{ID: "cut"}
	gone.Receiver.Status, cut.Receiver.cut = json.RawMessage("410"), true
	return append(list, gone, cut)
}

// status is what its first answer says; 0 for none that can be read.
func (b *badReply) status() int {
	status := http.StatusOK
	switch {
	case b.Connection.TCP != "", b.RepeatRaw != "":
		return 0
	case b.Raw != "":
		_, code, _ := strings.Cut(b.Raw, " ")
		status, _ = strconv.Atoi(code[:min(3, len(code))])
	case b.Status != nil:
		_ = json.Unmarshal(b.Status, &status)
	}
	return status
}

// reply is its first answer.
func (b *badReply) reply() hooktest.Reply {
	switch {
	case strings.Contains(b.Connection.TCP, "RST"):
		return hooktest.Reset()
	case b.Raw != "":
		return hooktest.Raw(b.Raw)
	case b.RepeatRaw != "":
		return hooktest.Endless("", b.RepeatRaw, 100*time.Millisecond)
	case b.cut:
		return hooktest.Respond(http.StatusOK).Big(1 << 20).Cut(1000).Reply()
	}
	response := hooktest.Respond(b.status()).Body(b.Body)
	switch {
	case b.Body == "10 GB":
		response = response.Big(10_000_000_000)
	case b.Body == "bomb":
		response = response.Big(50 << 20).Gzipped(3)
	case strings.HasPrefix(b.Body, "gzip("):
		response = response.Body("ok").Gzipped(1)
	}
	for name, value := range b.Headers {
		if name != "Content-Length" && name != "Content-Encoding" {
			response = response.Header(name, value)
		}
	}
	for name, gen := range b.HeadersGen {
		response = response.Header(name, strings.Repeat(gen.Repeat, gen.Times))
	}
	switch {
	case b.Drip != "":
		response = response.Drip(time.Second)
	case b.Framing == "eof":
		response = response.UntilEOF()
	}
	reply := response.Reply()
	if b.Delay != nil {
		reply = reply.After(badTimeout - time.Second)
	}
	return reply
}

// waits says that its lane stands still for longer than a run.
func (b *badReply) waits() bool {
	_, err := strconv.Atoi(b.Headers["Retry-After"])
	return err == nil || b.status() == http.StatusTooManyRequests || b.status() == http.StatusGone
}

// listen opens its port and subscribes it.
func (m *misbehaving) listen(w *world, kind string) {
	w.t.Helper()
	var url string
	m.receiver, url = hooktest.Listen(w.t, m.ID)
	if m.Receiver.Connection.TCP == "never read" {
		m.receiver.Reply(hooktest.NeverRead(), hooktest.NeverRead(), hooktest.NeverRead(), hooktest.Status(http.StatusNoContent))
	} else {
		bad := m.Receiver.reply()
		m.receiver.ReplyBy(func(r hooktest.Request) hooktest.Reply {
			if r.Attempt == 1 {
				return bad
			}
			return hooktest.Status(http.StatusNoContent)
		})
	}
	m.lane = &lane{name: m.ID}
	w.lanes[m.ID] = m.lane
	w.add(m.lane, map[string]any{
		"url": url, "event_types": []string{kind}, "timeout_seconds": int(badTimeout.Seconds()),
		"retry": map[string]any{"initial": 0.2, "multiplier": 1.5, "maximum": 2, "attempts": 40},
	})
	m.receiver.VerifyWith(hooktest.ByReference(m.secret))
}

// requests are what it got, as the ledger takes them.
func (m *misbehaving) requests() (list []ledger.Request) {
	for _, r := range m.receiver.Requests() {
		entry := ledger.Request{
			Subscription: m.subscription, Attempt: r.Attempt, At: r.At, Type: r.Header.Get("webhook-event-type"),
			ContentType: r.Header.Get("Content-Type"), Body: r.Body, Signature: r.Signature, Status: http.StatusNoContent,
		}
		_ = entry.Event.UnmarshalText([]byte(r.Event))
		if r.Attempt == 1 && m.Receiver.Connection.TCP != "never read" {
			entry.Status, entry.Unread = m.Receiver.status(), m.Expect.Outcome != "success"
		}
		list = append(list, entry)
	}
	return list
}

// TestReceivers has a node serve receivers that misbehave in every way beside those that do not, and kills it once amid them: the
// others notice nothing, and the ledger finds nothing.
func TestReceivers(t *testing.T) { bothStores(t, misbehavingReceivers) }

func misbehavingReceivers(t *testing.T, store string) {
	const rate = 100
	w := newWorld(t, store, 16)
	all := readMisbehaving(t)
	bad := kind{name: "chaos.bad"}
	first := w.site.start("").await()
	for _, m := range all {
		m.listen(w, bad.name)
		bad.lanes = append(bad.lanes, m.lane)
	}
	first.Kill()
	usual := w.producer.kinds
	w.producer.kinds = nil
	for len(w.producer.kinds) < badEvery {
		w.producer.kinds = append(w.producer.kinds, usual...)
	}
	w.producer.kinds = append(w.producer.kinds, bad)
	start := w.mark()
	part := lasting(2*time.Second, 4*time.Second)
	n := w.site.start("").await()
	w.producer.at(rate, part)
	slowest := w.slowestSince(start.at, bad.lanes[0])
	n.Kill()
	n = w.site.start("").await()
	w.producer.at(rate, part)
	if !w.producer.settle(30 * time.Second) {
		t.Errorf("%d events are not acknowledged", w.producer.waiting.Load())
	}
	waiting := 0
	for _, m := range all {
		if m.Receiver.waits() {
			waiting++
		}
	}
	waiting *= int(w.producer.next.Load())/len(w.producer.kinds) + 1
	if !eventually(90*time.Second, func() bool { p := w.pending(); return p >= 0 && p <= waiting }) {
		t.Errorf("%d deliveries are pending, want at most the %d of lanes that were asked to wait", w.pending(), waiting)
	}
	memory := residentOf(n.PID())
	n.stop()
	f := w.facts(start)
	for _, m := range all {
		f.Requests = append(f.Requests, m.requests()...)
	}
	slices.SortStableFunc(f.Requests, func(a, b ledger.Request) int { return cmp.Compare(a.At.UnixNano(), b.At.UnixNano()) })
	v := w.judge(f)
	figures.add(t, scenario{Name: "receivers", Store: store, Seed: *seed, Length: fmt.Sprintf("%d receivers that misbehave, %d events/s, kill -9 after %s", len(all), rate, part), Figures: []figure{
		number("events acknowledged", "", v.events, true),
		number("attempts that failed", "some", failures(f), failures(f) > 0),
		prompt("first attempt of the other lanes after the acknowledgement, 99th percentile, before the kill", time.Second, slowest),
		number("acknowledged events lost", "0", v.lost, v.lost == 0),
		number("delivered twice, of interrupted attempts", "at most those", v.repeated, v.unexplained == 0).and("%d", v.interrupted),
		number("other rules of the ledger broken", "0", len(v.violations)-v.lost, len(v.violations) == v.lost),
		{What: "memory of the node", Value: fmt.Sprintf("%d MiB", memory>>20), Kept: true},
	}})
}

func failures(f ledger.Facts) (n int) {
	for i := range f.Attempts {
		if f.Attempts[i].Outcome != posthorn.Succeeded && f.Attempts[i].Outcome != posthorn.Interrupted {
			n++
		}
	}
	return n
}
