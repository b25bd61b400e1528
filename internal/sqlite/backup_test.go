package sqlite

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/storetest"
)

// TestBackupWhileServing copies a store that is written to all the time, restores the copy and looks for everything that
// was acknowledged before the backup began.
func TestBackupWhileServing(t *testing.T) {
	directory := t.TempDir()
	path, copied := filepath.Join(directory, "posthorn.db"), filepath.Join(directory, "copy.db")
	s := open(t, path)
	f := storetest.NewFixture(t, s)
	sub := f.Subscribe()
	var mu sync.Mutex
	var acknowledged []posthorn.EventID
	var enough atomic.Bool
	started := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for n := 0; !enough.Load(); n++ {
			batch := []posthorn.Acceptance{f.Acceptance(f.NewEvent(), sub), f.Acceptance(f.NewEvent(), sub)}
			if _, err := s.AcceptEvents(t.Context(), f.Node, batch); err != nil {
				t.Errorf("accept during a backup: %v", err)
				return
			}
			mu.Lock()
			acknowledged = append(acknowledged, batch[0].Event.ID, batch[1].Event.ID)
			mu.Unlock()
			if n == 50 {
				close(started)
			}
		}
	})
	<-started
	mu.Lock()
	before := append([]posthorn.EventID(nil), acknowledged...)
	mu.Unlock()
	c, err := Backup(t.Context(), path, copied)
	enough.Store(true)
	writing.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if c.Events < int64(len(before)) || c.Deliveries != c.Events || c.Subscriptions != 1 {
		t.Errorf("the copy has %+v, %d events were acknowledged before", c, len(before))
	}
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy: %v, %v", info, err)
	}

	restored := filepath.Join(directory, "new", "posthorn.db")
	if _, err := Restore(t.Context(), copied, restored, testSealer{}, false); err != nil {
		t.Fatal(err)
	}
	again := open(t, restored)
	for _, id := range before {
		if _, err := again.GetEvent(t.Context(), f.Tenant, id); err != nil {
			t.Fatalf("%s was acknowledged before the backup began: %v", id, err)
		}
	}
	if _, err := again.GetSubscription(t.Context(), f.Tenant, sub); err != nil {
		t.Error(err)
	}
}

// otherSealer opens nothing of testSealer's.
type otherSealer struct{ testSealer }

func (otherSealer) Open([]byte, string) ([]byte, error) { return nil, os.ErrPermission }

func TestBackupAndRestoreRefuse(t *testing.T) {
	directory := t.TempDir()
	path, copied := filepath.Join(directory, "posthorn.db"), filepath.Join(directory, "copy.db")
	s := open(t, path)
	storetest.NewFixture(t, s).Subscribe()
	if _, err := Backup(t.Context(), path, copied); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) string {
		to := filepath.Join(directory, name)
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return to
	}
	unfinished := write("unfinished.db", text)
	write("unfinished.db-wal", []byte("x"))
	free := filepath.Join(directory, "free.db")
	restore := func(from, to string, sealer Sealer, replace bool) func() error {
		return func() error { _, err := Restore(t.Context(), from, to, sealer, replace); return err }
	}
	for name, c := range map[string]struct {
		do   func() error
		want string
	}{
		"BackupOverAFile":    {func() error { _, err := Backup(t.Context(), path, copied); return err }, "exist"},
		"BackupOfNothing":    {func() error { _, err := Backup(t.Context(), free, filepath.Join(directory, "x")); return err }, "no such file"},
		"WhileServed":        {restore(copied, path, testSealer{}, true), "another process"},
		"OverAStore":         {restore(copied, path, testSealer{}, false), "is there already"},
		"OtherKey":           {restore(copied, free, otherSealer{}, false), "do not open"},
		"NoDatabase":         {restore(write("text", []byte(strings.Repeat("text", 1000))), free, testSealer{}, false), "not whole"},
		"CutShort":           {restore(write("short.db", text[:len(text)/2]), free, testSealer{}, false), "not whole"},
		"NothingThere":       {restore(filepath.Join(directory, "none"), free, testSealer{}, false), "no such file"},
		"WithUnfinishedLog":  {restore(unfinished, free, testSealer{}, false), "-wal"},
		"EmptyFileIsNoStore": {restore(write("empty", nil), free, testSealer{}, false), "no store"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.do(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one with %q", err, c.want)
			}
		})
	}
	if _, err := os.Stat(free); err == nil {
		t.Error("a refused restore left a file")
	}
}

// TestRestoreReplaces puts a copy over a stopped store, whose log must not survive.
func TestRestoreReplaces(t *testing.T) {
	directory := t.TempDir()
	path, copied := filepath.Join(directory, "posthorn.db"), filepath.Join(directory, "copy.db")
	s := open(t, path)
	f := storetest.NewFixture(t, s)
	sub := f.Subscribe()
	kept, _ := f.Publish(sub)
	if _, err := Backup(t.Context(), path, copied); err != nil {
		t.Fatal(err)
	}
	lost, _ := f.Publish(sub)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+"-wal", []byte("of a node that was killed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), copied, path, testSealer{}, true); err != nil {
		t.Fatal(err)
	}
	again := open(t, path)
	if _, err := again.GetEvent(t.Context(), f.Tenant, kept); err != nil {
		t.Error(err)
	}
	if _, err := again.GetEvent(t.Context(), f.Tenant, lost); posthorn.KindOf(err) != posthorn.NotFound {
		t.Errorf("what came after the backup: %v", err)
	}
}
