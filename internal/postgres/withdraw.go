package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// withdrawal is one reason to end pending deliveries, and where to look for them.
type withdrawal struct {
	reason posthorn.Reason
	state  posthorn.State
	// lanes to look into, each for what is of an age; nil where the query needs none.
	lanes uuids
	ages  []time.Duration
	// query locks at most $2 deliveries, of lanes $1, with ids below those of $3; $4 are the ages: the hold or the window.
	query string
}

// skipLooked is for how long after a resumption without the backlog it is looked for. It is gone within seconds; of what a
// dead upkeep left, a claim tells.
const skipLooked = 24 * time.Hour

const (
	withdrawExpired = `SELECT ` + lockedColumns + ` FROM (SELECT * FROM deliveries d
		WHERE d.queued AND d.expires_at IS NOT NULL AND d.expires_at <= now()
		ORDER BY d.expires_at LIMIT $1 FOR UPDATE SKIP LOCKED) d`
	// ofLanes reads pending deliveries along the queue's index, lane by lane, as long as more are wanted.
	ofLanes = `SELECT ` + lockedColumns + ` FROM unnest($1::uuid[], $3::uuid[], $4::interval[]) AS q(lane, below, age)
		CROSS JOIN LATERAL (SELECT * FROM lanes l WHERE l.subscription_id = q.lane OFFSET 0) l
		CROSS JOIN LATERAL (SELECT * FROM deliveries d
			WHERE d.subscription_id = q.lane AND d.queued AND d.id < q.below AND `
	ofLanesEnd = ` ORDER BY d.subscription_id, d.visible_at LIMIT $2 FOR UPDATE SKIP LOCKED) d LIMIT $2`

	withdrawSkipped = ofLanes + `d.created_at <= l.skipped_at AND d.manual <> 2` + ofLanesEnd
	withdrawDeleted = ofLanes + `l.deleted` + ofLanesEnd
	withdrawHeld    = ofLanes + `greatest(l.held_since, d.created_at) + q.age <= now()` + ofLanesEnd
)

// withdrawLate leaves out retries by hand, which pass the window. What is in flight may end.
var withdrawLate = ofLanes + `l.held_since IS NULL AND d.manual = 0 AND d.created_at + q.age + l.held_for - coalesce(d.held_base, '0')
	+ CASE WHEN d.claim IS NOT NULL AND d.visible_at > now() THEN interval '` + fmt.Sprint(posthorn.InFlight.Seconds()) + ` seconds' ELSE '0' END <= now()` + ofLanesEnd

// WithdrawDeliveries implements posthorn.Upkeep.
func (s *Store) WithdrawDeliveries(ctx context.Context, w posthorn.Withdrawal) (posthorn.WithdrawalReport, error) {
	report := posthorn.WithdrawalReport{Ended: map[posthorn.Reason]int{}, Done: true}
	if err := s.followClock(ctx); err != nil {
		return report, err
	}
	s.sweepBirths(ctx)
	s.foldSoon()
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
			report.Updates = append(report.Updates, posthorn.UpdateOf(&ended[i], ended[i].UpdatedAt))
		}
	}
	return report, nil
}

// causes sorts the lanes with pending deliveries by what could end them.
func (s *Store) causes(ctx context.Context, w posthorn.Withdrawal) ([]withdrawal, error) {
	deleted := withdrawal{reason: posthorn.ReasonSubscriptionDeleted, state: posthorn.Cancelled, query: withdrawDeleted}
	held := withdrawal{reason: posthorn.ReasonHeldTooLong, state: posthorn.Cancelled, query: withdrawHeld}
	late := withdrawal{reason: posthorn.ReasonWindow, state: posthorn.Exhausted, query: withdrawLate}
	skipped := withdrawal{reason: posthorn.ReasonSkipped, state: posthorn.Cancelled, query: withdrawSkipped}
	err := s.eachLane(ctx, func(l *walkedLane) {
		id := l.SubscriptionID.UUID
		if !l.deleted && l.SkippedAt.After(l.now.Add(-skipLooked)) {
			skipped.add(id, 0)
		}
		switch {
		case l.deleted:
			deleted.add(id, 0)
		case !l.HeldSince.IsZero():
			// The query looks at held_since again, so this is still the hold that was told of.
			if l.now.Sub(l.HeldSince) >= w.Hold && w.Told(&l.Lane, l.now) {
				held.add(id, w.Hold)
			}
		case l.window > 0:
			late.add(id, min(w.Window, l.window))
		default:
			late.add(id, w.Window)
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

func (w *withdrawal) add(lane posthorn.UUID, age time.Duration) {
	w.lanes, w.ages = append(w.lanes, lane), append(w.ages, age)
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
			below := make(uuids, len(c.ages))
			for i, age := range c.ages {
				below[i] = posthorn.MinUUID(s.Now().Add(s.slack - age))
			}
			args = []any{c.lanes, n, below, c.ages}
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
