package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
)

// claiming is one claim batch being made.
type claiming struct {
	*ledger
	req    posthorn.ClaimRequest
	rows   map[posthorn.DeliveryID]*candidate
	lanes  map[posthorn.SubscriptionID]*lane
	events map[posthorn.EventID]*posthorn.Event
	batch  posthorn.ClaimBatch
	bytes  int64
}

// candidate is a delivery that the search found, read again.
type candidate struct {
	posthorn.Delivery
	visible time.Time
}

// ClaimDeliveries searches beside the writer, then claims what it found and is still there. One search runs at a time:
// a second one would find the same.
func (s *Store) ClaimDeliveries(ctx context.Context, req posthorn.ClaimRequest) (posthorn.ClaimBatch, error) {
	batch, err := s.claim(ctx, req)
	if err != nil {
		return posthorn.ClaimBatch{}, fmt.Errorf("claim deliveries: %w", err)
	}
	return batch, nil
}

func (s *Store) claim(ctx context.Context, req posthorn.ClaimRequest) (posthorn.ClaimBatch, error) {
	select {
	case s.searching <- struct{}{}:
		defer func() { <-s.searching }()
	case <-ctx.Done():
		return posthorn.ClaimBatch{}, ctx.Err()
	}
	if req.Limit <= 0 {
		return posthorn.ClaimBatch{}, nil
	}
	var ids []posthorn.DeliveryID
	var d due
	err := s.look(ctx, func(r reader) (err error) {
		d = due{reader: r, req: req, now: s.Now(), resume: s.resume}
		ids, err = d.search()
		return err
	})
	if err != nil {
		return posthorn.ClaimBatch{}, err
	}
	next := time.Duration(-1)
	switch {
	case d.more:
		next = 0
	case !d.next.IsZero():
		next = max(d.next.Sub(d.now), time.Microsecond)
	}
	if len(ids) == 0 {
		return posthorn.ClaimBatch{Next: next}, nil
	}
	c := &claiming{req: req}
	c.batch.Next = next
	err = s.write(ctx, func(t *tx) (err error) {
		if c.ledger, err = t.ledger(); err != nil {
			return err
		}
		return c.run(ids)
	})
	return c.batch, err
}

func (c *claiming) run(ids []posthorn.DeliveryID) error {
	if err := c.load(ids); err != nil {
		return err
	}
	for len(ids) > 0 {
		part := ids[:min(len(ids), steps[0])]
		ids = ids[len(part):]
		if err := c.loadEvents(part); err != nil {
			return err
		}
		for _, id := range part {
			row := c.rows[id]
			if row == nil {
				continue
			}
			full, err := c.take(row)
			if err != nil {
				return err
			}
			if full {
				c.batch.Next = 0
				return c.finish()
			}
		}
	}
	return c.finish()
}

// load reads the candidates and their lanes as they are now.
func (c *claiming) load(ids []posthorn.DeliveryID) (err error) {
	c.rows = make(map[posthorn.DeliveryID]*candidate, len(ids))
	c.events = map[posthorn.EventID]*posthorn.Event{}
	args := make([]any, len(ids))
	for i := range ids {
		args[i] = ids[i].UUID[:]
	}
	var lanes []posthorn.SubscriptionID
	seen := map[posthorn.SubscriptionID]bool{}
	err = c.bulkQuery(`SELECT `+deliveryColumns+` FROM deliveries WHERE state = 0 AND visible_at <= ? AND (id) IN (VALUES ROWS)`,
		1, args, func(rows *sql.Rows) error {
			row, visible, err := scanDelivery(rows)
			c.rows[row.ID] = &candidate{row, visible}
			if !seen[row.SubscriptionID] {
				seen[row.SubscriptionID] = true
				lanes = append(lanes, row.SubscriptionID)
			}
			return err
		}, stamp(c.now))
	if err != nil {
		return err
	}
	c.lanes, err = c.tx.lanes(lanes)
	return err
}

// loadEvents reads the events of some of the candidates: a few at a time, since payloads may be large and the bytes end.
func (c *claiming) loadEvents(ids []posthorn.DeliveryID) error {
	var pairs []any
	for _, id := range ids {
		row := c.rows[id]
		if row == nil {
			continue
		}
		if _, ok := c.events[row.EventID]; !ok {
			c.events[row.EventID] = nil
			pairs = append(pairs, row.TenantID.UUID[:], row.EventID.UUID[:])
		}
	}
	return c.bulkQuery(`SELECT `+eventColumns+` FROM events WHERE (tenant_id, id) IN (VALUES ROWS)`, 2, pairs,
		func(rows *sql.Rows) error {
			e, err := scanEvent(rows)
			c.events[e.ID] = e
			return err
		})
}

