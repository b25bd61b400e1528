package postgres

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// lockedReplay is a replay held for a change, and the moment of it.
type lockedReplay struct {
	posthorn.Replay
	now time.Time
}

func lockReplay(ctx context.Context, tx pgx.Tx, tenant posthorn.TenantID, id posthorn.ReplayID) (lockedReplay, error) {
	var held lockedReplay
	rows, err := tx.Query(ctx, `SELECT now(), `+replayColumns+` FROM replays r WHERE r.id = $1 AND r.tenant_id = $2 FOR UPDATE`,
		uuid(id.UUID), uuid(tenant.UUID))
	if err != nil {
		return held, err
	}
	held, err = pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (held lockedReplay, err error) {
		var plan, progress *string
		if err = row.Scan(append([]any{(*moment)(&held.now)}, replayFields(&held.Replay, &plan, &progress)...)...); err != nil {
			return held, err
		}
		return held, errors.Join(fromDocument(plan, &held.ReplayPlan), fromDocument(progress, &held.ReplayProgress))
	})
	return held, noRow("replay", err)
}

func queueReplay(b *pgx.Batch, r *posthorn.Replay) {
	b.Queue(`UPDATE replays SET state = $2, progress = $3, cursor = $4, error = $5, started_at = $6, updated_at = $7,
		completed_at = $8 WHERE id = $1`, uuid(r.ID.UUID), string(r.State), document(r.ReplayProgress), [16]byte(r.Cursor), r.Error,
		moment(r.StartedAt), moment(r.UpdatedAt), moment(r.CompletedAt))
}

// lockSources holds the events of a step, in order of id: two replays of one event wait for each other here, and an erasure
// for both. What comes after sees what the other has made.
const lockSources = `SELECT 1 FROM unnest($2::uuid[]) AS k(id) CROSS JOIN LATERAL (
	SELECT * FROM events e WHERE e.tenant_id = $1 AND e.id = k.id FOR NO KEY UPDATE) e`

// judgeCopies says of each copy ($2 event, $3 subscription, $4 the latest delivery known) why it is not made.
const judgeCopies = `
SELECT CASE WHEN e.id IS NULL THEN 'gone' WHEN e.payload_erased IS NOT NULL THEN 'erased' WHEN e.expires_at <= now() THEN 'expired'
	WHEN l.subscription_id IS NULL THEN 'deleted' WHEN n.id IS NOT NULL THEN 'superseded' ELSE '' END
FROM unnest($2::uuid[], $3::uuid[], $4::uuid[]) WITH ORDINALITY AS k(event_id, subscription_id, seen, n)
LEFT JOIN LATERAL (SELECT * FROM events e WHERE e.tenant_id = $1 AND e.id = k.event_id OFFSET 0) e ON true
LEFT JOIN LATERAL (SELECT * FROM lanes l WHERE l.subscription_id = k.subscription_id AND l.tenant_id = $1 AND NOT l.deleted
	OFFSET 0) l ON true
LEFT JOIN LATERAL (SELECT n.id FROM ` + ofEvent + ` WHERE n.subscription_id = k.subscription_id
	AND (k.seen IS NULL OR n.id > k.seen OR n.state = 'pending') LIMIT 1) n ON true
ORDER BY k.n`

// copyDeliveries makes new deliveries of stored events, whose FIFO lanes are locked. Deleted subscriptions are left out.
const copyDeliveries = `
WITH wanted AS MATERIALIZED (
	SELECT m.id, m.event_id, m.subscription_id, m.reason, l.fifo, l.next_sequence, l.held_for + coalesce(now() - l.held_since, '0') AS held,
		row_number() OVER (PARTITION BY m.subscription_id ORDER BY m.n) AS nth
	FROM unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::text[]) WITH ORDINALITY AS m(id, event_id, subscription_id, reason, n)
	CROSS JOIN LATERAL (SELECT * FROM lanes l
		WHERE l.subscription_id = m.subscription_id AND l.tenant_id = $1 AND NOT l.deleted OFFSET 0) l
), advanced AS (
	UPDATE lanes SET next_sequence = lanes.next_sequence + c.n
	FROM (SELECT subscription_id, count(*) AS n FROM wanted WHERE fifo GROUP BY subscription_id) c
	WHERE lanes.subscription_id = c.subscription_id
)
INSERT INTO deliveries AS d (id, tenant_id, event_id, subscription_id, created_at, updated_at, due_at, visible_at, completed_at,
	expires_at, replay_id, sequence, held_base, payload_bytes, attempts, spent, interruptions, last_status_code, manual, queued,
	state, reason, event_type, ordering_key, last_outcome, last_error)
SELECT w.id, e.tenant_id, e.id, w.subscription_id, now(), now(), now(), now(), CASE WHEN w.reason <> '' THEN now() END,
	e.expires_at, $2, CASE WHEN w.fifo THEN w.next_sequence - 1 + w.nth ELSE 0 END, nullif(w.held, '0'), octet_length(e.payload),
	0, 0, 0, 0, 0, w.reason = '', CASE WHEN w.reason = '' THEN 'pending' ELSE 'cancelled' END, w.reason, e.type, e.ordering_key, '', ''
FROM wanted w CROSS JOIN LATERAL (SELECT * FROM events e WHERE e.tenant_id = $1 AND e.id = w.event_id OFFSET 0) e ORDER BY w.id`

