package clustertest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/clustertest"
	"github.com/posthorn/posthorn/internal/redis/redistest"
)

// TestRevokedKeyEndsOnEveryNode uses a key at three nodes, so that each has it in its cache, and revokes it at one.
func TestRevokedKeyEndsOnEveryNode(t *testing.T) {
	t.Run("WithRedis", func(t *testing.T) {
		t.Parallel()
		revocation(t, redistest.Start(t).URL())
	})
	t.Run("WithoutRedis", func(t *testing.T) {
		t.Parallel()
		revocation(t, "")
	})
}

func revocation(t *testing.T, redis string) {
	const within = 5 * time.Second // the promise
	c := newCluster(t, clustertest.NewDatabase(t), redis)
	nodes := []*node{c.start("api,worker,janitor"), c.start("api"), c.start("api")}
	var made struct{ ID, Key string }
	nodes[0].want(http.StatusCreated, http.MethodPost, "/keys", object{"name": "brief", "scopes": []string{"read"}}, &made)
	with := func(n *node) int { return n.askWith(made.Key, http.MethodGet, "/events", nil).status }
	for _, n := range nodes {
		if status := with(n); status != http.StatusOK {
			t.Fatalf("%s answers %d to the new key", n.Name, status)
		}
	}
	nodes[0].want(http.StatusNoContent, http.MethodDelete, "/keys/"+made.ID, nil, nil)
	revoked := time.Now()
	for _, n := range nodes {
		// Without a pause: each use finds the key in the cache, which must not keep it alive.
		clustertest.Eventually(t, within, n.Name+" refuses the revoked key", func() bool { return with(n) == http.StatusUnauthorized })
		if took := time.Since(revoked); took > within {
			t.Errorf("%s took %s", n.Name, took)
		} else {
			t.Logf("%s refuses it %s after the revocation", n.Name, took.Round(time.Millisecond))
		}
	}
}

// TestKeyLimitsMadeThroughTheAPI makes keys with an address list and with a rate, and uses them at another node.
func TestKeyLimitsMadeThroughTheAPI(t *testing.T) {
	t.Parallel()
	c := newCluster(t, clustertest.NewDatabase(t), redistest.Start(t).URL())
	a, b := c.start("api"), c.start("api")
	keyWith := func(further object) string {
		body := object{"name": "k", "scopes": []string{"read"}}
		for name, v := range further {
			body[name] = v
		}
		var made struct{ Key string }
		a.want(http.StatusCreated, http.MethodPost, "/keys", body, &made)
		return made.Key
	}
	ask := func(n *node, key string) answer { return n.askWith(key, http.MethodGet, "/events", nil) }
	if got := ask(b, keyWith(object{"ip_allowlist": []string{"203.0.113.0/24"}})).status; got != http.StatusForbidden {
		t.Errorf("from outside the key's addresses: %d", got)
	}
	if got := ask(b, keyWith(object{"ip_allowlist": []string{"127.0.0.1"}})).status; got != http.StatusOK {
		t.Errorf("from within the key's addresses: %d", got)
	}
	slow := keyWith(object{"rate_limit": object{"limit": 2, "per": "minute"}})
	first, second, third := ask(a, slow), ask(b, slow), ask(a, slow)
	if first.status != http.StatusOK || second.status != http.StatusOK || third.status != http.StatusTooManyRequests {
		t.Errorf("two a minute over two nodes: %d %d %d", first.status, second.status, third.status)
	}
	if first.header.Get("RateLimit") == "" || first.header.Get("RateLimit-Policy") == "" || third.header.Get("Retry-After") == "" {
		t.Errorf("the headers say %v, and then %v", first.header, third.header)
	}
}
