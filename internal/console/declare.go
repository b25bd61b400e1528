package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/client"
)

// nameKey is the metadata entry that ties a subscription to its name in a file. Whoever has it is kept by a file, and no
// other subscription is ever deleted by one.
const nameKey = "posthorn/name"

// mask is how the API shows header values; sent back it leaves them as they are.
const mask = "••••••"

// file is what apply reads and dump writes.
type file struct {
	Subscriptions []declared `json:"subscriptions"`
}

// declared is one subscription of a file. Name is its own among those of the tenant; the id of a subscription names that one,
// which is how dump names those that no file made.
type declared struct {
	Name string `json:"name"`
	client.SubscriptionInput
}

// readFile reads YAML, of which JSON is a part. Unknown fields are refused: a misspelt one would silently be a default.
// ${NAME} in URLs, secrets and header values is taken from lookup.
func readFile(text []byte, lookup func(string) (string, bool)) (*file, error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	var tree any
	if err := d.Decode(&tree); err != nil {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file has more than one document; put all subscriptions into one")
	}
	encoded, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	strict := json.NewDecoder(bytes.NewReader(encoded))
	strict.DisallowUnknownFields()
	var f file
	if err := strict.Decode(&f); err != nil {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	seen := map[string]bool{}
	for i := range f.Subscriptions {
		s := &f.Subscriptions[i]
		if s.Name == "" || len(s.Name) > 128 {
			return nil, fmt.Errorf("subscription %d needs a name of 1 to 128 bytes", i+1)
		}
		if seen[s.Name] {
			return nil, fmt.Errorf("%s stands twice in the file", s.Name)
		}
		seen[s.Name] = true
		if s.Status == posthorn.StatusDisabled {
			return nil, fmt.Errorf("%s: status must be active or paused; only Posthorn disables subscriptions", s.Name)
		}
		if err := s.expand(lookup); err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return &f, nil
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// expand replaces ${NAME} where secrets belong, so that the file itself can be kept with the code.
func (s *declared) expand(lookup func(string) (string, bool)) error {
	var missing error
	replace := func(text string) string {
		return variable.ReplaceAllStringFunc(text, func(m string) string {
			value, ok := lookup(m[2 : len(m)-1])
			if !ok {
				missing = fmt.Errorf("the variable in %s is not set", m)
			}
			return value
		})
	}
	s.URL, s.Secret = replace(s.URL), replace(s.Secret)
	for name, value := range s.Headers {
		s.Headers[name] = replace(value)
	}
	return missing
}

// full is a policy as the server would show it: with its defaults, types in order.
func full(p client.Policy) client.Policy {
	s := posthorn.Subscription{Policy: posthorn.Policy{
		EventTypes: slices.Clone(p.EventTypes), Retry: p.Retry, MaxInFlight: p.MaxInFlight, Ordering: p.Ordering, OnFailure: p.OnFailure,
	}}
	s.SetDefaults()
	p.EventTypes, p.Retry, p.MaxInFlight, p.Ordering, p.OnFailure = s.EventTypes, s.Retry, s.MaxInFlight, s.Ordering, s.OnFailure
	if p.Signature == nil {
		p.Signature = map[string]any{"profile": posthorn.ProfileStandard}
	}
	if p.TimeoutSeconds == 0 {
		p.TimeoutSeconds = s.Timeout.Seconds()
	}
	return p
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
