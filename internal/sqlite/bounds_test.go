package sqlite

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/bubble"
	"github.com/posthorn/posthorn/internal/storetest"
)

// TestScansAreBounded lists what hardly any row matches: pages are empty, have a next one, and lead to the row.
func TestScansAreBounded(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "a.db"))
	f := storetest.NewFixture(t, s)
	sub := f.Subscribe()
	rare := f.NewEvent(func(e *posthorn.Event) { e.Type = "rare" })
	f.PublishEvent(rare, sub)
	for range 4 {
		batch := make([]posthorn.Acceptance, 1000)
		for i := range batch {
			batch[i] = f.Acceptance(f.NewEvent(), sub)
		}
		f.Accept(batch...)
	}
	lists := map[string]func(posthorn.Page) (int, posthorn.UUID, error){
		"Events": func(p posthorn.Page) (int, posthorn.UUID, error) {
			list, next, err := s.ListEvents(t.Context(), f.Tenant, posthorn.EventFilter{Types: []string{"rare"}}, p)
			return len(list), next, err
		},
		"Deliveries": func(p posthorn.Page) (int, posthorn.UUID, error) {
			list, next, err := s.ListDeliveries(t.Context(), f.Tenant, posthorn.DeliveryFilter{Types: []string{"rare"}}, p)
			return len(list), next, err
		},
	}
	for name, list := range lists {
		t.Run(name, func(t *testing.T) {
			n, next, err := list(posthorn.Page{Limit: 10})
			if err != nil || n != 0 || next.IsZero() {
				t.Fatalf("first page has %d rows, next %x, error %v", n, next, err)
			}
			n, next, err = list(posthorn.Page{Limit: 10, Before: next})
			if err != nil || n != 1 || !next.IsZero() {
				t.Fatalf("second page has %d rows, next %x, error %v", n, next, err)
			}
		})
	}
	// A beginning of an id finds its event wherever it lies.
	found, _, err := s.ListEvents(t.Context(), f.Tenant, posthorn.EventFilter{Text: rare.ID.String()}, posthorn.Page{Limit: 10})
	if err != nil || len(found) != 1 {
		t.Fatalf("%d events found by id, error %v", len(found), err)
	}
}

// TestManyOrderingKeys has more keys blocked than one search walks over: the one that is due is found all the same.
func TestManyOrderingKeys(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		f := storetest.NewFixture(t, open(t, filepath.Join(t.TempDir(), "a.db")))
		sub := f.Subscribe(storetest.Ordered)
		const keys = 2*keysPerWalk + 500
		var batch []posthorn.Acceptance
		for i := range keys {
			batch = append(batch, f.Acceptance(f.NewEvent(storetest.Keyed(fmt.Sprintf("key-%06d", i))), sub))
		}
		f.Accept(batch...)
		due := batch[keys-1].Matches[0].DeliveryID
		claimed := 0
		for claimed < keys {
			var results []posthorn.Result
			for _, c := range f.Claim() {
				delay := time.Hour
				if c.DeliveryID == due {
					delay = time.Minute
				}
				results = append(results, f.Failure(c, delay))
			}
			f.Record(results...)
			claimed += len(results)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(2 * time.Minute)
		for range 4 {
			batch := f.ClaimBatch()
			if len(batch.Claims) == 1 && batch.Claims[0].DeliveryID == due {
				return
			}
			if len(batch.Claims) != 0 || batch.Next <= 0 || batch.Next > time.Second {
				t.Fatalf("%d claims, next in %s: want to be told to go on soon, not at once", len(batch.Claims), batch.Next)
			}
		}
		t.Fatal("the due delivery was not found")
	})
}

