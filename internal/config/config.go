// Package config is the only reader of the environment: flags and variables become Settings, and Settings the values the
// parts' Options ask for. It checks what can be checked without starting anything.
package config

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/failpoint"
	"github.com/posthorn/posthorn/internal/seal"
)

// Settings are all there is to set. The tags are kong's: flags, environment and help come from this one struct.
type Settings struct {
	DatabaseURL string   `env:"DATABASE_URL" placeholder:"URL" help:"Where everything is stored: sqlite:///path or postgres://… (default: an SQLite file in the data directory)." secret:"url"`
	RedisURL    string   `env:"REDIS_URL" placeholder:"URL" help:"Redis for the cache, the bus and shared rate limits: redis://, rediss://, redis+sentinel:// or redis+cluster://. Optional." secret:"url"`
	Host        string   `env:"HOST" help:"Address to listen on (default: all; loopback only with --dev)."`
	Port        int      `env:"PORT" default:"8000" help:"Port to listen on; 0 takes a free one."`
	Roles       []string `env:"POSTHORN_ROLES" default:"api,worker,janitor" enum:"api,worker,janitor" help:"What this node does: ${enum}."`
	Dev         bool     `env:"POSTHORN_DEV" help:"Development: listen on loopback only, allow http and loopback subscribers, start the test receiver at /play."`

	DataDir        string   `env:"POSTHORN_DATA_DIR" default:"data" placeholder:"DIR" help:"Directory of the embedded store and its generated key, where DATABASE_URL does not name another file."`
	APIKey         string   `env:"POSTHORN_API_KEY" placeholder:"KEY" help:"First API key, created on an empty store (default: one is generated and printed once)." secret:"all"`
	EncryptionKeys string   `env:"POSTHORN_ENCRYPTION_KEYS" placeholder:"KEYS" help:"Comma-separated base64 of 32 bytes each: the first seals secrets at rest, all open them. Required with PostgreSQL; otherwise generated once into encryption.key beside the database file." secret:"all"`
	LostKeys       bool     `env:"POSTHORN_LOST_KEYS" help:"Start although the encryption keys open no secret of the store, because its key is lost for good: its subscriptions wait until they are made anew."`
	AllowPrivate   []string `env:"POSTHORN_ALLOW_PRIVATE" placeholder:"CIDR" help:"Private networks that subscriptions may reach, such as 10.1.0.0/16."`
	AllowHTTP      bool     `env:"POSTHORN_ALLOW_HTTP" help:"Allow subscriptions with http:// URLs."`
	EgressProxy    string   `env:"POSTHORN_EGRESS_PROXY" placeholder:"URL" help:"Proxy that makes every connection to a receiver: http://, https:// (CONNECT) or socks5://user:password@host:port (default: none; HTTP_PROXY and its like are never used)." secret:"url"`

	Retention     time.Duration `env:"POSTHORN_RETENTION" default:"72h" help:"How long events, deliveries, attempts and idempotency keys are kept; also the retry window."`
	CleanupEvery  time.Duration `env:"POSTHORN_CLEANUP_EVERY" default:"12h" help:"How often what is older than the retention is removed."`
	Hold          time.Duration `env:"POSTHORN_HOLD" default:"720h" help:"How long a paused or disabled subscription holds its deliveries before they are cancelled."`
	DisableAfter  time.Duration `env:"POSTHORN_DISABLE_AFTER" default:"120h" help:"How long a subscription may fail without one success before it is disabled."`
	MaxEventBytes int           `env:"POSTHORN_MAX_EVENT_BYTES" default:"262144" help:"Largest payload of one event, in bytes."`

	StrictTypes bool `env:"POSTHORN_STRICT_TYPES" help:"Refuse events of types that the tenant's catalogue does not have, and enforce every schema, where the tenant does not say."`

	RateLimit      string   `env:"POSTHORN_RATE_LIMIT" placeholder:"N/second" help:"Events that all clients together may publish, such as 1000/second or 6000/minute (default: no limit). Keys and tenants have limits of their own."`
	IPAllowlist    []string `env:"POSTHORN_IP_ALLOWLIST" placeholder:"CIDR" help:"Networks that may use the API (default: all). /ingest is open to all, as providers sign."`
	TrustedProxies []string `env:"POSTHORN_TRUSTED_PROXIES" placeholder:"CIDR" help:"Proxies whose X-Forwarded-For is believed (default: none)."`

	TracesEndpoint  string `env:"OTEL_EXPORTER_OTLP_ENDPOINT" name:"otlp-endpoint" placeholder:"URL" help:"OpenTelemetry collector that gets traces by OTLP over HTTP, such as http://collector:4318 (default: no traces). OpenTelemetry's other variables for headers, sampling and attributes are obeyed too."`
	SendTraceParent bool   `env:"POSTHORN_SEND_TRACEPARENT" name:"send-traceparent" help:"Send each attempt's traceparent header (W3C) to subscribers, when traces are on."`

	AuditRetention time.Duration `env:"POSTHORN_AUDIT_RETENTION" default:"2160h" help:"How long entries of the audit log are kept."`
	MetricsToken   string        `env:"POSTHORN_METRICS_TOKEN" placeholder:"TOKEN" help:"Bearer token that GET /metrics asks for (default: none is needed)." secret:"all"`

	LogLevel  string `env:"POSTHORN_LOG_LEVEL" default:"info" enum:"debug,info,warn,error" help:"Least level that is logged: ${enum}."`
	LogFormat string `env:"POSTHORN_LOG_FORMAT" default:"auto" enum:"auto,text,json" help:"Format of the log: ${enum}; auto is text on a terminal and JSON elsewhere."`

	FailPoints string `env:"POSTHORN_FAILPOINTS" placeholder:"POINTS" help:"Breaks this process on purpose, in development only: points like record.before=kill@37 (docs/reliability.md)."`
}

