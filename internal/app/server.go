package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/api"
	"github.com/posthorn/posthorn/internal/auth"
	"github.com/posthorn/posthorn/internal/bus"
	"github.com/posthorn/posthorn/internal/cache"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/inbound"
	"github.com/posthorn/posthorn/internal/limit"
	"github.com/posthorn/posthorn/internal/play"
	"github.com/posthorn/posthorn/internal/telemetry"
)

const (
	// maxConnections bounds the clients of a node; beyond it they wait in the kernel's queue.
	maxConnections = 10_000
	// The times a client has: for its headers, for its whole request, and between two requests.
	headerTimeout, readTimeout, idleTimeout = 10 * time.Second, 60 * time.Second, 2 * time.Minute
	maxHeaderBytes                          = 64 << 10
	// shutdownTimeout is how long requests under way may take when the node stops; deliveries get the rest of the time.
	shutdownTimeout = 8 * time.Second
)

// buildShared makes what API and workers both use.
func (a *App) buildShared() error {
	keys, err := a.settings.Keys()
	if err != nil {
		return err
	}
	a.bus = bus.New(bus.Options{Redis: a.redis, Node: a.node, Log: a.log})
	a.add("bus", nil, func(context.Context) { a.bus.Close() })
	a.cache = cache.New(cache.Options{Store: a.store, Redis: a.redis, Sealer: keys, Bus: a.bus, Observe: a.metrics.CacheRead})
	a.add("cache", nil, func(context.Context) { a.cache.Close() })
	a.limiter = limit.New(limit.Options{Redis: a.redis, Nodes: func() int { return max(1, int(a.workers.Load())) }})
	a.policy = egress.NewPolicy(a.settings.PrivateNetworks(), a.settings.AllowHTTP)
	if a.settings.EgressProxy != "" {
		if a.proxy, err = egress.ParseProxy(a.settings.EgressProxy); err != nil {
			return fmt.Errorf("POSTHORN_EGRESS_PROXY %w", err)
		}
	}
	return nil
}

// urls judges a subscription's URL by its text.
type urls struct{ *egress.Policy }

func (u urls) CheckURL(raw string) error {
	_, err := u.Policy.CheckURL(raw)
	return err
}

// requestLimits counts requests against the shared limiter.
type requestLimits struct {
	*limit.Limiter
	metrics *telemetry.Metrics
}

func (l requestLimits) Allow(ctx context.Context, name string, rate posthorn.RateLimit, n, already int) (bool, int, time.Duration) {
	d := l.AllowMore(ctx, name, rate, n, already)
	if !d.OK {
		l.metrics.RateLimited(telemetry.LimitedRequests)
	}
	return d.OK, d.Remaining, d.RetryAfter
}

// deliveryLimits hands out permits of the shared limiter.
type deliveryLimits struct {
	*limit.Limiter
	metrics *telemetry.Metrics
}

func (l deliveryLimits) Take(ctx context.Context, key string, rate posthorn.RateLimit, want int) (int, time.Duration) {
	granted, retryAfter := l.Limiter.Take(ctx, key, rate, want)
	if granted == 0 && want > 0 {
		l.metrics.RateLimited(telemetry.LimitedDeliveries)
	}
	return granted, retryAfter
}

// buildServer makes the HTTP side. Every node has it, for its health; without the role api it serves nothing else.
func (a *App) buildServer() error {
	handler, err := a.routes()
	if err != nil {
		return err
	}
	a.server = &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaderBytes, ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	a.add("server", a.listen, a.shutdown)
	return nil
}

