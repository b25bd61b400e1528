package app

import (
	"runtime"

	"github.com/posthorn/posthorn/internal/api"
)

// shownSettings is the configuration in force, for those who may see it; config has masked its secrets.
func (a *App) shownSettings() api.Settings {
	s := a.settings
	shown := api.Settings{
		Store: "sqlite", Redis: s.RedisURL != "", Dev: s.Dev, Roles: s.Roles, Node: a.node,
		Runtime:   runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		Retention: s.Retention, CleanupEvery: s.CleanupEvery, Hold: s.Hold, DisableAfter: s.DisableAfter,
	}
	if s.Postgres() {
		shown.Store = "postgres"
	}
	for _, line := range s.Effective() {
		shown.Variables = append(shown.Variables, api.Variable{
			Name: line.Name, Value: line.Value, Description: line.Help, Changed: line.Changed,
		})
	}
	return shown
}
