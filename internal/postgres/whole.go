package postgres

import (
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// acceptWhole stores a batch as it was matched, or nothing of it: a tenant's subscriptions may have changed since, and then acceptEvents
// decides over each event. So nothing need be asked of each row, and what the batch counts comes with it. Rows of the answer, where it
// was stored: the place of each lane and what it adds to the deliveries born claimed in it; the place 0 where there is none.
var acceptWhole = `
WITH lane AS MATERIALIZED (
	SELECT q.n, l.*
	FROM unnest($8::uuid[], $9::uuid[]) WITH ORDINALITY AS q(tenant_id, subscription_id, n)
	CROSS JOIN LATERAL (` + laneAtBirth + `WHERE l.subscription_id = q.subscription_id AND l.tenant_id = q.tenant_id AND NOT l.deleted OFFSET 0) l
), whole AS MATERIALIZED (
	SELECT array_agg(l.born ORDER BY l.n) AS born, array_agg(l.held ORDER BY l.n) AS held
	FROM lane l
	HAVING count(*) = cardinality(array_remove($9::uuid[], NULL)) AND NOT EXISTS (
		SELECT FROM unnest($8::uuid[], $11::bigint[]) AS q(tenant_id, version)
		WHERE q.version <> -1 AND q.version <> coalesce((SELECT v.version FROM subscription_versions v WHERE v.tenant_id = q.tenant_id), 0))
), stored AS (
	INSERT INTO events (id, tenant_id, created_at, deliver_at, expires_at, deliveries, type, content_type, ordering_key,
		idempotency_key, trace_parent, headers, payload)
	SELECT e.id, e.tenant_id, now(), e.deliver_at, e.expires_at, e.matches, e.type, e.content_type, e.ordering_key,
		e.key, e.trace_parent, e.headers, e.payload
	FROM whole CROSS JOIN unnest($1::event_row[]) AS e(id, tenant_id, version, key, matches, type, content_type, ordering_key,
		trace_parent, headers, deliver_at, expires_at, payload)
), made AS (
	` + makeDeliveries("0", `(
		SELECT m.*, w.held[m.lane] AS held, m.token IS NOT NULL AND m.reason = '' AND m.deliver_at IS NULL AND w.born[m.lane] AS claimed
		FROM whole w CROSS JOIN ROWS FROM (unnest($2::match_row[]), unnest($12::int[]))
			AS m(event_id, tenant_id, subscription_id, id, token, reason, type, ordering_key, deliver_at, expires_at, bytes, lane))`) + `
), tallied AS (
	INSERT INTO tallies (at, tenant_ids, subscription_ids, counts)
	SELECT now(), $8, array_replace($9, NULL, '00000000-0000-0000-0000-000000000000'::uuid), $10::int[] FROM whole WHERE cardinality($8) > 0
)
SELECT now(), coalesce(l.n, 0), coalesce(l.version, 0), l.held, coalesce(l.failing, false), coalesce(l.born, false)
FROM whole LEFT JOIN lane l ON true`

// counts is what a batch counts: the deliveries of each of its lanes, whose version is posthorn.AnyVersion, then the events of each tenant,
// whose subscription is NULL, with the version of the subscriptions they were matched to. The lanes come first, so that their places
// are those of the arrays made of them.
type counts struct {
	tenants, subscriptions uuids
	n                      integers
	versions               bigints
	// lanes are the places of the deliveries' lanes, from 1.
	lanes integers
}

// count counts a batch; nil where acceptEvents must decide: over keys, orders, or versions that differ.
func (r *acceptRows) count() *counts {
	if len(r.keyed) > 0 || len(r.ordered) > 0 {
		return nil
	}
	c := &counts{lanes: make(integers, 0, len(r.owner))}
	type lane struct {
		tenant posthorn.TenantID
		sub    posthorn.SubscriptionID
	}
	lanes := map[lane]int32{}
	for i := range r.batch {
		a := &r.batch[i]
		for j := range a.Matches {
			of := lane{a.Event.TenantID, a.Matches[j].SubscriptionID}
			place := lanes[of]
			if place == 0 {
				place = c.add(of.tenant, of.sub, posthorn.AnyVersion)
				lanes[of] = place
			}
			c.n[place-1]++
			c.lanes = append(c.lanes, place)
		}
	}
	tenants := map[posthorn.TenantID]int32{}
	for i := range r.batch {
		tenant, version := r.batch[i].Event.TenantID, r.batch[i].Version
		if tenants[tenant] == 0 {
			tenants[tenant] = c.add(tenant, posthorn.SubscriptionID{}, version)
		}
		place := tenants[tenant] - 1
		if c.versions[place] != version {
			return nil
		}
		c.n[place]++
	}
	return c
}

// add begins to count a lane or a tenant and tells its place, from 1.
func (c *counts) add(tenant posthorn.TenantID, sub posthorn.SubscriptionID, version int64) int32 {
	c.tenants = append(c.tenants, tenant.UUID)
	c.subscriptions = append(c.subscriptions, sub.UUID)
	c.versions = append(c.versions, version)
	c.n = append(c.n, 0)
	return int32(len(c.n))
}

// wholeArguments are those of acceptWhole, in order.
func (r *acceptRows) wholeArguments(node posthorn.NodeID, made period, c *counts) []any {
	return inOnePiece(append(r.arguments(node, made), c.tenants, c.subscriptions, c.n, c.versions, c.lanes)...)
}

// birth is what a lane adds to the deliveries that are born claimed in it.
type birth struct {
	version       int64
	held          span
	failing, born bool
}

// readWhole fills in the answers, and tells whether the batch was stored.
func (s *Store) readWhole(found pgx.Rows, node posthorn.NodeID, batch []posthorn.Acceptance, c *counts, answers []posthorn.Accepted,
	sent time.Time,
) (stored bool, err error) {
	lanes := make([]birth, len(c.n))
	var now time.Time
	var place int64
	var b birth
	_, err = pgx.ForEachRow(found, []any{(*moment)(&now), &place, &b.version, &b.held, &b.failing, &b.born}, func() error {
		stored = true
		if place > 0 {
			lanes[place-1] = b
		}
		return nil
	})
	if err != nil || !stored {
		return false, err
	}
	s.setClock(sent, now, time.Now())
	born := make([]posthorn.Claimed, 0, len(c.lanes))
	next := 0
	for i := range batch {
		matches := batch[i].Matches
		e := *batch[i].Event
		e.CreatedAt, e.Deliveries = now, len(matches)
		first := len(born)
		for j := range matches {
			m, lane := &matches[j], &lanes[c.lanes[next]-1]
			next++
			// As claimed in acceptWhole.
			if lane.born && !m.Attempt.IsZero() && m.Reason == posthorn.ReasonNone && e.DeliverAt.IsZero() {
				claimed := bornClaimed(&e, m, node, now, time.Duration(lane.held))
				claimed.Version, claimed.Failing = lane.version, lane.failing
				born = append(born, claimed)
			}
		}
		answers[i] = posthorn.Accepted{EventID: e.ID, CreatedAt: now, Deliveries: len(matches)}
		if len(born) > first {
			answers[i].Claimed = born[first:len(born):len(born)]
		}
	}
	return true, nil
}