func (a *App) routes() (http.Handler, error) {
	s := a.settings
	a.auth = auth.New(auth.Options{Store: a.store, Now: a.store.Now, Allowlist: s.Allowlist()})
	a.addAuth()
	counter := inbound.NewCounter(a.store)
	a.addCounter(counter)
	rate, err := s.PublishLimit()
	if err != nil {
		return nil, err
	}
	o := api.Options{
		Store: a.store, Publisher: breakablePublisher(a.publisher, a.points), Replays: a.replays, Announcer: a.publisher, Bus: a.bus, Auth: a.auth, URLs: urls{a.policy},
		Limiter:     requestLimits{a.limiter, a.metrics},
		GlobalLimit: rate, TrustedProxies: s.Proxies(), Checks: a.checks(), Ready: a.ready, Watch: a.bus.Watch,
		Dashboard: dashboard(), Observe: a.metrics.Requested, Refused: a.metrics.Refused, Logger: a.log, Version: a.version,
		Window: s.Retention, MaxEventBytes: s.MaxEventBytes, Settings: a.shownSettings(), StrictTypes: s.StrictTypes,
		Counter: counter, Ingested: a.metrics.Ingested, Unattended: func() bool { return a.workers.Load() == 0 },
	}
	if a.tracer != nil {
		o.Trace = a.tracer.Request
	}
	a.handler = api.New(o)
	mux, own := http.NewServeMux(), []string{"/metrics"}
	mux.Handle("GET /metrics", withToken(s.MetricsToken, a.metrics.Handler()))
	if s.Dev {
		mux.Handle("/play/", new(play.Bins))
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
		own = append(own, "/play", "/debug/pprof")
	}
	rest := http.Handler(a.handler)
	if !s.Has(config.RoleAPI) {
		rest = http.HandlerFunc(a.serveHealth)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The rest is not a pattern of the mux, which would redirect odd paths and answer CONNECT in its own words.
		if slices.ContainsFunc(own, func(prefix string) bool { return strings.HasPrefix(r.URL.Path, prefix) }) {
			if handler, pattern := mux.Handler(r); pattern != "" {
				handler.ServeHTTP(w, r)
				return
			}
		}
		rest.ServeHTTP(w, r)
	}), nil
}

// serveHealth is all that a node without the role api serves.
func (a *App) serveHealth(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" || r.URL.Path == "/health" || strings.HasPrefix(r.URL.Path, "/health/") {
		a.handler.ServeHTTP(w, r)
		return
	}
	http.Error(w, "this node does not have the role api", http.StatusNotFound)
}

// addAuth notes the keys' last uses in the background, and forgets cached keys when one changes anywhere.
func (a *App) addAuth() {
	ctx, end := context.WithCancel(context.Background())
	var noting sync.WaitGroup
	var unsubscribe func()
	a.add("auth", func(context.Context) error {
		unsubscribe = a.bus.Follow(func(s posthorn.Signal) {
			if s.Keys {
				a.auth.Invalidate()
			}
		}, a.auth.Invalidate)
		noting.Go(func() {
			a.auth.Run(ctx, func(err error) { a.log.Warn("last use of keys not written", "error", err) })
		})
		return nil
	}, func(context.Context) {
		end()
		unsubscribe()
		noting.Wait()
	})
}

// addCounter writes in the background what came in at sources.
func (a *App) addCounter(c *inbound.Counter) {
	ctx, end := context.WithCancel(context.Background())
	var counting sync.WaitGroup
	a.add("sources", func(context.Context) error {
		counting.Go(func() {
			c.Run(ctx, func(err error) { a.log.Warn("counts of sources not written", "error", err) })
		})
		return nil
	}, func(context.Context) {
		end()
		counting.Wait()
	})
}

func (a *App) listen(ctx context.Context) error {
	address := net.JoinHostPort(a.settings.Host, strconv.Itoa(a.settings.Port))
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", address, err)
	}
	a.listener = listener
	go func() {
		if err := a.server.Serve(netutil.LimitListener(listener, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
			a.failed <- fmt.Errorf("serve: %w", err)
		}
	}()
	a.log.Info("listening", "url", a.URL(), "node", a.node, "roles", a.settings.Roles, "version", a.version)
	return nil
}

// shutdown stops accepting, ends the live streams and lets requests under way finish.
func (a *App) shutdown(ctx context.Context) {
	a.stopping.Store(true)
	a.handler.Close()
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	if err := a.server.Shutdown(ctx); err != nil {
		a.log.Warn("requests cut short", "error", err)
		_ = a.server.Close()
		a.handler.Abandon()
	}
}