// take claims one candidate if it still may be; full says that the bytes are used up.
func (c *claiming) take(row *candidate) (full bool, err error) {
	l, e := c.lanes[row.SubscriptionID], c.events[row.EventID]
	if l == nil || e == nil || l.phase != laneOpen {
		return false, nil
	}
	if !l.sends(c.now) {
		probe := l.BreakerOpens > 0 && !l.BreakerUntil.After(c.now) && !l.ThrottledUntil.After(c.now)
		if !probe && row.Manual == posthorn.NotManual {
			return false, nil
		}
	}
	if l.fifo {
		if first, err := c.isFirst(row); !first || err != nil {
			return false, err
		}
	}
	size := int64(len(e.Payload))
	if c.bytes > 0 && c.bytes+size > c.req.MaxBytes {
		return true, nil
	}
	if !row.Claim.IsZero() {
		if stays, err := c.interrupt(row); stays || err != nil {
			return false, err
		}
	}
	if l.BreakerOpens > 0 && !l.BreakerUntil.After(c.now) && row.Manual == posthorn.NotManual {
		l.BreakerUntil = c.leaseEnd()
		l.dirty = true
	}
	c.bytes += size
	return false, c.claim(row, l, e)
}

// isFirst says whether a FIFO delivery is still the lowest pending one of its key.
func (c *claiming) isFirst(row *candidate) (first bool, err error) {
	err = c.queryRow(`SELECT NOT EXISTS (SELECT 1 FROM deliveries WHERE state = 0 AND sequence > 0 AND subscription_id = ?
		AND ordering_key = ? AND sequence < ?)`, row.SubscriptionID, row.OrderingKey, row.Sequence).Scan(&first)
	return first, err
}

func (c *claiming) claim(row *candidate, l *lane, e *posthorn.Event) error {
	d := &row.Delivery
	d.Attempts++
	d.Claim = posthorn.AttemptID{UUID: posthorn.NewUUID(c.now)}
	d.ClaimedBy, d.ClaimedUntil = c.req.Node, c.leaseEnd()
	_, err := c.exec(`UPDATE deliveries SET attempts = ?, visible_at = ?, claim = ?, claimed_by = ? WHERE id = ?`,
		int64(d.Attempts), stamp(d.ClaimedUntil), blob(d.Claim.UUID), blob(d.ClaimedBy.UUID), d.ID.UUID[:])
	c.batch.Claims = append(c.batch.Claims, posthorn.Claimed{
		Claim:    posthorn.Claim{DeliveryID: d.ID, Attempt: d.Claim, Number: d.Attempts},
		Delivery: *d, Event: e, Version: l.version,
	})
	return err
}

// finish writes what came with the claims: probes that began, and interrupted attempts.
func (c *claiming) finish() error {
	given := map[posthorn.SubscriptionID]bool{}
	for i := range c.batch.Claims {
		id := c.batch.Claims[i].Delivery.SubscriptionID
		if given[id] {
			continue
		}
		given[id] = true
		l := c.lanes[id]
		if l.dirty {
			if err := c.updateLane(l); err != nil {
				return err
			}
		}
		c.batch.Lanes = append(c.batch.Lanes, l.Lane)
	}
	return c.close()
}

// RenewClaims extends leases.
func (s *Store) RenewClaims(ctx context.Context, claims []posthorn.Claim) ([]posthorn.Claim, error) {
	var lost []posthorn.Claim
	err := s.write(ctx, func(t *tx) error {
		lost = nil
		for _, c := range claims {
			answer, err := t.exec(`UPDATE deliveries SET visible_at = ? WHERE id = ? AND claim = ? AND state = 0`,
				stamp(t.leaseEnd()), c.DeliveryID.UUID[:], blob(c.Attempt.UUID))
			if err != nil {
				return err
			}
			if n, err := answer.RowsAffected(); err != nil {
				return err
			} else if n == 0 {
				lost = append(lost, c)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("renew claims: %w", err)
	}
	return lost, nil
}

// ReleaseClaims gives claims back, with their numbers.
func (s *Store) ReleaseClaims(ctx context.Context, claims []posthorn.Claim) error {
	err := s.write(ctx, func(t *tx) error {
		for _, c := range claims {
			_, err := t.exec(`UPDATE deliveries SET attempts = attempts - 1, claim = NULL, claimed_by = NULL,
				visible_at = CASE manual WHEN 0 THEN due_at ELSE ? END WHERE id = ? AND claim = ? AND state = 0`,
				stamp(t.now), c.DeliveryID.UUID[:], blob(c.Attempt.UUID))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("release claims: %w", err)
	}
	return nil
}
