package console

import "context"

// Dump prints the tenant's event types, sources and subscriptions as a file for Apply. What is secret is masked, which Apply
// to the same server leaves as it is; the signing secrets of subscriptions are there only when asked for.
func (c *Console) Dump(ctx context.Context, secrets bool) error {
	var f file
	var err error
	if f.EventTypes, err = c.declareEventTypes(ctx); err != nil {
		return err
	}
	if f.Sources, err = c.declareSources(ctx); err != nil {
		return err
	}
	if f.Subscriptions, err = c.declareSubscriptions(ctx, secrets); err != nil {
		return err
	}
	if c.json {
		return c.asJSON(f)
	}
	return writeYAML(c.out, f)
}
