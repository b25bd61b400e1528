package clustertest_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/clustertest"
	"github.com/posthorn/posthorn/internal/hooktest"
	"github.com/posthorn/posthorn/internal/redis/redistest"
)

// TestPoolerInTransactionMode runs the main flow of two nodes through pgbouncer, which gives each transaction any of a few
// sessions: migrations, publishing, retries, order, pauses, lists and the duties of the cluster.
func TestPoolerInTransactionMode(t *testing.T) {
	t.Parallel()
	direct := clustertest.NewDatabase(t)
	c := newCluster(t, throughPooler(t, direct), redistest.Start(t).URL())
	a, b := c.start("api,worker,janitor"), c.start("api,worker,janitor")
	pool := connect(t, direct)
	receiver, _ := subscribeLoad(a, 20*time.Millisecond)
	failing, failingURL := hooktest.Listen(t, "failing")
	failing.Reply(hooktest.Status(http.StatusInternalServerError), hooktest.Status(http.StatusOK))
	retried := a.subscribe(failingURL, "retried", object{"retry": object{"schedule": []int{1}}})
	failing.VerifyWith(hooktest.ByReference(retried.Secret))
	ordered, orderedURL := hooktest.Listen(t, "ordered")
	a.subscribe(orderedURL, "ordered", object{"ordering": "fifo"})
	heldBack, heldURL := hooktest.Listen(t, "held")
	held := b.subscribe(heldURL, "held", nil)

	b.want(http.StatusOK, http.MethodPatch, "/subscriptions/"+held.ID.String(), object{"status": "paused"}, nil)
	a.publish("retried")
	a.publish("held")
	var order []string
	for i := range 30 {
		order = append(order, []*node{a, b}[i%2].publish("ordered").ID)
	}
	l := newLoad(t, a, b)
	l.repeat = true
	l.run(0, 1500, 300, 16)
	a.want(http.StatusOK, http.MethodPatch, "/subscriptions/"+held.ID.String(), object{"status": "active"}, nil)
	allEnded(t, pool, 20*time.Second)

	l.check(true)
	if n := failing.Count(); n != 2 {
		t.Errorf("%d requests to a receiver that failed once, want 2", n)
	}
	for _, r := range failing.Requests() {
		if r.Signature != nil {
			t.Errorf("the signature of attempt %d: %v", r.Attempt, r.Signature)
		}
	}
	if n := heldBack.Count(); n != 1 {
		t.Errorf("%d requests after the pause, want 1", n)
	}
	wantOrder(t, ordered, order)
	readEverything(t, a, order[0])
	seen := map[string]int{}
	for _, r := range receiver.Requests() {
		seen[r.Event]++
	}
	for n, id := range l.accepted {
		if seen[id] != 1 {
			t.Errorf("event %d was received %d times", n, seen[id])
		}
	}
	for _, n := range []*node{a, b} {
		for _, line := range n.Lines(`"level":"ERROR"`) {
			t.Errorf("%s: %s", n.Name, line)
		}
	}
	t.Logf("%d events through %d sessions of pgbouncer; slowest 202 %s", len(l.accepted), poolerSessions, l.slowest.Round(time.Millisecond))
}

func wantOrder(t *testing.T, receiver *hooktest.Receiver, order []string) {
	t.Helper()
	got := receiver.Requests()
	if len(got) != len(order) {
		t.Fatalf("%d requests in order, want %d", len(got), len(order))
	}
	for i, r := range got {
		if r.Event != order[i] {
			t.Fatalf("request %d is of %s, want %s", i, r.Event, order[i])
		}
	}
}

// readEverything reads what people and dashboards read.
func readEverything(t *testing.T, n *node, event string) {
	t.Helper()
	for _, path := range []string{
		"/events?limit=50", "/events/" + event, "/events/" + event + "/status", "/deliveries?limit=50", "/deliveries?event_id=" + event,
		"/subscriptions", "/queue", "/workers", "/stats", "/health", "/health/ready",
	} {
		n.want(http.StatusOK, http.MethodGet, path, nil, nil)
	}
	var deliveries struct {
		Data []struct{ ID posthorn.DeliveryID }
	}
	n.want(http.StatusOK, http.MethodGet, "/deliveries?event_id="+event, nil, &deliveries)
	n.want(http.StatusOK, http.MethodGet, "/deliveries/"+deliveries.Data[0].ID.String()+"/attempts", nil, nil)
}

// poolerSessions is how many sessions the pooler has for both nodes, far fewer than they ask for.
const poolerSessions = 5

// throughPooler starts a pgbouncer in transaction mode before the server of a database, and gives the database's URL behind
// it.
func throughPooler(t *testing.T, database string) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/pgbouncer"); err != nil {
			t.Fatal("pgbouncer is not installed: `make test` installs it, or says how")
		}
	}
	server, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	as := clustertest.Unprivileged(t)
	directory, err := os.MkdirTemp("", "posthorn-pooler-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(directory) })
	settings := filepath.Join(directory, "pgbouncer.ini")
	users := filepath.Join(directory, "users.txt")
	credentials := "user=" + server.User
	if server.Password != "" {
		credentials += " password='" + strings.ReplaceAll(server.Password, "'", "''") + "'"
	}
	for try := 1; ; try++ {
		port := 20000 + rand.IntN(12000)
		text := fmt.Sprintf("[databases]\n%s = host=%s port=%d %s\n"+
			"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\nauth_type = any\nauth_file = %s\n"+
			"pool_mode = transaction\ndefault_pool_size = %d\nmax_client_conn = 200\n",
			server.Database, server.Host, server.Port, credentials, port, users, poolerSessions)
		writeFor(t, settings, text)
		writeFor(t, users, "")
		if as != nil {
			for _, path := range []string{directory, settings, users} {
				if err := os.Chown(path, int(as.Uid), int(as.Gid)); err != nil {
					t.Fatal(err)
				}
			}
		}
		cmd := exec.Command(program, settings)
		cmd.Dir = directory
		cmd.SysProcAttr = clustertest.AsUser(as)
		p := clustertest.Start(t, "pgbouncer", cmd)
		behind := url.URL{
			Scheme: "postgres", User: url.User(server.User), Host: "127.0.0.1:" + strconv.Itoa(port), Path: "/" + server.Database,
			RawQuery: "sslmode=disable",
		}
		if clustertest.Answers(t, p, behind.String()) {
			behind.RawQuery += "&pool_mode=transaction"
			return behind.String()
		}
		if try == 10 {
			t.Fatalf("pgbouncer did not start:\n%s", p.LastLines(20))
		}
	}
}

func writeFor(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
