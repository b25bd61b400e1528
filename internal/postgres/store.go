// Package postgres is the production store: PostgreSQL 14 to 18 over pgx, by hand-written SQL, without LISTEN or advisory
// session locks, and behind a pooler in transaction mode without any other state of a session.
//
// It owns the schema and its migrations, the partitions by day (partitions.go), which error of the database is which
// Kind (failure.go), and how due times, leases and windows are decided: on the database's clock. It leaves to others
// what a result means (delivery), which subscriptions want an event (ingest), when upkeep is due (janitor) and how
// secrets are sealed (its Options bring a Sealer).
package postgres

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/multitracer"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/ride"
)

// oldestServer is the first PostgreSQL this store is written for, as server_version_num has it.
const oldestServer = 140000

// idSlack is how far an id is from the moment its row is written at most: ids are made just before, on the store's clock.
const idSlack = time.Minute

// connectTimeout bounds the making of a connection where the URL does not say.
const connectTimeout = 5 * time.Second

// Sealer keeps confidential parts unreadable at rest. The binding ties a sealed value to its row.
type Sealer interface {
	Seal(plaintext []byte, bind string) []byte
	Open(sealed []byte, bind string) ([]byte, error)
}

// Options of a Store. URL and Sealer are required.
type Options struct {
	// URL is `postgres://…` with pgx's parameters (sslmode, pool_max_conns, …) and one of our own: pool_mode=transaction
	// says that a pooler in transaction mode stands between, so no prepared statement may outlive its transaction.
	URL    string
	Sealer Sealer
	// Existing is for a command beside the service: it makes and migrates nothing, and fails where there is no store or where its
	// schema is older than this version's.
	Existing bool
	// Log gets what the store does by itself: migrations and partitions. Default: discarded.
	Log *slog.Logger
	// MaxConns bounds the connections unless the URL does. Default: 16.
	MaxConns int32
	// Tracer, when set, sees every statement.
	Tracer pgx.QueryTracer
}

// Store implements posthorn.Store. Use Open.
type Store struct {
	pool *pgxpool.Pool
	// steady holds steered sessions; see steadyPool.
	steady *pgxpool.Pool
	seal   Sealer
	log    *slog.Logger
	// expected is the migration this binary has.
	expected int64
	// offset is what must be added to ownClock to have the database's, in nanoseconds.
	offset atomic.Int64
	// setBack says that the database's clock went back since followClock last looked.
	setBack atomic.Bool
	// slack is how far an id may be from the moment its row was written; tests that move time raise it.
	slack time.Duration
	// cursor is where the next look for due lanes begins, fifo the same within long FIFO lanes, and manual among manual retries.
	cursor cursor[posthorn.UUID]
	fifo   fifoCursors
	manual cursor[retryPlace]
	// daysNamed says that the partitions of today and the days ahead are there under their names; today's statements name today's.
	daysNamed atomic.Bool
	today     atomic.Pointer[statements]
	// sweptAt is when this process last swept births, in nanoseconds since its start; 0 is never.
	sweptAt atomic.Int64
	// foldedAt is when it last looked for tallies, as sweptAt; folding has room for who folds them.
	foldedAt atomic.Int64
	folding  chan struct{}
	// life ends when the store closes.
	life context.Context
	end  context.CancelFunc
	// rides are results that wait to share the commit of new events.
	rides ride.Queue[*recording]
	work  work
}

var _ posthorn.Store = (*Store)(nil)

// Open connects, brings the schema up to date and makes the partitions of the coming days. It fails with Unavailable
// when the database is out of reach; the caller decides whether to try again.
func Open(ctx context.Context, opts Options) (*Store, error) {
	config, err := poolConfig(opts)
	if err != nil {
		return nil, err
	}
	return open(ctx, opts, config)
}

func open(ctx context.Context, opts Options, config *pgxpool.Config) (*Store, error) {
	s := &Store{seal: opts.Sealer, log: opts.Log, slack: idSlack, folding: make(chan struct{}, 1)}
	s.life, s.end = context.WithCancel(context.Background())
	config.ConnConfig.Tracer = &s.work
	if opts.Tracer != nil {
		config.ConnConfig.Tracer = multitracer.New(&s.work, opts.Tracer)
	}
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		registerArrays(conn.TypeMap())
		// The pool gives no deadline, and what a server that fell silent never answers would keep the connection's place.
		ctx, cancel := context.WithTimeout(ctx, cmp.Or(config.ConnConfig.ConnectTimeout, connectTimeout))
		defer cancel()
		return registerRecords(ctx, conn)
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	steady := steadyPool(config)
	var err error
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, fmt.Errorf("connection pool: %w", err)
	}
	if steady != nil {
		if s.steady, err = pgxpool.NewWithConfig(ctx, steady); err != nil {
			s.pool.Close()
			return nil, fmt.Errorf("connection pool: %w", err)
		}
	}
	if err := s.begin(ctx, opts.Existing); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// pools are all that the store has.
