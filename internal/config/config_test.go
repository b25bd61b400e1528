package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/config"
)

func defaults() *config.Settings {
	return &config.Settings{
		DataDir: "data", Port: 8000, Roles: []string{"api"}, Retention: 72 * time.Hour, CleanupEvery: 12 * time.Hour,
		Hold: 720 * time.Hour, DisableAfter: 120 * time.Hour, MaxEventBytes: 262144,
	}
}

// variables are the names of all settings' variables, by the struct that defines them.
func variables() []string {
	var names []string
	for f := range reflect.TypeFor[config.Settings]().Fields() {
		names = append(names, f.Tag.Get("env"))
	}
	return names
}

func TestExampleNamesEveryVariableAndNoOther(t *testing.T) {
	text, err := os.ReadFile("../../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	for _, m := range regexp.MustCompile(`(?m)^([A-Z_]+)=`).FindAllStringSubmatch(string(text), -1) {
		named = append(named, m[1])
	}
	want := variables()
	slices.Sort(want)
	slices.Sort(named)
	if !slices.Equal(want, named) {
		t.Errorf(".env.example names\n%v\nthe settings are\n%v", named, want)
	}
}

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*config.Settings)
		fault  string
	}{
		{"Defaults", func(*config.Settings) {}, ""},
		{"SQLite", func(s *config.Settings) { s.DatabaseURL = "sqlite:///var/lib/posthorn.db" }, ""},
		{"OtherDatabase", func(s *config.Settings) { s.DatabaseURL = "mysql://x" }, "DATABASE_URL"},
		{"PostgresWithoutKeys", func(s *config.Settings) { s.DatabaseURL = "postgres://x/y" }, "POSTHORN_ENCRYPTION_KEYS"},
		{"RetentionBelowRetries", func(s *config.Settings) { s.Retention = 24 * time.Hour }, "POSTHORN_RETENTION"},
		{"BadNetwork", func(s *config.Settings) { s.AllowPrivate = []string{"10.0.0.0/99"} }, "POSTHORN_ALLOW_PRIVATE"},
		{"BadRate", func(s *config.Settings) { s.RateLimit = "10/day" }, "POSTHORN_RATE_LIMIT"},
		{"BadPort", func(s *config.Settings) { s.Port = 70000 }, "PORT"},
		{"FailPointsOutsideDevelopment", func(s *config.Settings) { s.FailPoints = "record.before=kill" }, "needs --dev"},
		{"FailPoints", func(s *config.Settings) { s.Dev, s.FailPoints = true, "record.before=kill" }, ""},
		{"BadFailPoint", func(s *config.Settings) { s.Dev, s.FailPoints = true, "nowhere=kill" }, "POSTHORN_FAILPOINTS"},
		{"SmallEvents", func(s *config.Settings) { s.MaxEventBytes = 1 }, "POSTHORN_MAX_EVENT_BYTES"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := defaults()
			c.change(s)
			err := s.Resolve()
			if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
				t.Errorf("Resolve() = %v, want an error about %q", err, c.fault)
			}
		})
	}
}

func TestDevelopmentListensOnLoopbackOnly(t *testing.T) {
	s := defaults()
	s.Dev = true
	if err := s.Resolve(); err != nil {
		t.Fatal(err)
	}
	if s.Host != "127.0.0.1" || !s.AllowHTTP || len(s.PrivateNetworks()) != 2 {
		t.Errorf("host %q, http %v, private %v", s.Host, s.AllowHTTP, s.PrivateNetworks())
	}
}

func TestEffectiveShowsNoSecret(t *testing.T) {
	const canary = "c4n4ry"
	s := defaults()
	s.DatabaseURL = "postgres://user:" + canary + "@host/db?sslpassword=" + canary
	s.RedisURL = "redis://:" + canary + "@host"
	s.APIKey, s.EncryptionKeys = canary, canary
	for _, line := range s.Effective() {
		if strings.Contains(line.Value, canary) {
			t.Errorf("%s shows %q", line.Name, line.Value)
		}
	}
}

