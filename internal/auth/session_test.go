package auth

import (
	"net/netip"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

var desk = netip.MustParseAddr("192.0.2.1")

// signIn starts a session of a new key.
func (o *office) signIn(change func(*posthorn.Key)) (token string, key *posthorn.Key) {
	o.t.Helper()
	text, key := o.add(change)
	id, err := o.Authenticate(o.t.Context(), text, desk)
	must(o.t, err)
	token, _, err = o.StartSession(o.t.Context(), id)
	must(o.t, err)
	return token, key
}

// enters reports whether a session's token is good, and fails on an answer other than yes or Unauthenticated.
func (o *office) enters(token string) bool {
	o.t.Helper()
	id, err := o.AuthenticateSession(o.t.Context(), token, desk)
	if err != nil && posthorn.KindOf(err) != posthorn.Unauthenticated {
		o.t.Fatal(err)
	}
	if err == nil && id.Session == nil {
		o.t.Error("recognised without a session")
	}
	return err == nil
}

func TestSession(t *testing.T) {
	o := open(t, nil)
	token, key := o.signIn(nil)
	for range 2 {
		if !o.enters(token) {
			t.Error("a new session is refused")
		}
	}
	for _, bad := range []string{"", "phs_", token + "a", token[:len(token)-1], "phs_" + random()} {
		if o.enters(bad) {
			t.Errorf("%q is a session", bad)
		}
	}
	id, err := o.AuthenticateSession(t.Context(), token, desk)
	must(t, err)
	if id.Key.ID != key.ID || id.Tenant.Name != "home" {
		t.Errorf("recognised as %+v", id)
	}
	must(t, o.EndSession(t.Context(), id))
	if o.enters(token) || o.Check(t.Context(), id, desk) == nil {
		t.Error("a session outlives its end")
	}
}

// TestSessionsAndKeysAreNotConfused shows each as the other, cached and not.
func TestSessionsAndKeysAreNotConfused(t *testing.T) {
	o := open(t, nil)
	text, _ := o.add(nil)
	token, _ := o.signIn(nil)
	for range 2 {
		if _, ok := o.try(text, "192.0.2.1"); !ok || !o.enters(token) {
			t.Fatal("the right use is refused")
		}
		if _, ok := o.try(token, "192.0.2.1"); ok || o.enters(text) {
			t.Error("a session passes as a key, or a key as a session")
		}
	}
}

func TestSessionEndsUnused(t *testing.T) {
	o := open(t, nil)
	token, _ := o.signIn(nil)
	for range 20 {
		o.now = o.now.Add(posthorn.SessionIdle - time.Minute)
		if o.now.Sub(time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)) >= posthorn.SessionLife {
			break
		}
		if !o.enters(token) {
			t.Fatalf("a session in use is refused at %s", o.now)
		}
		must(t, o.Flush(t.Context()))
	}
	if o.enters(token) {
		t.Error("a session lives longer than its life")
	}
	token, _ = o.signIn(nil)
	o.now = o.now.Add(posthorn.SessionIdle)
	if o.enters(token) {
		t.Error("a session that was not used goes on")
	}
}

func TestSessionEndsWithItsKey(t *testing.T) {
	o := open(t, nil)
	expiring, _ := o.signIn(func(k *posthorn.Key) { k.ExpiresAt = o.now.Add(time.Hour) })
	token, key := o.signIn(nil)
	id, err := o.AuthenticateSession(t.Context(), token, desk)
	must(t, err)
	must(t, o.store.RevokeKey(t.Context(), o.tenant.ID, key.ID))
	o.now = o.now.Add(5 * time.Second)
	if o.enters(token) || o.Check(t.Context(), id, desk) == nil {
		t.Error("a session is good 5 s after its key was revoked")
	}
	if !o.enters(expiring) {
		t.Error("another key's session ended")
	}
	o.now = o.now.Add(time.Hour)
	if o.enters(expiring) {
		t.Error("a session outlives its key's expiry")
	}
}

func TestSessionKeepsTheKeysAddresses(t *testing.T) {
	o := open(t, nil)
	token, _ := o.signIn(func(k *posthorn.Key) { k.IPAllowlist = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	if _, err := o.AuthenticateSession(t.Context(), token, netip.MustParseAddr("198.51.100.1")); posthorn.KindOf(err) != posthorn.Forbidden {
		t.Errorf("from elsewhere: %v", err)
	}
}
