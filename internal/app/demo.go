package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/auth"
	"github.com/posthorn/posthorn/internal/config"
)

// demoEvents are what the demo publishes, and demoPause the time between two.
var demoEvents = []struct{ kind, payload string }{
	{"order.created", `{"id": 1041, "total": "59.90", "currency": "EUR"}`},
	{"invoice.paid", `{"id": 77, "order": 1041}`},
	{"order.shipped", `{"id": 1041, "carrier": "post"}`},
	{"customer.created", `{"id": "c_9", "name": "Zoë"}`},
	{"invoice.refunded", `{"id": 77, "reason": "returned"}`},
}

const demoPause = 700 * time.Millisecond

// Demo runs a node over a fresh embedded store with sample receivers, subscribes them through the API, publishes
// events and prints each delivery and attempt as it happens, until ctx ends.
func Demo(ctx context.Context, s *config.Settings, version string, out io.Writer) error {
	dir, err := os.MkdirTemp("", "posthorn-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s.Dev, s.DataDir, s.Roles = true, dir, []string{config.RoleAPI, config.RoleWorker, config.RoleJanitor}
	s.DatabaseURL, s.RedisURL, s.EncryptionKeys = "", "", ""
	if s.APIKey == "" {
		s.APIKey = auth.Generate()
	}
	if err := s.Resolve(); err != nil {
		return err
	}
	a, err := New(ctx, s, slog.New(slog.DiscardHandler), version)
	if err != nil {
		return err
	}
	if err := a.Start(ctx); err != nil {
		return err
	}
	defer a.Stop()
	receivers, err := startReceivers()
	if err != nil {
		return err
	}
	defer receivers.stop()
	d := &demonstration{app: a, out: out, receivers: receivers, names: map[posthorn.SubscriptionID]string{}}
	if err := d.run(ctx); ctx.Err() == nil {
		return err
	}
	// Ctrl-C is how a demo ends, also in the middle of a request.
	return nil
}

// demonstration plays the demo against a running node.
type demonstration struct {
	app       *App
	out       io.Writer
	receivers *receivers

	mu    sync.Mutex
	names map[posthorn.SubscriptionID]string
}

func (d *demonstration) run(ctx context.Context) error {
	unwatch := d.app.bus.Watch()
	defer unwatch()
	defer d.app.bus.Subscribe(d.show)()
	fmt.Fprintf(d.out, "Posthorn is running at %s with five sample receivers:\n\n", d.app.URL())
	for _, r := range d.receivers.list {
		if err := d.subscribe(ctx, r); err != nil {
			return err
		}
		fmt.Fprintf(d.out, "  %-10s %s\n", r.name, r.what)
	}
	fmt.Fprintln(d.out, "\nPublishing events; each line is a delivery or an attempt as it happens.")
	for _, e := range demoEvents {
		if err := d.publish(ctx, e.kind, e.payload); err != nil {
			return err
		}
		select {
		case <-time.After(demoPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	select {
	case <-time.After(8 * time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	fmt.Fprintf(d.out, "\nPosthorn stays up until Ctrl-C. Look around:\n\n  API        %s\n  API docs   %s/docs\n  Dashboard  %s/\n  API key    %s\n\n"+
		"Publish another:\n\n  curl %s/events -H 'Authorization: Bearer %s' \\\n    -H 'Content-Type: application/json' -d '{\"type\":\"order.created\",\"payload\":{\"id\":2}}'\n\n",
		d.app.URL(), d.app.URL(), d.app.URL(), d.app.settings.APIKey, d.app.URL(), d.app.settings.APIKey)
	<-ctx.Done()
	return ctx.Err()
}

// subscribe creates a receiver's subscription, with a schedule short enough to watch.
func (d *demonstration) subscribe(ctx context.Context, r *receiver) error {
	var created struct {
		ID posthorn.SubscriptionID `json:"id"`
	}
	err := d.post(ctx, "/subscriptions", map[string]any{
		"url": r.url, "description": r.name + ": " + r.what, "event_types": r.types,
		"retry": map[string]any{"schedule": []float64{1, 2, 3}},
	}, &created)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names[created.ID] = r.name
	return err
}

func (d *demonstration) publish(ctx context.Context, kind, payload string) error {
	var accepted struct {
		ID         string `json:"id"`
		Deliveries int    `json:"deliveries"`
	}
	if err := d.post(ctx, "/events", map[string]any{"type": kind, "payload": json.RawMessage(payload)}, &accepted); err != nil {
		return err
	}
	d.print("published  %-17s %s to %d subscriptions", kind, accepted.ID, accepted.Deliveries)
	return nil
}

func (d *demonstration) post(ctx context.Context, path string, body, answer any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.app.URL()+path, bytes.NewReader(encoded))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+d.app.settings.APIKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("POST %s: %s: %s", path, resp.Status, text)
	}
	return json.Unmarshal(text, answer)
}

// show prints what the bus tells of deliveries.
func (d *demonstration) show(s posthorn.Signal) {
	for i := range s.Updates {
		u := &s.Updates[i]
		d.mu.Lock()
		name := d.names[u.SubscriptionID]
		d.mu.Unlock()
		if u.Attempt.IsZero() {
			d.print("delivery   %-17s → %-10s %s", u.EventType, name, u.State)
			continue
		}
		what := string(u.Outcome)
		if u.StatusCode != 0 {
			what += fmt.Sprintf(" %d", u.StatusCode)
		}
		next := string(u.State)
		if u.StatusCode == http.StatusGone {
			next = "subscription disabled; held"
		} else if u.State == posthorn.Pending {
			next = fmt.Sprintf("retry in %.1f s", u.DueAt.Sub(u.At).Seconds())
		}
		d.print("attempt %d  %-17s → %-10s %-15s %7.1f ms  %s", u.Number, u.EventType, name, what,
			float64(u.Duration.Microseconds())/1000, next)
	}
}

func (d *demonstration) print(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.out, "%s  "+format+"\n", append([]any{time.Now().Format("15:04:05.000")}, args...)...)
}
