package auth

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/sqlite"
)

// office is an Authenticator over a real store, with a clock that a test turns.
type office struct {
	*Authenticator
	t      *testing.T
	store  *sqlite.Store
	now    time.Time
	tenant posthorn.Tenant
}

func open(t *testing.T, change func(*Options)) *office {
	t.Helper()
	keys, err := seal.ParseKeys(seal.Generate())
	must(t, err)
	o := &office{t: t, now: time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)}
	o.store, err = sqlite.Open(t.Context(), sqlite.Options{
		Path: filepath.Join(t.TempDir(), "posthorn.db"), Sealer: keys, Now: func() time.Time { return o.now },
	})
	must(t, err)
	t.Cleanup(func() { _ = o.store.Close() })
	o.tenant = posthorn.Tenant{ID: posthorn.TenantID{UUID: posthorn.NewUUID(o.now)}, Name: "home", CreatedAt: o.now}
	must(t, o.store.CreateTenant(t.Context(), &o.tenant))
	opts := Options{Store: o.store, Now: o.store.Now}
	if change != nil {
		change(&opts)
	}
	o.Authenticator = New(opts)
	return o
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (o *office) add(change func(*posthorn.Key)) (string, *posthorn.Key) {
	o.t.Helper()
	text := Generate()
	key := NewKey(text, "test", posthorn.ScopeRead)
	key.ID, key.TenantID, key.CreatedAt = posthorn.KeyID{UUID: posthorn.NewUUID(o.now)}, o.tenant.ID, o.now
	if change != nil {
		change(key)
	}
	must(o.t, o.store.CreateKey(o.t.Context(), key))
	return text, key
}

// try is the kind of error that using a key gives; ok without one.
func (o *office) try(text, from string) (posthorn.Kind, bool) {
	o.t.Helper()
	id, err := o.Authenticate(o.t.Context(), text, netip.MustParseAddr(from))
	if err == nil && (id.Tenant.Name != "home" || id.Key.Hash != Hash(text)) {
		o.t.Errorf("recognised as %+v", id)
	}
	return posthorn.KindOf(err), err == nil
}

func TestAuthenticate(t *testing.T) {
	o := open(t, nil)
	good, _ := o.add(nil)
	expired, _ := o.add(func(k *posthorn.Key) { k.ExpiresAt = o.now })
	revoked, _ := o.add(func(k *posthorn.Key) { k.RevokedAt = o.now })
	bound, _ := o.add(func(k *posthorn.Key) { k.IPAllowlist = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")} })
	tests := []struct {
		name, key, from string
		want            posthorn.Kind
	}{
		{"None", "", "192.0.2.1", posthorn.Unauthenticated},
		{"Unknown", Generate(), "192.0.2.1", posthorn.Unauthenticated},
		{"Shorter", good[:len(good)-1], "192.0.2.1", posthorn.Unauthenticated},
		{"Longer", good + "a", "192.0.2.1", posthorn.Unauthenticated},
		{"WithoutPrefix", good[4:], "192.0.2.1", posthorn.Unauthenticated},
		{"SQL", "phk_' OR '1'='1", "192.0.2.1", posthorn.Unauthenticated},
		{"Expired", expired, "192.0.2.1", posthorn.Unauthenticated},
		{"Revoked", revoked, "192.0.2.1", posthorn.Unauthenticated},
		{"OutsideItsList", bound, "192.0.2.1", posthorn.Forbidden},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// Twice: from the store, and from the cache.
			for range 2 {
				if kind, ok := o.try(test.key, test.from); ok || kind != test.want {
					t.Errorf("kind %d, admitted %v", kind, ok)
				}
			}
		})
	}
	for key, from := range map[string]string{good: "192.0.2.1", bound: "203.0.113.9"} {
		if _, ok := o.try(key, from); !ok {
			t.Error("a good key is refused")
		}
	}
}

