//go:build unix

package chaos_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn/internal/clustertest"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/redis/redistest"
	"github.com/posthorn/posthorn/internal/seal"
)

const (
	// refusedWithin is how soon a producer must be told that the store is away, and resumedWithin how soon deliveries go on.
	refusedWithin = time.Second
	resumedWithin = 10 * time.Second
	// grace is what an acknowledgement may be under way when the store goes.
	grace = 50 * time.Millisecond
)

// outage is one way to take PostgreSQL away and to give it back.
type outage struct {
	name string
	// away says that nothing can be stored meanwhile: then there must be no acknowledgement. Of loses, answers to commits must have
	// been lost.
	away, loses bool
	lasts       time.Duration
	begin, end  func(o *outages)
}

// outages is a cluster over a PostgreSQL of its own behind a proxy.
type outages struct {
	*world
	server *clustertest.Postgres
	proxy  *proxy
	other  *site
	dice   *rand.Rand
	held   []*pgx.Conn
}

func (o *outages) execute(statements ...string) {
	o.world.t.Helper()
	conn, err := pgx.Connect(context.Background(), o.server.URL())
	if err != nil {
		o.world.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, s := range statements {
		if _, err := conn.Exec(context.Background(), s); err != nil {
			o.world.t.Fatalf("%s: %v", s, err)
		}
	}
}

// hold takes every connection that is left.
func (o *outages) hold() {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		conn, err := pgx.Connect(ctx, o.server.URL())
		cancel()
		if err != nil {
			return
		}
		o.held = append(o.held, conn)
	}
}

