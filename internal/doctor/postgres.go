package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// oldest is the first PostgreSQL that the store is written for, as server_version_num has it.
const oldest = 140000

// server is what a PostgreSQL says of itself.
type server struct {
	number               int
	version              string
	now                  time.Time
	recovery, create     bool
	fsync, commit, pages string
	most, used           int
	tls                  bool
	migrated             bool
}

const question = `
SELECT current_setting('server_version_num')::int, current_setting('server_version'), clock_timestamp(), pg_is_in_recovery(),
       coalesce(has_schema_privilege(current_schema(), 'CREATE'), false), current_setting('fsync'), current_setting('synchronous_commit'),
       current_setting('full_page_writes'), current_setting('max_connections')::int,
       (SELECT coalesce(sum(numbackends), 0)::int FROM pg_stat_database),
       coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
       to_regclass('goose_db_version') IS NOT NULL`

// examinePostgres connects once and asks; nothing is written.
func examinePostgres(ctx context.Context, text string) []Finding {
	const about = "database"
	config, err := pgx.ParseConfig(text)
	if err != nil {
		return []Finding{fail(about, "DATABASE_URL cannot be read", "write it as postgres://user:password@host:5432/database?sslmode=verify-full")}
	}
	// Parameters of the pool, and the store's own pool_mode, are none of the server's.
	maps.DeleteFunc(config.RuntimeParams, func(name, _ string) bool { return strings.HasPrefix(name, "pool_") })
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	start := time.Now()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return []Finding{fail(about, "PostgreSQL at "+config.Host+" cannot be used: "+reason(err), connectFix(err))}
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	connected := time.Now()
	var s server
	err = conn.QueryRow(ctx, question).Scan(&s.number, &s.version, &s.now, &s.recovery, &s.create, &s.fsync, &s.commit, &s.pages,
		&s.most, &s.used, &s.tls, &s.migrated)
	answered := time.Now()
	if err != nil {
		return []Finding{fail(about, "PostgreSQL does not answer: "+reason(err), "look at the server's log")}
	}
	all := []Finding{fine(about, "PostgreSQL %s, connected in %d ms, a query takes %.1f ms", s.version,
		connected.Sub(start).Milliseconds(), float64(answered.Sub(connected).Microseconds())/1000)}
	all = append(all, s.judge(config.Host)...)
	return append(all, examineClock("of PostgreSQL", s.now.Sub(connected.Add(answered.Sub(connected)/2))))
}

// judge says what of the server breaks a promise, or will.
func (s *server) judge(host string) []Finding {
	const about = "database"
	var all []Finding
	add := func(bad bool, f Finding) {
		if bad {
			all = append(all, f)
		}
	}
	add(s.number < oldest, fail(about, "PostgreSQL "+s.version+" is too old", "use PostgreSQL 14 or newer"))
	add(s.recovery, fail(about, "this server is a standby: nothing can be written", "let DATABASE_URL name the primary (target_session_attrs=read-write)"))
	add(!s.recovery && !s.create, fail(about, "the user may not create tables in its schema", "GRANT CREATE, USAGE ON SCHEMA public TO the user, or make it the database's owner"))
	add(s.fsync == "off", fail(about, "fsync is off: a crash loses events that were acknowledged, or the database", "set fsync = on"))
	add(s.pages == "off", warn(about, "full_page_writes is off: a crash can damage the database", "set full_page_writes = on, unless the file system never tears pages"))
	add(s.commit == "off", fail(about, "synchronous_commit is off: a crash loses events that were acknowledged", "set synchronous_commit = on, or higher with synchronous standbys"))
	add(s.most-s.used < 32, warn(about, fmt.Sprintf("%d of %d connections are in use; each node takes up to 16", s.used, s.most),
		"raise max_connections, or put a pooler between and add pool_mode=transaction to DATABASE_URL"))
	local := host == "localhost" || host == "127.0.0.1" || host == "::1" || host != "" && host[0] == '/'
	add(!s.tls && !local, warn(about, "the connection is not encrypted", "add sslmode=verify-full to DATABASE_URL"))
	add(!s.migrated, fine(about, "the schema is not there yet; the first start or posthorn migrate makes it"))
	return all
}

// reason is an error without the URL in it, which may hold the password.
func reason(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Message
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	if e, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		line, _, _ := strings.Cut(errors.Unwrap(e).Error(), "\n")
		return line
	}
	return "the connection failed"
}

// connectFix goes by the server's code (PostgreSQL, appendix A).
func connectFix(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch e.Code {
		case "28P01", "28000":
			return "correct the user and the password in DATABASE_URL; look at pg_hba.conf"
		case "3D000":
			return "create the database: createdb NAME"
		case "53300":
			return "raise max_connections, or put a pooler between"
		}
	}
	return "start PostgreSQL, correct the host and port in DATABASE_URL, and let this machine through the firewall"
}
