package app_test

import (
	"encoding/json"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/posthorn/posthorn"

// rooms says which rooms each room may import, besides the root package and, of libraries, what libraries says.
// docs/architecture.md draws it.
var rooms = map[string][]string{
	"":                   {},
	"internal/signing":   {},
	"internal/seal":      {},
	"internal/egress":    {},
	"internal/telemetry": {},
	"internal/redis":     {},
	"internal/bus":       {"internal/redis"},
	"internal/cache":     {"internal/redis"},
	"internal/limit":     {"internal/redis"},
	"internal/sqlite":    {"internal/ride"},
	"internal/postgres":  {"internal/ride"},
	"internal/move":      {"internal/sqlite", "internal/postgres"},
	"internal/auth":      {},
	"internal/ingest":    {"internal/filter"},
	"internal/filter":    {},
	"internal/catalogue": {},
	"internal/inbound":   {"internal/signing"},
	"internal/janitor":   {},
	"internal/replay":    {},
	"internal/play":      {},
	"internal/ledger":    {},
	"internal/bench":     {"internal/signing"},
	"internal/oauth":     {"internal/egress"},
	"internal/delivery":  {"internal/signing", "internal/egress", "internal/oauth"},
	"internal/config":    {"internal/seal", "internal/failpoint"},
	"internal/failpoint": {},
	"internal/ride":      {},
	"internal/api":       {"internal/ingest", "internal/auth", "internal/signing", "internal/egress", "internal/filter", "internal/catalogue", "internal/inbound"},
	"internal/client":    {},
	"internal/console":   {"internal/client", "internal/inbound", "internal/signing"},
	"internal/doctor":    {"internal/config", "internal/egress", "internal/redis", "internal/sqlite", "internal/postgres"},
	"docs":               {},
	"deploy/grafana":     {},
	"web":                {},
	"deploy":             {},
	"cmd/posthorn":       {"internal/app", "internal/bench", "internal/client", "internal/config", "internal/console", "internal/doctor", "internal/telemetry"},
}

// mayImportAll are the rooms that put the others together; testOnly are imported by nothing but tests.
var (
	mayImportAll = []string{"internal/app"}
	testOnly     = []string{"internal/bubble", "internal/storetest", "internal/hooktest", "internal/simtest", "internal/clustertest", "internal/chaos", "internal/redis/redistest", "internal/client/clienttest"}
)

// libraries that belong to certain rooms alone.
var libraries = map[string][]string{
	"github.com/jackc/pgx/v5":       {"internal/postgres", "internal/doctor"},
	"modernc.org/sqlite":            {"internal/sqlite"},
	"github.com/redis/rueidis":      {"internal/redis", "internal/bus", "internal/cache", "internal/limit"},
	"github.com/danielgtaylor/huma": {"internal/api"},
	"github.com/alecthomas/kong":    {"cmd/posthorn"},
	"code.dny.dev/ssrf":             {"internal/egress"},
	"cel.dev":                       {"internal/filter"},
	"github.com/santhosh-tekuri":    {"internal/catalogue"},
	"github.com/prometheus":         {"internal/telemetry"},
	"go.opentelemetry.io":           {"internal/telemetry"},
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

func TestRoomsImportOnlyWhatTheyMay(t *testing.T) {
	for _, p := range listPackages(t) {
		room := roomOf(p.ImportPath)
		if slices.Contains(mayImportAll, room) || slices.Contains(testOnly, room) {
			continue
		}
		allowed, known := rooms[room]
		if !known {
			t.Errorf("%s is a room that the table does not know: decide what it may import", room)
			continue
		}
		for _, imported := range p.Imports {
			checkImport(t, room, imported, allowed)
		}
	}
}

func checkImport(t *testing.T, room, imported string, allowed []string) {
	t.Helper()
	for library, owners := range libraries {
		if strings.HasPrefix(imported, library) && !slices.Contains(owners, room) {
			t.Errorf("%s imports %s, which belongs to %v", room, imported, owners)
		}
	}
	if imported != module && !strings.HasPrefix(imported, module+"/") {
		return
	}
	to := roomOf(imported)
	free := to == "" || to == "internal/telemetry" || to == room
	if !free && !slices.Contains(allowed, to) {
		t.Errorf("%s imports %s; it may import %v", room, to, allowed)
	}
}

func roomOf(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}
