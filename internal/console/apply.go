package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/client"
)

// Apply says how a file is applied.
type Apply struct {
	// Text is the file, in YAML or JSON; Lookup finds the variables it names.
	Text   []byte
	Lookup func(string) (string, bool)
	// DryRun only says what would be done; Prune deletes subscriptions that a file made and this one lacks.
	DryRun, Prune bool
}

// step is one change that makes the server what the file says. A step without id creates, one without want deletes.
type step struct {
	name    string
	id      posthorn.SubscriptionID
	want    *client.SubscriptionInput
	changes []string
}

// Apply makes the tenant's subscriptions what a file says, one after the other, and prints each change. Applying the same
// file again changes nothing, except that header values are written again: they cannot be read back to be compared.
func (c *Console) Apply(ctx context.Context, a Apply) error {
	f, err := readFile(a.Text, a.Lookup)
	if err != nil {
		return err
	}
	have, err := c.client.Subscriptions(ctx, url.Values{}, 0)
	if err != nil {
		return err
	}
	steps, extra, err := c.plan(ctx, f, have)
	if err != nil {
		return err
	}
	if a.Prune {
		for _, s := range extra {
			steps = append(steps, step{name: s.Metadata[nameKey], id: s.ID})
		}
	}
	done := 0
	for _, s := range steps {
		if s.want != nil && len(s.changes) == 0 && !s.id.IsZero() {
			continue
		}
		if !a.DryRun {
			if err := c.carryOut(ctx, &s); err != nil {
				return fmt.Errorf("%s (%s made before): %w", s.name, count(done, "change"), err)
			}
		}
		done++
		c.printStep(&s)
	}
	if !a.Prune {
		for _, s := range extra {
			c.note("not in the file: %s %s (--prune deletes it)", s.Metadata[nameKey], s.ID)
		}
	}
	was := ""
	if a.DryRun {
		was = " to make; this was a dry run and nothing was changed"
	}
	c.note("%s%s", count(done, "change"), was)
	return nil
}

// plan compares the file with what is there. The extra ones were made by a file and are not in this one.
func (c *Console) plan(ctx context.Context, f *file, have []client.Subscription) ([]step, []client.Subscription, error) {
	known, err := byName(have)
	if err != nil {
		return nil, nil, err
	}
	var steps []step
	for i := range f.Subscriptions {
		want := &f.Subscriptions[i]
		s := step{name: want.Name, want: &want.SubscriptionInput}
		is, ok := known[want.Name]
		if want.Metadata[nameKey] != "" {
			return nil, nil, fmt.Errorf("%s: the metadata entry %s is apply's own", want.Name, nameKey)
		}
		if !ok || is.Metadata[nameKey] == want.Name {
			want.Metadata = maps.Clone(want.Metadata)
			if want.Metadata == nil {
				want.Metadata = map[string]string{}
			}
			want.Metadata[nameKey] = want.Name
		}
		delete(known, want.Name)
		if ok {
			s.id = is.ID
			if s.changes, err = c.differences(ctx, is, s.want); err != nil {
				return nil, nil, err
			}
		}
		steps = append(steps, s)
	}
	var extra []client.Subscription
	for _, s := range have {
		if name := s.Metadata[nameKey]; name != "" && known[name] != nil {
			extra = append(extra, s)
		}
	}
	return steps, extra, nil
}

// byName finds subscriptions by the name a file gave them, and all by their ids.
func byName(have []client.Subscription) (map[string]*client.Subscription, error) {
	known := map[string]*client.Subscription{}
	for i := range have {
		s := &have[i]
		if name := s.Metadata[nameKey]; name != "" {
			if other := known[name]; other != nil {
				return nil, fmt.Errorf("%s and %s are both named %s; change the metadata of one", other.ID, s.ID, name)
			}
			known[name] = s
			continue
		}
		known[s.ID.String()] = s
	}
	return known, nil
}

// differences say in words what a write would change; none means that it would change nothing.
func (c *Console) differences(ctx context.Context, is *client.Subscription, want *client.SubscriptionInput) ([]string, error) {
	var changes []string
	before, after := fieldsOf(full(is.Policy)), fieldsOf(full(want.Policy))
	names := slices.Sorted(maps.Keys(merged(before, after)))
	for _, name := range names {
		if name != "headers" && before[name] != after[name] {
			changes = append(changes, fmt.Sprintf("%s: %s → %s", name, orNone(before[name]), orNone(after[name])))
		}
	}
	if want.Status != "" && want.Status != is.Status {
		changes = append(changes, fmt.Sprintf("status: %s → %s", is.Status, want.Status))
	}
	changes = append(changes, headerChanges(is.Headers, want.Headers)...)
	if want.Secret != "" {
		secret, err := c.client.Secret(ctx, is.ID)
		if err != nil {
			return nil, err
		}
		if secret != want.Secret {
			changes = append(changes, "secret: rotated; the old one goes on signing for 24 hours")
		}
	}
	return changes, nil
}

// headerChanges compares names: values come back masked.
func headerChanges(is, want map[string]string) []string {
	var changes []string
	for _, name := range slices.Sorted(maps.Keys(merged(is, want))) {
		_, had := is[name]
		value, wanted := want[name]
		switch {
		case !wanted:
			changes = append(changes, "headers."+name+": removed")
		case !had:
			changes = append(changes, "headers."+name+": added")
		case value != mask:
			changes = append(changes, "headers."+name+": written again, as its value cannot be compared")
		}
	}
	return changes
}

func merged(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, b)
	return all
}

// fieldsOf are a policy's fields as JSON.
func fieldsOf(p client.Policy) map[string]string {
	texts := map[string]string{}
	var raw map[string]json.RawMessage
	encoded, err := json.Marshal(p)
	if err == nil {
		err = json.Unmarshal(encoded, &raw)
	}
	if err != nil {
		return texts
	}
	for name, value := range raw {
		texts[name] = string(value)
	}
	return texts
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

func (c *Console) carryOut(ctx context.Context, s *step) error {
	var err error
	switch {
	case s.want == nil:
		return c.client.DeleteSubscription(ctx, s.id)
	case s.id.IsZero():
		var made client.Subscription
		made, err = c.client.CreateSubscription(ctx, *s.want)
		s.id = made.ID
	default:
		_, err = c.client.ReplaceSubscription(ctx, s.id, *s.want)
	}
	if p, ok := errors.AsType[*client.Problem](err); ok && strings.Contains(p.Error(), "has no value yet that the mask could stand for") {
		return fmt.Errorf("%w\n  give header values, or ${VARIABLES}, where the file has %s", err, mask)
	}
	return err
}

func (c *Console) printStep(s *step) {
	switch {
	case s.want == nil:
		fmt.Fprintf(c.out, "- %s  %s\n", plain(s.name), s.id)
	case len(s.changes) == 0:
		fmt.Fprintf(c.out, "+ %s  %s  %s\n", plain(s.name), s.id, plain(s.want.URL))
	default:
		fmt.Fprintf(c.out, "~ %s  %s\n", plain(s.name), s.id)
		for _, change := range s.changes {
			fmt.Fprintf(c.out, "    %s\n", plain(change))
		}
	}
}
