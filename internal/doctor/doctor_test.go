package doctor

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/redis/redistest"
)

const key = "cG9zdGhvcm4tZG9jdG9yLXRlc3Qta2V5LTAwMDAwMDA="

// settings are those of a healthy node in development, over a directory of its own.
func settings(t *testing.T) *config.Settings {
	t.Helper()
	return &config.Settings{
		DataDir: t.TempDir(), Port: 8000, Roles: []string{"api"}, Retention: 72 * time.Hour, CleanupEvery: 12 * time.Hour,
		Hold: 720 * time.Hour, DisableAfter: 120 * time.Hour, MaxEventBytes: 262144, Dev: true,
	}
}

// page is a server to reach, whose clock is ahead of the machine's.
func page(t *testing.T, ahead time.Duration) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func postgresURL(t *testing.T) string {
	t.Helper()
	text := os.Getenv("TEST_DATABASE_URL")
	if text == "" {
		t.Fatal("TEST_DATABASE_URL is not set: `make test` starts a PostgreSQL and sets it")
	}
	return text
}

// worst is the worst finding about something.
func worst(findings []Finding, about string) Finding {
	var is Finding
	rank := map[Level]int{"": 0, OK: 1, Warning: 2, Failure: 3}
	for _, f := range findings {
		if f.About == about && rank[f.Level] > rank[is.Level] {
			is = f
		}
	}
	return is
}

func TestExamine(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *testing.T, s *config.Settings)
		ahead  time.Duration
		about  string
		level  Level
		text   string
	}{
		{"Healthy", nil, 0, "clock", OK, "within"},
		{"Directory", nil, 0, "data directory", OK, "GiB free"},
		{"NewFile", nil, 0, "database", OK, "first start makes it"},
		{"BadSetting", func(_ *testing.T, s *config.Settings) { s.RateLimit = "many" }, 0, "configuration", Failure, "POSTHORN_RATE_LIMIT"},
		{"KnownKey", func(_ *testing.T, s *config.Settings) { s.APIKey = known[0] }, 0, "configuration", Warning, "everybody knows"},
		{"BadKey", func(_ *testing.T, s *config.Settings) { s.EncryptionKeys = "short" }, 0, "configuration", Failure, "POSTHORN_ENCRYPTION_KEYS"},
		{"NoDirectory", func(t *testing.T, s *config.Settings) { s.DataDir = file(t, "x") }, 0, "data directory", Failure, "no directory"},
		{"NoDatabase", func(t *testing.T, s *config.Settings) { s.DatabaseURL = "sqlite://" + file(t, "not a database at all") }, 0, "database", Failure, "no SQLite"},
		{"ClockOff", nil, time.Minute, "clock", Warning, "behind"},
		{"ClockWrong", nil, -time.Hour, "clock", Failure, "ahead"},
		{"NoRedis", func(_ *testing.T, s *config.Settings) { s.RedisURL = "redis://127.0.0.1:1" }, 0, "redis", Warning, "does not answer"},
		{"BadRedis", func(_ *testing.T, s *config.Settings) { s.RedisURL = "http://x" }, 0, "redis", Failure, "REDIS_URL"},
		{"Redis", func(t *testing.T, s *config.Settings) { s.RedisURL = redistest.URL(t) }, 0, "redis", OK, "a ping takes"},
		{"Postgres", func(t *testing.T, s *config.Settings) { s.DatabaseURL = postgresURL(t) }, 0, "database", OK, "PostgreSQL"},
		{"NoPostgres", func(_ *testing.T, s *config.Settings) { s.DatabaseURL = "postgres://u:s3cret@127.0.0.1:1/x" }, 0, "database", Failure, "cannot be used"},
		{"NoSuchDatabase", func(t *testing.T, s *config.Settings) { s.DatabaseURL = other(t, "absent") }, 0, "database", Failure, "absent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := settings(t)
			if c.change != nil {
				c.change(t, s)
			}
			if strings.HasPrefix(s.DatabaseURL, "postgres") {
				s.EncryptionKeys = key
			}
			findings := Examine(t.Context(), Options{Settings: s, Reach: page(t, c.ahead)})
			is := worst(findings, c.about)
			if is.Level != c.level || !strings.Contains(is.Text, c.text) {
				t.Errorf("about %s: %+v, want %s and %q", c.about, is, c.level, c.text)
			}
			if (is.Fix == "") != (is.Level == OK) {
				t.Errorf("%s has the fix %q", is.Level, is.Fix)
			}
			var out bytes.Buffer
			if Print(&out, findings) != (worstOf(findings) != Failure) || strings.Contains(out.String(), "s3cret") {
				t.Errorf("printed\n%s", &out)
			}
		})
	}
}

func worstOf(findings []Finding) Level {
	for _, f := range findings {
		if f.Level == Failure {
			return Failure
		}
	}
	return OK
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// other is the test server's URL with another database.
func other(t *testing.T, database string) string {
	t.Helper()
	u, err := url.Parse(postgresURL(t))
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + database
	return u.String()
}

// TestServerJudged walks over what a PostgreSQL may say of itself.
// TestMisspeltVariable names it, and not what it holds.
func TestMisspeltVariable(t *testing.T) {
	t.Setenv("POSTHORN_ENCRYPTION_KEY", key)
	found := examineSettings(settings(t))
	if f := worst(found, "configuration"); f.Level != Warning || !strings.Contains(f.Text, "did you mean POSTHORN_ENCRYPTION_KEYS?") || strings.Contains(f.Text+f.Fix, key) {
		t.Errorf("found %+v", found)
	}
}

func TestServerJudged(t *testing.T) {
	good := server{number: 160000, create: true, fsync: "on", commit: "on", pages: "on", most: 100, used: 3, tls: true, migrated: true}
	for _, c := range []struct {
		name   string
		change func(*server)
		level  Level
		text   string
	}{
		{"Good", func(*server) {}, "", ""},
		{"Old", func(s *server) { s.number = 130000 }, Failure, "too old"},
		{"Standby", func(s *server) { s.recovery = true }, Failure, "standby"},
		{"Rights", func(s *server) { s.create = false }, Failure, "create tables"},
		{"Fsync", func(s *server) { s.fsync = "off" }, Failure, "fsync"},
		{"Commit", func(s *server) { s.commit = "off" }, Failure, "synchronous_commit"},
		{"Pages", func(s *server) { s.pages = "off" }, Warning, "full_page_writes"},
		{"Full", func(s *server) { s.used = 90 }, Warning, "90 of 100"},
		{"Plain", func(s *server) { s.tls = false }, Warning, "not encrypted"},
		{"Empty", func(s *server) { s.migrated = false }, OK, "not there yet"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := good
			c.change(&s)
			is := worst(s.judge("db.example.com"), "database")
			if is.Level != c.level || !strings.Contains(is.Text, c.text) {
				t.Errorf("%+v, want %s and %q", is, c.level, c.text)
			}
		})
	}
}

func TestEgressIsJudged(t *testing.T) {
	s := settings(t)
	s.Dev = false
	findings := Examine(t.Context(), Options{Settings: s, Reach: page(t, 0)})
	if is := worst(findings, "egress"); is.Level != Failure || !strings.Contains(is.Fix, "POSTHORN_ALLOW_PRIVATE") {
		t.Errorf("a private address without leave: %+v", is)
	}
}
