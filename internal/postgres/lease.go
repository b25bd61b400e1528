package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// claimRows are claims as arrays, in order of delivery, so that two batches cannot wait for each other.
func claimRows(claims []posthorn.Claim) (ids, tokens uuids) {
	sorted := slices.Clone(claims)
	slices.SortFunc(sorted, func(a, b posthorn.Claim) int { return compareIDs(a.DeliveryID.UUID, b.DeliveryID.UUID) })
	for _, c := range sorted {
		ids, tokens = append(ids, c.DeliveryID.UUID), append(tokens, c.Attempt.UUID)
	}
	return ids, tokens
}

// RenewClaims implements posthorn.DeliveryQueue.
func (s *Store) RenewClaims(ctx context.Context, claims []posthorn.Claim) ([]posthorn.Claim, error) {
	if len(claims) == 0 {
		return nil, nil
	}
	ids, tokens := claimRows(claims)
	var held map[posthorn.UUID]bool
	err := s.do(ctx, "renew claims", func(ctx context.Context) error {
		held = make(map[posthorn.UUID]bool, len(claims))
		var b pgx.Batch
		b.Queue(steer)
		sent := time.Now()
		b.Queue(`UPDATE deliveries d SET visible_at = now() + $3::interval, queued = true FROM unnest($1::uuid[], $2::uuid[]) AS i(id, token)
			WHERE d.id = i.id AND d.claim = i.token RETURNING i.token, now()`,
			ids, tokens, posthorn.Lease).Query(func(rows pgx.Rows) error {
			var token posthorn.UUID
			var now time.Time
			_, err := pgx.ForEachRow(rows, []any{(*uuid)(&token), (*moment)(&now)}, func() error {
				held[token] = true
				return nil
			})
			if !now.IsZero() {
				s.setClock(sent, now, time.Now())
			}
			return err
		})
		return s.pool.SendBatch(ctx, &b).Close()
	})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(claims), func(c posthorn.Claim) bool { return held[c.Attempt.UUID] }), nil
}

// ReleaseClaims implements posthorn.DeliveryQueue. A retry by hand stays due at once, whatever its schedule.
func (s *Store) ReleaseClaims(ctx context.Context, claims []posthorn.Claim) error {
	if len(claims) == 0 {
		return nil
	}
	ids, tokens := claimRows(claims)
	return s.do(ctx, "release claims", func(ctx context.Context) error {
		var b pgx.Batch
		b.Queue(steer)
		b.Queue(`UPDATE deliveries d SET visible_at = least(d.due_at, now()), claim = NULL, claimed_by = NULL,
				attempts = d.attempts - 1, updated_at = now(), queued = true
			FROM unnest($1::uuid[], $2::uuid[]) AS i(id, token)
			WHERE d.id = i.id AND d.claim = i.token`, ids, tokens)
		return s.pool.SendBatch(ctx, &b).Close()
	})
}
