package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/posthorn/posthorn"
)

// recording is one batch of results on its way into the store.
type recording struct {
	*ledger
	held  map[posthorn.DeliveryID]*held
	moves []any // the rows of moveDeliveries
}

// held is what a result needs to know of its delivery.
type held struct {
	tenant                         posthorn.TenantID
	subscription                   posthorn.SubscriptionID
	state                          posthorn.State
	attempts, spent, interruptions int
	manual                         posthorn.ManualRetry
	dueAt, createdAt               time.Time
	claim                          posthorn.AttemptID
}

// RecordAttempts writes the batch in one transaction.
func (s *Store) RecordAttempts(ctx context.Context, batch posthorn.RecordBatch) (posthorn.RecordReport, error) {
	var report posthorn.RecordReport
	write := s.writeAlong
	if batch.Awaited || len(batch.Lanes) > 0 {
		write = s.write
	}
	err := write(ctx, func(t *tx) error {
		g, err := t.ledger()
		if err != nil {
			return err
		}
		r := &recording{ledger: g}
		report = posthorn.RecordReport{Results: make([]posthorn.Recorded, len(batch.Results))}
		if err := r.load(batch.Results); err != nil {
			return err
		}
		for i := range batch.Results {
			answer, err := r.record(&batch.Results[i])
			if err != nil {
				return err
			}
			report.Results[i] = answer
		}
		if err := r.bulk(moveDeliveries, moveDeliveriesWidth, r.moves); err != nil {
			return err
		}
		if err := t.changeLanes(batch.Lanes, &report); err != nil {
			return err
		}
		return r.close()
	})
	if err != nil {
		return posthorn.RecordReport{}, fmt.Errorf("record attempts: %w", err)
	}
	return report, nil
}

func (r *recording) load(results []posthorn.Result) error {
	r.held = make(map[posthorn.DeliveryID]*held, len(results))
	ids := make([]any, len(results))
	for i := range results {
		ids[i] = results[i].DeliveryID.UUID[:]
	}
	return r.bulkQuery(`SELECT id, tenant_id, subscription_id, state, attempts, spent, interruptions, manual, due_at,
		created_at, claim FROM deliveries WHERE (id) IN (VALUES ROWS)`, 1, ids, func(rows *sql.Rows) error {
		var id posthorn.DeliveryID
		var h held
		err := rows.Scan(&id, &h.tenant, &h.subscription, condition{&h.state}, &h.attempts, &h.spent, &h.interruptions,
			&h.manual, instant{&h.dueAt}, instant{&h.createdAt}, &h.claim)
		r.held[id] = &h
		return err
	})
}

// record writes one result: the attempt, and where the claim is still held the delivery's move.
func (r *recording) record(result *posthorn.Result) (posthorn.Recorded, error) {
	answer := posthorn.Recorded{At: r.now}
	h := r.held[result.DeliveryID]
	if h == nil {
		return answer, nil
	}
	if h.claim != result.Claim.Attempt {
		answer.State, answer.DueAt = h.state, h.dueAt
		return answer, r.fill(result)
	}
	next, ok := h.state.Next(result.On)
	if !ok {
		return answer, fmt.Errorf("a %s delivery has no transition on %q", h.state, result.On)
	}
	err := r.move(h, result, next)
	return posthorn.Recorded{Moved: true, State: next, DueAt: h.dueAt, At: r.now}, err
}

// move ends the claim: the attempt is counted and kept, or its number given back where nothing was sent.
func (r *recording) move(h *held, result *posthorn.Result, next posthorn.State) error {
	visible := h.dueAt
	if next == posthorn.Pending && !result.KeepDue {
		visible = r.now.Add(result.Delay)
		// A manual retry that was not sent yet is put off without touching the schedule it stands outside of.
		if result.Attempt != nil || h.manual != posthorn.ManualWhilePending {
			h.dueAt = visible
		}
	}
	if result.Again && next == posthorn.Pending {
		visible = r.now
	}
	var reason posthorn.Reason
	var completed time.Time
	if next != posthorn.Pending {
		completed = r.now
	}
	if next == posthorn.Exhausted || next == posthorn.Cancelled {
		reason = result.Reason
	}
	if next == posthorn.Exhausted {
		for _, c := range r.counts.both(h.tenant, h.subscription) {
			c[countExhausted]++
		}
	}
	h.state, h.claim = next, posthorn.AttemptID{}
	var outcome, status, code any
	if a := result.Attempt; a != nil {
		r.count(h, result)
		outcome, status, code = string(a.Outcome), int64(a.StatusCode), a.Error
	} else {
		h.attempts--
	}
	if result.Attempt != nil && !result.Again || next != posthorn.Pending {
		h.manual = posthorn.NotManual
	}
	r.moves = append(r.moves, result.DeliveryID.UUID[:], stateNumber(next), string(reason), int64(h.attempts), int64(h.spent),
		int64(h.interruptions), int64(h.manual), stamp(h.dueAt), stamp(visible), outcome, status, code, stamp(r.now), stamp(completed))
	if result.Attempt != nil && result.Yield && next == posthorn.Pending {
		_, err := r.exec(`UPDATE deliveries SET sequence = -max(abs(sequence), 1) WHERE id = ?`, result.DeliveryID.UUID[:])
		return err
	}
	return nil
}

