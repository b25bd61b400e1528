package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/config"
	. "github.com/posthorn/posthorn/internal/hooktest"
)

const serviceKey = "phk_service00000000000000000000000000000"

// service is the whole of a node in this process, on a free port, over a directory of its own.
type service struct {
	t   *testing.T
	app *app.App
	url string
}

func startService(t *testing.T) *service {
	t.Helper()
	s := &config.Settings{
		Roles: []string{config.RoleAPI, config.RoleWorker, config.RoleJanitor}, Dev: true, DataDir: t.TempDir(), APIKey: serviceKey,
		Retention: 72 * time.Hour, CleanupEvery: 12 * time.Hour, Hold: 720 * time.Hour, DisableAfter: 120 * time.Hour, MaxEventBytes: 256 << 10,
	}
	if err := s.Resolve(); err != nil {
		t.Fatal(err)
	}
	a, err := app.New(t.Context(), s, slog.New(slog.DiscardHandler), "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Stop()
		http.DefaultClient.CloseIdleConnections()
	})
	return &service{t, a, a.URL()}
}

// ask makes a request of the API, which must be answered with the status, and reads the answer.
func (s *service) ask(method, path string, body any, status int, answer any) {
	s.t.Helper()
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			s.t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+serviceKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		s.t.Fatalf("%s %s: %d %s, %v", method, path, resp.StatusCode, got, err)
	}
	if answer != nil {
		if err := json.Unmarshal(got, answer); err != nil {
			s.t.Fatal(err)
		}
	}
}

// subscribe creates a subscription through the API and lets the receiver verify with its secret.
func (s *service) subscribe(r *Receiver, url string, more map[string]any) string {
	s.t.Helper()
	body := map[string]any{"url": url}
	for name, value := range more {
		body[name] = value
	}
	var created struct{ ID, Secret string }
	s.ask(http.MethodPost, "/subscriptions", body, http.StatusCreated, &created)
	r.VerifyWith(ByReference(created.Secret))
	return created.ID
}

// publish publishes through the API and gives the event's id.
func (s *service) publish(eventType string, payload any) string {
	s.t.Helper()
	var accepted struct{ ID string }
	s.ask(http.MethodPost, "/events", map[string]any{"type": eventType, "payload": payload}, http.StatusAccepted, &accepted)
	return accepted.ID
}

// TestForReal runs subscribers that misbehave beside one that does not, over real sockets and in real time, and prints what
// the misbehaving ones cost the other.
func TestForReal(t *testing.T) {
	s := startService(t)
	for name, reply := range map[string]Reply{
		"hangs": Hang(), "drops": Drop(), "resets": Reset(), "refuses": Refuse(), "fails": Status(500), "never reads": NeverRead(),
		"drips":  Respond(200).Body("slow").Drip(time.Second).Reply(),
		"floods": Endless("HTTP/1.1 200 OK\r\n", "X-More: yes\r\n", time.Millisecond),
		"big":    Respond(200).Big(1 << 30).Reply(),
	} {
		r, url := Listen(t, name)
		r.Reply(reply)
		s.subscribe(r, url, map[string]any{"timeout_seconds": 2})
	}
	well, url := Listen(t, "well")
	s.subscribe(well, url, map[string]any{"event_types": []string{"order.*"}})
	published := map[string]time.Time{}
	for i := range 100 {
		at := time.Now()
		published[s.publish("order.created", map[string]int{"n": i})] = at
	}
	if !well.Await(100, 10*time.Second) {
		t.Fatalf("%d of 100 arrived", well.Count())
	}
	var waits []time.Duration
	for _, q := range well.Requests() {
		if q.Signature != nil {
			t.Errorf("the signature of %s: %v", q.Event, q.Signature)
		}
		waits = append(waits, q.At.Sub(published[q.Event]))
	}
	slices.Sort(waits)
	t.Logf("beside nine that misbehave, from before the publish to the receiver: median %s, slowest %s", waits[50], waits[99])
	if waits[99] > 2*time.Second {
		t.Errorf("the slowest took %s, as long as the others' timeout", waits[99])
	}
}

// TestForRealRetry follows one delivery through the API: a failure, the retry, and what is told about it.
func TestForRealRetry(t *testing.T) {
	s := startService(t)
	r, url := Listen(t, "shop")
	r.Reply(Status(503), Respond(200).Body("thank you").Reply())
	id := s.subscribe(r, url, map[string]any{"retry": map[string]any{"schedule": []float64{0.2}}})
	event := s.publish("order.created", map[string]int{"n": 1})
	if !r.Await(2, 10*time.Second) {
		t.Fatalf("%d requests", r.Count())
	}
	var status struct {
		Status     string
		Deliveries []struct {
			ID             string
			SubscriptionID string `json:"subscription_id"`
			Status         string
			Attempts       int
			LastStatusCode int `json:"last_status_code"`
			Explanation    string
		}
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end) && status.Status != string(posthorn.EventSucceeded); {
		s.ask(http.MethodGet, "/events/"+event+"/status", nil, http.StatusOK, &status)
		<-time.After(20 * time.Millisecond)
	}
	if len(status.Deliveries) != 1 {
		t.Fatalf("%+v", status)
	}
	if d := status.Deliveries[0]; d.Status != "succeeded" || d.Attempts != 2 || d.LastStatusCode != 200 || d.SubscriptionID != id || d.Explanation == "" {
		t.Errorf("%+v", d)
	}
	for i, q := range r.Requests() {
		if q.Signature != nil || q.Attempt != i+1 || string(q.Body) != `{"n":1}` || q.Event != event {
			t.Errorf("request %d: attempt %d of %s, %s, %v", i+1, q.Attempt, q.Event, q.Body, q.Signature)
		}
	}
	s.ask(http.MethodPost, fmt.Sprintf("/deliveries/%s/retry", status.Deliveries[0].ID), nil, http.StatusConflict, nil)
}
