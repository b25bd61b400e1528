package api

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/posthorn/posthorn"
)

//go:generate go test -run TestOpenAPIDocument . -update

var update = flag.Bool("update", false, "write the golden files")

const goldenDocument = "../../docs/openapi.json"

// silentBus is a bus that nobody else is on.
type silentBus struct{}

func (silentBus) Publish(context.Context, posthorn.Signal)             {}
func (silentBus) Follow(func(posthorn.Signal), func()) (cancel func()) { return func() {} }

// document is the OpenAPI document as committed: indented, without the build's version.
func document(t *testing.T) []byte {
	t.Helper()
	h := New(Options{Bus: silentBus{}, Version: "1"})
	defer h.Close()
	text, err := json.Marshal(h.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", "  "); err != nil {
		t.Fatal(err)
	}
	indented.WriteByte('\n')
	return indented.Bytes()
}

func TestOpenAPIDocument(t *testing.T) {
	got := document(t)
	if *update {
		if err := os.WriteFile(goldenDocument, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenDocument)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/openapi.json is not what the code makes; run go test ./internal/api -run OpenAPI -update")
	}
}
