package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posthorn/posthorn"
)

func TestKinds(t *testing.T) {
	server := func(code string) error { return &pgconn.PgError{SeverityUnlocalized: "ERROR", Code: code} }
	dying := func(severity, code string) error { return &pgconn.PgError{SeverityUnlocalized: severity, Code: code} }
	for name, c := range map[string]struct {
		err                             error
		away, uncertain, data, repeated bool
	}{
		"Serialization":      {err: server("40001"), away: true, repeated: true},
		"Deadlock":           {err: server("40P01"), away: true, repeated: true},
		"ReadOnly":           {err: server("25006"), away: true},
		"TooManyConnections": {err: server("53300"), away: true},
		"DiskFull":           {err: server("53100"), away: true},
		"ShuttingDown":       {err: server("57P01"), away: true, uncertain: true},
		"Starting":           {err: server("57P03"), away: true},
		"Cancelled":          {err: server("57014"), away: true},
		"LockTimeout":        {err: server("55P03"), away: true},
		"IO":                 {err: server("58030"), away: true},
		"Panic":              {err: dying("PANIC", "53100"), away: true, uncertain: true},
		"PanicOfAnyCode":     {err: dying("PANIC", "42501"), away: true, uncertain: true},
		"ConnectionEnded":    {err: dying("FATAL", "XX000"), away: true},
		"WrongPassword":      {err: dying("FATAL", "28P01")},
		"Fault":              {err: server("XX000")},
		"Text":               {err: server("22021"), data: true},
		"Unique":             {err: server("23505"), data: true},
		"Syntax":             {err: server("42601")},
		"Lost":               {err: io.ErrUnexpectedEOF, away: true, uncertain: true},
		"Reset":              {err: &net.OpError{Op: "read", Err: errors.New("reset")}, away: true, uncertain: true},
		"Late":               {err: context.DeadlineExceeded, away: true, uncertain: true},
		"Gone":               {err: context.Canceled},
		"Other":              {err: errors.New("scan")},
	} {
		t.Run(name, func(t *testing.T) {
			wrapped := explain("store", c.err)
			if got := posthorn.KindOf(wrapped) == posthorn.Unavailable; got != c.away {
				t.Errorf("unavailable: %v", got)
			}
			if !errors.Is(wrapped, c.err) {
				t.Error("the cause is lost")
			}
			if got := uncertain(wrapped); got != c.uncertain {
				t.Errorf("uncertain: %v", got)
			}
			if got := isData(wrapped); got != c.data {
				t.Errorf("data: %v", got)
			}
			if got := repeatable(c.err); got != c.repeated {
				t.Errorf("repeated: %v", got)
			}
		})
	}
}

func TestClock(t *testing.T) {
	var s Store
	base := time.Now()
	sent, received := base, base.Add(100*time.Millisecond)
	for _, c := range []struct{ ahead, want time.Duration }{
		{time.Hour, time.Hour - 100*time.Millisecond}, // first told: as near as needed
		{time.Hour + 50*time.Millisecond, time.Hour - 50*time.Millisecond},
		{time.Hour - 20*time.Millisecond, time.Hour - 50*time.Millisecond}, // nothing new
		{time.Hour - 70*time.Millisecond, time.Hour - 70*time.Millisecond}, // back no further than proven
		{-time.Hour, -time.Hour},
	} {
		s.setClock(sent, base.Add(c.ahead), received)
		if got := time.Duration(s.offset.Load()); got != c.want {
			t.Errorf("told %s: offset %s, want %s", c.ahead, got, c.want)
		}
	}
}