var everyOutage = []outage{
	{
		"kill -9", true, false, 2 * time.Second,
		func(o *outages) { o.server.Kill() }, func(o *outages) { o.server.Again() },
	},
	{
		"immediate shutdown", true, false, 2 * time.Second,
		func(o *outages) { o.server.Signal(syscall.SIGQUIT); <-o.server.Ended() }, func(o *outages) { o.server.Again() },
	},
	{
		"fast restart", false, false, 0,
		func(o *outages) { o.server.Signal(syscall.SIGINT); <-o.server.Ended() }, func(o *outages) { o.server.Again() },
	},
	{
		"read-only", true, false, 2 * time.Second,
		func(o *outages) {
			o.execute("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()", "SELECT pg_sleep(0.1)")
		},
		func(o *outages) {
			o.execute("SET default_transaction_read_only = off", "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
		},
	},
	{
		"out of connections", true, false, 3 * time.Second,
		func(o *outages) { o.proxy.become(refusing); o.hold(); o.proxy.become(passing) },
		func(o *outages) {
			for _, c := range o.held {
				_ = c.Close(context.Background())
			}
			o.held = nil
		},
	},
	{
		"connections refused", true, false, 2 * time.Second,
		func(o *outages) { o.proxy.become(refusing) }, func(o *outages) { o.proxy.become(passing) },
	},
	{
		"connections reset once", false, false, 0,
		func(o *outages) { o.proxy.reset() }, func(*outages) {},
	},
	{
		"commits cut off", false, true, 2 * time.Second,
		func(o *outages) { o.proxy.become(severing) }, func(o *outages) { o.proxy.become(passing) },
	},
	{
		"slow by 100 ms each way", false, false, 3 * time.Second,
		func(o *outages) { o.proxy.delayed.Store(int64(100 * time.Millisecond)) }, func(o *outages) { o.proxy.delayed.Store(0) },
	},
	{
		"silent", true, false, 4 * time.Second,
		func(o *outages) { o.proxy.become(silent) }, func(o *outages) { o.proxy.become(passing) },
	},
	{
		"answers lost", true, true, 4 * time.Second,
		func(o *outages) { o.proxy.become(answering) }, func(o *outages) { o.proxy.become(passing) },
	},
	{
		"frozen", true, false, 4 * time.Second,
		func(o *outages) { o.eachProcess(syscall.SIGSTOP) }, func(o *outages) { o.eachProcess(syscall.SIGCONT) },
	},
}

// eachProcess signals the server and its children.
func (o *outages) eachProcess(s syscall.Signal) { signalTree(o.world.t, o.server.PID(), s) }

// TestOutage takes PostgreSQL away from two nodes under load in every way, and gives it back.
func TestOutage(t *testing.T) {
	gently(t)
	o := newOutages(t)
	list := everyOutage
	if !*long {
		list = everyOutage[:1]
	}
	for _, one := range list {
		t.Run(one.name, func(t *testing.T) { o.suffer(t, one) })
	}
}

func newOutages(t testing.TB) *outages {
	t.Helper()
	o := &outages{server: clustertest.StartPostgres(t), dice: dice(*seed)}
	u, err := url.Parse(o.server.URL())
	if err != nil {
		t.Fatal(err)
	}
	o.proxy = newProxy(t, u.Host)
	u.Host = o.proxy.address()
	o.world = &world{t: t, store: postgresStore, receiver: newReceiver(t), redis: redistest.Start(t)}
	o.settings = config.Settings{DataDir: filepath.Join(t.TempDir(), "data"), EncryptionKeys: seal.Generate(), DatabaseURL: o.server.URL()}
	o.begin(16, u.String(), "REDIS_URL="+o.redis.URL())
	o.other = newSite(t, o.site.env...)
	o.producer.urls = append(o.producer.urls, o.other.url())
	o.producer.retry = 100 * time.Millisecond
	return o
}

// suffer is one outage from start to verdict.
func (o *outages) suffer(t *testing.T, one outage) {
	o.world.t = t
	nodes := []*node{o.site.start("").await(), o.other.start("").await()}
	for _, n := range nodes {
		defer n.Kill()
	}
	start, lost := o.mark(), o.proxy.lost.Load()
	loading := make(chan struct{})
	go func() {
		defer close(loading)
		o.producer.at(200, 3*time.Second+one.lasts)
	}()
	defer func() { <-loading }()
	after(500*time.Millisecond + time.Duration(o.dice.IntN(1000))*time.Millisecond)
	one.begin(o)
	gone := time.Now()
	after(one.lasts)
	ending := time.Now()
	one.end(o)
	back := time.Now()
	<-loading
	accepted, refused := o.producer.between(gone.Add(grace), ending)
	if !o.drain(time.Minute) {
		t.Errorf("%d events are not acknowledged and %d deliveries pending", o.producer.waiting.Load(), o.pending())
	}
	resumed := o.receiver.firstAfter(back).Sub(back)
	for _, n := range nodes {
		n.stop()
	}
	v := o.judge(o.facts(start))
	slowest := p99(answeredOf(refused))
	list := []figure{
		number("events acknowledged", "", v.events, true),
		number("acknowledged events lost", "0", v.lost, v.lost == 0),
		number("other rules of the ledger broken", "0", len(v.violations)-v.lost, len(v.violations) == v.lost),
		number("delivered twice, of interrupted attempts", "at most those", v.repeated, v.unexplained == 0).and("%d", v.interrupted),
		length("first delivery after the return", "10 s", resumed, resumed <= resumedWithin),
	}
	if one.away {
		list = append(list, number("acknowledged while it was away", "0", accepted, accepted == 0),
			prompt("time to a 503, 99th percentile", refusedWithin, slowest).and("of %d", len(answeredOf(refused))))
	}
	if one.loses {
		lost = o.proxy.lost.Load() - lost
		list = append(list, number("answers of PostgreSQL that were lost", "some", int(lost), lost > 0))
	}
	figures.add(t, scenario{Name: "PostgreSQL " + one.name, Seed: *seed, Length: fmt.Sprintf("%s away, 200 events/s to two nodes", back.Sub(gone).Round(100*time.Millisecond)), Figures: list})
}

// answeredOf leaves out what was not answered at all.
func answeredOf(refusals []refusal) []refusal {
	var answered []refusal
	for _, r := range refusals {
		if r.status != 0 {
			answered = append(answered, r)
		}
	}
	return answered
}
