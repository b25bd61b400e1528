package deploy

import (
	"regexp"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/auth"
	"github.com/posthorn/posthorn/internal/seal"
)

type compose struct {
	Services map[string]composeService `yaml:"services"`
	Volumes  map[string]any            `yaml:"volumes"`
}

type composeService struct {
	ContainerName string                       `yaml:"container_name"`
	Environment   map[string]string            `yaml:"environment"`
	Ports         []string                     `yaml:"ports"`
	Volumes       []string                     `yaml:"volumes"`
	DependsOn     map[string]map[string]string `yaml:"depends_on"`
	Healthcheck   map[string]any               `yaml:"healthcheck"`
	ReadOnly      bool                         `yaml:"read_only"`
	Build         any                          `yaml:"build"`
}

var substitution = regexp.MustCompile(`\$\{[A-Z_]+:-([^}]*)\}`)

// setting is a variable of a service as it is without a .env.
func (s composeService) setting(name string) string {
	return substitution.ReplaceAllString(s.Environment[name], "$1")
}

func TestCompose(t *testing.T) {
	file := document[compose](t, "docker-compose.yml")
	for name, ports := range map[string]string{
		"api": "127.0.0.1:8000:8000", "dashboard": "127.0.0.1:5173:5173", "worker": "", "postgres": "", "redis": "",
	} {
		s, ok := file.Services[name]
		if !ok {
			t.Fatalf("no service %s", name)
		}
		if got := strings.Join(s.Ports, " "); got != ports {
			t.Errorf("%s publishes %q, want %q", name, got, ports)
		}
		// The nodes' health check is the image's.
		if s.Build == nil && s.Healthcheck["test"] == nil {
			t.Errorf("%s has no health check", name)
		}
		if s.ContainerName != "" {
			t.Errorf("%s cannot be scaled: it has a container name", name)
		}
		for other, how := range s.DependsOn {
			if _, ok := file.Services[other]; !ok || how["condition"] != "service_healthy" {
				t.Errorf("%s depends on %s %v", name, other, how)
			}
		}
	}
	for _, name := range []string{"postgres", "redis"} {
		volume, _, _ := strings.Cut(strings.Join(file.Services[name].Volumes, " "), ":")
		if _, ok := file.Volumes[volume]; !ok {
			t.Errorf("%s keeps its data in %q, which is no volume", name, volume)
		}
	}
}

func TestComposeNodes(t *testing.T) {
	services := document[compose](t, "docker-compose.yml").Services
	api, worker := services["api"], services["worker"]
	checkRoles(t, api.setting("POSTHORN_ROLES"), worker.setting("POSTHORN_ROLES"))
	for _, name := range []string{"DATABASE_URL", "REDIS_URL", "POSTHORN_ENCRYPTION_KEYS", "POSTHORN_ALLOW_PRIVATE"} {
		if a, w := api.setting(name), worker.setting(name); a == "" || a != w {
			t.Errorf("%s is %q on the API and %q on the worker", name, a, w)
		}
	}
	if fault := auth.CheckKey(api.setting("POSTHORN_API_KEY")); fault != "" {
		t.Errorf("POSTHORN_API_KEY %s", fault)
	}
	if _, err := seal.ParseKeys(api.setting("POSTHORN_ENCRYPTION_KEYS")); err != nil {
		t.Error(err)
	}
	if !api.ReadOnly || !worker.ReadOnly {
		t.Error("a node can write to its image")
	}
}
