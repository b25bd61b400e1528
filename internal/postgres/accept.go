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

// acceptKeys takes the idempotency keys of events that are not stale. A key in use by a transaction under way is waited
// for; keys come in order, so two batches cannot wait for each other.
const acceptKeys = `
INSERT INTO idempotency_keys (tenant_id, key, hash, event_id, created_at)
SELECT e.tenant_id, e.key, e.hash, e.id, now()
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::bytea[]) WITH ORDINALITY
	AS e(id, tenant_id, version, key, hash, n)
WHERE e.version = -1 OR e.version = coalesce((SELECT v.version FROM subscription_versions v WHERE v.tenant_id = e.tenant_id), 0)
ORDER BY e.tenant_id, e.key COLLATE "C", e.n
ON CONFLICT DO NOTHING`

// lockFIFO holds the FIFO lanes of a batch until its end, in order of id: the order of their sequence numbers is the order
// of the commits. Other lanes have no row in the index this reads.
const lockFIFO = `SELECT 1 FROM lanes WHERE subscription_id = ANY($1) AND fifo ORDER BY subscription_id FOR UPDATE`

// laneAtBirth is what a lane says of the deliveries stored in it now, and whether they may be born claimed.
const laneAtBirth = `
		SELECT l.fifo, l.next_sequence, l.version, l.held_for + coalesce(now() - l.held_since, '0') AS held,
			l.failing_since IS NOT NULL AS failing,
			NOT l.fifo AND l.status = 'active' AND l.breaker_opens = 0 AND coalesce(l.throttled_until <= now(), true) AS born
		FROM lanes l `

// makeDeliveries stores deliveries with a sequence, out of rows like match_row that are claimed or not and have what their lane held. It
// takes the node, the lease and the times that bornOutside needs from the parameters $3 to $7 of the statement around it.
// Waiting for deliver_at is like a hold: the retry window does not run, so held_base is less by that much. What is born claimed
// stays out of the queue (births.go) where the ids of the batch are of now and its event does not expire.
func makeDeliveries(sequence, rows string) string {
	return `INSERT INTO deliveries (id, tenant_id, event_id, subscription_id, created_at, updated_at, due_at, visible_at, completed_at,
		expires_at, claim, claimed_by, sequence, held_base, payload_bytes, attempts, spent, interruptions, last_status_code,
		manual, queued, state, reason, event_type, ordering_key, last_outcome, last_error)
	SELECT w.id, w.tenant_id, w.event_id, w.subscription_id, now(), now(), greatest(w.deliver_at, now()),
		CASE WHEN w.claimed THEN now() + $4::interval ELSE greatest(w.deliver_at, now()) END,
		CASE WHEN w.reason <> '' THEN now() END, w.expires_at,
		CASE WHEN w.claimed THEN w.token END, CASE WHEN w.claimed THEN $3::uuid END,
		` + sequence + `, nullif(w.held - greatest(w.deliver_at - now(), '0'), '0'), w.bytes,
		w.claimed::int, 0, 0, 0, 0,
		w.reason = '' AND NOT (w.claimed AND w.expires_at IS NULL AND ` + bornOutside + `),
		CASE WHEN w.reason = '' THEN 'pending' ELSE 'cancelled' END,
		w.reason, w.type, w.ordering_key, '', ''
	FROM ` + rows + ` w`
}

