package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"

	"go.yaml.in/yaml/v3"

	"github.com/posthorn/posthorn/internal/client"
)

// file is what apply reads and dump writes. A list that is nil is not in the file, which then says nothing about those things.
type file struct {
	EventTypes    []client.EventType   `json:"event_types"`
	Sources       []client.SourceInput `json:"sources"`
	Subscriptions []declared           `json:"subscriptions"`
}

// readFile reads YAML, of which JSON is a part. Unknown fields are refused: a misspelt one would silently be a default.
// ${NAME} in URLs, secrets, credentials and header values is taken from lookup, so that the file itself can be kept with the
// code.
func readFile(text []byte, lookup func(string) (string, bool)) (*file, error) {
	encoded, err := toJSON(text)
	if err != nil {
		return nil, err
	}
	strict := json.NewDecoder(bytes.NewReader(encoded))
	strict.DisallowUnknownFields()
	var f file
	if err := strict.Decode(&f); err != nil {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	var missing error
	expand := func(text string) string {
		return variable.ReplaceAllStringFunc(text, func(m string) string {
			value, ok := lookup(m[2 : len(m)-1])
			if !ok {
				missing = fmt.Errorf("the variable in %s is not set", m)
			}
			return value
		})
	}
	for _, err := range []error{checkEventTypes(f.EventTypes), checkSources(f.Sources, expand), checkSubscriptions(f.Subscriptions, expand)} {
		if err != nil {
			return nil, err
		}
	}
	return &f, missing
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// toJSON is the one document of a YAML text.
func toJSON(text []byte) ([]byte, error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	var root yaml.Node
	if err := d.Decode(&root); err != nil {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file has more than one document; put everything into one")
	}
	datesAsText(&root)
	var tree any
	if err := root.Decode(&tree); err != nil {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	encoded, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	return encoded, nil
}

// datesAsText leaves dates as they are written: JSON, and so a payload, has none.
func datesAsText(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!timestamp" {
		n.Tag = "!!str"
	}
	for _, child := range n.Content {
		datesAsText(child)
	}
}

// writeYAML writes JSON as YAML, in the order of its fields.
func writeYAML(out io.Writer, v any) error {
	var encoded bytes.Buffer
	e := json.NewEncoder(&encoded)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	var tree yaml.Node
	if err := yaml.Unmarshal(encoded.Bytes(), &tree); err != nil {
		return err
	}
	asBlocks(&tree)
	y := yaml.NewEncoder(out)
	y.SetIndent(2)
	return errors.Join(y.Encode(&tree), y.Close())
}

// asBlocks takes JSON's braces and quotes away; lists of plain values stay on one line.
func asBlocks(n *yaml.Node) {
	plain := n.Kind == yaml.SequenceNode
	for _, child := range n.Content {
		plain = plain && child.Kind == yaml.ScalarNode
		asBlocks(child)
	}
	n.Style = 0
	if plain {
		n.Style = yaml.FlowStyle
	}
}
