package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/posthorn/posthorn"
)

const replayColumns = `id, tenant_id, state, plan, progress, cursor, error, created_at, started_at, updated_at, completed_at`

func scanReplay(rows interface{ Scan(...any) error }) (*posthorn.Replay, error) {
	var r posthorn.Replay
	var plan, progress string
	var cursor []byte
	err := rows.Scan(&r.ID, &r.TenantID, &r.State, &plan, &progress, &cursor, &r.Error, instant{&r.CreatedAt},
		instant{&r.StartedAt}, instant{&r.UpdatedAt}, instant{&r.CompletedAt})
	copy(r.Cursor[:], cursor)
	if err == nil {
		err = decode(plan, &r.ReplayPlan)
	}
	if err == nil {
		err = decode(progress, &r.ReplayProgress)
	}
	return &r, err
}

func getReplay(q querier, tenant posthorn.TenantID, id posthorn.ReplayID) (*posthorn.Replay, error) {
	r, err := scanReplay(q.queryRow(`SELECT `+replayColumns+` FROM replays WHERE id = ? AND tenant_id = ?`, id, tenant))
	return r, absent("replay", err)
}

// CreateReplay stores a pending replay.
func (s *Store) CreateReplay(ctx context.Context, r *posthorn.Replay) error {
	err := s.write(ctx, func(t *tx) error {
		var active int
		err := t.queryRow(`SELECT count(*) FROM replays INDEXED BY replays_active WHERE completed_at = 0 AND tenant_id = ?`,
			r.TenantID).Scan(&active)
		if err != nil {
			return err
		}
		if active >= posthorn.MaxActiveReplays {
			return posthorn.NewError(posthorn.Conflict, "%d replays are under way; wait for one to end, or cancel one", active)
		}
		r.State, r.CreatedAt, r.UpdatedAt = posthorn.ReplayPending, t.now, t.now
		_, err = t.exec(`INSERT INTO replays (id, tenant_id, state, plan, progress, cursor, created_at, updated_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, r.ID, r.TenantID, string(r.State), document(r.ReplayPlan, false),
			document(r.ReplayProgress, false), r.Cursor[:], stamp(t.now), stamp(t.now))
		if constraint(err) {
			return posthorn.NewError(posthorn.Conflict, "a replay with this id exists")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("create replay: %w", err)
	}
	return nil
}

// GetReplay reads one.
func (s *Store) GetReplay(ctx context.Context, tenant posthorn.TenantID, id posthorn.ReplayID) (*posthorn.Replay, error) {
	r, err := getReplay(s.read(ctx), tenant, id)
	if err != nil {
		return nil, fmt.Errorf("read replay: %w", fault(err))
	}
	return r, nil
}

// ListReplays lists newest first.
func (s *Store) ListReplays(ctx context.Context, tenant posthorn.TenantID, p posthorn.Page) ([]posthorn.Replay, posthorn.UUID, error) {
	list := newListing[posthorn.Replay](p)
	rows, err := s.read(ctx).query(`SELECT `+replayColumns+` FROM replays WHERE tenant_id = ? AND id < ? ORDER BY id DESC LIMIT ?`,
		tenant, list.before[:], list.limit+1)
	err = each(rows, err, func(rows *sql.Rows) error {
		r, err := scanReplay(rows)
		if err != nil {
			return err
		}
		return list.add(*r, r.ID.UUID, true)
	})
	if err != nil {
		return nil, posthorn.UUID{}, fmt.Errorf("list replays: %w", fault(err))
	}
	return list.rows, list.next, nil
}

// ActiveReplays reads those that have not ended, oldest first.
func (s *Store) ActiveReplays(ctx context.Context, limit int) (active []posthorn.Replay, err error) {
	rows, err := s.read(ctx).query(`SELECT `+replayColumns+` FROM replays INDEXED BY replays_active WHERE completed_at = 0
		ORDER BY id LIMIT ?`, limit)
	err = each(rows, err, func(rows *sql.Rows) error {
		r, err := scanReplay(rows)
		if err == nil {
			active = append(active, *r)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read active replays: %w", fault(err))
	}
	return active, nil
}

// CancelReplay ends an active replay.
func (s *Store) CancelReplay(ctx context.Context, tenant posthorn.TenantID, id posthorn.ReplayID) (*posthorn.Replay, error) {
	var r *posthorn.Replay
	err := s.write(ctx, func(t *tx) (err error) {
		if r, err = getReplay(t, tenant, id); err != nil {
			return err
		}
		if r.State.Ended() {
			return posthorn.HasEnded("replay")
		}
		r.State, r.UpdatedAt, r.CompletedAt = posthorn.ReplayCancelled, t.now, t.now
		return t.updateReplay(r)
	})
	if err != nil {
		return nil, fmt.Errorf("cancel replay: %w", err)
	}
	return r, nil
}

func (t *tx) updateReplay(r *posthorn.Replay) error {
	_, err := t.exec(`UPDATE replays SET state = ?, progress = ?, cursor = ?, error = ?, started_at = ?, updated_at = ?,
		completed_at = ? WHERE id = ?`, string(r.State), document(r.ReplayProgress, false), r.Cursor[:], r.Error,
		stamp(r.StartedAt), stamp(r.UpdatedAt), stamp(r.CompletedAt), r.ID)
	return err
}

// backlogLooked bounds the deliveries of a replay that are looked at for its backlog: the latest ones.
const backlogLooked = 5000

// ReplayBacklog counts what is due of the replay's latest deliveries in lanes that are being sent to.
func (s *Store) ReplayBacklog(ctx context.Context, r *posthorn.Replay, limit int) (n int, err error) {
	now := stamp(s.Now())
	err = s.read(ctx).queryRow(`SELECT count(*) FROM (
		SELECT 1 FROM (SELECT subscription_id, visible_at, state FROM deliveries INDEXED BY deliveries_by_replay
				WHERE replay_id = ? ORDER BY id DESC LIMIT ?) AS d
			CROSS JOIN lanes AS l ON l.subscription_id = d.subscription_id
		WHERE d.state = 0 AND d.visible_at <= ? AND l.phase = 0 AND l.throttled_until <= ? AND l.breaker_opens = 0 LIMIT ?)`,
		r.ID, backlogLooked, now, now, limit).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count a replay's backlog: %w", fault(err))
	}
	return n, nil
}
