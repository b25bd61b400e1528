package api

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/bubble"
)

// sayAll sends a request over a connection of its own, says that nothing follows, as nc -N does, and gives the answer's status.
func (s *site) sayAll(method, path, body string) int {
	s.t.Helper()
	nc, err := net.Dial("tcp", s.server.Listener.Addr().String())
	must(s.t, err)
	defer nc.Close()
	_, err = fmt.Fprintf(nc, "%s %s HTTP/1.1\r\nHost: posthorn.example\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		method, path, s.admin, len(body), body)
	must(s.t, err)
	must(s.t, nc.(*net.TCPConn).CloseWrite())
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	must(s.t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	must(s.t, err)
	return resp.StatusCode
}

func TestClientThatHasSaidAllIsAnswered(t *testing.T) {
	s := open(t, nil)
	for range 20 {
		if status := s.sayAll(http.MethodPost, "/events", `{"type":"a.b","payload":{"a":1}}`); status != http.StatusAccepted {
			t.Errorf("publishing is answered %d", status)
		}
		if status := s.sayAll(http.MethodGet, "/events", ""); status != http.StatusOK {
			t.Errorf("reading is answered %d", status)
		}
	}
}

// waits publishes nothing: it waits for as long as it is let.
type waits struct{ Publisher }

func (waits) Publish(ctx context.Context, _ posthorn.TenantID, _ *posthorn.Event) (posthorn.Accepted, error) {
	<-ctx.Done()
	return posthorn.Accepted{}, ctx.Err()
}

func TestWorkEnds(t *testing.T) {
	publish := func(h *Handler, gone bool) (status int, took time.Duration) {
		ctx, leave := context.WithCancel(context.Background())
		defer leave()
		if gone {
			leave()
		}
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/events", strings.NewReader(`{"type":"a","payload":1}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer phk_x")
		start, w := time.Now(), httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code, time.Since(start)
	}
	test := func(name string, do func(t *testing.T, h *Handler)) {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				h := New(Options{Store: timed{}, Bus: silentBus{}, Auth: allowAll{}, Publisher: waits{}})
				defer h.Close()
				do(t, h)
			})
		})
	}
	for _, gone := range []bool{false, true} {
		test(fmt.Sprintf("InTime/Gone=%v", gone), func(t *testing.T, h *Handler) {
			// One that begins late in its term has the whole time all the same.
			for _, after := range []time.Duration{0, termTime - time.Second} {
				time.Sleep(after)
				if status, took := publish(h, gone); status != http.StatusServiceUnavailable || took < workTime || took > workTime+termTime {
					t.Errorf("answered %d after %v", status, took)
				}
			}
		})
	}
	test("Abandoned", func(t *testing.T, h *Handler) {
		time.AfterFunc(time.Second, h.Abandon)
		for _, want := range []time.Duration{time.Second, 0} {
			if status, took := publish(h, false); status != http.StatusServiceUnavailable || took != want {
				t.Errorf("answered %d after %v, want %v", status, took, want)
			}
		}
	})
	test("StreamOfOneThatIsGone", func(t *testing.T, h *Handler) {
		ctx, leave := context.WithCancel(context.Background())
		time.AfterFunc(time.Second, leave)
		start := time.Now()
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/live", nil)
		r.Header.Set("Authorization", "Bearer phk_x")
		h.ServeHTTP(httptest.NewRecorder(), r)
		if took := time.Since(start); took != time.Second {
			t.Errorf("ended after %v", took)
		}
	})
}
