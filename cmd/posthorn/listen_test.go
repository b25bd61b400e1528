package main_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hooktest"
)

// laptop is a program on a developer's machine that can be stopped and started again on its port.
type laptop struct {
	t       *testing.T
	address string
	verify  func(http.Header, []byte) error

	mu     sync.Mutex
	server *http.Server
	got    []string // bodies in the order they came
	faults []error
}

func newLaptop(t *testing.T) *laptop {
	t.Helper()
	l := &laptop{t: t, address: "127.0.0.1:0"}
	l.start()
	t.Cleanup(l.stop)
	return l
}

func (l *laptop) start() {
	l.t.Helper()
	listener, err := net.Listen("tcp", l.address)
	if err != nil {
		l.t.Fatal(err)
	}
	l.address = listener.Addr().String()
	l.server = &http.Server{Handler: l, ReadHeaderTimeout: time.Second}
	go func(s *http.Server) { _ = s.Serve(listener) }(l.server)
}

func (l *laptop) stop() { _ = l.server.Shutdown(context.WithoutCancel(l.t.Context())) }

func (l *laptop) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.verify != nil {
		err = l.verify(r.Header, body)
	}
	if err != nil {
		l.faults = append(l.faults, err)
	}
	l.got = append(l.got, string(body))
}

func (l *laptop) received() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

func (l *laptop) has(n int) {
	l.t.Helper()
	eventually(l.t, func() bool { return len(l.received()) >= n }, func() string {
		return fmt.Sprintf("the laptop has %q, want %d", l.received(), n)
	})
}

var secret = regexp.MustCompile(`whsec_\S+`)

// TestListenSurvivesRestartsOfEitherSide publishes while all is well, after the server was restarted and while the
// program on the laptop is away. Each event arrives once, in order, and no delivery is changed.
func TestListenSurvivesRestartsOfEitherSide(t *testing.T) {
	t.Parallel()
	n := binary.Start(t)
	subscribe(t, n, "shop", "order.*")
	posthorn(t, n, "trigger", "order.created", "--payload", `"before"`, "--wait", "20s")
	l := newLaptop(t)
	r := background(t, n, "listen", "--forward", "http://"+l.address+"/hooks", "--types", "order.*,invoice.paid")
	r.sees("signed with this secret")
	l.mu.Lock()
	l.verify = hooktest.ByReference(secret.FindString(r.String()))
	l.mu.Unlock()

	posthorn(t, n, "trigger", "order.created", "--payload", `"1"`, "--wait", "20s")
	posthorn(t, n, "trigger", "customer.created", "--payload", `"not wanted"`)
	posthorn(t, n, "trigger", "invoice.paid", "--payload", `"2"`)
	l.has(2)

	n.Stop()
	r.sees("away, trying again")
	n.Restart()
	posthorn(t, n, "trigger", "order.created", "--payload", `"3"`, "--wait", "20s")
	l.has(3)
	r.sees("Posthorn is back")

	l.stop()
	posthorn(t, n, "trigger", "order.created", "--payload", `"4"`, "--wait", "20s")
	posthorn(t, n, "trigger", "order.created", "--payload", `"5"`, "--wait", "20s")
	r.sees("nothing listens there")
	l.start()
	l.has(5)

	if want := []string{`"1"`, `"2"`, `"3"`, `"4"`, `"5"`}; !slices.Equal(l.received(), want) {
		t.Errorf("the laptop got %q, want %q\n%s", l.received(), want, r)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, fault := range l.faults {
		t.Errorf("a forwarded event does not verify: %v", fault)
	}
	// Five orders were delivered: the one before, and four of those forwarded.
	if out := posthorn(t, n, "deliveries", "list"); strings.Count(out, "succeeded 200") != 5 {
		t.Errorf("the deliveries are not what they would be without the tap:\n%s", out)
	}
}

func TestListenFollowsOneSubscription(t *testing.T) {
	t.Parallel()
	n := binary.Start(t)
	s := subscribe(t, n, "shop", "order.*")
	r := background(t, n, "listen", "--subscription", s.ID.String())
	r.sees("forwarding")
	posthorn(t, n, "trigger", "customer.created", "--payload", `"not theirs"`)
	posthorn(t, n, "trigger", "order.created", "--payload", `"theirs"`)
	r.sees(`"theirs"`)
	if strings.Contains(r.String(), "not theirs") {
		t.Errorf("another's event was printed:\n%s", r)
	}
}

func TestTailResumesAfterARestart(t *testing.T) {
	t.Parallel()
	n := binary.Start(t)
	subscribe(t, n, "shop")
	r := background(t, n, "tail")
	r.sees("following")
	posthorn(t, n, "trigger", "order.created", "--wait", "20s")
	r.sees("attempt 1  order.created")
	r.sees("/play/shop  succeeded 200")
	n.Stop()
	r.sees("connection lost")
	n.Restart()
	posthorn(t, n, "trigger", "order.shipped", "--wait", "20s")
	r.sees("attempt 1  order.shipped")
	// One line when it was accepted, one for the attempt and one for its end, none of them again.
	if count := strings.Count(r.String(), "order.created"); count != 3 {
		t.Errorf("the first event has %d lines, want 3:\n%s", count, r)
	}
}
