package clustertest_test

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/clustertest"
	"github.com/posthorn/posthorn/internal/hooktest"
	"github.com/posthorn/posthorn/internal/redis/redistest"
)

// gathered is what a place was told, read while it is still being told.
type gathered struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (g *gathered) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.Write(p)
}

func (g *gathered) text() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.String()
}

// TestCanaries puts a secret of its own into every field for one, on a real node, has all of them used and echoed, and
// looks for each in all that the node writes down, sends or shows where it need not.
func TestCanaries(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		canariesAreKept(t, "sqlite://"+filepath.Join(dir, "posthorn.db"), func() map[string]string {
			places := map[string]string{}
			for _, suffix := range []string{"", "-wal"} {
				text, err := os.ReadFile(filepath.Join(dir, "posthorn.db"+suffix))
				if err != nil {
					t.Fatal(err)
				}
				places["the database file"+suffix] = string(text)
			}
			return places
		})
	})
	t.Run("Postgres", func(t *testing.T) {
		t.Parallel()
		database := clustertest.NewDatabase(t)
		canariesAreKept(t, database, func() map[string]string {
			dump, err := exec.Command("pg_dump", "--dbname", database).Output()
			if err != nil {
				t.Fatalf("pg_dump: %v", err)
			}
			return map[string]string{"the dump": string(dump)}
		})
	})
}

func canariesAreKept(t *testing.T, database string, dump func() map[string]string) {
	const metricsToken = "canaryMetricsToken012345"
	redis, traces := redistest.Start(t), &gathered{}
	commands := monitor(t, redis.Address())
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(traces, unzipped(r)) }))
	t.Cleanup(collector.Close)
	c := newCluster(t, database, redis.URL())
	c.env = []string{
		"POSTHORN_LOG_LEVEL=debug", "POSTHORN_METRICS_TOKEN=" + metricsToken,
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL, "OTEL_BSP_SCHEDULE_DELAY=100", "POSTHORN_SEND_TRACEPARENT=true",
	}
	n := c.start("api,worker,janitor")
	secrets := plant(t, n)
	secrets["first key"], secrets["encryption key"], secrets["metrics token"] = key, strings.Split(c.sealing, ",")[0], metricsToken

	places := dump()
	for _, path := range []string{
		"/subscriptions", "/events", "/deliveries", "/keys", "/sources", "/tenants", "/audit?tenant_id=all", "/audit", "/workers", "/queue", "/session",
		"/health", "/openapi.json", "/event-types", "/replays",
	} {
		places[path] = string(n.ask(http.MethodGet, path, nil).body)
	}
	places["the attempts"] = attempts(n)
	places["the errors"] = wrongRequests(n, secrets)
	places["the metrics"] = metrics(t, n, metricsToken)
	clustertest.Eventually(t, 10*time.Second, "the spans arrive", func() bool { return strings.Contains(traces.text(), "attempt order.created") })
	places["the traces"], places["the log"] = traces.text(), strings.Join(n.Lines(""), "\n")
	places["what Redis was sent"], places["what Redis holds"] = commands.text(), keysOf(t, redis.Address())
	for place, sign := range map[string]string{
		"the attempts": "X-Echo", "the log": `"level":"DEBUG"`, "the metrics": "posthorn_", "what Redis was sent": `"SET"`, "/audit": "source.create", "what Redis holds": "posthorn",
	} {
		if !strings.Contains(places[place], sign) {
			t.Errorf("%s shows no %s, so nothing is proved: %.300q", place, sign, places[place])
		}
	}
	for place, text := range places {
		for name, secret := range secrets {
			for form, disguise := range forms(secret) {
				if at := strings.Index(text, disguise); at >= 0 {
					t.Errorf("the %s is in %s, %s: %q", name, place, form, text[max(0, at-80):min(len(text), at+20)])
				}
			}
		}
	}
}

