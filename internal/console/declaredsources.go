package console

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/client"
	"github.com/posthorn/posthorn/internal/inbound"
)

const sourceNoun = "source"

// planSources compares the sources with the file's, which their names tie together.
func (c *Console) planSources(ctx context.Context, f *file, p *plan) error {
	if f.Sources == nil {
		return nil
	}
	have, err := c.client.Sources(ctx)
	if err != nil {
		return err
	}
	known := map[string]client.Source{}
	for _, s := range have {
		if other, ok := known[s.Name]; ok && slices.ContainsFunc(f.Sources, func(d client.SourceInput) bool { return d.Name == s.Name }) {
			return fmt.Errorf("the sources %s and %s are both named %s; rename one", other.ID, s.ID, s.Name)
		}
		known[s.Name] = s
	}
	for _, want := range f.Sources {
		is, ok := known[want.Name]
		if want.Secret == posthorn.Mask {
			if len(is.Secrets) == 0 {
				return fmt.Errorf("source %s: secret has no value yet that the mask could stand for; give it, or a ${VARIABLE}, or leave it out", want.Name)
			}
			want.Secret = ""
		}
		s := step{noun: sourceNoun, name: want.Name}
		if ok {
			s.id, s.changes = is.ID.String(), sourceChanges(&is, &want)
			s.carryOut = func(ctx context.Context, _ *step) error { return c.client.ReplaceSource(ctx, is.ID, want) }
		} else {
			s.carryOut = func(ctx context.Context, s *step) error { return c.createSource(ctx, s, want) }
		}
		p.writes = append(p.writes, s)
	}
	for _, s := range have {
		if !slices.ContainsFunc(f.Sources, func(d client.SourceInput) bool { return d.Name == s.Name }) {
			p.deletions = append(p.deletions, step{noun: sourceNoun, name: s.Name, id: s.ID.String(), carryOut: func(ctx context.Context, _ *step) error {
				return c.client.DeleteSource(ctx, s.ID)
			}})
		}
	}
	return nil
}

// createSource shows a secret that the server made: there is no other moment to read it.
func (c *Console) createSource(ctx context.Context, s *step, want client.SourceInput) error {
	made, err := c.client.CreateSource(ctx, want)
	s.id, s.detail = made.ID.String(), made.IngestPath
	if made.Secret != "" {
		s.changes = []string{"secret made, shown this once: " + made.Secret}
	}
	return err
}

func sourceChanges(is *client.Source, want *client.SourceInput) []string {
	changes := differences(fullSource(is.SourcePolicy), fullSource(want.SourcePolicy))
	if want.Secret != "" {
		changes = append(changes, rewritten("secret"))
	}
	return changes
}

// fullSource is a source as the server would show it: with its provider's defaults.
func fullSource(p client.SourcePolicy) client.SourcePolicy {
	s := posthorn.Source{SourcePolicy: posthorn.SourcePolicy{
		Provider: p.Provider, Tolerance: time.Duration(p.ToleranceSeconds * float64(time.Second)),
		EventType: p.EventType, DefaultType: p.DefaultType, MessageID: p.MessageID,
	}}
	if p.Scheme != nil {
		scheme := recast[posthorn.SigningScheme](p.Scheme)
		s.Scheme = &scheme
	}
	inbound.SetDefaults(&s)
	p.EventType, p.DefaultType, p.MessageID, p.ToleranceSeconds = s.EventType, s.DefaultType, s.MessageID, s.Tolerance.Seconds()
	if s.Scheme != nil {
		p.Scheme = recast[map[string]any](s.Scheme)
	}
	if p.Enabled == nil {
		yes := true
		p.Enabled = &yes
	}
	return p
}

// declareSources are the sources as a file has them, by name, without what is the default. Secrets cannot be read.
func (c *Console) declareSources(ctx context.Context) ([]client.SourceInput, error) {
	have, err := c.client.Sources(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]client.SourceInput, 0, len(have))
	for i := range have {
		d := client.SourceInput{SourcePolicy: have[i].SourcePolicy}
		usual := fullSource(client.SourcePolicy{Provider: d.Provider})
		if d.EventType == usual.EventType {
			d.EventType = ""
		}
		if d.DefaultType == usual.DefaultType {
			d.DefaultType = ""
		}
		if d.MessageID == usual.MessageID {
			d.MessageID = ""
		}
		if d.ToleranceSeconds == usual.ToleranceSeconds {
			d.ToleranceSeconds = 0
		}
		if d.Enabled != nil && *d.Enabled {
			d.Enabled = nil
		}
		if len(have[i].Secrets) > 0 {
			d.Secret = posthorn.Mask
		}
		list = append(list, d)
	}
	slices.SortStableFunc(list, func(a, b client.SourceInput) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func checkSources(list []client.SourceInput, expand func(string) string) error {
	seen := map[string]bool{}
	for i := range list {
		s := &list[i]
		if s.Name == "" {
			return fmt.Errorf("source %d needs a name", i+1)
		}
		if seen[s.Name] {
			return fmt.Errorf("source %s stands twice in the file", s.Name)
		}
		seen[s.Name] = true
		s.Secret = expand(s.Secret)
	}
	return nil
}
