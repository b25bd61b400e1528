package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/posthorn/posthorn"
)

// EventType is an entry of the catalogue, as it is written and read back.
type EventType struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	// Schema and Example are JSON as it was written; empty or null is none.
	Schema     json.RawMessage `json:"schema,omitempty"`
	Example    json.RawMessage `json:"example,omitempty"`
	Enforce    bool            `json:"enforce,omitempty"`
	Deprecated bool            `json:"deprecated,omitempty"`
}

// EventTypes lists the whole catalogue, newest first.
func (c *Client) EventTypes(ctx context.Context) ([]EventType, error) {
	return List[EventType](ctx, c, "/event-types", nil, 0)
}

// PutEventType creates an entry, or replaces all of it.
func (c *Client) PutEventType(ctx context.Context, t EventType) error {
	return c.Do(ctx, http.MethodPut, "/event-types/"+url.PathEscape(t.Name), nil, t, nil)
}

// DeleteEventType deletes an entry; events and subscriptions are not touched.
func (c *Client) DeleteEventType(ctx context.Context, name string) error {
	return c.Do(ctx, http.MethodDelete, "/event-types/"+url.PathEscape(name), nil, nil, nil)
}

// Source as it is shown: its secrets are counted, never shown.
type Source struct {
	ID         posthorn.SourceID `json:"id"`
	IngestPath string            `json:"ingest_path"`
	// Secret is the one that was made, in the answer to the request that made it only.
	Secret string `json:"secret,omitempty"`
	SourcePolicy
	// Secrets are those that verify, without their values.
	Secrets []struct{} `json:"secrets"`
}

// SourcePolicy is what a client writes of a source and reads back.
type SourcePolicy struct {
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Provider    posthorn.Provider `json:"provider"`
	// Enabled is true when it is nil.
	Enabled *bool `json:"enabled,omitempty"`
	// Scheme is an object of the API's, as it is.
	Scheme           map[string]any      `json:"scheme,omitempty"`
	ToleranceSeconds float64             `json:"tolerance_seconds,omitempty"`
	EventType        string              `json:"event_type,omitempty"`
	DefaultType      string              `json:"default_type,omitempty"`
	MessageID        string              `json:"message_id,omitempty"`
	KeepHeaders      []string            `json:"keep_headers,omitempty"`
	RateLimit        *posthorn.RateLimit `json:"rate_limit,omitempty"`
}

// SourceInput is the body of POST and PUT: an empty Secret leaves it as it is, or to the server.
type SourceInput struct {
	SourcePolicy
	Secret string `json:"secret,omitempty"`
}

// Sources lists all sources, newest first.
func (c *Client) Sources(ctx context.Context) ([]Source, error) {
	return List[Source](ctx, c, "/sources", nil, 0)
}

// CreateSource makes a source; the answer holds its secret when the server made one.
func (c *Client) CreateSource(ctx context.Context, in SourceInput) (Source, error) {
	var s Source
	err := c.Do(ctx, http.MethodPost, "/sources", nil, in, &s)
	return s, err
}

// ReplaceSource writes all of a source: what is empty goes back to its default, the secret excepted.
func (c *Client) ReplaceSource(ctx context.Context, id posthorn.SourceID, in SourceInput) error {
	return c.Do(ctx, http.MethodPut, "/sources/"+id.String(), nil, in, nil)
}

// DeleteSource deletes a source; its events stay.
func (c *Client) DeleteSource(ctx context.Context, id posthorn.SourceID) error {
	return c.Do(ctx, http.MethodDelete, "/sources/"+id.String(), nil, nil, nil)
}