// plant stores a canary in every field for a secret, has each used at least once, and gives them by name.
func plant(t *testing.T, n *node) map[string]string {
	t.Helper()
	canary := func(name string) string { return "canary" + name + "0123456789" }
	standard := func(name string) string {
		return "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(canary(name), 2)))
	}
	secrets := map[string]string{
		"signing secret": standard("Signing"), "rotated secret": standard("Rotated"), "header": canary("Header"), "bearer token": canary("Bearer"),
		"basic password": canary("Basic"), "API key of a subscriber": canary("Value"), "client secret": canary("Client"), "parameter": canary("Param"),
		"access token": canary("Access"), "source's secret": canary("Source"), "unknown name": "whsec_" + canary("Name"),
	}
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, secrets["access token"])
			return
		}
		for _, values := range r.Header {
			w.Header().Add("X-Echo", strings.Join(values, ","))
		}
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusTeapot)
		_ = r.Header.Write(w)
		_, _ = w.Write(body)
		if r.URL.Path == "/first" {
			_, _ = io.WriteString(w, secrets["signing secret"]+" "+secrets["rotated secret"])
		}
	}))
	t.Cleanup(echo.Close)
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"error":"invalid_client","error_description":%q}`, r.Header.Get("Authorization")+string(body))
	}))
	t.Cleanup(refusing.Close)

	oauth := func(at string) object {
		return object{
			"type": "oauth2_client_credentials", "token_url": at + "/token", "client_id": "c", "client_secret": secrets["client secret"],
			"params": object{"resource": secrets["parameter"]},
		}
	}
	first := n.subscribe(echo.URL+"/first", "order.created", object{"secret": secrets["signing secret"], "headers": object{"X-Token": secrets["header"]}})
	n.want(http.StatusOK, http.MethodPost, "/subscriptions/"+first.ID.String()+"/secret/rotate", object{"secret": secrets["rotated secret"]}, nil)
	n.want(http.StatusOK, http.MethodGet, "/subscriptions/"+first.ID.String()+"/secret", nil, nil)
	for _, auth := range []object{
		{"type": "bearer", "token": secrets["bearer token"]},
		{"type": "basic", "username": "u", "password": secrets["basic password"]},
		{"type": "api_key", "header": "X-Key", "value": secrets["API key of a subscriber"]},
		oauth(echo.URL), oauth(refusing.URL),
	} {
		n.subscribe(echo.URL, "order.created", object{"auth": auth})
	}
	certificate, tlsKey := clientCertificate(t)
	n.subscribe("https://127.0.0.1:1", "order.created", object{"tls": object{"certificate": certificate, "key": tlsKey}})
	secrets["TLS key"] = strings.Split(tlsKey, "\n")[1]

	var made struct{ ID, Key string }
	n.want(http.StatusCreated, http.MethodPost, "/sources", object{"name": "s", "provider": "github", "secret": secrets["source's secret"]}, &made)
	ingest(t, n, made.ID, secrets["source's secret"])
	n.want(http.StatusCreated, http.MethodPost, "/keys", object{"name": "k", "scopes": []string{"read"}}, &made)
	secrets["second key"] = made.Key
	session := n.ask(http.MethodPost, "/session", nil)
	secrets["session"] = strings.Split(strings.Split(session.header.Get("Set-Cookie"), ";")[0], "=")[1]
	n.publish("order.created")
	clustertest.Eventually(t, 20*time.Second, "everything is attempted", func() bool { return strings.Count(attempts(n), `"outcome"`) >= 7 })
	return secrets
}

// clientCertificate is a certificate and its key, in PEM.
func clientCertificate(t *testing.T) (certificate, tlsKey string) {
	t.Helper()
	made := hooktest.NewAuthority(t).Issue(t, "client", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	der, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return text("CERTIFICATE", made.Certificate[0]), text("PRIVATE KEY", der)
}

// ingest sends a source what its secret signs, and what it does not.
func ingest(t *testing.T, n *node, source, secret string) {
	t.Helper()
	const body = `{"action":"opened"}`
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	for signature, want := range map[string]int{hex.EncodeToString(mac.Sum(nil)): http.StatusOK, strings.Repeat("0", 64): http.StatusUnauthorized} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.url+"/ingest/"+source, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Content-Type": {"application/json"}, "X-Github-Event": {"issues"}, "X-Hub-Signature-256": {"sha256=" + signature}}
		resp, err := n.cluster.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("a source answers %d, want %d", resp.StatusCode, want)
		}
	}
}

// attempts are those of every delivery.
func attempts(n *node) string {
	var list struct{ Data []struct{ ID string } }
	n.want(http.StatusOK, http.MethodGet, "/deliveries?limit=200", nil, &list)
	var all strings.Builder
	for _, d := range list.Data {
		all.Write(n.ask(http.MethodGet, "/deliveries/"+d.ID+"/attempts", nil).body)
		all.Write(n.ask(http.MethodGet, "/deliveries/"+d.ID, nil).body)
	}
	return all.String()
}

// wrongRequests are the answers to each secret in places where none should be.
func wrongRequests(n *node, secrets map[string]string) string {
	var all strings.Builder
	for secret := range maps.Values(secrets) {
		for _, body := range []any{
			object{"url": secret},
			object{"url": "https://example.com", "secret": secret + "!"},
			object{"url": "https://example.com", "headers": object{"Host": secret}},
			object{"url": "https://example.com", "auth": object{"type": secret}},
			object{"url": "https://example.com", "tls": object{"key": secret}},
			object{"url": "https://example.com", "retry": secret},
			object{"url": "https://example.com", "event_types": []string{secret + "*"}},
			secret,
		} {
			all.Write(n.ask(http.MethodPost, "/subscriptions", body).body)
		}
		all.Write(n.ask(http.MethodPost, "/sources", object{"name": "s", "provider": secret}).body)
		all.Write(n.ask(http.MethodPost, "/keys", object{"name": "s", "scopes": []string{secret}}).body)
	}
	for _, named := range []object{{secrets["unknown name"]: 1}, {"auth": object{secrets["unknown name"]: 1}}, {"headers": object{secrets["unknown name"] + "\n": "x"}}} {
		all.Write(n.ask(http.MethodPost, "/subscriptions", named).body)
		all.Write(n.ask(http.MethodPost, "/events", named).body)
	}
	return all.String()
}

func metrics(t *testing.T, n *node, token string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := n.cluster.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// monitor gathers every command that a Redis gets from now on, messages included.
func monitor(t *testing.T, address string) *gathered {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, "MONITOR\r\n"); err != nil {
		t.Fatal(err)
	}
	commands := &gathered{}
	go func() { _, _ = io.Copy(commands, conn) }()
	return commands
}

// keysOf are the names and the contents of all that a Redis holds.
func keysOf(t *testing.T, address string) string {
	t.Helper()
	host, port, _ := net.SplitHostPort(address)
	ask := func(args ...string) string {
		out, err := exec.Command("redis-cli", append([]string{"-h", host, "-p", port, "--raw"}, args...)...).Output()
		if err != nil {
			t.Fatalf("redis-cli %v: %v", args, err)
		}
		return string(out)
	}
	names := ask("--scan")
	all := names
	for name := range strings.Lines(names) {
		all += ask("DUMP", strings.TrimSpace(name))
	}
	return all
}

// unzipped is a request's body as it was before compression.
func unzipped(r *http.Request) io.Reader {
	if r.Header.Get("Content-Encoding") == "gzip" {
		if z, err := gzip.NewReader(r.Body); err == nil {
			return z
		}
	}
	return r.Body
}

// forms are the spellings that would give a secret away. Base64 spells it in three ways, by where it begins; the first and
// the last characters also depend on what stands beside it.
func forms(secret string) map[string]string {
	bare := strings.TrimPrefix(secret, "whsec_")
	all := map[string]string{"as it is": bare, "in hex": hex.EncodeToString([]byte(bare))}
	for offset := range 3 {
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(" ", offset) + bare))
		all[fmt.Sprintf("in base64 from %d", offset)] = text[4 : len(text)-4]
	}
	if raw, err := base64.StdEncoding.DecodeString(bare); err == nil {
		all["decoded"], all["decoded, in hex"] = string(raw), hex.EncodeToString(raw)
	}
	return all
}
