// Package app builds every part of a node from the settings, owns their start and stop, and holds the stories: scenario
// tests of the whole. What each part does is its own room's business.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/api"
	"github.com/posthorn/posthorn/internal/auth"
	"github.com/posthorn/posthorn/internal/bus"
	"github.com/posthorn/posthorn/internal/cache"
	"github.com/posthorn/posthorn/internal/catalogue"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/delivery"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/failpoint"
	"github.com/posthorn/posthorn/internal/ingest"
	"github.com/posthorn/posthorn/internal/janitor"
	"github.com/posthorn/posthorn/internal/limit"
	"github.com/posthorn/posthorn/internal/redis"
	"github.com/posthorn/posthorn/internal/replay"
	"github.com/posthorn/posthorn/internal/telemetry"
	"github.com/posthorn/posthorn/web"
)

// StopTimeout bounds a graceful stop.
const StopTimeout = 30 * time.Second

// App is one node.
type App struct {
	settings *config.Settings
	log      *slog.Logger
	version  string
	node     posthorn.NodeID
	started  time.Time

	store     posthorn.Store
	redis     *redis.Client // nil without REDIS_URL
	bus       *bus.Bus
	cache     *cache.Cache
	matcher   matcher
	limiter   *limit.Limiter
	policy    *egress.Policy
	proxy     *egress.Proxy    // nil unless one is set
	engine    *delivery.Engine // nil without the role worker
	publisher *ingest.Publisher
	replays   *replay.Runner
	janitor   *janitor.Janitor // nil without the role janitor
	auth      *auth.Authenticator
	handler   *api.Handler
	server    *http.Server
	listener  net.Listener
	metrics   *telemetry.Metrics
	tracer    *telemetry.Tracer // nil unless traces are on
	points    *failpoint.Points // nil but in tests of crashes
	stopping  atomic.Bool
	workers   atomic.Int64 // live workers as last seen

	lifecycle
	failed chan error
	// First is the key that a first start has made, or nil.
	First *FirstKey
}

// New opens the store and builds the parts; nothing runs yet. Settings must be resolved.
func New(ctx context.Context, s *config.Settings, log *slog.Logger, version string) (*App, error) {
	points := s.Points()
	store, err := openStore(ctx, s, log, points)
	if err != nil {
		return nil, err
	}
	if err := checkSecrets(ctx, s, store, log); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	metrics := telemetry.NewMetrics(version)
	store = metrics.Store(store)
	a := &App{settings: s, log: log, version: version, store: store, points: points, metrics: metrics, failed: make(chan error, 1)}
	a.lifecycle.log, a.lifecycle.points = log, points
	a.workers.Store(1) // until it is known
	a.metrics.Queue(func(ctx context.Context) (posthorn.Queue, error) { return store.Queue(ctx, posthorn.TenantID{}) })
	a.started = store.Now()
	a.node = posthorn.NodeID{UUID: posthorn.NewUUID(a.started)}
	if err := a.build(ctx); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return a, nil
}

// build makes the parts in the order they start.
func (a *App) build(ctx context.Context) error {
	s := a.settings
	a.add("store", nil, func(context.Context) { a.closeStore() })
	if err := a.buildTracer(ctx); err != nil {
		return err
	}
	if a.settings.RedisURL != "" {
		client, err := redis.New(redis.Options{URL: s.RedisURL, Log: a.log, Observe: a.metrics.RedisUsed})
		if err != nil {
			return fmt.Errorf("REDIS_URL: %w", err)
		}
		a.redis = client
		a.metrics.RedisUp(func() bool { return client.State().Up })
		a.add("redis", nil, func(context.Context) { client.Close() })
	}
	if err := a.buildShared(); err != nil {
		return err
	}
	first, err := firstRun(ctx, a.store, s.APIKey)
	if err != nil {
		return fmt.Errorf("first run: %w", err)
	}
	a.First = first
	if err := a.store.Prepare(ctx); err != nil {
		return fmt.Errorf("prepare the store: %w", err)
	}
	if s.Has(config.RoleWorker) {
		a.buildWorker()
	}
	a.resealAtStart()
	a.buildPublisher()
	a.buildReplays()
	if s.Has(config.RoleJanitor) {
		a.buildJanitor()
	}
	a.addHeartbeat()
	return a.buildServer()
}

// poll is what a lost wake-up may cost; a single process loses none.
func (a *App) poll() time.Duration {
	if a.settings.Postgres() {
		return time.Second
	}
	return 30 * time.Second
}

func (a *App) buildWorker() {
	s := a.settings
	client := egress.New(egress.Options{Policy: a.policy, Resolver: breakableResolver(a.points), Proxy: a.proxy})
	o := delivery.Options{
		Store: a.store, Subscriptions: a.cache, Client: breakableClient(client, a.points), Bus: a.bus, Limiter: deliveryLimits{a.limiter, a.metrics},
		Announcer: (*announcer)(a), Observer: a.metrics, Node: a.node, Log: a.log, UserAgent: "Posthorn/" + a.version,
		Window: s.Retention, DisableAfter: s.DisableAfter, Poll: a.poll(),
	}
	if a.tracer != nil {
		o.Tracer, o.SendTraceParent = a.tracer, s.SendTraceParent
	}
	a.engine = delivery.New(o)
	a.metrics.Lanes(a.engine.LaneStates)
	a.add("egress", nil, func(context.Context) { client.Close() })
	a.add("engine", func(context.Context) error { a.engine.Start(); return nil }, a.engine.Stop)
}

