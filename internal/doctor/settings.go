package doctor

import (
	"strings"

	"github.com/posthorn/posthorn/internal/config"
)

// known are values that stand in files anybody can read: docker-compose.yml.
var known = []string{"phk_development_key_known_to_everybody", "UE9TVEhPUk4tREVWRUxPUE1FTlQtS0VZLVVOU0FGRSE="}

// examineSettings resolves the settings as a start does.
func examineSettings(s *config.Settings) []Finding {
	const about = "configuration"
	var all []Finding
	for _, u := range config.Unknown() {
		all = append(all, warn(about, u.String(), "correct its name or unset it: it has no effect"))
	}
	if err := s.Resolve(); err != nil {
		for line := range strings.Lines(err.Error()) {
			all = append(all, fail(about, strings.TrimSpace(line), "docs/configuration.md has every setting; posthorn config shows what is in force"))
		}
		return all
	}
	for _, value := range known {
		if s.APIKey == value || strings.Contains(s.EncryptionKeys, value) {
			all = append(all, warn(about, "a development key that everybody knows is in use",
				"make your own: POSTHORN_API_KEY=phk_$(openssl rand -hex 32), POSTHORN_ENCRYPTION_KEYS=$(openssl rand -base64 32)"))
			break
		}
	}
	if s.EncryptionKeys != "" {
		if _, err := s.Keys(); err != nil {
			all = append(all, fail(about, err.Error(), "make a key with: openssl rand -base64 32"))
		}
	}
	if s.Postgres() && s.RedisURL == "" {
		all = append(all, warn(about, "REDIS_URL is not set: with several nodes, new deliveries may wait a second for a poll, and rate limits are split by the number of workers",
			"set REDIS_URL, unless this is the only node"))
	}
	if s.Dev && s.Postgres() {
		all = append(all, warn(about, "POSTHORN_DEV listens on loopback only and lets subscriptions reach this machine", "leave it out in production"))
	}
	if len(all) == 0 {
		store := "SQLite"
		if s.Postgres() {
			store = "PostgreSQL"
		}
		all = append(all, fine(about, "%s, roles %s, retention %s", store, strings.Join(s.Roles, ","), s.Retention))
	}
	return all
}
