package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/client"
)

// Replays lists the newest replays.
func (c *Console) Replays(ctx context.Context, most int) error {
	if c.json {
		return c.list(ctx, "/replays", nil, most)
	}
	replays, err := c.client.Replays(ctx, most)
	if err != nil {
		return err
	}
	rows := make([][]string, len(replays))
	for i, r := range replays {
		rows[i] = []string{
			r.ID.String(), string(r.Status), string(r.To), strconv.Itoa(r.Created), strconv.Itoa(r.Skipped), total(r.Total), when(r.CreatedAt),
		}
	}
	return c.table("ID STATUS TO CREATED SKIPPED OF MADE", rows)
}

// Replay shows how far a replay has come.
func (c *Console) Replay(ctx context.Context, id posthorn.ReplayID) error {
	if c.json {
		return c.raw(ctx, "/replays/"+id.String())
	}
	r, err := c.client.Replay(ctx, id)
	if err != nil {
		return err
	}
	return c.fields("id", r.ID.String(), "status", string(r.Status), "to", string(r.To), "total", total(r.Total),
		"matched", strconv.Itoa(r.Matched), "created", strconv.Itoa(r.Created), "skipped", strconv.Itoa(r.Skipped),
		"per second", fmt.Sprintf("%.1f", r.PerSecond), "error", show(r.Error), "made", when(r.CreatedAt), "updated", when(r.UpdatedAt),
		"completed", whenever(r.CompletedAt))
}

// CreateReplay makes a replay of a body in the API's words; a dry run only says what it would do.
func (c *Console) CreateReplay(ctx context.Context, body map[string]any, dryRun bool) error {
	var is json.RawMessage
	if err := c.client.Do(ctx, http.MethodPost, "/replays", nil, body, &is); err != nil {
		return err
	}
	if c.json {
		return c.asJSON(is)
	}
	if !dryRun {
		var r client.Replay
		err := json.Unmarshal(is, &r)
		fmt.Fprintln(c.out, r.ID.String()+"  "+string(r.Status)+"  "+total(r.Total)+" found")
		return err
	}
	var count client.ReplayCount
	err := json.Unmarshal(is, &count)
	least := ""
	if !count.Complete {
		least = "at least "
	}
	fmt.Fprintf(c.out, "%s%d deliveries would be made of %d found, %d skipped\n", least, count.Deliveries, count.Matched, count.Skipped)
	return err
}

func total(n *int) string {
	if n == nil {
		return "-"
	}
	return strconv.Itoa(*n)
}
