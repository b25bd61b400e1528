package app_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/config"
)

// written is a log that is read while a node writes it.
type written struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *written) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// canaries are the secrets of the test, and every form in which one of them would give it away.
type canaries struct {
	signing, next, header, key, session string
}

func (c canaries) forms() map[string]string {
	bare := strings.TrimPrefix(c.signing, "whsec_")
	raw, _ := base64.StdEncoding.DecodeString(bare)
	return map[string]string{
		"signing secret": bare, "signing secret's bytes": string(raw), "rotated secret": strings.TrimPrefix(c.next, "whsec_"),
		"header": c.header, "key": c.key, "session": c.session,
	}
}

// TestCanaries puts a canary into every secret of a whole node, whose receiver echoes all it gets, and looks for them in all
// that the node writes down or shows where it need not.
func TestCanaries(t *testing.T) {
	secret := func(s string) string {
		return "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(s, 4)))
	}
	c := canaries{signing: secret("canaryOne"), next: secret("canaryTwo"), header: "Bearer canaryHeader0123", key: "phk_" + strings.Repeat("canaryk2", 6)}
	dir, log := t.TempDir(), &written{}
	settings := &config.Settings{
		Roles: []string{config.RoleAPI, config.RoleWorker, config.RoleJanitor}, Dev: true, DataDir: dir, APIKey: c.key,
		Retention: 72 * time.Hour, CleanupEvery: 12 * time.Hour, Hold: 720 * time.Hour, DisableAfter: 120 * time.Hour, MaxEventBytes: 256 << 10,
	}
	if err := settings.Resolve(); err != nil {
		t.Fatal(err)
	}
	a, err := app.New(t.Context(), settings, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Stop)
	n := &canaryNode{t: t, url: a.URL(), key: c.key}
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Echo", r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusTeapot)
		_ = r.Header.Write(w)
		_, _ = io.WriteString(w, c.signing+" "+c.next)
	}))
	t.Cleanup(echo.Close)

	sub := n.make("/subscriptions", map[string]any{"url": echo.URL, "secret": c.signing, "headers": map[string]any{"Authorization": c.header}})
	n.ask(http.MethodPost, "/subscriptions/"+sub+"/secret/rotate", map[string]any{"secret": c.next})
	event := n.make("/events", map[string]any{"type": "order.created", "payload": 1})
	c.session = n.signIn()
	n.ask(http.MethodGet, "/subscriptions/"+sub+"/secret", nil)
	shown := n.await("/deliveries?event_id="+event, `"last_status_code":418`)
	var list struct{ Data []struct{ ID string } }
	if err := json.Unmarshal([]byte(shown), &list); err != nil || len(list.Data) != 1 {
		t.Fatalf("%v in %s", err, shown)
	}
	places := map[string]string{}
	for _, path := range []string{
		"/subscriptions", "/subscriptions/" + sub, "/events", "/events/" + event, "/deliveries", "/deliveries/" + list.Data[0].ID + "/attempts",
		"/keys", "/tenants", "/audit?tenant_id=all", "/workers", "/queue", "/session", "/metrics", "/health",
	} {
		places[path] = n.ask(http.MethodGet, path, nil)
	}
	if !strings.Contains(places["/deliveries/"+list.Data[0].ID+"/attempts"], "418") || !strings.Contains(places["/audit?tenant_id=all"], "secret.reveal") {
		t.Fatal("the places do not show what they should: nothing is proved")
	}
	// Errors about what holds a canary, each in a place where it is wrong.
	places["errors"] = n.ask(http.MethodPost, "/subscriptions", map[string]any{"url": echo.URL, "secret": c.signing + "!", "headers": map[string]any{"Host": c.header}}) +
		n.ask(http.MethodPost, "/subscriptions/"+sub+"/secret/rotate", map[string]any{"secret": c.next}) +
		n.ask(http.MethodPost, "/subscriptions", map[string]any{"secrets": c.signing, "url": c.header, "headers": map[string]any{"X A": c.header}})
	places["log"] = log.text()
	for _, suffix := range []string{"", "-wal"} {
		text, err := os.ReadFile(filepath.Join(dir, "posthorn.db") + suffix)
		if err != nil {
			t.Fatal(err)
		}
		places["database"+suffix] = string(text)
	}
	for place, text := range places {
		for what, canary := range c.forms() {
			if strings.Contains(text, canary) {
				t.Errorf("the %s is in %s", what, place)
			}
		}
	}
}

// canaryNode is asked as an admin does.
type canaryNode struct {
	t        *testing.T
	url, key string
}

func (n *canaryNode) send(method, path string, body any) (*http.Response, string) {
	n.t.Helper()
	text, _ := json.Marshal(body) // maps of texts and numbers always encode
	r, err := http.NewRequestWithContext(n.t.Context(), method, n.url+path, bytes.NewReader(text))
	if err != nil {
		n.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+n.key)
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return resp, string(got)
}

func (n *canaryNode) ask(method, path string, body any) string {
	n.t.Helper()
	_, text := n.send(method, path, body)
	return text
}

// make creates something and gives its id.
func (n *canaryNode) make(path string, body any) string {
	n.t.Helper()
	resp, text := n.send(http.MethodPost, path, body)
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(text), &made); err != nil || resp.StatusCode >= 300 {
		n.t.Fatalf("POST %s: %d %s", path, resp.StatusCode, text)
	}
	return made.ID
}

// signIn gives a session's token.
func (n *canaryNode) signIn() string {
	n.t.Helper()
	resp, text := n.send(http.MethodPost, "/session", nil)
	if len(resp.Cookies()) != 1 {
		n.t.Fatalf("sign in: %d %s", resp.StatusCode, text)
	}
	return resp.Cookies()[0].Value
}

// await asks until the answer has a text.
func (n *canaryNode) await(path, wanted string) string {
	n.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-ticker.C {
		if text := n.ask(http.MethodGet, path, nil); strings.Contains(text, wanted) {
			return text
		}
	}
	n.t.Fatalf("%s never shows %s", path, wanted)
	return ""
}
