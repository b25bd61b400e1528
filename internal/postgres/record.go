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

// recordAttempts moves the deliveries whose claims are held and writes their attempts and rollups. A claim is held only while
// its delivery is pending, so that need not be asked: asking would let a plan read all that is pending. Rows of the answer:
// place, state, due_at.
const recordAttempts = `
WITH moved AS (
	UPDATE deliveries d SET
		state = i.state, reason = i.reason, claim = NULL, claimed_by = NULL, updated_at = now(),
		due_at = CASE WHEN i.state = 'pending' AND NOT i.keep_due THEN now() + i.delay * interval '1 microsecond' ELSE d.due_at END,
		visible_at = CASE WHEN i.state = 'pending' AND i.again THEN now()
			WHEN i.state = 'pending' AND NOT i.keep_due THEN now() + i.delay * interval '1 microsecond' ELSE d.due_at END,
		completed_at = CASE WHEN i.state <> 'pending' THEN now() END,
		attempts = d.attempts - CASE WHEN i.sent THEN 0 ELSE 1 END,
		spent = d.spent + i.spends::int,
		interruptions = CASE WHEN NOT i.sent THEN d.interruptions WHEN i.outcome = 'interrupted' THEN d.interruptions + 1 ELSE 0 END,
		manual = CASE WHEN i.sent AND NOT i.again OR i.state <> 'pending' THEN 0 ELSE d.manual END,
		sequence = CASE WHEN i.yield AND i.state = 'pending' THEN -abs(d.sequence) ELSE d.sequence END,
		touched = d.touched OR NOT i.sent AND i.state <> 'pending',
		last_outcome = CASE WHEN i.sent THEN i.outcome ELSE d.last_outcome END,
		last_status_code = CASE WHEN i.sent THEN i.status_code ELSE d.last_status_code END,
		last_error = CASE WHEN i.sent THEN i.error ELSE d.last_error END
	FROM unnest($2::uuid[], $3::uuid[], $4::bool[], $5::text[], $6::text[], $7::bigint[], $8::bool[], $9::bool[], $10::int[],
			$11::text[], $12::int[], $13::text[], $14::text[], $15::timestamptz[], $16::bool[], $17::bool[], $18::json[], $19::json[],
			$20::bytea[], $21::bool[], $22::int[], $23::int[], $24::int[], $25::int[], $26::int[], $27::bool[], $28::uuid[], $29::int[],
			$30::bool[], $31::bool[])
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
	SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bool[], $4::text[], $5::int[], $6::text[], $7::text[], $8::timestamptz[],
		$9::bool[], $10::json[], $11::json[], $12::bytea[], $13::bool[], $14::int[], $15::int[], $16::int[], $17::int[], $18::int[],
		$19::bool[]) WITH ORDINALITY
		AS i(id, token, sent, outcome, status_code, error, detail, started_at, our_fault, request, response, body, body_truncated,
			dns_us, connect_us, tls_us, first_byte_us, total_us, reused, n)
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
		b.Queue(recordAttempts, r.rows.arguments(r.batch.Node)...).Query(func(found pgx.Rows) error {
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
			return s.healing(ctx, func() []posthorn.UUID { return rows.tokens }, func() error {
				var b pgx.Batch
				b.Queue(steer)
				r.queue(&b, s, time.Now())
				return s.pool.SendBatch(ctx, &b).Close()
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
		b.Queue(fillAttempts, rows.fillArguments()...).Query(func(found pgx.Rows) error {
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

// resultRows is a batch of results as arrays, in order of delivery.
type resultRows struct {
	// order holds the places of the results in the batch.
	order                               []int
	ids, tokens, nodes                  uuids
	states, reasons, outcomes           texts
	errors, details                     texts
	delays                              bigints
	sent, keepDue, spends, again, yield booleans
	manual, ourFault, truncated, reused booleans
	numbers, statuses, slow             integers
	dns, connect, tls, firstByte, total integers
	started                             moments
	request, response, bodies           blobs
}

func newResultRows(batch posthorn.RecordBatch) (*resultRows, error) {
	r := &resultRows{order: make([]int, len(batch.Results))}
	for i := range r.order {
		r.order[i] = i
	}
	slices.SortStableFunc(r.order, func(a, b int) int {
		return compareIDs(batch.Results[a].DeliveryID.UUID, batch.Results[b].DeliveryID.UUID)
	})
	r.reserve(len(batch.Results))
	for _, i := range r.order {
		if err := r.add(&batch.Results[i], batch.Node); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// reserve makes room for n results.
func (r *resultRows) reserve(n int) {
	columns(n, &r.ids, &r.tokens, &r.nodes)
	columns(n, &r.states, &r.reasons, &r.outcomes, &r.errors, &r.details)
	columns(n, &r.delays)
	columns(n, &r.sent, &r.keepDue, &r.spends, &r.again, &r.yield, &r.manual, &r.ourFault, &r.truncated, &r.reused)
	columns(n, &r.numbers, &r.statuses, &r.slow, &r.dns, &r.connect, &r.tls, &r.firstByte, &r.total)
	columns(n, &r.started)
	columns(n, &r.request, &r.response, &r.bodies)
}

func (r *resultRows) add(result *posthorn.Result, node posthorn.NodeID) error {
	state, ok := posthorn.Pending.Next(result.On)
	if !ok || result.On == posthorn.OnRetry || result.On == posthorn.OnCancel {
		return fmt.Errorf("record attempts: a result cannot mean %q", result.On)
	}
	reason := result.Reason
	if state == posthorn.Pending || state == posthorn.Delivered {
		reason = posthorn.ReasonNone
	}
	r.ids, r.tokens = append(r.ids, result.DeliveryID.UUID), append(r.tokens, result.Claim.Attempt.UUID)
	r.states, r.reasons = append(r.states, string(state)), append(r.reasons, string(reason))
	r.delays = append(r.delays, micros(result.Delay))
	r.keepDue, r.spends = append(r.keepDue, result.KeepDue), append(r.spends, result.Spends)
	r.again, r.yield = append(r.again, result.Again), append(r.yield, result.Yield)
	r.numbers = append(r.numbers, int32(result.Number))
	r.sent = append(r.sent, result.Attempt != nil)
	a := result.Attempt
	if a == nil {
		a = &posthorn.Attempt{StartedAt: time.Unix(0, 0)}
	}
	if a.Node.IsZero() {
		r.nodes = append(r.nodes, node.UUID)
	} else {
		r.nodes = append(r.nodes, a.Node.UUID)
	}
	r.addAttempt(a)
	return nil
}

func (r *resultRows) addAttempt(a *posthorn.Attempt) {
	r.outcomes, r.statuses = append(r.outcomes, string(a.Outcome)), append(r.statuses, int32(a.StatusCode))
	r.errors, r.details = append(r.errors, plain(a.Error)), append(r.details, plain(a.Detail))
	r.started = append(r.started, a.StartedAt)
	r.manual, r.ourFault = append(r.manual, a.Manual), append(r.ourFault, a.OurFault)
	r.request, r.response = append(r.request, headers(a.Request)), append(r.response, headers(a.Response))
	r.bodies, r.truncated = append(r.bodies, a.Body), append(r.truncated, a.BodyTruncated)
	t := &a.Timing
	r.dns, r.connect = append(r.dns, int32(micros(t.DNS))), append(r.connect, int32(micros(t.Connect)))
	r.tls = append(r.tls, int32(micros(t.TLS)))
	r.firstByte, r.total = append(r.firstByte, int32(micros(t.FirstByte))), append(r.total, int32(micros(t.Total)))
	r.reused = append(r.reused, t.Reused)
	r.slow = append(r.slow, int32(posthorn.LatencyBucket(t.Total)))
}

func (r *resultRows) arguments(node posthorn.NodeID) []any {
	return inOnePiece(
		uuid(node.UUID), r.ids, r.tokens, r.sent, r.states, r.reasons, r.delays, r.keepDue, r.spends, r.numbers,
		r.outcomes, r.statuses, r.errors, r.details, r.started, r.manual, r.ourFault, r.request, r.response,
		r.bodies, r.truncated, r.dns, r.connect, r.tls, r.firstByte, r.total, r.reused, r.nodes, r.slow,
		r.again, r.yield,
	)
}

// fillArguments are those of fillAttempts.
func (r *resultRows) fillArguments() []any {
	return inOnePiece(
		r.ids, r.tokens, r.sent, r.outcomes, r.statuses, r.errors, r.details, r.started, r.ourFault, r.request, r.response,
		r.bodies, r.truncated, r.dns, r.connect, r.tls, r.firstByte, r.total, r.reused,
	)
}