// acceptEvents stores events and deliveries, where more must be asked than acceptWhole does. An event is stored when it has taken its
// key, or has none and is not stale; (… IN …) IS TRUE keeps the planner to one hash of the few ids. The deliveries of an event are
// counted, as a subscription may have gone, and those of a FIFO lane numbered in the order of the events. Rows of the answer: per
// stored event its place and deliveries, then per delivery born claimed its place and what its lane adds.
var acceptEvents = `
WITH fresh AS MATERIALIZED (
	SELECT *
	FROM unnest($1::event_row[]) WITH ORDINALITY AS e(id, tenant_id, version, key, matches, type, content_type, ordering_key,
		trace_parent, headers, deliver_at, expires_at, payload, n)
	WHERE CASE WHEN e.key = '' THEN e.version = -1 OR e.version =
			coalesce((SELECT v.version FROM subscription_versions v WHERE v.tenant_id = e.tenant_id), 0)
		ELSE e.id = (SELECT k.event_id FROM idempotency_keys k WHERE k.tenant_id = e.tenant_id AND k.key = e.key) END
), wanted AS MATERIALIZED (
	SELECT m.*, l.fifo, l.next_sequence, l.version, l.held, l.failing,
		m.token IS NOT NULL AND m.reason = '' AND m.deliver_at IS NULL AND l.born AS claimed
	FROM unnest($2::match_row[]) WITH ORDINALITY
		AS m(event_id, tenant_id, subscription_id, id, token, reason, type, ordering_key, deliver_at, expires_at, bytes, n)
	CROSS JOIN LATERAL (` + laneAtBirth + `WHERE l.subscription_id = m.subscription_id AND l.tenant_id = m.tenant_id AND NOT l.deleted OFFSET 0) l
	WHERE (m.event_id IN (SELECT id FROM fresh)) IS TRUE
), counted AS (
	SELECT f.n, f.id, CASE WHEN (SELECT count(*) FROM wanted) = (SELECT sum(matches) FROM fresh) THEN f.matches
		ELSE (SELECT count(*) FROM wanted w WHERE w.event_id = f.id) END::int AS deliveries
	FROM fresh f
), stored AS (
	INSERT INTO events (id, tenant_id, created_at, deliver_at, expires_at, deliveries, type, content_type, ordering_key,
		idempotency_key, trace_parent, headers, payload)
	SELECT e.id, e.tenant_id, now(), e.deliver_at, e.expires_at,
		CASE WHEN (SELECT count(*) FROM wanted) = (SELECT sum(matches) FROM fresh)
			THEN e.matches ELSE (SELECT c.deliveries FROM counted c WHERE c.id = e.id) END,
		e.type, e.content_type, e.ordering_key, e.key, e.trace_parent, e.headers, e.payload
	FROM fresh e
), made AS (
	` + makeDeliveries("CASE WHEN w.fifo THEN w.next_sequence - 1 + w.nth ELSE 0 END",
	"(SELECT *, row_number() OVER (PARTITION BY subscription_id ORDER BY n) AS nth FROM wanted)") + `
), advanced AS (
	UPDATE lanes SET next_sequence = lanes.next_sequence + c.n
	FROM (SELECT subscription_id, count(*) AS n FROM wanted WHERE fifo GROUP BY subscription_id) c
	WHERE lanes.subscription_id = c.subscription_id
), tallied AS (
	INSERT INTO tallies (at, tenant_ids, subscription_ids, counts)
	SELECT now(), array_agg(t.tenant_id), array_agg(t.subscription_id), array_agg(t.n)
	FROM (SELECT tenant_id, '00000000-0000-0000-0000-000000000000'::uuid AS subscription_id, count(*)::int AS n FROM fresh GROUP BY 1
		UNION ALL SELECT tenant_id, subscription_id, count(*)::int FROM wanted GROUP BY 1, 2) t
	HAVING count(*) > 0
)
SELECT now(), c.n, c.deliveries, 0::bigint, 0::bigint, NULL::interval, false FROM counted c
UNION ALL SELECT now(), 0, 0, w.n, w.version, w.held, w.failing FROM wanted w WHERE w.claimed`

// acceptOriginals finds the keys that were taken before, with the event that did.
const acceptOriginals = `
SELECT e.n, k.event_id, k.hash, coalesce(o.created_at, k.created_at), coalesce(o.deliveries, 0)
FROM unnest($1::uuid[], $2::uuid[], $3::text[]) WITH ORDINALITY AS e(id, tenant_id, key, n)
CROSS JOIN LATERAL (SELECT * FROM idempotency_keys k WHERE k.tenant_id = e.tenant_id AND k.key = e.key OFFSET 0) k
LEFT JOIN LATERAL (SELECT * FROM events o WHERE o.tenant_id = e.tenant_id AND o.id = k.event_id OFFSET 0) o ON true
WHERE k.event_id <> e.id`

// UsedKeys implements posthorn.EventStore.
func (s *Store) UsedKeys(ctx context.Context, tenant posthorn.TenantID, keys []string) (map[string]bool, error) {
	asked := make([]string, len(keys))
	for i, key := range keys {
		asked[i] = plain(key)
	}
	found, err := many(ctx, s, "look for keys", pgx.RowTo[string],
		`SELECT key FROM idempotency_keys WHERE tenant_id = $1 AND key = ANY($2::text[])`, uuid(tenant.UUID), asked)
	used := make(map[string]bool, len(found))
	for _, key := range found {
		used[key] = true
	}
	return used, err
}

