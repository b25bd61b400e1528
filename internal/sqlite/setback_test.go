package sqlite

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/storetest"
)

// TestClockSetBack opens a store that was written an hour ahead: what was due is due, and a retry keeps its wait.
func TestClockSetBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	ahead := time.Hour
	start := func() *Store {
		s, err := Open(t.Context(), Options{Path: path, Sealer: testSealer{}, Now: func() time.Time { return time.Now().Add(ahead) }})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := start()
	f := storetest.NewFixture(t, s)
	sub := f.Subscribe()
	failed := f.PublishOne(sub)
	f.Record(f.Failure(f.ClaimOne(failed), 10*time.Minute))
	named := f.NewEvent(func(e *posthorn.Event) { e.DeliverAt = s.Now().Add(2 * time.Hour) })
	f.PublishEvent(named, sub)
	claimed := f.PublishOne(sub)
	f.ClaimOne(claimed)
	due := f.PublishOne(sub)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	ahead = 0
	s = start()
	defer s.Close()
	f.Store = s
	got := map[posthorn.DeliveryID]bool{}
	for _, c := range f.Claim() {
		got[c.DeliveryID] = true
	}
	if len(got) != 2 || !got[claimed] || !got[due] {
		t.Errorf("claimed %v, want %s and %s", got, claimed, due)
	}
	if wait := time.Until(f.Delivery(failed).DueAt); wait < 8*time.Minute || wait > 10*time.Minute {
		t.Errorf("the retry waits %s, want 10 minutes", wait)
	}
}