// TestLargeFanOut cleans up an event with more deliveries than one step removes.
func TestLargeFanOut(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := open(t, filepath.Join(t.TempDir(), "a.db"))
		f := storetest.NewFixture(t, s)
		var subs []posthorn.SubscriptionID
		for range stepBound + 100 {
			subs = append(subs, f.Subscribe())
		}
		for range 2 {
			_, _ = f.Publish(subs...)
			var results []posthorn.Result
			for _, c := range f.Claim() {
				results = append(results, f.Success(c))
			}
			f.Record(results...)
		}
		time.Sleep(100 * time.Hour)
		var sum posthorn.CleanupReport
		for steps := 0; !sum.Done; steps++ {
			report, err := s.Cleanup(t.Context(), posthorn.Retention{Logs: 72 * time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			if report.Deliveries > stepBound || steps > 20 {
				t.Fatalf("step %d removed %d deliveries", steps, report.Deliveries)
			}
			sum.Events += report.Events
			sum.Deliveries += report.Deliveries
			sum.Attempts += report.Attempts
			sum.Done = report.Done
		}
		if want := int64(2 * len(subs)); sum.Events != 2 || sum.Deliveries != want || sum.Attempts != want {
			t.Fatalf("removed %+v, want 2 events with %d deliveries", sum, want)
		}
	})
}

func TestIDPrefix(t *testing.T) {
	id := posthorn.EventID{UUID: posthorn.NewUUID(time.Now())}
	text := id.String()
	for _, c := range []struct {
		name, prefix string
		found        bool
	}{
		{"Whole", text, true},
		{"AllButOne", text[:len(text)-1], true},
		{"Half", text[:15], true},
		{"Prefix", "evt_", true},
		{"PartOfThePrefix", "ev", true},
		{"Another", text[:len(text)-1] + "!", false},
		{"TooLong", text + "0", false},
		{"AnotherKind", "sub_" + text[4:], false},
		{"PastTheLast", "evt_zz", false},
		{"UpperCase", strings.ToUpper(text), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			first, last := idPrefix(c.prefix)
			if got := string(first[:]) <= string(id.UUID[:]) && string(id.UUID[:]) <= string(last[:]); got != c.found {
				t.Fatalf("found is %t, bounds %x to %x", got, first, last)
			}
		})
	}
}

// TestPlans: what runs often must not walk over a table, nor over the rows of one long lane.
func TestPlans(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "a.db"))
	for name, text := range map[string]string{
		"WaitingLanes": waitingLanes,
		"FirstOfLane":  firstOfLane,
		"FirstManual":  firstManualOfLane,
		"OrderedWalk":  orderedWalk,
		"Record":       `SELECT state FROM deliveries WHERE (id) IN (VALUES (?), (?))`,
		"Lanes":        `SELECT ` + laneColumns + ` FROM lanes WHERE (subscription_id) IN (VALUES (?), (?))`,
		"Events":       `SELECT ` + eventColumns + ` FROM events WHERE (tenant_id, id) IN (VALUES (?, ?), (?, ?))`,
		"Key":          `SELECT ` + keyColumns + ` FROM keys WHERE hash = ?`,
		"ListEvents":   `SELECT id FROM ` + fromAll + ` ORDER BY events.id DESC LIMIT ?5`,
		"EventText":    `SELECT events.id FROM ` + fromText + ` ORDER BY events.id DESC LIMIT ?5`,
		"CountKeys":    countKeys,
		"LastAttempt":  `SELECT max(moment) FROM attempts`,
	} {
		t.Run(name, func(t *testing.T) {
			rows, err := s.read(t.Context()).query(`EXPLAIN QUERY PLAN `+text, make([]any, 9)...)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = rows.Close() }()
			for rows.Next() {
				var id, parent, unused int
				var step string
				if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
					t.Fatal(err)
				}
				if step == "SEARCH events USING INDEX events_by_tenant (tenant_id=?)" {
					t.Errorf("plan has %q: all of a tenant's events", step)
				}
				for _, table := range []string{"deliveries", "events", "lanes", "keys", "subscriptions", "idempotency_keys"} {
					if strings.HasPrefix(step, "SCAN "+table) {
						t.Errorf("plan has %q", step)
					}
				}
			}
			if err := rows.Err(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