func TestGlobalAllowlist(t *testing.T) {
	o := open(t, func(opts *Options) { opts.Allowlist = []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")} })
	key, _ := o.add(nil)
	if _, ok := o.try(key, "2001:db8::7"); !ok {
		t.Error("an address on the list is refused")
	}
	if kind, ok := o.try(key, "192.0.2.1"); ok || kind != posthorn.Forbidden {
		t.Error("an address outside the list is admitted")
	}
}

func TestRevocationIsNoticed(t *testing.T) {
	o := open(t, nil)
	text, key := o.add(nil)
	id, err := o.Authenticate(t.Context(), text, netip.Addr{})
	must(t, err)
	must(t, o.store.RevokeKey(t.Context(), o.tenant.ID, key.ID))
	o.now = o.now.Add(3 * time.Second)
	if !o.Known(text) {
		t.Error("the key is not remembered for 3 s")
	}
	o.now = o.now.Add(time.Second)
	if kind, ok := o.try(text, "192.0.2.1"); ok || kind != posthorn.Unauthenticated {
		t.Error("a key is good 4 s after its revocation")
	}
	if o.Check(t.Context(), id, netip.Addr{}) == nil {
		t.Error("a long connection outlives its key")
	}
}

func TestInvalidate(t *testing.T) {
	o := open(t, nil)
	text, key := o.add(nil)
	o.try(text, "192.0.2.1")
	must(t, o.store.RevokeKey(t.Context(), o.tenant.ID, key.ID))
	o.Invalidate()
	if _, ok := o.try(text, "192.0.2.1"); ok {
		t.Error("a key is good after the signal that it was revoked")
	}
}

func TestExpiryNeedsNoStore(t *testing.T) {
	o := open(t, nil)
	text, _ := o.add(func(k *posthorn.Key) { k.ExpiresAt = o.now.Add(time.Second) })
	if _, ok := o.try(text, "192.0.2.1"); !ok {
		t.Fatal("refused before its expiry")
	}
	o.now = o.now.Add(time.Second)
	if _, ok := o.try(text, "192.0.2.1"); ok {
		t.Error("a cached key is good after its expiry")
	}
}

func TestStoreOutOfReach(t *testing.T) {
	o := open(t, nil)
	text, _ := o.add(nil)
	must(t, o.store.Close())
	if kind, ok := o.try(text, "192.0.2.1"); ok || kind != posthorn.Unavailable {
		t.Errorf("kind %d", kind)
	}
}

func TestLastUse(t *testing.T) {
	o := open(t, nil)
	text, key := o.add(nil)
	lastUsed := func() time.Time {
		must(t, o.Flush(t.Context()))
		k, err := o.store.FindKey(t.Context(), key.Hash)
		must(t, err)
		return k.LastUsedAt.UTC()
	}
	first := o.now
	for range 3 {
		o.try(text, "192.0.2.1")
		o.now = o.now.Add(25 * time.Second)
	}
	if got := lastUsed(); !got.Equal(first) {
		t.Errorf("last used %s, want %s: at most once a minute", got, first)
	}
	o.try(text, "192.0.2.1")
	if got := lastUsed(); !got.Equal(o.now) {
		t.Errorf("last used %s, want %s", got, o.now)
	}
}

func TestRunFlushesAtItsEnd(t *testing.T) {
	o := open(t, nil)
	text, key := o.add(nil)
	o.try(text, "192.0.2.1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o.Run(ctx, func(err error) { t.Error(err) })
	k, err := o.store.FindKey(t.Context(), key.Hash)
	must(t, err)
	if k.LastUsedAt.IsZero() {
		t.Error("the last use is not written")
	}
}

func TestGenerate(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		key := Generate()
		if len(key) != len(KeyPrefix)+keyLength || CheckKey(key) != "" || seen[key] {
			t.Fatalf("made %s", key)
		}
		seen[key] = true
		if shown := Shown(key); len(shown) != shownLength || key[:shownLength] != shown {
			t.Fatalf("shown as %s", shown)
		}
	}
	for _, bad := range []string{"", "phk_", "phk_short", Generate() + "\n", "phk_" + string(make([]byte, 52))} {
		if CheckKey(bad) == "" {
			t.Errorf("%q counts as a key", bad)
		}
	}
}

func TestClientAddr(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	tests := []struct {
		name, socket string
		forwarded    []string
		want         string
	}{
		{"Direct", "192.0.2.1:1234", nil, "192.0.2.1"},
		{"NotTrusted", "192.0.2.1:1234", []string{"203.0.113.1"}, "192.0.2.1"},
		{"Proxy", "10.0.0.1:1", []string{"203.0.113.1"}, "203.0.113.1"},
		{"Spoofed", "10.0.0.1:1", []string{"127.0.0.1, 203.0.113.1"}, "203.0.113.1"},
		{"TwoProxies", "10.0.0.1:1", []string{"198.51.100.1, 203.0.113.1, 10.0.0.2"}, "203.0.113.1"},
		{"TwoLines", "10.0.0.1:1", []string{"198.51.100.1", "203.0.113.1,10.0.0.2"}, "203.0.113.1"},
		{"AllTrusted", "10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"Garbage", "10.0.0.1:1", []string{"203.0.113.1, unknown"}, "10.0.0.1"},
		{"GarbageFurther", "10.0.0.1:1", []string{"x, 10.0.0.2"}, "10.0.0.2"},
		{"Empty", "10.0.0.1:1", []string{""}, "10.0.0.1"},
		{"Mapped", "[::ffff:10.0.0.1]:1", []string{"::ffff:203.0.113.1"}, "203.0.113.1"},
		{"IPv6", "[::1]:1", []string{"[2001:db8::1]:443"}, "2001:db8::1"},
		{"Zone", "[fe80::1%eth0]:1", nil, "fe80::1"},
		{"WithPort", "10.0.0.1:1", []string{"203.0.113.1:5555"}, "203.0.113.1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: test.socket, Header: http.Header{"X-Forwarded-For": test.forwarded}}
			if got := ClientAddr(r, trusted); got.String() != test.want {
				t.Errorf("from %s, want %s", got, test.want)
			}
		})
	}
	if ClientAddr(&http.Request{RemoteAddr: "@"}, trusted).IsValid() {
		t.Error("a socket without an address has one")
	}
}

func TestAdmits(t *testing.T) {
	list := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	if !Admits(nil, netip.Addr{}) || Admits(list, netip.Addr{}) || !Admits(list, netip.MustParseAddr("192.0.2.9")) || Admits(list, netip.MustParseAddr("192.0.3.9")) {
		t.Error("the list is not kept")
	}
}

// BenchmarkAuthenticate is the cost of a known key on every request.
func BenchmarkAuthenticate(b *testing.B) {
	text := Generate()
	key := NewKey(text, "bench", posthorn.ScopePublish)
	a := New(Options{Store: oneKey{key: key}, Now: time.Now})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Authenticate(b.Context(), text, netip.Addr{}); err != nil {
			b.Fatal(err)
		}
	}
}

// oneKey answers the benchmark's few look-ups.
type oneKey struct {
	posthorn.SessionStore
	key *posthorn.Key
}

func (o oneKey) FindKey(context.Context, [32]byte) (*posthorn.Key, error) { return o.key, nil }
func (o oneKey) GetTenant(context.Context, posthorn.TenantID) (*posthorn.Tenant, error) {
	return &posthorn.Tenant{}, nil
}

func (o oneKey) TouchKeys(context.Context, map[posthorn.KeyID]time.Time) error {
	return errors.ErrUnsupported
}

// TestStoreAwayMakesNoGuessOfAKnownKey is what a producer's requests became within seconds of an outage: guesses, which are bounded.
func TestStoreAwayMakesNoGuessOfAKnownKey(t *testing.T) {
	o := open(t, nil)
	text, _ := o.add(nil)
	if o.Known(text) {
		t.Error("a key is known before its first use")
	}
	_, err := o.Authenticate(t.Context(), text, netip.Addr{})
	must(t, err)
	o.now = o.now.Add(time.Minute)
	must(t, o.store.Close())
	if _, err := o.Authenticate(t.Context(), text, netip.Addr{}); posthorn.KindOf(err) != posthorn.Unavailable {
		t.Errorf("without its store a key gets %v", err)
	}
	if !o.Known(text) {
		t.Error("a key that was recognised before counts as a guess")
	}
}
