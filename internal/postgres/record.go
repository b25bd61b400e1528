package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/ride"
)

// recordAttempts moves the deliveries whose claims are held and writes their attempts, and what they count. A claim is held only while
// its delivery is pending, so that need not be asked: asking would let a plan read all that is pending. Rows of the answer:
// place, state, due_at.
var recordAttempts = `
WITH moved AS (
	UPDATE deliveries d SET
		state = i.state, reason = i.reason, claim = NULL, claimed_by = NULL, updated_at = now(), queued = i.state = 'pending',
		due_at = CASE WHEN i.state = 'pending' AND NOT i.keep_due THEN now() + i.delay * interval '1 microsecond' ELSE d.due_at END,
		visible_at = CASE WHEN i.state <> 'pending' THEN d.visible_at WHEN i.again THEN now()
			WHEN NOT i.keep_due THEN now() + i.delay * interval '1 microsecond' ELSE d.due_at END,
		completed_at = CASE WHEN i.state <> 'pending' THEN now() END,
		attempts = d.attempts - CASE WHEN i.sent THEN 0 ELSE 1 END,
		spent = d.spent + i.spends::int,
		interruptions = CASE WHEN NOT i.sent THEN d.interruptions WHEN i.outcome = 'interrupted' THEN d.interruptions + 1 ELSE 0 END,
		manual = CASE WHEN i.sent AND NOT i.again OR i.state <> 'pending' THEN 0 ELSE d.manual END,
		sequence = CASE WHEN i.yield AND i.state = 'pending' THEN -greatest(abs(d.sequence), 1) ELSE d.sequence END,
		touched_at = CASE WHEN NOT i.sent AND i.state <> 'pending' THEN now() ELSE d.touched_at END,
		last_outcome = CASE WHEN i.sent THEN i.outcome ELSE d.last_outcome END,
		last_status_code = CASE WHEN i.sent THEN i.status_code ELSE d.last_status_code END,
		last_error = CASE WHEN i.sent THEN i.error ELSE d.last_error END
	FROM unnest($1::result_row[])
		WITH ORDINALITY AS i(id, token, sent, state, reason, delay, keep_due, spends, number,
			outcome, status_code, error, detail, started_at, manual, our_fault, request, response,
			body, body_truncated, dns_us, connect_us, tls_us, first_byte_us, total_us, reused, node_id, slow, again, yield, n)
	WHERE d.id = i.id AND d.claim = i.token
	RETURNING d.tenant_id, d.event_id, d.subscription_id, d.created_at, d.due_at, i.*
), written AS (
	INSERT INTO attempts (id, tenant_id, delivery_id, event_id, subscription_id, node_id, started_at, recorded_at, number,
		status_code, dns_us, connect_us, tls_us, first_byte_us, total_us, reused, manual, our_fault, body_truncated,
		outcome, error, detail, request, response, body)
	SELECT m.token, m.tenant_id, m.id, m.event_id, m.subscription_id, m.node_id, m.started_at, now(), m.number,
		m.status_code, m.dns_us, m.connect_us, m.tls_us, m.first_byte_us, m.total_us, m.reused, m.manual, m.our_fault, m.body_truncated,
		m.outcome, m.error, m.detail, m.request, m.response, m.body
	FROM moved m WHERE m.sent
), tallied AS (
` + tallyMoved + `
)
SELECT now(), m.n, m.state, m.due_at FROM moved m`