// moveDeliveries ends claims, many in one statement; what was not sent leaves the last attempt's columns alone.
const moveDeliveries = `UPDATE deliveries SET state = v.column2, reason = v.column3, attempts = v.column4, spent = v.column5,
	interruptions = v.column6, manual = v.column7, due_at = v.column8, visible_at = v.column9, claim = NULL, claimed_by = NULL,
	last_outcome = coalesce(v.column10, last_outcome), last_status_code = coalesce(v.column11, last_status_code),
	last_error = coalesce(v.column12, last_error), updated_at = v.column13, completed_at = v.column14
	FROM (VALUES ROWS) AS v WHERE deliveries.id = v.column1`

const moveDeliveriesWidth = 14

// count takes an attempt that was made into the ledger, the budget and the rollups.
func (r *recording) count(h *held, result *posthorn.Result) {
	a := *result.Attempt
	a.ID, a.DeliveryID, a.Number = result.Claim.Attempt, result.DeliveryID, h.attempts
	r.write(&a)
	if result.Spends {
		h.spent++
	}
	if a.Outcome == posthorn.Interrupted {
		h.interruptions++
	} else {
		h.interruptions = 0
	}
	for _, c := range r.counts.both(h.tenant, h.subscription) {
		c.attempted(a.Outcome, a.Number)
		c[countDurations+posthorn.LatencyBucket(a.Timing.Total)]++
		if a.Outcome == posthorn.Succeeded {
			c[countLatencies+posthorn.LatencyBucket(r.now.Sub(h.createdAt))]++
		}
	}
}

// fill writes a late result over its interrupted row, as one that became known now. Without such a row there is nothing
// to fill: the result is known already, or the delivery is gone.
func (r *recording) fill(result *posthorn.Result) error {
	if result.Attempt == nil {
		return nil
	}
	answer, err := r.exec(`DELETE FROM attempts WHERE delivery_id = ? AND number = ? AND id = ? AND outcome = ?`,
		result.DeliveryID, result.Number, result.Claim.Attempt, string(posthorn.Interrupted))
	if err != nil {
		return err
	}
	removed, err := answer.RowsAffected()
	if err == nil && removed > 0 {
		a := *result.Attempt
		var erased bool
		// What the receiver answered may repeat a payload that was erased meanwhile.
		err = r.queryRow(`SELECT EXISTS (SELECT 1 FROM deliveries AS d JOIN events AS e ON e.tenant_id = d.tenant_id AND e.id = d.event_id
			WHERE d.id = ? AND e.payload_erased > 0)`, result.DeliveryID).Scan(&erased)
		if erased {
			a.Body, a.BodyTruncated = nil, len(a.Body) > 0
		}
		a.ID, a.DeliveryID, a.Number = result.Claim.Attempt, result.DeliveryID, result.Number
		r.write(&a)
	}
	return err
}

// changeLanes applies what the batch means for whole lanes and reports what became of them.
func (t *tx) changeLanes(changes []posthorn.LaneChange, report *posthorn.RecordReport) error {
	if len(changes) == 0 {
		return nil
	}
	ids := make([]posthorn.SubscriptionID, len(changes))
	for i := range changes {
		ids[i] = changes[i].SubscriptionID
	}
	lanes, err := t.lanes(ids)
	if err != nil {
		return err
	}
	var touched []*lane // each once, in order
	for i := range changes {
		if l := laneOf(lanes, &changes[i]); l != nil {
			t.changeLane(l, &changes[i])
			if !slices.Contains(touched, l) {
				touched = append(touched, l)
			}
		}
	}
	for i := range changes {
		disabled, err := t.disableLane(laneOf(lanes, &changes[i]), changes[i].Disable)
		if err != nil {
			return err
		}
		if disabled {
			report.Disabled = append(report.Disabled, changes[i].SubscriptionID)
		}
	}
	for _, l := range touched {
		if l.dirty {
			if err := t.updateLane(l); err != nil {
				return err
			}
		}
		report.Lanes = append(report.Lanes, l.Lane)
	}
	return nil
}

// laneOf is the lane that a change is about, or nil.
func laneOf(lanes map[posthorn.SubscriptionID]*lane, c *posthorn.LaneChange) *lane {
	if l := lanes[c.SubscriptionID]; l != nil && l.TenantID == c.TenantID {
		return l
	}
	return nil
}

// disableLane disables a lane's subscription where there is a reason to.
func (t *tx) disableLane(l *lane, reason string) (bool, error) {
	if l == nil || reason == "" || l.phase == laneGone || reason == posthorn.DisabledFailing && l.FailingSince.IsZero() {
		return false, nil
	}
	return t.disable(l, reason)
}

func (t *tx) changeLane(l *lane, c *posthorn.LaneChange) {
	before := l.Lane
	if until := t.now.Add(c.Throttle); c.Throttle > 0 && until.After(l.ThrottledUntil) {
		l.ThrottledUntil = until
	}
	if c.Recovered {
		l.recover()
	}
	if c.Failed && l.FailingSince.IsZero() {
		l.FailingSince = t.now
	}
	if c.OpenFor > 0 {
		l.BreakerOpens++
		l.BreakerUntil = t.now.Add(c.OpenFor)
	}
	if c.Warned {
		l.WarnedAt = t.now
	}
	l.dirty = l.dirty || l.Lane != before
}
