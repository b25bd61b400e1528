package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

const (
	// fifoKeys bounds the ordering keys of one lane that one look goes over, fifoLook those of all its lanes together; each
	// lane gets at least fifoLeast.
	fifoKeys, fifoLook, fifoLeast = 1000, 20_000, 16
	// yieldedLook bounds those looked at of what has left a lane's order.
	yieldedLook = 256
)

// fifoCursors remember where the look at a FIFO lane with more keys than that goes on.
type fifoCursors struct {
	mu sync.Mutex
	at map[posthorn.UUID]string
}

func (f *fifoCursors) get(lane posthorn.UUID) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at[lane]
}

func (f *fifoCursors) set(lane posthorn.UUID, key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if key == "" {
		delete(f.at, lane)
		return
	}
	if f.at == nil {
		f.at = map[posthorn.UUID]string{}
	}
	f.at[lane] = key
}

// yielded are the deliveries of a lane that have left its order, the earliest due first, at most $5: they wait for no other.
const yielded = `
	SELECT coalesce(array_agg(y.id ORDER BY y.visible_at) FILTER (WHERE y.visible_at <= now()), '{}') AS due,
		min(y.visible_at) FILTER (WHERE y.visible_at <= now()) AS since, min(y.visible_at) FILTER (WHERE y.visible_at > now()) AS next
	FROM (SELECT d.id, d.visible_at FROM deliveries d
		WHERE d.subscription_id = q.lane AND d.queued AND d.sequence < 0
			AND (d.expires_at IS NULL OR d.expires_at > now()) AND (d.manual <> 0 OR NOT q.by_hand)
		ORDER BY d.subscription_id, d.visible_at LIMIT $5) y`

// heads walks the ordering keys of FIFO lanes ($1), each from a key on ($2), at most $4 of each: of every key the lowest
// pending delivery, which alone may be given. A retry by hand can put one below another that is under way already, so
// for those the lane's claims are read, once, where the queue's index has what a lease can reach ($6, with what two
// transactions may be apart); with $3 only such retries count. It answers per lane: the due ones, how many keys
// there were and which was the last, since when the first of them is due and when the next of the others will be; and the
// yielded ones beside.
const heads = `
SELECT q.n, h.due, y.due, h.keys, h.last, least(h.since, y.since), least(h.next, y.next)
FROM unnest($1::uuid[], $2::text[], $3::bool[]) WITH ORDINALITY AS q(lane, after, by_hand, n) CROSS JOIN LATERAL (
	WITH RECURSIVE head AS (
		(SELECT d.ordering_key, d.id, d.visible_at, d.expires_at, d.manual, d.claim, 1 AS step FROM deliveries d
			WHERE d.subscription_id = q.lane AND d.queued AND d.sequence > 0 AND d.ordering_key >= q.after
			ORDER BY d.subscription_id, d.ordering_key, d.sequence LIMIT 1)
		UNION ALL
		SELECT n.*, head.step + 1 FROM head CROSS JOIN LATERAL (
			SELECT d.ordering_key, d.id, d.visible_at, d.expires_at, d.manual, d.claim FROM deliveries d
			WHERE d.subscription_id = q.lane AND d.queued AND d.sequence > 0 AND d.ordering_key > head.ordering_key
			ORDER BY d.subscription_id, d.ordering_key, d.sequence LIMIT 1) n
		WHERE head.step < $4
	), under_way AS MATERIALIZED (
		SELECT d.ordering_key, d.sequence FROM deliveries d WHERE d.subscription_id = q.lane AND d.queued
			AND d.visible_at > now() AND d.visible_at <= now() + $6::interval AND d.claim IS NOT NULL
	), judged AS MATERIALIZED (
		SELECT head.*, head.visible_at <= now() AND (head.expires_at IS NULL OR head.expires_at > now()) AND (head.manual <> 0 OR NOT q.by_hand)
			AND (head.manual = 0 OR head.ordering_key NOT IN (SELECT ordering_key FROM under_way WHERE sequence > 0)) AS ready
		FROM head
	)
	SELECT coalesce(array_agg(j.id ORDER BY j.step) FILTER (WHERE j.ready), '{}') AS due, count(*) AS keys,
		coalesce((array_agg(j.ordering_key ORDER BY j.step DESC))[1], '') AS last,
		min(j.visible_at) FILTER (WHERE j.ready) AS since, min(j.visible_at) FILTER (WHERE j.visible_at > now()) AS next
	FROM judged j) h CROSS JOIN LATERAL (` + yielded + `) y`

// ordered is what a look at a FIFO lane found.
type ordered struct {
	due []posthorn.UUID
	// more keys are there than were looked at.
	more bool
	// since is when the first of the due ones became so; next when one of the others will, a claim's lease included.
	since, next time.Time
}

// lookOrdered looks at FIFO lanes, through a pool or a transaction; the answers are in the order of the lanes. Where a lane
// has more keys than one look, the next goes on behind this one: after a look to take from, and after one that found nothing.
func (s *Store) lookOrdered(ctx context.Context, q interface {
	SendBatch(context.Context, *pgx.Batch) pgx.BatchResults
}, lanes []posthorn.UUID, byHand []bool, taking bool,
) ([]ordered, error) {
	found := make([]ordered, len(lanes))
	if len(lanes) == 0 {
		return found, nil
	}
	after := make([]string, len(lanes))
	for i, lane := range lanes {
		after[i] = s.fifo.get(lane)
	}
	most := min(max(fifoLook/len(lanes), fifoLeast), fifoKeys)
	var b pgx.Batch
	b.Queue(steer)
	b.Queue(heads, uuids(lanes), after, byHand, most, min(most, yieldedLook), 2*posthorn.Lease).Query(func(rows pgx.Rows) error {
		var place, keys int
		var due, beside [][16]byte
		var last string
		var o ordered
		_, err := pgx.ForEachRow(rows, []any{&place, &due, &beside, &keys, &last, (*moment)(&o.since), (*moment)(&o.next)}, func() error {
			o.due = alternate(due, beside)
			if o.more = keys >= most; !o.more {
				last = ""
			}
			if taking || len(o.due) == 0 {
				s.fifo.set(lanes[place-1], last)
			}
			found[place-1] = o
			return nil
		})
		return err
	})
	err := q.SendBatch(ctx, &b).Close()
	return found, err
}

// alternate mixes two lists, so that neither the order nor what has left it waits for all of the other.
func alternate(a, b [][16]byte) []posthorn.UUID {
	mixed := make([]posthorn.UUID, 0, len(a)+len(b))
	for i := range max(len(a), len(b)) {
		if i < len(a) {
			mixed = append(mixed, a[i])
		}
		if i < len(b) {
			mixed = append(mixed, b[i])
		}
	}
	return mixed
}
