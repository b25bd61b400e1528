//go:build unix

package clustertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// databases numbers the databases of this run.
var databases atomic.Int64

// NewDatabase makes an empty database on the PostgreSQL of this test run, dropped when the test ends.
func NewDatabase(t testing.TB) string {
	t.Helper()
	server := os.Getenv("TEST_DATABASE_URL")
	if server == "" {
		t.Fatal("TEST_DATABASE_URL is not set: `make test` starts a PostgreSQL and sets it")
	}
	name := fmt.Sprintf("posthorn_cluster_%d_%d", os.Getpid(), databases.Add(1))
	administer(t, server, "CREATE DATABASE "+name)
	t.Cleanup(func() { administer(t, server, "DROP DATABASE "+name+" WITH (FORCE)") })
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal("TEST_DATABASE_URL is not a URL")
	}
	u.Path = "/" + name
	return u.String()
}

func administer(t testing.TB, server, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatalf("connect to PostgreSQL: %v", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// Postgres is a private PostgreSQL that a test may kill and start again.
type Postgres struct {
	*Process
	t         testing.TB
	bin, data string
	port      int
	as        *syscall.Credential
	settings  []string
}

// StartPostgres makes a cluster on a free port. It is set up like the one that scripts/services.sh starts.
func StartPostgres(t testing.TB) *Postgres {
	t.Helper()
	return StartPostgresOn(t, func(string) {})
}

// StartPostgresOn has the server's directory made ready first, as by a file system of its own, and the server run with further
// settings, each as "name=value".
func StartPostgresOn(t testing.TB, prepare func(directory string), settings ...string) *Postgres {
	t.Helper()
	s := &Postgres{t: t, bin: postgresBin(t), as: Unprivileged(t)}
	for _, setting := range settings {
		s.settings = append(s.settings, "-c", setting)
	}
	// The test's own directory is closed to other users, and the server must not be root.
	directory, err := os.MkdirTemp("", "posthorn-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(directory) })
	prepare(directory)
	if s.as != nil {
		if err := os.Chown(directory, int(s.as.Uid), int(s.as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	s.data = filepath.Join(directory, "data")
	initdb := s.command("initdb", "-D", s.data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	for try := 1; ; try++ {
		s.port = 20000 + rand.IntN(12000) // below the ports that the system hands out by itself
		if s.try() {
			return s
		}
		if try == 20 {
			t.Fatalf("PostgreSQL did not start:\n%s", s.LastLines(20))
		}
	}
}

// command is one of PostgreSQL's programs, as a user that it accepts.
func (s *Postgres) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = filepath.Dir(s.data)
	cmd.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = AsUser(s.as)
	return cmd
}

// try starts the server and reports whether it answers; it does not where another has the port.
func (s *Postgres) try() bool {
	s.Process = Start(s.t, "postgres", s.command("postgres", append([]string{
		"-D", s.data, "-p", strconv.Itoa(s.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=100",
	}, s.settings...)...))
	return Answers(s.t, s.Process, s.URL())
}

// Answers waits until a server that was just started takes connections, or has ended; it reports which.
func Answers(t testing.TB, p *Process, database string) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for p.Running() {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		conn, err := pgx.Connect(ctx, database)
		if err == nil {
			conn.Close(ctx)
		}
		cancel()
		if err == nil && p.Running() {
			return true
		}
		<-tick.C
	}
	return false
}

// URL is where it listens, for its superuser.
func (s *Postgres) URL() string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", s.port)
}

// Again starts it after its end and says when it answered. What its children still hold is waited for.
func (s *Postgres) Again() time.Time {
	s.t.Helper()
	for began := time.Now(); !s.try(); {
		if time.Since(began) > 20*time.Second {
			s.t.Fatalf("PostgreSQL did not start again:\n%s", s.LastLines(20))
		}
	}
	return time.Now()
}

// postgresBin is the folder with PostgreSQL's programs: PG_BINDIR, or the newest installed.
func postgresBin(t testing.TB) string {
	t.Helper()
	if bin := os.Getenv("PG_BINDIR"); bin != "" {
		return bin
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	slices.SortFunc(found, func(a, b string) int { return majorOf(a) - majorOf(b) })
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1])
	}
	path, err := exec.LookPath("postgres")
	if err != nil {
		t.Fatal("PostgreSQL is not installed, or PG_BINDIR does not say where: `make test` installs it")
	}
	return filepath.Dir(path)
}

func majorOf(path string) int {
	n, _ := strconv.Atoi(strings.Split(path, "/")[4])
	return n
}

// Unprivileged is the user for programs that refuse to run as root; nil where the test is not root.
func Unprivileged(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	t.Fatal("the test runs as root, and there is neither a user postgres nor nobody to run PostgreSQL")
	return nil
}

// AsUser makes a command run as another user; nil leaves it the test's own.
func AsUser(c *syscall.Credential) *syscall.SysProcAttr { return &syscall.SysProcAttr{Credential: c} }
