package docs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/posthorn/posthorn/internal/client"
	"github.com/posthorn/posthorn/internal/client/clienttest"
	"github.com/posthorn/posthorn/internal/config"
)

const configurationIntroduction = `# Configuration

Written from the code by ` + "`go test ./docs -update`" + `: change the settings' own text in ` + "`internal/config`" + `.

Every setting is an environment variable and a flag of every command of a node; a flag wins. ` + "`posthorn config`" + ` prints what is in
force with secrets masked, and ` + "`posthorn doctor`" + ` looks whether it can work. [.env.example](../.env.example) is a file to start from:
copy it to ` + "`.env`" + `. Docker compose reads that; the program does not, so elsewhere load it first: ` + "`set -a; . ./.env; set +a`" + `. A variable
that begins with ` + "`POSTHORN_`" + ` and is no setting has no effect: the log names it at start, with the setting that was probably meant.

Lists are separated by commas. Times are written like ` + "`90s`, `30m`, `72h`" + `; networks like ` + "`10.0.0.0/8`" + `, or one address. Settings marked
🔒 are secrets: keep them in a secret store, not in an image. Every node of a cluster needs the same values, except ` + "`HOST`, `PORT`" + `,
` + "`POSTHORN_ROLES`, `POSTHORN_DATA_DIR`, `POSTHORN_LOG_LEVEL` and `POSTHORN_LOG_FORMAT`" + `.

## A node

`

const clientIntroduction = `
## The commands that talk to a server

%s.

`

const exitCodes = `
## Exit codes

| code | when |
|---|---|
| 0 | it was done; ` + "`serve`" + `: it was stopped by SIGTERM or SIGINT |
| 80 | the command line is wrong, or a setting is none of the words that it may be |
| 1 | anything else went wrong: a setting that cannot be read or does not work, a store out of reach at start, an answer that is an error |

Some commands answer by 1 what they were asked, too: ` + "`health`" + ` when the node is not ready, ` + "`doctor`" + ` when there is something to fix, ` + "`keys reseal`" + `
and its ` + "`--check`" + ` while a secret is under another key, ` + "`trigger --wait`" + ` unless every delivery of the event succeeded within the time (an event that
no subscription wants has none).
`

// TestConfiguration compares docs/configuration.md with the settings.
func TestConfiguration(t *testing.T) {
	want := configurationIntroduction + settingsTable(reflect.TypeFor[config.Settings]()) +
		fmt.Sprintf(clientIntroduction, clientCommands(t)) + settingsTable(reflect.TypeFor[client.Settings]()) + exitCodes
	path := filepath.Join(root, "docs/configuration.md")
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if is := read(t, "docs/configuration.md"); is != want {
		t.Error("docs/configuration.md is not what the settings say: run go test ./docs -update")
	}
}

// clientCommands are the commands that the program itself says talk to a running server.
func clientCommands(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary.Path(t), "--help")
	cmd.Env = clienttest.Environment(t.TempDir())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	_, group, found := strings.Cut(string(out), "\nCommands for a running server")
	if !found {
		t.Fatal("posthorn --help has no group of commands for a running server")
	}
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z]+) `).FindAllStringSubmatch(group, -1) {
		if !slices.Contains(names, m[1]) {
			names = append(names, m[1])
		}
	}
	return "`posthorn " + strings.Join(names, "`, `") + "`"
}

func settingsTable(settings reflect.Type) string {
	var b strings.Builder
	b.WriteString("| variable | flag | default | meaning |\n|---|---|---|---|\n")
	for f := range settings.Fields() {
		tag := f.Tag
		secret := ""
		if tag.Get("secret") != "" {
			secret = " 🔒"
		}
		value := "none"
		switch {
		case tag.Get("default") != "":
			value = "`" + tag.Get("default") + "`"
		case f.Type.Kind() == reflect.Bool:
			value = "`false`"
		case strings.Contains(tag.Get("help"), "(default:"):
			value = "see meaning"
		}
		help := strings.NewReplacer("${enum}", asCode(tag.Get("enum")), " (${default})", "", "|", "\\|").Replace(tag.Get("help"))
		fmt.Fprintf(&b, "| `%s`%s | `%s` | %s | %s |\n", tag.Get("env"), secret, flagOf(f), value, help)
	}
	return b.String()
}

// asCode is a list of values, each as code.
func asCode(list string) string {
	if list == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(list, ",", "`, `") + "`"
}

// flagOf is the flag that kong makes of a field's name: words at changes of case, with hyphens between.
func flagOf(f reflect.StructField) string {
	if name := f.Tag.Get("name"); name != "" {
		return "--" + name
	}
	var b strings.Builder
	runes := []rune(f.Name)
	for i, r := range runes {
		begins := i > 0 && unicode.IsUpper(r) && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]))
		if begins {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return "--" + b.String()
}
