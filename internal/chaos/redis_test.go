//go:build unix

package chaos_test

import (
	"bufio"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/clustertest"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/redis/redistest"
	"github.com/posthorn/posthorn/internal/seal"
)

// redisFault is one way to take Redis away and to give it back.
type redisFault struct {
	name       string
	lasts      time.Duration
	begin, end func(c *redisFaults)
}

// redisFaults is a cluster of two nodes that reach their Redis through a proxy.
type redisFaults struct {
	*world
	other *site
	proxy *proxy
}

var everyRedisFault = []redisFault{
	{"killed", time.Second, func(c *redisFaults) { c.redis.Stop() }, func(c *redisFaults) { c.redis.Start() }},
	{"flushed", time.Second, (*redisFaults).flush, (*redisFaults).flush},
	{"frozen", 4 * time.Second, func(c *redisFaults) { c.redis.Freeze() }, func(c *redisFaults) { c.redis.Thaw() }},
	{
		"slow by 100 ms each way", 3 * time.Second,
		func(c *redisFaults) { c.proxy.delayed.Store(int64(100 * time.Millisecond)) }, func(c *redisFaults) { c.proxy.delayed.Store(0) },
	},
	{"cut off", 2 * time.Second, func(c *redisFaults) { c.proxy.become(refusing) }, func(c *redisFaults) { c.proxy.become(passing) }},
	{"silent", 4 * time.Second, func(c *redisFaults) { c.proxy.become(silent) }, func(c *redisFaults) { c.proxy.become(passing) }},
	{"answers lost", 4 * time.Second, func(c *redisFaults) { c.proxy.become(answering) }, func(c *redisFaults) { c.proxy.become(passing) }},
}

// TestRedis takes Redis away from two nodes under load in every way. It holds nothing that cannot be lost: no producer is refused,
// nothing is lost and nothing is sent twice.
func TestRedis(t *testing.T) {
	gently(t)
	c := newRedisFaults(t)
	list := everyRedisFault
	if !*long {
		list = list[:1]
	}
	for _, one := range list {
		t.Run(one.name, func(t *testing.T) { c.suffer(t, one) })
	}
}

func newRedisFaults(t testing.TB) *redisFaults {
	t.Helper()
	c := &redisFaults{world: &world{t: t, store: postgresStore, receiver: newReceiver(t), redis: redistest.Start(t)}}
	c.proxy = newProxy(t, c.redis.Address())
	c.settings = config.Settings{
		DataDir: filepath.Join(t.TempDir(), "data"), EncryptionKeys: seal.Generate(), DatabaseURL: clustertest.NewDatabase(t),
	}
	c.begin(16, c.settings.DatabaseURL, "REDIS_URL=redis://"+c.proxy.address())
	c.other = newSite(t, c.site.env...)
	c.producer.urls = append(c.producer.urls, c.other.url())
	return c
}

// flush empties Redis.
func (c *redisFaults) flush() {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.redis.Address())
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	_, _ = conn.Write([]byte("FLUSHALL\r\n"))
	if said, err := bufio.NewReader(conn).ReadString('\n'); err != nil || said != "+OK\r\n" {
		c.t.Fatalf("FLUSHALL: %q %v", said, err)
	}
}

// suffer is one fault from start to verdict.
func (c *redisFaults) suffer(t *testing.T, one redisFault) {
	c.world.t = t
	nodes := []*node{c.site.start("").await(), c.other.start("").await()}
	for _, n := range nodes {
		defer n.Kill()
	}
	start := c.mark()
	loading := make(chan struct{})
	go func() {
		defer close(loading)
		c.producer.at(200, 3*time.Second+one.lasts)
	}()
	defer func() { <-loading }()
	after(time.Second)
	one.begin(c)
	gone := time.Now()
	after(one.lasts)
	one.end(c)
	back := time.Now()
	<-loading
	_, refused := c.producer.between(start.at, time.Now())
	if !c.drain(time.Minute) {
		t.Errorf("%d events are not acknowledged and %d deliveries pending", c.producer.waiting.Load(), c.pending())
	}
	slowest := c.slowestSince(start.at, c.lanes["flaky"])
	for _, n := range nodes {
		n.stop()
	}
	v := c.judge(c.facts(start))
	list := []figure{
		number("events acknowledged", "", v.events, true),
		number("publishes refused or not answered", "0", len(refused), len(refused) == 0),
		number("acknowledged events lost", "0", v.lost, v.lost == 0),
		number("delivered twice", "0", v.repeated, v.repeated == 0),
		number("other rules of the ledger broken", "0", len(v.violations)-v.lost, len(v.violations) == v.lost),
		length("acknowledged to first request, 99th percentile", "", slowest, true),
	}
	figures.add(t, scenario{Name: "Redis " + one.name, Seed: *seed, Length: fmt.Sprintf("%s away, 200 events/s to two nodes", back.Sub(gone).Round(100*time.Millisecond)), Figures: list})
}
