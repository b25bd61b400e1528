package postgres

import (
	"context"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// fifoKeys bounds the ordering keys of one lane that one claim looks at.
const fifoKeys = 1000

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

// heads walks the ordering keys of a FIFO lane ($1) from one on ($2), at most $3: of each the lowest pending delivery,
// which alone may be given. A retry by hand can put one below another that is under way already, so there the next few
// are looked at too. The last row says how far the walk came.
const heads = `
WITH RECURSIVE head AS (
	(SELECT d.ordering_key, d.id, d.visible_at, d.expires_at, d.manual, 1 AS step FROM deliveries d
		WHERE d.subscription_id = $1 AND d.state = 'pending' AND d.sequence > 0 AND d.ordering_key >= $2
		ORDER BY d.ordering_key, d.sequence LIMIT 1)
	UNION ALL
	SELECT n.ordering_key, n.id, n.visible_at, n.expires_at, n.manual, head.step + 1 FROM head CROSS JOIN LATERAL (
		SELECT d.ordering_key, d.id, d.visible_at, d.expires_at, d.manual FROM deliveries d
		WHERE d.subscription_id = $1 AND d.state = 'pending' AND d.sequence > 0 AND d.ordering_key > head.ordering_key
		ORDER BY d.ordering_key, d.sequence LIMIT 1) n
	WHERE head.step < $3)
SELECT head.ordering_key, head.id,
	head.visible_at <= now() AND (head.expires_at IS NULL OR head.expires_at > now()) AND (head.manual <> 0 OR NOT $4) AND
	(head.manual = 0 OR NOT EXISTS (
		SELECT FROM (SELECT d.claim, d.visible_at FROM deliveries d
			WHERE d.subscription_id = $1 AND d.state = 'pending' AND d.sequence > 0 AND d.ordering_key = head.ordering_key
			ORDER BY d.ordering_key, d.sequence LIMIT 100) d
		WHERE d.claim IS NOT NULL AND d.visible_at > now()))
FROM head`

// pick locks deliveries of the planned lanes and puts them in order: retries by hand, then the first of each lane, then
// the second of each. Lanes that gave all of their share are asked for more while there is room that others left.
func (c *claim) pick(ctx context.Context, tx pgx.Tx, s *Store) error {
	manual, err := c.lockThese(ctx, tx, c.plan.manual)
	if err != nil {
		return err
	}
	given := make([][]pick, len(c.plan.lanes))
	for range claimRounds {
		if err := c.pickRound(ctx, tx, s, given); err != nil {
			return err
		}
		total, more := len(manual), 0
		for i := range given {
			total += len(given[i])
			if l := &c.plan.lanes[i]; len(given[i]) >= l.share && l.share < l.room {
				more++
			}
		}
		rest := c.req.Limit - total
		if more == 0 || rest <= 0 {
			break
		}
		for i := range given {
			if l := &c.plan.lanes[i]; len(given[i]) >= l.share && l.share < l.room {
				l.share = min(l.room, l.share+(rest+more-1)/more)
			}
		}
	}
	c.arrange(manual, given)
	return nil
}

// pickRound locks what the lanes give that were not asked before, or whose share has grown.
func (c *claim) pickRound(ctx context.Context, tx pgx.Tx, s *Store, given [][]pick) error {
	var lanes uuids
	var shares []int32
	var fifo []bool
	places := map[posthorn.UUID]int{}
	for i := range c.plan.lanes {
		l := &c.plan.lanes[i]
		if l.room == 0 || l.share <= l.asked {
			continue
		}
		l.asked = l.share
		places[l.SubscriptionID.UUID] = i
		given[i] = nil
		if l.fifo {
			picked, err := c.pickHeads(ctx, tx, s, l)
			if err != nil {
				return err
			}
			given[i] = picked
			if l.manualOnly || !l.strays {
				continue
			}
		}
		lanes, shares, fifo = append(lanes, l.SubscriptionID.UUID), append(shares, int32(l.share)), append(fifo, l.fifo)
	}
	if len(lanes) == 0 {
		return nil
	}
	var picked []pick
	var b pgx.Batch
	b.Queue(steer)
	b.Queue(pickOldest, lanes, shares, fifo).Query(func(rows pgx.Rows) (err error) {
		picked, err = pgx.CollectRows(rows, scanPick)
		return err
	})
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return err
	}
	for _, p := range picked {
		i := places[p.lane]
		given[i] = append(given[i], p)
	}
	return nil
}

// pickHeads locks the lowest delivery of each key of a held FIFO lane.
func (c *claim) pickHeads(ctx context.Context, tx pgx.Tx, s *Store, l *lanePlan) ([]pick, error) {
	lane := l.SubscriptionID.UUID
	var due []posthorn.UUID
	var b pgx.Batch
	b.Queue(steer)
	seen, last := 0, ""
	b.Queue(heads, uuid(lane), s.fifo.get(lane), fifoKeys, l.manualOnly).Query(func(rows pgx.Rows) error {
		defer rows.Close()
		for rows.Next() {
			var id posthorn.UUID
			var ready bool
			if err := rows.Scan(&last, (*uuid)(&id), &ready); err != nil {
				return err
			}
			seen++
			if ready && len(due) < l.share {
				due = append(due, id)
			}
		}
		return rows.Err()
	})
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return nil, err
	}
	if seen < fifoKeys {
		last = ""
	}
	s.fifo.set(lane, last)
	return c.lockThese(ctx, tx, due)
}

func (c *claim) lockThese(ctx context.Context, tx pgx.Tx, ids []posthorn.UUID) ([]pick, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var picked []pick
	var b pgx.Batch
	b.Queue(steer)
	b.Queue(pickThese, uuids(ids)).Query(func(rows pgx.Rows) (err error) {
		picked, err = pgx.CollectRows(rows, scanPick)
		return err
	})
	err := tx.SendBatch(ctx, &b).Close()
	return picked, err
}

// arrange puts the picks in order and cuts them to the limit and the bytes.
func (c *claim) arrange(manual []pick, given [][]pick) {
	bytes := int64(0)
	taken := map[posthorn.UUID]int{}
	seen := map[posthorn.UUID]bool{}
	// take is false when nothing more fits.
	take := func(p pick, room int) bool {
		if seen[p.id] || taken[p.lane] >= room {
			return true
		}
		if len(c.picks) >= c.req.Limit || len(c.picks) > 0 && bytes+p.bytes > c.req.MaxBytes {
			c.limited = true
			return false
		}
		seen[p.id] = true
		taken[p.lane]++
		bytes += p.bytes
		c.picks = append(c.picks, p)
		return true
	}
	for _, p := range manual {
		if !take(p, roomOf(c.req, posthorn.SubscriptionID{UUID: p.lane})) {
			return
		}
	}
	for nth := 0; ; nth++ {
		any := false
		for i := range given {
			if nth >= len(given[i]) {
				continue
			}
			any = true
			// A probe beside manual retries does not share their room.
			room := max(c.plan.lanes[i].room, roomOf(c.req, c.plan.lanes[i].SubscriptionID))
			if !take(given[i][nth], room) {
				return
			}
		}
		if !any {
			c.limited = c.limited || len(c.picks) >= c.req.Limit
			return
		}
	}
}
