package auth

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/bubble"
)

// silent is a store that answers when it is let to.
type silent struct {
	oneKey
	asked  atomic.Int32
	answer chan struct{}
}

func (s *silent) FindKey(ctx context.Context, hash [32]byte) (*posthorn.Key, error) {
	s.asked.Add(1)
	<-s.answer
	return s.oneKey.FindKey(ctx, hash)
}

func TestASilentStoreIsToldWithinPatience(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		text := Generate()
		key := NewKey(text, "test", posthorn.ScopeRead)
		s := &silent{oneKey: oneKey{key: key}}
		a := New(Options{Store: s, Now: time.Now})
		ask := func() (time.Duration, error) {
			start := time.Now()
			_, err := a.Authenticate(t.Context(), text, netip.MustParseAddr("127.0.0.1"))
			return time.Since(start), err
		}
		silence := func(wait time.Duration) {
			t.Helper()
			s.answer = make(chan struct{})
			for range 3 {
				go func() { _, _ = ask() }()
			}
			if took, err := ask(); posthorn.KindOf(err) != posthorn.Unavailable || took != wait {
				t.Errorf("told %v after %s, want it after %s", err, took, wait)
			}
			if n := s.asked.Swap(0); n != 1 {
				t.Errorf("asked %d times at once", n)
			}
			close(s.answer)
			synctest.Wait()
			if took, err := ask(); err != nil || took != 0 {
				t.Errorf("what was answered late is not known: %v after %s", err, took)
			}
		}
		silence(posthorn.FirstPatience)
		time.Sleep(time.Minute)
		s.asked.Store(0)
		silence(posthorn.Patience)
	})
}
