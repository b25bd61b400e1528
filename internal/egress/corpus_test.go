package egress

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// urlCase is a row of testdata/ssrf.json.
type urlCase struct {
	ID       string   `json:"id"`
	URL      string   `json:"url"`
	Generate *concat  `json:"url_gen"`
	Reason   string   `json:"reason"`
	Decodes  string   `json:"decodes_to"`
	Note     string   `json:"note"`
	Why      string   `json:"why"`
	DNS      []answer `json:"dns"`
}

// answer is what a scripted name server says to one lookup.
type answer struct {
	A      []string `json:"A"`
	AAAA   []string `json:"AAAA"`
	CNAME  string   `json:"CNAME"`
	Rotate bool     `json:"rotate"`
}

type ssrfCorpus struct {
	Refuse    []urlCase `json:"refuse"`
	DNS       []urlCase `json:"dns"`
	Accept    []urlCase `json:"accept"`
	Redirects []struct {
		ID       string            `json:"id"`
		Status   int               `json:"status"`
		Location *string           `json:"location"`
		Headers  map[string]string `json:"headers"`
	} `json:"redirects"`
}

// concat describes a text by its parts: a text, or a text repeated.
type concat struct {
	Parts []json.RawMessage `json:"concat"`
}

func (c urlCase) text(t *testing.T) string {
	t.Helper()
	if c.Generate == nil {
		return c.URL
	}
	var b strings.Builder
	for _, part := range c.Generate.Parts {
		var text string
		var repeat struct {
			Repeat string `json:"repeat"`
			Times  int    `json:"times"`
		}
		if json.Unmarshal(part, &text) == nil {
			b.WriteString(text)
		} else if err := json.Unmarshal(part, &repeat); err != nil {
			t.Fatal(err)
		}
		b.WriteString(strings.Repeat(repeat.Repeat, repeat.Times))
	}
	return b.String()
}

// eachCorpus runs a test over the copy in testdata and, where the project's shared corpus is at hand, over that too.
func eachCorpus[T any](t *testing.T, file string, test func(t *testing.T, c T)) {
	folder := os.Getenv("POSTHORN_CORPUS")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "shared", "corpus")
	}
	for name, path := range map[string]string{"Copy": filepath.Join("testdata", file), "Shared": filepath.Join(folder, file)} {
		text, err := os.ReadFile(path)
		if name == "Shared" && os.IsNotExist(err) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			var c T
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(text, &c); err != nil {
				t.Fatal(err)
			}
			test(t, c)
		})
	}
}
