package clustertest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/clustertest"
	"github.com/posthorn/posthorn/internal/seal"
)

// key is the API key of every cluster.
const key = "phk_cluster00000000000000000000000000000"

// cluster is what its nodes share.
type cluster struct {
	t testing.TB
	// database and redis are URLs; without redis the nodes do without.
	database, redis string
	sealing         string
	// env are further settings of nodes started from now on, as NAME=value.
	env    []string
	client *http.Client
	nodes  int
}

func newCluster(t testing.TB, database, redis string) *cluster {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &cluster{
		t: t, database: database, redis: redis, sealing: seal.Generate(),
		client: &http.Client{Transport: transport, Timeout: 40 * time.Second},
	}
}

// node is one process of a cluster.
type node struct {
	*clustertest.Process
	cluster *cluster
	url     string
	id      posthorn.NodeID
}

// start starts a node and waits until it says where it listens.
func (c *cluster) start(roles string) *node {
	c.t.Helper()
	c.nodes++
	cmd := exec.Command(binary, "serve", "--roles", roles)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), "HOST=127.0.0.1", "PORT=0",
		"DATABASE_URL=" + c.database, "REDIS_URL=" + c.redis,
		"POSTHORN_API_KEY=" + key, "POSTHORN_ENCRYPTION_KEYS=" + c.sealing, "POSTHORN_LOG_FORMAT=json",
		"POSTHORN_ALLOW_HTTP=true", "POSTHORN_ALLOW_PRIVATE=127.0.0.0/8",
	}
	cmd.Env = append(cmd.Env, c.env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	n := &node{cluster: c, Process: clustertest.Start(c.t, "node"+string(rune('0'+c.nodes))+"-"+roles, cmd)}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			n.url = url
			go func() { _, _ = io.Copy(io.Discard, out) }()
			n.id = n.ownID()
			return n
		}
	}
	c.t.Fatalf("the node with %s ended before it listened:\n%s", roles, n.LastLines(20))
	return nil
}

// ownID is the node's id as its log says it.
func (n *node) ownID() posthorn.NodeID {
	var said struct{ Node posthorn.NodeID }
	for _, line := range n.Lines(`"msg":"listening"`) {
		if err := json.Unmarshal([]byte(line), &said); err != nil {
			n.T.Fatal(err)
		}
	}
	if said.Node.IsZero() {
		n.T.Fatalf("%s did not log its id", n.Name)
	}
	return said.Node
}

// answer is what a node answered. A status of 0 means that there was no answer: err says why.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error
	at     time.Time
	took   time.Duration
}

// ask makes one request with the cluster's key.
func (n *node) ask(method, path string, body any) answer { return n.askWith(key, method, path, body) }

// askWith makes one request with a key.
func (n *node) askWith(key, method, path string, body any) answer {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return answer{err: err}
		}
		reader = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(n.T.Context(), method, n.url+path, reader)
	if err != nil {
		return answer{err: err}
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	began := time.Now()
	resp, err := n.cluster.client.Do(r)
	if err != nil {
		return answer{err: err, at: began, took: time.Since(began)}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	a := answer{status: resp.StatusCode, header: resp.Header, body: text, err: err, at: began, took: time.Since(began)}
	if err != nil {
		a.status = 0
	}
	return a
}

// want is ask for what must succeed: the answer has the status, and its body is read into v unless that is nil.
func (n *node) want(status int, method, path string, body, v any) {
	n.T.Helper()
	a := n.ask(method, path, body)
	if a.err != nil {
		n.T.Fatalf("%s %s at %s: %v", method, path, n.Name, a.err)
	}
	if a.status != status {
		n.T.Fatalf("%s %s at %s: %d, want %d: %s", method, path, n.Name, a.status, status, a.body)
	}
	if v == nil {
		return
	}
	if err := json.Unmarshal(a.body, v); err != nil {
		n.T.Fatalf("%s %s at %s: %v: %s", method, path, n.Name, err, a.body)
	}
}

type object = map[string]any

// subscription is what the tests need of one.
type subscription struct {
	ID     posthorn.SubscriptionID
	Secret string
}

// subscribe makes a subscription of one type, with further fields.
func (n *node) subscribe(url, eventType string, further object) subscription {
	n.T.Helper()
	body := object{"url": url, "event_types": []string{eventType}}
	for name, v := range further {
		body[name] = v
	}
	var made subscription
	n.want(http.StatusCreated, http.MethodPost, "/subscriptions", body, &made)
	return made
}

// published is the answer to a publish.
type published struct {
	ID         string
	Deliveries int
	Duplicate  bool
}

func (n *node) publish(eventType string) published {
	n.T.Helper()
	var p published
	n.want(http.StatusAccepted, http.MethodPost, "/events", object{"type": eventType, "payload": object{"n": 1}}, &p)
	return p
}

// healthReport is GET /health; every component by its name.
type healthReport struct {
	status     string
	components map[string]string
}

func (n *node) health() healthReport {
	n.T.Helper()
	a := n.ask(http.MethodGet, "/health", nil)
	var said struct {
		Status     string
		Components []struct{ Name, Status string }
	}
	if err := json.Unmarshal(a.body, &said); err != nil {
		n.T.Fatalf("GET /health at %s: %d %v: %s", n.Name, a.status, err, a.body)
	}
	h := healthReport{said.Status, map[string]string{}}
	for _, c := range said.Components {
		h.components[c.Name] = c.Status
	}
	return h
}

// ready is the status of GET /health/ready.
func (n *node) ready() int { return n.ask(http.MethodGet, "/health/ready", nil).status }

// worker is what the tests need of a node as GET /workers shows it.
type worker struct {
	Status     string
	Roles      []string
	LastSeenAt time.Time `json:"last_seen_at"`
	InFlight   int       `json:"in_flight"`
	Held       int
}

// worker is how this node shows another.
func (n *node) worker(of *node) worker {
	n.T.Helper()
	var w worker
	n.want(http.StatusOK, http.MethodGet, "/workers/"+of.id.String(), nil, &w)
	return w
}
