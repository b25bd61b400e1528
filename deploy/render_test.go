package deploy

import (
	"bytes"
	"encoding/base64"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/posthorn/posthorn/internal/auth"
	"github.com/posthorn/posthorn/internal/seal"
)

type blueprint struct {
	Services     []renderService `yaml:"services"`
	Databases    []renderService `yaml:"databases"`
	EnvVarGroups []renderService `yaml:"envVarGroups"`
}

type renderService struct {
	Type            string           `yaml:"type"`
	Name            string           `yaml:"name"`
	Runtime         string           `yaml:"runtime"`
	Region          string           `yaml:"region"`
	Plan            string           `yaml:"plan"`
	Instances       int              `yaml:"numInstances"`
	ShutdownDelay   int              `yaml:"maxShutdownDelaySeconds"`
	MaxMemoryPolicy string           `yaml:"maxmemoryPolicy"`
	PostgresVersion string           `yaml:"postgresMajorVersion"`
	DatabaseName    string           `yaml:"databaseName"`
	User            string           `yaml:"user"`
	HealthCheckPath string           `yaml:"healthCheckPath"`
	IPAllowList     []any            `yaml:"ipAllowList"`
	EnvVars         []renderVariable `yaml:"envVars"`
}

type renderVariable struct {
	Key, Value    string
	GenerateValue bool             `yaml:"generateValue"`
	FromGroup     string           `yaml:"fromGroup"`
	FromDatabase  *renderReference `yaml:"fromDatabase"`
	FromService   *renderReference `yaml:"fromService"`
}

type renderReference struct{ Type, Name, Property string }

func (b *blueprint) service(kind string) *renderService {
	for i := range b.Services {
		if b.Services[i].Type == kind {
			return &b.Services[i]
		}
	}
	return &renderService{}
}

// readBlueprint refuses fields that Render has no meaning for, as far as the blueprint above knows them.
func readBlueprint(t *testing.T) blueprint {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader(read(t, "render.yaml")))
	d.KnownFields(true)
	var b blueprint
	if err := d.Decode(&b); err != nil {
		t.Fatalf("render.yaml: %v", err)
	}
	return b
}

func TestRender(t *testing.T) {
	b := readBlueprint(t)
	web, worker, cache := b.service("web"), b.service("worker"), b.service("keyvalue")
	if web.Runtime != "docker" || worker.Runtime != "docker" {
		t.Errorf("the nodes run on %q and %q, want docker", web.Runtime, worker.Runtime)
	}
	if web.HealthCheckPath != "/health/ready" {
		t.Errorf("the health check is %q", web.HealthCheckPath)
	}
	if cache.IPAllowList == nil || len(b.Databases) != 1 || b.Databases[0].IPAllowList == nil {
		t.Error("the stores' ipAllowList must be there, and empty: without it the whole internet is allowed")
	}
	variables := map[string][]renderVariable{"web": web.EnvVars, "worker": worker.EnvVars}
	for node, list := range variables {
		for _, key := range []string{"POSTHORN_ROLES", "DATABASE_URL", "REDIS_URL"} {
			if !slices.ContainsFunc(list, func(v renderVariable) bool { return v.Key == key }) {
				t.Errorf("%s lacks %s", node, key)
			}
		}
		for _, v := range list {
			b.checkReference(t, v)
		}
	}
	checkRoles(t, web.EnvVars[0].Value, worker.EnvVars[0].Value)
}

// checkReference wants a variable's source in the same blueprint.
func (b *blueprint) checkReference(t *testing.T, v renderVariable) {
	t.Helper()
	named := func(name string) func(renderService) bool {
		return func(s renderService) bool { return s.Name == name }
	}
	switch {
	case v.FromGroup != "" && !slices.ContainsFunc(b.EnvVarGroups, named(v.FromGroup)):
		t.Errorf("no group %s", v.FromGroup)
	case v.FromDatabase != nil && !slices.ContainsFunc(b.Databases, named(v.FromDatabase.Name)):
		t.Errorf("%s: no database %s", v.Key, v.FromDatabase.Name)
	case v.FromService != nil && b.service(v.FromService.Type).Name != v.FromService.Name:
		t.Errorf("%s: no %s %s", v.Key, v.FromService.Type, v.FromService.Name)
	}
}

// TestRenderSecrets takes a value as Render generates it, the base64 of 256 bits, for every secret it is to generate.
func TestRenderSecrets(t *testing.T) {
	generated := base64.StdEncoding.EncodeToString([]byte("\xfb\xff" + "thirty more bytes of a secret.")) // + and / are in it
	checks := map[string]func() bool{
		"POSTHORN_API_KEY":         func() bool { return auth.CheckKey(generated) == "" },
		"POSTHORN_ENCRYPTION_KEYS": func() bool { _, err := seal.ParseKeys(generated); return err == nil },
		"POSTHORN_METRICS_TOKEN":   func() bool { return len(generated) >= 16 },
	}
	for _, v := range readBlueprint(t).EnvVarGroups[0].EnvVars {
		if check, secret := checks[v.Key]; secret {
			if !v.GenerateValue || v.Value != "" || !check() {
				t.Errorf("%s: a generated value would not do, or is not generated", v.Key)
			}
			delete(checks, v.Key)
		}
	}
	for key := range checks {
		t.Errorf("%s is not in the group", key)
	}
}