func (s *Store) pools() []*pgxpool.Pool {
	if s.steady == nil {
		return []*pgxpool.Pool{s.pool}
	}
	return []*pgxpool.Pool{s.pool, s.steady}
}

// renewConnections makes the pools forget what their sessions know.
func (s *Store) renewConnections() {
	for _, pool := range s.pools() {
		pool.Reset()
	}
}

func (s *Store) begin(ctx context.Context, existing bool) error {
	version := 0
	err := s.do(ctx, "connect", func(ctx context.Context) error {
		sent := time.Now()
		var now time.Time
		row := s.pool.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, now()`)
		if err := row.Scan(&version, &now); err != nil {
			return err
		}
		s.setClock(sent, now, time.Now())
		if s.steady != nil {
			// What refuses its settings must not be found out by the first event.
			return s.steady.Ping(ctx)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if version < oldestServer {
		return fmt.Errorf("PostgreSQL %d is too old: 14 or newer is needed", version/10000)
	}
	if existing {
		return s.checkSchema(ctx)
	}
	if err := s.migrate(ctx); err != nil {
		return err
	}
	// Connections learn the types of batches when they are made, and these may be older than the migrations: another node's too.
	s.renewConnections()
	if err := s.Prepare(ctx); err != nil {
		return err
	}
	if err := s.warmUp(ctx); err != nil {
		s.log.Warn("the first events will be slow", "error", err)
	}
	if err := s.restoreSweep(ctx); err != nil {
		return err
	}
	if err := s.findSetBack(ctx); err != nil {
		return err
	}
	if err := s.followClock(ctx); err != nil {
		// The upkeep goes on with it.
		s.log.Warn("the clock was not followed back whole", "error", err)
	}
	return nil
}

// poolConfig reads the URL and sets what it leaves open.
func poolConfig(opts Options) (*pgxpool.Config, error) {
	u, err := url.Parse(opts.URL)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		// The parser's error repeats the URL, and with it the password.
		return nil, fmt.Errorf("the database URL must be like postgres://user:password@host:5432/name")
	}
	query := u.Query()
	mode := query.Get("pool_mode")
	query.Del("pool_mode")
	u.RawQuery = query.Encode()
	config, err := pgxpool.ParseConfig(u.String())
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", err)
	}
	if !query.Has("pool_max_conns") {
		config.MaxConns = max(opts.MaxConns, 0)
		if config.MaxConns == 0 {
			config.MaxConns = 16
		}
	}
	if !query.Has("connect_timeout") {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	if config.ConnConfig.TLSConfig != nil && config.ConnConfig.TLSConfig.MinVersion == 0 {
		config.ConnConfig.TLSConfig.MinVersion = tls.VersionTLS12
	}
	parameters := config.ConnConfig.RuntimeParams
	if parameters["application_name"] == "" {
		parameters["application_name"] = "posthorn"
	}
	switch mode {
	case "", "session":
		// A pooler refuses these at start; there the statements that matter set them for their transaction.
		setDefault(parameters, "statement_timeout", "30000")
		// Less than a lease: what a frozen node's transaction holds must be free when its claims are.
		setDefault(parameters, "idle_in_transaction_session_timeout", "20000")
		// What a node holds that lost its power in the midst of a statement is free within half a minute, too.
		setDefault(parameters, "tcp_keepalives_idle", "10")
		setDefault(parameters, "tcp_keepalives_interval", "5")
		setDefault(parameters, "tcp_keepalives_count", "3")
	case "transaction":
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	default:
		return nil, fmt.Errorf("database URL: pool_mode must be session or transaction")
	}
	return config, nil
}

func setDefault(m map[string]string, key, value string) {
	if m[key] == "" {
		m[key] = value
	}
}

// Close waits up to closeTimeout for the statements under way, and closes the connections.
func (s *Store) Close() error {
	s.end()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		for _, pool := range s.pools() {
			pool.Close()
		}
	}()
	select {
	case <-closed:
	case <-time.After(closeTimeout):
	}
	return nil
}

// closeTimeout bounds the wait for connections to end: a database that hangs says good-bye to none, and the process takes them along.
const closeTimeout = time.Second

// Now is the database's clock, as far as the latest answers tell.
func (s *Store) Now() time.Time {
	return ownClock(time.Now()).Add(time.Duration(s.offset.Load())).UTC()
}

// ownClock is a moment on this process's own clock, which began with the machine's and runs on when somebody sets that. It stands still
// while the machine sleeps, until the next answer.
func ownClock(at time.Time) time.Time { return processStart.Add(at.Sub(processStart)) }

// setClock learns from an answer: the database said now at some time between sent and received. The offset moves only
// when that proves it wrong, and only as far as proven, so a slow answer does no harm.
func (s *Store) setClock(sent, now, received time.Time) {
	low, high := now.Sub(ownClock(received)), now.Sub(ownClock(sent))
	if current := time.Duration(s.offset.Load()); current < low {
		s.offset.Store(int64(low))
	} else if current > high {
		s.offset.Store(int64(high))
		if current-high > setbackSlack {
			s.setBack.Store(true)
		}
	}
}
