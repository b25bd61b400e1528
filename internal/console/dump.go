package console

import (
	"cmp"
	"context"
	"net/url"
	"slices"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/client"
)

// Dump prints the tenant's subscriptions as a file for Apply. Header values are masked, which Apply to the same server leaves
// as they are; secrets are there only when asked for.
func (c *Console) Dump(ctx context.Context, secrets bool) error {
	have, err := c.client.Subscriptions(ctx, url.Values{}, 0)
	if err != nil {
		return err
	}
	f := file{Subscriptions: []declared{}}
	for i := range have {
		d := declare(&have[i])
		if secrets {
			if d.Secret, err = c.client.Secret(ctx, have[i].ID); err != nil {
				return err
			}
		}
		f.Subscriptions = append(f.Subscriptions, d)
	}
	slices.SortFunc(f.Subscriptions, func(a, b declared) int { return cmp.Compare(a.Name, b.Name) })
	if c.json {
		return c.asJSON(f)
	}
	return writeYAML(c.out, f)
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
	if is["signature"] == usual["signature"] {
		d.Signature = nil
	}
	return d
}
