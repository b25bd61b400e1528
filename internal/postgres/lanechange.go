package postgres

import (
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

const (
	// lockDisabled and disable end subscriptions that are not disabled yet; the reason is that of the change, and holds for
	// failing ones only while they are. Locks are taken as in storeSubscription: subscriptions, versions, lanes, each in order.
	lockDisabled = `SELECT 1 FROM subscriptions WHERE id = ANY($1) AND deleted_at IS NULL AND status <> 'disabled' ORDER BY id FOR UPDATE`
	disable      = `
		WITH hit AS MATERIALIZED (
			SELECT s.id, s.tenant_id, c.reason
			FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bool[], $5::bool[]) AS c(id, tenant_id, reason, failed, recovered)
			JOIN subscriptions s ON s.id = c.id AND s.tenant_id = c.tenant_id JOIN lanes l ON l.subscription_id = c.id
			WHERE c.reason <> '' AND s.deleted_at IS NULL AND s.status <> 'disabled'
				AND (c.reason <> '` + posthorn.DisabledFailing + `' OR c.failed OR NOT c.recovered AND l.failing_since IS NOT NULL)
		), v AS (
			INSERT INTO subscription_versions AS v (tenant_id, version) SELECT DISTINCT tenant_id, 1 FROM hit ORDER BY tenant_id
			ON CONFLICT (tenant_id) DO UPDATE SET version = v.version + 1 RETURNING tenant_id, version
		)
		UPDATE subscriptions s SET status = 'disabled', disabled_reason = hit.reason, version = v.version, updated_at = now()
		FROM hit JOIN v USING (tenant_id) WHERE s.id = hit.id RETURNING s.id`
	lockLanes = `SELECT 1 FROM lanes WHERE subscription_id = ANY($1) ORDER BY subscription_id FOR UPDATE`
	// changeLanes reads the subscription again: with its lane locked, the two agree.
	changeLanes = `
		UPDATE lanes l SET
			status = s.status, version = s.version,
			held_since = CASE WHEN s.status <> 'active' THEN coalesce(l.held_since, now()) ELSE l.held_since END,
			throttled_until = CASE WHEN c.throttle > 0 THEN greatest(l.throttled_until, now() + c.throttle * interval '1 microsecond')
				ELSE l.throttled_until END,
			breaker_opens = CASE WHEN c.recovered THEN 0 ELSE l.breaker_opens END + c.opens,
			breaker_until = CASE WHEN c.open_for > 0 THEN now() + c.open_for * interval '1 microsecond'
				WHEN c.recovered THEN NULL ELSE l.breaker_until END,
			failing_since = CASE WHEN c.recovered AND c.failed THEN now() WHEN c.recovered THEN NULL
				WHEN c.failed THEN coalesce(l.failing_since, now()) ELSE l.failing_since END,
			warned_at = CASE WHEN c.warned THEN now() ELSE l.warned_at END
		FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::int[], $6::bool[], $7::bool[], $8::bool[])
			AS c(id, tenant_id, throttle, open_for, opens, failed, recovered, warned)
		JOIN subscriptions s ON s.id = c.id
		WHERE l.subscription_id = c.id AND l.tenant_id = c.tenant_id
		RETURNING ` + laneColumns
)

// laneRows are the changes of lanes as arrays, one per lane, in order of id.
type laneRows struct {
	ids, tenants              uuids
	reasons                   []string
	throttle, openFor         []int64
	opens                     []int32
	failed, recovered, warned []bool
}

// joinedChange is what changes of one lane come to, in their order: a recovery, and then what failed after it.
type joinedChange struct {
	posthorn.LaneChange
	opens int32
}

func (j *joinedChange) join(c *posthorn.LaneChange) {
	j.SubscriptionID, j.TenantID = c.SubscriptionID, c.TenantID
	if c.Recovered {
		j.Recovered, j.Failed, j.OpenFor, j.opens = true, false, 0, 0
	}
	j.Failed, j.Warned = j.Failed || c.Failed, j.Warned || c.Warned
	j.Throttle = max(j.Throttle, c.Throttle)
	if c.OpenFor > 0 {
		j.OpenFor = c.OpenFor
		j.opens++
	}
	if j.Disable == "" || j.Disable == posthorn.DisabledFailing && c.Disable != "" {
		j.Disable = c.Disable
	}
}

// newLaneRows joins changes of one lane into one.
func newLaneRows(changes []posthorn.LaneChange) *laneRows {
	joined := map[posthorn.SubscriptionID]joinedChange{}
	for i := range changes {
		j := joined[changes[i].SubscriptionID]
		j.join(&changes[i])
		joined[changes[i].SubscriptionID] = j
	}
	r := &laneRows{}
	for id := range joined {
		r.ids = append(r.ids, id.UUID)
	}
	slices.SortFunc(r.ids, compareIDs)
	for _, id := range r.ids {
		c := joined[posthorn.SubscriptionID{UUID: id}]
		r.tenants, r.reasons = append(r.tenants, c.TenantID.UUID), append(r.reasons, c.Disable)
		r.throttle, r.openFor = append(r.throttle, micros(c.Throttle)), append(r.openFor, micros(c.OpenFor))
		r.opens = append(r.opens, c.opens)
		r.failed, r.recovered, r.warned = append(r.failed, c.Failed), append(r.recovered, c.Recovered), append(r.warned, c.Warned)
	}
	return r
}

// queue adds the changes to a pipeline that fills in the report.
func (r *laneRows) queue(b *pgx.Batch, report *posthorn.RecordReport) {
	if len(r.ids) == 0 {
		return
	}
	if slices.ContainsFunc(r.reasons, func(reason string) bool { return reason != "" }) {
		b.Queue(lockDisabled, r.ids)
		b.Queue(disable, r.ids, r.tenants, r.reasons, r.failed, r.recovered).Query(func(rows pgx.Rows) (err error) {
			report.Disabled, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (posthorn.SubscriptionID, error) {
				var id posthorn.SubscriptionID
				err := row.Scan((*uuid)(&id.UUID))
				return id, err
			})
			return err
		})
	}
	b.Queue(lockLanes, r.ids)
	b.Queue(changeLanes, r.ids, r.tenants, r.throttle, r.openFor, r.opens, r.failed, r.recovered, r.warned).
		Query(func(rows pgx.Rows) (err error) {
			report.Lanes, err = pgx.CollectRows(rows, scanLane)
			return err
		})
}
