// Package hooktest holds what tests of the main job are made of: a subscriber that can misbehave in every way (receiver.go,
// reply.go, network.go), on a port or in memory, a node of the real parts in fake time (node.go) with a gate before its store
// (gate.go), and the story language over both (story.go). It is imported by tests only, and leaves the conformance of
// stores to internal/storetest.
package hooktest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Request is one request as a receiver got it.
type Request struct {
	// At is when the request had arrived whole.
	At time.Time
	// Conn numbers the receiver's connections from 1.
	Conn   int
	Method string
	Path   string
	Host   string
	Header http.Header
	Body   []byte
	// Event and Attempt are webhook-id and webhook-attempt; Attempt is 0 when it is not a number.
	Event   string
	Attempt int
	// Signature is what verifying said; nil means that the signature is right.
	Signature error

	serial int
}

// Receiver is a subscriber: it records every request and answers by a script, the last reply repeating. Each request takes
// the next reply; one that misbehaves before reading (NeverRead, Refuse) is taken by the next connection. It answers 200
// without a script. It is safe for concurrent use.
type Receiver struct {
	// Name is the host in a Network; it is for messages only where the receiver listens on a port.
	Name string

	listener net.Listener
	tls      *tls.Config
	ending   chan struct{}
	serving  sync.WaitGroup

	mu       sync.Mutex
	script   []Reply
	choose   func(Request) Reply
	verify   func(http.Header, []byte) error
	requests []Request
	changed  chan struct{} // closed and made anew with every request
	conns    map[net.Conn]struct{}
	accepted int
	ended    bool
}

// ErrUnverified marks requests to a receiver that knows no secret.
var ErrUnverified = errors.New("the receiver has no secret to verify with")

func newReceiver(name string) *Receiver {
	return &Receiver{
		Name: name, ending: make(chan struct{}), changed: make(chan struct{}), conns: make(map[net.Conn]struct{}),
	}
}

// Reply replaces the script. With none the receiver answers 200.
func (r *Receiver) Reply(script ...Reply) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.script, r.choose = script, nil
}

// ReplyBy answers each request by what it says.
func (r *Receiver) ReplyBy(choose func(Request) Reply) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.choose = choose
}

// VerifyWith checks every signature with a function from now on.
func (r *Receiver) VerifyWith(verify func(http.Header, []byte) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.verify = verify
}

// Requests are those received so far, in order of arrival.
func (r *Receiver) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// Count is how many requests have been received.
func (r *Receiver) Count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.requests)
}

// Accepted is how many connections have been made.
func (r *Receiver) Accepted() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.accepted
}

// Await waits until the receiver has at least n requests, or until the time is over; it reports which.
func (r *Receiver) Await(n int, within time.Duration) bool {
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	for {
		r.mu.Lock()
		enough, changed := len(r.requests) >= n, r.changed
		r.mu.Unlock()
		if enough {
			return true
		}
		select {
		case <-changed:
		case <-timeout.C:
			return r.Count() >= n
		}
	}
}

// Close ends every connection and waits for their goroutines.
func (r *Receiver) Close() {
	r.mu.Lock()
	if !r.ended {
		r.ended = true
		close(r.ending)
		if r.listener != nil {
			_ = r.listener.Close()
		}
		for c := range r.conns {
			_ = c.Close()
		}
	}
	r.mu.Unlock()
	r.serving.Wait()
}

// serve answers one connection's requests in the background.
func (r *Receiver) serve(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		_ = c.Close()
		return
	}
	r.accepted++
	number := r.accepted
	r.conns[c] = struct{}{}
	r.serving.Go(func() {
		r.converse(c, number)
		r.mu.Lock()
		delete(r.conns, c)
		r.mu.Unlock()
		_ = c.Close()
	})
}

// converse reads requests and replies to them until one side has had enough.
func (r *Receiver) converse(c net.Conn, number int) {
	if r.tls != nil {
		secured := tls.Server(c, r.tls)
		if secured.Handshake() != nil {
			return
		}
		c = secured
	}
	x := &exchange{conn: c, ending: r.ending}
	if early, ok := r.takeEarly(); ok {
		early.play(x)
		return
	}
	in := bufio.NewReader(c)
	for {
		reply, ok := r.read(in, number)
		if !ok {
			return
		}
		if !reply.play(x) {
			return
		}
	}
}

// read takes one request in whole, and the reply meant for it.
func (r *Receiver) read(in *bufio.Reader, conn int) (Reply, bool) {
	if _, err := in.Peek(1); err != nil {
		return Reply{}, false
	}
	if rate := r.peek().readRate; rate > 0 {
		in = bufio.NewReaderSize(&slowReader{in, rate, r.ending}, 16)
	}
	req, err := http.ReadRequest(in)
	if err != nil {
		return Reply{}, false
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return Reply{}, false
	}
	got := Request{
		At: time.Now(), Conn: conn, Method: req.Method, Path: req.URL.Path, Host: req.Host, Header: req.Header, Body: body,
		Event: req.Header.Get("webhook-id"),
	}
	got.Attempt, _ = strconv.Atoi(req.Header.Get("webhook-attempt"))
	return r.record(got), true
}

func (r *Receiver) record(got Request) Reply {
	r.mu.Lock()
	verify, choose := r.verify, r.choose
	r.mu.Unlock()
	got.Signature = ErrUnverified
	if verify != nil {
		got.Signature = verify(got.Header, got.Body)
	}
	r.mu.Lock()
	got.serial = len(r.requests)
	r.requests = append(r.requests, got)
	close(r.changed)
	r.changed = make(chan struct{})
	reply := r.takeLocked()
	r.mu.Unlock()
	if choose != nil {
		// It may ask the receiver.
		return choose(got)
	}
	return reply
}

func (r *Receiver) takeLocked() Reply {
	if len(r.script) == 0 {
		return Status(http.StatusOK)
	}
	next := r.script[0]
	if len(r.script) > 1 {
		r.script = r.script[1:]
	}
	return next
}

// takeEarly takes the next reply when it is one that is given before anything is read.
func (r *Receiver) takeEarly() (Reply, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.script) == 0 || !r.script[0].early {
		return Reply{}, false
	}
	return r.takeLocked(), true
}

func (r *Receiver) peek() Reply {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.script) == 0 {
		return Reply{}
	}
	return r.script[0]
}

// slowReader reads so many bytes a second.
type slowReader struct {
	from   io.Reader
	rate   int
	ending <-chan struct{}
}

func (s *slowReader) Read(b []byte) (int, error) {
	if !sleep(time.Second, s.ending) {
		return 0, io.ErrUnexpectedEOF
	}
	return s.from.Read(b[:min(len(b), s.rate)])
}

// sleep waits, and reports false when the end came first.
func sleep(d time.Duration, ending <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ending:
		return false
	}
}