// AcceptEvents implements posthorn.Intake: one pipeline, committed as one transaction, and a second one where the first stored nothing,
// as subscriptions changed. Only where the batch holds a value the database refuses is it split, until the bad event stands alone.
func (s *Store) AcceptEvents(ctx context.Context, node posthorn.NodeID, batch []posthorn.Acceptance) ([]posthorn.Accepted, error) {
	answers := make([]posthorn.Accepted, len(batch))
	if len(batch) == 0 {
		return answers, nil
	}
	if err := s.accept(ctx, node, batch, answers); err != nil {
		return nil, err
	}
	return answers, nil
}

func (s *Store) accept(ctx context.Context, node posthorn.NodeID, batch []posthorn.Acceptance, answers []posthorn.Accepted) error {
	rows := newAcceptRows(batch)
	err := s.do(ctx, "accept events", func(ctx context.Context) error {
		return s.healing(ctx, rows.ids, func() error { return s.acceptOnce(ctx, node, batch, rows, answers) })
	})
	switch {
	case err == nil:
		return nil
	case !isData(err):
		return lostWhileAccepting(err)
	case len(batch) == 1:
		answers[0] = posthorn.Accepted{EventID: batch[0].Event.ID, Err: refused(err)}
		return nil
	}
	half := len(batch) / 2
	if err := s.accept(ctx, node, batch[:half], answers[:half]); err != nil {
		return err
	}
	if err := s.accept(ctx, node, batch[half:], answers[half:]); err != nil {
		return possiblyStored(err)
	}
	return nil
}

// refused is the answer to an event that cannot be stored.
func refused(err error) error {
	if codeOf(err) == codeUnique {
		return &posthorn.Error{Kind: posthorn.Conflict, Message: "an event or delivery with this id is stored already", Err: err}
	}
	return &posthorn.Error{Kind: posthorn.Invalid, Message: "the event holds a value that cannot be stored", Err: err}
}

// lostWhileAccepting tells the producer when nobody can know whether the commit came through.
func lostWhileAccepting(err error) error {
	if uncertain(err) {
		return possiblyStored(err)
	}
	return err
}

func possiblyStored(err error) error {
	return &posthorn.Error{
		Kind: posthorn.Unavailable, RetryAfter: retryAfter, Err: err,
		Message: "the database was lost while storing: possibly stored; repeat with the same idempotency key",
	}
}

// acceptOnce takes along the results that wait. What fails with them may be theirs, and is tried again without. A batch that is not
// stored as a whole is decided over event by event.
func (s *Store) acceptOnce(ctx context.Context, node posthorn.NodeID, batch []posthorn.Acceptance, rows *acceptRows,
	answers []posthorn.Accepted,
) error {
	counted := rows.count()
	riders := s.rides.Board()
	decided, err := s.sendAccept(ctx, node, batch, rows, counted, answers, riders)
	s.rides.Pass(len(batch))
	for _, r := range riders {
		r.Answer(err)
	}
	if len(riders) > 0 && (isData(err) || codeOf(err) == codeNoTable) {
		decided, err = s.sendAccept(ctx, node, batch, rows, counted, answers, nil)
	}
	if err == nil && !decided {
		_, err = s.sendAccept(ctx, node, batch, rows, nil, answers, nil)
	}
	return err
}

// sendAccept stores the whole batch as counted, or tells that it stored nothing of it; without a count it stores what it can.
func (s *Store) sendAccept(ctx context.Context, node posthorn.NodeID, batch []posthorn.Acceptance, rows *acceptRows, counted *counts,
	answers []posthorn.Accepted, riders []*ride.Rider[*recording],
) (decided bool, err error) {
	// Nothing was stored for what no row of the answer names.
	for i := range answers {
		answers[i] = posthorn.Accepted{EventID: batch[i].Event.ID, Err: errStale}
	}
	var b pgx.Batch
	pool := s.steered(&b)
	sent := time.Now()
	for _, r := range riders {
		r.Write.queue(&b, s, sent)
	}
	born := rows.made()
	made := born
	for i := range batch {
		made.add(batch[i].Event.ID.UUID)
	}
	write := s.statementsFor(made)
	if counted != nil {
		b.Queue(write.acceptWhole, rows.wholeArguments(node, born, counted)...).Query(func(found pgx.Rows) (err error) {
			decided, err = s.readWhole(found, node, batch, counted, answers, sent)
			return err
		})
		err = pool.SendBatch(ctx, &b).Close()
		return decided, err
	}
	k := &rows.keys
	if len(rows.keyed) > 0 {
		b.Queue(acceptKeys, k.events, k.tenants, k.versions, k.keys, k.hashes)
	}
	if len(rows.ordered) > 0 {
		b.Queue(lockFIFO, rows.ordered)
	}
	b.Queue(write.acceptEvents, inOnePiece(rows.arguments(node, born)...)...).Query(func(found pgx.Rows) error {
		return s.readAccepted(found, node, batch, rows, answers, sent)
	})
	if len(rows.keyed) > 0 {
		b.Queue(acceptOriginals, k.events, k.tenants, k.keys).Query(func(found pgx.Rows) error {
			return readOriginals(found, rows, answers)
		})
	}
	return true, pool.SendBatch(ctx, &b).Close()
}