// The roles of a node.
const (
	RoleAPI     = "api"
	RoleWorker  = "worker"
	RoleJanitor = "janitor"
)

// Has reports whether the node has a role.
func (s *Settings) Has(role string) bool { return slices.Contains(s.Roles, role) }

// Resolve fills the defaults that depend on other settings and refuses what cannot work.
func (s *Settings) Resolve() error {
	if s.DatabaseURL == "" {
		s.DatabaseURL = "sqlite://" + filepath.Join(s.DataDir, "posthorn.db")
		if filepath.IsAbs(s.DataDir) {
			s.DatabaseURL = "sqlite://" + filepath.ToSlash(filepath.Join(s.DataDir, "posthorn.db"))
		}
	}
	if s.Dev {
		s.AllowHTTP = true
		s.AllowPrivate = append(s.AllowPrivate, "127.0.0.0/8", "::1/128")
		if s.Host == "" {
			s.Host = "127.0.0.1"
		}
	}
	if s.AuditRetention == 0 {
		s.AuditRetention = 90 * 24 * time.Hour
	}
	return s.check()
}

func (s *Settings) check() error {
	var faults []error
	add := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if s.Postgres() == (s.SQLitePath() != "") {
		add("DATABASE_URL must be sqlite:///path or postgres://user:password@host/database")
	}
	if s.Postgres() && s.EncryptionKeys == "" {
		add("POSTHORN_ENCRYPTION_KEYS is required with PostgreSQL: set it to the same value on every node; make one with: openssl rand -base64 32")
	}
	if s.Retention < time.Hour || s.Retention > 10*365*24*time.Hour {
		add("POSTHORN_RETENTION must be from 1h to 87600h")
	}
	if span := posthorn.DefaultRetryPolicy().Span(); s.Retention >= time.Hour && s.Retention < span {
		add("POSTHORN_RETENTION of %s is shorter than the default retry policy, which takes up to %s", s.Retention, span)
	}
	if s.Hold < time.Hour {
		add("POSTHORN_HOLD must be at least 1h")
	}
	if s.AuditRetention < 24*time.Hour {
		add("POSTHORN_AUDIT_RETENTION must be at least 24h")
	}
	if s.MetricsToken != "" && len(s.MetricsToken) < 16 {
		add("POSTHORN_METRICS_TOKEN must be at least 16 characters; make one with: openssl rand -hex 24")
	}
	if s.DisableAfter < time.Hour {
		add("POSTHORN_DISABLE_AFTER must be at least 1h")
	}
	if s.CleanupEvery < time.Minute {
		add("POSTHORN_CLEANUP_EVERY must be at least 1m")
	}
	if s.MaxEventBytes < 1024 || s.MaxEventBytes > 16<<20 {
		add("POSTHORN_MAX_EVENT_BYTES must be from 1024 to 16777216")
	}
	if s.Port < 0 || s.Port > 65535 {
		add("PORT must be from 0 to 65535")
	}
	for _, list := range []struct {
		name  string
		value []string
	}{{"POSTHORN_ALLOW_PRIVATE", s.AllowPrivate}, {"POSTHORN_IP_ALLOWLIST", s.IPAllowlist}, {"POSTHORN_TRUSTED_PROXIES", s.TrustedProxies}} {
		if _, err := prefixes(list.value); err != nil {
			add("%s: %w", list.name, err)
		}
	}
	if _, err := s.PublishLimit(); err != nil {
		add("POSTHORN_RATE_LIMIT: %w", err)
	}
	if u, err := url.Parse(s.TracesURL()); err != nil || s.TracesURL() != "" && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		add("OTEL_EXPORTER_OTLP_ENDPOINT must be like http://collector:4318")
	}
	if s.FailPoints != "" && !s.Dev {
		add("POSTHORN_FAILPOINTS breaks the process on purpose and needs --dev")
	}
	if _, err := failpoint.Parse(s.FailPoints); err != nil {
		add("POSTHORN_FAILPOINTS: %w", err)
	}
	return errors.Join(faults...)
}

// Points are the parsed FailPoints, nil for none. Each call arms them anew.
func (s *Settings) Points() *failpoint.Points {
	p, _ := failpoint.Parse(s.FailPoints)
	return p
}

// Postgres reports whether the store is PostgreSQL.
func (s *Settings) Postgres() bool {
	return strings.HasPrefix(s.DatabaseURL, "postgres://") || strings.HasPrefix(s.DatabaseURL, "postgresql://")
}