func TestEffectiveSaysWhatWasChanged(t *testing.T) {
	s := defaults()
	s.Retention, s.AllowPrivate = time.Hour, []string{"10.0.0.0/8"}
	s.Hold, s.MaxEventBytes = 720*time.Hour, 262144
	want := map[string]bool{
		"POSTHORN_RETENTION": true, "POSTHORN_ALLOW_PRIVATE": true, "POSTHORN_HOLD": false, "POSTHORN_MAX_EVENT_BYTES": false, "HOST": false,
	}
	for _, line := range s.Effective() {
		if changed, ok := want[line.Name]; ok && line.Changed != changed {
			t.Errorf("%s = %q: changed is %v", line.Name, line.Value, line.Changed)
		}
		if line.Help == "" || strings.Contains(line.Help, "${") {
			t.Errorf("%s is described as %q", line.Name, line.Help)
		}
	}
}

func TestGeneratedKeyIsKept(t *testing.T) {
	s := defaults()
	s.DataDir = filepath.Join(t.TempDir(), "new")
	if err := s.Resolve(); err != nil {
		t.Fatal(err)
	}
	first, err := s.Keys()
	if err != nil {
		t.Fatal(err)
	}
	sealed := first.Seal([]byte("x"), "bind")
	second, err := s.Keys()
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := second.Open(sealed, "bind"); err != nil || string(opened) != "x" {
		t.Errorf("a second start opens %q, %v", opened, err)
	}
	info, err := os.Stat(filepath.Join(s.DataDir, "encryption.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info, err)
	}
}

// TestKeyFileWithNothingInItIsMadeAgain is what a process left that was killed while it made its key.
func TestKeyFileWithNothingInItIsMadeAgain(t *testing.T) {
	s := defaults()
	s.DataDir = t.TempDir()
	if err := os.WriteFile(filepath.Join(s.DataDir, "encryption.key"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Resolve(); err != nil {
		t.Fatal(err)
	}
	first, err := s.Keys()
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Keys()
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := second.Open(first.Seal([]byte("x"), "bind"), "bind"); err != nil || string(opened) != "x" {
		t.Errorf("a second start opens %q, %v", opened, err)
	}
	left, err := os.ReadDir(s.DataDir)
	if err != nil || len(left) != 1 {
		t.Errorf("the directory holds %v, %v", left, err)
	}
}

// TestLostKeyIsNotReplaced: beside a database that has content another key would seal what the lost one does not open.
func TestLostKeyIsNotReplaced(t *testing.T) {
	for name, lose := range map[string]func(string) error{
		"Removed": os.Remove,
		"Emptied": func(file string) error { return os.WriteFile(file, nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := defaults(), t.TempDir()
			s.DatabaseURL = "sqlite://" + filepath.Join(dir, "elsewhere", "x.db")
			if err := s.Resolve(); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Keys(); err != nil {
				t.Fatal(err)
			}
			// A start that was broken off before anything was in the file.
			if err := os.WriteFile(s.SQLitePath(), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := lose(s.KeyFile()); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Keys(); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(s.SQLitePath(), []byte("SQLite format 3"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := lose(s.KeyFile()); err != nil {
				t.Fatal(err)
			}
			_, err := s.Keys()
			if err == nil || !strings.Contains(err.Error(), s.KeyFile()) || !strings.Contains(err.Error(), s.SQLitePath()) {
				t.Errorf("without its key the store opens with %v", err)
			}
			if text, _ := os.ReadFile(s.KeyFile()); len(text) > 0 {
				t.Errorf("a key was made")
			}
		})
	}
}

func TestSQLitePath(t *testing.T) {
	for url, want := range map[string]string{
		"sqlite:///var/lib/x.db":  "/var/lib/x.db",
		"sqlite:////var/lib/x.db": "/var/lib/x.db",
		"sqlite://data/x.db":      "data/x.db",
		"sqlite://x.db":           "x.db",
		"sqlite://":               "",
		"postgres://host/x":       "",
	} {
		s := config.Settings{DatabaseURL: url}
		if got := s.SQLitePath(); got != filepath.FromSlash(want) {
			t.Errorf("%s is the file %q, want %q", url, got, want)
		}
	}
}
