package storetest

import (
	"crypto/sha256"
	"time"

	"github.com/posthorn/posthorn"
)

func sessionTests() group {
	return group{"Session", []test{
		{"FoundWithItsKey", sessionFound},
		{"Touch", sessionTouch},
		{"End", sessionEnd},
		{"AtMostSoManyOfAKey", sessionBounded},
		{"Cleaned", sessionCleaned},
	}}
}

// NewSession stores a session of a key.
func (f *Fixture) NewSession(token string, key *posthorn.Key) *posthorn.Session {
	f.T.Helper()
	s := &posthorn.Session{Hash: sha256.Sum256([]byte(token)), KeyID: key.ID, TenantID: f.Tenant}
	f.must(f.Store.CreateSession(f.Context(), s))
	return s
}

func (f *Fixture) findSession(hash [32]byte) (*posthorn.Session, *posthorn.Key) {
	f.T.Helper()
	s, k, err := f.Store.FindSession(f.Context(), hash)
	f.must(err)
	return s, k
}

func sessionFound(f *Fixture) {
	key := f.NewKey("a")
	want := f.NewSession("t", key)
	got, of := f.findSession(want.Hash)
	f.wantIn("created_at", got.CreatedAt, 0)
	f.wantIn("seen_at", got.SeenAt, 0)
	equal(f, "hash", got.Hash, want.Hash)
	equal(f, "key", got.KeyID, key.ID)
	equal(f, "tenant", got.TenantID, f.Tenant)
	equal(f, "the key", of.Hash, key.Hash)
	f.must(f.Store.RevokeKey(f.Context(), f.Tenant, key.ID))
	_, of = f.findSession(want.Hash)
	equal(f, "usable", of.Usable(f.Store.Now()), false)
	_, _, err := f.Store.FindSession(f.Context(), sha256.Sum256([]byte("u")))
	f.wantKind(err, posthorn.NotFound, "find an unknown session")
}

func sessionTouch(f *Fixture) {
	key := f.NewKey("a")
	a, b := f.NewSession("a", key), f.NewSession("b", key)
	f.Elapse(time.Hour)
	now := f.Store.Now()
	touch := func(at time.Time) {
		f.T.Helper()
		f.must(f.Store.TouchSessions(f.Context(), map[[32]byte]time.Time{a.Hash: at, {1}: at}))
	}
	touch(now.Add(-time.Minute))
	touch(now.Add(-time.Hour / 2))
	got, _ := f.findSession(a.Hash)
	f.wantIn("seen_at", got.SeenAt, -time.Minute)
	f.wantIn("created_at", got.CreatedAt, -time.Hour)
	got, _ = f.findSession(b.Hash)
	f.wantIn("another's seen_at", got.SeenAt, -time.Hour)
	f.must(f.Store.TouchSessions(f.Context(), nil))
}

func sessionEnd(f *Fixture) {
	s := f.NewSession("a", f.NewKey("a"))
	for range 2 {
		f.must(f.Store.EndSession(f.Context(), s.Hash))
	}
	_, _, err := f.Store.FindSession(f.Context(), s.Hash)
	f.wantKind(err, posthorn.NotFound, "find an ended session")
}

func sessionBounded(f *Fixture) {
	key, other := f.NewKey("a"), f.NewKey("b")
	first := f.NewSession("first", key)
	kept := f.NewSession("other", other)
	f.Elapse(time.Minute)
	for i := range posthorn.MaxSessions {
		f.NewSession(string(rune(0x100+i)), key)
	}
	_, _, err := f.Store.FindSession(f.Context(), first.Hash)
	f.wantKind(err, posthorn.NotFound, "find the one session too many")
	f.findSession(kept.Hash)
	f.findSession(sha256.Sum256([]byte(string(rune(0x100)))))
}

func sessionCleaned(f *Fixture) {
	key := f.NewKey("a")
	f.NewSession("idle", key)
	used := f.NewSession("used", key)
	old := f.NewSession("old", key)
	for range 14 {
		f.Elapse(posthorn.SessionIdle - time.Hour)
		f.must(f.Store.TouchSessions(f.Context(), map[[32]byte]time.Time{old.Hash: f.Store.Now()}))
	}
	f.must(f.Store.TouchSessions(f.Context(), map[[32]byte]time.Time{used.Hash: f.Store.Now()}))
	s, _ := f.findSession(old.Hash)
	equal(f, "usable", s.Usable(f.Store.Now()), true)
	removed, done, err := f.Store.CleanAccess(f.Context(), time.Hour, 10)
	f.must(err)
	equal(f, "removed", removed, 1)
	equal(f, "done", done, true)
	f.Elapse(15 * time.Hour)
	f.must(f.Store.TouchSessions(f.Context(), map[[32]byte]time.Time{old.Hash: f.Store.Now()}))
	s, _ = f.findSession(old.Hash)
	equal(f, "usable after its life", s.Usable(f.Store.Now()), false)
	removed, _, err = f.Store.CleanAccess(f.Context(), time.Hour, 10)
	f.must(err)
	equal(f, "removed later", removed, 2)
}