// fillAttempts writes results whose claim was lost into the attempts that were written as interrupted meanwhile, and reads
// where their deliveries are now.
const fillAttempts = `
WITH late AS (
	SELECT * FROM unnest($1::result_row[]) WITH ORDINALITY AS i(id, token, sent, state, reason, delay, keep_due, spends, number,
		outcome, status_code, error, detail, started_at, manual, our_fault, request, response,
		body, body_truncated, dns_us, connect_us, tls_us, first_byte_us, total_us, reused, node_id, slow, again, yield, n)
), filled AS (
	UPDATE attempts a SET recorded_at = now(), outcome = i.outcome, status_code = i.status_code, error = i.error, detail = i.detail,
		started_at = i.started_at, our_fault = i.our_fault, request = i.request, response = i.response,
		body = CASE WHEN NOT i.erased THEN i.body END, body_truncated = i.body_truncated OR i.erased AND length(i.body) > 0,
		dns_us = i.dns_us, connect_us = i.connect_us, tls_us = i.tls_us,
		first_byte_us = i.first_byte_us, total_us = i.total_us, reused = i.reused
	FROM (SELECT i.*, EXISTS (SELECT FROM deliveries d JOIN events e ON e.tenant_id = d.tenant_id AND e.id = d.event_id
			WHERE d.id = i.id AND e.payload_erased IS NOT NULL) AS erased FROM late i) i
	WHERE i.sent AND a.delivery_id = i.id AND a.id = i.token AND a.outcome = 'interrupted'
)
SELECT now(), i.n, d.state, d.due_at FROM late i
	CROSS JOIN LATERAL (SELECT * FROM deliveries d WHERE d.id = i.id OFFSET 0) d`

// recording is one batch of results on its way into the store. It may be sent more than once.
type recording struct {
	batch  posthorn.RecordBatch
	rows   *resultRows
	lanes  *laneRows
	report posthorn.RecordReport
}

// queue adds the recording to a pipeline that has begun.
func (r *recording) queue(b *pgx.Batch, s *Store, sent time.Time) {
	r.report = posthorn.RecordReport{Results: make([]posthorn.Recorded, len(r.batch.Results))}
	if len(r.batch.Results) > 0 {
		b.Queue(s.statementsFor(r.rows.made()).recordAttempts, r.rows.arguments()...).Query(func(found pgx.Rows) error {
			return s.readRecorded(found, true, r.rows.order, r.report.Results, sent)
		})
	}
	r.lanes.queue(b, &r.report)
}

// RecordAttempts implements posthorn.DeliveryQueue: one pipeline, committed as one transaction, and where events come at the
// same time that of their commit. Late results, which move nothing, have one of their own.
func (s *Store) RecordAttempts(ctx context.Context, batch posthorn.RecordBatch) (posthorn.RecordReport, error) {
	rows, err := newResultRows(batch)
	if err != nil {
		return posthorn.RecordReport{}, err
	}
	r := &recording{batch: batch, rows: rows, lanes: newLaneRows(batch.Lanes)}
	if !s.recordAlong(r) {
		err = s.do(ctx, "record attempts", func(ctx context.Context) error {
			return s.healing(ctx, rows.tokens, func() error {
				var b pgx.Batch
				pool := s.steered(&b)
				r.queue(&b, s, time.Now())
				return pool.SendBatch(ctx, &b).Close()
			})
		})
	}
	if err == nil {
		err = s.fillAttempts(ctx, batch, r.report.Results)
	}
	if err != nil {
		return posthorn.RecordReport{}, err
	}
	return r.report, nil
}

// recordAlong records with new events; false when that did not come about. What decides over lanes would lock them in
// another order.
func (s *Store) recordAlong(r *recording) bool {
	if r.batch.Awaited || len(r.batch.Lanes) > 0 {
		return false
	}
	own := ride.New(r)
	if answered, err := s.rides.Join(own); answered {
		return err == nil
	}
	return !s.rides.Leave(own) && <-own.Answered() == nil
}

// fillAttempts does what is left to do for the results that moved nothing.
func (s *Store) fillAttempts(ctx context.Context, batch posthorn.RecordBatch, results []posthorn.Recorded) error {
	late := posthorn.RecordBatch{Node: batch.Node}
	var places []int
	for i := range results {
		if !results[i].Moved {
			late.Results, places = append(late.Results, batch.Results[i]), append(places, i)
		}
	}
	if len(places) == 0 {
		return nil
	}
	rows, err := newResultRows(late)
	if err != nil {
		return err
	}
	order := make([]int, len(places))
	for i, at := range rows.order {
		order[i] = places[at]
	}
	return s.do(ctx, "record late attempts", func(ctx context.Context) error {
		var b pgx.Batch
		b.Queue(steer)
		sent := time.Now()
		b.Queue(fillAttempts, rows.arguments()...).Query(func(found pgx.Rows) error {
			return s.readRecorded(found, false, order, results, sent)
		})
		return s.pool.SendBatch(ctx, &b).Close()
	})
}