// StepReplay implements posthorn.ReplayStore.
func (s *Store) StepReplay(ctx context.Context, step posthorn.ReplayStep) (*posthorn.Replay, error) {
	var r *posthorn.Replay
	ids := func() (ids []posthorn.UUID) {
		for _, c := range step.Copies {
			ids = append(ids, c.DeliveryID.UUID)
		}
		return ids
	}
	err := s.do(ctx, "step replay", func(ctx context.Context) error {
		return s.healing(ctx, ids, func() error {
			return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
				held, err := lockReplay(ctx, tx, step.TenantID, step.ID)
				if err != nil {
					return err
				}
				r = &held.Replay
				if r.State.Ended() || r.Cursor != step.From {
					return posthorn.NewError(posthorn.Conflict, "the replay has ended or gone on")
				}
				copies, skipped, err := judge(ctx, tx, &step)
				if err != nil {
					return err
				}
				r.Advance(&step, len(copies), skipped, held.now)
				return storeStep(ctx, tx, r, copies)
			})
		})
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// judge gives the copies of a step that are to be made, and counts the others.
func judge(ctx context.Context, tx pgx.Tx, step *posthorn.ReplayStep) ([]posthorn.ReplayCopy, posthorn.ReplaySkips, error) {
	var skipped posthorn.ReplaySkips
	if len(step.Copies) == 0 {
		return nil, skipped, nil
	}
	var events, subscriptions, seen, sources uuids
	for _, c := range step.Copies {
		events, subscriptions = append(events, c.EventID.UUID), append(subscriptions, c.SubscriptionID.UUID)
		seen = append(seen, c.Seen.UUID)
	}
	sources = slices.Clone(events)
	slices.SortFunc(sources, compareIDs)
	tenant := uuid(step.TenantID.UUID)
	var verdicts []string
	var b pgx.Batch
	b.Queue(steer)
	b.Queue(lockSources, tenant, slices.Compact(sources))
	b.Queue(lockFIFO, subscriptions)
	b.Queue(judgeCopies, tenant, events, subscriptions, seen).Query(func(rows pgx.Rows) (err error) {
		verdicts, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return nil, skipped, err
	}
	copies := make([]posthorn.ReplayCopy, 0, len(step.Copies))
	for i, verdict := range verdicts {
		switch verdict {
		case "gone":
			skipped.Gone++
		case "erased":
			skipped.Erased++
		case "expired":
			skipped.Expired++
		case "deleted":
			skipped.Deleted++
		case "superseded":
			skipped.Superseded++
		default:
			copies = append(copies, step.Copies[i])
		}
	}
	return copies, skipped, nil
}

// storeStep writes the copies and the replay. A subscription deleted since they were judged gets none.
func storeStep(ctx context.Context, tx pgx.Tx, r *posthorn.Replay, copies []posthorn.ReplayCopy) error {
	var b pgx.Batch
	if len(copies) > 0 {
		var ids, events, subscriptions uuids
		var reasons []string
		for _, c := range copies {
			ids, events = append(ids, c.DeliveryID.UUID), append(events, c.EventID.UUID)
			subscriptions, reasons = append(subscriptions, c.SubscriptionID.UUID), append(reasons, string(c.Reason))
		}
		made, err := tx.Exec(ctx, copyDeliveries, uuid(r.TenantID.UUID), uuid(r.ID.UUID), ids, events, subscriptions, reasons)
		if err != nil {
			return err
		}
		late := len(copies) - int(made.RowsAffected())
		r.Created -= late
		r.Skipped.Deleted += late
	}
	queueReplay(&b, r)
	return tx.SendBatch(ctx, &b).Close()
}