func (a *App) buildPublisher() {
	a.matcher = newMatcher(a.cache)
	o := ingest.Options{
		Store: a.store, Matcher: a.matcher, Bus: a.bus, Node: a.node, Log: a.log,
		Catalogue: catalogue.New(catalogue.Options{Store: a.store, Strict: a.settings.StrictTypes}), MaxEventBytes: a.settings.MaxEventBytes, Observe: a.metrics.Committed,
	}
	if a.engine != nil {
		o.Lanes = breakableLanes(a.engine, a.points)
	}
	if a.tracer != nil {
		o.Trace = a.tracer.Publish
	}
	a.publisher = ingest.New(o)
	a.add("publisher", func(context.Context) error { a.publisher.Start(); return nil },
		a.publisher.Stop)
}

// buildReplays makes what counts replays on every node and runs them on those that work.
func (a *App) buildReplays() {
	a.replays = replay.New(replay.Options{
		Store: a.store, Matcher: replayMatcher{a.matcher}, Bus: a.bus, Node: a.node, Log: a.log,
	})
	if !a.settings.Has(config.RoleWorker) && !a.settings.Has(config.RoleJanitor) {
		return
	}
	var unfollow func()
	a.add("replays", func(context.Context) error {
		unfollow = a.bus.Subscribe(func(s posthorn.Signal) {
			if s.Replays {
				a.replays.Wake()
			}
		})
		a.replays.Start()
		return nil
	}, func(context.Context) {
		unfollow()
		a.replays.Stop()
	})
}

func (a *App) buildJanitor() {
	s := a.settings
	a.janitor = janitor.New(janitor.Options{
		Store: a.store, Bus: a.bus, Node: a.node, Log: a.log, Announcer: a.publisher,
		Retention: s.Retention, Hold: s.Hold, Window: s.Retention, CleanupEvery: s.CleanupEvery,
		AuditRetention: s.AuditRetention,
		Observe:        a.metrics.Cleaned, Withdrawn: a.metrics.Withdrawn,
	})
	var unfollow func()
	a.add("janitor", func(context.Context) error {
		// What a deleted subscription leaves pending need not wait for the next look.
		unfollow = a.bus.Subscribe(func(s posthorn.Signal) {
			if len(s.Changed) > 0 {
				a.janitor.Wake()
			}
		})
		a.janitor.Start()
		return nil
	}, func(context.Context) {
		unfollow()
		a.janitor.Stop()
	})
}

// buildTracer sends traces where the settings say so; unlike the rest it goes on until everything else has ended.
func (a *App) buildTracer(ctx context.Context) error {
	target := a.settings.TracesURL()
	if target == "" {
		return nil
	}
	var err error
	a.tracer, err = telemetry.NewTracer(ctx, telemetry.TracerOptions{
		URL: target, Version: a.version, Node: a.node, Host: hostname(), Log: a.log,
	})
	a.add("traces", nil, func(ctx context.Context) {
		if err := a.tracer.Shutdown(ctx); err != nil {
			a.log.Warn("the last traces not sent", "error", err)
		}
	})
	return err
}

// announcer publishes Posthorn's own events through the publisher, which is built after the engine.
type announcer App

func (a *announcer) Announce(ctx context.Context, tenant posthorn.TenantID, e *posthorn.Event) error {
	return a.publisher.Announce(ctx, tenant, e)
}

// Start starts every part. Afterwards Failed tells when one cannot go on.
func (a *App) Start(ctx context.Context) error {
	return a.lifecycle.start(ctx)
}

// Failed gives the error of a part that ended by itself.
func (a *App) Failed() <-chan error { return a.failed }

// Stop stops accepting, finishes or gives back what is in flight, and ends every part, within StopTimeout.
func (a *App) Stop() {
	// The engine records for a moment more what it has interrupted at the end of that.
	ctx, cancel := context.WithTimeout(context.Background(), StopTimeout-delivery.RecordGrace-time.Second)
	defer cancel()
	a.lifecycle.stop(ctx)
	_ = a.points.Hit(failpoint.StopAfter)
}

// URL is where the API listens, as this machine reaches it; empty without the role api.
func (a *App) URL() string {
	if a.listener == nil {
		return ""
	}
	addr := a.listener.Addr().(*net.TCPAddr)
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, fmt.Sprint(addr.Port))
}

func (a *App) closeStore() {
	if err := a.store.Close(); err != nil {
		a.log.Error("store not closed", "error", err)
	}
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

func dashboard() http.Handler {
	if h, ok := web.New(); ok {
		return h
	}
	return nil
}
