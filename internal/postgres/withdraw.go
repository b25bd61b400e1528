package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// withdrawal is one reason to end pending deliveries, and where to look for them.
type withdrawal struct {
	reason posthorn.Reason
	state  posthorn.State
	// lanes to look into; nil where the query needs none.
	lanes uuids
	// query locks at most $2 deliveries, of lanes $1, with ids below $3; $4 is the hold or the window.
	query string
	age   time.Duration
}

// skipLooked is for how long after a resumption without the backlog it is looked for. It is gone within seconds; of what a
// dead upkeep left, a claim tells.
const skipLooked = 24 * time.Hour

const (
	withdrawExpired = `SELECT ` + lockedColumns + ` FROM (SELECT * FROM deliveries d
		WHERE d.state = 'pending' AND d.expires_at IS NOT NULL AND d.expires_at <= now()
		ORDER BY d.expires_at LIMIT $1 FOR UPDATE SKIP LOCKED) d`
	// ofLanes reads pending deliveries along the queue's index, lane by lane, as long as more are wanted.
	ofLanes = `SELECT ` + lockedColumns + ` FROM unnest($1::uuid[]) AS q(lane)
		CROSS JOIN LATERAL (SELECT * FROM lanes l WHERE l.subscription_id = q.lane OFFSET 0) l
		CROSS JOIN LATERAL (SELECT * FROM deliveries d
			WHERE d.subscription_id = q.lane AND d.state = 'pending' AND d.id < $3 AND `
	ofLanesEnd = ` ORDER BY d.subscription_id, d.visible_at LIMIT $2 FOR UPDATE SKIP LOCKED) d LIMIT $2`

	withdrawSkipped = ofLanes + `d.created_at <= l.skipped_at AND d.manual <> 2 AND $4::interval IS NOT NULL` + ofLanesEnd
	withdrawDeleted = ofLanes + `l.deleted AND $4::interval IS NOT NULL` + ofLanesEnd
	withdrawHeld    = ofLanes + `greatest(l.held_since, d.created_at) + $4::interval <= now()` + ofLanesEnd
	// A retry by hand passes the window.
	withdrawLate = ofLanes + `l.held_since IS NULL AND d.manual = 0
		AND d.created_at + $4::interval + l.held_for - coalesce(d.held_base, '0') <= now()` + ofLanesEnd
)

// WithdrawDeliveries implements posthorn.Upkeep.
func (s *Store) WithdrawDeliveries(ctx context.Context, w posthorn.Withdrawal) (posthorn.WithdrawalReport, error) {
	report := posthorn.WithdrawalReport{Ended: map[posthorn.Reason]int{}, Done: true}
	if err := s.followClock(ctx); err != nil {
		return report, err
	}
	causes, err := s.causes(ctx, w)
	if err != nil {
		return report, err
	}
	batch := max(w.Batch, 1)
	for _, c := range causes {
		rest := batch - len(report.Updates)
		if rest <= 0 {
			report.Done = false
			break
		}
		ended, err := s.withdraw(ctx, c, rest)
		if err != nil {
			return report, err
		}
		if len(ended) > 0 {
			report.Ended[c.reason] += len(ended)
		}
		report.Done = report.Done && len(ended) < rest
		for i := range ended {
			report.Updates = append(report.Updates, updateOf(&ended[i], ended[i].UpdatedAt))
		}
	}
	return report, nil
}

// causes sorts the lanes with pending deliveries by what could end them.
func (s *Store) causes(ctx context.Context, w posthorn.Withdrawal) ([]withdrawal, error) {
	deleted := withdrawal{reason: posthorn.ReasonSubscriptionDeleted, state: posthorn.Cancelled, query: withdrawDeleted}
	held := withdrawal{reason: posthorn.ReasonHeldTooLong, state: posthorn.Cancelled, query: withdrawHeld, age: w.Hold}
	late := withdrawal{reason: posthorn.ReasonWindow, state: posthorn.Exhausted, query: withdrawLate, age: w.Window}
	skipped := withdrawal{reason: posthorn.ReasonSkipped, state: posthorn.Cancelled, query: withdrawSkipped}
	err := s.eachLane(ctx, func(l *walkedLane) {
		id := l.SubscriptionID.UUID
		if !l.deleted && l.SkippedAt.After(l.now.Add(-skipLooked)) {
			skipped.lanes = append(skipped.lanes, id)
		}
		switch {
		case l.deleted:
			deleted.lanes = append(deleted.lanes, id)
		case !l.HeldSince.IsZero():
			if l.now.Sub(l.HeldSince) >= w.Hold {
				held.lanes = append(held.lanes, id)
			}
		default:
			late.lanes = append(late.lanes, id)
		}
	})
	expired := withdrawal{reason: posthorn.ReasonExpired, state: posthorn.Cancelled, query: withdrawExpired}
	causes := []withdrawal{expired}
	for _, c := range []withdrawal{deleted, skipped, held, late} {
		if len(c.lanes) > 0 {
			causes = append(causes, c)
		}
	}
	return causes, err
}

// eachLane visits every lane that has pending deliveries, in order of id.
func (s *Store) eachLane(ctx context.Context, visit func(*walkedLane)) error {
	var after posthorn.UUID
	for {
		var walked []walkedLane
		err := s.do(ctx, "walk lanes", func(ctx context.Context) (err error) {
			walked, err = s.walk(ctx, after, walkWindow, nil)
			return err
		})
		if err != nil {
			return err
		}
		for i := range walked {
			visit(&walked[i])
		}
		if len(walked) < walkWindow {
			return nil
		}
		after = walked[len(walked)-1].SubscriptionID.UUID
	}
}

// withdraw ends at most n deliveries for one cause.
func (s *Store) withdraw(ctx context.Context, c withdrawal, n int) ([]posthorn.Delivery, error) {
	var ended []posthorn.Delivery
	err := s.write(ctx, "withdraw deliveries", func(ctx context.Context, tx pgx.Tx) error {
		ended = nil
		args := []any{n}
		if c.lanes != nil {
			args = []any{c.lanes, n, uuid(posthorn.MinUUID(s.Now().Add(s.slack - c.age))), c.age}
		}
		var found []locked
		var b pgx.Batch
		b.Queue(steer)
		b.Queue(c.query, args...).Query(func(rows pgx.Rows) (err error) {
			found, err = pgx.CollectRows(rows, scanLocked)
			return err
		})
		if err := tx.SendBatch(ctx, &b).Close(); err != nil || len(found) == 0 {
			return err
		}
		endings := make([]ending, len(found))
		for i, p := range found {
			endings[i] = ending{p, c.state, c.reason}
		}
		var err error
		ended, err = end(ctx, tx, endings)
		return err
	})
	return ended, err
}

// updateOf tells watchers of a delivery as it is.
func updateOf(d *posthorn.Delivery, at time.Time) posthorn.Update {
	return posthorn.Update{
		At: at, TenantID: d.TenantID, DeliveryID: d.ID, EventID: d.EventID, SubscriptionID: d.SubscriptionID,
		EventType: d.EventType, State: d.State, Reason: d.Reason, Attempts: d.Attempts, DueAt: d.DueAt,
	}
}
