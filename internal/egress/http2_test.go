package egress

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/bubble"
)

// http2Receiver speaks the frames of HTTP/2 itself, so that it can refuse in ways that servers do not.
type http2Receiver struct {
	config *tls.Config
	// begin is called when the client's preface is there, answer with each whole request; closes leaves no time for one.
	begin                 func(f *http2.Framer)
	answer                func(f *http2.Framer, stream uint32)
	closes                bool
	connections, requests atomic.Int32
}

// queued writes in its own time, as a socket does and a pipe does not.
type queued struct {
	io.Reader
	out chan []byte
}

func (q queued) Write(b []byte) (int, error) {
	q.out <- append([]byte(nil), b...)
	return len(b), nil
}

func (r *http2Receiver) serve(nc net.Conn) {
	r.connections.Add(1)
	server := tls.Server(nc, r.config)
	if _, err := io.ReadFull(server, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	q := queued{server, make(chan []byte, 64)}
	written := make(chan struct{})
	go func() {
		defer close(written)
		for b := range q.out {
			_, _ = server.Write(b)
		}
	}()
	defer func() {
		close(q.out)
		<-written
	}()
	f := http2.NewFramer(q, q)
	_ = f.WriteSettings()
	if r.closes {
		return
	}
	if r.begin != nil {
		r.begin(f)
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		if s, ok := frame.(*http2.SettingsFrame); ok && !s.IsAck() {
			_ = f.WriteSettingsAck()
		}
		head := frame.Header()
		if isLast := head.Flags.Has(http2.FlagDataEndStream); isLast && (head.Type == http2.FrameData || head.Type == http2.FrameHeaders) {
			r.requests.Add(1)
			r.answer(f, head.StreamID)
		}
	}
}

func TestHTTP2RefusedUnread(t *testing.T) {
	goAway := func(f *http2.Framer, _ uint32) { _ = f.WriteGoAway(0, http2.ErrCodeNo, nil) }
	refuse := func(f *http2.Framer, stream uint32) { _ = f.WriteRSTStream(stream, http2.ErrCodeRefusedStream) }
	accept := func(f *http2.Framer, stream uint32) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: []byte{0x88}, EndHeaders: true, EndStream: true})
	}
	// until refuses some requests and takes the one after.
	until := func(n int, refuse func(*http2.Framer, uint32)) func(*http2.Framer, uint32) {
		return func(f *http2.Framer, stream uint32) {
			if n--; n >= 0 {
				refuse(f, stream)
				return
			}
			accept(f, stream)
		}
	}
	// A connection may close before a request begins on it, so there may be more of them than requests.
	cases := map[string]struct {
		receiver              *http2Receiver
		body                  string
		requests, connections int32
		succeeds              bool
	}{
		"GoAway":              {&http2Receiver{answer: goAway}, "{}", maxBegun, maxUpgraded, false},
		"GoAwayWithoutBody":   {&http2Receiver{answer: goAway}, "", maxBegun, maxUpgraded, false},
		"GoAwayBeforeRequest": {&http2Receiver{begin: func(f *http2.Framer) { goAway(f, 0) }, answer: goAway}, "{}", maxBegun, maxUpgraded, false},
		"GoAwayOnce":          {&http2Receiver{answer: until(1, goAway)}, "{}", 2, maxUpgraded, true},
		"ClosesAtOnce":        {&http2Receiver{closes: true}, "{}", 1, 1, false},
		"RefusedStreams":      {&http2Receiver{answer: refuse}, "{}", maxBegun, 1, false},
		"RefusedFourTimes":    {&http2Receiver{answer: until(maxBegun-1, refuse)}, "{}", maxBegun, 1, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				a := newAuthority(t)
				c.receiver.config = &tls.Config{Certificates: []tls.Certificate{a.issue(t, nil)}, NextProtos: []string{"h2"}}
				var receivers sync.WaitGroup
				client := New(Options{
					Policy: NewPolicy(nil, false), TLS: &tls.Config{RootCAs: a.roots()},
					Dial: func(context.Context, string, string) (net.Conn, error) {
						near, far := net.Pipe()
						receivers.Go(func() {
							defer far.Close()
							c.receiver.serve(far)
						})
						return near, nil
					},
				})
				r := client.Do(context.Background(), Request{URL: parse("https://hooks.example.com/"), Body: []byte(c.body), Timeout: time.Minute})
				want := posthorn.ConnectError
				if c.succeeds {
					want = posthorn.Succeeded
				}
				if r.Outcome != want || !c.succeeds && !c.receiver.closes && r.Code != "request_refused" || r.OurFault {
					t.Errorf("%s %s, our fault: %v (%v)", r.Outcome, r.Code, r.OurFault, r.Err)
				}
				if requests := c.receiver.requests.Load(); requests > c.requests || c.succeeds && requests != c.requests {
					t.Errorf("%d whole requests in one attempt, want %d", requests, c.requests)
				}
				if connections := c.receiver.connections.Load(); connections > c.connections {
					t.Errorf("%d connections in one attempt, want at most %d", connections, c.connections)
				}
				client.Close()
				receivers.Wait()
			})
		})
	}
}
