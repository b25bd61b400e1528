package doctor

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/postgres"
	"github.com/posthorn/posthorn/internal/redis/redistest"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/sqlite"
	"github.com/posthorn/posthorn/internal/storetest"
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

// openEmbedded opens the store in the settings' directory, and gives its file.
func openEmbedded(t *testing.T, s *config.Settings) (*sqlite.Store, string) {
	t.Helper()
	r := *s
	if err := r.Resolve(); err != nil {
		t.Fatal(err)
	}
	keys, err := r.Keys()
	if err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(t.Context(), sqlite.Options{Path: r.SQLitePath(), Sealer: keys})
	if err != nil {
		t.Fatal(err)
	}
	return store, r.SQLitePath()
}

// embedded is a store of one subscription in the settings' directory, and closed.
func embedded(t *testing.T, s *config.Settings) string {
	t.Helper()
	store, path := openEmbedded(t, s)
	subscribe(t, store)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func subscribe(t *testing.T, store posthorn.Store) {
	t.Helper()
	f := storetest.NewFixture(t, store)
	f.Subscribe()
}

// TestEmbeddedStore looks into a store's file, and leaves everything as it was.
func TestEmbeddedStore(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *testing.T, s *config.Settings, path string)
		about  string
		level  Level
		text   string
	}{
		{"Good", func(*testing.T, *config.Settings, string) {}, "database", OK, "0 MiB"},
		{"NoKey", func(t *testing.T, _ *config.Settings, path string) {
			remove(t, filepath.Join(filepath.Dir(path), "encryption.key"))
		}, keysAbout, Failure, "is missing"},
		{"OtherKey", func(t *testing.T, _ *config.Settings, path string) {
			write(t, filepath.Join(filepath.Dir(path), "encryption.key"), []byte(key))
		}, keysAbout, Failure, "1 of 1"},
		{"OtherKeySet", func(_ *testing.T, s *config.Settings, _ string) { s.EncryptionKeys = key }, keysAbout, Failure, "POSTHORN_ENCRYPTION_KEYS 1 of 1"},
		{"Damaged", func(t *testing.T, _ *config.Settings, path string) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			write(t, path, append(text[:len(text)/2:len(text)/2], make([]byte, len(text)/2)...))
		}, "database", Failure, "damaged"},
		{"CutShort", func(t *testing.T, _ *config.Settings, path string) {
			if err := os.Truncate(path, 40_000); err != nil {
				t.Fatal(err)
			}
		}, "database", Failure, "damaged"},
		{"Newer", func(t *testing.T, _ *config.Settings, path string) {
			schema(t, path, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)`)
		}, "database", Failure, "schema 999"},
		{"Older", func(t *testing.T, _ *config.Settings, path string) {
			schema(t, path, `DELETE FROM goose_db_version WHERE version_id > 9`)
		}, "database", OK, "schema 9, which the next start brings"},
		{"Moved", func(t *testing.T, _ *config.Settings, path string) {
			if err := os.Rename(path, path+".moved"); err != nil {
				t.Fatal(err)
			}
		}, "database", Failure, "moved to PostgreSQL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := settings(t)
			path := embedded(t, s)
			c.change(t, s, path)
			before := listed(t, filepath.Dir(path))
			is := worst(Examine(t.Context(), Options{Settings: s, Reach: page(t, 0)}), c.about)
			if is.Level != c.level || !strings.Contains(is.Text, c.text) {
				t.Errorf("about %s: %+v, want %s and %q", c.about, is, c.level, c.text)
			}
			if after := listed(t, filepath.Dir(path)); after != before {
				t.Errorf("the directory holds %s, and held %s", after, before)
			}
		})
	}
}

// TestEmbeddedStoreServed looks beside the node that has the file.
func TestEmbeddedStoreServed(t *testing.T) {
	s := settings(t)
	store, _ := openEmbedded(t, s)
	f := storetest.NewFixture(t, store)
	f.Subscribe()
	if is := worst(Examine(t.Context(), Options{Settings: s, Reach: page(t, 0)}), "database"); is.Level != OK || strings.Contains(is.Text, "too large") {
		t.Errorf("%+v", is)
	}
	f.Subscribe()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

func listed(t *testing.T, dir string) (text string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range list {
		text += " " + entry.Name()
	}
	return text
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func schema(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPostgresSecrets holds the keys against the store in the database.
func TestPostgresSecrets(t *testing.T) {
	name := fmt.Sprintf("posthorn_doctor_%x", posthorn.NewUUID(time.Now()))
	administer(t, "CREATE DATABASE "+name)
	t.Cleanup(func() { administer(t, "DROP DATABASE "+name+" WITH (FORCE)") })
	s := settings(t)
	s.DatabaseURL, s.EncryptionKeys = other(t, name), key
	keys, err := s.Keys()
	if err != nil {
		t.Fatal(err)
	}
	secrets := func(want string) {
		t.Helper()
		r := *s
		if is := worst(Examine(t.Context(), Options{Settings: &r, Reach: page(t, 0)}), keysAbout); is.Text != want {
			t.Errorf("%+v, want %q", is, want)
		}
	}
	secrets("")
	store, err := postgres.Open(t.Context(), postgres.Options{URL: s.DatabaseURL, Sealer: keys, MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	subscribe(t, store)
	secrets("")
	s.EncryptionKeys = seal.Generate()
	secrets("with the keys of POSTHORN_ENCRYPTION_KEYS 1 of 1 secrets looked at do not open")
}

func administer(t *testing.T, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, postgresURL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatal(err)
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
