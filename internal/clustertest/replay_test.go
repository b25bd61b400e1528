package clustertest_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/clustertest"
)

// replayState is what the tests need of GET /replays/{id}.
type replayState struct {
	ID                      posthorn.ReplayID
	Status                  string
	Total, Created, Skipped int
}

// TestReplayKilledHalfWay replays 50,000 exhausted deliveries. The worker that makes them is killed with -9 half-way, and
// another one goes on. Their subscription is paused, so that making them is all there is to do.
func TestReplayKilledHalfWay(t *testing.T) {
	t.Parallel()
	const deliveries = 50_000
	c := newCluster(t, clustertest.NewDatabase(t), "")
	api := c.start("api")
	pool := connect(t, c.database)
	sub := api.subscribe("http://127.0.0.1:9/", "replay.test", object{"status": "paused"})
	api.publish("replay.test")
	exhausted(t, pool, deliveries)

	worker := c.start("worker")
	began := time.Now()
	var r replayState
	api.want(http.StatusAccepted, http.MethodPost, "/replays", object{
		"filter": object{"subscription_id": sub.ID}, "rate_limit": object{"limit": 15000, "per": "second"},
	}, &r)
	read := func() replayState {
		api.want(http.StatusOK, http.MethodGet, "/replays/"+r.ID.String(), nil, &r)
		return r
	}
	clustertest.Eventually(t, time.Minute, "half of the replay is done", func() bool { return read().Created >= deliveries/2 })
	worker.Kill()
	if read().Status != "running" {
		t.Fatalf("killed too late: %+v", r)
	}
	t.Logf("killed at %d after %s", r.Created, time.Since(began).Round(time.Millisecond))
	c.start("worker")
	clustertest.Eventually(t, time.Minute, "the replay is completed", func() bool { return read().Status == "completed" })
	t.Logf("completed after %s", time.Since(began).Round(time.Millisecond))
	if r.Created != deliveries || r.Skipped != 0 {
		t.Errorf("the replay ended as %+v", r)
	}
	made := value[int](t, pool, `SELECT count(*) FROM deliveries WHERE replay_id = $1`, [16]byte(r.ID.UUID))
	events := value[int](t, pool, `SELECT count(DISTINCT event_id) FROM deliveries WHERE replay_id = $1`, [16]byte(r.ID.UUID))
	if made != deliveries || events != deliveries {
		t.Errorf("%d new deliveries of %d events, want %d of each", made, events, deliveries)
	}
}

// exhausted makes so many exhausted deliveries of the one event and delivery there is.
func exhausted(t testing.TB, pool *pgxpool.Pool, n int) {
	t.Helper()
	// UUIDv7 of one millisecond, numbered; an event and its delivery share one.
	const numbered = `(substr(replace(%s::text, '-', ''), 1, 12) || '70008' || lpad(to_hex(nextval('numbers')), 15, '0'))::uuid`
	_, err := pool.Exec(t.Context(), fmt.Sprintf(`
		CREATE SEQUENCE numbers;
		CREATE TABLE e AS SELECT e.* FROM events e, generate_series(1, %[1]d);
		UPDATE e SET id = `+fmt.Sprintf(numbered, "id")+`;
		ALTER SEQUENCE numbers RESTART;
		CREATE TABLE d AS SELECT d.* FROM deliveries d, generate_series(1, %[1]d);
		UPDATE d SET id = `+fmt.Sprintf(numbered, "event_id")+`, state = 'exhausted', reason = 'attempts', attempts = 1, spent = 1,
			completed_at = updated_at;
		UPDATE d SET event_id = id;
		DELETE FROM events;
		DELETE FROM deliveries;
		INSERT INTO events SELECT * FROM e;
		INSERT INTO deliveries SELECT * FROM d;
		DROP TABLE e, d;
		DROP SEQUENCE numbers`, n))
	if err != nil {
		t.Fatal(err)
	}
}