func (s *Store) readRecorded(found pgx.Rows, moved bool, order []int, results []posthorn.Recorded, sent time.Time) error {
	var place int
	r := posthorn.Recorded{Moved: moved}
	_, err := pgx.ForEachRow(found, []any{(*moment)(&r.At), &place, &r.State, (*moment)(&r.DueAt)}, func() error {
		results[order[place-1]] = r
		return nil
	})
	if !r.At.IsZero() {
		s.setClock(sent, r.At, time.Now())
	}
	return err
}

// resultRows is a batch of results on its way into the database, in order of delivery.
type resultRows struct {
	batch posthorn.RecordBatch
	// order holds the places of the results in the batch.
	order []int
	// bytes is how much the attempts' texts and bodies take.
	bytes int
}

func newResultRows(batch posthorn.RecordBatch) (*resultRows, error) {
	r := &resultRows{batch: batch, order: make([]int, len(batch.Results))}
	for i := range r.order {
		r.order[i] = i
		result := &batch.Results[i]
		if _, ok := posthorn.Pending.Next(result.On); !ok || result.On == posthorn.OnRetry || result.On == posthorn.OnCancel {
			return nil, fmt.Errorf("record attempts: a result cannot mean %q", result.On)
		}
		if a := result.Attempt; a != nil {
			r.bytes += len(a.Body) + len(a.Error) + len(a.Detail)
		}
	}
	slices.SortStableFunc(r.order, func(a, b int) int {
		return compareIDs(batch.Results[a].DeliveryID.UUID, batch.Results[b].DeliveryID.UUID)
	})
	return r, nil
}

// made is when the ids of the deliveries and the attempts were.
func (r *resultRows) made() (p period) {
	for i := range r.batch.Results {
		p.add(r.batch.Results[i].DeliveryID.UUID)
		p.add(r.batch.Results[i].Claim.Attempt.UUID)
	}
	return p
}

// arguments are those of recordAttempts and of fillAttempts: the results.
func (r *resultRows) arguments() []any { return inOnePiece(r.records()) }

// records are the results as result_row.
func (r *resultRows) records() records {
	return records{len(r.order), r.bytes + 1280*len(r.order), r.put}
}

// put writes a result_row.
func (r *resultRows) put(to *record, i int) {
	result := &r.batch.Results[r.order[i]]
	state, _ := posthorn.Pending.Next(result.On)
	reason := result.Reason
	if state == posthorn.Pending || state == posthorn.Delivered {
		reason = posthorn.ReasonNone
	}
	a := result.Attempt
	if a == nil {
		a = &posthorn.Attempt{StartedAt: time.Unix(0, 0)}
	}
	node := a.Node
	if node.IsZero() {
		node = r.batch.Node
	}
	t := &a.Timing
	to.uuid(result.DeliveryID.UUID)
	to.uuid(result.Claim.Attempt.UUID)
	to.boolean(result.Attempt != nil)
	to.text(string(state))
	to.text(string(reason))
	to.bigint(micros(result.Delay))
	to.boolean(result.KeepDue)
	to.boolean(result.Spends)
	to.integer(int32(result.Number))
	to.text(string(a.Outcome))
	to.integer(int32(a.StatusCode))
	to.text(plain(a.Error))
	to.text(plain(a.Detail))
	to.moment(a.StartedAt)
	to.boolean(a.Manual)
	to.boolean(a.OurFault)
	to.headers(a.Request)
	to.headers(a.Response)
	to.bytes(a.Body)
	to.boolean(a.BodyTruncated)
	to.integer(int32(micros(t.DNS)))
	to.integer(int32(micros(t.Connect)))
	to.integer(int32(micros(t.TLS)))
	to.integer(int32(micros(t.FirstByte)))
	to.integer(int32(micros(t.Total)))
	to.boolean(t.Reused)
	to.uuid(node.UUID)
	to.integer(int32(posthorn.LatencyBucket(t.Total)))
	to.boolean(result.Again)
	to.boolean(result.Yield)
}

// tokens are the ids of the attempts, which need a partition.
func (r *resultRows) tokens() []posthorn.UUID {
	ids := make([]posthorn.UUID, len(r.batch.Results))
	for i := range ids {
		ids[i] = r.batch.Results[i].Claim.Attempt.UUID
	}
	return ids
}
