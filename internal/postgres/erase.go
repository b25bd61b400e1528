package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// eraseStep bounds the deliveries of one step of an erasure.
const eraseStep = 500

// ErasePayload implements posthorn.PayloadEraser. The old rows are dead for every reader from the commit on; VACUUM removes
// them from the pages, and the log and its archive go their own way.
func (s *Store) ErasePayload(ctx context.Context, tenant posthorn.TenantID, id posthorn.EventID) (time.Time, []posthorn.Delivery, error) {
	var erased time.Time
	err := s.do(ctx, "erase payload", func(ctx context.Context) error {
		return noRow("event", s.pool.QueryRow(ctx, `UPDATE events SET payload = CASE WHEN payload_erased IS NULL THEN '' ELSE payload END,
				payload_erased = coalesce(payload_erased, now())
			WHERE tenant_id = $1 AND id = $2 RETURNING payload_erased`, uuid(tenant.UUID), uuid(id.UUID)).Scan((*moment)(&erased)))
	})
	if err != nil {
		return erased, nil, err
	}
	var ended []posthorn.Delivery
	for from, more := (posthorn.UUID{}), true; more && err == nil; {
		var some []posthorn.Delivery
		if some, from, more, err = s.eraseBodies(ctx, tenant, id, from); err == nil {
			ended = append(ended, some...)
		}
	}
	return erased, ended, err
}

// eraseBodies does one step over an event's deliveries after one of them.
func (s *Store) eraseBodies(ctx context.Context, tenant posthorn.TenantID, event posthorn.EventID, from posthorn.UUID,
) (ended []posthorn.Delivery, last posthorn.UUID, more bool, err error) {
	err = s.write(ctx, "erase bodies", func(ctx context.Context, tx pgx.Tx) error {
		ended, last = nil, from
		type candidate struct {
			locked
			pending bool
		}
		var found []candidate
		var ids uuids
		var b pgx.Batch
		b.Queue(steer)
		b.Queue(`SELECT d.state = 'pending', `+lockedColumns+` FROM deliveries d
			WHERE d.event_id = $1 AND d.tenant_id = $2 AND d.id > $3 ORDER BY d.id LIMIT $4 FOR UPDATE`,
			uuid(event.UUID), uuid(tenant.UUID), [16]byte(from), eraseStep).Query(func(rows pgx.Rows) (err error) {
			found, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (c candidate, err error) {
				err = row.Scan(append([]any{&c.pending}, c.fields()...)...)
				c.lost.delivery = c.id
				return c, err
			})
			return err
		})
		if err := tx.SendBatch(ctx, &b).Close(); err != nil || len(found) == 0 {
			return err
		}
		var endings []ending
		for _, c := range found {
			ids, last = append(ids, c.id), c.id
			if c.pending {
				endings = append(endings, ending{c.locked, posthorn.Cancelled, posthorn.ReasonPayloadErased})
			}
		}
		more = len(found) == eraseStep
		b = pgx.Batch{}
		b.Queue(`UPDATE attempts SET body = NULL, body_truncated = true WHERE delivery_id = ANY($1) AND body IS NOT NULL`, ids)
		if err := tx.SendBatch(ctx, &b).Close(); err != nil || len(endings) == 0 {
			return err
		}
		var err error
		ended, err = end(ctx, tx, endings)
		return err
	})
	return ended, last, more, err
}
