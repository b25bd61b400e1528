//go:build unix

package chaos_test

import (
	"context"
	"fmt"
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

// uncatalogued is what PostgreSQL says where it cannot write down what it read of its catalogue.
const uncatalogued = "could not write init file"

// crowded is a PostgreSQL on a small disk.
type crowded struct {
	*clustertest.Postgres
	t testing.TB
	// before are its processes that have ended.
	before []*clustertest.Process
}

// diskFullUnderPostgres fills the disk with tables and log under two nodes: so that PostgreSQL refuses single statements; so that it
// crashes and does not come up, as it must write to its log; and so that it comes up after a crash and ends every new connection, as it
// cannot write down what it read of its catalogue.
func diskFullUnderPostgres(t *testing.T) {
	gently(t)
	f := &fullDisk{dice: dice(*seed)}
	c := &crowded{t: t}
	c.Postgres = clustertest.StartPostgresOn(t, func(directory string) { f.disk = mountSmallDisk(t, directory, 192) },
		"min_wal_size=32MB", "max_wal_size=48MB", "log_line_prefix=%m [%p] %e ",
		// What it gave back within the tables would let something fit.
		"autovacuum=off")
	f.world = &world{t: t, store: postgresStore, receiver: newReceiver(t), redis: redistest.Start(t)}
	f.settings = config.Settings{DataDir: filepath.Join(t.TempDir(), "data"), EncryptionKeys: seal.Generate(), DatabaseURL: c.URL()}
	f.begin(8, c.URL(), "REDIS_URL="+f.redis.URL())
	other := newSite(t, f.site.env...)
	f.producer.to(f.site.url(), other.url())
	f.start(f.site, other)
	lasts := []time.Duration{500 * time.Millisecond}
	if *long {
		// The last is longer than a lease.
		lasts = []time.Duration{2 * time.Second, 5 * time.Second, 35 * time.Second}
	}
	for _, l := range lasts {
		f.suffer(filling{l, 0, c.spareLog, nothing, c.back})
		f.suffer(filling{l, 0, nothing, c.fillLog, c.back})
		f.suffer(filling{l, 64 << 10, nothing, c.crash, c.back})
	}
	refused, unmet := c.lines("53100 ERROR:"), c.lines(uncatalogued)
	crashes := c.lines("terminating any other active server processes")
	f.conclude(fmt.Sprintf("%d times each with room in the log, with none, and after a crash", len(lasts)),
		number("statements that PostgreSQL refused for want of room", "some", refused, refused > 0),
		number("crashes of PostgreSQL, of them those after which it had to be started again", "some", crashes, crashes > 0).and("%d", len(c.before)),
		number("connections that it ended as it could not write down its catalogue", "some", unmet, unmet > 0),
	)
}

// ask connects as the superuser.
func (c *crowded) ask(do func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.URL())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return do(ctx, conn)
}

// spareLog gives the log a segment that is there already.
func (c *crowded) spareLog() {
	c.t.Helper()
	err := c.ask(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "SELECT pg_switch_wal()")
		if err == nil {
			_, err = conn.Exec(ctx, "CHECKPOINT")
		}
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// fillLog writes to the log until the server crashes for want of room.
func (c *crowded) fillLog() {
	c.t.Helper()
	crashes := c.lines("PANIC:")
	crashed := func() bool {
		_ = c.ask(func(ctx context.Context, conn *pgx.Conn) (err error) {
			for err == nil {
				_, err = conn.Exec(ctx, "SELECT pg_logical_emit_message(false, 'chaos', repeat('.', 1000000))")
			}
			return err
		})
		return c.lines("PANIC:") > crashes
	}
	if !eventually(20*time.Second, crashed) {
		c.t.Error("PostgreSQL did not crash")
	}
}

// crash has the server end all of its connections and recover, as one of its processes ends by a signal, and waits until it has ended
// a connection that came after: how long it takes to recover is the machine's.
func (c *crowded) crash() {
	c.t.Helper()
	unmet := c.lines(uncatalogued)
	err := c.ask(func(ctx context.Context, conn *pgx.Conn) error {
		var pid int
		if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid); err != nil {
			return err
		}
		return syscall.Kill(pid, syscall.SIGKILL)
	})
	if err != nil {
		c.t.Fatal(err)
	}
	if !eventually(20*time.Second, func() bool { return c.lines(uncatalogued) > unmet }) {
		c.t.Error("PostgreSQL ended no connection after its crash")
	}
}

// back waits until the server answers, and starts it where it gave up.
func (c *crowded) back() {
	c.t.Helper()
	if p := c.Process; !clustertest.Answers(c.t, p, c.URL()) {
		c.before = append(c.before, p)
		c.Again()
	}
}

// lines counts those of its logs that contain a text.
func (c *crowded) lines(containing string) (n int) {
	for _, p := range append(c.before[:len(c.before):len(c.before)], c.Process) {
		n += len(p.Lines(containing))
	}
	return n
}
