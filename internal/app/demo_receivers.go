package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// receiver is one of the demo's subscribers.
type receiver struct {
	name, what string
	types      []string
	url        string
	answer     http.HandlerFunc
}

// receivers are served by one server on a free port of loopback.
type receivers struct {
	list   []*receiver
	server *http.Server
}

func startReceivers() (*receivers, error) {
	var tries sync.Map
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	list := []*receiver{
		{name: "healthy", what: "answers 204 at once", types: []string{"*"}, answer: status(http.StatusNoContent)},
		{name: "flaky", what: "fails twice, then recovers", types: []string{"order.*"}, answer: func(w http.ResponseWriter, r *http.Request) {
			count, _ := tries.LoadOrStore(r.Header.Get("webhook-id"), new(int))
			n := count.(*int)
			if *n++; *n <= 2 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}},
		{name: "failing", what: "always answers 500", types: []string{"invoice.*"}, answer: status(http.StatusInternalServerError)},
		{name: "gone", what: "answers 410, which disables it", types: []string{"order.created"}, answer: status(http.StatusGone)},
		{name: "slow", what: "takes two seconds", types: []string{"customer.*", "order.shipped"}, answer: func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(2 * time.Second):
			case <-r.Context().Done():
			}
		}},
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	for _, r := range list {
		r.url = "http://" + listener.Addr().String() + "/" + r.name
		mux.HandleFunc("POST /"+r.name, r.answer)
	}
	s := &receivers{list: list, server: &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}}
	go func() {
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			// The demo then shows connect errors, which is what happened.
			return
		}
	}()
	return s, nil
}

func (r *receivers) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if r.server.Shutdown(ctx) != nil {
		_ = r.server.Close()
	}
}
