package clustertest_test

import (
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/clustertest"
)

// command runs one of posthorn's commands with the settings of a cluster, and further ones.
func (c *cluster) command(env []string, args ...string) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), binary, args...)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), "DATABASE_URL=" + c.database, "POSTHORN_ENCRYPTION_KEYS=" + c.sealing,
	}, env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("posthorn %v: %v\n%s", args, err, out)
	}
	c.t.Logf("posthorn %v:\n%s", args, out)
}

// subscriptionIDs are the subscriptions as the API lists them.
func (n *node) subscriptionIDs() []string {
	n.T.Helper()
	var list struct{ Data []struct{ ID string } }
	n.want(http.StatusOK, http.MethodGet, "/subscriptions?limit=200", nil, &list)
	ids := make([]string, len(list.Data))
	for i, s := range list.Data {
		ids[i] = s.ID
	}
	return ids
}

// TestBackupAndMoveUnderLoad keeps a ledger of what a node over SQLite acknowledges. A backup is taken in the middle of the
// load: restored, it has everything acknowledged before it began. Then the node is killed and its store moved to PostgreSQL,
// where two nodes finish: every event is delivered, only what was in flight at the kill is sent twice, and the producers'
// keys still answer with the same events.
func TestBackupAndMoveUnderLoad(t *testing.T) {
	t.Parallel()
	const events, rate = 2000, 400
	directory := t.TempDir()
	embedded := newCluster(t, "sqlite://"+filepath.Join(directory, "posthorn.db"), "")
	first := embedded.start("api,worker,janitor")
	receiver, _ := subscribeLoad(first, 250*time.Millisecond)
	subscriptions := first.subscriptionIDs()
	paused := subscriptions[:lanes/2]

	l := newLoad(t, first)
	wait := l.background(0, events, rate, 16)
	l.await(events / 3)
	for _, id := range paused {
		first.want(http.StatusOK, http.MethodPost, "/subscriptions/"+id+"/pause", nil, nil)
	}
	l.mu.Lock()
	before := maps.Clone(l.accepted)
	l.mu.Unlock()
	backup := filepath.Join(directory, "backup.db")
	embedded.command(nil, "backup", backup)
	wait()
	first.Kill()

	elsewhere := newCluster(t, "sqlite://"+filepath.Join(directory, "restored", "posthorn.db"), "")
	elsewhere.sealing = embedded.sealing
	elsewhere.command(nil, "restore", backup)
	restored := elsewhere.start("api") // delivers nothing
	for n, id := range before {
		var e struct{ Type string }
		if restored.want(http.StatusOK, http.MethodGet, "/events/"+id, nil, &e); e.Type != loadType(n) {
			t.Fatalf("event %d is a %s in the backup", n, e.Type)
		}
	}
	t.Logf("%d events were acknowledged before the backup began, and are in it", len(before))

	moved := newCluster(t, clustertest.NewDatabase(t), "")
	moved.sealing = embedded.sealing
	embedded.command([]string{"TARGET_DATABASE_URL=" + moved.database}, "move")
	if _, err := os.Stat(filepath.Join(directory, "posthorn.db")); !os.IsNotExist(err) {
		t.Errorf("a node could still start on the old file: %v", err)
	}
	api, _ := moved.start("api"), moved.start("worker,janitor")
	l.nodes = []*node{api}
	for n := range 50 {
		l.accept(n, l.send(0, n), true)
	}
	for _, id := range paused {
		api.want(http.StatusOK, http.MethodPost, "/subscriptions/"+id+"/resume", nil, nil)
	}
	pool := connect(t, moved.database)
	took := allEnded(t, pool, time.Minute)
	l.check(true)
	a := newAudit(t, pool, receiver)
	a.accepted(l)
	found := a.check(first)
	t.Logf("%d events, %d requests, %d events sent more than once because of the kill, ended %s after the move",
		len(a.deliveries), found.requests, len(found.repeated), took.Round(time.Millisecond))
}
