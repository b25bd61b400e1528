package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// replayColumns and replayFields belong together; r is the replay.
const replayColumns = `r.id, r.tenant_id, r.state, r.plan::text, r.progress::text, r.cursor, r.error, r.created_at, r.started_at,
	r.updated_at, r.completed_at`

func replayFields(r *posthorn.Replay, plan, progress **string) []any {
	return []any{
		(*uuid)(&r.ID.UUID), (*uuid)(&r.TenantID.UUID), &r.State, plan, progress, (*uuid)(&r.Cursor), &r.Error,
		(*moment)(&r.CreatedAt), (*moment)(&r.StartedAt), (*moment)(&r.UpdatedAt), (*moment)(&r.CompletedAt),
	}
}

func scanReplay(row pgx.CollectableRow) (posthorn.Replay, error) {
	var r posthorn.Replay
	var plan, progress *string
	err := row.Scan(replayFields(&r, &plan, &progress)...)
	if err == nil {
		err = fromDocument(plan, &r.ReplayPlan)
	}
	if err == nil {
		err = fromDocument(progress, &r.ReplayProgress)
	}
	return r, err
}

// CreateReplay implements posthorn.ReplayStore.
func (s *Store) CreateReplay(ctx context.Context, r *posthorn.Replay) error {
	err := s.write(ctx, "create replay", func(ctx context.Context, tx pgx.Tx) error {
		var active int
		// The tenant's row is held so that two requests do not count at once.
		if _, err := tx.Exec(ctx, `SELECT FROM tenants WHERE id = $1 FOR NO KEY UPDATE`, uuid(r.TenantID.UUID)); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, `SELECT count(*) FROM replays WHERE completed_at IS NULL AND tenant_id = $1`,
			uuid(r.TenantID.UUID)).Scan(&active)
		if err != nil {
			return err
		}
		if active >= posthorn.MaxActiveReplays {
			return posthorn.NewError(posthorn.Conflict, "%d replays are under way; wait for one to end, or cancel one", active)
		}
		r.State = posthorn.ReplayPending
		err = tx.QueryRow(ctx, `INSERT INTO replays (id, tenant_id, state, plan, progress, cursor, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, now(), now()) RETURNING created_at`, uuid(r.ID.UUID), uuid(r.TenantID.UUID),
			string(r.State), document(r.ReplayPlan), document(r.ReplayProgress), [16]byte(r.Cursor)).Scan((*moment)(&r.CreatedAt))
		r.UpdatedAt = r.CreatedAt
		return err
	})
	if codeOf(err) == codeUnique {
		return posthorn.NewError(posthorn.Conflict, "a replay with this id exists")
	}
	return err
}

// GetReplay implements posthorn.ReplayStore.
func (s *Store) GetReplay(ctx context.Context, tenant posthorn.TenantID, id posthorn.ReplayID) (*posthorn.Replay, error) {
	return one(ctx, s, "replay", scanReplay, `SELECT `+replayColumns+` FROM replays r WHERE r.id = $1 AND r.tenant_id = $2`,
		uuid(id.UUID), uuid(tenant.UUID))
}

// ListReplays implements posthorn.ReplayStore.
func (s *Store) ListReplays(ctx context.Context, tenant posthorn.TenantID, p posthorn.Page) ([]posthorn.Replay, posthorn.UUID, error) {
	return page(p, func(r *posthorn.Replay) posthorn.UUID { return r.ID.UUID }, nil,
		func(before posthorn.UUID, n int) ([]posthorn.Replay, error) {
			return many(ctx, s, "list replays", scanReplay, `SELECT `+replayColumns+` FROM replays r
				WHERE r.tenant_id = $1 AND r.id < $2 ORDER BY r.id DESC LIMIT $3`, uuid(tenant.UUID), uuid(before), n)
		})
}

// ActiveReplays implements posthorn.ReplayStore.
func (s *Store) ActiveReplays(ctx context.Context, limit int) ([]posthorn.Replay, error) {
	return many(ctx, s, "read active replays", scanReplay, `SELECT `+replayColumns+` FROM replays r
		WHERE r.completed_at IS NULL ORDER BY r.id LIMIT $1`, limit)
}

// CancelReplay implements posthorn.ReplayStore.
func (s *Store) CancelReplay(ctx context.Context, tenant posthorn.TenantID, id posthorn.ReplayID) (*posthorn.Replay, error) {
	var r *posthorn.Replay
	err := s.write(ctx, "cancel replay", func(ctx context.Context, tx pgx.Tx) (err error) {
		var held lockedReplay
		if held, err = lockReplay(ctx, tx, tenant, id); err != nil {
			return err
		}
		if r = &held.Replay; r.State.Ended() {
			return posthorn.HasEnded("replay")
		}
		r.State, r.UpdatedAt, r.CompletedAt = posthorn.ReplayCancelled, held.now, held.now
		var b pgx.Batch
		queueReplay(&b, r)
		return tx.SendBatch(ctx, &b).Close()
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// ReplayBacklog implements posthorn.ReplayStore. It looks at the latest 5,000, whatever became of them.
func (s *Store) ReplayBacklog(ctx context.Context, r *posthorn.Replay, limit int) (n int, err error) {
	err = s.do(ctx, "count a replay's backlog", func(ctx context.Context) error {
		var b pgx.Batch
		b.Queue(steer)
		b.Queue(`SELECT count(*) FROM (SELECT FROM (
				SELECT subscription_id, visible_at, state FROM deliveries WHERE replay_id = $1 ORDER BY id DESC LIMIT 5000) d
			CROSS JOIN LATERAL (SELECT * FROM lanes l WHERE l.subscription_id = d.subscription_id OFFSET 0) l
			WHERE d.state = 'pending' AND d.visible_at <= now() AND l.status = 'active' AND NOT l.deleted AND l.breaker_opens = 0
				AND coalesce(l.throttled_until <= now(), true) LIMIT $2) due`, uuid(r.ID.UUID), limit).
			QueryRow(func(row pgx.Row) error { return row.Scan(&n) })
		return s.pool.SendBatch(ctx, &b).Close()
	})
	return n, err
}
