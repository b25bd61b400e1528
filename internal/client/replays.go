package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/posthorn/posthorn"
)

// Replay as it is shown, as far as the commands show it.
type Replay struct {
	ID          posthorn.ReplayID     `json:"id"`
	Status      posthorn.ReplayState  `json:"status"`
	To          posthorn.ReplayTarget `json:"to"`
	Total       *int                  `json:"total"`
	Matched     int                   `json:"matched"`
	Created     int                   `json:"created"`
	Skipped     int                   `json:"skipped"`
	PerSecond   float64               `json:"created_per_second"`
	Error       *string               `json:"error"`
	CreatedAt   time.Time             `json:"created_at"`
	UpdatedAt   time.Time             `json:"updated_at"`
	CompletedAt *time.Time            `json:"completed_at"`
}

// ReplayCount is what a replay would do.
type ReplayCount struct {
	Matched    int  `json:"matched"`
	Deliveries int  `json:"deliveries"`
	Skipped    int  `json:"skipped"`
	Complete   bool `json:"complete"`
}

// Replays lists at most most replays, newest first; zero is all.
func (c *Client) Replays(ctx context.Context, most int) ([]Replay, error) {
	return List[Replay](ctx, c, "/replays", url.Values{}, most)
}

// Replay reads a replay.
func (c *Client) Replay(ctx context.Context, id posthorn.ReplayID) (Replay, error) {
	var r Replay
	err := c.Do(ctx, http.MethodGet, "/replays/"+id.String(), nil, nil, &r)
	return r, err
}