// errStale is never changed.
var errStale = posthorn.NewError(posthorn.Stale, "the subscriptions changed while the event was being matched")

// readAccepted fills in the answers of what was stored.
func (s *Store) readAccepted(found pgx.Rows, node posthorn.NodeID, batch []posthorn.Acceptance, rows *acceptRows,
	answers []posthorn.Accepted, sent time.Time,
) error {
	defer found.Close()
	// Claimed deliveries of one event share it; most events have one.
	shared := map[int]*posthorn.Event{}
	born := make([]posthorn.Claimed, 0, len(rows.owner))
	var now time.Time
	var place, match, version int64
	var deliveries int
	var held span
	var failing bool
	columns := []any{(*moment)(&now), &place, &deliveries, &match, &version, &held, &failing}
	for found.Next() {
		if err := found.Scan(columns...); err != nil {
			return err
		}
		if match == 0 {
			s.setClock(sent, now, time.Now())
			a := &answers[place-1]
			*a = posthorn.Accepted{EventID: a.EventID, CreatedAt: now, Deliveries: deliveries}
			continue
		}
		i := rows.owner[match-1]
		a, e := &answers[i], shared[i]
		if e == nil {
			stored := *batch[i].Event
			stored.CreatedAt, stored.Deliveries = now, a.Deliveries
			e = &stored
			if len(batch[i].Matches) > 1 {
				shared[i] = e
			}
		}
		c := bornClaimed(e, &batch[i].Matches[rows.nth[match-1]], node, now, time.Duration(held))
		c.Version, c.Failing = version, failing
		born = append(born, c)
		if n := len(born); a.Claimed == nil {
			a.Claimed = born[n-1 : n : n]
		} else {
			a.Claimed = append(a.Claimed, born[n-1])
		}
	}
	return found.Err()
}

// bornClaimed is the delivery as makeDeliveries stored it.
func bornClaimed(e *posthorn.Event, m *posthorn.Match, node posthorn.NodeID, now time.Time, held time.Duration) posthorn.Claimed {
	return posthorn.Claimed{
		Claim: posthorn.Claim{DeliveryID: m.DeliveryID, Attempt: m.Attempt, Number: 1},
		Delivery: posthorn.Delivery{
			ID: m.DeliveryID, TenantID: e.TenantID, EventID: e.ID, SubscriptionID: m.SubscriptionID, EventType: e.Type,
			State: posthorn.Pending, Attempts: 1, DueAt: now, ClaimedUntil: now.Add(posthorn.Lease), Claim: m.Attempt,
			ClaimedBy: node, OrderingKey: e.OrderingKey, HeldBase: held, CreatedAt: now, UpdatedAt: now,
		},
		Event: e,
	}
}

// readOriginals answers repeated keys.
func readOriginals(found pgx.Rows, rows *acceptRows, answers []posthorn.Accepted) error {
	defer found.Close()
	for found.Next() {
		var place int64
		var hash []byte
		var original posthorn.Accepted
		err := found.Scan(&place, (*uuid)(&original.EventID.UUID), &hash, (*moment)(&original.CreatedAt), &original.Deliveries)
		if err != nil {
			return err
		}
		i := rows.keyed[place-1]
		// Of two in one batch the later took the key: the earlier was stale.
		if slices.Index(rows.keys.events[place-1:], original.EventID.UUID) > 0 {
			continue
		}
		if string(hash) != string(rows.keys.hashes[place-1]) {
			answers[i].Err = posthorn.KeyUsed()
			continue
		}
		original.Duplicate = true
		answers[i] = original
	}
	if err := found.Err(); err != nil {
		return fmt.Errorf("original events: %w", err)
	}
	return nil
}
