package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/posthorn/posthorn/internal/client"
)

const eventTypeNoun = "event type"

// planEventTypes compares the catalogue with the file's.
func (c *Console) planEventTypes(ctx context.Context, f *file, p *plan) error {
	if f.EventTypes == nil {
		return nil
	}
	have, err := c.client.EventTypes(ctx)
	if err != nil {
		return err
	}
	for _, want := range f.EventTypes {
		s := step{noun: eventTypeNoun, name: want.Name, carryOut: func(ctx context.Context, _ *step) error {
			return c.client.PutEventType(ctx, want)
		}}
		if i := slices.IndexFunc(have, func(t client.EventType) bool { return t.Name == want.Name }); i >= 0 {
			s.id, s.changes = want.Name, eventTypeChanges(&have[i], &want)
			have = slices.Delete(have, i, i+1)
		}
		p.writes = append(p.writes, s)
	}
	for _, t := range have {
		p.deletions = append(p.deletions, step{noun: eventTypeNoun, name: t.Name, id: t.Name, carryOut: func(ctx context.Context, s *step) error {
			return c.client.DeleteEventType(ctx, s.name)
		}})
	}
	return nil
}

// eventTypeChanges compares schemas and examples by what they mean: a file in YAML cannot keep how they were written.
func eventTypeChanges(is, want *client.EventType) []string {
	changes := differences(is, want, "schema", "example")
	if !sameJSON(is.Schema, want.Schema) {
		changes = append(changes, "schema: another")
	}
	if !sameJSON(is.Example, want.Example) {
		changes = append(changes, "example: another")
	}
	return changes
}

func sameJSON(a, b json.RawMessage) bool {
	meaning := func(text json.RawMessage) []byte {
		encoded, err := json.Marshal(recast[any](text))
		if err != nil || len(text) == 0 {
			return []byte("null")
		}
		return encoded
	}
	return bytes.Equal(meaning(a), meaning(b))
}

// declareEventTypes are the catalogue as a file has it, by name.
func (c *Console) declareEventTypes(ctx context.Context) ([]client.EventType, error) {
	have, err := c.client.EventTypes(ctx)
	for i := range have {
		t := &have[i]
		if sameJSON(t.Schema, nil) {
			t.Schema = nil
		}
		if sameJSON(t.Example, nil) {
			t.Example = nil
		}
	}
	slices.SortFunc(have, func(a, b client.EventType) int { return strings.Compare(a.Name, b.Name) })
	return have, err
}

func checkEventTypes(list []client.EventType) error {
	seen := map[string]bool{}
	for i := range list {
		name := list[i].Name
		if name == "" {
			return fmt.Errorf("event type %d needs a name", i+1)
		}
		if seen[name] {
			return fmt.Errorf("event type %s stands twice in the file", name)
		}
		seen[name] = true
	}
	return nil
}
