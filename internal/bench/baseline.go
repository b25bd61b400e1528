package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/internal/signing"
)

// Forward is about the limit of the machine: a plain server that takes POST /events, answers 202 and sends the signed payload on,
// storing nothing. It runs as a process of its own, like the server it is compared with, until ctx ends.
func Forward(ctx context.Context, target string, out io.Writer) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	f := &forwarder{target: target, key: signing.GenerateHMAC(), slots: make(chan struct{}, 1024), http: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 512, MaxIdleConns: 512, DisableCompression: true},
	}}
	server := &http.Server{Handler: f, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	fmt.Fprintf(out, "listening on http://%s\n", listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

type forwarder struct {
	target string
	key    *signing.Key
	slots  chan struct{}
	http   *http.Client
	next   atomic.Int64
}

func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	var event struct {
		Type    string
		Payload json.RawMessage
	}
	if err == nil {
		err = json.Unmarshal(text, &event)
	}
	if err != nil {
		http.Error(w, "bad event", http.StatusBadRequest)
		return
	}
	id := fmt.Sprintf("evt_%020d", f.next.Add(1))
	f.slots <- struct{}{}
	go f.forward(id, event.Type, event.Payload)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprintf(w, `{"id":%q,"type":%q}`, id, event.Type)
}

func (f *forwarder) forward(id, eventType string, payload []byte) {
	defer func() { <-f.slots }()
	now := time.Now()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, f.target, bytes.NewReader(payload))
	if err != nil {
		return
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", fmt.Sprint(now.Unix()))
	req.Header.Set("webhook-signature", signing.Sign(id, now, payload, f.key))
	req.Header.Set("webhook-event-type", eventType)
	resp, err := f.http.Do(req)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
}
