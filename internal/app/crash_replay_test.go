package app_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

// replayed is how many deliveries the replays that are killed make.
const replayed = 50_000

// TestAReplayKilledHalfWayMakesEachDeliveryOnce replays 50,000 exhausted deliveries with a real process that is killed
// with -9 half-way and started again. Their subscription is paused, so that making them is all there is to do.
func TestAReplayKilledHalfWayMakesEachDeliveryOnce(t *testing.T) {
	s := &crashing{binary: buildBinary(t), dir: t.TempDir()}
	s.start(t)
	var subscription struct{ ID posthorn.SubscriptionID }
	s.want(t, http.StatusCreated, http.MethodPost, "/subscriptions", `{"url":"http://localhost:9/","status":"paused"}`, &subscription)
	s.want(t, http.StatusAccepted, http.MethodPost, "/events", `{"type":"invoice.paid","payload":{"total":1200}}`, &struct{}{})
	s.kill(t)
	began := time.Now()
	path := filepath.Join(s.dir, "posthorn.db")
	exhausted(t, path)
	t.Logf("%d exhausted deliveries made in %s", replayed, time.Since(began).Round(time.Millisecond))

	s.start(t)
	began = time.Now()
	var r replayState
	s.want(t, http.StatusAccepted, http.MethodPost, "/replays",
		fmt.Sprintf(`{"filter":{"subscription_id":%q},"rate_limit":{"limit":15000,"per":"second"}}`, subscription.ID), &r)
	if r.Total != replayed {
		t.Errorf("counted %d", r.Total)
	}
	at := r.await(t, s, func() bool { return r.Created >= replayed/2 })
	s.kill(t)
	if r.Status != "running" {
		t.Fatalf("killed too late: %+v", r)
	}
	t.Logf("killed at %d after %s", at, time.Since(began).Round(time.Millisecond))
	s.start(t)
	r.await(t, s, func() bool { return r.Status == "completed" })
	t.Logf("completed after %s", time.Since(began).Round(time.Millisecond))
	if r.Created != replayed || r.Skipped != 0 {
		t.Errorf("the replay ended as %+v", r)
	}
	s.kill(t)
	made, events := madeBy(t, path, r.ID)
	if made != replayed || events != replayed {
		t.Errorf("%d new deliveries of %d events, want %d of each", made, events, replayed)
	}
}

// replayState is what the tests need of GET /replays/{id}.
type replayState struct {
	ID                      posthorn.ReplayID
	Status                  string
	Total, Created, Skipped int
}

// await reads the replay until it is so.
func (r *replayState) await(t *testing.T, s *crashing, so func() bool) int {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		s.want(t, http.StatusOK, http.MethodGet, "/replays/"+r.ID.String(), "", r)
		if so() {
			return r.Created
		}
	}
	t.Fatalf("the replay does not go on: %+v", r)
	return 0
}

// want makes a request that must succeed.
func (s *crashing) want(t *testing.T, status int, method, path, body string, v any) {
	t.Helper()
	got, answer, err := s.ask(t.Context(), method, path, []byte(body))
	if err != nil || got != status {
		t.Fatalf("%s %s: %d, want %d: %s %v", method, path, got, status, answer, err)
	}
	if err := json.Unmarshal(answer, v); err != nil {
		t.Fatal(err)
	}
}

// exhausted makes exhausted deliveries of the one event and delivery in a database that no process has open.
func exhausted(t *testing.T, path string) {
	t.Helper()
	db := openFile(t, path)
	db.SetMaxOpenConns(1)
	for _, statement := range []string{
		`PRAGMA synchronous = OFF`,
		`CREATE TEMP TABLE n AS WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT ?) SELECT n FROM n`,
		`CREATE TEMP TABLE e AS SELECT events.* FROM events, n`,
		`CREATE TEMP TABLE d AS SELECT deliveries.* FROM deliveries, n`,
		// UUIDv7 of one millisecond, numbered; an event and its delivery share one.
		`UPDATE e SET id = unhex(printf('%s7000%016x', substr(hex(id), 1, 12), -9223372036854775808 + rowid))`,
		`UPDATE d SET id = unhex(printf('%s7000%016x', substr(hex(event_id), 1, 12), -9223372036854775808 + rowid)),
			state = 2, reason = 'attempts', attempts = 1, spent = 1, completed_at = updated_at`,
		`UPDATE d SET event_id = id`,
		`DELETE FROM events`,
		`DELETE FROM deliveries`,
		`INSERT INTO events SELECT * FROM e`,
		`INSERT INTO deliveries SELECT * FROM d`,
	} {
		var args []any
		if strings.Contains(statement, "?") {
			args = append(args, replayed)
		}
		if _, err := db.Exec(statement, args...); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// madeBy counts a replay's deliveries, and the events they are of.
func madeBy(t *testing.T, path string, id posthorn.ReplayID) (made, events int) {
	t.Helper()
	err := openFile(t, path).QueryRow(`SELECT count(*), count(DISTINCT event_id) FROM deliveries WHERE replay_id = ?`, id).Scan(&made, &events)
	if err != nil {
		t.Fatal(err)
	}
	return made, events
}

func openFile(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}
