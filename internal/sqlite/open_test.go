package sqlite

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/storetest"
)

// testSealer binds and hides without cryptography, which is internal/seal's: enough to see that the store uses it.
type testSealer struct{}

func (testSealer) Seal(plain []byte, bind string) []byte {
	return []byte(bind + "\x00" + base64.StdEncoding.EncodeToString(plain))
}

func (testSealer) Open(sealed []byte, bind string) ([]byte, error) {
	if len(sealed) <= len(bind) || string(sealed[:len(bind)+1]) != bind+"\x00" {
		return nil, errors.New("sealed for another row")
	}
	return base64.StdEncoding.DecodeString(string(sealed[len(bind)+1:]))
}

func open(t testing.TB, path string) *Store {
	t.Helper()
	return openAt(t, path, nil)
}

// openAt is open with a clock; nil is Go's.
func openAt(t testing.TB, path string, now func() time.Time) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{Path: path, Sealer: testSealer{}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestOpen(t *testing.T) {
	t.Run("NoSealer", func(t *testing.T) {
		if _, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "a.db")}); err == nil {
			t.Fatal("opened without a sealer")
		}
	})
	t.Run("NoPath", func(t *testing.T) {
		if _, err := Open(t.Context(), Options{Sealer: testSealer{}}); err == nil {
			t.Fatal("opened without a path")
		}
	})
	t.Run("OddPath", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "new dir", "50%20 a?b#c&d.db")
		open(t, path)
		if _, err := os.Stat(path); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("OnlyTheOwnerReads", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a.db")
		storetest.NewFixture(t, open(t, path))
		for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
			info, err := os.Stat(path + suffix)
			if err != nil {
				t.Fatal(err)
			}
			if mode := info.Mode().Perm(); mode != 0o600 {
				t.Fatalf("%q has mode %o", suffix, mode)
			}
		}
	})
	t.Run("TakenByAnother", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a.db")
		first := open(t, path)
		_, err := Open(t.Context(), Options{Path: path, Sealer: testSealer{}})
		if err == nil || !strings.Contains(err.Error(), "another process has the database open") {
			t.Fatalf("error is %v", err)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		open(t, path)
	})
	t.Run("NewerSchema", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a.db")
		s := open(t, path)
		if err := s.write(t.Context(), func(t *tx) error {
			_, err := t.exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)`)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := Open(t.Context(), Options{Path: path, Sealer: testSealer{}})
		if err == nil || !strings.Contains(err.Error(), "use the newer version") {
			t.Fatalf("error is %v", err)
		}
	})
}

// refused opens a store that must not open, and says why it does not.
func refused(t *testing.T, o Options) string {
	t.Helper()
	o.Sealer = testSealer{}
	s, err := Open(t.Context(), o)
	if err == nil {
		_ = s.Close()
		t.Fatal("it opens")
	}
	return err.Error()
}

// TestOpenExisting makes nothing and migrates nothing.
func TestOpenExisting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "a.db")
	if text := refused(t, Options{Path: path, Existing: true}); !strings.Contains(text, "no store") {
		t.Error(text)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err == nil {
		t.Errorf("it made %v", left)
	}
	var logged bytes.Buffer
	first, err := Open(t.Context(), Options{Path: path, Sealer: testSealer{}, Log: slog.New(slog.NewTextHandler(&logged, nil))})
	if err != nil {
		t.Fatal(err)
	}
	latest := first.expected
	if want := fmt.Sprintf(`msg="migrated the database" from=0 to=%d`, latest); !strings.Contains(logged.String(), want) {
		t.Errorf("not logged: %s\n%s", want, &logged)
	}
	if text := refused(t, Options{Path: path, Existing: true}); !strings.Contains(text, "stop the service first") {
		t.Error(text)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Options{Path: path, Sealer: testSealer{}, Existing: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.write(t.Context(), func(t *tx) error {
		_, err := t.exec(`DELETE FROM goose_db_version WHERE version_id > 1`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if text := refused(t, Options{Path: path, Existing: true}); !strings.Contains(text, fmt.Sprintf("the schema is 1, this version expects %d: run posthorn migrate", latest)) {
		t.Error(text)
	}
}

// TestOpenDamaged says what to do.
func TestOpenDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const page = 8192 // the first holds the tables' names, the second the migrations' table
	for name, damage := range map[string]func([]byte) []byte{
		"CutShort":   func(b []byte) []byte { return b[:2*page+100] },
		"NoDatabase": func([]byte) []byte { return bytes.Repeat([]byte("text"), page) },
		"Migrations": func(b []byte) []byte { return slices.Concat(b[:page], bytes.Repeat([]byte{0x55}, page), b[2*page:]) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, damage(slices.Clone(whole)), 0o600); err != nil {
				t.Fatal(err)
			}
			if text := refused(t, Options{Path: path}); !strings.Contains(text, "is damaged") || !strings.Contains(text, "posthorn restore") {
				t.Error(text)
			}
		})
	}
}

// TestOpenAfterMove: a node with the old settings must not accept events into a new file.
func TestOpenAfterMove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	renamed, err := open(t, path).Retire()
	if err != nil {
		t.Fatal(err)
	}
	for _, existing := range []bool{false, true} {
		if text := refused(t, Options{Path: path, Existing: existing}); !strings.Contains(text, "moved to PostgreSQL") || !strings.Contains(text, renamed) {
			t.Error(text)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was made: %v", err)
	}
	if err := os.Remove(renamed); err != nil {
		t.Fatal(err)
	}
	open(t, path)
}

// TestOpenFreesClaims: the claims of an earlier run need not run out, since no other process can hold one.
func TestOpenFreesClaims(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s := open(t, path)
	f := storetest.NewFixture(t, s)
	id := f.PublishOne(f.Subscribe())
	f.ClaimOne(id)
	f.ClaimNone()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	f.Store = open(t, path)
	if c := f.ClaimOne(id); c.Number != 2 || c.Delivery.Interruptions != 1 {
		t.Fatalf("claimed again as number %d after %d interruptions", c.Number, c.Delivery.Interruptions)
	}
	if attempts := f.Attempts(id); len(attempts) != 1 || attempts[0].Outcome != posthorn.Interrupted {
		t.Fatalf("attempts are %+v", attempts)
	}
}

func wantUnavailable(t *testing.T, err error) {
	t.Helper()
	failure, ok := errors.AsType[*posthorn.Error](err)
	if !ok || failure.Kind != posthorn.Unavailable || failure.RetryAfter <= 0 {
		t.Fatalf("error is %v, want Unavailable with a time to wait", err)
	}
}

// TestRefusals has SQLite refuse to write: nothing is half-written, and the store goes on afterwards.
func TestRefusals(t *testing.T) {
	for _, c := range []struct{ name, refuse, allow string }{
		{"FullDisk", `PRAGMA max_page_count = 1`, `PRAGMA max_page_count = 1000000`},
		{"ReadOnly", `PRAGMA query_only = 1`, `PRAGMA query_only = 0`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, filepath.Join(t.TempDir(), "a.db"))
			f := storetest.NewFixture(t, s)
			sub := f.Subscribe()
			pragma := func(text string) {
				if _, err := s.writer.conn.ExecContext(t.Context(), text); err != nil {
					t.Fatal(err)
				}
			}
			pragma(c.refuse)
			e := f.NewEvent(func(e *posthorn.Event) { e.Payload = make([]byte, 1<<20) })
			_, err := s.AcceptEvents(t.Context(), f.Node, []posthorn.Acceptance{f.Acceptance(f.NewEvent(), sub), f.Acceptance(e, sub)})
			wantUnavailable(t, err)
			h, failed := s.Health(t.Context())
			if full := c.name == "FullDisk"; failed != nil || h.Full != full || strings.Contains(err.Error(), "the disk is full") != full {
				t.Errorf("health is %+v, %v, after %v", h, failed, err)
			}
			if again := fault(fmt.Errorf("once more: %w", err)); again.Error() != "once more: "+err.Error() {
				t.Errorf("an error that has its kind is given it again: %v", again)
			}
			pragma(c.allow)
			events, _, err := s.ListEvents(t.Context(), f.Tenant, posthorn.EventFilter{}, posthorn.Page{Limit: 10})
			if err != nil || len(events) != 0 {
				t.Fatalf("%d events, error %v: something was half-written", len(events), err)
			}
			f.Deliver(sub)
		})
	}
}

// TestForeignLock has another program hold the write lock.
func TestForeignLock(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "a.db"))
	f := storetest.NewFixture(t, s)
	sub := f.Subscribe()
	foreign, err := handle(s.path, writerDSN, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = foreign.Close() }()
	lock, err := foreign.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err = s.AcceptEvents(t.Context(), f.Node, []posthorn.Acceptance{f.Acceptance(f.NewEvent(), sub)})
	wantUnavailable(t, err)
	if waited := time.Since(began); waited > 5*time.Second {
		t.Fatalf("waited %s", waited)
	}
	// Readers do not wait for a writer.
	f.Subscription(sub)
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	f.Deliver(sub)
}

func TestClosed(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "a.db"))
	f := storetest.NewFixture(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := s.GetTenant(t.Context(), f.Tenant)
	wantUnavailable(t, err)
	_, err = s.AcceptEvents(t.Context(), f.Node, []posthorn.Acceptance{f.Acceptance(f.NewEvent())})
	wantUnavailable(t, err)
	_, err = s.ClaimDeliveries(t.Context(), posthorn.ClaimRequest{Node: f.Node, Limit: 1, PerLane: 1})
	wantUnavailable(t, err)
	if err := s.Close(); err != nil {
		t.Fatalf("closed again: %v", err)
	}
}

// TestDeadlinesAreOutages: a call whose time is over before its turn comes is told to come again, as by any store that does
// not answer, so that results are kept and tried again; one that the caller gave up is not.
func TestDeadlinesAreOutages(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "a.db"))
	s.writer.turn <- struct{}{}
	defer func() { <-s.writer.turn }()
	late, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.RecordAttempts(late, posthorn.RecordBatch{}); posthorn.KindOf(err) != posthorn.Unavailable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after its deadline: kind %d, %v", posthorn.KindOf(err), err)
	}
	gone, giveUp := context.WithCancel(t.Context())
	giveUp()
	if _, err := s.RecordAttempts(gone, posthorn.RecordBatch{}); posthorn.KindOf(err) != posthorn.Internal || !errors.Is(err, context.Canceled) {
		t.Errorf("after it was given up: kind %d, %v", posthorn.KindOf(err), err)
	}
}