// SQLitePath is the file of the embedded store, or "": sqlite:///var/lib/x.db is absolute, as is sqlite:////var/lib/x.db, which
// other programs want; sqlite://data/x.db is not.
func (s *Settings) SQLitePath() string {
	path, ok := strings.CutPrefix(s.DatabaseURL, "sqlite://")
	if !ok || path == "" {
		return ""
	}
	return filepath.Clean(filepath.FromSlash(path))
}

// PrivateNetworks are the parsed AllowPrivate.
func (s *Settings) PrivateNetworks() []netip.Prefix { return mustPrefixes(s.AllowPrivate) }

// Allowlist are the parsed IPAllowlist.
func (s *Settings) Allowlist() []netip.Prefix { return mustPrefixes(s.IPAllowlist) }

// Proxies are the parsed TrustedProxies.
func (s *Settings) Proxies() []netip.Prefix { return mustPrefixes(s.TrustedProxies) }

// prefixes reads networks; a bare address is a network of one.
func prefixes(list []string) ([]netip.Prefix, error) {
	var parsed []netip.Prefix
	for _, text := range list {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		p, err := posthorn.ParseNetwork(text)
		if err != nil {
			return nil, fmt.Errorf("%q is not a network like 10.0.0.0/8 or an address", text)
		}
		parsed = append(parsed, p)
	}
	return parsed, nil
}

// mustPrefixes is prefixes after check has seen the list.
func mustPrefixes(list []string) []netip.Prefix {
	parsed, _ := prefixes(list)
	return parsed
}

// PublishLimit is the parsed RateLimit, nil for none.
func (s *Settings) PublishLimit() (*posthorn.RateLimit, error) {
	if s.RateLimit == "" {
		return nil, nil
	}
	number, per, _ := strings.Cut(s.RateLimit, "/")
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > 1_000_000 || per != "second" && per != "minute" {
		return nil, errors.New("must be like 1000/second or 6000/minute")
	}
	return &posthorn.RateLimit{Limit: n, Per: per}, nil
}

// TracesURL is where spans go, or "" for nowhere. OpenTelemetry's own switches and its endpoint for traces alone win over
// the setting.
func (s *Settings) TracesURL() string {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return ""
	}
	if only := os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"); only != "" {
		return only
	}
	if s.TracesEndpoint == "" {
		return ""
	}
	return strings.TrimSuffix(s.TracesEndpoint, "/") + "/v1/traces"
}

// Keys are the encryption keys; for an embedded store that is not there yet they are generated beside its file.
func (s *Settings) Keys() (*seal.Keys, error) {
	text := s.EncryptionKeys
	if text == "" {
		var err error
		if text, err = generatedKey(s.KeyFile(), s.SQLitePath()); err != nil {
			return nil, fmt.Errorf("encryption key: %w", err)
		}
	}
	keys, err := seal.ParseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.KeysFrom(), err)
	}
	return keys, nil
}

// KeysFrom is where the keys come from, for messages: the variable or the file.
func (s *Settings) KeysFrom() string { return cmp.Or(s.KeyFile(), "POSTHORN_ENCRYPTION_KEYS") }

// KeyFile is where the keys of the embedded store are generated to; "" where they are given.
func (s *Settings) KeyFile() string {
	if s.EncryptionKeys != "" || s.SQLitePath() == "" {
		return ""
	}
	return filepath.Join(filepath.Dir(s.SQLitePath()), "encryption.key")
}

// generatedKey reads the key file, or makes it: readable by its owner only, never overwritten, and never there without its
// whole content on disk, as what it sealed would be lost with it. A file with nothing in it has sealed nothing. The database is
// made after it, so where there is one with content, its key was lost: another opens nothing of it, and would seal what the lost
// one does not open when it comes back.
func generatedKey(path, database string) (string, error) {
	text, err := os.ReadFile(path)
	if key := strings.TrimSpace(string(text)); err == nil && key != "" {
		return key, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	empty := err == nil
	if info, err := os.Stat(database); err == nil && info.Size() > 0 {
		return "", fmt.Errorf("%s is missing or empty, and the secrets in %s open only with it: put it back from a backup, or set "+
			"POSTHORN_ENCRYPTION_KEYS if the key was there. If it is lost for good, make one (openssl rand -base64 32 > %[1]s) and start with POSTHORN_LOST_KEYS=true",
			path, database)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	var key [32]byte
	_, _ = rand.Read(key[:])
	encoded := base64.StdEncoding.EncodeToString(key[:])
	f, err := os.CreateTemp(filepath.Dir(path), ".encryption.key-*") // of mode 0600
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(encoded + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", err
	}
	if empty {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	// A link, unlike a rename, does not take the place of what another process has made meanwhile.
	if err := os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) {
		return generatedKey(path, database)
	} else if err != nil {
		return "", err
	}
	return encoded, syncDirectory(filepath.Dir(path))
}

// syncDirectory makes what was added to a directory last.
func syncDirectory(path string) error {
	if runtime.GOOS == "windows" {
		return nil // it has no such thing
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
