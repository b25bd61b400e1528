package console

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/client"
	"github.com/posthorn/posthorn/internal/signing"
)

const subscriptionNoun = "subscription"

// nameKey is the metadata entry that ties a subscription to its name in a file. Whoever has it is kept by a file, and no
// other subscription is ever deleted by one.
const nameKey = "posthorn/name"

// declared is one subscription of a file. Name is its own among those of the tenant; the id of a subscription names that one,
// which is how dump names those that no file made.
type declared struct {
	Name string `json:"name"`
	client.SubscriptionInput
}

// planSubscriptions compares the subscriptions with the file's. Those to delete were made by a file and are not in this one.
func (c *Console) planSubscriptions(ctx context.Context, f *file, p *plan) error {
	if f.Subscriptions == nil {
		return nil
	}
	have, err := c.client.Subscriptions(ctx, url.Values{}, 0)
	if err != nil {
		return err
	}
	known, err := byName(have)
	if err != nil {
		return err
	}
	for _, d := range f.Subscriptions {
		want := d.SubscriptionInput
		s := step{noun: subscriptionNoun, name: d.Name}
		is, ok := known[d.Name]
		if want.Metadata[nameKey] != "" {
			return fmt.Errorf("%s: the metadata entry %s is apply's own", d.Name, nameKey)
		}
		if !ok || is.Metadata[nameKey] == d.Name {
			want.Metadata = merged(want.Metadata, map[string]string{nameKey: d.Name})
		}
		delete(known, d.Name)
		if ok {
			s.id = is.ID.String()
			if s.changes, err = c.subscriptionChanges(ctx, is, &want); err != nil {
				return err
			}
			s.carryOut = func(ctx context.Context, _ *step) error {
				_, err := c.client.ReplaceSubscription(ctx, is.ID, want)
				return err
			}
		} else {
			s.carryOut = func(ctx context.Context, s *step) error {
				made, err := c.client.CreateSubscription(ctx, want)
				s.id, s.detail = made.ID.String(), want.URL
				return err
			}
		}
		p.writes = append(p.writes, s)
	}
	for _, s := range have {
		if name := s.Metadata[nameKey]; name != "" && known[name] != nil {
			p.deletions = append(p.deletions, step{noun: subscriptionNoun, name: name, id: s.ID.String(), carryOut: func(ctx context.Context, _ *step) error {
				return c.client.DeleteSubscription(ctx, s.ID)
			}})
		}
	}
	return nil
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

// subscriptionChanges say in words what a write would change; none means that it would change nothing.
func (c *Console) subscriptionChanges(ctx context.Context, is *client.Subscription, want *client.SubscriptionInput) ([]string, error) {
	after := full(want.Policy)
	var auth, tls []string
	after.Auth, auth = masked("auth", after.Auth)
	after.TLS, tls = masked("tls", after.TLS)
	changes := differences(full(is.Policy), after, "headers")
	if want.Status != "" && want.Status != is.Status {
		changes = append(changes, fmt.Sprintf("status: %s → %s", is.Status, want.Status))
	}
	changes = append(changes, headerChanges(is.Headers, want.Headers)...)
	for _, field := range slices.Concat(auth, tls) {
		changes = append(changes, rewritten(field))
	}
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

// full is a policy as the server would show it: with its defaults, types in order.
func full(p client.Policy) client.Policy {
	s := posthorn.Subscription{Policy: posthorn.Policy{
		EventTypes: slices.Clone(p.EventTypes), Retry: p.Retry, MaxInFlight: p.MaxInFlight, Ordering: p.Ordering, OnFailure: p.OnFailure,
	}}
	s.SetDefaults()
	p.EventTypes, p.Retry, p.MaxInFlight, p.Ordering, p.OnFailure = s.EventTypes, s.Retry, s.MaxInFlight, s.Ordering, s.OnFailure
	p.Signature = spelt(p.Signature)
	if p.Auth["type"] == string(posthorn.AuthOAuth2) && p.Auth["auth_style"] == nil {
		p.Auth = merged(p.Auth, map[string]any{"auth_style": posthorn.StyleBasic})
	}
	p.TLS = maps.Clone(p.TLS)
	delete(p.TLS, "certificate_expires_at")
	if p.TimeoutSeconds == 0 {
		p.TimeoutSeconds = s.Timeout.Seconds()
	}
	return p
}

// spelt is a signature profile as the server shows it: a preset with all that it stands for.
func spelt(profile map[string]any) map[string]any {
	p := posthorn.SignatureProfile{Profile: posthorn.ProfileStandard, KeepStandard: true}
	if profile != nil {
		p.Profile = ""
		if encoded, err := json.Marshal(profile); err != nil || json.Unmarshal(encoded, &p) != nil {
			return profile // which the server will refuse
		}
	}
	if p.Profile == posthorn.ProfileStandard {
		return map[string]any{"profile": p.Profile}
	}
	return recast[map[string]any](signing.Expand(p))
}

// declareSubscriptions are the subscriptions as a file has them, by name. Secrets are there only when asked for.
func (c *Console) declareSubscriptions(ctx context.Context, secrets bool) ([]declared, error) {
	have, err := c.client.Subscriptions(ctx, url.Values{}, 0)
	if err != nil {
		return nil, err
	}
	list := make([]declared, 0, len(have))
	for i := range have {
		d := declare(&have[i])
		if secrets {
			if d.Secret, err = c.client.Secret(ctx, have[i].ID); err != nil {
				return nil, err
			}
		}
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b declared) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// declare leaves out what is the default.
func declare(s *client.Subscription) declared {
	d := declared{Name: s.ID.String(), SubscriptionInput: client.SubscriptionInput{Policy: s.Policy}}
	if name := s.Metadata[nameKey]; name != "" {
		d.Name = name
		delete(d.Metadata, nameKey)
	}
	if s.Status == posthorn.StatusPaused {
		d.Status = s.Status
	}
	usual := fieldsOf(full(client.Policy{}))
	is := fieldsOf(d.Policy)
	if is["retry"] == usual["retry"] {
		d.Retry = posthorn.RetryPolicy{}
	}
	if is["timeout_seconds"] == usual["timeout_seconds"] {
		d.TimeoutSeconds = 0
	}
	if is["max_in_flight"] == usual["max_in_flight"] {
		d.MaxInFlight = 0
	}
	if is["ordering"] == usual["ordering"] {
		d.Ordering = ""
	}
	if is["on_failure"] == usual["on_failure"] {
		d.OnFailure = ""
	}
	d.Signature = shortest(s.Signature)
	delete(d.TLS, "certificate_expires_at")
	return d
}

// shortest is the name of a signature profile where that says it all, and nothing of the standard one.
func shortest(profile map[string]any) map[string]any {
	whole := fieldsOf(map[string]any{"": spelt(profile)})[""]
	for _, short := range []map[string]any{nil, {"profile": profile["profile"]}} {
		if fieldsOf(map[string]any{"": spelt(short)})[""] == whole {
			return short
		}
	}
	return profile
}

func checkSubscriptions(list []declared, expand func(string) string) error {
	seen := map[string]bool{}
	for i := range list {
		s := &list[i]
		if fault := posthorn.CheckName(s.Name); fault != "" {
			return fmt.Errorf("the name of subscription %d %s", i+1, fault)
		}
		if seen[s.Name] {
			return fmt.Errorf("subscription %s stands twice in the file", s.Name)
		}
		seen[s.Name] = true
		if s.Status == posthorn.StatusDisabled {
			return fmt.Errorf("%s: status must be active or paused; only Posthorn disables subscriptions", s.Name)
		}
		s.URL, s.Secret = expand(s.URL), expand(s.Secret)
		for name, value := range s.Headers {
			s.Headers[name] = expand(value)
		}
		expandAll(s.Auth, expand)
		expandAll(s.TLS, expand)
	}
	return nil
}

// expandAll replaces variables in every text of an object, at any depth.
func expandAll(object map[string]any, expand func(string) string) {
	for name, value := range object {
		switch v := value.(type) {
		case string:
			object[name] = expand(v)
		case map[string]any:
			expandAll(v, expand)
		}
	}
}
