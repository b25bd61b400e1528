// Package api is Posthorn's HTTP interface: the operations, their OpenAPI document, strict reading of requests, problem
// details, the guard of keys, scopes and rate limits, the live stream and the docs page.
//
// It leaves accepting events to internal/ingest (as Publisher), recognising keys to internal/auth, judging URLs to
// internal/egress, the forms of secrets to internal/signing, and every state to the store: what a person does to a
// delivery is a store transition, so nothing here knows the delivery engine.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/auth"
	"github.com/posthorn/posthorn/internal/inbound"
)

// Store is what the operations need of a store.
type Store interface {
	posthorn.SubscriptionStore
	posthorn.CatalogueStore
	posthorn.SourceStore
	posthorn.EventStore
	posthorn.PayloadEraser
	posthorn.DeliveryStore
	CreateReplay(ctx context.Context, r *posthorn.Replay) error
	GetReplay(ctx context.Context, tenant posthorn.TenantID, id posthorn.ReplayID) (*posthorn.Replay, error)
	ListReplays(ctx context.Context, tenant posthorn.TenantID, p posthorn.Page) ([]posthorn.Replay, posthorn.UUID, error)
	CancelReplay(ctx context.Context, tenant posthorn.TenantID, id posthorn.ReplayID) (*posthorn.Replay, error)
	posthorn.KeyStore
	posthorn.AuditStore
	posthorn.Insight
	ListNodes(ctx context.Context) ([]posthorn.Node, error)
	DrainNode(ctx context.Context, id posthorn.NodeID) error
	// Now is the store's clock.
	Now() time.Time
}

// Publisher accepts events (internal/ingest).
type Publisher interface {
	Publish(ctx context.Context, tenant posthorn.TenantID, e *posthorn.Event) (posthorn.Accepted, error)
	// PublishBatch answers each event in order; a bad one has its own Err.
	PublishBatch(ctx context.Context, tenant posthorn.TenantID, events []*posthorn.Event) ([]posthorn.Accepted, error)
	// Test publishes posthorn.test to one subscription alone.
	Test(ctx context.Context, tenant posthorn.TenantID, id posthorn.SubscriptionID) (posthorn.Accepted, error)
	// Replay makes new deliveries to the subscriptions named, or to those that match now.
	Replay(ctx context.Context, tenant posthorn.TenantID, event posthorn.EventID,
		to []posthorn.SubscriptionID) ([]posthorn.Delivery, error)
}

// Announcer publishes Posthorn's own events, where a subscription wants them (internal/ingest).
type Announcer interface {
	Announce(ctx context.Context, tenant posthorn.TenantID, e *posthorn.Event) error
}

// Bus carries hints between the parts of this node and other nodes; any may be lost.
type Bus interface {
	Publish(ctx context.Context, s posthorn.Signal)
	// Follow calls hear for every signal, and lost whenever some may be missing.
	Follow(hear func(posthorn.Signal), lost func()) (cancel func())
}

// Authenticator recognises API keys and sessions (internal/auth).
type Authenticator interface {
	Authenticate(ctx context.Context, key string, from netip.Addr) (*auth.Identity, error)
	// Check is Authenticate for a key recognised before.
	Check(ctx context.Context, id *auth.Identity, from netip.Addr) error
	// Known reports whether a key is answered without asking the store, or was recognised by it before.
	Known(key string) bool
	Invalidate()
	// AuthenticateSession and KnownSession are the same for a session's token.
	AuthenticateSession(ctx context.Context, token string, from netip.Addr) (*auth.Identity, error)
	KnownSession(token string) bool
	StartSession(ctx context.Context, id *auth.Identity) (token string, s *posthorn.Session, err error)
	EndSession(ctx context.Context, id *auth.Identity) error
}

// Limiter counts against named limits (internal/limit). RetryAfter is how long until n would be allowed again. Already is how
// many of the same request were allowed before: with them it may be more than the limit, where nobody else has asked.
type Limiter interface {
	Allow(ctx context.Context, name string, limit posthorn.RateLimit, n, already int) (ok bool, remaining int, retryAfter time.Duration)
}

// URLChecker judges a subscription's URL by its text, without resolving names (internal/egress). The error's text
// says what would be right, never an internal address.
type URLChecker interface {
	CheckURL(url string) error
}

