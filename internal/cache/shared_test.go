package cache_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/bus"
	"github.com/posthorn/posthorn/internal/cache"
	"github.com/posthorn/posthorn/internal/redis"
	"github.com/posthorn/posthorn/internal/redis/redistest"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/redis/rueidis"
)

func options(t *testing.T) redis.Options {
	return redis.Options{URL: redistest.URL(t), Prefix: redistest.Prefix(), Timeout: 2 * time.Second}
}

// node is a cache of its own process.
func node(t *testing.T, w *world, r *redis.Client) *cache.Cache {
	return newCache(t, cache.Options{Store: w, Redis: r, Sealer: w.keys})
}

func keyOf(w *world, r *redis.Client) string { return r.Name("subscriptions:" + w.tenant.String()) }

// inRedis is the value that Redis has for the tenant, and how long it still lives.
func inRedis(t *testing.T, w *world, r *redis.Client) (value []byte, left time.Duration) {
	t.Helper()
	r.Do(t.Context(), func(ctx context.Context, c rueidis.Client) error {
		value, _ = c.Do(ctx, c.B().Get().Key(keyOf(w, r)).Build()).AsBytes()
		ms, err := c.Do(ctx, c.B().Pttl().Key(keyOf(w, r)).Build()).AsInt64()
		left = time.Duration(ms) * time.Millisecond
		return err
	})
	return value, left
}

func put(t *testing.T, r *redis.Client, key string, value []byte) {
	t.Helper()
	err := r.Do(t.Context(), func(ctx context.Context, c rueidis.Client) error {
		return c.Do(ctx, c.B().Set().Key(key).Value(rueidis.BinaryString(value)).Build()).Error()
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestColdNodeReadsOnlyTheDifference(t *testing.T) {
	w := newWorld(t)
	a, o := w.create("a"), options(t)
	r := redistest.Connect(t, o)
	w.set(node(t, w, r), 0)
	w.reads(1, 0)
	redistest.Eventually(t, "the set is in Redis", func() bool { value, _ := inRedis(t, w, r); return value != nil })
	value, left := inRedis(t, w, r)
	if left <= 9*time.Minute || left > 10*time.Minute {
		t.Errorf("it expires in %s", left)
	}
	for _, secret := range []string{"plain-secret", "plain-credential", "example.com"} {
		if bytes.Contains(value, []byte(secret)) {
			t.Errorf("%s can be read in Redis", secret)
		}
	}

	b := w.create("b")
	cold := node(t, w, redistest.Connect(t, o))
	set := w.set(cold, 0)
	w.reads(0, 1)
	if set.Version != b.Version || set.Len() != 2 {
		t.Errorf("version %d with %d subscriptions", set.Version, set.Len())
	}
	if diff := cmp.Diff([]*posthorn.Subscription{a, b}, []*posthorn.Subscription{set.Get(a.ID), set.Get(b.ID)}); diff != "" {
		t.Error(diff)
	}
	// The copy follows what was read since.
	c := w.create("c")
	redistest.Eventually(t, "the copy in Redis follows", func() bool {
		w.set(cold, c.Version)
		now, _ := inRedis(t, w, r)
		cold.Flush()
		return !bytes.Equal(now, value)
	})
}

func TestCopiesThatCannotBeUsed(t *testing.T) {
	w := newWorld(t)
	a := w.create("a")
	r := redistest.Connect(t, options(t))
	first := node(t, w, r)
	w.set(first, 0)
	redistest.Eventually(t, "the set is in Redis", func() bool { value, _ := inRedis(t, w, r); return value != nil })
	first.Close()
	genuine, _ := inRedis(t, w, r)
	w.reads(1, 0)
	foreign, err := seal.ParseKeys(seal.Generate())
	if err != nil {
		t.Fatal(err)
	}
	bind := "cache/" + w.tenant.String()
	other := posthorn.TenantID{UUID: posthorn.NewUUID(time.Now())}
	for name, value := range map[string][]byte{
		"Garbage":       []byte("not sealed"),
		"OtherKey":      foreign.Seal([]byte(`{"version":9,"subscriptions":[]}`), bind),
		"OtherTenant":   w.keys.Seal([]byte(`{"version":9,"subscriptions":[]}`), "cache/"+other.String()),
		"NotJSON":       w.keys.Seal([]byte(`{"version`), bind),
		"Tampered":      append(bytes.Clone(genuine[:len(genuine)-1]), genuine[len(genuine)-1]^1),
		"VersionOfZero": w.keys.Seal([]byte(`{"version":0,"subscriptions":[]}`), bind),
	} {
		put(t, r, keyOf(w, r), value)
		cold := node(t, w, r)
		if set := w.set(cold, 0); set.Len() != 1 || set.Version != a.Version {
			t.Errorf("%s: version %d with %d subscriptions", name, set.Version, set.Len())
		}
		w.reads(1, 0)
		cold.Close() // so that it does not write its own copy over the next one
	}
	// Newer than the store, which was restored from a backup: the difference is asked for, and all is read.
	put(t, r, keyOf(w, r), w.keys.Seal([]byte(`{"version":9,"subscriptions":[]}`), bind))
	if set := w.set(node(t, w, r), 0); set.Len() != 1 || set.Version != a.Version {
		t.Errorf("from another history: version %d with %d subscriptions", set.Version, set.Len())
	}
	w.reads(1, 1)
}

func TestRedisStoppedFlushedAndRestarted(t *testing.T) {
	w := newWorld(t)
	w.create("a")
	s := redistest.Start(t)
	r := redistest.Connect(t, redis.Options{URL: s.URL(), Heartbeat: 20 * time.Millisecond})
	copied := func() bool { value, _ := inRedis(t, w, r); return value != nil }
	w.set(node(t, w, r), 0)
	redistest.Eventually(t, "the set is in Redis", copied)
	s.Stop()
	redistest.Eventually(t, "Redis counts as down", func() bool { return !r.State().Up })
	cold := node(t, w, r)
	start := time.Now()
	if set := w.set(cold, 0); set.Len() != 1 {
		t.Errorf("%d subscriptions without Redis", set.Len())
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("it took %s", took)
	}
	w.reads(2, 0)
	s.Start()
	if _, err := r.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := w.create("b")
	if set := w.set(cold, b.Version); set.Len() != 2 {
		t.Errorf("%d subscriptions", set.Len())
	}
	w.set(node(t, w, r), 0)
	redistest.Eventually(t, "the set is in Redis again", copied)
	c, _ := r.Client()
	if err := c.Do(t.Context(), c.B().Flushall().Build()).Error(); err != nil {
		t.Fatal(err)
	}
	if set := w.set(node(t, w, r), 0); set.Len() != 2 {
		t.Errorf("%d subscriptions after a flush", set.Len())
	}
}

func TestInvalidationReachesOtherNodes(t *testing.T) {
	w, o := newWorld(t), options(t)
	w.create("a")
	nodes := make([]*cache.Cache, 2)
	buses := make([]*bus.Bus, 2)
	for i := range nodes {
		r := redistest.Connect(t, o)
		buses[i] = bus.New(bus.Options{Redis: r})
		t.Cleanup(buses[i].Close)
		nodes[i] = newCache(t, cache.Options{Store: w, Redis: r, Sealer: w.keys, Bus: buses[i]})
		w.set(nodes[i], 0)
	}
	added := w.create("b")
	redistest.Eventually(t, "the other node knows it", func() bool {
		buses[0].Publish(t.Context(), posthorn.Signal{Changed: []posthorn.Change{{TenantID: w.tenant, Version: added.Version}}})
		return w.set(nodes[1], 0).Len() == 2
	})
}