func TestURL(t *testing.T) {
	for _, bad := range []string{"", "mysql://u:secretpw@h/d", "postgres://u:secretpw@h:port/d", "postgres://u:secretpw@h/d?pool_mode=statement"} {
		_, err := Open(t.Context(), Options{URL: bad, Sealer: reversing{}})
		if err == nil || strings.Contains(err.Error(), "secretpw") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestBadRow has events the database refuses among good ones: each answers for itself.
func TestBadRow(t *testing.T) {
	l := newLoad(t, openStore(t), 1)
	var batch []posthorn.Acceptance
	for i := range 50 {
		a := l.acceptance([]byte("1"), true, l.subs[0])
		switch i {
		case 7:
			a.Event.Type = "nul\x00"
		case 30:
			a.Event.OrderingKey = "\xff\xfe"
		case 31:
			a.Event.ID = batch[2].Event.ID
		}
		batch = append(batch, a)
	}
	accepted, err := l.AcceptEvents(t.Context(), l.node, batch)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range accepted {
		want := map[int]posthorn.Kind{7: posthorn.Invalid, 30: posthorn.Invalid, 31: posthorn.Conflict}[i]
		if want == 0 {
			if a.Err != nil || len(a.Claimed) != 1 {
				t.Errorf("event %d: %v", i, a.Err)
			}
		} else if posthorn.KindOf(a.Err) != want {
			t.Errorf("event %d: %v, want kind %d", i, a.Err, want)
		}
	}
	if n := value[int64](t, l.Store, `SELECT count(*) FROM events`); n != 47 {
		t.Errorf("%d events stored, want 47", n)
	}
	// What a receiver answered is stored whatever it is.
	result := l.success(accepted[0].Claimed[0])
	result.Attempt.Detail = "nul\x00 and \xff"
	result.Attempt.Response = posthorn.Headers{"X": {"\x00\xff"}}
	report, err := l.RecordAttempts(t.Context(), posthorn.RecordBatch{Node: l.node, Results: []posthorn.Result{result}})
	if err != nil || !report.Results[0].Moved {
		t.Error(report, err)
	}
}

// TestLostWhileAccepting ends the backend in the middle of the transaction.
func TestLostWhileAccepting(t *testing.T) {
	l := newLoad(t, openStore(t), 1)
	a := l.acceptance([]byte("1"), true, l.subs[0])
	a.Event.IdempotencyKey = "k"
	// Another transaction has the key, so the statement waits.
	tx, err := l.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	if _, err := tx.Exec(t.Context(), `INSERT INTO idempotency_keys VALUES ($1, $1, now(), 'k', '')`, uuid(l.tenant.UUID)); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	go func() {
		_, err := l.AcceptEvents(t.Context(), l.node, []posthorn.Acceptance{a})
		failed <- err
	}()
	for ended := false; !ended; {
		ended = value[bool](t, l.Store, `SELECT coalesce(bool_or(pg_terminate_backend(pid)), false) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`)
	}
	e, ok := errors.AsType[*posthorn.Error](<-failed)
	if !ok || e.Kind != posthorn.Unavailable || !strings.Contains(e.Message, "possibly stored") || e.RetryAfter <= 0 {
		t.Errorf("%+v", e)
	}
	tx.Rollback(t.Context())
	l.accept(t, a)
}

// TestReadOnly is a failover to a standby.
func TestReadOnly(t *testing.T) {
	databaseURL := newDatabase(t)
	l := newLoad(t, openURL(t, databaseURL), 1)
	standby := openURL(t, databaseURL+"&default_transaction_read_only=on")
	_, err := standby.AcceptEvents(t.Context(), l.node, []posthorn.Acceptance{l.acceptance([]byte("1"), true, l.subs[0])})
	if e, ok := errors.AsType[*posthorn.Error](err); !ok || e.Kind != posthorn.Unavailable || strings.Contains(e.Message, "possibly") {
		t.Errorf("%v", err)
	}
}

// proxy passes connections on to the server until it is cut.
type proxy struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: listener}
	t.Cleanup(p.cut)
	go func() {
		for {
			client, err := p.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, client, server)
			p.mu.Unlock()
			go io.Copy(client, server)
			go io.Copy(server, client)
		}
	}()
	return p
}

func (p *proxy) cut() {
	p.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
}

// TestAway cuts the line: every kind of call says that the store cannot answer now.
func TestAway(t *testing.T) {
	u, err := url.Parse(newDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	p := newProxy(t, u.Host)
	u.Host = p.Addr().String()
	l := newLoad(t, openURL(t, u.String()), 1)
	a := l.acceptance([]byte("1"), true, l.subs[0])
	claimed := l.accept(t, a)[0].Claimed
	p.cut()
	ctx := t.Context()
	calls := map[string]func() error{
		"Accept": func() error {
			_, err := l.AcceptEvents(ctx, l.node, []posthorn.Acceptance{l.acceptance(nil, true, l.subs[0])})
			return err
		},
		"Claim": func() error {
			_, err := l.ClaimDeliveries(ctx, posthorn.ClaimRequest{Node: l.node, Limit: 1, PerLane: 1, MaxBytes: 1})
			return err
		},
		"Record": func() error {
			_, err := l.RecordAttempts(ctx, posthorn.RecordBatch{Node: l.node, Results: []posthorn.Result{l.success(claimed[0])}})
			return err
		},
		"Get": func() error { _, err := l.GetEvent(ctx, l.tenant, a.Event.ID); return err },
		"Update": func() error {
			_, err := l.UpdateSubscription(ctx, l.tenant, l.subs[0], func(*posthorn.Subscription) error { return nil })
			return err
		},
		"Health":  func() error { _, err := l.Health(ctx); return err },
		"Cleanup": func() error { _, err := l.Cleanup(ctx, posthorn.Retention{Logs: time.Hour, Batch: 1}); return err },
		"Open": func() error {
			_, err := Open(ctx, Options{URL: u.String(), Sealer: reversing{}})
			return err
		},
	}
	for name, call := range calls {
		if err := call(); posthorn.KindOf(err) != posthorn.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOpenTogether starts four nodes on an empty database.
func TestOpenTogether(t *testing.T) {
	databaseURL := databaseURL(t, testDatabases.create(t))
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() {
			s, err := Open(t.Context(), Options{URL: databaseURL, Sealer: reversing{}, MaxConns: 2})
			if err == nil {
				var h posthorn.StoreHealth
				if h, err = s.Health(t.Context()); err == nil && (h.Migration != h.Expected || h.Migration == 0) {
					err = errors.New("not migrated")
				}
				s.Close()
			}
			errs[i] = err
		})
	}
	wg.Wait()
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		t.Fatal(errs[i])
	}
}
