package docs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/client/clienttest"
	"github.com/posthorn/posthorn/internal/signing"
)

// verifying is the document with a sample in each language.
const verifying = "docs/verifying-signatures.md"

// delivery is one that a sample must judge.
type delivery struct {
	Name    string            `json:"name"`
	Secret  string            `json:"secret"`
	Headers map[string]string `json:"headers"`
	Body    []byte            `json:"body"`
	Genuine bool              `json:"genuine"`
}

// deliveriesToVerify are signed by the product's own code, then spoilt.
func deliveriesToVerify(t *testing.T) []delivery {
	t.Helper()
	key, old, foreign := signing.GenerateHMAC(), signing.GenerateHMAC(), signing.GenerateHMAC()
	body := []byte("{\"name\": \"Zoë\",  \"id\": 1}\n\x00\xff")
	now := time.Now()
	signed := func(name string, genuine bool, at time.Time, change func(*delivery), keys ...*signing.Key) delivery {
		const id = "evt_06f1kz9qj4v3g7c8n2m5x0y1za"
		d := delivery{name, key.Secret().Reveal(), map[string]string{
			signing.HeaderID: id, signing.HeaderTimestamp: strconv.FormatInt(at.Unix(), 10),
			signing.HeaderSignature: signing.Sign(id, at, body, keys...),
		}, body, genuine}
		if change != nil {
			change(&d)
		}
		return d
	}
	return []delivery{
		signed("Genuine", true, now, nil, key),
		signed("Rotated", true, now, nil, foreign, old, key),
		signed("Empty", true, now, func(d *delivery) {
			d.Body, d.Headers[signing.HeaderSignature] = nil, signing.Sign(d.Headers[signing.HeaderID], now, nil, key)
		}, key),
		signed("ForeignSecret", false, now, nil, foreign),
		signed("AlteredBody", false, now, func(d *delivery) { d.Body = append([]byte(" "), body...) }, key),
		signed("AlteredID", false, now, func(d *delivery) { d.Headers[signing.HeaderID] = "evt_other" }, key),
		signed("AlteredTime", false, now, func(d *delivery) {
			d.Headers[signing.HeaderTimestamp] = strconv.FormatInt(now.Unix()+1, 10)
		}, key),
		signed("Old", false, now.Add(-10*time.Minute), nil, key),
		signed("Ahead", false, now.Add(10*time.Minute), nil, key),
		signed("NoTime", false, now, func(d *delivery) { delete(d.Headers, signing.HeaderTimestamp) }, key),
		signed("NoSignature", false, now, func(d *delivery) { delete(d.Headers, signing.HeaderSignature) }, key),
		signed("OtherVersion", false, now, func(d *delivery) {
			d.Headers[signing.HeaderSignature] = "v2" + strings.TrimPrefix(d.Headers[signing.HeaderSignature], "v1")
		}, key),
		signed("Prefix", false, now, func(d *delivery) {
			d.Headers[signing.HeaderSignature] = d.Headers[signing.HeaderSignature][:20]
		}, key),
	}
}

// The drivers read the deliveries from the standard input and print one verdict a line: true or false.
const (
	goDriver = `package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	"sample/webhook"
)

func main() {
	var all []struct {
		Secret  string
		Headers map[string]string
		Body    []byte
	}
	if err := json.NewDecoder(os.Stdin).Decode(&all); err != nil {
		panic(err)
	}
	for _, d := range all {
		header := http.Header{}
		for name, value := range d.Headers {
			header.Set(name, value)
		}
		fmt.Println(webhook.Verify(d.Secret, header, d.Body) == nil)
	}
}
`
	pythonDriver = `
import json, sys
for d in json.load(sys.stdin):
    print(str(verify(d["secret"], d["headers"], base64.b64decode(d["body"] or ""))).lower())
`
	nodeDriver = `
import { readFileSync } from "node:fs";
for (const d of JSON.parse(readFileSync(0, "utf8"))) console.log(verify(d.secret, d.headers, Buffer.from(d.body ?? "", "base64")));
`
	rubyDriver = `
require "json"
JSON.parse($stdin.read).each { |d| puts verify(d["secret"], d["headers"], d["body"].to_s.unpack1("m")) }
`
)