// Options of a Handler. Store, Publisher, Replays, Bus, Auth and URLs are required.
type Options struct {
	Store     Store
	Publisher Publisher
	Replays   Replays
	Bus       Bus
	Auth      Authenticator
	URLs      URLChecker
	// Announcer nil announces nothing.
	Announcer Announcer
	// Limiter nil limits nothing.
	Limiter Limiter
	// GlobalLimit bounds publishing by all tenants together, TenantLimit by each tenant that has no limit of its own.
	GlobalLimit, TenantLimit *posthorn.RateLimit
	// TrustedProxies are those whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// Checks are the components of GET /health; Ready says why this node cannot do its roles, or nil.
	Checks []Check
	Ready  func(ctx context.Context) error
	// Unattended, when set, says that no worker takes deliveries, as the nodes were last heard of.
	Unattended func() bool
	// Watch, when set, is called while someone watches the live stream, so that other parts can spare the messages else.
	Watch func() (stop func())
	// Dashboard is served at / and below; nil serves a page that says how to get it.
	Dashboard http.Handler
	// Observe, when set, is told of each answered request: the operation's path as documented, or "" where none matched.
	Observe func(method, path string, status int, took time.Duration)
	// Refused, when set, is told of each request that was not recognised, and why: nothing (it showed none), key, session,
	// origin (an address or page that may not) or rate.
	Refused func(why string)
	// Trace, when set, follows each request: what it does runs under the context, and end is told as Observe is.
	Trace   func(r *http.Request) (ctx context.Context, end func(path string, status int))
	Logger  *slog.Logger
	Version string
	// Settings are shown by GET /settings.
	Settings Settings
	// Window is the longest a retry policy may take: the retention, by default 72 h.
	Window time.Duration
	// MaxEventBytes bounds one payload, by default 256 KiB.
	MaxEventBytes int
	// StrictTypes is whether catalogues are strict where the tenant does not say.
	StrictTypes bool
	// Counter gathers what comes in at sources; whoever sets it runs it. nil counts for this node alone.
	Counter *inbound.Counter
	// Ingested, when set, is told of each request to a source: the provider, and accepted, duplicate, challenge, refused (by its
	// signature), rejected (for another reason), unknown.
	Ingested func(provider, outcome string)
	// MaxWatchers bounds the clients of the live stream, by default 256.
	MaxWatchers int
}

func (o *Options) setDefaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Window == 0 {
		o.Window = 72 * time.Hour
	}
	if o.MaxEventBytes == 0 {
		o.MaxEventBytes = 256 << 10
	}
	if o.MaxWatchers == 0 {
		o.MaxWatchers = 256
	}
	if o.Version == "" {
		o.Version = "dev"
	}
}

// Handler answers HTTP requests. Close ends the live streams, which no shutdown of a server waits out.
type Handler struct {
	opts    Options
	log     *slog.Logger
	store   Store
	api     huma.API
	router  *chi.Mux
	handler http.Handler
	hub     *hub
	health  healthCache
	terms   terms
	bodies  bodies
	// openBodies are those of operations without a key.
	openBodies bodies
	counter    *inbound.Counter
	close      sync.Once
}

// New makes the Handler and starts listening to the bus.
func New(opts Options) *Handler {
	opts.setDefaults()
	h := &Handler{opts: opts, log: opts.Logger, store: opts.Store, router: chi.NewRouter()}
	h.terms.init()
	if h.counter = opts.Counter; h.counter == nil {
		h.counter = inbound.NewCounter(opts.Store)
	}
	h.hub = newHub(opts.Bus, opts.Watch, opts.MaxWatchers)
	answerHead(h.router)
	h.api = newAPI(h.router, opts.Version)
	h.api.UseMiddleware(h.guard)
	h.registerSubscriptions()
	h.registerSecrets()
	h.registerSigningKeys()
	h.registerFilters()
	h.registerEvents()
	h.registerErasure()
	h.registerEventTypes()
	h.registerSources()
	h.registerIngest()
	h.registerDeliveries()
	h.registerReplays()
	h.registerLive()
	h.registerOperations()
	h.registerKeys()
	h.registerTenants()
	h.registerAudit()
	h.registerSession()
	h.registerHealth()
	finishDocument(h.api.OpenAPI())
	h.servePages(h.router)
	h.handler = h.enter(h.router)
	return h
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.handler.ServeHTTP(w, r) }

// OpenAPI is the document of all operations, complete once New returned.
func (h *Handler) OpenAPI() *huma.OpenAPI { return h.api.OpenAPI() }

// ShowNodes tells those who watch how the nodes are, as read from the store just now. The list is not changed afterwards.
func (h *Handler) ShowNodes(nodes []posthorn.Node) { h.hub.beat(nodes) }

// Close ends the live streams and stops listening to the bus. Requests under way are not touched.
func (h *Handler) Close() { h.close.Do(h.hub.stop) }

// Abandon ends the work on requests whose connections the server has closed.
func (h *Handler) Abandon() { h.terms.end() }
