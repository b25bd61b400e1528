package postgres

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/storetest"
)

// setClock moves the clock of a database whose URL names search_path=public,pg_catalog: a now() of the test's stands before PostgreSQL's.
func setClock(t *testing.T, s *Store, ahead time.Duration) {
	t.Helper()
	exec(t, s, fmt.Sprintf(`CREATE OR REPLACE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql STABLE
		AS $$SELECT pg_catalog.now() + interval '%d microseconds'$$`, ahead.Microseconds()))
	if now := value[time.Time](t, s, `SELECT now()`); time.Until(now).Round(time.Minute) != ahead {
		t.Fatalf("it is %s, want %s later", now, ahead)
	}
}

// TestClockSetBack has an hour taken back: what was due is due, what a dead node had is free after a lease, a retry keeps its wait,
// and the duty to see to it is not the dead node's for an hour.
func TestClockSetBack(t *testing.T) {
	url := newDatabase(t)
	s := openURL(t, url+"&search_path=public,pg_catalog")
	first := s
	t.Cleanup(func() { _, _ = first.pool.Exec(context.Background(), `DROP FUNCTION public.now()`) })
	setClock(t, s, time.Hour)
	s = openURL(t, url+"&search_path=public,pg_catalog")
	f := storetest.NewFixture(t, s)
	dead := posthorn.NodeID{UUID: posthorn.MinUUID(time.Unix(1, 0))}
	if held, err := s.AcquireLease(t.Context(), "janitor", dead, 2*time.Minute); !held || err != nil {
		t.Fatal(held, err)
	}
	sub := f.Subscribe()
	failed := f.PublishOne(sub)
	f.Record(f.Failure(f.ClaimOne(failed), 10*time.Minute))
	named := f.NewEvent(func(e *posthorn.Event) { e.DeliverAt = s.Now().Add(2 * time.Hour) })
	f.PublishEvent(named, sub)
	claimed := f.PublishOne(sub)
	f.ClaimOne(claimed)
	due := f.PublishOne(sub)

	setClock(t, s, 0)
	s = openURL(t, url+"&search_path=public,pg_catalog")
	f.Store = s
	if held, err := s.AcquireLease(t.Context(), "janitor", f.Node, 2*time.Minute); !held || err != nil {
		t.Errorf("the janitor's duty is not free: %v", err)
	}
	if _, err := s.WithdrawDeliveries(t.Context(), posthorn.Withdrawal{Hold: time.Hour, Window: 72 * time.Hour, Batch: 2}); err != nil {
		t.Fatal(err)
	}
	if got := f.Claim(); len(got) != 1 || got[0].DeliveryID != due {
		t.Errorf("claimed %v, want %s", got, due)
	}
	lease := value[time.Time](t, s, `SELECT visible_at FROM deliveries WHERE id = $1`, uuid(claimed.UUID))
	if left := time.Until(lease); left > posthorn.Lease || left < posthorn.Lease-10*time.Second {
		t.Errorf("the dead node's lease lasts %s more, want %s", left, posthorn.Lease)
	}
	if wait := time.Until(f.Delivery(failed).DueAt); wait < 8*time.Minute || wait > 10*time.Minute {
		t.Errorf("the retry waits %s, want 10 minutes", wait)
	}
	waiting := value[time.Time](t, s, `SELECT due_at FROM deliveries WHERE event_id = $1`, uuid(named.ID.UUID))
	if !waiting.Equal(named.DeliverAt.Truncate(time.Microsecond)) {
		t.Errorf("the event named %s and waits for %s", named.DeliverAt, waiting)
	}
}