// sample is the one block of a language in a document.
func sample(t *testing.T, path, language string) string {
	t.Helper()
	for _, b := range blocks(t, path) {
		if b.info == language {
			return b.text
		}
	}
	t.Fatalf("%s has no sample in %s", path, language)
	return ""
}

func TestSamplesVerify(t *testing.T) {
	cases := deliveriesToVerify(t)
	input, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		language, needs string
		prepare         func(t *testing.T, dir string) []string
	}{
		{"go", "go", prepareGo},
		{"python", "python3", script("sample.py", "python", pythonDriver, "python3")},
		{"js", "node", script("sample.mjs", "js", nodeDriver, "node")},
		{"ts", "node", prepareTypeScript},
		{"ruby", "ruby", script("sample.rb", "ruby", rubyDriver, "ruby")},
	} {
		t.Run(c.language, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if _, err := exec.LookPath(c.needs); err != nil {
				t.Logf("%s is not installed: its sample was not run", c.needs)
				return
			}
			args := c.prepare(t, dir)
			if args == nil {
				return
			}
			out := strings.Fields(run(t, dir, input, args...))
			if len(out) != len(cases) {
				t.Fatalf("%d verdicts on %d deliveries: %q", len(out), len(cases), out)
			}
			for i, d := range cases {
				if out[i] != strconv.FormatBool(d.Genuine) {
					t.Errorf("%s: judged %s, want %v", d.Name, out[i], d.Genuine)
				}
			}
		})
	}
}

func TestShellSampleVerifies(t *testing.T) {
	text := sample(t, verifying, "sh")
	for _, d := range deliveriesToVerify(t) {
		t.Run(d.Name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, dir, "body", string(d.Body))
			cmd := exec.CommandContext(t.Context(), "bash", "-c", text)
			cmd.Dir = dir
			cmd.Env = clienttest.Environment(dir, "SECRET="+d.Secret, "ID="+d.Headers[signing.HeaderID],
				"TIMESTAMP="+d.Headers[signing.HeaderTimestamp], "SIGNATURE="+d.Headers[signing.HeaderSignature])
			out, _ := cmd.Output()
			if genuine := strings.TrimSpace(string(out)) == "genuine"; genuine != d.Genuine {
				t.Errorf("printed %q, want genuine: %v", out, d.Genuine)
			}
		})
	}
}

func prepareGo(t *testing.T, dir string) []string {
	put(t, dir, "go.mod", "module sample\n\ngo 1.26\n")
	put(t, dir, "webhook/webhook.go", sample(t, verifying, "go"))
	put(t, dir, "main.go", goDriver)
	return []string{"go", "run", "."}
}

func script(name, language, driver, interpreter string) func(*testing.T, string) []string {
	return func(t *testing.T, dir string) []string {
		put(t, dir, name, sample(t, verifying, language)+driver)
		return []string{interpreter, name}
	}
}

// prepareTypeScript compiles with the dashboard's compiler, where `make` has installed it.
func prepareTypeScript(t *testing.T, dir string) []string {
	compiler, err := filepath.Abs("../web/node_modules/typescript")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(compiler); err != nil {
		t.Log("the dashboard's modules are not installed: the TypeScript sample was not run")
		return nil
	}
	put(t, dir, "sample.ts", sample(t, verifying, "ts"))
	put(t, dir, "compile.cjs", fmt.Sprintf(`
const ts = require(%q), fs = require("fs");
const options = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 };
fs.writeFileSync("sample.mjs", ts.transpileModule(fs.readFileSync("sample.ts", "utf8"), { compilerOptions: options }).outputText + %q);
`, compiler, nodeDriver))
	run(t, dir, nil, "node", "compile.cjs")
	return []string{"node", "sample.mjs"}
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, dir string, input []byte, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, bytes.NewReader(input), &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, &errs)
	}
	return out.String()
}
