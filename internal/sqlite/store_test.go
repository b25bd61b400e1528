package sqlite

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Harness{
		Open: func(t *testing.T) posthorn.Store { return open(t, filepath.Join(t.TempDir(), "posthorn.db")) },
		Step: func(_ *testing.T, s posthorn.Store, d time.Duration) {
			clock := s.(*Store).clock
			s.(*Store).clock = func() time.Time { return clock().Add(d) }
		},
		Checks: 40,
		Frees:  true,
		Reopen: func(t *testing.T, s posthorn.Store) posthorn.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return openAt(t, s.(*Store).path, s.(*Store).clock)
		},
		Elapse: func(_ *testing.T, _ posthorn.Store, d time.Duration) { time.Sleep(d) },
		Bubble: synctest.Test,
		AtRest: func(t *testing.T, s posthorn.Store) []byte {
			var all []byte
			for _, suffix := range []string{"", "-wal"} {
				b, err := os.ReadFile(s.(*Store).path + suffix)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, b...)
			}
			return all
		},
	})
}
