package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/posthorn/posthorn"
)

// StepReplay makes the step's deliveries and moves the cursor, in one transaction.
func (s *Store) StepReplay(ctx context.Context, step posthorn.ReplayStep) (*posthorn.Replay, error) {
	var r *posthorn.Replay
	err := s.write(ctx, func(t *tx) (err error) {
		if r, err = getReplay(t, step.TenantID, step.ID); err != nil {
			return err
		}
		if r.State.Ended() || r.Cursor != step.From {
			return posthorn.NewError(posthorn.Conflict, "the replay has ended or gone on")
		}
		c := copying{intake: &intake{tx: t}}
		if err := c.load(&step); err != nil {
			return err
		}
		for i := range step.Copies {
			c.copy(&step, &step.Copies[i])
		}
		if err := c.store(); err != nil {
			return err
		}
		r.Advance(&step, c.made, c.skipped, t.now)
		return t.updateReplay(r)
	})
	if err != nil {
		return nil, fmt.Errorf("step replay: %w", err)
	}
	return r, nil
}

// copying is the deliveries of one step on their way into the store.
type copying struct {
	*intake
	stored map[posthorn.EventID]*posthorn.Event
	// superseded are the pairs of which the plan did not know the latest delivery, and those made by now.
	superseded map[pair]bool
	made       int
	skipped    posthorn.ReplaySkips
}

// pair is an event and a subscription.
type pair struct {
	event        posthorn.EventID
	subscription posthorn.SubscriptionID
}

func (c *copying) load(step *posthorn.ReplayStep) (err error) {
	var lanes []posthorn.SubscriptionID
	var events, pairs []any
	seen := map[posthorn.UUID]bool{}
	for i := range step.Copies {
		m := &step.Copies[i]
		if !seen[m.EventID.UUID] {
			seen[m.EventID.UUID] = true
			events = append(events, step.TenantID.UUID[:], m.EventID.UUID[:])
		}
		if !seen[m.SubscriptionID.UUID] {
			seen[m.SubscriptionID.UUID] = true
			lanes = append(lanes, m.SubscriptionID)
		}
		pairs = append(pairs, m.EventID.UUID[:], m.SubscriptionID.UUID[:], m.Seen.UUID[:])
	}
	if c.lanes, err = c.tx.lanes(lanes); err != nil {
		return err
	}
	c.stored = map[posthorn.EventID]*posthorn.Event{}
	err = c.bulkQuery(`SELECT tenant_id, id, type, ordering_key, expires_at, payload_erased FROM events
		WHERE (tenant_id, id) IN (VALUES ROWS)`, 2, events, func(rows *sql.Rows) error {
		var e posthorn.Event
		err := rows.Scan(&e.TenantID, &e.ID, &e.Type, &e.OrderingKey, instant{&e.ExpiresAt}, instant{&e.PayloadErased})
		c.stored[e.ID] = &e
		return err
	})
	if err != nil {
		return err
	}
	c.superseded = map[pair]bool{}
	return c.bulkQuery(`SELECT k.column1, k.column2 FROM (VALUES ROWS) AS k
		WHERE EXISTS (SELECT 1 FROM deliveries AS n INDEXED BY deliveries_by_event
			WHERE n.event_id = k.column1 AND n.subscription_id = k.column2 AND (n.id > k.column3 OR n.state = 0))`, 3, pairs,
		func(rows *sql.Rows) error {
			var p pair
			err := rows.Scan(&p.event, &p.subscription)
			c.superseded[p] = true
			return err
		})
}

// copy makes one delivery, or counts why not.
func (c *copying) copy(step *posthorn.ReplayStep, m *posthorn.ReplayCopy) {
	e, l := c.stored[m.EventID], c.lanes[m.SubscriptionID]
	p := pair{m.EventID, m.SubscriptionID}
	switch {
	case e == nil:
		c.skipped.Gone++
	case !e.PayloadErased.IsZero():
		c.skipped.Erased++
	case !e.ExpiresAt.IsZero() && !e.ExpiresAt.After(c.now):
		c.skipped.Expired++
	case l == nil || l.phase == laneGone || l.TenantID != step.TenantID:
		c.skipped.Deleted++
	case c.superseded[p]:
		c.skipped.Superseded++
	default:
		match := m.Match
		match.Attempt = posthorn.AttemptID{}
		c.deliver(e, match, l, step.ID)
		c.superseded[p] = true
		c.made++
	}
}
